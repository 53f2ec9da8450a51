"""A day of NASDAQ messages through the book, compared with what was recorded, wherever the data allow it.

AMZN, 5 levels, 155,935 rows. Orders resting before the open have no add message, and an order out of the recorded view
can vanish silently, so not every level can be known. Compared are the levels that can: a price within the recorded view
and empty in the recorded row before an order is added there is watched from then on, until it leaves the view; after
each message at a watched price our level must show exactly the recorded size. Executions must be at the recorded best.

AAPL, 50 levels, messages only, 40,000 rows: time priority. For each execution of an order we saw arrive, is it the
oldest we know at its price? If it is, a taker is sent for it and must fill that very order. About 0.6 % of the
executions of the full hour do not hit the oldest known order; that is the data.

Where the data show that orders of ours vanished silently (an add would cross them, a row shows their level empty), they
are taken out and counted.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastpath.matching_engine import COMMAND, REPORT, EngineOp, MatchingEngine, ReportKind
from fastpath.model import TimeInForce
from tests.reference.book_twin import BUY, SELL

ADD, PARTIAL_CANCEL, DELETE, EXECUTE = 1, 2, 3, 4
AMZN = "AMZN_2012-06-21_34200000_57600000"
GTC, IOC = int(TimeInForce.TIME_IN_FORCE_GTC), int(TimeInForce.TIME_IN_FORCE_IOC)
TAKER_ID = 1 << 60
AAPL = "AAPL_2012-06-21_34200000_37800000_message_50.first40000.csv.gz"


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    id: int
    size: int
    price: int
    side: int  # of the resting order


def messages(path: Path) -> Iterator[Message]:
    with gzip.open(path, "rt") as lines:
        for _, kind, id, size, price, direction, *_ in csv.reader(lines):
            yield Message(int(kind), int(id), int(size), int(price), BUY if direction == "1" else SELL)


def rows(path: Path) -> Iterator[dict[int, dict[int, int]]]:
    """Each recorded book: side -> price -> size."""
    with gzip.open(path, "rt") as lines:
        for row in csv.reader(lines):
            numbers = list(map(int, row))
            yield {
                SELL: {numbers[i]: numbers[i + 1] for i in range(0, len(numbers), 4) if numbers[i + 1]},
                BUY: {numbers[i + 2]: numbers[i + 3] for i in range(0, len(numbers), 4) if numbers[i + 3]},
            }


class Replay:
    """Messages as commands of an engine."""

    def __init__(self) -> None:
        self.engine = MatchingEngine(max_orders=200_000, max_books=2)
        self.engine.create_book(1)
        self.known: set[int] = set()
        self.vanished = 0

    def _send(self, op: int, side: int, id: int, price: int, qty: int, time_in_force: int = 0) -> list[tuple[int, ...]]:
        return list(REPORT.iter_unpack(self.engine.apply(COMMAND.pack(op, side, time_in_force, 0, 1, id, price, qty))))

    def clear(self, side: int, price: int) -> None:
        """The level is known to be empty: take out what we still have there."""
        if self.engine.level(1, side, price)[1]:
            for id, *_ in [order for order in self.engine.orders(1, side) if order[1] == price]:
                self._send(EngineOp.ENGINE_CANCEL, 0, id, 0, 0)
                self.vanished += 1

    def _clear_the_way(self, side: int, price: int) -> None:
        """Take out orders of `side` that must be gone, since nothing traded with them at `price`."""
        best = self.engine.best(1, side)
        while best is not None and (best >= price if side == BUY else best <= price):
            self.clear(side, best)
            best = self.engine.best(1, side)

    def add(self, message: Message) -> None:
        self._clear_the_way(SELL if message.side == BUY else BUY, message.price)
        reports = self._send(EngineOp.ENGINE_NEW, message.side, message.id, message.price, message.size, GTC)
        assert [report[1] for report in reports] == [ReportKind.REPORT_ACCEPTED]
        self.known.add(message.id)

    def take_out(self, message: Message) -> None:
        """Less open quantity of one order, by its id."""
        op = EngineOp.ENGINE_CANCEL if message.kind == DELETE else EngineOp.ENGINE_REDUCE
        self._send(op, message.side, message.id, 0, message.size)

    def execute(self, message: Message) -> bool:
        """Send a taker for an execution and see that it fills the very order. False: ours is not first there."""
        at_price = [order[0] for order in self.engine.orders(1, message.side) if order[1] == message.price]
        if not at_price or at_price[0] != message.id:
            self.take_out(message)
            return False
        self._clear_the_way(message.side, message.price + (1 if message.side == BUY else -1))
        taker = SELL if message.side == BUY else BUY
        reports = self._send(EngineOp.ENGINE_NEW, taker, TAKER_ID, message.price, message.size, IOC)
        fills = [report for report in reports if report[1] == ReportKind.REPORT_TRADE]
        assert [(fill[7], fill[8], fill[9]) for fill in fills] == [(message.id, message.price, message.size)]
        return True


def test_amzn_levels_equal_the_recorded_rows(shared: Path) -> None:
    replay = Replay()
    watched: dict[int, set[int]] = {BUY: set(), SELL: set()}
    compared = executions = 0
    folder = shared / "data" / "lobster"
    recorded = rows(folder / f"{AMZN}_orderbook_5.csv.gz")
    stream = messages(folder / f"{AMZN}_message_5.csv.gz")
    next(stream)
    before = next(recorded)
    for message, after in zip(stream, recorded, strict=True):
        ours = before[message.side]
        if message.kind == EXECUTE:
            assert message.price == (max(ours) if message.side == BUY else min(ours))
            executions += 1
        if message.kind == ADD:
            in_view = message.price > min(ours) if message.side == BUY else message.price < max(ours)
            if in_view and message.price not in ours:
                replay.clear(message.side, message.price)
                watched[message.side].add(message.price)
            replay.add(message)
        elif message.kind in (PARTIAL_CANCEL, DELETE, EXECUTE) and message.id in replay.known:
            replay.take_out(message)
        if message.price in watched[message.side]:
            expected = after[message.side].get(message.price, 0)
            assert replay.engine.level(1, message.side, message.price)[0] == expected
            compared += 1
        for side in (BUY, SELL):
            watched[side] &= after[side].keys()
        before = after
    replay.engine.validate()
    print(f"AMZN: {compared} level sizes equal to the recorded rows, {executions} executions at the recorded best, "
          f"{replay.vanished} orders had vanished silently")  # fmt: skip
    assert compared > 20_000
    assert executions > 8_900


def test_aapl_executions_hit_the_oldest_order(shared: Path) -> None:
    replay = Replay()
    executions = agreed = 0
    for message in messages(shared / "data" / "lobster" / AAPL):
        if message.kind == ADD:
            replay.add(message)
        elif message.id not in replay.known:
            continue
        elif message.kind == EXECUTE:
            executions += 1
            agreed += replay.execute(message)
        elif message.kind in (PARTIAL_CANCEL, DELETE):
            replay.take_out(message)
    replay.engine.validate()
    print(f"AAPL: {agreed} of {executions} executions filled the order our book has first, "
          f"{replay.vanished} orders had vanished silently")  # fmt: skip
    assert executions > 1_000
    assert agreed / executions > 0.99
