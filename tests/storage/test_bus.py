"""What every bus promises, in process and over a real Redis; then what happens when Redis goes away or forgets."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import pytest
from redis import Redis

from loadtest.servers import RedisServer
from server.base.errors import ConfigError, Unavailable
from server.storage.bus_inbox import CAPACITY
from server.storage.ports import Bus, MarketMessage, PrivateMessage, StreamGap
from server.storage.redis_bus import RedisBus
from server.storage.urls import open_bus
from tests.waiting import PATIENCE_S, until

T = TypeVar("T")


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "memory:" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@pytest.fixture
async def bus(url: str) -> AsyncIterator[Bus]:
    opened = open_bus(url, first_sequence=100)
    yield opened
    await opened.close()


async def take(messages: AsyncIterator[T], count: int) -> list[T]:
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(messages) for _ in range(count)]


async def more(*growing: list[Any]) -> None:
    """Wait until each list is longer by 30."""
    goals = [len(items) + 30 for items in growing]
    await until(lambda: all(len(items) > goal for items, goal in zip(growing, goals, strict=True)))


def events(start: int, end: int, step: int = 1) -> list[PrivateMessage]:
    """A stream's events numbered start, start + step, ... below end; private sequences have holes."""
    return [PrivateMessage(i, max(0, i - step), b"event %d" % i) for i in range(start, end, step)]


async def test_subscribers_get_what_they_asked_for_in_order(bus: Bus) -> None:
    quotes = await bus.subscribe(["quote:*"])
    some = await bus.subscribe(["trade:binance:*", "quote:okx:BTC/USDT"])
    for number in range(50):
        for topic in (
            "quote:binance:BTC/USDT",
            "trade:binance:BTC/USDT:USDT",
            "quote:okx:BTC/USDT",
            "trade:okx:BTC/USDT",
        ):
            bus.publish_market(topic, b"%d \x00\xff" % number)
    got = await take(quotes, 100)
    assert [m for m in got if m.topic == "quote:okx:BTC/USDT"] == [
        MarketMessage("quote:okx:BTC/USDT", 100 + number, b"%d \x00\xff" % number) for number in range(50)
    ]
    assert {m.topic for m in got} == {"quote:binance:BTC/USDT", "quote:okx:BTC/USDT"}
    assert {m.topic for m in await take(some, 100)} == {"trade:binance:BTC/USDT:USDT", "quote:okx:BTC/USDT"}
    await quotes.aclose()
    await some.aclose()


async def test_the_last_message_is_known(bus: Bus) -> None:
    assert await bus.last("quote:x") is None
    messages = await bus.subscribe(["quote:x"])
    for number in range(1_000):
        bus.publish_market("quote:x", b"%d" % number)
    await take(messages, 1_000)
    await until_last(bus, MarketMessage("quote:x", 1_099, b"999"))
    await messages.aclose()


async def until_last(bus: Bus, expected: MarketMessage) -> None:
    async def is_last() -> bool:
        return await bus.last(expected.topic) == expected

    await until(is_last)


async def test_a_slow_reader_loses_the_oldest_and_sees_the_jump(bus: Bus) -> None:
    messages = await bus.subscribe(["*"])
    for number in range(CAPACITY + 1_000):
        bus.publish_market("t", b"%d" % number)
        if number % 1_000 == 0:
            await asyncio.sleep(0)
    await until(lambda: bus.dropped == 1_000)
    got = await take(messages, CAPACITY)
    assert [m.sequence for m in got] == list(range(1_100, 1_100 + CAPACITY))
    await messages.aclose()
    assert bus.dropped == 1_000


async def test_private_events_are_read_from_anywhere_and_go_on(bus: Bus) -> None:
    await bus.append_private("orders:demo", events(7, 700, 7))
    assert await bus.private_sequence("orders:demo") == 693
    assert await bus.private_sequence("orders:other") == 0
    from_start = bus.read_private("orders:demo", 0)
    resumed = bus.read_private("orders:demo", 350)
    assert await take(from_start, 99) == events(7, 700, 7)
    assert await take(resumed, 49) == events(357, 700, 7)
    later = asyncio.create_task(take(resumed, 3))
    await asyncio.sleep(0.05)
    await bus.append_private("orders:demo", events(700, 721, 7))
    assert await later == events(700, 721, 7)
    await from_start.aclose()
    await resumed.aclose()


async def test_repeated_private_events_are_there_once(bus: Bus) -> None:
    await bus.append_private("s", events(1, 5))
    await bus.append_private("s", events(3, 8))
    await bus.append_private("s", events(1, 8))
    reader = bus.read_private("s", 0)
    assert await take(reader, 7) == events(1, 8)
    await reader.aclose()


async def test_private_events_that_are_not_held_are_a_gap(url: str) -> None:
    bus = open_bus(url, first_sequence=1)
    await bus.append_private("s", events(1, 12_001))
    reader = bus.read_private("s", 5)
    with pytest.raises(StreamGap):
        await take(reader, 1)
    recent = bus.read_private("s", 11_000)
    assert await take(recent, 1_000) == events(11_001, 12_001)
    await recent.aclose()
    await bus.close()


async def test_closing_ends_the_readers(url: str) -> None:
    bus = open_bus(url, first_sequence=1)
    messages = await bus.subscribe(["*"])
    private = bus.read_private("s", 0)
    waiting = [asyncio.create_task(anext(reader, None)) for reader in (messages, private)]
    await asyncio.sleep(0.05)
    await bus.close()
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(*waiting) == [None, None]


