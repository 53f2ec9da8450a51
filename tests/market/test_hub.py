"""The hub's streams, one promise at a time."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from prometheus_client import CollectorRegistry

from server.base.clock import ManualClock
from server.base.errors import ResourceExhausted, SlowConsumer
from server.base.streams import Ack, Gap, Heartbeat, Notice, StreamPosition
from server.market.internal_book import BookPublisher
from server.market.metrics import HubMetrics
from server.market.model import BookUpdate, FeedState, MarketUpdate, Quote
from server.market.subscription import Channel, Delivery, Snapshot, StreamItem, Update
from tests.support.feeds import DEADLINE_S, INSTRUMENT, book, hub, quote, subscription, take, trade

NAME = INSTRUMENT.name
MS = 1_000_000


async def test_a_subscription_begins_with_ack_and_snapshot_and_goes_on_with_updates() -> None:
    market_data = hub()
    market_data.publish(quote(10))
    stream = market_data.subscribe([subscription(Channel.QUOTE)])
    market_data.publish(quote(11))
    ack, snapshot, update = await take(stream, 3)
    assert (ack.event, ack.sequence, ack.prev_sequence) == (Ack(resumed=False), 1, 0)
    assert (snapshot.event, snapshot.sequence, snapshot.prev_sequence) == (Snapshot(quote(10)), 1, 1)
    assert (update.event, update.sequence, update.prev_sequence) == (Update(quote(11), 0), 2, 1)
    assert {item.epoch for item in (ack, snapshot, update)} == {"epoch-1"}
    stream.close()


async def test_a_snapshot_of_nothing_is_empty() -> None:
    market_data = hub()
    stream = market_data.subscribe([subscription(Channel.TRADE), subscription(Channel.BOOK)])
    items = await take(stream, 4)
    assert items[1].event == Snapshot(None)
    assert items[3].event == Snapshot(book(snapshot=True, state=FeedState.SYNCING))
    stream.close()


async def test_all_delivers_every_trade_in_order() -> None:
    market_data = hub()
    stream = market_data.subscribe([subscription(Channel.TRADE)])
    await take(stream, 2)
    sequence = 0
    for start in range(0, 20_000, 1_000):
        for n in range(start, start + 1_000):
            market_data.publish(trade(n))
        for item in await take(stream, 1_000):
            assert item.event == Update(trade(sequence), 0)
            assert (item.prev_sequence, item.sequence) == (sequence, sequence + 1)
            sequence += 1
    stream.close()


async def test_a_reader_of_all_that_falls_off_the_ring_is_ended() -> None:
    market_data = hub(quotes=8)
    slow = market_data.subscribe([subscription(Channel.QUOTE)])
    latest = market_data.subscribe([subscription(Channel.QUOTE, Delivery.LATEST)])
    for n in range(9):
        market_data.publish(quote(n))
    await take(slow, 2)
    with pytest.raises(SlowConsumer, match="9 updates behind"):
        await anext(slow)
    with pytest.raises(StopAsyncIteration):
        await anext(slow)
    assert market_data.stream_count == 1
    assert (await take(latest, 3))[2].event == Update(quote(8), 8)
    registry = CollectorRegistry()
    registry.register(HubMetrics(market_data))
    assert registry.get_sample_value("tradewind_market_subscriptions") == 1
    assert registry.get_sample_value("tradewind_market_conflated_updates_total") == 8
    assert registry.get_sample_value("tradewind_market_slow_consumers_total") == 1
    latest.close()
    assert market_data.stream_count == 0


async def test_latest_merges_book_levels_and_counts() -> None:
    market_data = hub()
    market_data.publish(book([(100, 1)], [(101, 1)], snapshot=True, sequence=1))
    stream = market_data.subscribe([subscription(Channel.BOOK, Delivery.LATEST, depth=5)])
    market_data.publish(book([(99, 4)], sequence=2))
    market_data.publish(book([(100, 0), (99, 5)], sequence=3))
    *_, update = await take(stream, 3)
    assert update.event == Update(book([(99, 5), (100, 0)], sequence=3), 1)
    assert (update.prev_sequence, update.sequence) == (1, 3)
    stream.close()


async def test_interval_sends_no_more_often_than_asked() -> None:
    clock = ManualClock(1)
    market_data = hub(clock)
    stream = market_data.subscribe([subscription(Channel.QUOTE, Delivery.INTERVAL, interval_ms=20)])
    await take(stream, 2)
    received: list[tuple[int, Update]] = []
    for n in range(141):
        if n <= 100:
            market_data.publish(quote(n))
        while (item := stream.pending()) is not None:
            assert isinstance(item.event, Update)
            received.append((clock.now_ns(), item.event))
        clock.advance(MS)
    stream.close()
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(received)]
    assert gaps == [20 * MS] * 5
    assert sum(1 + update.conflated_count for _, update in received) == 101
    assert received[-1][1].data == quote(100)
    assert clock.next_timer_ns is None, "nothing waits for a stream that is closed"


async def test_resume_continues_without_loss_or_snapshot() -> None:
    market_data = hub()
    for n in range(5):
        market_data.publish(quote(n))
    stream = market_data.subscribe([subscription(Channel.QUOTE, resume_from=StreamPosition("epoch-1", 3))])
    ack, fourth, fifth = await take(stream, 3)
    assert ack.event == Ack(resumed=True)
    assert (fourth.event, fourth.prev_sequence) == (Update(quote(3), 0), 3)
    assert (fifth.event, fifth.prev_sequence) == (Update(quote(4), 0), 4)
    stream.close()


@pytest.mark.parametrize(
    ("epoch", "sequence", "gap"),
    [
        ("epoch-1", 1, (2, 10)),
        ("epoch-0", 7, (8, 0)),
        ("epoch-1", 11, (12, 0)),
    ],
    ids=["no longer held", "another life of the server", "never sent"],
)
async def test_a_position_that_cannot_be_continued_gives_a_gap_and_a_snapshot(
    epoch: str, sequence: int, gap: tuple[int, int]
) -> None:
    market_data = hub(quotes=4)
    for n in range(10):
        market_data.publish(quote(n))
    stream = market_data.subscribe([subscription(Channel.QUOTE, resume_from=StreamPosition(epoch, sequence))])
    ack, missing, snapshot = await take(stream, 3)
    assert ack.event == Ack(resumed=False)
    assert isinstance(missing.event, Gap)
    assert missing.event[:2] == gap
    assert snapshot.event == Snapshot(quote(9))
    stream.close()


@pytest.mark.parametrize(("away_s", "resumed"), [(59, True), (60, False)])
async def test_a_book_can_be_resumed_while_its_view_lingers(away_s: int, resumed: bool) -> None:
    clock = ManualClock()
    market_data = hub(clock, linger_s=60)
    market_data.publish(book([(100, 1)], [(101, 1)], snapshot=True))
    first = market_data.subscribe([subscription(Channel.BOOK)])
    last = (await take(first, 2))[1].sequence
    first.close()
    clock.advance(away_s * 1_000 * MS)
    market_data.publish(book([(100, 2)]))
    position = StreamPosition("epoch-1", last)
    second = market_data.subscribe([subscription(Channel.BOOK, resume_from=position)])
    assert (await take(second, 1))[0].event == Ack(resumed)
    event = (await take(second, 1 if resumed else 2))[-1].event
    assert event == (Update(book([(100, 2)]), 0) if resumed else Snapshot(book([(100, 2)], [(101, 1)], snapshot=True)))
    second.close()


async def test_silence_brings_heartbeats_with_the_last_sequence() -> None:
    clock = ManualClock()
    market_data = hub(clock, heartbeat_s=10)
    market_data.publish(quote(1))
    stream = market_data.subscribe([subscription(Channel.QUOTE)])
    await take(stream, 2)

    async def after(*pauses_s: int) -> StreamItem:
        """What the reader gets that waits while so much time passes."""
        reading = asyncio.ensure_future(anext(stream))
        for pause_s in pauses_s:
            await asyncio.sleep(0)
            assert not reading.done()
            clock.advance(pause_s * 1_000 * MS)
        return await asyncio.wait_for(reading, DEADLINE_S)

    first, second = await after(9, 1), await after(10)
    assert first == second
    assert (first.event, first.subscription_id, first.sequence) == (Heartbeat(), "", 1)
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    clock.advance(9_000 * MS)
    market_data.publish(quote(2))
    assert (await reading).event == Update(quote(2), 0)
    assert (await after(9, 1)).event == Heartbeat(), "counted from the last message"
    stream.close()
    assert clock.next_timer_ns is None, "nothing waits for a stream that is closed"


async def test_close_tells_a_waiting_reader_and_ends_the_stream() -> None:
    market_data = hub()
    stream = market_data.subscribe([subscription(Channel.QUOTE)])
    await take(stream, 2)
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    market_data.close("the server stops")
    assert (await reading).event == Notice("the server stops")
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert market_data.stream_count == 0


async def test_a_book_that_is_not_live_says_so_and_comes_back_with_a_snapshot() -> None:
    market_data = hub()
    market_data.publish(book([(100, 1)], [(101, 1)], snapshot=True, sequence=1))
    stream = market_data.subscribe([subscription(Channel.BOOK), subscription(Channel.QUOTE)])
    await take(stream, 4)
    assert market_data.quote(NAME) == Quote(INSTRUMENT, 100, 1, 101, 1, None, 1)

    market_data.publish(book(state=FeedState.GAP, sequence=1))
    lost, withdrawn = await take(stream, 2)
    assert lost.event == Update(book(state=FeedState.GAP, sequence=1), 0)
    assert withdrawn.event == Update(Quote(INSTRUMENT, 0, 0, 0, 0, None, 1), 0)
    assert market_data.quote(NAME) is None
    assert market_data.state(NAME) is FeedState.GAP
    served = market_data.book(NAME)
    assert served is not None
    assert served.state is FeedState.GAP

    market_data.publish(book([(90, 1)], [(91, 1)], snapshot=True, sequence=9))
    back, again = await take(stream, 2)
    assert back.event == Snapshot(book([(90, 1)], [(91, 1)], snapshot=True, sequence=9))
    assert again.event == Update(Quote(INSTRUMENT, 90, 1, 91, 1, None, 9), 0)
    stream.close()


async def test_subscribers_of_one_depth_share_one_update() -> None:
    market_data = hub()
    streams = [market_data.subscribe([subscription(Channel.BOOK, depth=10)]) for _ in range(3)]
    market_data.publish(book([(100, 1)]))
    events = [(await take(stream, 3))[2].event for stream in streams]
    assert all(isinstance(event, Update) for event in events)
    assert len({id(event.data) for event in events if isinstance(event, Update)}) == 1
    for stream in streams:
        stream.close()


def test_recent_trades_come_newest_first_and_are_bounded() -> None:
    market_data = hub(trades=5)
    for n in range(8):
        market_data.publish(trade(n))
    assert [t.trade_id for t in market_data.trades(NAME, 3)] == ["7", "6", "5"]
    assert [t.trade_id for t in market_data.trades(NAME, 100)] == ["7", "6", "5", "4", "3"]
    assert market_data.trades("internal:NOTHING", 3) == []


def test_what_nobody_published_is_unknown() -> None:
    market_data = hub()
    assert market_data.quote(NAME) is None
    assert market_data.book(NAME) is None
    assert market_data.state(NAME) is FeedState.SYNCING


def test_listeners_see_every_update_after_the_hub() -> None:
    market_data = hub()
    seen: list[tuple[MarketUpdate, FeedState]] = []
    market_data.add_listener(lambda update: seen.append((update, market_data.state(NAME))))
    market_data.publish(book([(1, 1)], [(2, 1)], snapshot=True))
    market_data.publish(trade(1))
    assert [type(update).__name__ for update, _ in seen] == ["Quote", "BookUpdate", "Trade"]
    assert {state for _, state in seen} == {FeedState.LIVE}


def test_a_listener_that_fails_stops_nobody() -> None:
    market_data = hub()
    seen: list[MarketUpdate] = []

    def broken(update: MarketUpdate) -> None:
        raise RuntimeError("a bug")

    market_data.add_listener(broken)
    market_data.add_listener(seen.append)
    market_data.publish(trade(1))
    assert seen == market_data.trades(NAME) == [trade(1)]


@pytest.mark.parametrize(
    ("channel", "delivery", "depth", "interval_ms"),
    [
        (Channel.TRADE, Delivery.LATEST, 20, 0),
        (Channel.BOOK, Delivery.ALL, 0, 0),
        (Channel.BOOK, Delivery.ALL, 1_001, 0),
        (Channel.QUOTE, Delivery.INTERVAL, 20, 9),
        (Channel.QUOTE, Delivery.INTERVAL, 20, 60_001),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(
    channel: Channel, delivery: Delivery, depth: int, interval_ms: int
) -> None:
    with pytest.raises(ValueError, match=r"trades|depth|interval_ms"):
        subscription(channel, delivery, depth=depth, interval_ms=interval_ms)


def test_snapshots_of_an_own_book_become_changes() -> None:
    market_data = hub()
    seen: list[MarketUpdate] = []
    market_data.add_listener(seen.append)
    publisher = BookPublisher(market_data, INSTRUMENT)
    publisher.publish([], [], 1, 1)
    publisher.publish([(10, 5), (9, 1)], [(11, 2)], 2, 2)
    publisher.publish([(10, 5), (8, 1)], [(11, 2)], 3, 3)
    publisher.publish([(10, 5), (8, 1)], [(11, 2)], 4, 4)
    books = [update for update in seen if isinstance(update, BookUpdate)]
    assert [(b.is_snapshot, b.bids, b.asks) for b in books] == [
        (True, (), ()),
        (False, ((10, 5), (9, 1)), ((11, 2),)),
        (False, ((9, 0), (8, 1)), ()),
    ]
    quotes = [(q.bid_price, q.ask_price) for q in seen if isinstance(q, Quote)]
    assert quotes == [(0, 0), (10, 11)]
    assert market_data.quote(NAME) == Quote(INSTRUMENT, 10, 5, 11, 2, 2, 2)


async def test_subscriptions_are_bounded() -> None:
    market_data = hub(subscriptions=3)
    stream = market_data.subscribe([subscription(Channel.TRADE), subscription(Channel.QUOTE)])
    with pytest.raises(ResourceExhausted, match="2 markets are subscribed"):
        market_data.subscribe([subscription(Channel.TRADE), subscription(Channel.BOOK)])
    stream.close()
    market_data.subscribe(
        [subscription(Channel.TRADE), subscription(Channel.BOOK), subscription(Channel.QUOTE)]
    ).close()
    assert market_data.stream_count == 0


async def test_different_depths_are_bounded_and_unread_ones_make_room() -> None:
    market_data = hub(depths=2)
    market_data.publish(book([(100, 1), (99, 1), (98, 1)], [(101, 1)], snapshot=True))
    one, two = (market_data.subscribe([subscription(Channel.BOOK, depth=depth)]) for depth in (1, 2))
    with pytest.raises(ResourceExhausted, match=r"use one of 1, 2$"):
        market_data.subscribe([subscription(Channel.QUOTE), subscription(Channel.BOOK, depth=3)])
    assert market_data.stream_count == 2
    shared = market_data.subscribe([subscription(Channel.BOOK, depth=2)])
    one.close()
    three = market_data.subscribe([subscription(Channel.BOOK, depth=3)])
    snapshot = (await take(three, 2))[1].event
    assert isinstance(snapshot, Snapshot)
    assert isinstance(snapshot.data, BookUpdate)
    assert len(snapshot.data.bids) == 3
    for stream in (two, shared, three):
        stream.close()
