"""Instruments, updates and a client-side book for the tests of feeds and hub."""

from __future__ import annotations

import asyncio
import heapq
from decimal import Decimal

from server.base.clock import Clock, SystemClock
from server.base.instruments import Instrument, InstrumentKind
from server.base.streams import StreamPosition
from server.market.hub import HubLimits, MarketData
from server.market.model import BookUpdate, FeedState, Level, Quote, Trade
from server.market.stream import MarketStream
from server.market.subscription import Channel, Delivery, StreamItem, Subscription

DEADLINE_S = 60.0

Top = tuple[list[Level], list[Level]]

INSTRUMENT = Instrument(1, "internal:BTC/USDT", "BTC", "USDT", InstrumentKind.SPOT, Decimal("0.01"), Decimal("0.00001"))


def hub(clock: Clock | None = None, **limits: float) -> MarketData:
    return MarketData("epoch-1", clock or SystemClock(), HubLimits(**limits))  # type: ignore[arg-type]


def quote(n: int) -> Quote:
    return Quote(INSTRUMENT, n, 1, n + 1, 2, None, n)


def trade(n: int) -> Trade:
    return Trade(INSTRUMENT, str(n), n, 1, 1, n, n)


def book(
    bids: list[Level] | None = None,
    asks: list[Level] | None = None,
    *,
    snapshot: bool = False,
    state: FeedState = FeedState.LIVE,
    sequence: int = 0,
) -> BookUpdate:
    return BookUpdate(INSTRUMENT, tuple(bids or ()), tuple(asks or ()), snapshot, state, sequence, None, sequence)


def subscription(
    channel: Channel,
    delivery: Delivery = Delivery.ALL,
    *,
    depth: int = 20,
    interval_ms: int = 0,
    resume_from: StreamPosition | None = None,
) -> Subscription:
    return Subscription("s", INSTRUMENT, channel, delivery, depth, interval_ms, resume_from)


async def take(stream: MarketStream, count: int) -> list[StreamItem]:
    """The next `count` messages."""
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(stream) for _ in range(count)]


class NaiveBook:
    """A naive book: two dictionaries, sorted on demand."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.state = FeedState.SYNCING
        self.venue_sequence = 0

    def apply(self, update: BookUpdate) -> None:
        if update.is_snapshot:
            self.bids, self.asks = {}, {}
        for side, levels in ((self.bids, update.bids), (self.asks, update.asks)):
            for price, qty in levels:
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)
        self.state = update.state
        self.venue_sequence = update.venue_sequence

    def top(self, depth: int) -> Top:
        return heapq.nlargest(depth, self.bids.items()), heapq.nsmallest(depth, self.asks.items())
