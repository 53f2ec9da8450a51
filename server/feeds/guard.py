"""The sequence guard: decides from the venue's own numbers whether a mirrored book can be trusted.

    SYNCING --snapshot--> LIVE --message missing or wrong--> GAP --snapshot--> LIVE
    any --connection lost or silent--> STALE --snapshot--> LIVE

Pure: no network, no clock, no tasks. It is fed frames and says what to publish; whoever feeds it looks at
`needs_snapshot` afterwards.
"""

from __future__ import annotations

import zlib
from collections import deque
from itertools import zip_longest

from server.feeds.book import MAX_LEVELS, Book
from server.feeds.frames import DepthFrame, Rows
from server.feeds.grid import Grid
from server.feeds.model import BookUpdate, FeedState, Level
from server.instruments import Instrument, OffGrid

MAX_BUFFERED = 1_000
"""Deltas kept while a snapshot is being fetched; the oldest go first, and the snapshot must then be newer."""

_CHECKSUM_DEPTH = 25

Levels = tuple[Level, ...]


class BookGuard:
    """Mirrors one book and knows its state.

    `buffers`: snapshots come over another way (REST) than deltas, so deltas are kept until theirs is there. Otherwise a
    snapshot is a message of the stream itself, and deltas before it are worthless.
    """

    def __init__(self, instrument: Instrument, *, buffers: bool) -> None:
        self.instrument = instrument
        self.state = FeedState.SYNCING
        self.reason = "waiting for the first snapshot"
        """Why the book is not LIVE, for people; empty while it is."""
        self.gaps = 0
        self.off_grid = False
        """Whether the last frame that was wrong had a price or quantity that is no multiple of the tick or lot."""
        self._buffers = buffers
        self._buffer: deque[DepthFrame] = deque(maxlen=MAX_BUFFERED)
        self._book = Book()
        self._price = Grid(instrument.tick_size, least=1)
        self._qty = Grid(instrument.data_lot_size)
        self._texts: _Texts | None = None
        self._sequence = 0
        self._has_book = False
        """Whether the book is contiguous up to `_sequence`."""
        self._joined = True
        """Whether a delta has been applied since the snapshot; the first may begin before it."""

    @property
    def needs_snapshot(self) -> bool:
        """Nothing but a new snapshot can make the book LIVE."""
        return not self._has_book

    @property
    def best(self) -> tuple[Level, Level]:
        """Best bid and ask of the book, (0, 0) for a side that is empty."""
        return self._book.bids.best(), self._book.asks.best()

    def depth(self, frame: DepthFrame, receive_time_ns: int) -> BookUpdate | None:
        """Take a frame of the stream. Returns what to publish, if anything."""
        if frame.is_snapshot:
            return self._take_snapshot(frame, receive_time_ns)
        if not self._has_book:
            if self._buffers:
                self._buffer.append(frame)
            return None
        problem = self._discontinuity(frame)
        if problem is None:
            return None
        if problem:
            self._buffer.clear()
            if self._buffers:
                self._buffer.append(frame)
            return self._distrust(FeedState.GAP, problem, receive_time_ns)
        try:
            bids, asks = self._apply(frame)
        except _BadFrame as error:
            return self._distrust(FeedState.GAP, str(error), receive_time_ns)
        return self._update(bids, asks, frame.venue_time_ns, receive_time_ns)

    def snapshot(self, frame: DepthFrame, receive_time_ns: int) -> BookUpdate | None:
        """Take a snapshot that was fetched, and the deltas that came meanwhile.

        If they do not connect (the snapshot is too old) the book goes on needing one. Without any delta since the book
        was lost there may be no stream at all: then the snapshot is refused too.
        """
        return self._take_snapshot(frame, receive_time_ns) if self._buffer else None

    def unreadable(self, problem: str, receive_time_ns: int) -> BookUpdate | None:
        """A frame of this book came that cannot be read: what it said is missing."""
        self._buffer.clear()
        return self._distrust(FeedState.GAP, f"a message cannot be read: {problem}", receive_time_ns)

    def refused(self, reason: str) -> None:
        """The venue refuses the book's subscription: what is waited for will not come."""
        if not self._has_book:
            self.reason = reason

    def disconnected(self, reason: str, now_ns: int) -> BookUpdate | None:
        """The connection is gone: the next one starts from a snapshot."""
        self._has_book = False
        self._buffer.clear()
        return self._leave(FeedState.STALE, reason, now_ns)

    def _discontinuity(self, frame: DepthFrame) -> str | None:
        """What is wrong with the frame's place in the sequence: "" if it is the next one, None if it is an old one."""
        if not frame.sequence:
            return "" if frame.checksum is not None else "a delta carries neither a sequence number nor a checksum"
        if frame.prev_sequence == self._sequence:
            return ""
        if frame.sequence == self._sequence or (self._buffers and frame.sequence < self._sequence):
            return None
        if not self._joined and frame.prev_sequence < self._sequence < frame.sequence:
            return ""
        return f"expected the delta after {self._sequence}, got the one after {frame.prev_sequence}"

    def _take_snapshot(self, frame: DepthFrame, receive_time_ns: int) -> BookUpdate | None:
        try:
            bids, asks = self._levels(frame.bids), self._levels(frame.asks)
            self._book.reset(bids, asks)
            self._texts = None
            if frame.checksum is not None and not frame.sequence:
                self._texts = _Texts()
                self._texts.apply(frame, bids, asks)
            self._sequence = frame.sequence
            self._joined = not self._buffers
            self._check(frame)
            venue_time_ns = frame.venue_time_ns
            for delta in self._buffer:
                problem = self._discontinuity(delta)
                if problem:
                    self.reason = f"the snapshot does not connect: {problem}"
                    return None
                if problem == "":
                    self._apply(delta)
                    venue_time_ns = delta.venue_time_ns
        except _BadFrame as error:
            self._buffer.clear()
            return self._distrust(FeedState.GAP, str(error), receive_time_ns)
        self._buffer.clear()
        self._has_book = True
        return self._trust(venue_time_ns, receive_time_ns)

    def _apply(self, frame: DepthFrame) -> tuple[Levels, Levels]:
        bids, asks = self._levels(frame.bids), self._levels(frame.asks)
        self._book.bids.apply(bids)
        self._book.asks.apply(asks)
        if self._texts is not None:
            self._texts.apply(frame, bids, asks)
        self._sequence = frame.sequence
        self._joined = True
        self._check(frame)
        return bids, asks

    def _check(self, frame: DepthFrame) -> None:
        if self._book.is_crossed:
            raise _BadFrame("the best bid is not below the best ask")
        if self._texts is not None and self._texts.checksum(self._book) != frame.checksum:
            raise _BadFrame("the book does not have the venue's checksum")

    def _levels(self, rows: Rows) -> Levels:
        price, qty = self._price.units, self._qty.units
        try:
            return tuple([(price(row[0]), qty(row[1])) for row in rows])
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            self.off_grid = isinstance(error, OffGrid)
            raise _BadFrame(f"a level cannot be read: {error}") from None

    def _trust(self, venue_time_ns: int | None, receive_time_ns: int) -> BookUpdate:
        self.state = FeedState.LIVE
        self.reason = ""
        self.off_grid = False
        bids, asks = self._book.bids.top(MAX_LEVELS), self._book.asks.top(MAX_LEVELS)
        return self._update(bids, asks, venue_time_ns, receive_time_ns, is_snapshot=True)

    def _distrust(self, state: FeedState, reason: str, now_ns: int) -> BookUpdate | None:
        self.gaps += 1
        self._has_book = False
        return self._leave(state, reason, now_ns)

    def _leave(self, state: FeedState, reason: str, now_ns: int) -> BookUpdate | None:
        self.reason = reason
        if self.state is state:
            return None
        self.state = state
        return self._update((), (), None, now_ns)

    def _update(
        self,
        bids: Levels,
        asks: Levels,
        venue_time_ns: int | None,
        receive_time_ns: int,
        *,
        is_snapshot: bool = False,
    ) -> BookUpdate:
        return BookUpdate(
            self.instrument, bids, asks, is_snapshot, self.state, self._sequence, venue_time_ns, receive_time_ns
        )


