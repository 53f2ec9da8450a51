"""The fast exchange and its twin, driven together, and a generator of commands that tries everything on both."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from fastpath.exchange.exchange import Exchange
from fastpath.model.enums import CommandKind, EventKind
from tests.reference.exchange.ledger import all_balances
from tests.reference.exchange.orders import FEES, OUTSIDE, Position
from tests.reference.exchange_twin import ExchangeTwin
from tests.reference.records import AccountDef, AnyCommand, AssetDef, Command, Event, InstrumentDef, decode_events

LEDGER_EVENTS = (EventKind.EVENT_POSITION_CHANGED, EventKind.EVENT_BALANCE_CHANGED)

START_NS = 1_700_000_000_000_000_000


def comparable(events: list[Event]) -> list[Event]:
    """Without event_seq and last_of_command; the ledger's events, whose order the core chooses, sorted to the end."""
    plain = [event._replace(event_seq=0, last_of_command=0) for event in events]
    head = [event for event in plain if event.kind not in LEDGER_EVENTS]
    tail = [event for event in plain if event.kind in LEDGER_EVENTS]
    return head + sorted(tail, key=lambda e: (e.kind, e.account, e.instrument, e.asset))


class Pair:
    """Applies each command to both and compares all that can be seen, then lets the fast one check itself."""

    def __init__(self, *, max_orders: int = 100_000, max_open_orders: int = 10_000) -> None:
        self.core = Exchange(
            max_orders=max_orders, max_open_orders=max_open_orders, max_instruments=16, max_accounts=16, max_assets=16
        )
        self.twin = ExchangeTwin(max_orders, max_open_orders)
        self.seq = 0
        self.journal = b""

    def apply(self, command: AnyCommand, *, look: bool = True) -> list[Event]:
        self.seq += 1
        command = command._replace(seq=self.seq, ts_ns=START_NS + self.seq * 1_000)
        record = command.pack()
        self.journal += record
        event_seq = self.core.event_seq
        events = decode_events(self.core.apply(record))
        assert [event.event_seq for event in events] == list(range(event_seq + 1, event_seq + 1 + len(events)))
        assert [event.last_of_command for event in events] == [0] * (len(events) - 1) + [1] * bool(events)
        expected = self.twin.apply(command)
        assert comparable(events) == comparable(expected), f"after {command}"
        if look:
            self.compare_state()
        return events

    def open_ids(self) -> list[int]:
        return [order.order_id for order in self.twin.live if order.is_open]

    def compare_state(self) -> None:
        balances = all_balances(self.twin)
        for account in (OUTSIDE, FEES, *self.twin.accounts):
            expected = {asset: row for (owner, asset), row in balances.items() if owner == account}
            assert {asset: (total, reserved) for asset, total, reserved in self.core.balances(account)} == expected
            positions = {
                instrument: (self.twin.lots(instrument, position), position.cost, position.realized_pnl)
                for (owner, instrument), position in self.twin.positions.items()
                if owner == account and position != Position()
            }
            assert {row[0]: row[1:] for row in self.core.positions(account)} == positions
        for instrument in self.twin.instruments:
            assert self.core.depth(instrument, 100) == self.twin.depth(instrument)
            now_ns = self.twin.command.ts_ns
            assert self.core.valuation(instrument, now_ns) == self.twin.valuation(instrument, now_ns)
        self.core.validate()


def setup_commands() -> Iterator[AnyCommand]:
    """Two own books with different fees, a mirrored venue, three traders with money and one without."""
    yield AssetDef(asset=1, scale=8, first_scale=8, name=b"BTC")
    yield AssetDef(asset=2, scale=10, first_scale=8, name=b"USDT")
    yield AssetDef(asset=3, scale=8, name=b"ETH")  # as an older build defined it
    yield InstrumentDef(
        instrument=1,
        base_asset=1,
        quote_asset=2,
        base_per_lot=10,
        quote_per_tick_lot=3,
        maker_fee_ppm=-150,
        taker_fee_ppm=1_000,
        min_notional=5,
        name=b"internal:BTC/USDT",
    )
    yield InstrumentDef(
        instrument=2,
        base_asset=3,
        quote_asset=2,
        base_per_lot=1,
        quote_per_tick_lot=1,
        max_qty=2**40,
        maker_fee_ppm=70_000,
        taker_fee_ppm=33_333,
        min_qty=2,
        name=b"internal:ETH/USDT",
    )
    yield InstrumentDef(
        instrument=3,
        base_asset=1,
        quote_asset=2,
        base_per_lot=10,
        quote_per_tick_lot=300,
        quote_scale=10,
        mirrored=1,
        maker_fee_ppm=200,
        taker_fee_ppm=100_500,
        name=b"binance:BTC/USDT",
    )
    for account, mode in ((1, 2), (2, 3), (3, 1), (4, 2)):
        yield AccountDef(account=account, mode=mode, name=b"account-%d" % account)
    for account in (1, 2, 3):
        for asset in (1, 2, 3):
            yield Command(kind=int(CommandKind.COMMAND_ADJUST_BALANCE), account=account, asset=asset, amount=200_000)


