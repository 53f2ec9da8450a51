"""Messages of streams: joined from bytes, they say what protobuf itself would have written, as few as possible."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.base.errors import ShuttingDown
from server.base.streams import Ack, Gap, Heartbeat, Notice
from server.market.model import BookUpdate, MarketUpdate, Quote, Trade
from server.market.subscription import Channel, Snapshot, StreamEvent, StreamItem, Update
from server.rpc import convert, streams, wire
from server.rpc.market_encoder import MarketDataEncoder
from tests.support.feeds import book, hub, quote, subscription, trade
from tradewind.v1 import accounts_pb2, common_pb2, orders_pb2
from tradewind.v1 import market_data_pb2 as pb

NOW_NS = 1_700_000_000_123_456_789


class StoppedClock:
    def now_ns(self) -> int:
        return NOW_NS


def plain(item: StreamItem) -> pb.MarketDataEvent:
    """The event as protobuf's own classes make it."""
    event = pb.MarketDataEvent(
        sequence=item.sequence, prev_sequence=item.prev_sequence, subscription_id=item.subscription_id
    )
    match item.event:
        case Update(data, conflated_count):
            event.update.CopyFrom(pb.MarketDataUpdate(**data_of(data)))
            event.conflated_count = conflated_count
        case Snapshot(data, is_last):
            event.snapshot.CopyFrom(pb.MarketDataSnapshot(**data_of(data), is_last=is_last))
        case Ack(resumed):
            event.ack.CopyFrom(common_pb2.StreamAck(subscription_id=item.subscription_id, resumed=resumed))
        case Gap(from_sequence, to_sequence, reason):
            gap = common_pb2.StreamGap(from_sequence=from_sequence, to_sequence=to_sequence, reason=reason)
            event.gap.CopyFrom(gap)
        case Heartbeat():
            event.heartbeat.time.FromNanoseconds(NOW_NS)
        case Notice(text):
            code = common_pb2.StreamNotice.CODE_GOING_AWAY
            event.notice.CopyFrom(common_pb2.StreamNotice(code=code, message=text))
    return event


def data_of(update: MarketUpdate | None) -> dict[str, Any]:
    match update:
        case Quote():
            return {"quote": convert.quote(update, NOW_NS)}
        case Trade():
            return {"trade": convert.trade(update, NOW_NS)}
        case BookUpdate():
            return {"book": convert.book(update, NOW_NS)}
    return {}


def some_event(rng: random.Random) -> StreamEvent:
    n = rng.randrange(1, 10 ** rng.randint(1, 12))
    levels = [(n + at, rng.randrange(10**9)) for at in range(rng.choice((0, 1, 5, 300)))]
    data = rng.choice((quote(n), trade(n), book(levels, levels[:3], snapshot=rng.random() < 0.5, sequence=n)))
    return rng.choice(
        (
            Update(data, rng.choice((0, 1, 127, 128, 10**6))),
            Snapshot(data, is_last=rng.random() < 0.5),
            Snapshot(None),
            Ack(resumed=rng.random() < 0.5),
            Gap(n, n + 1, "no longer retained"),
            Heartbeat(),
            Notice("the server is stopping"),
        )
    )


def test_an_event_says_what_protobuf_would_have_written() -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    encode = MarketDataEncoder(StoppedClock())
    for _ in range(3_000):
        sequence = rng.randrange(2 ** rng.choice((1, 7, 8, 14, 32, 63)))
        name = rng.choice(("", "a", "binance:BTC/USDT#book", "ü" * 100))
        item = StreamItem(name, "e", sequence, rng.randrange(sequence + 1), some_event(rng))
        assert pb.MarketDataEvent.FromString(encode(item)) == plain(item)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_383, 16_384, 2**32, 2**63 - 1, 2**64 - 1])
def test_numbers_of_all_sizes(number: int) -> None:
    encoded = wire.varint_key(1) + wire.varint(number)
    assert pb.MarketDataEvent.FromString(encoded).sequence == number


def test_an_update_is_encoded_once_for_all_streams() -> None:
    clock_reads = 0

    class CountingClock:
        def now_ns(self) -> int:
            nonlocal clock_reads
            clock_reads += 1
            return NOW_NS + clock_reads

    clock = CountingClock()
    update = quote(100)
    events = [MarketDataEncoder(clock)(StreamItem(f"s{n}", "e", n + 5, n, Update(update, n))) for n in range(3)]
    decoded = [pb.MarketDataEvent.FromString(event) for event in events]
    assert clock_reads == 1
    assert [(each.subscription_id, each.sequence, each.prev_sequence, each.conflated_count) for each in decoded] == [
        ("s0", 5, 0, 0), ("s1", 6, 1, 1), ("s2", 7, 2, 2)
    ]  # fmt: skip
    assert len({each.update.SerializeToString() for each in decoded}) == 1


def test_all_streams_have_messages_of_one_shape() -> None:
    shapes = {
        tuple((field.name, field.number) for field in kind.DESCRIPTOR.fields)
        for kind in (
            pb.SubscribeMarketDataResponse,
            orders_pb2.SubscribeOrdersResponse,
            accounts_pb2.SubscribeAccountResponse,
        )
    }
    assert shapes == {(("stream_epoch", 1), ("events", 2))}


async def test_what_is_pending_comes_in_one_message_and_what_comes_later_in_the_next() -> None:
    market_data = hub()
    with contextlib.closing(market_data.subscribe([subscription(Channel.TRADE)])) as stream:
        responses = decoded_messages(streams.messages(stream, MarketDataEncoder(StoppedClock())))
        for n in range(600):
            market_data.publish(trade(n))
        first = await anext(responses)
        assert first.stream_epoch == "epoch-1"
        assert [event.WhichOneof("event") for event in first.events[:2]] == ["ack", "snapshot"]
        assert [event.update.trade.trade_id for event in first.events[2:]] == [str(n) for n in range(600)]
        waiting = asyncio.ensure_future(anext(responses))
        await asyncio.sleep(0)
        market_data.publish(trade(600))
        assert [event.update.trade.trade_id for event in (await waiting).events] == ["600"]
        market_data.close("the server is stopping")
        assert [event.WhichOneof("event") for event in (await anext(responses)).events] == ["notice"]
        with pytest.raises(ShuttingDown):
            await anext(responses)


async def test_messages_are_bounded() -> None:
    market_data = hub()
    with contextlib.closing(market_data.subscribe([subscription(Channel.TRADE)])) as stream:
        raw = streams.messages(stream, MarketDataEncoder(StoppedClock()))
        for n in range(5_000):
            market_data.publish(trade(n))
        sizes, count = [], 0
        while count < 5_002:
            message = await anext(raw)
            sizes.append(len(message))
            count += len(pb.SubscribeMarketDataResponse.FromString(message).events)
        assert streams.MESSAGE_BYTES < max(sizes) < streams.MESSAGE_BYTES + 10_000
        assert len(sizes) < 10


async def decoded_messages(raw: AsyncIterator[bytes]) -> AsyncIterator[pb.SubscribeMarketDataResponse]:
    async for message in raw:
        yield pb.SubscribeMarketDataResponse.FromString(message)
