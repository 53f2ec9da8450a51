"""Orders that cannot all be filled, met by one taker: reduce-only orders share a position, linked ones fill in each
other's stead. Whatever sweeps through them, no reduce-only order opens a position and no group fills more than once."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fastpath.exchange.exchange import Exchange
from fastpath.model.enums import CommandKind, EventKind, Liquidity, OrderFlag, OrderType, TimeInForce
from tests.conftest import SOAK_FACTOR
from tests.reference.exchange_pair import Pair
from tests.reference.records import AccountDef, AnyCommand, AssetDef, Command, Event, InstrumentDef, decode_events

SEEDS, COMMANDS = 20, 400
BUY, SELL = 1, 2
OWN, MIRRORED = 1, 2
REDUCE_ONLY = int(OrderFlag.ORDER_FLAG_REDUCE_ONLY)
LIMIT, MARKET = int(OrderType.ORDER_TYPE_LIMIT), int(OrderType.ORDER_TYPE_MARKET)
ICEBERG, STOP = int(OrderType.ORDER_TYPE_ICEBERG), int(OrderType.ORDER_TYPE_STOP)
STOP_LIMIT = int(OrderType.ORDER_TYPE_STOP_LIMIT)


def setup_commands() -> Iterator[AnyCommand]:
    for asset in (1, 2):
        yield AssetDef(asset=asset, name=b"asset-%d" % asset)
    for instrument in (OWN, MIRRORED):
        yield InstrumentDef(
            instrument=instrument, base_asset=1, quote_asset=2, mirrored=instrument == MIRRORED,
            taker_fee_ppm=1_000, name=b"instrument-%d" % instrument,
        )  # fmt: skip
    for account in (1, 2, 3):
        yield AccountDef(account=account, mode=2, name=b"account-%d" % account)
        for asset, amount in ((1, 60), (2, 6_000)):  # now and then too little
            yield Command(
                kind=int(CommandKind.COMMAND_ADJUST_BALANCE), account=account, asset=asset, amount=amount * account**2
            )


class Crowd:
    """Few prices, few accounts, many orders that depend on one another."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.count = 0
        self.links = 0

    def commands(self) -> list[AnyCommand]:
        return self.rng.choices((self.one, self.group, self.venue), (8, 2, 1))[0]()

    def order(self, account: int, instrument: int, **fields: int) -> Command:
        rng = self.rng
        self.count += 1
        kind = rng.choices((LIMIT, MARKET, ICEBERG), (6, 2, 1))[0]
        values = {
            "order_type": kind, "side": rng.choice((BUY, SELL)), "qty": rng.randint(1, 12),
            "time_in_force": int(rng.choices(list(TimeInForce)[1:4], (6, 1, 1))[0]),
            "flags": REDUCE_ONLY if rng.random() < 0.4 else 0, "stp_mode": rng.choices(range(1, 6), (6, 1, 1, 1, 1))[0],
        } | fields  # fmt: skip
        if values["order_type"] != MARKET:
            values.setdefault("price", rng.randint(96, 104))
        if values["order_type"] == ICEBERG:
            values |= {"display_qty": rng.randint(1, values["qty"]), "flags": 0, "time_in_force": 1}
        elif values["order_type"] == MARKET and not fields and rng.random() < 0.3:
            values |= {"qty": 0, "amount": rng.randint(100, 2_000), "flags": int(OrderFlag.ORDER_FLAG_QUOTE_QTY)}
        elif not fields and values["qty"] > 3 and not values["flags"] and rng.random() < 0.2:
            values["min_qty"] = rng.randint(1, values["qty"])
        return Command(
            kind=int(CommandKind.COMMAND_PLACE), account=account, instrument=instrument,
            client_order_id=b"order-%d" % self.count, **values,
        )  # fmt: skip

    def one(self) -> list[AnyCommand]:
        return [self.order(self.rng.randint(1, 3), self.rng.choice((OWN, OWN, OWN, MIRRORED)))]

    def group(self) -> list[AnyCommand]:
        """An OCO; its orders mostly stand on one side, some wait for a price."""
        rng = self.rng
        self.links += 1
        account, instrument, side = rng.randint(1, 3), rng.choice((OWN, OWN, MIRRORED)), rng.choice((BUY, SELL))
        orders: list[AnyCommand] = []
        size = rng.randint(2, 3)
        for _ in range(size):
            fields = {"side": side if rng.random() < 0.8 else side ^ 3, "time_in_force": 1, "link_type": 1,
                      "link_id": self.links, "link_size": size}  # fmt: skip
            order_type = rng.choices((LIMIT, ICEBERG, STOP, STOP_LIMIT), (5, 1, 1, 2))[0]
            if order_type in (STOP, STOP_LIMIT):
                fields["trigger_price"] = rng.randint(96, 104)
            if order_type == STOP:
                fields["price"] = 0
            orders.append(self.order(account, instrument, order_type=order_type, **fields))
        return orders

    def venue(self) -> list[AnyCommand]:
        rng = self.rng
        if rng.random() < 0.5:
            printed = Command(kind=int(CommandKind.COMMAND_MIRROR_TRADE), instrument=MIRRORED)
            return [printed._replace(side=rng.choice((BUY, SELL)), qty=rng.randint(1, 40), price=rng.randint(96, 104))]
        middle = rng.randint(97, 103)
        level = Command(kind=int(CommandKind.COMMAND_MIRROR_LEVEL), instrument=MIRRORED)
        return [
            Command(kind=int(CommandKind.COMMAND_MIRROR_BEGIN), instrument=MIRRORED, flags=1),
            level._replace(side=BUY, price=middle - 1, qty=rng.randint(1, 20)),
            level._replace(side=BUY, price=middle - 2, qty=rng.randint(1, 20)),
            level._replace(side=SELL, price=middle, qty=rng.randint(1, 20)),
            Command(kind=int(CommandKind.COMMAND_MIRROR_END), instrument=MIRRORED),
        ]  # fmt: skip


