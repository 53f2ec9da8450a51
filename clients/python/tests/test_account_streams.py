"""Streams of orders, balances and positions: kept from a snapshot and changes, and right after a gap."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import grpc

import tradewind
from clients.python.tests.scripted import Call, Driver, ScriptedServer, hold
from tradewind import OrderStatus, OrderUpdate
from tradewind.v1 import accounts_pb2, common_pb2, orders_pb2

NAME = "binance:BTC/USDT"


def order(order_id: int, status: int = orders_pb2.ORDER_STATUS_NEW) -> orders_pb2.Order:
    return orders_pb2.Order(
        order_id=str(order_id), account="demo", qty="1", cum_qty="0", leaves_qty="1", cum_notional="0", cum_fee="0",
        status=status,  # type: ignore[arg-type]
    )  # fmt: skip


def orders(sequence: int, prev: int, **event: Any) -> orders_pb2.SubscribeOrdersResponse:
    happened = orders_pb2.OrdersEvent(sequence=sequence, prev_sequence=prev, **event)
    return orders_pb2.SubscribeOrdersResponse(stream_epoch="e", events=[happened])


async def test_orders_are_followed_from_a_snapshot(driver: Driver, server: ScriptedServer) -> None:
    fill = orders_pb2.Fill(trade_id="9", order_id="1", price="2", qty="1", fee="-0.1")
    filled = orders_pb2.OrderUpdate(order=order(1, orders_pb2.ORDER_STATUS_FILLED), fill=fill)

    def script(call: Call) -> Iterator[Any]:
        yield orders(10, 10, ack=common_pb2.StreamAck())
        yield orders(10, 10, snapshot=orders_pb2.OrdersSnapshot(orders=[order(1), order(2)], is_last=True))
        yield orders(17, 10, update=filled)
        yield from hold(call)

    server.on("SubscribeOrders", script)
    watch = driver.client.watch_orders()
    first, second, third = await driver.take(watch, 3)
    watch.close()
    assert [first.order.order_id, second.order.order_id] == ["1", "2"]
    assert first.is_snapshot
    assert first.fill is None
    assert third.order.status is OrderStatus.FILLED
    assert (third.fill.trade_id, third.fill.fee) == ("9", Decimal("-0.1"))
    assert server.calls["SubscribeOrders"][0].request.account == "demo"


async def test_an_order_that_closed_in_a_gap_is_looked_up(driver: Driver, server: ScriptedServer) -> None:
    def breaks(call: Call) -> Iterator[Any]:
        yield orders(10, 10, ack=common_pb2.StreamAck())
        yield orders(10, 10, snapshot=orders_pb2.OrdersSnapshot(orders=[order(1), order(2)], is_last=True))
        call.fail(grpc.StatusCode.UNAVAILABLE)

    def gap(call: Call) -> Iterator[Any]:
        assert call.request.resume_from == common_pb2.StreamPosition(epoch="e", sequence=10)
        yield orders(90, 90, ack=common_pb2.StreamAck())
        yield orders(90, 90, gap=common_pb2.StreamGap(from_sequence=11, to_sequence=90))
        yield orders(90, 90, snapshot=orders_pb2.OrdersSnapshot(orders=[order(2)], is_last=True))
        yield from hold(call)

    server.on("SubscribeOrders", breaks, gap)
    server.on("GetOrder", lambda call: orders_pb2.GetOrderResponse(order=order(1, orders_pb2.ORDER_STATUS_CANCELED)))
    watch = driver.client.watch_orders()
    updates: list[OrderUpdate] = await driver.take(watch, 4)
    watch.close()
    assert [(update.order.order_id, update.order.is_open) for update in updates[2:]] == [("2", True), ("1", False)]
    assert watch.gaps == 1


async def test_a_server_that_goes_away_while_a_closed_order_is_looked_up_ends_nothing(server: ScriptedServer) -> None:
    def breaks(call: Call) -> Iterator[Any]:
        yield orders(10, 10, snapshot=orders_pb2.OrdersSnapshot(orders=[order(1)], is_last=True))
        call.fail(grpc.StatusCode.UNAVAILABLE)

    def gap(call: Call) -> Iterator[Any]:
        yield orders(90, 90, gap=common_pb2.StreamGap(from_sequence=11, to_sequence=90))
        yield orders(90, 90, snapshot=orders_pb2.OrdersSnapshot(is_last=True))
        yield from hold(call)

    def resumes(call: Call) -> Iterator[Any]:
        assert call.request.resume_from == common_pb2.StreamPosition(epoch="e", sequence=90)
        yield orders(91, 90, update=orders_pb2.OrderUpdate(order=order(5)))
        yield from hold(call)

    closed = orders_pb2.GetOrderResponse(order=order(1, orders_pb2.ORDER_STATUS_CANCELED))
    away = [lambda call: call.fail(grpc.StatusCode.UNAVAILABLE)] * 4  # one call of the SDK is four tries
    server.on("SubscribeOrders", breaks, gap, resumes)
    server.on("GetOrder", *away, lambda call: closed)
    for kind in (tradewind.AsyncClient, tradewind.Client):
        server.calls.clear()
        driver = Driver(kind(server.address, "t", account="demo", max_outage_s=30))
        watch = driver.client.watch_orders()
        updates: list[OrderUpdate] = await driver.take(watch, 3)
        watch.close()
        assert [(update.order.order_id, update.order.is_open) for update in updates] == [
            ("1", True), ("1", False), ("5", True),
        ]  # fmt: skip
        await driver.call("close")


async def test_balances_and_positions_are_followed(driver: Driver, server: ScriptedServer) -> None:
    def balance(total: str) -> accounts_pb2.Balance:
        return accounts_pb2.Balance(account="demo", asset="USDT", total=total, reserved="1", free="2")

    def envelope(sequence: int, prev: int, **event: Any) -> accounts_pb2.SubscribeAccountResponse:
        happened = accounts_pb2.AccountEvent(sequence=sequence, prev_sequence=prev, **event)
        return accounts_pb2.SubscribeAccountResponse(stream_epoch="e", events=[happened])

    position = accounts_pb2.Position(account="demo", instrument=NAME, qty="0", cost="0", realized_pnl="3.5")

    def script(call: Call) -> Iterator[Any]:
        yield envelope(1, 1, ack=common_pb2.StreamAck())
        yield envelope(1, 1, snapshot=accounts_pb2.AccountSnapshot(balances=[balance("3")], is_last=True))
        yield envelope(2, 1, update=accounts_pb2.AccountUpdate(balance=balance("4")))
        yield envelope(3, 2, update=accounts_pb2.AccountUpdate(position=position))
        yield from hold(call)

    server.on("SubscribeAccount", script)
    watch = driver.client.watch_account("demo")
    first, second, third = await driver.take(watch, 3)
    watch.close()
    assert (first.total, second.total) == (Decimal(3), Decimal(4))
    assert third.avg_price is None
    assert third.realized_pnl == Decimal("3.5")
