"""Prometheus metrics of the feeds and of the hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.market.hub import MarketData

_log = logging.getLogger(__name__)

_LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class FeedMetrics:
    """One set for all venues; made once, by whoever owns the registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "tradewind_feed_messages", "Market data frames received.", ("venue", "channel"), registry=registry
        )
        self.gaps = Counter(
            "tradewind_feed_gaps", "Books that had to be taken anew because a frame was missing or wrong.",
            ("venue",), registry=registry,
        )  # fmt: skip
        self.lost = Counter(
            "tradewind_feed_books_lost", "Books that had to be taken anew, by reason.",
            ("venue", "reason"), registry=registry,
        )  # fmt: skip
        self.comparisons = Counter(
            "tradewind_feed_comparisons", "LIVE books compared with a fetched snapshot, by result.",
            ("venue", "result"), registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "tradewind_feed_refused", "Messages, quotes and trades left out: unreadable, out of range, off the grid.",
            ("venue",), registry=registry,
        )  # fmt: skip
        self.lost_trades = Counter(
            "tradewind_feed_lost_trades", "Trades that never came, by their numbers (Binance, OKX).",
            ("venue",), registry=registry,
        )  # fmt: skip
        self.reconnects = Counter(
            "tradewind_feed_reconnects", "Subscriptions that were lost and begun again.", ("venue",), registry=registry
        )
        self.state = Gauge(
            "tradewind_feed_state", "State of an instrument's book: 1 SYNCING, 2 LIVE, 3 GAP, 4 STALE.",
            ("venue", "instrument"), registry=registry,
        )  # fmt: skip
        self.last_message_age = Gauge(
            "tradewind_feed_last_message_age_seconds", "Time since the last frame of a venue.",
            ("venue",), registry=registry,
        )  # fmt: skip
        self.lag = Histogram(
            "tradewind_feed_lag_seconds", "From the venue's time of a frame to its receipt here.",
            ("venue",), buckets=_LAG_BUCKETS_S, registry=registry,
        )  # fmt: skip


class FrameCounts:
    """What one venue's feed counts of its frames."""

    def __init__(self, metrics: FeedMetrics, venue: str) -> None:
        self._messages = {channel: metrics.messages.labels(venue, channel) for channel in ("book", "quote", "trade")}
        self._lag = metrics.lag.labels(venue)
        self._refused = metrics.refused.labels(venue)
        self._lost_trades = metrics.lost_trades.labels(venue)
        self._refusing: set[str] = set()

    def received(self, channel: str, venue_time_ns: int | None, receive_time_ns: int) -> None:
        """Count a frame."""
        self._messages[channel].inc()
        if venue_time_ns is not None:
            self._lag.observe((receive_time_ns - venue_time_ns) / 1e9)

    def refused(self, name: str, problem: str) -> None:
        """A message, quote or trade was left out. Never rounded; said once an instrument (or venue, where it is not
        known)."""
        self._refused.inc()
        if name not in self._refusing:
            self._refusing.add(name)
            _log.error("%s: %s; further ones are only counted (tradewind_feed_refused)", name, problem)

    def lost(self, name: str, trades: int) -> None:
        """Count missing trades of an instrument."""
        if trades:
            self._lost_trades.inc(trades)
            _log.warning("%s: %d trades are missing by their numbers", name, trades)


class HubMetrics(Collector):
    """What the hub counts anyway, read when somebody asks."""

    def __init__(self, hub: MarketData) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        subscriptions, counts = "Market data subscriptions open now.", self._hub.counts
        yield GaugeMetricFamily("tradewind_market_subscriptions", subscriptions, self._hub.subscriptions)
        merged = "Updates that were merged into later ones for readers that asked for it."
        yield CounterMetricFamily("tradewind_market_conflated_updates", merged, counts.conflated)
        slow = "Market data streams ended because their reader was too far behind."
        yield CounterMetricFamily("tradewind_market_slow_consumers", slow, counts.too_slow)
