"""Fetches snapshots of one venue's books: to resync lost books and to verify LIVE ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from server.base.background import FailureListener, keep_running
from server.base.backoff import Backoff
from server.base.clock import Clock
from server.feeds.ccxt_import import ccxt
from server.feeds.dialect import Dialect
from server.feeds.listing import one_line
from server.feeds.market import Market
from server.feeds.venue_config import VenueConfig
from server.market.metrics import FeedMetrics
from server.market.model import FeedState

_AT_ONCE = 2
_RESUBSCRIBE_TIMEOUT_S = 5.0
_RESYNC_LIMIT_S = 10.0
_RESUBSCRIBE_LIMIT_S = 60.0
"""Longer: venues count subscriptions, and a market that was delisted never answers."""
_SOON_S = 1.0
"""Until the first of the comparisons that a book itself asks for."""
_SELDOM_S = 30.0
"""Most between two of them, while it goes on asking."""
_TURN_S = 0.1

_log = logging.getLogger(__name__)


class Snapshots:
    """Life: `compare` runs as a task of the owner, `stop` ends the rest."""

    def __init__(
        self,
        config: VenueConfig,
        dialect: Dialect,
        exchange: Any,
        clock: Clock,
        rng: Callable[[], float],
        metrics: FeedMetrics,
        on_change: Callable[[Market, bool], None],
        drop_if_dead: Callable[[Any, str], None],
        failure_listener: Callable[[], FailureListener],
    ) -> None:
        """`on_change` is called after a fetched snapshot, with whether the state of its book changed;
        `drop_if_dead` takes a connection anew over which no book is LIVE; `failure_listener` gives who hears when getting a
        snapshot ends unexpectedly."""
        self._config = config
        self._dialect = dialect
        self._exchange = exchange
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._on_change = on_change
        self._drop_if_dead = drop_if_dead
        self._failure_listener = failure_listener
        self._resyncs: dict[Market, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    def resync(self, market: Market) -> None:
        """Get a new snapshot, unless that is being done."""
        if market not in self._resyncs:
            name = f"{self._config.venue}: resync of {market.symbol}"
            task = keep_running(name, partial(self._resync, market), self._failure_listener())
            self._resyncs[market] = task
            task.add_done_callback(lambda _: self._resyncs.pop(market, None))

    def give_up(self, market: Market) -> None:
        """A snapshot that is being got is of no use any more."""
        task = self._resyncs.get(market)
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        tasks = list(self._resyncs.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- lost books ----------------------------------------------------------------------------------------

    async def _resync(self, market: Market) -> None:
        """Get a new snapshot, as often as it takes."""
        limit_s = _RESYNC_LIMIT_S if self._dialect.snapshot_by_rest else _RESUBSCRIBE_LIMIT_S
        backoff = Backoff(self._rng, limit_s=limit_s)
        while market.guard.needs_snapshot:
            try:
                if self._dialect.snapshot_by_rest:
                    await self._fetch(market)
                else:
                    await self._resubscribe(market)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise  # else ccxt closed a connection, and tries again
            except ccxt.BaseError as error:
                _log.warning("%s: no snapshot yet: %s", market.instrument.name, one_line(error))
            except Exception:
                _log.exception("%s: taking a snapshot failed", market.instrument.name)
            if market.guard.needs_snapshot:
                await asyncio.sleep(backoff.next_s())

    async def _fetch(self, market: Market) -> None:
        async with self._gate:
            market.guard.fetching()
            try:
                frame = await self._dialect.fetch_snapshot(self._exchange, market.ccxt_market)
            except BaseException:
                market.guard.not_fetched()
                raise
        self._on_change(market, market.snapshot(frame, self._clock.now_ns()))

    async def _resubscribe(self, market: Market) -> None:
        """Leave the book's channel; the feed subscribes again and the stream begins with a snapshot."""
        params = self._dialect.unwatch_params()
        market.snapshot_came.clear()
        try:
            async with asyncio.timeout(_RESUBSCRIBE_TIMEOUT_S):
                await self._exchange.un_watch_order_book_for_symbols([market.symbol], params)
                await market.snapshot_came.wait()
        except TimeoutError:
            self._drop_if_dead(market.book_client, f"{market.symbol}: no snapshot after subscribing again")

    # -- comparisons ---------------------------------------------------------------------------------------

    async def compare(self, markets: Iterable[Market]) -> None:
        """Compare the LIVE books with fetched snapshots, one after the other, those first that ask for it."""
        plans = [_Plan(market, self._config.compare_every_s, self._rng) for market in markets]
        spacing_s = 60.0 / self._config.compare_per_minute
        backoff = Backoff(self._rng, first_s=1.0, limit_s=60.0)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(spacing_s, _TURN_S))
            now = loop.time()
            due = [plan for plan in plans if plan.is_due(now)]
            if not due:
                continue
            plan = min(due, key=lambda plan: (not plan.market.guard.wants_comparison, plan.due_s))
            plan.begun(now)
            try:
                await self._fetch(plan.market)
                backoff.reset()
                pause_s = spacing_s
            except Exception as error:  # ccxt raises whatever it stumbles over, a dialect what an odd answer makes it
                self._metrics.comparisons.labels(self._config.venue, "failed").inc()
                _log.warning("%s: no snapshot to compare with: %s", plan.market.instrument.name, one_line(error))
                pause_s = max(spacing_s, backoff.next_s())
            await asyncio.sleep(pause_s)


class _Plan:
    """When a market's book is compared next."""

    def __init__(self, market: Market, every_s: float, rng: Callable[[], float]) -> None:
        self.market = market
        self._every_s = every_s
        self._rng = rng
        self._last_s = asyncio.get_running_loop().time()
        self._wait_s = every_s * rng()  # not all at once
        self._urgent = 0
        """Comparisons in a row that the book asked for."""

    @property
    def due_s(self) -> float:
        return self._last_s + self._wait_s

    def is_due(self, now: float) -> bool:
        if self.market.guard.state is not FeedState.LIVE:
            return False
        if self.market.guard.wants_comparison:
            return now >= self._last_s + min(_SOON_S * 2.0**self._urgent, _SELDOM_S)
        self._urgent = 0
        return bool(self._every_s) and now >= self.due_s

    def begun(self, now: float) -> None:
        self._last_s = now
        self._wait_s = self._every_s * (0.75 + 0.5 * self._rng())
        if self.market.guard.wants_comparison:
            self._urgent = min(self._urgent + 1, 10)
