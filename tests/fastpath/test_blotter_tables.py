"""The compiled tables of the blotter against their plain twin, on random events, within small bounds."""

from __future__ import annotations

import random
import struct

import pytest

from fastpath.blotter.tables import Tables, changes
from fastpath.model.enums import EventKind, OrderStatus
from tests.conftest import SOAK_FACTOR
from tests.reference.blotter_twin import BlotterTwin
from tests.reference.records import EVENT, Event, decode_events

ACCOUNTS = (1, 2, 3, 900)
NEW, PARTLY, FILLED, CANCELED, REJECTED = (
    OrderStatus.ORDER_STATUS_NEW, OrderStatus.ORDER_STATUS_PARTIALLY_FILLED, OrderStatus.ORDER_STATUS_FILLED,
    OrderStatus.ORDER_STATUS_CANCELED, OrderStatus.ORDER_STATUS_REJECTED,
)  # fmt: skip
PENDING = [each for each in OrderStatus if each.name.startswith("ORDER_STATUS_PENDING_")]
"""Sent to a venue that has not answered: open."""


class Market:
    """Makes events that could have happened."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._seq = 0
        self._orders: dict[int, int] = {}

    def batch(self, size: int) -> bytes:
        return b"".join(self._event() for _ in range(size))

    def _event(self) -> bytes:
        self._seq += self._rng.choice((1, 1, 1, 5))
        what = self._rng.random()
        account = self._rng.choice(ACCOUNTS)
        if what < 0.2:
            return self._record(EventKind.EVENT_BALANCE_CHANGED, account, asset=self._rng.randrange(1, 6))
        if what < 0.3:
            record = self._record(EventKind.EVENT_POSITION_CHANGED, account, instrument=self._rng.randrange(1, 6))
            return record if self._rng.random() < 0.5 else _closed(record)
        if what < 0.6 or not self._orders:
            status = self._rng.choice((NEW, NEW, *PENDING[:1], REJECTED))
            if status is not REJECTED:
                self._orders[self._seq] = account
            kind = EventKind.EVENT_ORDER_ACCEPTED if status is not REJECTED else EventKind.EVENT_ORDER_REJECTED
            return self._record(kind, account, self._seq, status)
        order_id = self._rng.choice(list(self._orders))
        account = self._orders[order_id]
        status = self._rng.choice((PARTLY, *PENDING, *[FILLED, CANCELED] * 2))
        if status in (FILLED, CANCELED):
            del self._orders[order_id]
        kind = EventKind.EVENT_ORDER_CANCELED if status is CANCELED else EventKind.EVENT_ORDER_FILLED
        return self._record(kind, account, order_id, status)

    def _record(
        self, kind: int, account: int, order_id: int = 0, status: int = 0, *, asset: int = 0, instrument: int = 1
    ) -> bytes:
        event = Event(*EVENT.unpack(self._rng.randbytes(EVENT.size)))._replace(
            event_seq=self._seq, kind=kind, flags=self._rng.choice((0, 0, 0, 32)), account=account,
            instrument=instrument, order_id=order_id, status=status, asset=asset,
        )  # fmt: skip
        return EVENT.pack(*event)


def same(tables: Tables, twin: BlotterTwin, rng: random.Random) -> None:
    for account in (*ACCOUNTS, 4, 2**31):
        assert tables.open_ids(account) == twin.open_ids(account)
        assert sorted(tables.balances(account)) == sorted(r for (a, _), r in twin.balances.items() if a == account)
        assert sorted(tables.positions(account)) == sorted(r for (a, _), r in twin.positions.items() if a == account)
        for table, records in ((tables.orders, twin.orders), (tables.fills, twin.fills)):
            wanted = rng.choice((lambda record: True, lambda record: record[200] % 2 == 0))
            before = rng.choice((None, rng.randrange(1, 2_000), max(records, default=1)))
            limit = rng.randrange(1, 8)
            found, following = table.page(account, before, limit, wanted)
            assert found == twin.page(records, account, before, limit, wanted)
            rest = table.page(account, following, 10_000, wanted)[0] if following is not None else []
            assert found + rest == twin.page(records, account, before, 10_000, wanted)
    for name, table, records in (("orders", tables.orders, twin.orders), ("fills", tables.fills, twin.fills)):
        assert (table.forgotten_key, table.forgotten_seq) == twin.forgotten[name]
        for key in [*records, *range(1, 50), 2**63]:
            assert (key in table) == (key in records)
    assert all(tables.orders.get(key) == record for key, record in twin.orders.items())
    assert tables.orders.get(2**63) is None
    for instrument in range(8):
        assert tables.is_held(instrument) == twin.is_held(instrument)
    assert tables.any_open(32) == any(Event(*EVENT.unpack(twin.orders[key])).flags & 32 for key in twin.open)


def _closed(position: bytes) -> bytes:
    """The same without lots, and without base units beyond whole lots (two words)."""
    return EVENT.pack(*Event(*EVENT.unpack(position))._replace(position_qty=0, total=0, fee=0))


def again(tables: Tables, closed_orders: int, fills: int) -> Tables:
    loaded = Tables(closed_orders=closed_orders, fills=fills)
    loaded.load(*tables.save())
    return loaded


@pytest.mark.parametrize(("closed_orders", "fills"), [(0, 0), (1, 1), (7, 20), (100, 33), (10_000, 10_000)])
def test_tables_are_what_the_twin_says(closed_orders: int, fills: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(2 * SOAK_FACTOR):
        market = Market(rng)
        tables, twin = Tables(closed_orders=closed_orders, fills=fills), BlotterTwin(closed_orders, fills)
        for _ in range(25):
            events = market.batch(rng.randrange(0, 60))
            tables.apply(events)
            twin.apply(events)
            same(tables, twin, rng)
            if rng.random() < 0.2:
                tables = again(tables, closed_orders, fills)
                same(tables, twin, rng)


def test_lists_stay_right_when_most_was_forgotten() -> None:
    """Beyond the bound at which an account's list of keys is weeded out."""
    rng = random.Random(1)
    market = Market(rng)
    tables, twin = Tables(closed_orders=50, fills=40), BlotterTwin(50, 40)
    for _ in range(40):
        events = market.batch(500)
        tables.apply(events)
        twin.apply(events)
    same(tables, twin, rng)
    tighter, twin.closed_orders, twin.fills_held = again(tables, 5, 3), 5, 3
    twin.apply(b"")
    same(tighter, twin, rng)


def test_what_a_batch_touched() -> None:
    rng = random.Random(2)
    market = Market(rng)
    events = market.batch(300)
    accounts, instruments, fills = changes(events)
    records = [events[at : at + 256] for at in range(0, len(events), 256)]
    assert accounts == {event.account for event in decode_events(events)}
    assert instruments == {1}
    assert fills == [record for record in records if record[24] == EventKind.EVENT_ORDER_FILLED]
    assert changes(b"") == (set(), set(), [])


def test_bytes_that_are_no_events_are_refused() -> None:
    tables = Tables(closed_orders=1, fills=1)
    for call in (tables.apply, changes):
        with pytest.raises(ValueError, match="no whole number of events"):
            call(bytes(255))
    saved = list(tables.save())
    saved[1] = struct.pack("<Q", 77)
    with pytest.raises(ValueError, match="order 77"):
        tables.load(*saved)
