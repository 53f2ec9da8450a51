"""Topics: one numbered sequence of updates each, kept in a ring that all its subscribers read.

A subscription is nothing but a cursor into its topic's ring, so publishing costs the same for one subscriber and for a
hundred, a slow reader takes no memory, falling behind is falling off the ring, and resuming is starting the cursor
where the client stopped. Conflation happens when a reader finds more than one update after its cursor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from server.base.instruments import Instrument
from server.market.book import Book, BookSide
from server.market.model import BookUpdate, FeedState, Level, Quote

T = TypeVar("T")


class Topic(Generic[T]):
    """A sequence of updates: the newest `capacity` are held. Sequences are contiguous and never used twice."""

    __slots__ = ("_capacity", "_first", "_ring", "sequence", "waiting")

    def __init__(self, capacity: int, sequence: int = 0) -> None:
        self.sequence = sequence
        """Of the newest update."""
        self.waiting: list[Callable[[], None]] = []
        """Called once, at the next update."""
        self._first = sequence
        self._capacity = capacity
        self._ring: list[T] = []

    @property
    def floor(self) -> int:
        """Every update after this sequence is held."""
        return self.sequence - len(self._ring)

    def append(self, update: T) -> None:
        ring = self._ring
        if len(ring) < self._capacity:
            ring.append(update)
        else:
            ring[(self.sequence - self._first) % self._capacity] = update
        self.sequence += 1
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for wake in waiting:
                wake()

    def at(self, sequence: int) -> T:
        """The update with this sequence, which must be held."""
        return self._ring[(sequence - self._first - 1) % self._capacity]

    def newest(self, limit: int) -> list[T]:
        """At most `limit` updates, newest first."""
        return [self.at(sequence) for sequence in range(self.sequence, max(self.floor, self.sequence - limit), -1)]

    def snapshot(self) -> T | None:
        """The state at the newest sequence."""
        return self.at(self.sequence) if self._ring else None

    def merged(self, after: int) -> T:
        """One update that does what all updates after the sequence `after` did; there must be one."""
        raise TypeError("the updates of this topic cannot be merged")


class QuoteTopic(Topic[Quote]):
    """Best bid and ask: the newest replaces all others."""

    __slots__ = ()

    def merged(self, after: int) -> Quote:
        return self.at(self.sequence)


class BookState:
    """The whole book of an instrument as published, and how far it can be trusted."""

    __slots__ = (
        "book",
        "instrument",
        "receive_time_ns",
        "sequence",
        "state",
        "venue_sequence",
        "venue_time_ns",
        "views",
    )

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.book = Book()
        self.state = FeedState.SYNCING
        self.sequence = 0
        """Updates so far: where the sequence of a new view starts, so that no view uses a number twice."""
        self.venue_sequence = 0
        self.venue_time_ns: int | None = None
        self.receive_time_ns = 0
        self.views: dict[int, BookView] = {}
        """By depth."""

    def apply(self, update: BookUpdate) -> None:
        """Take an update over and pass what it changes on to each view. With another tick or lot the book begins anew."""
        self.sequence += 1
        self.state = update.state
        self.venue_sequence = update.venue_sequence
        self.venue_time_ns = update.venue_time_ns
        self.receive_time_ns = update.receive_time_ns
        book = self.book
        regridded = update.instrument.number != self.instrument.number
        self.instrument = update.instrument
        if update.is_snapshot or regridded:  # levels of another grid mean nothing in this one
            book.reset(update.bids, update.asks)
            for view in self.views.values():
                view.restart()
            return
        bids = book.bids.apply(update.bids)
        asks = book.asks.apply(update.asks)
        for view in self.views.values():
            view.change(update, bids, asks)

    def book_snapshot(self, depth: int) -> BookUpdate:
        """The best `depth` levels of each side as a snapshot."""
        return BookUpdate(
            instrument=self.instrument,
            bids=self.book.bids.top(depth),
            asks=self.book.asks.top(depth),
            is_snapshot=True,
            state=self.state,
            venue_sequence=self.venue_sequence,
            venue_time_ns=self.venue_time_ns,
            receive_time_ns=self.receive_time_ns,
        )

    def view(self, depth: int, capacity: int) -> BookView:
        """The view of this depth, shared by all who ask for it."""
        view = self.views.get(depth)
        if view is None:
            view = self.views[depth] = BookView(self, depth, capacity)
        return view


class BookView(Topic[BookUpdate]):
    """The best `depth` levels of a book: exactly these after each update, whatever moves in and out of the range."""

    __slots__ = ("_asks", "_bids", "_merged", "_snapshot", "_state", "depth", "source", "subscribers")

    def __init__(self, source: BookState, depth: int, capacity: int) -> None:
        super().__init__(capacity, source.sequence)
        self.source = source
        self.depth = depth
        self.subscribers = 0
        self._bids = source.book.bids.keys[:depth]
        self._asks = source.book.asks.keys[:depth]
        self._state = source.state
        self._snapshot: tuple[int, BookUpdate] | None = None
        """The last snapshot, with the sequence of the source it is good for: readers that come together share it."""
        self._merged: tuple[tuple[int, int], BookUpdate] | None = None
        """The last merger of the updates after a sequence up to another: readers in step share it."""

    def restart(self) -> None:
        """The source took a snapshot: so do the subscribers."""
        snapshot = self.snapshot()
        self._bids = self.source.book.bids.keys[: self.depth]
        self._asks = self.source.book.asks.keys[: self.depth]
        self._state = snapshot.state
        self.append(snapshot)

    def change(self, update: BookUpdate, bids: list[int], asks: list[int]) -> None:
        """The source applied `update`, which changed the levels with these keys."""
        book = self.source.book
        bid_levels, self._bids = _with_changes(book.bids, self._bids, bids, self.depth)
        ask_levels, self._asks = _with_changes(book.asks, self._asks, asks, self.depth)
        if bid_levels or ask_levels or update.state is not self._state:
            self._state = update.state
            self.append(replace(update, bids=tuple(bid_levels), asks=tuple(ask_levels)))

    def snapshot(self) -> BookUpdate:
        if self._snapshot is None or self._snapshot[0] != self.source.sequence:
            self._snapshot = self.source.sequence, self.source.book_snapshot(self.depth)
        return self._snapshot[1]

    def merged(self, after: int) -> BookUpdate:
        span = (after, self.sequence)
        if self._merged is None or self._merged[0] != span:
            self._merged = span, self._merge(after)
        return self._merged[1]

    def _merge(self, after: int) -> BookUpdate:
        newest = self.at(self.sequence)
        if self.sequence == after + 1:
            return newest
        if after < self.floor:
            return self.snapshot()
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        for sequence in range(after + 1, self.sequence + 1):
            update = self.at(sequence)
            if update.is_snapshot:
                return self.snapshot()
            bids.update(update.bids)
            asks.update(update.asks)
        return replace(newest, bids=tuple(bids.items()), asks=tuple(asks.items()))


def _with_changes(side: BookSide, old: list[int], changed: list[int], depth: int) -> tuple[list[Level], list[int]]:
    """What a change does to the best `depth` levels: the levels to send, and the keys that are in range now.

    `old` are the keys that were in range, `changed` those whose quantity changed.
    """
    if not changed or (len(old) == depth and min(changed) > old[-1]):
        return [], old
    sign, qty = side.sign, side.qty
    new = side.keys[:depth]
    levels: list[Level] = []
    fresh: set[int] = set()
    if new != old:
        now = set(new)
        fresh = now.difference(old)
        levels += [(sign * key, 0) for key in old if key not in now]
        levels += [(sign * key, qty[key]) for key in new if key in fresh]
    if new:
        worst = new[-1]
        levels += [(sign * key, qty[key]) for key in changed if key <= worst and key in qty and key not in fresh]
    return levels, new
