"""Orders of every kind through both clients: what is sent, what comes back, batches and the stream of commands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.protobuf import timestamp_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

import tradewind
from clients.python.tests.scripted import Call, Driver, ScriptedServer
from tradewind import AmendRequest, CancelRequest, OrderRequest, errors
from tradewind.orders import bracket_of
from tradewind.v1 import common_pb2, orders_pb2

BOOK = "internal:BTC/USDT"


def resting(request: orders_pb2.PlaceOrderRequest) -> orders_pb2.Order:
    return orders_pb2.Order(
        order_id="7",
        client_order_id=request.client_order_id,
        account=request.account,
        qty=request.qty or "0",
        cum_qty="0",
        leaves_qty="0",
        cum_notional="0",
        cum_fee="0",
        status=orders_pb2.ORDER_STATUS_NEW,
        trigger_price="59000",
        waiting=True,
        reduce_only=True,
        display_qty="0.1",
        expire_time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
    )


def placed(call: Call) -> orders_pb2.PlaceOrderResponse:
    return orders_pb2.PlaceOrderResponse(order=resting(call.request))


def not_open() -> status_pb2.Status:
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="order '7' is not open any more")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="ORDER_NOT_OPEN", domain="tradewind"))
    return status


async def test_every_option_is_sent_exactly(driver: Driver, server: ScriptedServer) -> None:
    server.on("PlaceOrder", placed)
    request = OrderRequest(
        BOOK, "sell", Decimal("0.50"), type="trailing_stop_limit", account="other", time_in_force="gtd",
        expire_time=datetime(2030, 1, 1, tzinfo=UTC), reduce_only=True, trigger_price="60000.10", trigger_source="mid",
        trailing_offset_bps=25, limit_offset=0, self_trade_prevention="cancel_both", self_trade_group=4,
    )  # fmt: skip
    order = await driver.call("place", request)
    (call,) = server.calls["PlaceOrder"]
    assert call.request == orders_pb2.PlaceOrderRequest(
        account="other",
        instrument=BOOK,
        side=common_pb2.SIDE_SELL,
        type=orders_pb2.ORDER_TYPE_TRAILING_STOP_LIMIT,
        time_in_force=orders_pb2.TIME_IN_FORCE_GTD,
        qty="0.5",
        client_order_id=request.client_order_id,
        reduce_only=True,
        trigger_price="60000.1",
        trigger_source=orders_pb2.TRIGGER_SOURCE_MID,
        trailing_offset_bps=25,
        limit_offset="0",
        expire_time=timestamp_pb2.Timestamp(seconds=1_893_456_000),
        self_trade_prevention=orders_pb2.SELF_TRADE_PREVENTION_CANCEL_BOTH,
        self_trade_group=4,
    )
    assert (order.waiting, order.trigger_price, order.reduce_only) == (True, Decimal(59000), True)
    assert (order.display_qty, order.expire_time) == (Decimal("0.1"), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    await driver.call("buy", BOOK, quote_qty="100", type="MARKET", protection_price=7)
    sent = server.calls["PlaceOrder"][1].request
    assert (sent.qty, sent.quote_qty, sent.protection_price, sent.account) == ("", "100", "7", "demo")


async def test_the_same_request_is_the_same_order(driver: Driver, server: ScriptedServer) -> None:
    server.on("PlaceOrder", placed)
    request = OrderRequest(BOOK, "BUY", 1, 60000)
    for _ in range(2):
        await driver.call("place", request)
    assert len({call.request.client_order_id for call in server.calls["PlaceOrder"]}) == 1
    assert OrderRequest(BOOK, "BUY", 1, 60000).client_order_id != request.client_order_id


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"qty": 0.1}, TypeError),
        ({"qty": 1, "type": "LIMITED"}, ValueError),
        ({"qty": 1, "expire_time": datetime(2030, 1, 1)}, ValueError),
        ({"qty": 1, "trigger_source": "tea leaves"}, ValueError),
    ],
)
async def test_what_cannot_be_sent_is_told_before(
    driver: Driver, server: ScriptedServer, fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await driver.call("place", OrderRequest(BOOK, "BUY", **fields))
    assert not server.calls


async def test_a_batch_gives_an_order_or_an_error_each(driver: Driver, server: ScriptedServer) -> None:
    def answer(call: Call) -> orders_pb2.BatchPlaceOrdersResponse:
        results = [orders_pb2.PlaceOrderResult(placed=orders_pb2.PlaceOrderResponse(order=resting(o), replayed=True))
                   for o in call.request.orders]  # fmt: skip
        results[1] = orders_pb2.PlaceOrderResult(error=not_open())
        return orders_pb2.BatchPlaceOrdersResponse(results=results)

    server.on("BatchPlaceOrders", answer)
    requests = [OrderRequest(BOOK, "BUY", 1, 5), OrderRequest(BOOK, "BUY", 2, 5, account="x")]
    first, second = await driver.call("batch_place_orders", requests)
    assert (first.client_order_id, first.replayed) == (requests[0].client_order_id, True)
    assert isinstance(second, errors.OrderNotOpen)
    assert [order.account for order in server.calls["BatchPlaceOrders"][0].request.orders] == ["demo", "x"]


async def test_orders_are_amended_and_canceled_together(driver: Driver, server: ScriptedServer) -> None:
    server.on("AmendOrder", lambda call: orders_pb2.AmendOrderResponse(order=resting(orders_pb2.PlaceOrderRequest())))
    server.on("CancelOrders", lambda call: orders_pb2.CancelOrdersResponse(canceled_count=4))
    server.on("SetCancelTimer", lambda call: orders_pb2.SetCancelTimerResponse())
    server.on("SetTradingStatus", lambda call: orders_pb2.SetTradingStatusResponse())
    await driver.call("amend_order", client_order_id="mine", qty="0.20", trigger_price=5)
    amend = server.calls["AmendOrder"][0].request
    assert (amend.order.client_order_id, amend.qty, amend.trigger_price) == ("mine", "0.2", "5")
    assert not amend.HasField("price")
    assert await driver.call("cancel_orders", side="buy") == 4
    assert server.calls["CancelOrders"][0].request.side == common_pb2.SIDE_BUY
    assert await driver.call("set_cancel_timer", 1.5) is None
    assert server.calls["SetCancelTimer"][0].request.timeout_ms == 1500
    await driver.call("set_trading_status", "halted", BOOK)
    assert server.calls["SetTradingStatus"][0].request.status == common_pb2.TRADING_STATUS_HALTED
    holds = orders_pb2.SetReferencePricesResponse(expire_time=timestamp_pb2.Timestamp(seconds=1_700_000_000))
    server.on("SetReferencePrices", lambda call: holds)
    until = await driver.call("set_reference_prices", BOOK, index_price="60.50", valid_for_s=2)
    assert until == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    told = server.calls["SetReferencePrices"][0].request
    assert (told.index_price, told.HasField("mark_price"), told.valid_for_ms) == ("60.5", False, 2_000)
    with pytest.raises(ValueError, match="one of the two"):
        await driver.call("amend_order", "7", client_order_id="mine", qty=1)


def answers(call: Call) -> Iterator[orders_pb2.StreamOrdersResponse]:
    """Each place with an order, all else with an error."""
    for batch in call.request:
        results = [
            orders_pb2.OrderCommandResult(order=resting(command.place))
            if command.HasField("place")
            else orders_pb2.OrderCommandResult(error=not_open())
            for command in batch.commands
        ]
        answer = orders_pb2.OrderBatchResults(batch_id=batch.batch_id, results=results)
        yield orders_pb2.StreamOrdersResponse(batches=[answer])


async def test_a_stream_answers_batch_by_batch(driver: Driver, server: ScriptedServer) -> None:
    server.on("StreamOrders", answers)
    stream = driver.client.stream_orders()
    requests = [OrderRequest(BOOK, "BUY", n + 1, 5) for n in range(3)]
    results = await driver.of(stream.submit(*requests, CancelRequest("7"), AmendRequest(client_order_id="x", qty=1)))
    assert [order.client_order_id for order in results[:3]] == [request.client_order_id for request in requests]
    assert [type(error) for error in results[3:]] == [errors.OrderNotOpen] * 2
    for n in range(5):
        await driver.of(stream.send(OrderRequest(BOOK, "BUY", n + 1, 5)))
    assert stream.unanswered == 5
    with pytest.raises(RuntimeError, match="sent before"):
        await driver.of(stream.submit(requests[0]))
    for n in range(5):
        (order,) = await driver.of(stream.receive())
        assert order.qty == n + 1
    with pytest.raises(RuntimeError, match="send one first"):
        await driver.of(stream.receive())
    for _ in range(16):
        await driver.of(stream.send(requests[0]))
    with pytest.raises(RuntimeError, match="16"):
        await driver.of(stream.send(requests[0]))
    await driver.of(stream.close())
    with pytest.raises(RuntimeError, match="closed"):
        await driver.of(stream.send(requests[0]))


async def test_one_response_may_answer_several_batches(driver: Driver, server: ScriptedServer) -> None:
    def answers_two(call: Call) -> Iterator[orders_pb2.StreamOrdersResponse]:
        while True:
            batches = [next(call.request), next(call.request)]
            yield orders_pb2.StreamOrdersResponse(
                batches=[
                    orders_pb2.OrderBatchResults(
                        batch_id=batch.batch_id,
                        results=[orders_pb2.OrderCommandResult(order=resting(each.place)) for each in batch.commands],
                    )
                    for batch in batches
                ]
            )

    server.on("StreamOrders", answers_two)
    stream = driver.client.stream_orders()
    for n in range(4):
        await driver.of(stream.send(OrderRequest(BOOK, "BUY", n + 1, 5)))
    for n in range(4):
        assert stream.unanswered == 4 - n
        (order,) = await driver.of(stream.receive())
        assert order.qty == n + 1
    await driver.of(stream.close())


async def test_a_stream_that_breaks_says_why_and_is_over(driver: Driver, server: ScriptedServer) -> None:
    def breaks(call: Call) -> Iterator[orders_pb2.StreamOrdersResponse]:
        next(call.request)
        call.fail(grpc.StatusCode.UNAVAILABLE, "gone")
        yield orders_pb2.StreamOrdersResponse()

    def notices(call: Call) -> Iterator[orders_pb2.StreamOrdersResponse]:
        next(call.request)
        yield orders_pb2.StreamOrdersResponse(notice=common_pb2.StreamNotice(code=1, message="soon"))  # type: ignore[arg-type]

    def ends(call: Call) -> Iterator[orders_pb2.StreamOrdersResponse]:
        next(call.request)
        yield from ()

    server.on("StreamOrders", breaks, notices, ends)
    for kind in (errors.Unavailable, errors.ShuttingDown, errors.ShuttingDown):
        stream = driver.client.stream_orders()
        with pytest.raises(kind):
            await driver.of(stream.submit(OrderRequest(BOOK, "BUY", 1, 5)))
        with pytest.raises(RuntimeError, match="closed"):
            await driver.of(stream.send(OrderRequest(BOOK, "BUY", 1, 5)))


async def test_the_end_of_the_block_ends_the_stream(server: ScriptedServer) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch(call: Call) -> Iterator[orders_pb2.StreamOrdersResponse]:
        call.context.add_callback(lambda: loop.call_soon_threadsafe(ended.set))
        yield from answers(call)

    server.on("StreamOrders", watch)
    async with tradewind.AsyncClient(server.address, "t", account="demo") as client:
        async with client.stream_orders() as stream:
            await stream.submit(OrderRequest(BOOK, "BUY", 1, 5))
        await asyncio.wait_for(ended.wait(), 60)


async def test_lists_are_sent_as_they_belong_together(driver: Driver, server: ScriptedServer) -> None:
    def answer(call: Call) -> orders_pb2.PlaceOrderListResponse:
        orders = [resting(order) for order in call.request.orders]
        orders[-1].status = orders_pb2.ORDER_STATUS_REJECTED
        return orders_pb2.PlaceOrderListResponse(list_id="5", orders=orders, replayed=True)

    server.on("PlaceOrderList", answer)
    entry = OrderRequest(BOOK, "buy", "0.5", 60000, account="x", client_order_id="mine")
    placed = await driver.call("bracket", entry, take_profit=63000, stop_loss="58000.50")
    assert (placed.list_id, len(placed.orders), placed.replayed, placed.is_refused) == ("5", 3, True, True)
    await driver.call("oco", entry, OrderRequest(BOOK, "BUY", 1, 2))
    await driver.call("oto", entry, OrderRequest(BOOK, "SELL", 1, 2), OrderRequest(BOOK, "SELL", 1, 3))
    bracket, oco, oto = (call.request for call in server.calls["PlaceOrderList"])
    assert [each.type for each in (bracket, oco, oto)] == [
        orders_pb2.ORDER_LIST_TYPE_BRACKET, orders_pb2.ORDER_LIST_TYPE_OCO, orders_pb2.ORDER_LIST_TYPE_OTO,
    ]  # fmt: skip
    assert [len(each.orders) for each in (bracket, oco, oto)] == [3, 2, 3]
    _, profit, loss = bracket.orders
    assert (profit.type, profit.side, profit.price) == (orders_pb2.ORDER_TYPE_LIMIT, common_pb2.SIDE_SELL, "63000")
    assert (loss.type, loss.side, loss.trigger_price) == (orders_pb2.ORDER_TYPE_STOP, common_pb2.SIDE_SELL, "58000.5")
    assert [order.client_order_id for order in bracket.orders] == ["mine", "mine-tp", "mine-sl"]
    assert all((each.account, each.qty, each.reduce_only) == ("x", "0.5", True) for each in (profit, loss))


@pytest.mark.parametrize("length", [1, 33, 34, 35, 36])
def test_an_id_of_any_length_an_order_takes_is_taken_for_a_bracket(length: int) -> None:
    entry = OrderRequest(BOOK, "BUY", "1", "100", client_order_id="123e4567-e89b-12d3-a456-426614174000"[:length])
    ids = [order.client_order_id for order in bracket_of(entry, 110, 90)]
    assert ids == [order.client_order_id for order in bracket_of(entry, 110, 90)]
    assert (ids[0], len(set(ids)), max(map(len, ids)) <= 36) == (entry.client_order_id, 3, True)
    if length <= 33:
        assert ids[1:] == [f"{ids[0]}-tp", f"{ids[0]}-sl"]
