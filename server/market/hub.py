"""The market data hub: connectors and internal books publish to it, all others subscribe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from server.base.clock import Clock
from server.base.errors import ResourceExhausted
from server.base.instruments import Instrument
from server.base.streams import Notice
from server.market.model import BookUpdate, FeedState, MarketUpdate, Quote, Trade
from server.market.stream import Cursor, MarketStream, StreamCounts
from server.market.subscription import MAX_DEPTH, Channel, Subscription
from server.market.topic import BookState, BookView, QuoteTopic, Topic

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubLimits:
    """Bounds of the hub: how many updates are held per topic, for readers that lag and clients that resume."""

    quotes: int = 4_096
    trades: int = 10_000
    book_updates: int = 4_096
    """Per depth that is subscribed."""
    heartbeat_s: float = 10.0
    linger_s: float = 60.0
    """How long a book view without subscribers is kept up to date, so that its clients can resume."""
    subscriptions: int = 20_000
    """Of all streams together."""
    depths: int = 32
    """Different depths of a book that are kept up to date at the same time: each costs with every update."""


class _Feed:
    """What the hub knows of one instrument."""

    __slots__ = ("book", "quotes", "trades")

    def __init__(self, instrument: Instrument, limits: HubLimits) -> None:
        self.quotes = QuoteTopic(limits.quotes)
        self.trades: Topic[Trade] = Topic(limits.trades)
        self.book = BookState(instrument)


class MarketData:
    """In-process fan-out of normalized market data. One asyncio thread; nothing here blocks or waits for a reader."""

    def __init__(self, epoch: str, clock: Clock, limits: HubLimits | None = None) -> None:
        """`epoch` names the life of the sequence numbers: another one for every start of the process."""
        self.epoch = epoch
        self._clock = clock
        self._limits = limits or HubLimits()
        self._feeds: dict[str, _Feed] = {}
        self._listeners: list[Callable[[MarketUpdate], None]] = []
        self._streams: set[MarketStream] = set()
        self.subscriptions = 0
        """Open now, of all streams."""
        self.counts = StreamCounts()

    # -- writers -------------------------------------------------------------------------------------------

    def publish(self, update: MarketUpdate) -> None:
        """Take an update over, and pass it on to subscribers and listeners.

        A BookUpdate without levels tells a new state. When a book stops being LIVE its quote is withdrawn (an empty
        quote is published), because subscribers of quotes alone must not go on trusting the last one; when it becomes
        LIVE its best levels are the quote until a newer one comes.
        """
        feed = self._feed(update.instrument)
        if isinstance(update, Quote):
            feed.quotes.append(update)
        elif isinstance(update, Trade):
            feed.trades.append(update)
        else:
            was_live = feed.book.state is FeedState.LIVE
            feed.book.apply(update)
            is_live = update.state is FeedState.LIVE
            if is_live != was_live:
                self.publish(_quote(feed.book) if is_live else _no_quote(feed.book))
        for listener in self._listeners:
            try:
                listener(update)
            except Exception:  # the failure of one reader must not stop the market for all others
                _log.exception("a listener failed on %s", update.instrument.name)

    def add_listener(self, listener: Callable[[MarketUpdate], None]) -> None:
        """Have `listener` called with every update, after the hub took it over. It must be quick."""
        self._listeners.append(listener)

    # -- readers -------------------------------------------------------------------------------------------

    def quote(self, instrument: str) -> Quote | None:
        """Best bid and ask now; None unless the feed is LIVE and there is one."""
        feed = self._feeds.get(instrument)
        return feed.quotes.snapshot() if feed is not None and feed.book.state is FeedState.LIVE else None

    def book(self, instrument: str, depth: int = MAX_DEPTH) -> BookUpdate | None:
        """The best `depth` levels of each side with the state of the feed; None if the instrument has no feed.

        Levels of a book that is not LIVE are the last known ones, and no prices.
        """
        feed = self._feeds.get(instrument)
        return feed.book.book_snapshot(depth) if feed is not None else None

    def trades(self, instrument: str, limit: int = 100) -> list[Trade]:
        """The most recent trades, newest first."""
        feed = self._feeds.get(instrument)
        return feed.trades.newest(limit) if feed is not None else []

    def state(self, instrument: str) -> FeedState:
        """How far the instrument's book can be trusted; SYNCING if there is none yet."""
        feed = self._feeds.get(instrument)
        return feed.book.state if feed is not None else FeedState.SYNCING

    def subscribe(self, subscriptions: Sequence[Subscription]) -> MarketStream:
        """Follow markets. Each subscription begins with an Ack and a Snapshot (or, resumed, the updates missed).

        The caller closes the stream. Raises ResourceExhausted beyond what the limits allow.
        """
        if self.subscriptions + len(subscriptions) > self._limits.subscriptions:
            raise ResourceExhausted(f"{self.subscriptions} markets are subscribed, more than this server holds")
        stream = MarketStream(self.epoch, self._limits.heartbeat_s, self._clock, self.counts, self._streams.discard)
        self._streams.add(stream)
        try:
            for subscription in subscriptions:
                stream.add(self._cursor(stream, subscription))
        except ResourceExhausted:
            stream.close()
            raise
        return stream

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def close(self, message: str) -> None:
        """End all streams with a notice, for instance because the server stops."""
        for stream in list(self._streams):
            stream.end(Notice(message))

    # -- inside --------------------------------------------------------------------------------------------

    def _feed(self, instrument: Instrument) -> _Feed:
        feed = self._feeds.get(instrument.name)
        if feed is None:
            feed = self._feeds[instrument.name] = _Feed(instrument, self._limits)
        return feed

    def _cursor(self, stream: MarketStream, subscription: Subscription) -> Cursor:
        feed = self._feed(subscription.instrument)
        if subscription.channel is Channel.QUOTE:
            return self._counted(stream, subscription, feed.quotes)
        if subscription.channel is Channel.TRADE:
            return self._counted(stream, subscription, feed.trades)
        view = self._view(feed.book, subscription.depth)
        view.subscribers += 1
        return self._counted(stream, subscription, view)

    def _counted(self, stream: MarketStream, subscription: Subscription, topic: Topic[Any]) -> Cursor:
        self.subscriptions += 1
        return Cursor(stream, subscription, topic, lambda: self._leave(topic))

    def _view(self, book: BookState, depth: int) -> BookView:
        """The view of this depth, which all who ask for it share. One that nobody reads any more makes room."""
        views = book.views
        if depth not in views and len(views) >= self._limits.depths:
            unread = next((view for view in views.values() if not view.subscribers), None)
            if unread is None:
                raise ResourceExhausted(
                    f"{len(views)} different depths of {book.instrument.name} are subscribed, more than this server "
                    f"holds: use one of {', '.join(map(str, sorted(views)))}"
                )
            del views[unread.depth]
        return book.view(depth, self._limits.book_updates)

    def _leave(self, topic: Topic[Any]) -> None:
        self.subscriptions -= 1
        if isinstance(topic, BookView):
            topic.subscribers -= 1
            if not topic.subscribers:
                until_ns = self._clock.now_ns() + round(self._limits.linger_s * 1e9)
                self._clock.call_at(until_ns, partial(_drop_if_idle, topic))


def _drop_if_idle(view: BookView) -> None:
    views = view.source.views
    if not view.subscribers and views.get(view.depth) is view:
        del views[view.depth]


def _quote(book: BookState) -> Quote:
    (bid_price, bid_qty), (ask_price, ask_qty) = book.book.bids.best(), book.book.asks.best()
    return Quote(book.instrument, bid_price, bid_qty, ask_price, ask_qty, book.venue_time_ns, book.receive_time_ns)


def _no_quote(book: BookState) -> Quote:
    return Quote(book.instrument, 0, 0, 0, 0, book.venue_time_ns, book.receive_time_ns)
