"""Damage that a venue's numbering does not show: books that stand still, have holes, or say something else than the venue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from server.feeds.comparison import Fault, Result
from server.feeds.frames import DepthFrame
from server.feeds.guard import MAX_OLD, MAX_OLD_NS, MAX_WAIT_NS, MIN_LEVELS, BookGuard
from server.market.model import BookUpdate, FeedState
from tests.support import feeds_recorded as recorded
from tests.support.feeds import NaiveBook
from tests.support.feeds_recorded import Recording, TrueBook

Level = tuple[str, str]

BINANCE = recorded.instrument("binance:BTC/USDT", "0.1", "0.001")
OKX = recorded.instrument("okx:BTC/USDT", "0.1", "0.001")
FULL = ([("99.9", "1"), ("99.8", "2")], [("100.0", "1"), ("100.1", "2")])
SECOND_NS = 1_000_000_000


@dataclass
class Mirror:
    """A guard, what it tells, and the book of somebody who applies what it publishes."""

    guard: BookGuard
    lost: list[Fault] = field(default_factory=list)
    compared: list[Result] = field(default_factory=list)
    book: NaiveBook = field(default_factory=NaiveBook)
    now_ns: int = 0

    @property
    def state(self) -> FeedState:
        return self.guard.state

    def depth(self, frame: DepthFrame, after_ns: int = SECOND_NS // 10) -> BookUpdate | None:
        self.now_ns += after_ns
        return self._take(self.guard.depth(frame, self.now_ns))

    def snapshot(self, frame: DepthFrame) -> BookUpdate | None:
        return self._take(self.guard.snapshot(frame, self.now_ns))

    def _take(self, update: BookUpdate | None) -> BookUpdate | None:
        if update is not None:
            self.book.apply(update)
        return update


def mirror(*, buffers: bool, exact: bool = True) -> Mirror:
    lost: list[Fault] = []
    compared: list[Result] = []
    guard = BookGuard(
        BINANCE if buffers else OKX,
        buffers=buffers,
        exact=exact,
        on_lost=lost.append,
        on_compared=compared.append,
    )
    return Mirror(guard, lost, compared)


def delta(prev: int, sequence: int, bids: list[Level] | None = None, asks: list[Level] | None = None) -> DepthFrame:
    return DepthFrame("", False, bids or [], asks or [], prev, sequence, sequence)


def whole(sequence: int, bids: list[Level], asks: list[Level], max_levels: int = 0) -> DepthFrame:
    return DepthFrame("", True, bids, asks, sequence, sequence, sequence, max_levels=max_levels)


def live_binance(sequence: int = 100) -> Mirror:
    it = mirror(buffers=True)
    it.depth(delta(sequence - 1, sequence))
    it.snapshot(whole(sequence, *FULL))
    assert it.state is FeedState.LIVE, it.guard.reason
    return it


# -- books that stand still ----------------------------------------------------------------------------------


def test_update_ids_that_begin_again_lower_do_not_freeze_the_book() -> None:
    it = live_binance(1_000_000)
    ids = iter(range(5, 1_000))
    at = next(ids)
    seen = 0
    while not it.lost:
        seen += 1
        assert seen <= MAX_OLD + 1
        at, before = next(ids), at
        it.depth(delta(before, at, asks=[("100.0", "7")]))
    assert (it.state, it.lost) == (FeedState.GAP, [Fault.OLD])
    assert seen * SECOND_NS // 10 <= MAX_OLD_NS + SECOND_NS, "noticed within a few seconds"
    it.snapshot(whole(at, FULL[0], [("100.0", "7")]))
    assert it.state is FeedState.LIVE
    it.depth(delta(at, at + 1, asks=[("100.0", "8")]))
    assert it.book.top(1)[1] == [(1_000, 8_000_000)]


def test_one_message_with_a_far_too_high_update_id_does_not_freeze_the_book() -> None:
    it = live_binance()
    it.depth(delta(100, 2**62))
    assert it.state is FeedState.LIVE
    for sequence in range(101, 101 + MAX_OLD + 1):
        it.depth(delta(sequence - 1, sequence), after_ns=0)
    assert (it.state, it.lost) == (FeedState.GAP, [Fault.OLD])
    it.snapshot(whole(101 + MAX_OLD, *FULL))
    assert it.state is FeedState.LIVE


def test_a_message_that_ends_before_it_begins_is_a_gap() -> None:
    it = live_binance()
    it.depth(delta(100, 50))
    assert (it.state, it.lost) == (FeedState.GAP, [Fault.SEQUENCE])


@pytest.mark.parametrize("venue", ["okx", "bybit"])
def test_the_same_message_for_ever_is_a_gap(venue: str) -> None:
    it = mirror(buffers=False)
    it.depth(whole(100, *FULL))
    repeated = delta(99, 100, asks=[("100.0", "7")]) if venue == "bybit" else delta(7, 100, asks=[("100.0", "7")])
    for _ in range(3):
        it.depth(repeated)
    assert it.state is FeedState.LIVE
    assert it.guard.old == 3, "no sign of life"
    while not it.lost:
        it.depth(repeated)
    assert (it.lost, it.guard.old) == ([Fault.OLD], 0)
    assert it.now_ns <= MAX_OLD_NS + SECOND_NS


def test_a_snapshot_with_an_update_id_too_high_is_no_book() -> None:
    it = mirror(buffers=True)
    it.depth(delta(99, 100))
    it.snapshot(whole(2**62, *FULL))
    begun_ns, sequence = it.now_ns, 100
    while not it.guard.needs_snapshot:
        sequence += 1
        it.depth(delta(sequence - 1, sequence))
        assert it.state is FeedState.SYNCING
    assert it.now_ns - begun_ns <= MAX_WAIT_NS + SECOND_NS
    assert "the stream is at" in it.guard.reason
    it.snapshot(whole(sequence, *FULL))
    assert it.state is FeedState.LIVE


@pytest.mark.parametrize("buffers", [True, False])
@pytest.mark.parametrize(("bids", "asks"), [([], []), (FULL[0], []), ([], FULL[1]), (FULL[0], [("100.0", "0")])])
def test_a_snapshot_without_two_sides_is_none(buffers: bool, bids: list[Level], asks: list[Level]) -> None:
    it = mirror(buffers=buffers)
    it.depth(delta(99, 100))
    (it.snapshot if buffers else it.depth)(whole(100, bids, asks))
    assert (it.state, it.lost) == (FeedState.GAP, [Fault.ONE_SIDED])
    assert it.guard.needs_snapshot
    it.depth(delta(99, 100))
    (it.snapshot if buffers else it.depth)(whole(100, *FULL))
    assert it.state is FeedState.LIVE


# -- books beyond the snapshot -------------------------------------------------------------------------------

LEVELS = 1_000


def price(ticks: int) -> str:
    return f"{ticks // 10}.{ticks % 10}"


def sides(best_ask: int, count: int) -> tuple[list[Level], list[Level]]:
    """A book with a level at every tick: 1.000 wide sides around `best_ask`."""
    bids = [(price(best_ask - 1 - n), "1") for n in range(count)]
    return bids, [(price(best_ask + n), "1") for n in range(count)]


def test_the_price_runs_past_the_levels_of_the_snapshot() -> None:
    """The venue's book is deeper than the snapshot. A level that is set behind it shows a best ask with a hole before."""
    it = mirror(buffers=True)
    it.depth(delta(99, 100))
    it.snapshot(whole(100, *sides(10_000, LEVELS), max_levels=LEVELS))
    it.depth(delta(100, 101, asks=[(price(11_300), "5"), (price(9_000), "0")]))
    assert len(it.book.asks) == LEVELS, "what is behind the snapshot is not served"
    asked_at = 0
    for n in range(LEVELS):
        it.depth(delta(101 + n, 102 + n, bids=[(price(9_999 + n), "1")] if n else [], asks=[(price(10_000 + n), "0")]))
        if it.guard.wants_comparison and not asked_at:
            asked_at = n
        if it.state is not FeedState.LIVE:
            break
        assert it.book.top(1)[1][0][0] == 10_001 + n, "the true best ask"
    assert LEVELS // 3 < asked_at < LEVELS * 2 // 3, "a new snapshot is asked for long before the end"
    assert it.lost == [Fault.DEPTH]
    assert LEVELS - n - 1 == MIN_LEVELS - 1
    assert it.guard.needs_snapshot