class Watch:
    """Follows positions and groups by the fills alone."""

    def __init__(self) -> None:
        self.positions: dict[tuple[int, int], int] = {}
        self.groups: dict[int, int] = {}
        self.owners: dict[int, int] = {}
        self.filled: dict[int, int] = {}
        self.largest: dict[int, int] = {}

    def see(self, command: AnyCommand, events: list[Event]) -> None:
        if isinstance(command, Command) and command.link_id:
            self.largest[command.link_id] = max(self.largest.get(command.link_id, 0), command.qty)
        for event in events:
            if event.kind == EventKind.EVENT_ORDER_ACCEPTED:
                self.groups[event.order_id], self.owners[event.order_id] = event.link_id, event.account
            if event.kind == EventKind.EVENT_ORDER_FILLED:
                self.fill(event)

    def fill(self, event: Event) -> None:
        before = self.positions.get((event.account, event.instrument), 0)
        after = before + (event.last_qty if event.side == BUY else -event.last_qty)
        self.positions[event.account, event.instrument] = after
        if event.flags & REDUCE_ONLY and event.liquidity == Liquidity.LIQUIDITY_MAKER and not self.with_own(event):
            assert abs(after) < abs(before), "a reduce-only order opened a position"
            assert after * before >= 0, "a reduce-only order turned a position around"
        if event.link_id and self.groups.get(event.counter_order_id) != event.link_id:
            self.filled[event.link_id] = self.filled.get(event.link_id, 0) + event.last_qty
            assert self.filled[event.link_id] <= self.largest[event.link_id], "a group filled more than once"

    def with_own(self, event: Event) -> bool:
        """Bought and sold at once: the position stays, whichever side is told first."""
        return self.owners.get(event.counter_order_id) == event.account


@pytest.mark.parametrize("seed", range(SEEDS * SOAK_FACTOR))
def test_crowds_of_dependent_orders_agree_with_the_twin(seed: int) -> None:
    pair, crowd, watch = Pair(), Crowd(seed), Watch()
    for command in setup_commands():
        pair.apply(command)
    while pair.seq < COMMANDS:
        for command in crowd.commands():
            watch.see(command, pair.apply(command))
        if pair.seq % 50 == 0:  # a restart in between changes nothing
            pair.core.load(pair.core.save())
    replayed = Exchange(max_orders=100_000, max_open_orders=10_000, max_instruments=16, max_accounts=16, max_assets=16)
    replayed.apply(pair.journal)
    assert replayed.state_hash() == pair.core.state_hash()


