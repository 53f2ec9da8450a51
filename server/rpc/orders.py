"""OrderService over the engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb

from server.clock import Clock
from server.engine.trading import NewOrder, OrdersSnapshot, OrderUpdate, Trading
from server.errors import ShuttingDown
from server.rpc import convert
from server.rpc.boundary import Call
from server.rpc.fields import Fields, found
from server.rpc.metrics import OrderMetrics
from server.rpc.streams import RECONNECT, engine_envelope, engine_position

_DEFAULT_TIME_IN_FORCE: dict[int, int] = {
    pb.ORDER_TYPE_LIMIT: pb.TIME_IN_FORCE_GTC,
    pb.ORDER_TYPE_MARKET: pb.TIME_IN_FORCE_IOC,
}


class OrderService:
    def __init__(self, trading: Trading, metrics: OrderMetrics, clock: Clock) -> None:
        self._trading = trading
        self._metrics = metrics
        self._clock = clock

    async def PlaceOrder(self, request: pb.PlaceOrderRequest, call: Call) -> pb.PlaceOrderResponse:
        placed = await self._trading.place(self._new_order(request))
        if not placed.replayed:
            self._metrics.decided(placed.order.status, placed.order.reject_reason)
        return pb.PlaceOrderResponse(order=convert.order(placed.order), replayed=placed.replayed)

    async def CancelOrder(self, request: pb.CancelOrderRequest, call: Call) -> pb.CancelOrderResponse:
        account, order_id, client_order_id = _order_ref(request.order)
        canceled = await self._trading.cancel(account, order_id=order_id, client_order_id=client_order_id)
        return pb.CancelOrderResponse(order=convert.order(canceled))

    async def GetOrder(self, request: pb.GetOrderRequest, call: Call) -> pb.GetOrderResponse:
        account, order_id, client_order_id = _order_ref(request.order)
        order = self._trading.get_order(account, order_id=order_id, client_order_id=client_order_id)
        return pb.GetOrderResponse(order=convert.order(order))

    async def ListOrders(self, request: pb.ListOrdersRequest, call: Call) -> pb.ListOrdersResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        page_size = fields.page_size(request.page_size)
        page_token = fields.page_token(request.page_token)
        self._check_filter(fields, request.instrument)
        page = self._trading.list_orders(
            account,
            instrument=request.instrument,
            open_only=request.open_only,
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
        self._check_filter(fields, request.instrument)
        page = self._trading.list_fills(
            account, instrument=request.instrument, order_id=order_id, page_size=page_size, page_token=page_token
        )
        return pb.ListFillsResponse(fills=map(convert.fill, page.items), next_page_token=page.next_page_token)

    async def SubscribeOrders(
        self, request: pb.SubscribeOrdersRequest, call: Call
    ) -> AsyncIterator[pb.SubscribeOrdersResponse]:
        fields = Fields()
        account = fields.name("account", request.account)
        resume_from = engine_position(fields, request)
        fields.check()
        with contextlib.closing(self._trading.subscribe_orders(account, resume_from)) as stream:
            async for item in stream:
                message = engine_envelope(pb.SubscribeOrdersResponse, item, self._clock.now_ns())
                match item.event:
                    case OrdersSnapshot(orders, is_last):
                        snapshot = pb.OrdersSnapshot(orders=map(convert.order, orders), is_last=is_last)
                        message.snapshot.CopyFrom(snapshot)
                    case OrderUpdate(order, fill):
                        message.update.order.CopyFrom(convert.order(order))
                        if fill is not None:
                            message.update.fill.CopyFrom(convert.fill(fill))
                yield message
        raise ShuttingDown(RECONNECT)

    def _new_order(self, request: pb.PlaceOrderRequest) -> NewOrder:
        """Raises InvalidRequest with everything that is wrong, NotFound for an unknown account or instrument."""
        fields = Fields()
        registry = self._trading.registry
        account = fields.name("account", request.account)
        instrument = fields.instrument("instrument", request.instrument, registry)
        side = fields.choice("side", request.side, common_pb2.Side)
        order_type = fields.choice("type", request.type, pb.OrderType)
        time_in_force = fields.choice("time_in_force", request.time_in_force, pb.TimeInForce, required=False)
        qty = fields.qty("qty", request.qty, instrument)
        price = 0
        if order_type == pb.ORDER_TYPE_MARKET:
            if request.HasField("price"):
                fields.wrong("price", "a market order takes no price", "NOT_ALLOWED")
            if request.post_only:
                fields.wrong("post_only", "a market order always takes liquidity", "NOT_ALLOWED")
        else:
            price = fields.price("price", request.price, instrument)
        client_order_id = None
        if request.HasField("client_order_id"):
            client_order_id = fields.name("client_order_id", request.client_order_id)
        fields.check()
        registry.account(account)
        return NewOrder(
            account=account,
            instrument=found("instrument", request.instrument, instrument),
            side=side,
            order_type=order_type,
            time_in_force=time_in_force or _DEFAULT_TIME_IN_FORCE[order_type],
            qty=qty,
            price=price,
            client_order_id=client_order_id,
            post_only=request.post_only,
        )

    def _check_filter(self, fields: Fields, instrument: str) -> None:
        known = fields.instrument("instrument", instrument, self._trading.registry) if instrument else None
        fields.check()
        if instrument:
            found("instrument", instrument, known)


def _order_ref(ref: pb.OrderRef) -> tuple[str, int, str]:
    """Account, and one of the two ids; the other is 0 or empty."""
    fields = Fields()
    order_id, client_order_id = 0, ""
    account = fields.name("order.account", ref.account)
    match ref.WhichOneof("id"):
        case "order_id":
            order_id = fields.number("order.order_id", ref.order_id)
        case "client_order_id":
            client_order_id = fields.name("order.client_order_id", ref.client_order_id)
        case _:
            fields.wrong("order.id", "is required: order_id or client_order_id", "REQUIRED")
    fields.check()
    return account, order_id, client_order_id
