"""The market data feed of one venue: connections kept up, books kept right, everything published into the hub."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from server.base.background import FailureListener, keep_running
from server.base.backoff import Backoff
from server.base.clock import Clock
from server.base.instruments import Instrument, OffGrid
from server.feeds.exchange import close, drop, silence_s, tapped_exchange
from server.feeds.frames import DepthFrame, Frame, QuoteFrame, TradeFrame
from server.feeds.guard import BookGuard
from server.feeds.keep import keep_subscribed
from server.feeds.listing import Listing, list_markets, one_line
from server.feeds.market import Market
from server.feeds.rules_watch import Define, RulesWatch
from server.feeds.snapshots import Snapshots
from server.feeds.venue_config import DIALECTS, VenueConfig, VenueStatus
from server.market.hub import MarketData
from server.market.metrics import FeedMetrics, FrameCounts
from server.market.model import FeedState

QUOTE_AHEAD_LIMIT_S = 2.0
"""How long a book may stay behind a newer quote that has other prices."""
_PINGS_BEFORE_STALE = 3
_WORDS = re.compile(r"[\w-]+")
_MOST_TEXT = 200
# From the state that needs attention most to the one that needs none.
_WORST_FIRST = (FeedState.STALE, FeedState.GAP, FeedState.SYNCING, FeedState.LIVE)

Watch = Callable[[list[str]], Awaitable[object]]

_log = logging.getLogger(__name__)


class VenueFeed:
    """Life: `load`, `start`, `stop`. A failure at the venue shows in `status`; it never raises after `start`."""

    def __init__(
        self,
        config: VenueConfig,
        hub: MarketData,
        clock: Clock,
        rng: Callable[[], float],
        metrics: FeedMetrics,
        on_status: Callable[[VenueStatus], None] = lambda status: None,
        failure_listener: Callable[[], FailureListener] = lambda: lambda reason: None,
    ) -> None:
        """`rng` gives numbers from 0 to 1 that jitter reconnects. `on_status` is called on each change of state;
        `failure_listener` gives who hears when a task of the feed ends unexpectedly."""
        self._config = config
        self._hub = hub
        self._clock = clock
        self._rng = rng
        self._on_status = on_status
        self._failure_listener = failure_listener
        self._dialect = DIALECTS[config.venue]()
        self._exchange = self._open()
        self._list = partial(list_markets, self._exchange, self._dialect, config.venue, config.symbols)
        self._markets: dict[str, Market] = {}
        """By the key that frames carry."""
        self._products: dict[str, str] = {}
        """By WebSocket URL."""
        self._tasks: list[asyncio.Task[None]] = []
        self._rules: RulesWatch | None = None
        self._snapshots = Snapshots(
            config, self._dialect, self._exchange, clock, rng, metrics, self._snapshot_taken, self._drop_if_dead,
            failure_listener,
        )
        self._metrics = metrics
        self._counts = FrameCounts(metrics, config.venue)
        self.status = VenueStatus(config.venue, FeedState.SYNCING, "not started", clock.now_ns())

    # -- life ----------------------------------------------------------------------------------------------

    async def load(self) -> Listing:
        """Ask the venue for its markets. Raises Unavailable if it does not answer."""
        return await self._list()

    async def start(
        self,
        instruments: Sequence[Instrument],
        define: Define | None = None,
        known: Mapping[str, Iterable[tuple[str, int]]] = MappingProxyType({}),
    ) -> None:
        """Begin to watch. `instruments` are the loaded ones with their numbers, at least one. With `define`, which gives
        numbers, a tick or lot that the venue changes meanwhile is followed. `known`: by instrument, ids and times of
        trades that were taken before, oldest first."""
        buffers = self._dialect.snapshot_by_rest
        for instrument in instruments:
            ccxt_market = self._exchange.market(instrument.symbol)
            market = Market(instrument, self._hub, ccxt_market, self._guard)
            market.trades.remember(known.get(instrument.name, ()))
            self._markets[self._dialect.key(ccxt_market)] = market
        self._metrics.last_message_age.labels(self._config.venue).set_function(self._last_message_age_s)
        self._changed()
        for markets in self._groups():
            if buffers:
                self._spawn(self._keep_book, markets)
            else:
                # Each on its own: a new snapshot is had by leaving and subscribing again.
                for market in markets:
                    self._spawn(self._keep_book, [market])
            self._spawn(self._keep_quotes, markets)
            self._spawn(self._keep_trades, markets)
        self._spawn(self._watch_silence)
        if define is not None:
            list_again = partial(self._list, again=True)
            self._rules = RulesWatch(list_again, define, self._markets, self._rules_changed, self._disconnected)
            self._spawn(self._rules.run)
        self._spawn(self._snapshots.compare, self._markets.values())

    def _guard(self, instrument: Instrument) -> BookGuard:
        venue, metrics, dialect = self._config.venue, self._metrics, self._dialect
        return BookGuard(
            instrument,
            buffers=dialect.snapshot_by_rest,
            exact=dialect.exact_snapshots,
            on_lost=lambda fault: metrics.lost.labels(venue, fault).inc(),
            on_compared=lambda result: metrics.comparisons.labels(venue, result).inc(),
        )

    async def stop(self) -> None:
        """Close the connections. Books become STALE. Does nothing the second time."""
        tasks = self._tasks.copy()
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._snapshots.stop()
        await close(self._exchange)
        for market in self._markets.values():
            market.disconnected("the feed is stopped", self._clock.now_ns())
        self._changed()

    def _rules_changed(self, instrument: Instrument) -> None:
        ccxt_market = self._exchange.market(instrument.symbol)
        market = self._markets[self._dialect.key(ccxt_market)]
        market.change(instrument, ccxt_market, self._clock.now_ns())
        self._book_changed(market)

    def _open(self) -> Any:
        config = self._config
        # ccxt pings; whether the connection is alive is judged by `_watch_silence`.
        keepalive_ms = int(config.stale_after_s / _PINGS_BEFORE_STALE * 1_000)
        streaming = {"keepAlive": keepalive_ms, "maxPingPongMisses": float("inf")}
        settings = {"options": self._dialect.options(config.symbols), "streaming": streaming, **config.ccxt}
        exchange = tapped_exchange(self._dialect.ccxt_id, settings, self._tap, self._unreadable)
        if config.redirect is not None:
            config.redirect(exchange)
        return exchange

    def _groups(self) -> Iterator[list[Market]]:
        """Markets that can be subscribed together: one product, no more than the venue allows."""
        products: dict[tuple[object, ...], list[Market]] = {}
        for market in self._markets.values():
            info = market.ccxt_market
            products.setdefault((info["type"], info["linear"], info["inverse"]), []).append(market)
        size = self._dialect.subscriptions_per_request
        for markets in products.values():
            for i in range(0, len(markets), size):
                yield markets[i : i + size]

    def _spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
        name = f"{self._config.venue}: {work.__name__.strip('_').replace('_', ' ')}"
        self._tasks.append(keep_running(name, partial(work, *arguments), self._failure_listener()))

    # -- subscriptions -------------------------------------------------------------------------------------

    async def _keep_book(self, markets: list[Market]) -> None:
        watch = partial(self._exchange.watch_order_book_for_symbols, **self._dialect.book_params())
        await self._keep(watch, markets, partial(self._disconnected, markets))

    async def _keep_quotes(self, markets: list[Market]) -> None:
        def lost(reason: str) -> None:
            for market in markets:
                market.quotes_lost(self._clock.now_ns())

        await self._keep(self._exchange.watch_bids_asks, markets, lost)

    async def _keep_trades(self, markets: list[Market]) -> None:
        await self._keep(self._exchange.watch_trades_for_symbols, markets, lambda reason: None)

    async def _keep(self, watch: Watch, markets: list[Market], lost: Callable[[str], None]) -> None:
        def watch_listed() -> Awaitable[object]:
            # One that the venue dropped meanwhile would have ccxt refuse all of them.
            return watch([market.symbol for market in markets if market.symbol in self._exchange.markets])

        def told(reason: str) -> None:
            self.status.reconnects += 1
            self._metrics.reconnects.labels(self._config.venue).inc()
            lost(reason)

        await keep_subscribed(watch_listed, told, Backoff(self._rng), self._config.stale_after_s)

    async def _watch_silence(self) -> None:
        """Take connections anew that are dead, and books that do not follow their market.

        A connection lives as long as anything comes over it: pings are answered in the quietest market. A book that
        rests says nothing; one that rests while the quotes of its market move on has lost its channel.
        """
        limit_s = self._config.stale_after_s
        every_s = min(limit_s, QUOTE_AHEAD_LIMIT_S) / 4
        loop = asyncio.get_running_loop()
        while True:
            slept_s = -loop.time()
            await asyncio.sleep(every_s)
            slept_s += loop.time()
            if slept_s > 2 * every_s:
                continue  # the process was held up: what came meanwhile is still to be read
            for client in list(self._exchange.clients.values()):
                if silence_s(client) > limit_s:
                    client.heard_s = None
                    drop(client, f"nothing came for {limit_s:g} s, no answer to a ping either")
            now = loop.time()
            for market in self._markets.values():
                if market.live.is_set() and market.quote_ahead_s(now) > QUOTE_AHEAD_LIMIT_S:
                    reason = f"it did not follow its quote for {QUOTE_AHEAD_LIMIT_S:g} s"
                    self._disconnected([market], reason)
                    if self._dialect.snapshot_by_rest:  # the next delta asks for a snapshot
                        self._drop_if_dead(market.book_client, f"{market.symbol}: {reason}")
                    else:
                        self._book_changed(market)
                    continue
                lost = market.lost_s is not None and now - market.lost_s > limit_s
                if lost and not self._dialect.snapshot_by_rest:
                    self._book_changed(market)

    def _drop_if_dead(self, client: Any, reason: str) -> None:
        """Take a connection anew unless one of its books is LIVE: that one market is silent is no fault of others."""
        if client is None or self._exchange.clients.get(client.url) is not client:
            return
        if not any(market.live.is_set() for market in self._markets.values() if market.book_client is client):
            drop(client, reason)

    # -- frames --------------------------------------------------------------------------------------------

    def _tap(self, client: Any, message: Any) -> bool:
        receive_time_ns = self._clock.now_ns()
        if not isinstance(message, dict):
            return False
        product = self._products.get(client.url)
        if product is None:
            product = self._products[client.url] = self._dialect.product(client.url)
        try:
            frames = self._dialect.parse(message, product)
        except Exception as error:
            self._unreadable(error)
            return True
        if frames is None:
            return self._is_refusal(message)
        if self._exchange.clients.get(client.url) is not client:
            return True  # left in the buffer of a connection that is given up
        status = self.status
        status.messages += 1
        status.last_message_ns = receive_time_ns
        for frame in frames:
            market = self._markets.get(frame.market)
            if market is not None:
                self._take(market, frame, client, receive_time_ns)
        return True

    def _unreadable(self, error: Exception) -> None:
        """A message of an unknown market could not be decoded. If it was of a book, the next one reveals the gap."""
        self._counts.refused(self._config.venue, f"a message cannot be read: {one_line(error)}")

    def _take(self, market: Market, frame: Frame, client: Any, receive_time_ns: int) -> None:
        """Process one frame. A fault affects its market only; never raises."""
        counts, name = self._counts, market.instrument.name
        try:
            if isinstance(frame, DepthFrame):
                counts.received("book", frame.venue_time_ns, receive_time_ns)
                market.book_client = client
                self._depth_taken(market, changed=market.depth(frame, receive_time_ns))
            elif isinstance(frame, QuoteFrame):
                counts.received("quote", frame.venue_time_ns, receive_time_ns)
                market.quote(frame, receive_time_ns)
            elif isinstance(frame, TradeFrame):
                counts.received("trade", frame.venue_time_ns, receive_time_ns)
                counts.lost(name, market.trades.missing_before(frame))
                market.trade(frame, receive_time_ns)
            elif frame.channel == "book":
                counts.received("book", None, receive_time_ns)
                market.book_client = client
                self._depth_taken(market, changed=market.unreadable(frame.problem, receive_time_ns))
            else:
                counts.received(frame.channel, None, receive_time_ns)
                counts.refused(name, f"a {frame.channel} cannot be read: {frame.problem}")
        except Exception as error:
            if isinstance(frame, QuoteFrame | TradeFrame) and isinstance(error, ValueError | ArithmeticError):
                counts.refused(name, one_line(error))
                self._doubt(isinstance(error, OffGrid))
                return
            _log.exception("%s: a frame could not be handled", name)
            self._depth_taken(market, changed=market.unreadable(one_line(error), receive_time_ns))

    def _doubt(self, unfit: bool) -> None:
        """Whether the venue's markets, ticks and lots are still those that it told."""
        if unfit and self._rules is not None:
            self._rules.doubt()

    def _depth_taken(self, market: Market, *, changed: bool) -> None:
        self._doubt(market.guard.off_grid)
        if changed:
            market.log_state()
        if changed or market.guard.needs_snapshot:
            self._book_changed(market)

    def _is_refusal(self, message: dict[str, Any]) -> bool:
        """Whether the venue refuses one subscription, which is kept from ccxt: it would end all of the connection."""
        text = self._dialect.refused(message)
        if text is None:
            return False
        named = [market for market in self._markets.values() if str(market.ccxt_market["id"]) in _WORDS.findall(text)]
        for market in named:
            market.guard.refused(f"{self._config.venue} refuses its subscription: {text[:_MOST_TEXT]}")
        _log.warning("%s refuses a subscription: %s", self._config.venue, text[:_MOST_TEXT])
        self._doubt(True)
        self._changed()
        return True

    # -- books ---------------------------------------------------------------------------------------------

    def _snapshot_taken(self, market: Market, changed: bool) -> None:
        if changed:
            market.log_state()
            self._book_changed(market)

    def _book_changed(self, market: Market) -> None:
        """The state of a book changed, or it waits for a snapshot."""
        if market.guard.needs_snapshot:
            self._snapshots.resync(market)
        self._changed()

    def _disconnected(self, markets: list[Market], reason: str) -> None:
        """Nothing connects to these books any more. What comes next begins, or asks for, a new snapshot."""
        now_ns = self._clock.now_ns()
        for market in markets:
            self._snapshots.give_up(market)
            if market.disconnected(reason, now_ns):
                market.log_state()
        self._changed()

    # -- status --------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Bring `status` up to date; tell if its state or detail is another one."""
        markets, status = self._markets.values(), self.status
        if not markets:
            return
        gaps = sum(market.guard.gaps for market in markets)
        self._metrics.gaps.labels(self._config.venue).inc(gaps - status.gaps)
        status.gaps = gaps
        for market in markets:
            self._metrics.state.labels(self._config.venue, market.instrument.name).set(market.guard.state)
        worst = min(markets, key=lambda market: _WORST_FIRST.index(market.guard.state))
        state, detail = worst.guard.state, ""
        if state is not FeedState.LIVE:
            detail = f"{worst.symbol}: {worst.guard.reason}"
        live = sum(market.guard.state is FeedState.LIVE for market in markets)
        if (state, detail, live) == (status.state, status.detail, status.live):
            return
        if state is not status.state:
            status.since_ns = self._clock.now_ns()
        status.state, status.detail, status.live = state, detail, live
        self._on_status(status)

    def _last_message_age_s(self) -> float:
        last_ns = self.status.last_message_ns
        return (self._clock.now_ns() - last_ns) / 1e9 if last_ns else 0.0
