"""The fast exchange against its twin once more, by hypothesis: short histories, shrunk to the shortest that fails."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from fastpath.model.enums import CommandKind
from tests.conftest import SOAK_FACTOR
from tests.reference.exchange_pair import START_NS, Pair, setup_commands
from tests.reference.records import Command, InstrumentDef

accounts = st.sampled_from((1, 2))
instruments = st.sampled_from((1, 3))
sides = st.sampled_from((1, 2))
prices = st.one_of(st.integers(97, 103), st.sampled_from((1, 2**62, 2**63 - 1)))
quantities = st.one_of(st.integers(1, 8), st.sampled_from((0, 2**62, 2**63 - 1)))
levels = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), max_size=4)


class ExchangeMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        for command in setup_commands():
            self.pair.apply(command, look=False)
        self.names: list[bytes] = []

    def send(self, kind: CommandKind, **fields: int | bytes) -> None:
        self.pair.apply(Command()._replace(kind=int(kind), **fields))  # type: ignore[arg-type]

    def place(self, **fields: int) -> None:
        self.names.append(b"order-%d" % len(self.names))
        self.send(CommandKind.COMMAND_PLACE, client_order_id=self.names[-1], **fields)

    @rule(account=accounts, instrument=instruments, side=sides, price=prices, qty=quantities,
          tif=st.integers(1, 3), flags=st.sampled_from((0, 0, 1, 2, 4)), stp=st.integers(0, 5),
          group=st.sampled_from((0, 0, 7)), least=st.sampled_from((0, 0, 3)),
          link=st.sampled_from((0, 0, 1, 2, 3)))  # fmt: skip
    def limit(self, account: int, instrument: int, side: int, price: int, qty: int, tif: int, flags: int, stp: int,
              group: int, least: int, link: int) -> None:  # fmt: skip
        self.place(account=account, instrument=instrument, side=side, order_type=1, time_in_force=tif, price=price,
                   qty=qty, flags=flags, stp_mode=stp, stp_group=group, min_qty=least, link_type=link,
                   link_id=link)  # fmt: skip

    @rule(account=accounts, instrument=instruments, side=sides, price=prices, qty=quantities, tif=st.sampled_from((4, 5)),
          due=st.integers(-1, 20))  # fmt: skip
    def until(self, account: int, instrument: int, side: int, price: int, qty: int, tif: int, due: int) -> None:
        self.place(account=account, instrument=instrument, side=side, order_type=1, time_in_force=tif, price=price,
                   qty=qty, expire_ns=START_NS + (self.pair.seq + due) * 1_000)  # fmt: skip

    @rule(account=accounts, instrument=instruments, side=sides, price=prices, session=st.integers(1, 2))
    def in_session(self, account: int, instrument: int, side: int, price: int, session: int) -> None:
        self.place(account=account, instrument=instrument, side=side, order_type=1, time_in_force=1, price=price, qty=2,
                   flags=32, session=session)  # fmt: skip

    @rule(account=accounts, instrument=instruments, side=sides, flag=st.sampled_from((8, 16, 64)),
          stop=st.sampled_from((0, 100, 101)), amount=st.integers(0, 5_000), price=prices)  # fmt: skip
    def sized(self, account: int, instrument: int, side: int, flag: int, stop: int, amount: int, price: int) -> None:
        """Close the position, spend an amount, or go no further than a protection price; at once or at a trigger."""
        self.place(account=account, instrument=instrument, side=side, order_type=4 if stop else 2, time_in_force=1,
                   flags=flag, trigger_price=stop, qty=3 if flag == 64 else 0, amount=amount if flag == 16 else 0,
                   price=price if flag == 64 else 0)  # fmt: skip

    @rule(account=accounts, instrument=instruments, side=sides, prices=st.tuples(prices, prices, prices),
          qty=st.integers(1, 8), kind=st.sampled_from((1, 2, 3)), listed=st.booleans())  # fmt: skip
    def linked(self, account: int, instrument: int, side: int, prices: tuple[int, int, int], qty: int, kind: int,
               listed: bool) -> None:  # fmt: skip
        """An order with two that hang on it, or are its equals."""
        link_id = 100 + self.pair.seq
        for at, price in enumerate(prices):
            is_exit, is_stop = kind != 1 and at > 0, at == 2
            self.place(account=account, instrument=instrument, side=side ^ 3 if is_exit else side, qty=qty,
                       order_type=4 if is_stop else 1, time_in_force=1, price=0 if is_stop else price,
                       trigger_price=price if is_stop else 0, flags=4 if kind == 3 and is_exit else 0, link_id=link_id,
                       link_type=kind, link_size=3 if listed else 0)  # fmt: skip

    @rule(account=accounts, instrument=instruments, side=sides, qty=quantities, kind=st.sampled_from((2, 3)))
    def market(self, account: int, instrument: int, side: int, qty: int, kind: int) -> None:
        self.place(account=account, instrument=instrument, side=side, order_type=kind, time_in_force=1, qty=qty)

    @rule(
        account=accounts,
        side=sides,
        price=prices,
        qty=quantities,
        display=st.integers(0, 4),
        kind=st.sampled_from((10, 11)),
    )
    def reserve(self, account: int, side: int, price: int, qty: int, display: int, kind: int) -> None:
        self.place(account=account, instrument=1, side=side, order_type=kind, time_in_force=1, price=price, qty=qty,
                   display_qty=display)  # fmt: skip

    @rule(account=accounts, instrument=instruments, side=sides, kind=st.integers(4, 9), trigger=prices, price=prices,
          qty=quantities, offset=st.integers(0, 4), source=st.integers(0, 3),
          link=st.sampled_from((0, 1, 2)))  # fmt: skip
    def conditional(self, account: int, instrument: int, side: int, kind: int, trigger: int, price: int, qty: int,
                    offset: int, source: int, link: int) -> None:  # fmt: skip
        trailing = kind >= 8
        self.place(account=account, instrument=instrument, side=side, order_type=kind, time_in_force=1, qty=qty,
                   price=price if kind % 2 else 0, trigger_price=0 if trailing and offset % 2 else trigger,
                   trailing_offset=offset if trailing else 0, trailing_unit=int(trailing), trigger_source=source,
                   link_type=link, link_id=link)  # fmt: skip

    @rule(pick=st.integers(0, 30), account=accounts)
    def cancel(self, pick: int, account: int) -> None:
        name = self.names[pick % len(self.names)] if self.names else b"none"
        self.send(CommandKind.COMMAND_CANCEL, account=account, client_order_id=name)

    @rule(pick=st.integers(0, 30), account=accounts, price=st.one_of(st.just(0), prices), qty=quantities)
    def amend(self, pick: int, account: int, price: int, qty: int) -> None:
        name = self.names[pick % len(self.names)] if self.names else b"none"
        self.send(CommandKind.COMMAND_AMEND, account=account, client_order_id=name, price=price, qty=qty)

    @rule(middle=st.integers(98, 102), bids=levels, asks=levels, live=st.sampled_from((1, 1, 1, 0)))
    def book_snapshot(self, middle: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]], live: int) -> None:
        self.send(CommandKind.COMMAND_MIRROR_BEGIN, instrument=3, flags=live)
        for side, step, book_snapshot in ((1, -1, bids), (2, 1, asks)):
            price = middle
            for gap, qty in book_snapshot:
                price += step * gap
                self.send(CommandKind.COMMAND_MIRROR_LEVEL, instrument=3, side=side, price=price, qty=qty)
        self.send(CommandKind.COMMAND_MIRROR_END, instrument=3)

    @rule(side=sides, price=st.integers(96, 104), qty=st.integers(1, 12))
    def print_trade(self, side: int, price: int, qty: int) -> None:
        self.send(CommandKind.COMMAND_MIRROR_TRADE, instrument=3, side=side, price=price, qty=qty)

    @rule(account=st.integers(0, 2), instrument=st.sampled_from((0, 1, 3)), side=st.integers(0, 2))
    def mass_cancel(self, account: int, instrument: int, side: int) -> None:
        self.send(CommandKind.COMMAND_MASS_CANCEL, account=account, instrument=instrument, side=side)

    @rule(account=st.integers(0, 2), session=st.integers(0, 2))
    def disconnect(self, account: int, session: int) -> None:
        self.send(CommandKind.COMMAND_SESSION_CLOSED, account=account, session=session)

    @rule(side=sides, price=st.integers(97, 103), qty=st.integers(1, 5), more=st.integers(0, 9))
    def canceled_at_the_venue(self, side: int, price: int, qty: int, more: int) -> None:
        self.send(CommandKind.COMMAND_MIRROR_CANCELED, instrument=3, side=side, price=price, qty=qty,
                  display_qty=qty + more)  # fmt: skip

    @rule(model=st.integers(0, 3), latency=st.sampled_from((0, 0, 3_000)))
    def paper_rules(self, model: int, latency: int) -> None:
        rules = next(each for each in setup_commands() if isinstance(each, InstrumentDef) and each.mirrored)
        self.pair.apply(rules._replace(paper_model=model, latency_in_ns=latency))

    @rule()
    def arrivals(self) -> None:
        self.send(CommandKind.COMMAND_ARRIVALS)

    @rule(account=accounts, due=st.integers(0, 30))
    def timers(self, account: int, due: int) -> None:
        self.send(CommandKind.COMMAND_SET_DEADMAN_TIMER, account=account,
                  expire_ns=START_NS + (self.pair.seq + due) * 1_000)  # fmt: skip
        self.send(CommandKind.COMMAND_TIMER)

    @rule(instrument=st.sampled_from((0, 1, 3)), status=st.sampled_from((1, 1, 1, 2, 3, 4)))
    def status(self, instrument: int, status: int) -> None:
        self.send(CommandKind.COMMAND_SET_TRADING_STATUS, instrument=instrument, flags=status)


TestExchange = ExchangeMachine.TestCase
TestExchange.settings = settings(max_examples=100 * SOAK_FACTOR, stateful_step_count=40, deadline=None)
