"""The sequence guard: decides from the venue's own numbers whether a mirrored book can be trusted.

    SYNCING --snapshot--> LIVE --message missing or wrong--> GAP --snapshot--> LIVE
    any --connection lost or silent--> STALE --snapshot--> LIVE

Pure: no network, no clock, no tasks. It is fed frames and says what to publish; whoever feeds it looks at
`needs_snapshot` afterwards, and may compare the book with a fetched snapshot (`fetching`, then `snapshot`).
"""

from __future__ import annotations

from collections.abc import Callable

from server.base.instruments import Instrument
from server.feeds.checksum import Texts
from server.feeds.comparison import (
    BadBook,
    Difference,
    Fault,
    HeldUpdates,
    Place,
    Result,
    difference_text,
    differences,
    place_of,
)
from server.feeds.frames import DepthFrame
from server.feeds.levels import LevelReader, Levels
from server.market.book import MAX_LEVELS, Book
from server.market.model import BookUpdate, FeedState, Level

MAX_OLD = 200
MAX_OLD_NS = 3_000_000_000
"""So many old messages in a row, or old ones alone for so long, are no repetition: the numbering went wrong."""
MAX_WAIT_NS = 5_000_000_000
"""How long the stream may take to reach a fetched snapshot."""
MIN_LEVELS = 20
"""Levels of a side that must be known, where a snapshot did not show the whole side."""


