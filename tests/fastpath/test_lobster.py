"""A day of NASDAQ messages through the book, compared with what was recorded.

Whole days of AMZN (5 levels, and 1) and AAPL (1): after each message our best levels of both sides must be the recorded
row, prices and sizes, in all 331,944 rows after the first ones. What the data do not tell is taken from the rows, and only
from them: the levels of the first row, and a level that comes into view from beyond the last (its orders may have come and
gone unseen). Such a level is *adopted*: one nameless order of the recorded size. A message about an order whose arrival is
not in the data takes its size off the nameless order of its price.

AAPL, 50 levels, messages only, 40,000 rows: time priority. For each execution of an order we saw arrive, is it the
oldest we know at its price? If it is, a taker is sent for it and must fill that very order. About 0.6 % of the
executions of the full hour do not hit the oldest known order; that is the data. Where an add would cross orders of ours,
those vanished silently: they are taken out and counted.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fastpath.model.enums import TimeInForce
from fastpath.standalone.matching_engine import COMMAND, REPORT, EngineOp, MatchingEngine, ReportKind
from tests.reference.book_twin import BUY, SELL

ADD, PARTIAL_CANCEL, DELETE, EXECUTE = 1, 2, 3, 4
DAYS = [
    ("AMZN_2012-06-21_34200000_57600000", 5, 155_934, 12_000),
    ("AMZN_2012-06-21_34200000_57600000", 1, 57_514, 8_000),
    ("AAPL_2012-06-21_34200000_57600000", 1, 118_496, 15_000),
]
"""Levels recorded, rows after the first, levels that may come into view."""
GTC, IOC = int(TimeInForce.TIME_IN_FORCE_GTC), int(TimeInForce.TIME_IN_FORCE_IOC)
TAKER_ID = 1 << 60
"""Ids from here on are not those of the data."""
DEEP = 100
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


Levels = list[tuple[int, int]]
"""(price, size), best first."""


def rows(path: Path) -> Iterator[dict[int, Levels]]:
    """Each recorded book, by side."""
    with gzip.open(path, "rt") as lines:
        for row in csv.reader(lines):
            numbers = list(map(int, row))
            yield {
                SELL: [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 4) if numbers[i + 1]],
                BUY: [(numbers[i + 2], numbers[i + 3]) for i in range(0, len(numbers), 4) if numbers[i + 3]],
            }


class Replay:
    """Messages as commands of an engine."""

    def __init__(self) -> None:
        self.engine = MatchingEngine(max_orders=200_000, max_books=2)
        self.engine.create_book(1)
        self.known: set[int] = set()
        self.vanished = 0

    def send(self, op: int, side: int, id: int, price: int, qty: int, time_in_force: int = 0) -> list[tuple[int, ...]]:
        return list(REPORT.iter_unpack(self.engine.apply(COMMAND.pack(op, side, time_in_force, 0, 1, id, price, qty))))

    def clear(self, side: int, price: int) -> None:
        """Take out what we still have at a price."""
        if self.engine.level(1, side, price)[1]:
            for id, *_ in [order for order in self.engine.orders(1, side) if order[1] == price]:
                self.send(EngineOp.ENGINE_CANCEL, 0, id, 0, 0)
                self.known.discard(id)
                self.vanished += 1

    def _clear_the_way(self, side: int, price: int) -> None:
        """Take out orders of `side` that must be gone, since nothing traded with them at `price`."""
        best = self.engine.best(1, side)
        while best is not None and (best >= price if side == BUY else best <= price):
            self.clear(side, best)
            best = self.engine.best(1, side)

    def add(self, message: Message) -> None:
        self._clear_the_way(SELL if message.side == BUY else BUY, message.price)
        self.rest(message.side, message.id, message.price, message.size)

    def rest(self, side: int, id: int, price: int, size: int) -> None:
        reports = self.send(EngineOp.ENGINE_NEW, side, id, price, size, GTC)
        assert [report[1] for report in reports] == [ReportKind.REPORT_ACCEPTED]
        self.known.add(id)

    def take_out(self, message: Message, id: int = 0) -> None:
        """Less open quantity of one order, by its id."""
        report = self.send(EngineOp.ENGINE_REDUCE, message.side, id or message.id, 0, message.size)[0]
        if report[1] == ReportKind.REPORT_CANCELED:
            self.known.discard(id or message.id)

    def execute(self, message: Message) -> bool:
        """Send a taker for an execution and see that it fills the very order. False: ours is not first there."""
        at_price = [order[0] for order in self.engine.orders(1, message.side) if order[1] == message.price]
        if not at_price or at_price[0] != message.id:
            self.take_out(message)
            return False
        self._clear_the_way(message.side, message.price + (1 if message.side == BUY else -1))
        taker = SELL if message.side == BUY else BUY
        reports = self.send(EngineOp.ENGINE_NEW, taker, TAKER_ID, message.price, message.size, IOC)
        fills = [report for report in reports if report[1] == ReportKind.REPORT_TRADE]
        assert [(fill[7], fill[8], fill[9]) for fill in fills] == [(message.id, message.price, message.size)]
        return True


class View(Replay):
    """A replay of which the rows show the best levels; what comes into view is adopted."""

    def __init__(self, first: dict[int, Levels]) -> None:
        super().__init__()
        self.before = first
        self.nameless: dict[tuple[int, int], tuple[int, int]] = {}
        """By side and price: id and open size of what stands for orders that were never seen to arrive."""
        self.adopted = 0
        for side, levels in first.items():
            for price, size in levels:
                self.adopt(side, price, size)

    def clear(self, side: int, price: int) -> None:
        super().clear(side, price)
        self.nameless.pop((side, price), None)

    def adopt(self, side: int, price: int, size: int) -> None:
        """A level has this size, whoever is there."""
        if self.engine.level(1, side, price)[0] == size:
            return
        self.clear(side, price)
        if size:
            self.adopted += 1
            id = TAKER_ID + self.adopted
            self.rest(side, id, price, size)
            self.nameless[side, price] = id, size

    def follow(self, message: Message) -> None:
        if message.kind == ADD:
            self.add(message)
        elif message.id in self.known:
            self.take_out(message)
        else:
            self.follow_nameless(message)

    def follow_nameless(self, message: Message) -> None:
        place = message.side, message.price
        id, size = self.nameless.get(place, (0, 0))
        if size < message.size:  # somebody of ours there left unseen: nobody there has a name any more
            total = self.engine.level(1, *place)[0]
            self.clear(*place)
            self.adopt(*place, total)
            id, size = self.nameless.get(place, (0, 0))
        self.take_out(message, id)
        self.nameless[place] = id, size - message.size

    def compare(self, row: dict[int, Levels]) -> None:
        """Our best levels are those of the row, those that have just come into view aside."""
        for side, levels in row.items():
            if [level[:2] for level in self.engine.depth(1, side, len(levels))] != levels:
                self.come_into_view(side, levels)
                assert [level[:2] for level in self.engine.depth(1, side, len(levels))] == levels
        self.before = row

    def come_into_view(self, side: int, levels: Levels) -> None:
        sign = -1 if side == BUY else 1
        edge, end = sign * self.before[side][-1][0], sign * levels[-1][0]
        shown = dict(levels)
        for price, *_ in self.engine.depth(1, side, DEEP):
            if edge < sign * price <= end and price not in shown:
                self.clear(side, price)
        for price, size in levels:
            if sign * price > edge:
                self.adopt(side, price, size)


@pytest.mark.parametrize(("day", "levels", "compared", "most_adopted"), DAYS)
def test_every_recorded_row_is_our_book(day: str, levels: int, compared: int, most_adopted: int, shared: Path) -> None:
    folder = shared / "data" / "lobster"
    recorded = rows(folder / f"{day}_orderbook_{levels}.csv.gz")
    stream = messages(folder / f"{day}_message_{levels}.csv.gz")
    next(stream)
    view = View(next(recorded))
    equal = executions = 0
    for message, row in zip(stream, recorded, strict=True):
        if message.kind == EXECUTE:
            assert message.price == view.before[message.side][0][0]
            executions += 1
        if message.kind in (ADD, PARTIAL_CANCEL, DELETE, EXECUTE):
            view.follow(message)
        view.compare(row)
        equal += 1
    view.engine.validate()
    print(f"{day}: {equal} rows of {levels} levels a side equal, {view.adopted} levels adopted as they came into view, "
          f"{executions} executions at the recorded best")  # fmt: skip
    assert equal == compared
    assert view.adopted <= most_adopted


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
