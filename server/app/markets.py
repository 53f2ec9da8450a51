"""The configured venues: one feed each, retried until its venue answers, with the replay exchange behind them if so
configured. Feeds publish to the market data hub; the status board shows the state of each venue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from server.app.config import FeedSettings
from server.base.background import keep_running
from server.base.backoff import Backoff
from server.base.clock import Clock
from server.base.errors import ConfigError, TradewindError
from server.base.instruments import Instrument, Registry
from server.feeds.venue import VenueFeed
from server.feeds.venue_config import VenueConfig, VenueStatus
from server.market.hub import MarketData
from server.market.metrics import FeedMetrics
from server.market.model import BookUpdate, FeedState
from server.process.lifecycle import ServiceState, StatusBoard
from server.replay import Pace, ReplayConfig, ReplayExchange, redirect

DefineInstruments = Callable[[Sequence[Instrument]], Awaitable[list[Instrument]]]
RecordedTrades = Callable[[Instrument], Awaitable[list[tuple[str, int]]]]
"""Ids and times of an instrument's newest recorded trades, oldest first."""

STARTING_LIMIT_S = 15.0
"""A feed that starts has so long for its next book to become LIVE; after that it is told as it is."""

log = structlog.get_logger("markets")


class Markets:
    """Life: `start`, `stop`. A venue that does not answer is NOT_SERVING on the board; other venues go on. A symbol
    that its venue does not list is NOT_SERVING under a name of its own."""

    def __init__(
        self,
        settings: FeedSettings,
        hub: MarketData,
        registry: Registry,
        define: DefineInstruments,
        board: StatusBoard,
        metrics: FeedMetrics,
        clock: Clock,
        rng: Callable[[], float],
        recorded: RecordedTrades,
    ) -> None:
        """`define` gives instruments their numbers, `rng` numbers from 0 to 1 for the jitter of retries. `recorded`
        tells which trades need not be taken again."""
        self._settings = settings
        self._hub = hub
        self._registry = registry
        self._define = define
        self._board = board
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._recorded = recorded
        self._replay: ReplayExchange | None = None
        self._replay_url = settings.replay_url if settings.mode == "replay" else None
        self._venues: list[_Venue] = []

    async def start(self) -> None:
        """Begin to connect; returns before the venues answer. Raises ConfigError for a venue nobody knows."""
        if self._settings.mode == "replay" and self._replay_url is None:
            self._replay = await self._start_replay()
            self._replay_url = self._replay.url
        for name, symbols in self._settings.venues.items():
            venue = _Venue(name, symbols, self._settings.mode, self._board)
            feed = VenueFeed(
                self._venue_config(name, symbols),
                self._hub,
                self._clock,
                self._rng,
                self._metrics,
                venue.changed,
                partial(self._board.failure_listener, venue.part),
            )
            self._venues.append(venue)
            self._absent(venue, symbols, f"{name} has not told its markets yet")
            venue.begin(feed, partial(self._load, venue, feed))

    async def stop(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(venue.stop() for venue in self._venues))
        if self._replay is not None:
            await self._replay.stop()

    async def _start_replay(self) -> ReplayExchange:
        pace = Pace(speed=self._settings.replay_speed or None)
        try:
            replay = ReplayExchange(ReplayConfig(venues=tuple(self._settings.venues), pace=pace), self._clock)
        except ValueError as error:
            raise ConfigError(f"feeds.venues: {error}") from None
        await replay.start()
        return replay

    def _venue_config(self, venue: str, symbols: tuple[str, ...]) -> VenueConfig:
        settings = self._settings
        config = VenueConfig(
            venue,
            symbols,
            stale_after_s=settings.stale_after_s,
            compare_every_s=settings.compare_every_s,
            compare_per_minute=settings.compare_per_minute,
        )
        if self._replay_url is None:
            return config
        url = f"{self._replay_url}/{venue}"
        return replace(config, redirect=lambda exchange: redirect(exchange, url), ccxt={"enableRateLimit": False})

    async def _load(self, venue: _Venue, feed: VenueFeed) -> None:
        """Load the venue's markets, with retries, and follow the configured ones."""
        backoff = Backoff(self._rng)
        while True:
            try:
                listing = await feed.load()
                instruments, refused = await self._numbered(listing.instruments)
            except TradewindError as error:
                venue.failed(error.message)
                self._absent(venue, venue.symbols, error.message)
                log.warning("venue does not answer, trying again", venue=venue.name, error=error.message)
                await asyncio.sleep(backoff.next_s())
                continue
            refused |= listing.refused
            self._absent(venue, venue.symbols, "")
            for symbol, reason in refused.items():
                self._absent(venue, [symbol], reason)
                self._withdraw(f"{venue.name}:{symbol}")
                log.error("symbol cannot be followed", venue=venue.name, symbol=symbol, error=reason)
            venue.follows(len(instruments), refused)
            if instruments:
                known = {each.name: await self._recorded(each) for each in instruments}
                await feed.start(instruments, self._define, known)
            return

    async def _numbered(self, instruments: Sequence[Instrument]) -> tuple[list[Instrument], dict[str, str]]:
        """Returns the instruments with their numbers, and by symbol why an instrument got none."""
        try:
            return await self._define(instruments), {}
        except (ConfigError, ValueError):
            pass  # one of them: found by defining each alone
        defined: list[Instrument] = []
        refused: dict[str, str] = {}
        for instrument in instruments:
            try:
                defined += await self._define([instrument])
            except (ConfigError, ValueError) as error:
                refused[instrument.symbol] = f"{instrument.name} cannot be defined: {error}"
        return defined, refused

    def _absent(self, venue: _Venue, symbols: Sequence[str], reason: str) -> None:
        """Record why instruments are absent, for error messages. An empty reason removes the entry."""
        for symbol in symbols:
            name = f"{venue.name}:{symbol}"
            if reason:
                self._registry.absent[name] = reason
            else:
                self._registry.absent.pop(name, None)

    def _withdraw(self, name: str) -> None:
        """An instrument of an earlier start is not followed any more: its book is no price."""
        instrument = self._registry.find_instrument(name)
        if instrument is not None:
            now_ns = self._clock.now_ns()
            self._hub.publish(BookUpdate(instrument, (), (), False, FeedState.STALE, 0, None, now_ns))


