"""Market data delayed by the configured latency of each instrument."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from server.base.clock import Clock, Timer
from server.market.hub import MarketData
from server.market.model import BookUpdate, MarketUpdate, Trade

MAX_HELD = 100_000
"""Updates held back at the same time. Beyond, the oldest come early."""

_log = logging.getLogger(__name__)


class LateMarket:
    """A hub's updates, each `latency_out_ns` of its instrument after it came. One asyncio thread."""

    def __init__(self, market: MarketData, clock: Clock) -> None:
        self._market = market
        self._clock = clock
        self._late = MarketData("late", clock)
        """The books and trades of instruments with a latency, as they were."""
        self._held: dict[int, deque[tuple[int, MarketUpdate]]] = {}
        """By latency: so each is in order of time."""
        self._count = 0
        self._listeners: list[Callable[[MarketUpdate], None]] = []
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to listen; before the first update comes."""
        self._market.add_listener(self._received)

    def stop(self) -> None:
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()

    def add_listener(self, listener: Callable[[MarketUpdate], None]) -> None:
        """Call `listener` with every update after its delay."""
        self._listeners.append(listener)

    def book(self, instrument: str, depth: int) -> BookUpdate | None:
        """As MarketData.book, late."""
        return self._late.book(instrument, depth) or self._market.book(instrument, depth)

    def trades(self, instrument: str, limit: int) -> list[Trade]:
        """As MarketData.trades, late."""
        if self._late.book(instrument, 1) is None:
            return self._market.trades(instrument, limit)
        return self._late.trades(instrument, limit)

    # -- inside --------------------------------------------------------------------------------------------

    def _received(self, update: MarketUpdate) -> None:
        latency_ns = update.instrument.latency_out_ns
        if not latency_ns:
            self._tell(update)
            return
        self._held.setdefault(latency_ns, deque()).append((self._clock.now_ns() + latency_ns, update))
        self._count += 1
        if self._count > MAX_HELD:
            self._release(self._oldest())
        self._schedule()

    def _oldest(self) -> deque[tuple[int, MarketUpdate]]:
        return min((held for held in self._held.values() if held), key=lambda held: held[0][0])

    def _release(self, held: deque[tuple[int, MarketUpdate]]) -> None:
        update = held.popleft()[1]
        self._count -= 1
        self._late.publish(update)
        self._tell(update)

    def _schedule(self) -> None:
        if self._timer is None and self._count:
            self._timer = self._clock.call_at(self._oldest()[0][0], self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ns = self._clock.now_ns()
        while self._count and (held := self._oldest())[0][0] <= now_ns:
            self._release(held)
        self._schedule()

    def _tell(self, update: MarketUpdate) -> None:
        for listener in self._listeners:
            try:
                listener(update)
            except Exception:  # the failure of one reader must not hold up what comes later
                _log.exception("a listener failed on %s", update.instrument.name)
