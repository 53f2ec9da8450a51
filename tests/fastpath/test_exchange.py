"""Rules of the exchange that deserve a name, and its behaviour at its bounds."""

from __future__ import annotations

import random
import threading

import pytest

from fastpath.exchange.exchange import FEE_ACCOUNT, OUTSIDE_ACCOUNT, Exchange
from fastpath.model.enums import CancelReason, CommandKind, EventKind, RejectReason, TimeInForce
from fastpath.model.structs import COMMAND_SIZE
from tests.reference.exchange_pair import Generator, Pair, setup_commands
from tests.reference.records import AccountDef, AnyCommand, AssetDef, Command, Event, InstrumentDef, decode_events

BOUNDS = {"max_orders": 20_000, "max_open_orders": 5_000, "max_instruments": 16, "max_accounts": 16, "max_assets": 16}


class Desk:
    """Applies commands one by one, stamped."""

    def __init__(self, **bounds: int) -> None:
        self.exchange = Exchange(**(BOUNDS | bounds))
        self.seq = 0
        for command in setup_commands():
            self.do(command)

    def do(self, command: AnyCommand) -> list[Event]:
        self.seq += 1
        return decode_events(self.exchange.apply(command._replace(seq=self.seq, ts_ns=self.seq).pack()))

    def place(self, name: str, **fields: int) -> list[Event]:
        order = {"account": 1, "instrument": 1, "side": 1, "order_type": 1, "time_in_force": 1, "price": 100, "qty": 1}
        return self.do(Command(kind=int(CommandKind.COMMAND_PLACE), client_order_id=name.encode(), **(order | fields)))


def reason(events: list[Event]) -> str:
    return RejectReason(events[0].reject_reason).name.removeprefix("REJECT_REASON_")


def journal(commands: int, seed: int) -> bytes:
    """A random journal: what the generator sends, guided by the twin."""
    pair = Pair()
    for command in setup_commands():
        pair.apply(command, look=False)
    generator = Generator(seed, pair.open_ids)
    while pair.seq < commands:
        for command in generator.command(pair.seq):
            pair.apply(command, look=False)
    return pair.journal


def test_orders_are_found_by_id_whatever_gaps_lie_between_the_ids() -> None:
    rng = random.Random(5)
    desk = Desk()
    placed: list[int] = []
    for number in range(5_000):
        desk.seq += rng.choice((0, 0, 0, 1, 7, 62, 63, 64, 65, 1 << 20, 1 << 40))
        desk.place(f"order-{number}", account=rng.choice((1, 2)), price=rng.randint(1, 50), qty=rng.choice((0, 1)))
        placed.append(desk.seq)
    known = set(placed)
    loaded = Exchange(**BOUNDS)
    loaded.load(desk.exchange.save())
    for exchange in (desk.exchange, loaded):
        for order_id in placed:
            record = exchange.order(order_id)
            assert record is not None
            assert decode_events(record)[0].order_id == order_id
            near = order_id + rng.choice((-65, -64, -1, 1, 63, 64))
            assert (exchange.order(near) is None) == (near not in known)
        assert exchange.order(0) is exchange.order(2**64 - 1) is None


