"""The fast exchange against its twin once more, by hypothesis: short histories, shrunk to the shortest that fails."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from fastpath.model import CommandKind
from tests.conftest import SOAK_FACTOR
from tests.reference.exchange_pair import START_NS, Pair, setup_commands
from tests.reference.records import Command

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
          link=st.sampled_from((0, 0, 1, 2, 3)))  # fmt: skip
    def limit(self, account: int, instrument: int, side: int, price: int, qty: int, tif: int, flags: int, stp: int,
              link: int) -> None:  # fmt: skip
        self.place(account=account, instrument=instrument, side=side, order_type=1, time_in_force=tif, price=price,
                   qty=qty, flags=flags, stp_mode=stp, link_type=link, link_id=link)  # fmt: skip

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
    def picture(self, middle: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]], live: int) -> None:
        self.send(CommandKind.COMMAND_MIRROR_BEGIN, instrument=3, flags=live)
        for side, step, picture in ((1, -1, bids), (2, 1, asks)):
            price = middle
            for gap, qty in picture:
                price += step * gap
                self.send(CommandKind.COMMAND_MIRROR_LEVEL, instrument=3, side=side, price=price, qty=qty)
        self.send(CommandKind.COMMAND_MIRROR_END, instrument=3)

    @rule(side=sides, price=st.integers(96, 104), qty=st.integers(1, 12))
    def print_trade(self, side: int, price: int, qty: int) -> None:
        self.send(CommandKind.COMMAND_MIRROR_TRADE, instrument=3, side=side, price=price, qty=qty)

    @rule(account=accounts, due=st.integers(0, 30))
    def timers(self, account: int, due: int) -> None:
        self.send(CommandKind.COMMAND_SET_DEADMAN_TIMER, account=account,
                  expire_ns=START_NS + (self.pair.seq + due) * 1_000)  # fmt: skip
        self.send(CommandKind.COMMAND_TIMER)

    @rule(status=st.integers(1, 4))
    def status(self, status: int) -> None:
        self.send(CommandKind.COMMAND_SET_TRADING_STATUS, instrument=1, flags=status)
        self.send(CommandKind.COMMAND_SET_TRADING_STATUS, instrument=1, flags=1)


TestExchange = ExchangeMachine.TestCase
TestExchange.settings = settings(max_examples=60 * SOAK_FACTOR, stateful_step_count=40, deadline=None)
