"""What people query: orders, fills, balances and positions, as the durable events tell them.

The blotter is updated after the journal's sync, so it never shows what a crash could take back. It keeps the packed
events themselves and decodes one when somebody asks for it: far more are made than are ever looked at.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from server.engine.events import (
    BALANCE_CHANGED,
    EVENT_SIZE,
    INSTRUMENT_DEFINED,
    ORDER_ACCEPTED,
    ORDER_FILLED,
    ORDER_TRIGGERED,
    POSITION_CHANGED,
    STATUS_NEW,
    STATUS_PARTIALLY_FILLED,
    TRADING_STATUS_CHANGED,
    TRADING_STATUS_OPEN,
    BalanceView,
    FillView,
    OrderView,
    PositionView,
    balance_view,
    decode,
    fill_view,
    order_view,
    position_view,
)
from server.engine.history import History
from server.engine.limits import EngineLimits
from server.instruments import Registry

# event_seq, kind, account, instrument, order_id, status, asset, client_order_id
_SCAN = struct.Struct("<Q16xB7xIIQ80xB3xI80x36s4x")
_INSTRUMENT = struct.Struct("<I")
_INSTRUMENT_OFFSET = 36
_ORDER_ID = struct.Struct("<Q")
_ORDER_ID_OFFSET = 40


class Changes(NamedTuple):
    """What a batch of events touched."""

    accounts: set[int]
    """Accounts whose orders, balances or positions changed."""
    instruments: set[int]
    """Instruments whose orders changed."""
    fills: list[bytes]
    """The fill events, in order."""


class Blotter:
    """Projection of the event stream. Memory is bounded: see EngineLimits.closed_orders and .fills."""

    def __init__(self, registry: Registry, limits: EngineLimits) -> None:
        self._registry = registry
        self._limits = limits
        self._orders: History[bytes] = History()
        self._open: dict[int, dict[int, None]] = {}
        """Ids of open orders by account, in order of acceptance."""
        self._open_by_instrument: dict[int, dict[int, None]] = {}
        self._closed: deque[tuple[int, int, bytes]] = deque()
        """(account, order id, client order id) of closed orders, by the time they closed: the oldest first."""
        self._by_client_id: dict[tuple[int, bytes], int] = {}
        self._fills: History[bytes] = History()
        self._fill_keys: deque[tuple[int, int]] = deque()
        self._balances: dict[int, dict[int, bytes]] = {}
        self._positions: dict[int, dict[int, bytes]] = {}
        self._status: dict[int, int] = {}

    # -- updates -------------------------------------------------------------------------------------------

    def apply(self, events: bytes) -> Changes:
        """Take over a batch of durable events."""
        accounts: set[int] = set()
        instruments: set[int] = set()
        fills: list[bytes] = []
        offset = 0
        for row in _SCAN.iter_unpack(events):
            event_seq, kind, account, instrument, order_id, status, asset, client_id = row
            record = events[offset : offset + EVENT_SIZE]
            offset += EVENT_SIZE
            if ORDER_ACCEPTED <= kind <= ORDER_TRIGGERED:
                self._order_changed(record, account, instrument, order_id, status, client_id)
                instruments.add(instrument)
                if kind == ORDER_FILLED:
                    self._filled(record, account, event_seq)
                    fills.append(record)
            elif kind == BALANCE_CHANGED:
                self._balances.setdefault(account, {})[asset] = record
            elif kind == POSITION_CHANGED:
                self._positions.setdefault(account, {})[instrument] = record
            else:
                if kind in (INSTRUMENT_DEFINED, TRADING_STATUS_CHANGED):
                    self._status[instrument] = decode(record).flags
                continue
            accounts.add(account)
        self._forget_oldest()
        return Changes(accounts, instruments, fills)

    def _order_changed(
        self, record: bytes, account: int, instrument: int, order_id: int, status: int, client_id: bytes
    ) -> None:
        is_open = status in (STATUS_NEW, STATUS_PARTIALLY_FILLED)
        if order_id in self._orders.values:
            self._orders.values[order_id] = record
            if is_open or order_id not in self._open.get(account, ()):
                return
            del self._open[account][order_id]
            del self._open_by_instrument[instrument][order_id]
        else:
            self._orders.add(account, order_id, record)
            self._by_client_id[account, client_id] = order_id
            if is_open:
                self._open.setdefault(account, {})[order_id] = None
                self._open_by_instrument.setdefault(instrument, {})[order_id] = None
                return
        self._closed.append((account, order_id, client_id))

    def _filled(self, record: bytes, account: int, event_seq: int) -> None:
        self._fills.add(account, event_seq, record)
        self._fill_keys.append((account, event_seq))

    def _forget_oldest(self) -> None:
        while len(self._closed) > self._limits.closed_orders:
            account, order_id, client_id = self._closed.popleft()
            self._orders.forget(account, order_id)
            del self._by_client_id[account, client_id]
        while len(self._fill_keys) > self._limits.fills:
            self._fills.forget(*self._fill_keys.popleft())

    # -- queries -------------------------------------------------------------------------------------------

    def order(self, order_id: int) -> OrderView | None:
        record = self._orders.values.get(order_id)
        return self.view(record) if record is not None else None

    def order_id_of(self, account: int, client_order_id: str) -> int | None:
        return self._by_client_id.get((account, client_order_id.encode().ljust(36, b"\0")))

    def view(self, record: bytes) -> OrderView:
        """The order that an event of it shows."""
        return order_view(decode(record), self._registry)

    def open_orders(self, account: int) -> list[OrderView]:
        """By order_id."""
        return [self.view(self._orders.values[order_id]) for order_id in sorted(self._open.get(account, ()))]

    def open_order_records(self, instrument: int) -> Iterator[bytes]:
        """The last event of each open order of an instrument, in order of acceptance."""
        return (self._orders.values[order_id] for order_id in self._open_by_instrument.get(instrument, ()))

    def orders_page(
        self, account: int, instruments: frozenset[int] | None, before: int | None, limit: int
    ) -> tuple[list[OrderView], int | None]:
        """Orders newest first with ids below `before`, and the `before` of the next page."""
        records, following = self._orders.page(account, before, limit, lambda record: _of(record, instruments))
        return [self.view(record) for record in records], following

    def open_orders_page(
        self, account: int, instruments: frozenset[int] | None, before: int | None, limit: int
    ) -> tuple[list[OrderView], int | None]:
        """As `orders_page`, open orders only."""
        ids = sorted(self._open.get(account, ()), reverse=True)
        found: list[OrderView] = []
        for order_id in ids:
            if before is not None and order_id >= before:
                continue
            record = self._orders.values[order_id]
            if _of(record, instruments):
                if len(found) == limit:
                    return found, found[-1].order_id
                found.append(self.view(record))
        return found, None

    def fills_page(
        self, account: int, instruments: frozenset[int] | None, order_id: int, before: int | None, limit: int
    ) -> tuple[list[FillView], int | None]:
        """Fills newest first with event_seq below `before`, and the next `before`. `order_id` 0: of all orders."""

        def wanted(record: bytes) -> bool:
            return _of(record, instruments) and order_id in (0, _ORDER_ID.unpack_from(record, _ORDER_ID_OFFSET)[0])

        records, following = self._fills.page(account, before, limit, wanted)
        return [fill_view(decode(record), self._registry) for record in records], following

    def trading_status(self, instrument: int) -> int:
        """TradingStatus of an instrument that is defined, or (0) what was last set for all, OPEN if nothing was."""
        return self._status.get(instrument, TRADING_STATUS_OPEN)

    def balances(self, account: int) -> list[BalanceView]:
        """By asset name; assets the account ever had."""
        views = [balance_view(decode(record), self._registry) for record in self._balances.get(account, {}).values()]
        return sorted(views, key=lambda view: view.asset.name)

    def positions(self, account: int) -> list[PositionView]:
        """By instrument name; instruments the account ever traded."""
        views = [position_view(decode(record), self._registry) for record in self._positions.get(account, {}).values()]
        return sorted(views, key=lambda view: view.instrument.name)


def _of(record: bytes, instruments: frozenset[int] | None) -> bool:
    return instruments is None or _INSTRUMENT.unpack_from(record, _INSTRUMENT_OFFSET)[0] in instruments
