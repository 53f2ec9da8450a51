"""A second process serves the same market data: two hubs joined by a bus, compared."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest

from loadtest.servers import RedisServer
from server.base.clock import SystemClock
from server.base.instruments import Instrument, InstrumentKind
from server.market.bus_messages import ForeignGrid, MarketFollower, MarketPublisher, decode, encode
from server.market.hub import MarketData
from server.market.model import BookUpdate, FeedState, Level, MarketUpdate, Quote, Trade
from server.storage.ports import Bus, MarketMessage
from server.storage.urls import open_bus
from tests.waiting import PATIENCE_S, until

BTC = Instrument(
    1, "binance:BTC/USDT", "BTC", "USDT", InstrumentKind.SPOT, tick_size=Decimal("0.01"), lot_size=Decimal("0.00001")
)
WHOLE = 10**6
SNAPSHOT_S = 0.2
"""Five of them in which the machine has no time for a test make its book STALE."""


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "memory:" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@dataclass
class Joined:
    """A publishing process and a following one."""

    source: MarketData
    copy: MarketData
    received: list[MarketUpdate]
    follower: MarketFollower
    following: asyncio.Task[None]
    publishing: asyncio.Task[None]

    async def equal(self) -> None:
        """Wait until both books are LIVE and the same."""
        await until(
            lambda: (
                self.copy.state(BTC.name) is FeedState.LIVE
                and levels(self.copy.book(BTC.name, WHOLE)) == levels(self.source.book(BTC.name, WHOLE))
            )
        )


def levels(book: BookUpdate | None) -> tuple[tuple[Level, ...], tuple[Level, ...]] | None:
    return (book.bids, book.asks) if book is not None else None


class NotingBus:
    """What a follower needs of a bus, and the moment from which it hears everything."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.subscribed = asyncio.Event()

    async def subscribe(self, patterns: Sequence[str]) -> AsyncIterator[MarketMessage]:
        messages = await self._bus.subscribe(patterns)
        self.subscribed.set()
        return messages