class _BadFrame(Exception):
    """The frame, or the book after it, cannot be right."""


class _Texts:
    """The texts of a book's levels as sent, by price in ticks: OKX computes its checksum over them."""

    def __init__(self) -> None:
        self._bids: dict[int, str] = {}
        self._asks: dict[int, str] = {}

    def apply(self, frame: DepthFrame, bids: Levels, asks: Levels) -> None:
        for texts, rows, levels in ((self._bids, frame.bids, bids), (self._asks, frame.asks, asks)):
            for row, (price, qty) in zip(rows, levels, strict=True):
                if qty:
                    texts[price] = f"{row[0]}:{row[1]}"
                else:
                    texts.pop(price, None)

    def checksum(self, book: Book) -> int:
        """Signed CRC-32 of the best 25 levels, `bid:qty:ask:qty:...`, one side going on alone when the other ends."""
        bids = [self._bids[price] for price, _ in book.bids.top(_CHECKSUM_DEPTH)]
        asks = [self._asks[price] for price, _ in book.asks.top(_CHECKSUM_DEPTH)]
        fields = [text for pair in zip_longest(bids, asks) for text in pair if text is not None]
        crc = zlib.crc32(":".join(fields).encode())
        return crc - (1 << 32) if crc & (1 << 31) else crc