class BookGuard:
    """Mirrors one book and knows its state.

    `buffers`: snapshots come over another way (REST) than deltas, so deltas are kept until theirs is there. Otherwise a
    snapshot is a message of the stream itself, and deltas before it are worthless.
    `exact`: the venue's deltas tell every level that was touched, so one difference from a fetched snapshot is damage.
    Otherwise a level that changed and changed back between two deltas looks like one, and a second look decides.
    `on_lost` and `on_compared` are called with the reason whenever the book is lost, and with what a comparison showed.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        buffers: bool,
        exact: bool = True,
        on_lost: Callable[[Fault], None] = lambda fault: None,
        on_compared: Callable[[Result], None] = lambda result: None,
    ) -> None:
        self.instrument = instrument
        self.state = FeedState.SYNCING
        self.reason = "waiting for the first snapshot"
        """Why the book is not LIVE, for people; empty while it is."""
        self.gaps = 0
        self.off_grid = False
        """Whether the last loss was by a price or quantity that is no multiple of the tick or lot."""
        self.old = 0
        """Messages in a row that are older than the book: they are no sign of its life."""
        self._buffers = buffers
        self._exact = exact
        self._on_lost = on_lost
        self._on_compared = on_compared
        self._book = Book()
        self._levels = LevelReader(instrument).read
        self._texts: Texts | None = None
        self._sequence = 0
        self._place: Place = (0, 0)
        self._has_book = False
        """Whether the book is contiguous up to `_sequence`."""
        self._joined = True
        """Whether a delta has been applied since the snapshot; the first may begin before it."""
        self._renew_below = 0
        """A limited side with fewer levels should be renewed."""
        self._old_since_ns = 0
        self._held = HeldUpdates()
        """Deltas since the book was lost, or since a fetch began."""
        self._comparing = False
        self._fetched: DepthFrame | None = None
        """A snapshot that the stream has to reach."""
        self._fetched_at_ns = 0
        self._suspects: dict[Difference, int] = {}

    @property
    def needs_snapshot(self) -> bool:
        """Nothing but a new snapshot can make the book LIVE."""
        return not self._has_book and self._fetched is None

    @property
    def wants_comparison(self) -> bool:
        """A snapshot should be fetched soon: few levels are left of what is known, or a difference is to be decided."""
        if not self._has_book:
            return False
        return bool(self._suspects) or any(
            not side.keys or (side.limit is not None and len(side.keys) < self._renew_below)
            for side in self._book.sides
        )

    @property
    def best(self) -> tuple[Level, Level]:
        """Best bid and ask of the book, (0, 0) for a side that is empty."""
        return self._book.bids.best(), self._book.asks.best()

    def depth(self, frame: DepthFrame, receive_time_ns: int) -> BookUpdate | None:
        """Take a frame of the stream. Returns what to publish, if anything."""
        if frame.is_snapshot:
            return self._take_snapshot(frame, receive_time_ns)
        if not self._has_book:
            if not self._buffers:
                return None
            self._held.add(frame)
            return self._join(receive_time_ns)
        problem = self._discontinuity(frame)
        if problem is None:
            return self._old_frame(frame, receive_time_ns)
        self.old = 0
        if problem:
            return self._begin_again(frame, Fault.SEQUENCE, problem, receive_time_ns)
        try:
            bids, asks = self._apply(frame)
            if self._comparing:
                self._held.add(frame)
                more_bids, more_asks = self._compare(receive_time_ns)
                bids, asks = bids + more_bids, asks + more_asks
        except BadBook as error:
            return self._lost_by_error(error, receive_time_ns)
        return self._update(bids, asks, frame.venue_time_ns, receive_time_ns)

    def fetching(self) -> None:
        """A snapshot is going to be fetched: from now on keep what it will be compared by."""
        if self._has_book:
            if self._fetched is not None:
                self._compared(Result.UNSURE)
            self._comparing = True
            self._held.begin(self._place)

    def not_fetched(self) -> None:
        """The fetch failed."""
        if self._has_book:
            self._comparing = False

    def snapshot(self, frame: DepthFrame, receive_time_ns: int) -> BookUpdate | None:
        """Take a snapshot that was fetched, as soon as the stream has reached it.

        Without a book it becomes the book, with the deltas after it. If they do not connect (it is too old), or are
        too long in coming, the book goes on needing one. Without any delta since the book was lost there may be no
        stream at all: then the snapshot is refused too. With a book it is compared: see `fetching`.
        """
        if not (self._comparing if self._has_book else self._held):
            return None
        self._fetched, self._fetched_at_ns = frame, receive_time_ns
        if not self._has_book:
            return self._join(receive_time_ns)
        try:
            bids, asks = self._compare(receive_time_ns)
        except BadBook as error:
            return self._lost_by_error(error, receive_time_ns)
        return self._update(bids, asks, self._place[1] or None, receive_time_ns) if bids or asks else None

    def unreadable(self, problem: str, receive_time_ns: int) -> BookUpdate | None:
        """A frame of this book could not be decoded: its changes are missing."""
        return self._lost_by_error(BadBook(Fault.UNREADABLE, f"a message cannot be read: {problem}"), receive_time_ns)

    def refused(self, reason: str) -> None:
        """The venue refused the book's subscription."""
        if not self._has_book:
            self.reason = reason

    def disconnected(self, reason: str, now_ns: int) -> BookUpdate | None:
        """The connection is gone: the next one starts from a snapshot."""
        self._lose()
        return self._leave(FeedState.STALE, reason, now_ns)

    # -- the sequence --------------------------------------------------------------------------------------

    def _discontinuity(self, frame: DepthFrame) -> str | None:
        """What is wrong with the frame's place in the sequence: "" if it is the next one, None if it is an old one."""
        if not frame.sequence:
            return "" if frame.checksum is not None else "a delta carries neither a sequence number nor a checksum"
        if self._buffers and frame.sequence < frame.prev_sequence:
            return f"a delta after {frame.prev_sequence} ends at {frame.sequence}"
        if frame.prev_sequence == self._sequence:
            return ""
        if frame.sequence == self._sequence or (self._buffers and frame.sequence < self._sequence):
            return None
        if not self._joined and frame.prev_sequence < self._sequence < frame.sequence:
            return ""
        return f"expected the delta after {self._sequence}, got the one after {frame.prev_sequence}"

    def _old_frame(self, frame: DepthFrame, now_ns: int) -> BookUpdate | None:
        """Handle a frame older than the book. A few are duplicates; if they never stop, the book is wrong."""
        if not self.old:
            self._old_since_ns = now_ns
        self.old += 1
        if self.old <= MAX_OLD and now_ns - self._old_since_ns <= MAX_OLD_NS:
            return None
        problem = f"{self.old} deltas in a row are older than the book at {self._sequence}, the last ends at "
        return self._begin_again(frame, Fault.OLD, f"{problem}{frame.sequence}", now_ns)

    def _begin_again(self, frame: DepthFrame, fault: Fault, problem: str, now_ns: int) -> BookUpdate | None:
        """The book is lost, but this frame can be the first of the next."""
        update = self._lost_by_error(BadBook(fault, problem), now_ns)
        if self._buffers:
            self._held.add(frame)
        return update

    # -- snapshots -----------------------------------------------------------------------------------------

    def _join(self, now_ns: int) -> BookUpdate | None:
        """Make the fetched snapshot the book if the stream has reached it."""
        fetched = self._fetched
        if fetched is None:
            return None
        reached, at = self._held.end[0], place_of(fetched)[0]
        if reached >= at:
            self._fetched = None
            return self._take_snapshot(fetched, now_ns)
        self.reason = f"the stream is at {reached}, the fetched snapshot at {at}"
        if now_ns - self._fetched_at_ns > MAX_WAIT_NS:
            self._fetched = None
        return None

    def _take_snapshot(self, frame: DepthFrame, now_ns: int) -> BookUpdate | None:
        try:
            bids, asks = self._show(self._book, frame)
            if not self._buffers:
                self._texts = Texts()
                self._texts.apply(frame, bids, asks)
            self._sequence, self._place = frame.sequence, place_of(frame)
            self._joined = not self._buffers
            self._renew_below = frame.max_levels // 2
            self._check(frame)
            for delta in self._held if self._buffers else ():
                problem = self._discontinuity(delta)
                if problem:
                    self.reason = f"the snapshot does not connect: {problem}"
                    return None
                if problem == "":
                    self._apply(delta)
        except BadBook as error:
            return self._lost_by_error(error, now_ns)
        self._lose()
        self._has_book = self._joined = True
        self.state = FeedState.LIVE
        self.reason = ""
        self.off_grid = False
        top = self._book.bids.top(MAX_LEVELS), self._book.asks.top(MAX_LEVELS)
        return self._update(*top, self._place[1] or None, now_ns, is_snapshot=True)

    def _show(self, book: Book, frame: DepthFrame) -> tuple[Levels, Levels]:
        """Make `book` what a snapshot shows."""
        bids, asks = self._levels(frame.bids), self._levels(frame.asks)
        book.reset(bids, asks)
        for side in book.sides:
            if not side.keys:
                raise BadBook(Fault.ONE_SIDED, f"a snapshot has no {side.name}s")
            if frame.max_levels and len(side.keys) >= frame.max_levels:
                side.limit = side.keys[-1]
        return bids, asks

    def _apply(self, frame: DepthFrame) -> tuple[Levels, Levels]:
        """Apply a delta. Returns the levels of it that are not beyond what is known."""
        bids, asks = self._levels(frame.bids), self._levels(frame.asks)
        if self._texts is not None:
            self._texts.apply(frame, bids, asks)
        bids, asks = self._book.bids.within(bids), self._book.asks.within(asks)
        self._book.bids.apply(bids)
        self._book.asks.apply(asks)
        for side in self._book.sides:
            if len(side.keys) == MAX_LEVELS:  # worse ones may have been left out
                side.limit = side.keys[-1]
        self._sequence, self._place = frame.sequence, place_of(frame)
        self._joined = True
        self._check(frame)
        return bids, asks

    def _check(self, frame: DepthFrame) -> None:
        if self._book.is_crossed:
            raise BadBook(Fault.CROSSED, "the best bid is not below the best ask")
        for side in self._book.sides:
            if side.limit is not None and len(side.keys) < MIN_LEVELS:
                left = f"only {len(side.keys)} {side.name} levels are left of those the last snapshot showed"
                raise BadBook(Fault.DEPTH, left)
        if frame.checksum is None or self._texts is None:
            return
        if self._texts.checksum(self._book) != frame.checksum:
            raise BadBook(Fault.CHECKSUM, "the book does not have the venue's checksum")

    # -- comparing -----------------------------------------------------------------------------------------

    def _compare(self, now_ns: int) -> tuple[Levels, Levels]:
        """Compare the book with the fetched snapshot, if there is one and the stream has reached it.

        Returns the levels that the snapshot shows beyond those known. Raises BadBook if it shows another book.
        """
        fetched = self._fetched
        if fetched is None:
            return (), ()
        at = place_of(fetched)
        by = 0 if at[0] and self._place[0] else 1
        if self._place[by] < at[by]:
            if now_ns - self._fetched_at_ns > MAX_WAIT_NS:
                self._compared(Result.UNSURE)
            return (), ()
        other = self._rebuilt(fetched, by) if at[by] and at[by] >= self._held.start[by] else None
        if other is None:
            self._compared(Result.UNSURE)
            return (), ()
        found = differences(self._book, other, to_worst_level=not self._buffers)
        sure = found if self._exact else {each: qty for each, qty in found.items() if each in self._suspects}
        if sure:
            self._compared(Result.DIFFERENT)
            raise BadBook(Fault.DIFFERENT, difference_text(self.instrument, sure))
        self._suspects = found
        self._compared(Result.SUSPECT if found else Result.SAME)
        return ((), ()) if found else self._extend(other, fetched)

    def _rebuilt(self, fetched: DepthFrame, by: int) -> Book | None:
        """The book now, from a snapshot and the deltas held after it; None if that is no book."""
        book, at = Book(), place_of(fetched)[by]
        try:
            self._show(book, fetched)
        except BadBook:
            return None
        for delta in self._held:
            if place_of(delta)[by] > at:
                book.bids.apply(book.bids.within(self._levels(delta.bids)))
                book.asks.apply(book.asks.within(self._levels(delta.asks)))
        return book

    def _extend(self, other: Book, fetched: DepthFrame) -> tuple[Levels, Levels]:
        """Take over the levels that `other` knows beyond ours."""
        added: list[Levels] = []
        for side, theirs in zip(self._book.sides, other.sides, strict=True):
            limit = side.limit
            if limit is None or (theirs.limit is not None and theirs.limit <= limit):
                added.append(())
                continue
            levels = theirs.beyond(limit)
            side.apply(levels)
            side.limit = side.keys[-1] if len(side.keys) == MAX_LEVELS else theirs.limit
            added.append(levels)
        self._renew_below = fetched.max_levels // 2
        return added[0], added[1]

    def _compared(self, result: Result) -> None:
        self._comparing = False
        self._fetched = None
        self._on_compared(result)

    # -- states --------------------------------------------------------------------------------------------

    def _lose(self) -> None:
        """Forget what belongs to the book so far."""
        if self._comparing:
            self._compared(Result.UNSURE)
        self._has_book = False
        self.old = 0
        self._fetched = None
        self._suspects = {}
        self._held.begin(self._place)

    def _lost_by_error(self, error: BadBook, now_ns: int) -> BookUpdate | None:
        self.gaps += 1
        self.off_grid = error.fault is Fault.OFF_GRID
        self._lose()
        self._on_lost(error.fault)
        return self._leave(FeedState.GAP, str(error), now_ns)

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