# -- Redis alone ---------------------------------------------------------------------------------------------


async def test_a_subscriber_that_is_cancelled_while_it_connects_ends_and_disturbs_nobody(redis_url: str) -> None:
    rng = random.Random(3)
    for _ in range(30):
        bus = open_bus(redis_url, first_sequence=1)
        async with asyncio.timeout(PATIENCE_S):
            cancelled = asyncio.create_task(bus.subscribe(["a:*", "b:*", "c:*"]))
            await asyncio.sleep(rng.random() * 0.01)
            was_done = cancelled.done()
            cancelled.cancel()
            await asyncio.wait((cancelled,))
            assert cancelled.cancelled() != was_done
            messages = await bus.subscribe(["a:*"])
            bus.publish_market("a:1", b"payload")
            assert (await anext(messages)).payload == b"payload"
            await bus.close()


async def test_two_processes_share_a_bus(redis_url: str) -> None:
    one, two = open_bus(redis_url, first_sequence=1), open_bus(redis_url, first_sequence=5)
    messages = await two.subscribe(["*"])
    one.publish_market("t", b"hello")
    assert await take(messages, 1) == [MarketMessage("t", 1, b"hello")]
    other = open_bus(redis_url.replace("prefix=", "prefix=other-"), first_sequence=1)
    other.publish_market("t", b"not ours")
    assert await two.last("t") == MarketMessage("t", 1, b"hello")
    for bus in (one, two, other):
        await bus.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_redis_restarts_under_load(redis_server: RedisServer, redis_url: str, how: str) -> None:
    """Three times, each forgetting everything. Private events arrive once each, filled up from where they are kept;
    market data goes on, what was lost shows as a jump."""
    writer, reader = open_bus(redis_url, first_sequence=1), open_bus(redis_url, first_sequence=1)
    kept: list[PrivateMessage] = []  # the truth: what the engine's journal is in the server
    seen: list[PrivateMessage] = []
    quotes: list[int] = []
    stopping = False

    async def write() -> None:
        while not stopping or await confirmed() < kept[-1].sequence:
            if not stopping:
                kept.append(PrivateMessage(len(kept) + 1, len(kept), b"event"))
                writer.publish_market("quote", b"%d" % len(kept))
            with contextlib.suppress(Unavailable):
                await writer.append_private("orders", kept[await confirmed() :])
            await asyncio.sleep(0.002)

    async def confirmed() -> int:
        try:
            return await writer.private_sequence("orders")
        except Unavailable:
            return 0

    async def read() -> None:
        while True:
            stream = reader.read_private("orders", len(seen))
            try:
                async for event in stream:
                    seen.append(event)
            except StreamGap:
                seen.extend(kept[len(seen) : await reader.private_sequence("orders")])

    async def follow() -> None:
        async for message in messages:
            quotes.append(message.sequence)

    messages = await reader.subscribe(["quote"])
    tasks = [asyncio.create_task(run()) for run in (write, read, follow)]
    for _ in range(3):
        await more(kept, quotes)
        await asyncio.to_thread(getattr(redis_server, how))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(redis_server.start)
    await more(kept, quotes)
    stopping = True
    await tasks[0]
    await until(lambda: len(seen) >= len(kept))
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert seen == kept
    assert quotes == sorted(set(quotes))
    for bus in (writer, reader):
        await bus.close()


async def test_flushall_loses_nothing_that_matters(redis_server: RedisServer, redis_url: str) -> None:
    bus = open_bus(redis_url, first_sequence=1)
    messages = await bus.subscribe(["*"])
    up_to_date = bus.read_private("s", 0)
    await bus.append_private("s", events(1, 11))
    assert await take(up_to_date, 10) == events(1, 11)
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    assert await bus.private_sequence("s") == 0
    await bus.append_private("s", events(11, 21))
    assert await take(up_to_date, 10) == events(11, 21)
    behind = bus.read_private("s", 4)
    with pytest.raises(StreamGap, match="events 5 to 10"):
        await take(behind, 1)
    bus.publish_market("t", b"x")
    assert [m.payload for m in await take(messages, 1)] == [b"x"]
    await up_to_date.aclose()
    await messages.aclose()
    await bus.close()


async def test_a_redis_that_is_away_says_so_and_memory_stays_bounded(redis_server: RedisServer, redis_url: str) -> None:
    bus = open_bus(redis_url, first_sequence=1)
    assert isinstance(bus, RedisBus)
    redis_server.kill()
    try:
        for call in (
            bus.last("t"),
            bus.private_sequence("s"),
            bus.append_private("s", events(1, 2)),
            bus.subscribe(["*"]),
        ):
            with pytest.raises(Unavailable, match="Redis"):
                await call
        for number in range(100_000):
            bus.publish_market("t", b"%d" % number)
        assert bus.dropped == 100_000 - 65_536
    finally:
        redis_server.start()
    await until_last(bus, MarketMessage("t", 100_000, b"99999"))
    await bus.close()


@pytest.mark.parametrize("url", ["kafka://x", "redis://127.0.0.1/0?verbose=1", "redis://127.0.0.1:port/0"])
async def test_wrong_urls_say_what_is_wrong(url: str) -> None:
    with pytest.raises(ConfigError, match="bus URL"):
        open_bus(url, first_sequence=1)