@asynccontextmanager
async def joined(url: str) -> AsyncIterator[Joined]:
    there = open_bus(url, first_sequence=1)
    here: Bus = there if url == "memory:" else open_bus(url, first_sequence=1)
    source, copy = MarketData("a", SystemClock()), MarketData("b", SystemClock())
    received: list[MarketUpdate] = []
    copy.add_listener(received.append)
    publisher = MarketPublisher(there, lambda name: source.book(name, WHOLE), snapshot_s=SNAPSHOT_S)
    source.add_listener(publisher.publish)
    noting = NotingBus(here)
    follower = MarketFollower(noting, {BTC.name: BTC}.get, copy.publish, snapshot_s=SNAPSHOT_S)  # type: ignore[arg-type]
    tasks = [asyncio.create_task(follower.run()), asyncio.create_task(publisher.run())]
    await asyncio.wait_for(noting.subscribed.wait(), PATIENCE_S)
    try:
        yield Joined(source, copy, received, follower, *tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await there.close()
        await here.close()


def book(
    bids: tuple[Level, ...] = (),
    asks: tuple[Level, ...] = (),
    *,
    snapshot: bool = False,
    state: FeedState = FeedState.LIVE,
) -> BookUpdate:
    return BookUpdate(BTC, bids, asks, snapshot, state, 7, None, 9)


def wander(hub: MarketData, rng: random.Random, updates: int) -> None:
    for _ in range(updates):
        bids = tuple((10_000 - rng.randrange(50), rng.randrange(3)) for _ in range(rng.randrange(1, 4)))
        asks = tuple((10_001 + rng.randrange(50), rng.randrange(3)) for _ in range(rng.randrange(1, 4)))
        hub.publish(book(tuple(dict(bids).items()), tuple(dict(asks).items())))


async def test_books_quotes_and_trades_are_the_same_on_both_sides(url: str) -> None:
    async with joined(url) as pair:
        rng = random.Random(1)
        pair.source.publish(book(((10_000, 5),), ((10_001, 5),), snapshot=True))
        for number in range(20):
            wander(pair.source, rng, 50)
            pair.source.publish(Quote(BTC, 10_000, number, 10_001, 2, None, number))
            pair.source.publish(Trade(BTC, f"t{number}", 10_000, 1, 1 + number % 2, 5, 6))
            await asyncio.sleep(0.005)
        await pair.equal()
        await until(lambda: [u for u in pair.received if isinstance(u, Trade)] == pair.source.trades(BTC.name)[::-1])
        assert pair.copy.quote(BTC.name) == pair.source.quote(BTC.name)
        assert pair.follower.messages_lost == 0
        snapshots = [u for u in pair.received if isinstance(u, BookUpdate) and u.is_snapshot]
        assert len(snapshots) == 1, "snapshots of a book that is followed are not passed on"


async def test_a_follower_that_comes_late_starts_with_the_next_snapshot(url: str) -> None:
    async with joined(url) as pair:
        pair.following.cancel()
        await asyncio.wait([pair.following])
        pair.source.publish(book(((10_000, 5), (9_000, 1)), ((10_001, 5),), snapshot=True))
        late = MarketData("c", SystemClock())
        bus = pair.follower._bus
        task = asyncio.create_task(MarketFollower(bus, {BTC.name: BTC}.get, late.publish, snapshot_s=SNAPSHOT_S).run())
        await until(lambda: levels(late.book(BTC.name)) == levels(pair.source.book(BTC.name)))
        task.cancel()


async def test_a_publisher_that_falls_silent_leaves_no_prices(url: str) -> None:
    async with joined(url) as pair:
        pair.source.publish(book(((10_000, 5),), ((10_001, 5),), snapshot=True))
        await pair.equal()
        pair.publishing.cancel()
        await until(lambda: pair.copy.state(BTC.name) is FeedState.STALE)
        assert pair.copy.quote(BTC.name) is None


async def test_states_of_the_feed_are_passed_on(url: str) -> None:
    async with joined(url) as pair:
        pair.source.publish(book(((10_000, 5),), ((10_001, 5),), snapshot=True))
        await pair.equal()
        pair.source.publish(book(state=FeedState.GAP))
        await until(lambda: pair.copy.state(BTC.name) is FeedState.GAP)
        pair.source.publish(book(((10_000, 6),), (), snapshot=True))
        await pair.equal()


async def test_lost_messages_are_a_gap_until_the_next_snapshot(redis_server: RedisServer, redis_url: str) -> None:
    async with joined(redis_url) as pair:
        rng = random.Random(2)
        pair.source.publish(book(((10_000, 5),), ((10_001, 5),), snapshot=True))
        await pair.equal()
        for _ in range(3):
            # The follower's connection is cut while updates flow: what is published meanwhile is lost to it.
            pubsub_lost = pair.follower.messages_lost
            await asyncio.to_thread(redis_server.freeze)
            wander(pair.source, rng, 50)
            await asyncio.to_thread(redis_server.thaw)
            await asyncio.to_thread(_cut_subscribers, redis_server)
            for _ in range(40):
                wander(pair.source, rng, 5)
                await asyncio.sleep(0.01)
            await pair.equal()
            assert pair.follower.messages_lost > pubsub_lost
        assert any(isinstance(u, BookUpdate) and u.state is FeedState.GAP for u in pair.received)


def _cut_subscribers(server: RedisServer) -> None:
    from redis import Redis

    with Redis.from_url(server.url) as client:
        client.client_kill_filter(_type="pubsub")


UPDATES = [
    Quote(BTC, -1, 2**62, 3, 0, None, 5),
    Quote(BTC, 1, 2, 3, 4, 6, 5),
    Trade(BTC, "", 1, 2, 1, 3, 4),
    Trade(BTC, "12345-é", 1, 2, 2, None, 4),
    book(),
    book(((1, 2), (3, 4)), ((5, 0),), snapshot=True, state=FeedState.SYNCING),
]


@pytest.mark.parametrize("update", UPDATES, ids=lambda u: type(u).__name__)
def test_packed_updates_are_read_back(update: MarketUpdate) -> None:
    payload = encode(update, 42)
    assert decode(payload, BTC, 42) == update
    with pytest.raises(ForeignGrid):
        decode(payload, BTC, 43)
    if not isinstance(update, Trade):
        for length in range(len(payload)):
            with pytest.raises(ValueError, match="market data message"):
                decode(payload[:length], BTC, 42)


async def test_messages_of_another_grid_are_refused(url: str) -> None:
    finer = replace(BTC, tick_size=Decimal("0.001"))
    async with joined(url) as pair:
        pair.source.publish(Quote(finer, 1, 1, 2, 1, None, 1))
        pair.source.publish(Quote(replace(BTC, name="binance:UNKNOWN/USDT"), 1, 1, 2, 1, None, 1))
        await until(lambda: pair.follower.messages_refused == 2)
        assert not pair.received