def test_a_snapshot_in_time_makes_the_book_deeper_and_it_stays_live() -> None:
    it = mirror(buffers=True)
    it.depth(delta(99, 100))
    it.snapshot(whole(100, *sides(10_000, LEVELS), max_levels=LEVELS))
    for n in range(3 * LEVELS):
        it.depth(delta(100 + n, 101 + n, bids=[(price(10_000 + n), "1")], asks=[(price(10_000 + n), "0")]))
        if it.guard.wants_comparison:
            it.guard.fetching()
            # It shows the book some deltas ago, or some ahead.
            it.snapshot(whole(101 + n, *sides(10_001 + n, LEVELS), max_levels=LEVELS))
        assert it.state is FeedState.LIVE
        assert min(it.book.asks) == 10_001 + n
    assert sorted(it.book.asks)[:MIN_LEVELS] == list(range(10_001 + n, 10_001 + n + MIN_LEVELS))
    assert set(it.compared) == {Result.SAME}
    assert 3 <= len(it.compared) <= 12


def test_a_side_with_fewer_levels_than_asked_for_is_whole() -> None:
    it = mirror(buffers=True)
    it.depth(delta(99, 100))
    it.snapshot(whole(100, *sides(10_000, 5), max_levels=LEVELS))
    it.depth(delta(100, 101, asks=[(price(20_000), "5")]))
    assert it.book.top(9)[1][-1] == (20_000, 5_000_000)
    assert not it.guard.wants_comparison