class _Venue:
    """One venue on the status board."""

    def __init__(self, name: str, symbols: tuple[str, ...], mode: str, board: StatusBoard) -> None:
        self.name = name
        self.part = f"feed/{name}"
        """Its name on the board."""
        self.symbols = symbols
        self._mode = mode
        self._board = board
        self._feed: VenueFeed | None = None
        self._loading: asyncio.Task[None] | None = None
        self._following = 0
        self._starting: asyncio.TimerHandle | None = None
        self._most_live = 0
        self._tell(ServiceState.STARTING, "asking the venue for its markets")

    def begin(self, feed: VenueFeed, load: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._feed = feed
        self._loading = keep_running(f"loading {self.name}", load, self._board.failure_listener(self.part))

    async def stop(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        self._end_start()
        if self._feed is not None:
            await self._feed.stop()

    def failed(self, reason: str) -> None:
        """Loading the markets failed."""
        self._tell(ServiceState.NOT_SERVING, reason)

    def follows(self, count: int, refused: dict[str, str]) -> None:
        """It told its markets: `count` are followed from now on."""
        for symbol, reason in refused.items():
            self._board.set(f"{self.part}:{symbol}", ServiceState.NOT_SERVING, reason)
        self._following = count
        if not count:
            first = next(iter(refused.values()))
            self._tell(ServiceState.NOT_SERVING, f"none of its symbols can be followed: {first}")
        else:
            self._tell(ServiceState.STARTING, "waiting for the first books")
            self._starting = asyncio.get_running_loop().call_later(STARTING_LIMIT_S, self._started)

    def changed(self, status: VenueStatus) -> None:
        """The state of its books changed."""
        if status.state is FeedState.LIVE:
            self._end_start()
            self._tell(ServiceState.SERVING, self._mode)
            return
        if self._starting is not None:
            if status.live > self._most_live:
                self._most_live = status.live
                self._starting.cancel()
                self._starting = asyncio.get_running_loop().call_later(STARTING_LIMIT_S, self._started)
            self._tell(ServiceState.STARTING, f"{status.live} of {self._following} books are LIVE")
            return
        worst = f"{status.state.name}: {status.detail}"
        if status.live:
            self._tell(ServiceState.DEGRADED, f"{status.live} of {self._following} books are LIVE; {worst}")
        else:
            self._tell(ServiceState.NOT_SERVING, worst)

    def _started(self) -> None:
        self._end_start()
        if self._feed is not None:
            self.changed(self._feed.status)

    def _end_start(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None

    def _tell(self, state: ServiceState, detail: str) -> None:
        self._board.set(self.part, state, detail)
