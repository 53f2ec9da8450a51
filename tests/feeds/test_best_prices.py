"""Which best prices are published, and when a book is known to have lost its channel."""

from __future__ import annotations

import pytest

from server.feeds.best_prices import FLICKER_NS, BestPrices, Moment, Top

MS = 1_000_000
REST: Top = ((100, 5), (101, 5))
AWAY: Top = ((102, 5), (103, 5))


class Told:
    """One market's two channels. Both tell the venue's time, or the time of receipt alone, in ms."""

    def __init__(self, *, venue_times: bool) -> None:
        self._venue_times = venue_times
        self.best = BestPrices()
        self.best.start(REST, self._moment(0))

    def quote(self, top: Top, at_ms: int) -> None:
        assert self.best.quoted(top, self._moment(at_ms), at_ms / 1_000)

    def book(self, top: Top, at_ms: int) -> None:
        self.best.book_changed(top, self._moment(at_ms), at_ms / 1_000)

    def _moment(self, at_ms: int) -> Moment:
        received = 10**18 + at_ms * MS
        return Moment(0, received - 3 * MS if self._venue_times else None, received)


both = pytest.mark.parametrize("venue_times", [True, False], ids=["times of the venue", "times of receipt"])


@both
def test_a_market_that_comes_back_to_the_prices_of_a_dead_book_does_not_hide_it(venue_times: bool) -> None:
    it = Told(venue_times=venue_times)
    for at_ms in range(100, 4_000, 900):
        it.quote(AWAY, at_ms)
        it.quote(REST, at_ms + FLICKER_NS // MS)
        assert it.best.ahead_since_s == 0.1, "since the first quote that the book has not come to"
    it.book(REST, 5_000)
    assert it.best.ahead_since_s is None


@both
def test_a_flicker_that_was_over_before_the_next_update_of_a_quiet_book_is_no_fault(venue_times: bool) -> None:
    it = Told(venue_times=venue_times)
    for at_ms in range(100, 60_000, 700):
        it.quote(AWAY, at_ms)
        it.quote(REST, at_ms + 199)
        assert it.best.ahead_since_s is None


def test_a_book_whose_update_is_older_than_the_quote_that_came_back_is_still_behind() -> None:
    it = Told(venue_times=True)
    it.quote(AWAY, 1_000)
    it.quote(REST, 1_800)
    it.book(((99, 5), (101, 5)), 900)
    assert it.best.ahead_since_s == 1.0
    it.book(REST, 1_000)
    assert it.best.ahead_since_s is None