class Generator:
    """Random commands, mostly sensible, from one seed. `open_ids` gives orders worth changing."""

    def __init__(self, seed: int, open_ids: Callable[[], list[int]]) -> None:
        self.rng = random.Random(seed)
        self.open_ids = open_ids
        self.placed = 0
        self.sent: list[Command] = []
        self.lots: dict[int, int] = {}
        """Base units of a lot, by instrument that takes over for a while."""

    def command(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        kind = rng.choices(
            (self.place, self.cancel, self.amend, self.again, self.adjust, self.status, self.redefine, self.book_snapshot,
             self.trade, self.mass, self.time, self.paper, self.reference, self.junk, self.regrid),
            (60, 10, 12, 3, 5, 1, 1, 8, 8, 1, 6, 3, 6, 1, 0.4),
        )[0]  # fmt: skip
        return kind(seq)

    def size(self) -> int:
        rng = self.rng
        return rng.choices((rng.randint(1, 30), rng.randint(1, 3_000), 0, -1, 2**62, 2**63 - 1), (90, 10, 1, 1, 1, 1))[
            0
        ]

    def price(self) -> int:
        rng = self.rng
        return rng.choices(
            (rng.randint(90, 110), rng.randint(1, 4), rng.randint(1, 10_000), 0, -5, 2**60, 2**63 - 1),
            (90, 3, 4, 0.5, 0.5, 0.5, 0.5),
        )[0]

    def place(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        if rng.random() < 0.2:
            return self.conditional(seq)
        if rng.random() < 0.1:
            return self.sized(seq)
        if rng.random() < 0.12:
            return self.linked(seq)
        order_type = rng.choices((1, 2, 3, 10, 11, 0, 99), (60, 15, 5, 8, 8, 1, 1))[0]
        flags = rng.choices((0, 1, 2, 64, 32, 3, 4096), (75, 8, 8, 4, 3, 1, 1))[0]
        market = order_type in (2, 3)
        if market and rng.random() < 0.9:
            flags &= ~3
        if not market and rng.random() < 0.9:
            flags &= ~64
        qty = self.size()
        priced = not market or flags & 64
        command = Command(
            kind=10, account=rng.choice((1, 1, 1, 2, 2, 2, 3, 4, 9)) if rng.random() < 0.9 else rng.choice((1, 2)),
            instrument=rng.choices((1, 2, 3, 7), (45, 20, 35, 1))[0],
            side=rng.choices((1, 2, 0), (50, 50, 1))[0], order_type=order_type, flags=flags,
            time_in_force=rng.choices((1, 2, 3, 4, 5, 0, 9), (60, 14, 14, 8, 4, 1, 1))[0] if order_type < 10 else 1,
            session=rng.randint(0, 2), link_type=int(rng.random() < 0.01),
            price=self.price() if priced or rng.random() < 0.02 else 0, qty=qty,
            display_qty=rng.randint(1, max(1, min(qty, 20))) if order_type == 10 or rng.random() < 0.01 else 0,
            min_qty=rng.randint(1, 10) if rng.random() < 0.05 else 0,
            stp_mode=rng.choice((0, 0, 1, 2, 3, 4, 5)), stp_group=rng.choice((0, 0, 0, 7)), stp_owner=rng.choice((0, 0, 5)),
            client_order_id=b"order-%d" % self.placed if rng.random() < 0.99 else b"",
        )  # fmt: skip
        if command.time_in_force in (4, 5) or rng.random() < 0.01:
            command = command._replace(expire_ns=rng.choice((0, START_NS + (seq + rng.randint(-1, 80)) * 1_000)))
        self.placed += 1
        self.sent.append(command)
        return [command]

    def sized(self, seq: int) -> list[AnyCommand]:
        """Reduce-only, close-position and quote-quantity orders."""
        rng = self.rng
        flag = rng.choice((4, 4, 8, 16))
        market = flag != 4 or rng.random() < 0.3
        command = Command(
            kind=10, account=rng.choice((1, 1, 2, 2, 3)), instrument=rng.choices((1, 2, 3), (45, 20, 35))[0],
            side=rng.choice((1, 2)), order_type=2 if market else rng.choice((1, 1, 11, 10)),
            time_in_force=rng.choice((1, 1, 2, 3)), price=0 if market else self.price(),
            flags=flag | rng.choices((0, 64, 4, 2), (90, 5, 3, 3))[0],
            qty=self.size() if flag == 4 or rng.random() < 0.02 else 0,
            amount=rng.choice((rng.randint(1, 20_000), 2**61, 2**63 - 1)) if flag == 16 or rng.random() < 0.02 else 0,
            stp_mode=rng.choice((0, 0, 0, 3)), client_order_id=b"order-%d" % self.placed,
        )  # fmt: skip
        if command.flags & 64:
            command = command._replace(price=self.price())
        self.placed += 1
        self.sent.append(command)
        return [command]

    def linked(self, seq: int) -> list[AnyCommand]:
        """Two to four orders of one group; sometimes they do not fit together."""
        rng = self.rng
        if rng.random() < 0.4:
            return self.followed(seq)
        link_type = rng.choice((1, 2, 3, 3))
        link_id = self.placed + 1 if rng.random() < 0.9 else rng.randint(1, self.placed + 1)
        account, instrument, side = rng.choice((1, 2)), rng.choice((1, 2, 3)), rng.choice((1, 2))
        orders: list[AnyCommand] = []
        for i in range(rng.randint(1, 4)):
            source = rng.choice((self.place, self.conditional)) if i or link_type == 1 else self.place
            order = source(seq)[-1]
            if not isinstance(order, Command):
                continue
            order = order._replace(link_id=link_id, link_type=link_type, account=account, min_qty=0)
            if rng.random() < 0.9:
                order = order._replace(instrument=instrument)
            if link_type == 3 and rng.random() < 0.9:
                flags = order.flags & ~24 | 4 if i else order.flags
                order = order._replace(side=side ^ 3 if i else side, flags=flags, qty=order.qty or 5, amount=0)
            self.sent[-1] = order
            orders.append(order)
        return self.listed(orders)

    def followed(self, seq: int) -> list[AnyCommand]:
        """A parent near the market and children that fit it: they will be filled part by part."""
        rng = self.rng
        link_type, side = rng.choice((2, 3)), rng.choice((1, 2))
        parent = Command(
            kind=10, account=rng.choice((1, 2)), instrument=rng.choice((1, 1, 2, 3)), side=side, order_type=1,
            time_in_force=1, price=100 + rng.randint(-3, 3), qty=rng.randint(5, 30), link_id=self.placed + 1,
            link_type=link_type, client_order_id=b"order-%d" % self.placed,
        )  # fmt: skip
        orders = [parent]
        for _ in range(2):
            self.placed += 1
            kind, away = rng.choice((1, 1, 2, 4, 5, 6, 8, 9, 10)), rng.randint(-1, 3) * (1 if side == 1 else -1)
            price = 0 if kind in (2, 4, 6, 8) else 1 if kind == 9 else 100 + away
            child = parent._replace(
                side=side ^ 3 if link_type == 3 or rng.random() < 0.7 else side, order_type=kind, price=price,
                qty=parent.qty + rng.choice((0, 0, -2, 3)), flags=4 if link_type == 3 and kind != 10 else 0,
                trigger_price=100 + rng.choice((away, -away)) if 4 <= kind <= 7 else 0,
                trailing_offset=2 if kind in (8, 9) else 0, trailing_unit=int(kind in (8, 9)),
                display_qty=2 if kind == 10 else 0, client_order_id=b"order-%d" % self.placed,
            )  # fmt: skip
            orders.append(child)
        self.placed += 1
        self.sent += orders
        return self.listed(orders)

    def listed(self, orders: Sequence[AnyCommand]) -> list[AnyCommand]:
        """Each entering as it comes, or as a list; one in ten lists is never complete."""
        size = len(orders) + (self.rng.random() < 0.1) if self.rng.random() < 0.6 else 0
        listed = [order._replace(link_size=size) for order in orders if isinstance(order, Command)]
        self.sent[-len(listed) or len(self.sent) :] = listed
        return list(listed)

    def conditional(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        order_type = rng.randint(4, 9)
        trailing = order_type >= 8
        limit = order_type % 2 == 1
        command = Command(
            kind=10, account=rng.choice((1, 1, 2, 2, 3)), instrument=rng.choices((1, 2, 3), (45, 20, 35))[0],
            side=rng.choice((1, 2)), order_type=order_type, time_in_force=rng.choices((1, 4, 5, 2), (85, 7, 5, 1))[0],
            price=rng.choice((0, 1, 3)) if limit and trailing else self.price() if limit or rng.random() < 0.02 else 0,
            qty=rng.choice((rng.randint(1, 30), self.size())), stp_mode=rng.choice((0, 2, 3, 5)),
            trigger_price=rng.choice((0, rng.randint(90, 110))) if trailing else self.price(),
            trigger_source=rng.choices((0, 1, 2, 3, 4, 5, 6), (40, 20, 20, 20, 10, 10, 1))[0], session=rng.randint(0, 2),
            flags=rng.choices((0, 32, 1, 64, 4, 8, 16), (70, 10, 1, 1, 8, 8, 1))[0],
            client_order_id=b"order-%d" % self.placed,
        )  # fmt: skip
        if command.flags == 8:
            command = command._replace(qty=0)
        if trailing or rng.random() < 0.01:
            unit = rng.choices((1, 2, 0, 7), (60, 40, 1, 1))[0]
            offset = rng.choices((rng.randint(1, 12), rng.randint(1, 900), 0, -1, 2**62), (50, 20, 1, 1, 1))[0]
            command = command._replace(trailing_unit=unit, trailing_offset=offset)
        if command.time_in_force == 4:
            command = command._replace(expire_ns=START_NS + (seq + rng.randint(-1, 80)) * 1_000)
        self.placed += 1
        self.sent.append(command)
        return [command]

    def again(self, seq: int) -> list[AnyCommand]:
        """A repetition, or the same client order id with something changed."""
        if not self.sent:
            return []
        command = self.rng.choice(self.sent)
        change: dict[str, int] = self.rng.choice(
            ({}, {}, {"qty": command.qty ^ 1}, {"side": command.side ^ 3}, {"stp_mode": 9})
        )
        return [command._replace(**change)]

    def cancel(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        account = rng.choice((0, 1, 2, 3))
        open_ids = self.open_ids() if rng.random() < 0.6 else []
        if open_ids:
            return [Command(kind=11, order_id=rng.choice(open_ids))]
        if rng.random() < 0.5 and self.placed:
            return [Command(kind=11, account=account, client_order_id=b"order-%d" % rng.randrange(self.placed))]
        return [Command(kind=11, account=account, order_id=rng.randint(max(1, seq - 60), seq + 2))]

    def amend(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        meant = self.cancel(seq)[0]._replace(kind=12)
        if rng.random() < 0.3:
            meant = meant._replace(trigger_price=self.price())
        return [
            meant._replace(price=rng.choice((0, 0, self.price())), qty=rng.choice((0, rng.randint(1, 30), self.size())))
        ]

    def mass(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        if rng.random() < 0.5:
            return [Command(kind=22, account=rng.choice((0, 1, 2)), session=rng.randint(0, 2))]
        return [
            Command(
                kind=13, account=rng.choice((0, 1, 2, 77)), instrument=rng.choice((0, 1, 3)), side=rng.choice((0, 1, 2))
            )
        ]

    def time(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        if rng.random() < 0.8:
            return [Command(kind=21), Command(kind=24)][:: rng.choice((1, -1))]
        expire_ns = rng.choice((0, START_NS + (seq + rng.randint(-1, 40)) * 1_000))
        return [Command(kind=23, account=rng.choice((1, 2, 3, 66)), expire_ns=expire_ns)]

    def adjust(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        amount = rng.choice(
            (
                rng.randint(-5_000, 20_000),
                rng.randint(-200_000, 200_000),
                0,
                2**61,
                -(2**63),
                2**62,
                2**109,
                2**110,
                -(2**109),
            )
        )
        request = rng.choice((b"", b"request-%d" % rng.randrange(200)))
        return [
            Command(
                kind=4,
                account=rng.choice((1, 2, 3, 4, 8)),
                asset=rng.choice((1, 2, 3, 3, 9)),
                amount=amount,
                client_order_id=request,
                amount_scale=rng.choice((0, 0, 8, 9, 18)),
            )
        ]

    def status(self, seq: int) -> list[AnyCommand]:
        instrument = self.rng.choice((0, 1, 2, 3, 9))
        status = self.rng.choice((2, 3, 4, 0, 7))
        return [
            Command(kind=20, instrument=instrument, flags=status),
            *self.place(seq),
            Command(kind=20, instrument=instrument, flags=1),
        ]

    def redefine(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        commands = [command for command in setup_commands() if not isinstance(command, Command)]
        command = rng.choice(commands)
        if isinstance(command, InstrumentDef):
            taker = rng.choice((0, 500, 20_000, -1))
            command = command._replace(
                taker_fee_ppm=taker,
                maker_fee_ppm=rng.choice((-taker, 0, 90_000)),
                base_per_lot=rng.choice((command.base_per_lot,) * 5 + (77,)),
            )
        elif isinstance(command, AssetDef):
            scale = rng.choice((command.scale, command.scale, command.scale + 1, 18, 19))
            command = command._replace(scale=scale, first_scale=rng.choice((command.first_scale, 8, 9)))
        elif isinstance(command, AccountDef):
            command = command._replace(mode=rng.choice((command.mode, 3, 8)))
        return [command]

    def regrid(self, seq: int) -> list[AnyCommand]:
        """Another tick and lot for a while, then the old ones again."""
        rng = self.rng
        rules = [command for command in setup_commands() if isinstance(command, InstrumentDef)]
        old = rng.choice(rules)
        new = old._replace(instrument=old.instrument + 3 * rng.randint(1, 3), tradable=int(rng.random() < 0.9))
        self.lots.setdefault(new.instrument, rng.randint(1, 30))
        new = new._replace(base_per_lot=self.lots[new.instrument])
        if new.instrument % 2:  # finer quote money than before, or (then refused) coarser
            new = new._replace(quote_scale=9)
        orders = [command for _ in range(rng.randint(0, 12)) for command in self.place(seq)]
        return [
            new,
            Command(kind=26, instrument=rng.choice((new.instrument, new.instrument, 9 + old.instrument))),
            *(each._replace(instrument=new.instrument) for each in orders if isinstance(each, Command)),
            old,
            Command(kind=26, instrument=old.instrument),
        ]

    def book_snapshot(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        middle = rng.randint(95, 105)
        levels = [
            Command(kind=31, instrument=3, side=1, price=middle - 1 - i, qty=rng.randint(1, 40))
            for i in range(6)
            if rng.random() < 0.8
        ]
        levels += [
            Command(kind=31, instrument=3, side=2, price=middle + 1 + i, qty=rng.randint(1, 40))
            for i in range(6)
            if rng.random() < 0.8
        ]
        if rng.random() < 0.03:
            rng.shuffle(levels)
        if rng.random() < 0.02:
            levels.append(Command(kind=31, instrument=3, side=2, price=1, qty=5))
        flags = 1 if rng.random() < 0.95 else 0
        end = [Command(kind=33, instrument=3)] if rng.random() < 0.98 else []
        return [Command(kind=30, instrument=3, flags=flags), *levels, *end]

    def reference(self, seq: int) -> list[AnyCommand]:
        """Mark and index prices."""
        rng = self.rng
        mark, index = (rng.choice((*(rng.randint(90, 110) for _ in range(4)), 0, 2**60, -1)) for _ in range(2))
        until_ns = START_NS + (seq + rng.choice((0, 20, 200))) * 1_000
        return [
            Command(
                kind=25, instrument=rng.choice((1, 1, 2, 3, 3, 9)), price=mark, trigger_price=index, expire_ns=until_ns
            ),
            Command(
                kind=25, instrument=rng.choice((1, 2, 3, 3, 9)), price=index, expire_ns=until_ns,
                trigger_price=rng.choice((0, 0, 0, 0, mark)), flags=rng.choice((1, 1, 1, 1, 2)),
            ),
        ]  # fmt: skip

    def trade(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        return [
            Command(
                kind=32,
                instrument=3,
                side=rng.choices((1, 2, 0), (50, 50, 1))[0],
                price=rng.randint(90, 110),
                qty=rng.choice((rng.randint(1, 60), 0, 2**62)),
            )
        ]

    def paper(self, seq: int) -> list[AnyCommand]:
        """Other paper rules, or cancellations at the venue."""
        rng = self.rng
        if rng.random() < 0.5:
            return [
                Command(
                    kind=34, instrument=rng.choice((3, 3, 3, 1)), side=rng.choice((1, 2)), price=rng.randint(90, 110),
                    qty=rng.randint(1, 20), display_qty=rng.randint(15, 60),
                )
            ]  # fmt: skip
        rules = next(each for each in setup_commands() if isinstance(each, InstrumentDef) and each.mirrored)
        return [
            rules._replace(
                paper_model=rng.choice((0, 1, 2, 3, 4)), latency_in_ns=rng.choice((0, 0, 2_000, 9_000, -1)),
                latency_out_ns=rng.choice((0, 0, 1_000)),
            )
        ]  # fmt: skip

    def junk(self, seq: int) -> list[AnyCommand]:
        rng = self.rng
        return [
            Command(kind=rng.choice((0, 5, 99, 255)), account=1),
            Command(kind=33, instrument=rng.choice((1, 3))),
            Command(kind=31, instrument=3, side=1, price=5, qty=5),
        ]