class Hall:
    """One own book and more holders of positions than a walk can tell apart; a trader with little money comes in last."""

    HOLDERS = 120

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.watch, self.seq, self.trader = rng, Watch(), 0, self.HOLDERS + 2
        self.core = Exchange(max_orders=5_000, max_open_orders=2_000, max_instruments=4, max_accounts=256, max_assets=4)
        for asset in (1, 2):
            self.apply(AssetDef(asset=asset, name=b"asset-%d" % asset))
        self.apply(InstrumentDef(instrument=OWN, base_asset=1, quote_asset=2, taker_fee_ppm=1_000, name=b"instrument"))
        for account in range(1, self.trader + 1):
            self.apply(AccountDef(account=account, mode=2, name=b"account-%d" % account))
            money = rng.randint(15_000, 60_000) if account == self.trader else 1_000_000
            for asset in (1, 2):
                kind = int(CommandKind.COMMAND_ADJUST_BALANCE)
                self.apply(Command(kind=kind, account=account, asset=asset, amount=money))
        for account in range(1, self.HOLDERS + 1):
            self.hold(account)

    def apply(self, command: AnyCommand) -> list[Event]:
        self.seq += 1
        events = decode_events(self.core.apply(command._replace(seq=self.seq, ts_ns=self.seq).pack()))
        self.watch.see(command, events)
        self.core.validate()
        return events

    def place(self, account: int, side: int, qty: int, **fields: int) -> list[Event]:
        plain = {"order_type": LIMIT, "time_in_force": 1} | fields
        kind, name = int(CommandKind.COMMAND_PLACE), b"order-%d" % self.seq
        return self.apply(
            Command(kind=kind, account=account, instrument=OWN, client_order_id=name, side=side, qty=qty, **plain)
        )

    def hold(self, account: int) -> None:
        """A position, and orders over it that cannot all be filled."""
        rng, qty = self.rng, self.rng.randint(1, 5)
        self.place(self.HOLDERS + 1, SELL, qty, price=90)
        self.place(account, BUY, qty, price=90)
        match rng.randrange(4):
            case 0 | 1:
                for _ in range(2):
                    self.place(account, SELL, qty, price=rng.randint(100, 104), flags=REDUCE_ONLY)
            case 2:
                for _ in range(2):
                    price = rng.randint(100, 104)
                    self.place(account, SELL, qty, price=price, link_type=1, link_id=account, link_size=2)
            case 3:
                self.place(account, SELL, 2 * qty, price=rng.randint(100, 104), order_type=ICEBERG, display_qty=1)


@pytest.mark.parametrize("seed", range(3 * SEEDS * SOAK_FACTOR))
def test_a_taker_that_meets_more_of_them_than_can_be_told_apart(seed: int) -> None:
    """It spends no more than it has, and FOK, MIN_QTY and amounts are kept."""
    rng = random.Random(seed)
    qty, fill_or_kill = rng.randint(100, 700), int(TimeInForce.TIME_IN_FORCE_FOK)
    orders: tuple[dict[str, int], ...] = (
        {"qty": qty, "order_type": MARKET, "time_in_force": 2},
        {"qty": 0, "order_type": MARKET, "amount": 100 * qty, "flags": int(OrderFlag.ORDER_FLAG_QUOTE_QTY)},
        {"qty": qty, "price": 104, "time_in_force": fill_or_kill},
        {"qty": qty, "price": 104, "min_qty": rng.randint(1, qty)},
    )
    for order in orders:
        hall = Hall(random.Random(seed))
        fills = [
            event for event in hall.place(hall.trader, BUY, **order)
            if event.kind == EventKind.EVENT_ORDER_FILLED and event.account == hall.trader
        ]  # fmt: skip
        filled = sum(event.last_qty for event in fills)
        if order.get("time_in_force") == fill_or_kill:
            assert filled in (0, qty)
        assert filled == 0 or filled >= order.get("min_qty", 0)
        if "amount" in order:
            assert sum(event.last_qty * event.last_price for event in fills) <= order["amount"]
