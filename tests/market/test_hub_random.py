"""Random markets and random readers: whoever applies what it got has the true book, at every message."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from server.base.errors import SlowConsumer
from server.base.streams import Ack, Gap, StreamPosition
from server.market.hub import MarketData
from server.market.model import BookUpdate, FeedState
from server.market.stream import MarketStream
from server.market.subscription import Channel, Delivery, Snapshot, Update
from tests.conftest import SOAK_FACTOR
from tests.support.feeds import NaiveBook, Top, book, hub, subscription
from tests.waiting import until

DEPTHS = (1, 3, 10, 50)


def random_update(rng: random.Random, sequence: int, truth: NaiveBook) -> BookUpdate:
    """A snapshot, a loss of the feed, or a change; prices close together so that much moves in and out of range."""
    levels = [(rng.randint(1, 40), rng.choice((0, 0, 1, 2, 3))) for _ in range(rng.randint(0, 8))]
    bids, asks = levels[::2], [(price + 50, qty) for price, qty in levels[1::2]]
    if truth.state is not FeedState.LIVE or rng.random() < 0.02:
        return book(
            [level for level in dict(bids).items() if level[1]],
            [level for level in dict(asks).items() if level[1]],
            snapshot=True,
            sequence=sequence,
        )
    if rng.random() < 0.02:
        return book(state=rng.choice((FeedState.GAP, FeedState.STALE)), sequence=sequence)
    return book(bids, asks, sequence=sequence)


class Reader:
    """A client that keeps a book by what it is sent, checks it against the truth, and now and then reconnects."""

    def __init__(self, market_data: MarketData, rng: random.Random, truth: dict[int, dict[int, Top]]) -> None:
        self.rng = rng
        self.truth = truth
        self.market_data = market_data
        self.depth = rng.choice(DEPTHS)
        self.delivery = rng.choice(tuple(Delivery))
        self.book = NaiveBook()
        self.received = 0
        self.resumed = 0
        self._position: StreamPosition | None = None
        self._stream = self._subscribe()

    def _subscribe(self) -> MarketStream:
        interval_ms = 10 if self.delivery is Delivery.INTERVAL else 0
        wanted = subscription(
            Channel.BOOK, self.delivery, depth=self.depth, interval_ms=interval_ms, resume_from=self._position
        )
        return self.market_data.subscribe([wanted])

    async def run(self) -> None:
        try:
            while True:
                try:
                    self._take(await anext(self._stream))
                    reconnect = self.rng.random() < 0.01
                except SlowConsumer:
                    assert self.delivery is Delivery.ALL
                    reconnect = True
                if reconnect:
                    self._stream.close()
                    self._stream = self._subscribe()
                for _ in range(self.rng.choice((0, 0, 0, 1, 5, 40))):
                    await asyncio.sleep(0)
        finally:
            self._stream.close()

    def _take(self, item: object) -> None:
        _, epoch, sequence, prev_sequence, event = item  # type: ignore[misc]
        if isinstance(event, Ack):
            self.resumed += event.resumed
        elif self._position is not None:
            assert prev_sequence == self._position.sequence
        self._position = StreamPosition(epoch, sequence)
        if isinstance(event, Snapshot | Update) and isinstance(event.data, BookUpdate):
            if isinstance(event, Update):
                span = sequence - prev_sequence
                assert span == 1 + event.conflated_count
                assert span == 1 or self.delivery is not Delivery.ALL
            self.book.apply(event.data)
            self.received += 1
            if self.book.venue_sequence:
                assert self.book.top(1_000) == self.truth[self.book.venue_sequence][self.depth]
        else:
            assert isinstance(event, Ack | Gap)


@pytest.mark.parametrize("seed", range(8 * SOAK_FACTOR))
async def test_readers_always_have_the_true_book(seed: int) -> None:
    rng = random.Random(seed)
    market_data = hub(book_updates=rng.choice((512, 4_096)), linger_s=rng.choice((0.0, 60.0)))
    naive = NaiveBook()
    truth: dict[int, dict[int, Top]] = {}
    readers = [Reader(market_data, random.Random(rng.random()), truth) for _ in range(8)]
    tasks = [asyncio.ensure_future(reader.run()) for reader in readers]
    for sequence in range(1, 1_001):
        update = random_update(rng, sequence, naive)
        naive.apply(update)
        truth[sequence] = {depth: naive.top(depth) for depth in DEPTHS}
        market_data.publish(update)
        for _ in range(rng.choice((0, 0, 1, 3))):
            await asyncio.sleep(0)

    def caught_up() -> bool:
        for task in tasks:
            if task.done():
                task.result()
        return all(r.book.top(1_000) == naive.top(r.depth) and r.book.state is naive.state for r in readers)

    await until(caught_up, "all readers have the final book")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert market_data.stream_count == 0
    assert all(reader.received for reader in readers)


@pytest.mark.parametrize("seed", range(4))
async def test_all_loses_nothing_whatever_the_reader_does(seed: int) -> None:
    """Every change of the book to its depth is one message; reconnecting readers get each exactly once."""
    rng = random.Random(seed)
    market_data = hub()
    market_data.publish(book([(1, 1)], [(99, 1)], snapshot=True, sequence=1))
    stream = market_data.subscribe([subscription(Channel.BOOK, depth=1)])
    got: list[int] = []
    position: StreamPosition | None = None
    for sequence in range(2, 3_000):
        market_data.publish(book([(1, sequence)], sequence=sequence))
        while rng.random() < 0.4 and len(got) < sequence - 1:
            item = await anext(stream)
            if isinstance(item.event, Update):
                assert isinstance(item.event.data, BookUpdate)
                got.append(item.event.data.venue_sequence)
            position = StreamPosition(item.epoch, item.sequence)
            if rng.random() < 0.02:
                stream.close()
                stream = market_data.subscribe([subscription(Channel.BOOK, depth=1, resume_from=position)])
    await _drain(stream, lambda: len(got) < 2_998, got)
    assert got == list(range(2, 3_000))
    stream.close()


async def _drain(stream: MarketStream, more: Callable[[], bool], got: list[int]) -> None:
    while more():
        item = await anext(stream)
        if isinstance(item.event, Update):
            assert isinstance(item.event.data, BookUpdate)
            got.append(item.event.data.venue_sequence)
