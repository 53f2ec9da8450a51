"""OrderService over the engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from server.base.clock import Clock
from server.base.streams import StreamItem
from server.blotter.history import History
from server.engine.order_entry import (
    OrderEntry,
    OrderEvent,
    OrdersSnapshot,
    OrderUpdate,
    PackedOrderEntry,
    TradingControl,
)
from server.rpc import convert
from server.rpc.boundary import Call
from server.rpc.fields import Fields
from server.rpc.metrics import OrderMetrics
from server.rpc.order_calls import OrderCall, OrderCalls
from server.rpc.order_changes import order_ref
from server.rpc.order_lane import OrderBatch, StreamBatch, compiled_lane
from server.rpc.order_lists import order_list
from server.rpc.order_stream import OrderStream
from server.rpc.streams import engine_event, engine_position, messages
from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb

MIN_CANCEL_TIMER_MS, MAX_CANCEL_TIMER_MS = 1_000, 86_400_000
MAX_REFERENCE_MS = 86_400_000


class OrderEngine(OrderEntry, PackedOrderEntry, TradingControl, Protocol):
    """What the service needs of the engine."""


class OrderService:
    def __init__(self, engine: OrderEngine, history: History, metrics: OrderMetrics, clock: Clock) -> None:
        self._engine = engine
        self._history = history
        self._metrics = metrics
        self._clock = clock
        lane = compiled_lane(engine, metrics)
        calls = OrderCalls(lane)
        self.decoders = {
            "StreamOrders": lane.read_stream,
            "BatchPlaceOrders": lane.read_batch,
            "PlaceOrder": calls.place,
            "AmendOrder": calls.amend,
            "CancelOrder": calls.cancel,
        }
        """Of the methods that take and give messages as bytes."""

    async def PlaceOrder(self, order: OrderCall, call: Call) -> bytes:
        return await order.answer(call.caller.group_owner)

    async def BatchPlaceOrders(self, batch: OrderBatch, call: Call) -> bytes:
        batch.start(call.request_id, call.caller.group_owner)
        return await batch.answer()

    async def PlaceOrderList(self, request: pb.PlaceOrderListRequest, call: Call) -> pb.PlaceOrderListResponse:
        orders = order_list(request, self._engine.registry, call.caller.group_owner)
        placed = await self._engine.place_list(request.type, orders)
        for each in placed:
            self._metrics.decided(each)
        return pb.PlaceOrderListResponse(
            list_id=str(placed[0].order.list_id),
            orders=[convert.order(each.order) for each in placed],
            replayed=all(each.replayed for each in placed),
        )

    async def AmendOrder(self, order: OrderCall, call: Call) -> bytes:
        return await order.answer(call.caller.group_owner)

    async def CancelOrder(self, order: OrderCall, call: Call) -> bytes:
        return await order.answer(call.caller.group_owner)

    async def CancelOrders(self, request: pb.CancelOrdersRequest, call: Call) -> pb.CancelOrdersResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        side = fields.choice("side", request.side, common_pb2.Side, required=False)
        self._check_filter(fields, request.instrument)
        count = await self._engine.cancel_orders(account, instrument=request.instrument, side=side)
        return pb.CancelOrdersResponse(canceled_count=count)

    async def SetCancelTimer(self, request: pb.SetCancelTimerRequest, call: Call) -> pb.SetCancelTimerResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        if request.timeout_ms:
            fields.between("timeout_ms", request.timeout_ms, MIN_CANCEL_TIMER_MS, MAX_CANCEL_TIMER_MS)
        fields.check()
        expire_ns = self._clock.now_ns() + request.timeout_ms * 1_000_000 if request.timeout_ms else 0
        await self._engine.set_cancel_timer(account, expire_ns)
        return pb.SetCancelTimerResponse(expire_time=convert.timestamp(expire_ns) if expire_ns else None)

    async def StreamOrders(self, batches: AsyncIterator[StreamBatch], call: Call) -> AsyncIterator[bytes]:
        with contextlib.closing(OrderStream(self._engine, batches, call.request_id, call.caller.group_owner)) as stream:
            async for response in stream.responses():
                yield response

    async def SetTradingStatus(self, request: pb.SetTradingStatusRequest, call: Call) -> pb.SetTradingStatusResponse:
        fields = Fields()
        status = fields.choice("status", request.status, common_pb2.TradingStatus)
        self._check_filter(fields, request.instrument)
        await self._engine.set_trading_status(request.instrument or None, status)
        return pb.SetTradingStatusResponse()

    async def SetReferencePrices(
        self, request: pb.SetReferencePricesRequest, call: Call
    ) -> pb.SetReferencePricesResponse:
        fields = Fields()
        instrument = fields.instrument("instrument", request.instrument, self._engine.registry)
        mark, index = (
            fields.price(name, getattr(request, name), instrument) if request.HasField(name) else 0
            for name in ("mark_price", "index_price")
        )
        fields.between("valid_for_ms", request.valid_for_ms, 1, MAX_REFERENCE_MS)
        fields.check()
        name = self._engine.registry.instrument(request.instrument).name
        until_ns = self._clock.now_ns() + request.valid_for_ms * 1_000_000
        await self._engine.set_reference_prices(name, mark=mark, index=index, until_ns=until_ns)
        return pb.SetReferencePricesResponse(expire_time=convert.timestamp(until_ns))

    async def GetOrder(self, request: pb.GetOrderRequest, call: Call) -> pb.GetOrderResponse:
        account, order_id, client_order_id = order_ref(request.order)
        order = self._engine.get_order(account, order_id=order_id, client_order_id=client_order_id)
        return pb.GetOrderResponse(order=convert.order(order))

    async def ListOrders(self, request: pb.ListOrdersRequest, call: Call) -> pb.ListOrdersResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        page_size = fields.page_size(request.page_size)
        page_token = fields.page_token(request.page_token)
        statuses = _statuses(fields, request)
        start_ns = fields.optional_time_ns(request, "start_time")
        end_ns = fields.optional_time_ns(request, "end_time")
        self._check_filter(fields, request.instrument)
        page = await self._history.list_orders(
            account,
            instrument=request.instrument,
            statuses=statuses,
            open_only=request.open_only,
            start_ns=start_ns,
            end_ns=end_ns,
            page_size=page_size,
            page_token=page_token,
        )
        return pb.ListOrdersResponse(orders=map(convert.order, page.items), next_page_token=page.next_page_token)

    async def ListFills(self, request: pb.ListFillsRequest, call: Call) -> pb.ListFillsResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        page_size = fields.page_size(request.page_size)
        page_token = fields.page_token(request.page_token)
        order_id = fields.number("order_id", request.order_id) if request.order_id else 0
        start_ns = fields.optional_time_ns(request, "start_time")
        end_ns = fields.optional_time_ns(request, "end_time")
        self._check_filter(fields, request.instrument)
        page = await self._history.list_fills(
            account,
            instrument=request.instrument,
            order_id=order_id,
            start_ns=start_ns,
            end_ns=end_ns,
            page_size=page_size,
            page_token=page_token,
        )
        return pb.ListFillsResponse(fills=map(convert.fill, page.items), next_page_token=page.next_page_token)

    async def SubscribeOrders(self, request: pb.SubscribeOrdersRequest, call: Call) -> AsyncIterator[bytes]:
        fields = Fields()
        account = fields.name("account", request.account)
        resume_from = engine_position(fields, request)
        fields.check()
        with contextlib.closing(self._engine.subscribe_orders(account, resume_from)) as stream:
            async for message in messages(stream, self._event):
                yield message

    def _event(self, item: StreamItem[OrderEvent]) -> bytes:
        event = engine_event(pb.OrdersEvent, item, self._clock.now_ns())
        match item.event:
            case OrdersSnapshot(orders, is_last):
                event.snapshot.CopyFrom(pb.OrdersSnapshot(orders=map(convert.order, orders), is_last=is_last))
            case OrderUpdate(order, fill):
                event.update.order.CopyFrom(convert.order(order))
                if fill is not None:
                    event.update.fill.CopyFrom(convert.fill(fill))
        return event.SerializeToString()

    def _check_filter(self, fields: Fields, instrument: str) -> None:
        if instrument:
            fields.instrument("instrument", instrument, self._engine.registry)
        fields.check()
        if instrument:
            self._engine.registry.instrument(instrument)


def _statuses(fields: Fields, request: pb.ListOrdersRequest) -> frozenset[int] | None:
    """The states asked for; None means all."""
    if len(request.statuses) > len(pb.OrderStatus.values()):
        fields.wrong("statuses", f"there are only {len(pb.OrderStatus.values())}", "OUT_OF_RANGE")
        return None
    for index, status in enumerate(request.statuses):
        fields.choice(f"statuses[{index}]", status, pb.OrderStatus)
    if request.statuses and request.open_only:
        fields.wrong("statuses", "is not for requests with open_only", "NOT_ALLOWED")
    return frozenset(request.statuses) or None
