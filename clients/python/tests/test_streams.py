"""Streams: state is kept right, and nothing that can happen to a connection is seen by the user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import grpc
import pytest
from google.protobuf import timestamp_pb2
from google.rpc import error_details_pb2

import tradewind
from clients.python.tests.scripted import Call, Driver, ScriptedServer, hold
from tradewind import Level, errors
from tradewind.v1 import common_pb2, market_data_pb2

NAME = "binance:BTC/USDT"
CODE = grpc.StatusCode
NOW = timestamp_pb2.Timestamp(seconds=1_700_000_000, nanos=123_456_789)


def market(sequence: int, prev: int, epoch: str = "e", **event: Any) -> market_data_pb2.SubscribeMarketDataResponse:
    return in_one_message(market_event(sequence, prev, **event), epoch=epoch)


def market_event(sequence: int, prev: int, **event: Any) -> market_data_pb2.MarketDataEvent:
    return market_data_pb2.MarketDataEvent(sequence=sequence, prev_sequence=prev, subscription_id=NAME, **event)


def in_one_message(
    *events: market_data_pb2.MarketDataEvent, epoch: str = "e"
) -> market_data_pb2.SubscribeMarketDataResponse:
    return market_data_pb2.SubscribeMarketDataResponse(stream_epoch=epoch, events=events)


def ack(resumed: bool = False) -> dict[str, common_pb2.StreamAck]:
    return {"ack": common_pb2.StreamAck(subscription_id=NAME, resumed=resumed)}


def book(bids: dict[str, str], asks: dict[str, str]) -> market_data_pb2.Book:
    return market_data_pb2.Book(
        instrument=NAME,
        bids=[market_data_pb2.BookLevel(price=price, qty=qty) for price, qty in bids.items()],
        asks=[market_data_pb2.BookLevel(price=price, qty=qty) for price, qty in asks.items()],
        state=market_data_pb2.FEED_STATE_LIVE,
        receive_time=NOW,
        publish_time=NOW,
    )


def whole(sequence: int, bids: dict[str, str], asks: dict[str, str], is_last: bool = True, epoch: str = "e") -> Any:
    snapshot = market_data_pb2.MarketDataSnapshot(book=book(bids, asks), is_last=is_last)
    return market(sequence, 0, epoch, snapshot=snapshot)


def change(sequence: int, prev: int, bids: dict[str, str], asks: dict[str, str], conflated: int = 0) -> Any:
    update = market_data_pb2.MarketDataUpdate(book=book(bids, asks))
    return market(sequence, prev, update=update, conflated_count=conflated)


def levels(side: tuple[Level, ...]) -> dict[str, str]:
    return {str(level.price): str(level.qty) for level in side}


def resume_positions(server: ScriptedServer) -> list[tuple[str, int] | None]:
    """Where each connection of the market data stream asked to continue."""
    subscriptions = [call.request.subscriptions[0] for call in server.calls["SubscribeMarketData"]]
    return [(s.resume_from.epoch, s.resume_from.sequence) if s.HasField("resume_from") else None for s in subscriptions]


async def test_a_book_is_kept_from_a_snapshot_in_parts_and_changes(driver: Driver, server: ScriptedServer) -> None:
    def script(call: Call) -> Iterator[Any]:
        yield market(5, 0, **ack())
        yield whole(5, {"100": "1"}, {"101": "2"}, is_last=False)
        yield whole(5, {"99": "3"}, {"102": "4"})
        yield change(6, 5, {"100": "0", "98.5": "7"}, {"101": "5"})
        yield change(9, 6, {"99.5": "1"}, {"101": "0"}, conflated=2)
        yield from hold(call)

    server.on("SubscribeMarketData", script)
    watch = driver.client.watch_book(NAME, depth=3)
    first, second, third = await driver.take(watch, 3)
    watch.close()

    assert (levels(first.bids), levels(first.asks)) == ({"100": "1", "99": "3"}, {"101": "2", "102": "4"})
    assert list(levels(second.bids).items()) == [("99", "3"), ("98.5", "7")]
    assert list(levels(second.asks).items()) == [("101", "5"), ("102", "4")]
    assert list(levels(third.bids)) == ["99.5", "99", "98.5"]
    assert (third.mid, third.spread) == (Decimal("100.75"), Decimal("2.5"))
    assert levels(first.bids) == {"100": "1", "99": "3"}, "a book once given does not change"
    assert third.venue_time is None
    assert third.receive_time_ns == 1_700_000_000_123_456_789
    (subscription,) = server.calls["SubscribeMarketData"][0].request.subscriptions
    assert (subscription.channel, subscription.depth) == (market_data_pb2.CHANNEL_BOOK, 3)
    assert subscription.delivery == market_data_pb2.DELIVERY_LATEST


async def test_a_fresh_snapshot_on_the_same_stream_replaces_the_book(driver: Driver, server: ScriptedServer) -> None:
    def script(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        yield whole(4, {"90": "1"}, {"91": "2"})
        yield change(5, 4, {"89": "1"}, {})
        yield from hold(call)

    server.on("SubscribeMarketData", script)
    watch = driver.client.watch_book(NAME)
    books = await driver.take(watch, 3)
    watch.close()
    assert levels(books[2].bids) == {"90": "1", "89": "1"}
    assert watch.reconnects == 0


async def test_a_broken_connection_is_resumed_where_it_was(driver: Driver, server: ScriptedServer) -> None:
    def breaks(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        yield change(2, 1, {"99": "1"}, {})
        call.fail(CODE.UNAVAILABLE)

    def resumes(call: Call) -> Iterator[Any]:
        yield market(2, 2, **ack(resumed=True))
        yield change(3, 2, {"98": "1"}, {})
        yield from hold(call)

    server.on("SubscribeMarketData", breaks, resumes)
    watch = driver.client.watch_book(NAME)
    books = await driver.take(watch, 3)
    watch.close()
    assert list(levels(books[2].bids)) == ["100", "99", "98"]
    assert resume_positions(server) == [None, ("e", 2)]
    assert (watch.reconnects, watch.gaps) == (1, 0)


async def test_a_lost_message_is_fetched_again(driver: Driver, server: ScriptedServer) -> None:
    def loses(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        yield change(3, 2, {"97": "1"}, {})  # 2 is missing
        yield from hold(call)

    def resumes(call: Call) -> Iterator[Any]:
        yield market(1, 1, **ack(resumed=True))
        yield change(2, 1, {"98": "1"}, {})
        yield change(3, 2, {"97": "1"}, {})
        yield from hold(call)

    server.on("SubscribeMarketData", loses, resumes)
    watch = driver.client.watch_book(NAME)
    books = await driver.take(watch, 3)
    watch.close()
    assert list(levels(books[2].bids)) == ["100", "98", "97"]
    assert resume_positions(server) == [None, ("e", 1)]


async def test_of_a_message_of_many_events_those_before_a_lost_one_count(
    driver: Driver, server: ScriptedServer
) -> None:
    def loses(call: Call) -> Iterator[Any]:
        messages = [
            market(1, 0, **ack()),
            whole(1, {"100": "1"}, {"101": "2"}),
            change(2, 1, {"99": "1"}, {}),
            change(4, 3, {"97": "1"}, {}),  # 3 is missing
        ]
        yield in_one_message(*(event for message in messages for event in message.events))
        yield from hold(call)

    def resumes(call: Call) -> Iterator[Any]:
        yield market(2, 2, **ack(resumed=True))
        yield change(3, 2, {"98": "1"}, {})
        yield from hold(call)

    server.on("SubscribeMarketData", loses, resumes)
    watch = driver.client.watch_book(NAME)
    books = await driver.take(watch, 3)
    watch.close()
    assert [list(levels(each.bids)) for each in books] == [["100"], ["100", "99"], ["100", "99", "98"]]
    assert resume_positions(server) == [None, ("e", 2)]


async def test_a_message_lost_twice_at_the_same_place_means_a_fresh_start(
    driver: Driver, server: ScriptedServer
) -> None:
    def loses(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        yield change(3, 2, {"97": "1"}, {})
        yield from hold(call)

    def loses_again(call: Call) -> Iterator[Any]:
        yield market(1, 1, **ack(resumed=True))
        yield change(3, 2, {"97": "1"}, {})
        yield from hold(call)

    def starts_over(call: Call) -> Iterator[Any]:
        yield market(3, 0, **ack())
        yield whole(3, {"97": "1"}, {"98": "1"})
        yield from hold(call)

    server.on("SubscribeMarketData", loses, loses_again, starts_over)
    watch = driver.client.watch_book(NAME)
    books = await driver.take(watch, 2)
    watch.close()
    assert levels(books[1].bids) == {"97": "1"}
    assert resume_positions(server) == [None, ("e", 1), None]


async def test_a_snapshot_cut_in_half_is_not_resumed_from(driver: Driver, server: ScriptedServer) -> None:
    def breaks(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"}, is_last=False)
        call.fail(CODE.UNAVAILABLE)

    def starts_over(call: Call) -> Iterator[Any]:
        yield market(2, 0, **ack())
        yield whole(2, {"90": "1"}, {"91": "2"})
        yield from hold(call)

    server.on("SubscribeMarketData", breaks, starts_over)
    watch = driver.client.watch_book(NAME)
    (only,) = await driver.take(watch, 1)
    watch.close()
    assert levels(only.bids) == {"90": "1"}
    assert resume_positions(server) == [None, None]


async def test_a_gap_is_counted_and_the_snapshot_after_it_taken(driver: Driver, server: ScriptedServer) -> None:
    def script(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        yield market(50, 50, gap=common_pb2.StreamGap(from_sequence=2, to_sequence=50))
        yield whole(50, {"80": "1"}, {"81": "2"}, epoch="f")
        yield from hold(call)

    server.on("SubscribeMarketData", script)
    watch = driver.client.watch_book(NAME)
    books = await driver.take(watch, 2)
    watch.close()
    assert levels(books[1].bids) == {"80": "1"}
    assert watch.gaps == 1


async def test_heartbeats_notices_and_unknown_news_are_no_values(driver: Driver, server: ScriptedServer) -> None:
    notice = common_pb2.StreamNotice(code=common_pb2.StreamNotice.CODE_GOING_AWAY)

    def going_away(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield market(1, 0, snapshot=market_data_pb2.MarketDataSnapshot(is_last=True))  # nothing known yet
        beat = market_data_pb2.MarketDataEvent(sequence=1, prev_sequence=1, heartbeat=common_pb2.StreamHeartbeat())
        yield in_one_message(beat, market_data_pb2.MarketDataEvent(sequence=1, notice=notice))

    def resumes(call: Call) -> Iterator[Any]:
        yield market(1, 1, **ack(resumed=True))
        yield market(2, 1, update=market_data_pb2.MarketDataUpdate(quote=market_data_pb2.Quote(bid_price="1")))
        yield from hold(call)

    server.on("SubscribeMarketData", going_away, resumes)
    watch = driver.client.watch_quotes(NAME, interval_ms=50)
    (quote,) = await driver.take(watch, 1)
    watch.close()
    assert (quote.bid_price, quote.ask_price) == (Decimal(1), None)
    assert watch.reconnects == 1
    (subscription,) = server.calls["SubscribeMarketData"][0].request.subscriptions
    assert (subscription.delivery, subscription.interval_ms) == (market_data_pb2.DELIVERY_INTERVAL, 50)


async def test_trades_are_news_only(driver: Driver, server: ScriptedServer) -> None:
    def trade(trade_id: str) -> market_data_pb2.Trade:
        return market_data_pb2.Trade(
            instrument=NAME, trade_id=trade_id, price="1", qty="2", aggressor_side=common_pb2.SIDE_SELL, venue_time=NOW
        )

    def script(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield market(1, 0, snapshot=market_data_pb2.MarketDataSnapshot(trade=trade("old"), is_last=True))
        yield market(2, 1, update=market_data_pb2.MarketDataUpdate(trade=trade("new")))
        yield from hold(call)

    server.on("SubscribeMarketData", script)
    watch = driver.client.watch_trades(NAME)
    (only,) = await driver.take(watch, 1)
    watch.close()
    assert (only.trade_id, only.aggressor_side) == ("new", tradewind.Side.SELL)
    assert only.venue_time_ns == 1_700_000_000_123_456_789
    assert server.calls["SubscribeMarketData"][0].request.subscriptions[0].delivery == market_data_pb2.DELIVERY_ALL


async def test_a_first_connection_that_fails_is_an_error_at_once(driver: Driver, server: ScriptedServer) -> None:
    server.on("SubscribeMarketData", lambda call: call.fail(CODE.UNAVAILABLE))
    with pytest.raises(errors.Unavailable):
        await driver.take(driver.client.watch_book(NAME), 1)
    assert len(server.calls["SubscribeMarketData"]) == 1


async def test_an_outage_that_lasts_is_an_error(driver: Driver, server: ScriptedServer) -> None:
    def breaks(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        call.fail(CODE.UNAVAILABLE)

    server.on("SubscribeMarketData", breaks, lambda call: call.fail(CODE.UNAVAILABLE))
    watch = driver.client.watch_book(NAME)
    with pytest.raises(errors.Unavailable):
        await driver.take(watch, 2)  # this client gives up after a second
    assert len(server.calls["SubscribeMarketData"]) > 2


async def test_outages_of_a_quiet_stream_are_not_added_up(server: ScriptedServer) -> None:
    def breaks(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        call.fail(CODE.UNAVAILABLE)

    server.on("SubscribeMarketData", *[breaks] * 5, quiet_after_snapshot)
    for kind in (tradewind.AsyncClient, tradewind.Client):
        server.calls.clear()
        driver = Driver(kind(server.address, "t", max_outage_s=0))  # one attempt that fails is too long already
        watch = driver.client.watch_book(NAME)
        assert levels((await driver.take(watch, 1))[0].bids) == {"100": "1"}
        assert watch.reconnects == 5
        watch.close()
        await driver.call("close")


@pytest.mark.parametrize("reason", ["QUOTA_EXCEEDED", ""])
async def test_a_stream_that_broke_outlives_what_the_server_still_counts_or_cancels(
    driver: Driver, server: ScriptedServer, reason: str
) -> None:
    def breaks(call: Call) -> Iterator[Any]:
        yield whole(1, {"100": "1"}, {"101": "2"})
        call.fail(CODE.UNAVAILABLE)

    def refuses(call: Call) -> None:
        quota = error_details_pb2.ErrorInfo(domain="tradewind", reason=reason)
        call.fail(CODE.RESOURCE_EXHAUSTED if reason else CODE.CANCELLED, "no", quota)

    server.on("SubscribeMarketData", breaks, refuses, quiet_after_snapshot)
    watch = driver.client.watch_book(NAME)
    assert len(await driver.take(watch, 2)) == 2
    watch.close()


async def test_a_server_that_was_away_for_long_is_found_soon() -> None:
    server = ScriptedServer()
    server.on("SubscribeMarketData", quiet_after_snapshot)
    attempts: list[float] = []

    def turned_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(time.monotonic())
        writer.close()

    async with tradewind.AsyncClient(server.address, "t", max_outage_s=120) as client:
        watch = client.watch_book(NAME)
        await anext(watch)
        reader = asyncio.create_task(anext(watch))
        server.stop()
        nobody = await asyncio.start_server(turned_away, "127.0.0.1", server.port)
        await until(lambda: len(attempts) > 10)  # by now the waits between attempts have grown
        nobody.close()
        waits = [after - before for before, after in pairwise(attempts[-5:])]
        assert sorted(waits)[1] < 1.5, "one of the better ones: the machine may be busy"
        again = ScriptedServer(server.port)
        again.on("SubscribeMarketData", quiet_after_snapshot)
        assert levels((await asyncio.wait_for(reader, 60)).bids) == {"100": "1"}
        again.stop()


@pytest.mark.parametrize("code", [CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED, CODE.INTERNAL, CODE.NOT_FOUND])
async def test_what_a_reconnect_cannot_mend_is_raised(
    driver: Driver, server: ScriptedServer, code: grpc.StatusCode
) -> None:
    def breaks(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        call.fail(code)

    server.on("SubscribeMarketData", breaks)
    with pytest.raises(errors.TradewindError):
        await driver.take(driver.client.watch_book(NAME), 2)
    assert len(server.calls["SubscribeMarketData"]) == 1


async def test_a_slow_reader_that_was_ended_resumes(driver: Driver, server: ScriptedServer) -> None:
    slow = error_details_pb2.ErrorInfo(domain="tradewind", reason="SLOW_CONSUMER")

    def ends(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        call.fail(CODE.RESOURCE_EXHAUSTED, "too slow", slow)

    def resumes(call: Call) -> Iterator[Any]:
        yield market(1, 1, **ack(resumed=True))
        yield change(2, 1, {"99": "1"}, {})
        yield from hold(call)

    server.on("SubscribeMarketData", ends, resumes)
    watch = driver.client.watch_book(NAME)
    assert len(await driver.take(watch, 2)) == 2
    watch.close()


# --- how a watch begins and ends ------------------------------------------------------------------------------------


def quiet(call: Call) -> Iterator[Any]:
    yield market(1, 0, **ack())
    yield from hold(call)


async def test_inside_async_with_the_subscription_stands(server: ScriptedServer) -> None:
    server.on("SubscribeMarketData", quiet)
    async with tradewind.AsyncClient(server.address, "t") as client:
        async with client.watch_book(NAME) as watch:
            (call,) = server.calls["SubscribeMarketData"]
            reader = asyncio.create_task(anext(watch))
            await asyncio.sleep(0.05)
            watch.close()
            with pytest.raises(StopAsyncIteration):
                await asyncio.wait_for(reader, 60)
        await until(lambda: not call.context.is_active())


async def test_a_cancelled_reader_is_cancelled(server: ScriptedServer) -> None:
    server.on("SubscribeMarketData", quiet)
    async with tradewind.AsyncClient(server.address, "t") as client, client.watch_book(NAME) as watch:
        reader = asyncio.create_task(anext(watch))
        await asyncio.sleep(0.05)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader


async def test_a_read_that_timed_out_loses_nothing(server: ScriptedServer) -> None:
    def resumes(call: Call) -> Iterator[Any]:
        yield market(1, 1, **ack(resumed=True))
        yield change(2, 1, {"99": "1"}, {})
        yield from hold(call)

    server.on("SubscribeMarketData", quiet_after_snapshot, resumes)
    async with tradewind.AsyncClient(server.address, "t") as client, client.watch_book(NAME) as watch:
        await anext(watch)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 0.1)
        assert list(levels((await anext(watch)).bids)) == ["100", "99"]
        assert resume_positions(server) == [None, ("e", 1)]


async def test_a_blocking_watch_is_ended_from_another_thread(server: ScriptedServer) -> None:
    server.on("SubscribeMarketData", quiet)
    with tradewind.Client(server.address, "t") as client, client.watch_book(NAME) as watch:
        reader = asyncio.create_task(asyncio.to_thread(list, watch))
        await asyncio.sleep(0.05)
        watch.close()
        assert await asyncio.wait_for(reader, 60) == []


async def test_raw_messages_come_whole(server: ScriptedServer) -> None:
    def script(call: Call) -> Iterator[Any]:
        yield market(1, 0, **ack())
        yield whole(1, {"100": "1"}, {"101": "2"})
        yield from hold(call)

    server.on("SubscribeMarketData", script)
    with tradewind.Client(server.address, "t") as client, client.watch_book(NAME) as watch:
        message = next(watch.raw())
    assert message.events[0].snapshot.book.bids[0].price == "100"


async def test_a_server_that_restarts_on_its_port_is_found_again() -> None:
    first = ScriptedServer()
    first.on("SubscribeMarketData", quiet_after_snapshot)
    async with tradewind.AsyncClient(first.address, "t", max_outage_s=20) as client:
        watch = client.watch_book(NAME)
        await anext(watch)
        reader = asyncio.create_task(anext(watch))
        first.stop()
        await asyncio.sleep(0.3)
        second = ScriptedServer(first.port)
        second.on("SubscribeMarketData", quiet_after_snapshot)
        assert levels((await asyncio.wait_for(reader, 60)).bids) == {"100": "1"}
        assert watch.reconnects >= 1
        second.stop()


def quiet_after_snapshot(call: Call) -> Iterator[Any]:
    yield market(1, 0, **ack())
    yield whole(1, {"100": "1"}, {"101": "2"})
    yield from hold(call)


async def until(condition: Any, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)
