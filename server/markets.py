"""The configured venues: one feed each, kept trying until its venue answers; with the replay exchange behind them if so
configured. What comes out goes to the market data hub, and how each venue is to the status board."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from server.background import keep_running
from server.clock import Clock
from server.config import FeedSettings
from server.errors import ConfigError, TradewindError
from server.feeds.backoff import Backoff
from server.feeds.hub import MarketData
from server.feeds.metrics import FeedMetrics
from server.feeds.model import FeedState
from server.feeds.venue import VenueFeed
from server.feeds.venue_config import VenueConfig, VenueStatus
from server.instruments import Instrument
from server.lifecycle import ServiceState, StatusBoard
from server.replay import Pace, ReplayConfig, ReplayExchange, redirect

DefineInstruments = Callable[[Sequence[Instrument]], Awaitable[list[Instrument]]]

log = structlog.get_logger("markets")


class Markets:
    """Life: `start`, `stop`. A venue that does not answer is NOT_SERVING on the board and disturbs no other."""

    def __init__(
        self,
        settings: FeedSettings,
        hub: MarketData,
        define: DefineInstruments,
        board: StatusBoard,
        metrics: FeedMetrics,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        """`define` gives instruments their numbers, `chance` numbers from 0 to 1 for the jitter of retries."""
        self._settings = settings
        self._hub = hub
        self._define = define
        self._board = board
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._replay: ReplayExchange | None = None
        self._replay_url = settings.replay_url if settings.mode == "replay" else None
        self._feeds: list[VenueFeed] = []
        self._loading: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to connect; returns before the venues answer. Raises ConfigError for a venue nobody knows."""
        if self._settings.mode == "replay" and self._replay_url is None:
            self._replay = await self._start_replay()
            self._replay_url = self._replay.url
        for venue, symbols in self._settings.venues.items():
            feed = VenueFeed(
                self._venue_config(venue, symbols),
                self._hub,
                self._clock,
                self._chance,
                self._metrics,
                self._changed,
                partial(self._board.trouble_of, _name(venue)),
            )
            self._feeds.append(feed)
            self._board.set(_name(venue), ServiceState.STARTING, "asking the venue for its markets")
            trouble = self._board.trouble_of(_name(venue))
            self._loading.append(keep_running(f"loading {venue}", partial(self._load, venue, feed), trouble))

    async def stop(self) -> None:
        """Close all connections."""
        for task in self._loading:
            task.cancel()
        await asyncio.gather(*self._loading, return_exceptions=True)
        await asyncio.gather(*(feed.stop() for feed in self._feeds))
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
        if self._replay_url is None:
            return VenueConfig(venue, symbols)
        url = f"{self._replay_url}/{venue}"
        return VenueConfig(
            venue, symbols, redirect=lambda exchange: redirect(exchange, url), ccxt={"enableRateLimit": False}
        )

    async def _load(self, venue: str, feed: VenueFeed) -> None:
        backoff = Backoff(self._chance)
        while True:
            try:
                instruments = await self._define(await feed.load())
            except ConfigError as error:
                self._board.set(_name(venue), ServiceState.NOT_SERVING, error.message)
                log.error("venue is configured wrongly", venue=venue, error=error.message)
                return
            except TradewindError as error:
                self._board.set(_name(venue), ServiceState.NOT_SERVING, error.message)
                log.warning("venue does not answer, trying again", venue=venue, error=error.message)
                await asyncio.sleep(backoff.next_s())
            else:
                await feed.start(instruments)
                return

    def _changed(self, status: VenueStatus) -> None:
        name = _name(status.venue)
        known = self._board.get(name)
        detail = f"{status.state.name}: {status.detail}"
        if status.state is FeedState.LIVE:
            state, detail = ServiceState.SERVING, self._settings.mode
        elif known is not None and known.state is ServiceState.STARTING and status.state is not FeedState.STALE:
            state = ServiceState.STARTING
        else:
            stale = status.state is FeedState.STALE
            state = ServiceState.NOT_SERVING if stale else ServiceState.DEGRADED
        self._board.set(name, state, detail)


def _name(venue: str) -> str:
    return f"feed/{venue}"