def test_every_limit_of_an_instrument_binds_plain_orders_at_the_limit_and_beside_it() -> None:
    desk = Desk()
    desk.do(
        InstrumentDef(
            instrument=4, base_asset=3, quote_asset=2, base_per_lot=1, quote_per_tick_lot=1, min_qty=5, max_qty=50,
            min_notional=600, name=b"internal:ETH-2/USDT",
        )
    )  # fmt: skip
    outcomes = {
        (150, 4): "QTY_BELOW_MIN",
        (150, 5): None,
        (100, 50): None,
        (100, 51): "QTY_ABOVE_MAX",
        (119, 5): "NOTIONAL_BELOW_MIN",
        (120, 5): None,
        (2**61 + 1, 50): "AMOUNT_OVERFLOW",
        (2**61, 50): "INSUFFICIENT_BALANCE",
        (0, 50): "INVALID_COMMAND",
        (1_000, 0): "INVALID_COMMAND",
        ((200_000 - 6_350) // 5 + 1, 5): "INSUFFICIENT_BALANCE",
        ((200_000 - 6_350) // 5, 5): None,
    }
    for number, ((price, qty), refusal) in enumerate(outcomes.items()):
        events = desk.place(f"order-{number}", instrument=4, price=price, qty=qty)
        assert (reason(events) if events[0].reject_reason else None) == refusal, (price, qty)
    desk.exchange.validate()


def test_one_batch_or_many_and_again_lead_to_the_same_events_and_state() -> None:
    commands = journal(600, seed=77)
    whole = Exchange(**BOUNDS)
    events = whole.apply(commands)
    for step in (1, 7, 256):
        parts = Exchange(**BOUNDS)
        size = step * COMMAND_SIZE
        assert b"".join(parts.apply(commands[at : at + size]) for at in range(0, len(commands), size)) == events
        assert parts.state_hash() == whole.state_hash()


def test_every_command_that_changes_something_changes_the_hash() -> None:
    commands = journal(400, seed=78)
    exchange = Exchange(**BOUNDS)
    seen = set()
    for at in range(0, len(commands), COMMAND_SIZE):
        exchange.apply(commands[at : at + COMMAND_SIZE])
        seen.add(exchange.state_hash())
    assert len(seen) == len(commands) // COMMAND_SIZE


def test_a_batch_that_is_not_one_changes_nothing() -> None:
    desk = Desk()
    before = desk.exchange.state_hash()
    good = Command(seq=desk.seq + 1, kind=int(CommandKind.COMMAND_TIMER)).pack()
    with pytest.raises(ValueError, match="192"):
        desk.exchange.apply(good + b"x")
    with pytest.raises(ValueError, match="does not follow"):
        desk.exchange.apply(good + good)
    with pytest.raises(ValueError, match="does not follow"):
        desk.exchange.apply(Command(seq=desk.seq, kind=int(CommandKind.COMMAND_TIMER)).pack())
    assert desk.exchange.state_hash() == before
    assert desk.exchange.apply(b"") == b""


def test_a_refused_order_keeps_its_client_order_id() -> None:
    desk = Desk()
    assert reason(desk.place("a", qty=10**9)) == "INSUFFICIENT_BALANCE"
    replayed = desk.place("a", qty=10**9)
    assert replayed[0].kind == EventKind.EVENT_ORDER_REPLAYED
    assert reason(replayed) == "INSUFFICIENT_BALANCE"
    conflict = desk.place("a", qty=5)
    assert conflict[0].kind == EventKind.EVENT_REJECTED_COMMAND
    assert reason(conflict) == "CLIENT_ORDER_ID_CONFLICT"
    assert desk.exchange.order_count == 1


def test_the_same_client_order_id_of_another_account_is_another_order() -> None:
    desk = Desk()
    assert desk.place("a")[0].kind == EventKind.EVENT_ORDER_ACCEPTED
    assert desk.place("a", account=2)[0].kind == EventKind.EVENT_ORDER_ACCEPTED


def test_bounds_refuse_with_a_reason_and_recover() -> None:
    desk = Desk(max_orders=4, max_open_orders=2)
    desk.place("a")
    desk.place("b")
    assert reason(desk.place("c")) == "CAPACITY"  # no slot: a stored refusal
    desk.do(Command(kind=int(CommandKind.COMMAND_CANCEL), account=1, client_order_id=b"a"))
    assert desk.place("d")[0].kind == EventKind.EVENT_ORDER_ACCEPTED
    full = desk.place("e")  # no record: nothing is stored
    assert (full[0].kind, reason(full)) == (EventKind.EVENT_REJECTED_COMMAND, "CAPACITY")
    assert desk.place("a")[0].kind == EventKind.EVENT_ORDER_REPLAYED
    for bad in (AssetDef(asset=17), AccountDef(account=17), InstrumentDef(instrument=17, base_asset=1, quote_asset=2)):
        assert reason(desk.do(bad)) == "CAPACITY"
    desk.exchange.validate()


@pytest.mark.parametrize("tif", [TimeInForce.TIME_IN_FORCE_GTC, TimeInForce.TIME_IN_FORCE_IOC])
def test_one_account_with_orders_open_everywhere_leaves_room_for_others(tif: TimeInForce) -> None:
    """Of orders that only rest and of those that look at the book first; also after a restart from a snapshot."""
    desk = Desk(max_open_orders=20)
    for number in range(18):
        assert desk.place(f"own {number}")[0].kind == EventKind.EVENT_ORDER_ACCEPTED
    assert reason(desk.place("beyond", time_in_force=int(tif))) == "CAPACITY"
    restarted = Exchange(**BOUNDS | {"max_open_orders": 20})
    restarted.load(desk.exchange.save())
    desk.exchange = restarted
    assert reason(desk.place("beyond again", time_in_force=int(tif))) == "CAPACITY"
    assert desk.place("of another", account=2)[0].kind == EventKind.EVENT_ORDER_ACCEPTED
    desk.do(Command(kind=int(CommandKind.COMMAND_CANCEL), account=1, client_order_id=b"own 3"))
    assert desk.place("room again")[0].kind == EventKind.EVENT_ORDER_ACCEPTED
    assert reason(desk.place("beyond once more")) == "CAPACITY"
    desk.exchange.validate()


def test_a_deposit_is_made_once_per_request() -> None:
    desk = Desk()
    deposit = Command(kind=int(CommandKind.COMMAND_ADJUST_BALANCE), account=1, asset=1, amount=7, client_order_id=b"r1")
    before = {asset: total for asset, total, _ in desk.exchange.balances(1)}[1]
    assert [event.delta for event in desk.do(deposit) if event.account == 1] == [7]
    again = desk.do(deposit)
    assert [(event.kind, event.total, event.delta) for event in again] == [
        (EventKind.EVENT_BALANCE_CHANGED, before + 7, 0)
    ]
    assert reason(desk.do(deposit._replace(amount=8))) == "CLIENT_ORDER_ID_CONFLICT"


def test_only_what_is_free_can_be_withdrawn() -> None:
    desk = Desk()
    desk.place("a", price=100, qty=100)  # 100 * 100 * 3 and 30 of fees are reserved
    withdraw = Command(kind=int(CommandKind.COMMAND_ADJUST_BALANCE), account=1, asset=2, amount=-(200_000 - 30_030))
    assert reason(desk.do(withdraw._replace(amount=withdraw.amount - 1))) == "INSUFFICIENT_BALANCE"
    assert desk.do(withdraw)[-1].total == 30_030 * 100  # the asset has two decimals more than the command


def test_a_taker_of_many_small_fills_pays_the_fee_of_one_large_one() -> None:
    """Fees round up once an order, not once a fill: what is reserved always suffices."""
    desk = Desk()
    for i in range(50):
        desk.place(f"s{i}", account=2, side=2, price=100, qty=1)
    events = desk.place("taker", price=100, qty=50)
    fees = [event.fee for event in events if event.order_id == desk.seq and event.kind == EventKind.EVENT_ORDER_FILLED]
    assert sum(fees) == -(-50 * 100 * 3 * 1_000 // 1_000_000)
    assert set(fees) == {0, 1}


def test_a_cascade_of_stops_is_bounded_and_goes_on_with_the_next_command() -> None:
    desk = Desk()
    for i in range(1_500):
        desk.place(f"stop{i}", order_type=4, account=1 + i % 2, price=0, side=2, trigger_price=95)
    desk.place("bid", account=2, price=95, qty=1)
    first = desk.place("seller", side=2, order_type=2, price=0, qty=1)
    assert sum(event.kind == EventKind.EVENT_ORDER_TRIGGERED for event in first) == 1_000
    desk.exchange.validate()
    second = desk.do(Command(kind=int(CommandKind.COMMAND_TIMER)))
    triggered = [event.order_id for event in first + second if event.kind == EventKind.EVENT_ORDER_TRIGGERED]
    assert len(triggered) == 1_500
    assert triggered == sorted(triggered)
    assert second[-1].last_of_command == 1


def test_next_timer_is_the_earliest_time_anything_is_due() -> None:
    desk = Desk()
    assert desk.exchange.next_timer_ns is None
    desk.place("a", time_in_force=4, expire_ns=10**6)
    desk.place("b", time_in_force=4, expire_ns=5 * 10**5)
    assert desk.exchange.next_timer_ns == 5 * 10**5
    desk.do(Command(kind=int(CommandKind.COMMAND_CANCEL), account=1, client_order_id=b"b"))
    assert desk.exchange.next_timer_ns == 10**6
    desk.do(Command(kind=int(CommandKind.COMMAND_SET_DEADMAN_TIMER), account=1, expire_ns=3 * 10**5))
    assert desk.exchange.next_timer_ns == 3 * 10**5


def test_views_show_orders_as_they_stand() -> None:
    desk = Desk()
    accepted = desk.place("a", price=99, qty=4)[0]
    desk.place("b", account=2, price=98, instrument=2, qty=3)
    order = desk.exchange.order(accepted.order_id)
    assert order is not None
    shown = decode_events(order)[0]
    assert (shown.kind, shown.price, shown.leaves_qty, shown.client_order_id) == (0, 99, 4, accepted.client_order_id)
    assert desk.exchange.order_by_client_id(1, b"a") == order
    assert desk.exchange.order_by_client_id(1, b"z" * 99) is None
    assert desk.exchange.order(10**9) is None
    assert [len(decode_events(desk.exchange.open_orders(*f))) for f in ((), (1,), (2,), (0, 2), (1, 2))] == [
        2,
        1,
        1,
        1,
        0,
    ]
    assert desk.exchange.depth(1, 5) == ([(99, 4, 1)], [])
    with pytest.raises(KeyError):
        desk.exchange.depth(9, 5)
    assert desk.exchange.balances(12345) == []


def test_a_second_thread_is_refused_while_one_is_inside() -> None:
    desk = Desk()
    cancel = Command(kind=int(CommandKind.COMMAND_CANCEL), account=1, order_id=10**9)
    batch = b"".join(cancel._replace(seq=desk.seq + 1 + i).pack() for i in range(200_000))
    refused = threading.Event()

    def look() -> None:
        while worker.is_alive():
            try:
                desk.exchange.balances(1)
            except RuntimeError:
                refused.set()

    worker = threading.Thread(target=desk.exchange.apply, args=(batch,))
    worker.start()
    look()
    worker.join()
    assert refused.is_set()
    desk.exchange.validate()


def test_unusable_bounds_are_refused() -> None:
    for bad in ({"max_orders": 0}, {"max_instruments": 70_000}, {"max_accounts": 2**31}):
        with pytest.raises(ValueError, match="bound"):
            Exchange(**bad)


@pytest.mark.parametrize("seed", range(4))
def test_hundred_thousands_of_ledger_operations_sum_to_zero(seed: int) -> None:
    """Deposits, withdrawals, orders, fills, fees, cancels in batches of 500; the audit looks after each."""
    rng = random.Random(seed)
    exchange = Exchange(max_orders=60_000, max_open_orders=10_000, max_instruments=16, max_accounts=16, max_assets=16)
    seq = 0
    batch = bytearray()
    for command in setup_commands():
        seq += 1
        batch += command._replace(seq=seq).pack()
    exchange.apply(batch)
    for _ in range(100):
        batch = bytearray()
        for _ in range(500):
            seq += 1
            batch += ledger_operation(rng, seq).pack()
        exchange.apply(batch)
        exchange.validate()
        for asset in (1, 2, 3):
            holders = (OUTSIDE_ACCOUNT, FEE_ACCOUNT, 1, 2, 3, 4)
            assert sum(total for who in holders for a, total, _ in exchange.balances(who) if a == asset) == 0


def ledger_operation(rng: random.Random, seq: int) -> Command:
    kind = rng.random()
    account = rng.randint(1, 3)
    if kind < 0.06:
        return Command(seq=seq, kind=4, account=account, asset=rng.randint(1, 3), amount=rng.randint(-20_000, 30_000))
    if kind < 0.25:
        return Command(seq=seq, kind=11, order_id=rng.randint(max(1, seq - 300), seq))
    if kind < 0.32:
        return Command(
            seq=seq,
            kind=12,
            order_id=rng.randint(max(1, seq - 300), seq),
            price=rng.randint(95, 105),
            qty=rng.randint(0, 60),
        )
    market = rng.random() < 0.2
    return Command(
        seq=seq,
        kind=10,
        account=account,
        instrument=rng.randint(1, 2),
        side=rng.randint(1, 2),
        order_type=2 if market else 1,
        time_in_force=rng.choice((1, 1, 1, 2, 3)),
        qty=rng.randint(1, 60),
        price=0 if market else rng.randint(95, 105),
        stp_mode=rng.randint(0, 5),
        client_order_id=b"%d" % seq,
    )


def book_snapshot(desk: Desk, bid: int, ask: int) -> list[Event]:
    """Show a venue's book of 1,000 lots on each side; the events of its last record."""
    desk.do(Command(kind=int(CommandKind.COMMAND_MIRROR_BEGIN), instrument=3, flags=1))
    for side, price in ((1, bid), (2, ask)):
        desk.do(Command(kind=int(CommandKind.COMMAND_MIRROR_LEVEL), instrument=3, side=side, price=price, qty=1_000))
    return desk.do(Command(kind=int(CommandKind.COMMAND_MIRROR_END), instrument=3))


@pytest.mark.parametrize("printed", [False, True], ids=["the market comes", "a trade is printed"])
def test_an_order_whose_account_is_full_ends_and_those_behind_it_fill(printed: bool) -> None:
    desk = Desk()
    book_snapshot(desk, 90, 110)
    full = desk.place("full", instrument=3, price=100, qty=5)
    behind = desk.place("behind", account=2, instrument=3, price=100, qty=5)
    (held,) = (total for asset, total, _ in desk.exchange.balances(1) if asset == 1)
    fill_up = Command(kind=int(CommandKind.COMMAND_ADJUST_BALANCE), account=1, asset=1, amount=2**110 - held)
    assert desk.do(fill_up)[-1].total == 2**110
    if printed:
        events = desk.do(
            Command(kind=int(CommandKind.COMMAND_MIRROR_TRADE), instrument=3, side=2, price=99, qty=10)
        )  # fmt: skip
    else:
        events = book_snapshot(desk, 90, 100)
    told = [(event.order_id, event.kind) for event in events if event.order_id]
    assert told == [
        (full[0].order_id, EventKind.EVENT_ORDER_CANCELED),
        (behind[0].order_id, EventKind.EVENT_ORDER_FILLED),
    ]
    assert events[0].cancel_reason == CancelReason.CANCEL_REASON_AMOUNT_OVERFLOW
    desk.exchange.validate()


def test_what_an_older_build_refused_stays_refused_until_its_asset_is_defined_again() -> None:
    desk = Desk()
    much = Command(kind=int(CommandKind.COMMAND_ADJUST_BALANCE), account=1, asset=3, amount=2**61)
    assert reason(desk.do(much)) == "AMOUNT_OVERFLOW"
    desk.do(AssetDef(asset=3, scale=18, first_scale=8, name=b"ETH"))
    assert (3, 200_000 * 10**10, 0) in desk.exchange.balances(1)
    assert desk.do(much)[-1].total == (2**61 + 200_000) * 10**10
    desk.exchange.validate()
