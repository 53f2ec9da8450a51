"""Duplicate and gap detection for trades: repeated trades are dropped, missing numbers counted as lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from server.feeds.frames import TradeFrame

WINDOW = 10_000
"""Newest trades of a market that are known. Venues repeat at most their last 1,000, after a new subscription."""
LONGEST_LOSS = 1_000_000
"""Numbers that are further ahead, or behind by more than WINDOW, are a new numbering and no loss."""


class SeenTrades:
    """The newest trades of one market. A trade is known by its id and its time: an id is used again with another time
    where a venue starts its numbers over."""

    __slots__ = ("_next", "_order", "_times")

    def __init__(self) -> None:
        self._times: dict[str, int | None] = {}
        self._order: deque[str] = deque()
        self._next = 0
        """Number after the highest one seen, where the venue numbers its trades one after another; 0: none yet."""

    def missing_before(self, frame: TradeFrame) -> int:
        """How many trades between the last one and this are missing, by their numbers. Call once a trade."""
        first, expected = frame.number - frame.merged + 1, self._next
        if not frame.number:
            return 0
        if not expected or not expected - WINDOW <= first <= expected + LONGEST_LOSS:
            self._next = frame.number + 1
            return 0
        self._next = max(expected, frame.number + 1)
        return max(first - expected, 0)

    def add(self, frame: TradeFrame) -> bool:
        """Whether the trade is new."""
        return self._remember(frame.trade_id, frame.venue_time_ns)

    def remember(self, trades: Iterable[tuple[str, int | None]]) -> None:
        """Know trades, oldest first, that were taken before: each by its id and time."""
        for trade_id, venue_time_ns in trades:
            self._remember(trade_id, venue_time_ns)

    def _remember(self, trade_id: str, venue_time_ns: int | None) -> bool:
        times = self._times
        if trade_id in times:
            if times[trade_id] == venue_time_ns:
                return False
        else:
            self._order.append(trade_id)
            if len(self._order) > WINDOW:
                del times[self._order.popleft()]
        times[trade_id] = venue_time_ns
        return True
