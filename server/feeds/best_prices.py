"""The quote of a market comes from two channels, its own and the book's. Whichever is newer is served."""

from __future__ import annotations

from typing import NamedTuple

from server.market.model import Level

Top = tuple[Level, Level]
"""Best bid and best ask, (0, 0) for a side that is empty."""

NOTHING: Top = ((0, 0), (0, 0))

FLICKER_NS = 500_000_000
"""A quote that was elsewhere for less may be back before the book's next update, which venues send every 10 to 200 ms."""


class Moment(NamedTuple):
    """The time of a quote or a book: sequence, venue time, receive time."""

    sequence: int
    """Of the book; 0: not told."""
    venue_time_ns: int | None
    receive_time_ns: int

    def is_before(self, other: Moment) -> bool:
        """By what both tell, the most exact first: the sequence, the venue's time, the time of receipt."""
        if self.sequence and other.sequence:
            return self.sequence < other.sequence
        if self.venue_time_ns is not None and other.venue_time_ns is not None:
            return self.venue_time_ns < other.venue_time_ns
        return self.receive_time_ns < other.receive_time_ns

    def after_ns(self, other: Moment) -> int:
        """How long after another it is, by the venue's times if both tell them."""
        if self.venue_time_ns is not None and other.venue_time_ns is not None:
            return self.venue_time_ns - other.venue_time_ns
        return self.receive_time_ns - other.receive_time_ns


class BestPrices:
    """Decides for one market, while its book is LIVE, which best prices are published. Pure.

    The two channels are not in step, so for a moment a quote may be ahead of the book. `ahead_since_s` says since when
    the book has not come to where a quote was: a book that stays behind cannot be trusted. That the quote comes back to
    the prices of the book clears it only after a flicker: else the book has missed the way there and back.
    """

    def __init__(self) -> None:
        self.published = NOTHING
        self.ahead_since_s: float | None = None
        self._book = NOTHING
        self._book_moment = Moment(0, None, 0)
        self._quote_moment: Moment | None = None
        self._ahead = self._book_moment
        """Of the first quote the book has not come to."""

    def start(self, book: Top, moment: Moment) -> None:
        """The book became LIVE, and its best prices are the quote."""
        self.published = self._book = book
        self._book_moment = moment
        self._quote_moment = self.ahead_since_s = None

    def quoted(self, quote: Top, moment: Moment, now_s: float) -> bool:
        """Take a quote. Returns whether to publish it: not if the book is newer."""
        if moment.is_before(self._book_moment):
            return False
        self._quote_moment = moment
        self.published = quote
        self._compare(now_s)
        return True

    def book_changed(self, book: Top, moment: Moment, now_s: float) -> bool:
        """Take a book change. Returns whether to publish its best prices: if they changed and no quote is newer."""
        self._book, self._book_moment = book, moment
        if self.ahead_since_s is not None and not moment.is_before(self._ahead):
            self.ahead_since_s = None
        if self._quote_moment is not None and moment.is_before(self._quote_moment):
            self._compare(now_s)
            return False
        self._quote_moment = self.ahead_since_s = None
        changed = book != self.published
        self.published = book
        return changed

    def quotes_lost(self) -> bool:
        """No quotes come any more. Whether the best prices of the book are to be published."""
        changed = self._book != self.published
        self.published = self._book
        self._quote_moment = self.ahead_since_s = None
        return changed

    def _compare(self, now_s: float) -> None:
        """Note since when the quote has been elsewhere."""
        (bid, _), (ask, _) = self.published
        (book_bid, _), (book_ask, _) = self._book
        quoted = self._quote_moment
        if quoted is None:
            return
        if (bid, ask) != (book_bid, book_ask):
            if self.ahead_since_s is None:
                self.ahead_since_s, self._ahead = now_s, quoted
        elif quoted.after_ns(self._ahead) < FLICKER_NS:
            self.ahead_since_s = None