# -- books that say something else than the venue ------------------------------------------------------------

Damage = Callable[[list[list[str]]], list[list[str]]]

CHECKSUM_LEVELS = 25
DAMAGES: dict[str, Damage] = {
    "wrong quantities": lambda rows: [[row[0], "9" + row[1], *row[2:]] for row in rows],
    "zero sizes": lambda rows: [[row[0], "0", *row[2:]] for row in rows],
    "left out": lambda rows: [],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_message_with_ids_and_checksum_is_found_by_the_checksum(damage: str) -> None:
    recording = recorded.okx(True)
    truth, damaged = TrueBook(), 0
    truth.apply(recording.frames[0].bids, recording.frames[0].asks)
    for index in range(1, len(recording.frames)):
        frame = recording.frames[index]
        bids, asks = (DAMAGES[damage]([list(row) for row in side]) for side in (frame.bids, frame.asks))
        wrong = TrueBook()
        wrong.bids, wrong.asks = dict(truth.bids), dict(truth.asks)
        wrong.apply(bids, asks)
        truth.apply(frame.bids, frame.asks)
        if wrong.book_snapshot(CHECKSUM_LEVELS) == truth.book_snapshot(CHECKSUM_LEVELS):
            continue
        it = mirror_of(recording)
        for before in recording.frames[:index]:
            it.depth(before)
        assert it.state is FeedState.LIVE, it.guard.reason
        it.depth(frame._replace(bids=bids, asks=asks))
        assert it.lost in ([Fault.CHECKSUM], [Fault.CROSSED])
        damaged += 1
    assert damaged > 60


def mirror_of(recording: Recording) -> Mirror:
    it = mirror(buffers=recording.dialect.snapshot_by_rest, exact=recording.dialect.exact_snapshots)
    it.guard = BookGuard(
        recording.instrument,
        buffers=recording.dialect.snapshot_by_rest,
        exact=recording.dialect.exact_snapshots,
        on_lost=it.lost.append,
        on_compared=it.compared.append,
    )
    return it


class Fetched:
    """Snapshots as the venue would answer them, from its whole book."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._book = NaiveBook()
        self._upstream = mirror_of(recording)
        self._next = 0
        self._begun = False

    def at(self, index: int) -> DepthFrame:
        """The book after message `index`; later ones only."""
        recording, upstream = self._recording, self._upstream
        while self._next <= index:
            upstream.depth(recording.frames[self._next])
            if recording.snapshot is not None and not self._begun:
                upstream.snapshot(recording.snapshot)
                self._begun = upstream.state is FeedState.LIVE
            self._next += 1
        frame, instrument = recording.frames[index], recording.instrument
        rows = [
            [(instrument.price_text(p), instrument.data_qty_text(q)) for p, q in side] for side in upstream.book.top(10_000)
        ]
        return frame._replace(is_snapshot=True, bids=rows[0], asks=rows[1], checksum=None, max_levels=200)


COMPARED: dict[str, Callable[[], Recording]] = {
    "binance spot": lambda: recorded.binance("spot", 400),
    "binance linear": lambda: recorded.binance("linear", 400),
    "bybit": lambda: recorded.bybit("linear"),
    "okx": lambda: recorded.okx(True, False),
    "okx by time": lambda: recorded.okx(False),
}


def begun(recording: Recording) -> tuple[Mirror, int]:
    it = mirror_of(recording)
    for index, frame in enumerate(recording.frames):
        it.depth(frame)
        if recording.snapshot is not None:
            it.snapshot(recording.snapshot)
        if it.state is FeedState.LIVE:
            return it, index + 1
    raise AssertionError("the recording has no beginning")


@pytest.mark.parametrize("late", [-1, 0, 3], ids=["stream ahead", "together", "snapshot ahead"])
@pytest.mark.parametrize("venue", COMPARED)
def test_an_undamaged_book_is_what_fetched_snapshots_show(venue: str, late: int) -> None:
    recording = COMPARED[venue]()
    it, index = begun(recording)
    fetched = Fetched(recording)
    for at in range(index + 5, len(recording.frames) - 5, 7):
        while index < at:
            it.depth(recording.frames[index])
            index += 1
        it.guard.fetching()
        for _ in range(2):
            it.depth(recording.frames[index])
            index += 1
        it.snapshot(fetched.at(index - 1 + late))
    assert it.lost == []
    assert it.compared.count(Result.SAME) >= len(it.compared) - 1
    assert len(it.compared) >= 8
    assert Result.DIFFERENT not in it.compared


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("venue", [name for name in COMPARED if name != "okx by time"])
def test_silent_damage_is_found_by_comparing(venue: str, damage: str) -> None:
    recording = COMPARED[venue]()
    it, index = begun(recording)
    fetched = Fetched(recording)
    hurt = recording.frames[index]
    while len(hurt.bids) + len(hurt.asks) < 4:
        it.depth(hurt)
        index += 1
        hurt = recording.frames[index]
    bids, asks = (DAMAGES[damage]([list(row) for row in side]) for side in (hurt.bids, hurt.asks))
    it.depth(hurt._replace(bids=bids, asks=asks))
    assert it.state is FeedState.LIVE, "nothing in the message shows it"
    for looks in (1, 2):
        it.guard.fetching()
        it.snapshot(fetched.at(index))
        if recording.dialect.exact_snapshots:
            break
        assert it.guard.wants_comparison or looks == 2, "a second look decides, soon"
    assert (it.state, it.lost, it.compared[-1]) == (FeedState.GAP, [Fault.DIFFERENT], Result.DIFFERENT)
    assert "in a snapshot" in it.guard.reason


def test_a_level_that_changed_back_between_two_updates_is_no_damage() -> None:
    """A venue that sends the difference every 100 ms does not tell what came and went in between."""
    it = mirror(buffers=False, exact=False)
    it.depth(whole(100, *FULL))
    it.guard.fetching()
    it.snapshot(whole(101, FULL[0], [("100.0", "9"), ("100.1", "2")]))
    it.depth(delta(100, 102))
    assert it.compared == [Result.SUSPECT]
    it.guard.fetching()
    it.snapshot(whole(102, *FULL))
    assert it.compared == [Result.SUSPECT, Result.SAME]
    assert (it.state, it.guard.wants_comparison) == (FeedState.LIVE, False)


@pytest.mark.parametrize("fetched", [whole(90, *FULL), whole(100, [], []), whole(0, *FULL)], ids=["old", "empty", "nowhere"])
def test_a_snapshot_that_proves_nothing_changes_nothing(fetched: DepthFrame) -> None:
    it = live_binance()
    it.guard.fetching()
    assert it.snapshot(fetched) is None
    assert (it.state, it.compared) == (FeedState.LIVE, [Result.UNSURE])
