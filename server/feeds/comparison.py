"""Compares a mirrored book with a fetched snapshot.

A snapshot shows the book at one place of the venue's history. The updates after that place are applied to it, which
gives the book now, found on another way than the mirrored one.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator, Mapping

from server.base.instruments import Instrument
from server.feeds.frames import DepthFrame
from server.market.book import Book

MAX_HELD = 1_000
"""Updates kept while a snapshot is being fetched; the oldest go first, and the snapshot must then be newer."""

Place = tuple[int, int]
"""A place in a venue's history: (position, venue time in ns), each 0 where the venue does not tell it."""

Difference = tuple[int, int, int]
"""(sign of the side, price in ticks, own quantity in lots): a level of which a snapshot says something else."""


class Fault(enum.StrEnum):
    """Why a book was lost."""

    SEQUENCE = "sequence"
    """An update is missing."""
    OLD = "old"
    """Nothing but old updates came."""
    UNREADABLE = "unreadable"
    """A message or a level cannot be read."""
    OFF_GRID = "off_grid"
    """A price or quantity is no multiple of the tick or lot."""
    CROSSED = "crossed"
    """The best bid is not below the best ask."""
    CHECKSUM = "checksum"
    """The book does not have the venue's checksum."""
    ONE_SIDED = "one_sided"
    """A snapshot has no bids or no asks."""
    DEPTH = "depth"
    """The price went to the end of the levels that are known."""
    DIFFERENT = "different"
    """A fetched snapshot shows another book."""


class BadBook(Exception):
    """A message cannot be right, or the book after it."""

    def __init__(self, fault: Fault, problem: str) -> None:
        super().__init__(problem)
        self.fault = fault


class Result(enum.StrEnum):
    """The result of a comparison."""

    SAME = "same"
    SUSPECT = "suspect"
    """Levels differ, at a venue whose updates leave out what changed back at once: the next comparison decides."""
    DIFFERENT = "different"
    UNSURE = "unsure"
    """The snapshot cannot be used, or the stream did not reach it in time."""


def place_of(frame: DepthFrame) -> Place:
    """The place that a frame leads to, or that a snapshot shows."""
    return frame.position or frame.sequence, frame.venue_time_ns or 0


class HeldUpdates:
    """The newest updates of a book without a gap in between, and the place they begin after."""

    def __init__(self) -> None:
        self._updates: deque[DepthFrame] = deque()
        self.start: Place = (0, 0)
        self.end: Place = (0, 0)

    def __bool__(self) -> bool:
        return bool(self._updates)

    def __iter__(self) -> Iterator[DepthFrame]:
        return iter(self._updates)

    def begin(self, place: Place) -> None:
        """Hold nothing; what is held next connects to `place`."""
        self._updates.clear()
        self.start = self.end = place

    def add(self, update: DepthFrame) -> None:
        if len(self._updates) == MAX_HELD:
            self.start = place_of(self._updates.popleft())
        self._updates.append(update)
        self.end = place_of(update)


def differences(own: Book, other: Book, *, to_worst_level: bool) -> dict[Difference, int]:
    """Where two books differ, as far as both are known: by level, the other's quantity.

    `to_worst_level`: `own` is known only down to its worst level, as where a venue keeps the best N levels up to date.
    """
    found: dict[Difference, int] = {}
    for mine, theirs in zip(own.sides, other.sides, strict=True):
        limits = [side.limit for side in (mine, theirs) if side.limit is not None]
        if to_worst_level and mine.keys:
            limits.append(mine.keys[-1])
        limit = min(limits, default=None)
        for key in {key for key, _ in mine.qty.items() ^ theirs.qty.items()}:
            if limit is None or key <= limit:
                found[mine.sign, mine.sign * key, mine.qty.get(key, 0)] = theirs.qty.get(key, 0)
    return found


def difference_text(instrument: Instrument, found: Mapping[Difference, int]) -> str:
    """The best of the levels that differ, for people."""
    sign, price, qty = min(found, key=lambda each: each[0] * each[1])
    here, there = (instrument.data_qty_text(each) for each in (qty, found[sign, price, qty]))
    side = "ask" if sign > 0 else "bid"
    more = f" ({len(found)} levels differ)" if len(found) > 1 else ""
    return f"the {side} at {instrument.price_text(price)} is {here} here and {there} in a snapshot{more}"
