"""Orders: the calls of OrderService."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Unpack

from tradewind import convert
from tradewind._async.calls import AsyncCalls
from tradewind._async.order_stream import AsyncOrderStream
from tradewind._async.watch import AsyncOrdersWatch
from tradewind.convert import Number
from tradewind.errors import TradewindError, from_status
from tradewind.models import Fill, Order, OrderList, OrderListType, OrderStatus, Side, TradingStatus
from tradewind.orders import (
    AmendRequest,
    CancelRequest,
    OrderOptions,
    OrderRef,
    OrderRequest,
    bracket_of,
    for_account,
)
from tradewind.streams import OrdersFeed
from tradewind.v1 import orders_pb2


class AsyncOrderCalls(AsyncCalls):
    """Placing, changing, canceling, looking up and following orders."""

    async def place_order(
        self,
        instrument: str,
        side: Side | str,
        qty: Number | None = None,
        price: Number | None = None,
        **options: Unpack[OrderOptions],
    ) -> Order:
        """Place an order: a limit order if it has a price, else a market order, or what `type` says.

        See `place`, and `OrderRequest` for the options. Without a `client_order_id` the SDK makes one; it is in
        `metadata` of every error raised, so after DeadlineExceeded repeat the call with it.
        """
        return await self.place(OrderRequest(instrument, side, qty, price, **options))

    async def place(self, request: OrderRequest) -> Order:
        """Place an order. It is durable when the answer comes.

        An order the server decides against is returned too, with status REJECTED and its reason. The same request again
        returns the original order (`replayed`); another order under the same id raises ClientOrderIdConflict.
        """
        wire = for_account(request, self._account).wire()
        response = await self._call(self._orders.PlaceOrder, wire, {"client_order_id": request.client_order_id})
        return convert.order(response.order, replayed=response.replayed)

    async def buy(
        self, instrument: str, qty: Number | None = None, price: Number | None = None, **options: Unpack[OrderOptions]
    ) -> Order:
        """`place_order` with side BUY."""
        return await self.place_order(instrument, Side.BUY, qty, price, **options)

    async def sell(
        self, instrument: str, qty: Number | None = None, price: Number | None = None, **options: Unpack[OrderOptions]
    ) -> Order:
        """`place_order` with side SELL."""
        return await self.place_order(instrument, Side.SELL, qty, price, **options)

    async def batch_place_orders(self, requests: Iterable[OrderRequest]) -> list[Order | TradewindError]:
        """Place up to 1000 orders as one batch: for each the order, or the error `place` would have raised."""
        wire = [for_account(request, self._account).wire() for request in requests]
        response = await self._call(self._orders.BatchPlaceOrders, orders_pb2.BatchPlaceOrdersRequest(orders=wire))
        return [
            convert.order(result.placed.order, replayed=result.placed.replayed)
            if result.HasField("placed")
            else from_status(result.error)
            for result in response.results
        ]

    async def place_order_list(self, kind: OrderListType | str, orders: Iterable[OrderRequest]) -> OrderList:
        """Place orders that belong together, of one account and instrument. The same again returns the original ones.

        All or none: when one is refused, those after it are refused too and those before it are canceled: see `is_refused`.
        """
        wire = [for_account(order, self._account).wire() for order in orders]
        request = orders_pb2.PlaceOrderListRequest(type=convert.ORDER_LIST_TYPE.number(kind), orders=wire)
        response = await self._call(self._orders.PlaceOrderList, request)
        return OrderList(response.list_id, tuple(map(convert.order, response.orders)), response.replayed)

    async def oco(self, first: OrderRequest, second: OrderRequest, *more: OrderRequest) -> OrderList:
        """One cancels the others: what one fills is taken off the others."""
        return await self.place_order_list(OrderListType.OCO, (first, second, *more))

    async def oto(self, parent: OrderRequest, *children: OrderRequest) -> OrderList:
        """One triggers the others: each fill of the parent releases as much of them."""
        return await self.place_order_list(OrderListType.OTO, (parent, *children))

    async def bracket(self, entry: OrderRequest, *, take_profit: Number, stop_loss: Number) -> OrderList:
        """An entry with its exits: a limit order at `take_profit` and a stop at `stop_loss`, for what the entry fills.

        The exits get the entry's client_order_id with `-tp` and `-sl` after it, or after a digest of it if it is longer
        than 33 characters, so the same entry is the same bracket.
        """
        return await self.place_order_list(OrderListType.BRACKET, bracket_of(entry, take_profit, stop_loss))

    async def amend_order(
        self,
        order_id: str | None = None,
        *,
        qty: Number | None = None,
        price: Number | None = None,
        trigger_price: Number | None = None,
        client_order_id: str | None = None,
        account: str | None = None,
    ) -> Order:
        """Change an open order, named by either id; what is not given stays. `qty` is the new total, fills included.

        Less quantity at the same price keeps the place in the queue. Raises NotFound, OrderNotOpen, FailedPrecondition;
        the order is as it was then.
        """
        request = AmendRequest(
            order_id,
            client_order_id=client_order_id,
            account=account,
            qty=qty,
            price=price,
            trigger_price=trigger_price,
        )
        return convert.order(
            (await self._call(self._orders.AmendOrder, for_account(request, self._account).wire())).order
        )

    async def cancel_order(
        self, order_id: str | None = None, *, client_order_id: str | None = None, account: str | None = None
    ) -> Order:
        """Cancel an open order, named by either id. Raises NotFound, OrderNotOpen."""
        request = CancelRequest(order_id, client_order_id=client_order_id, account=account)
        return convert.order(
            (await self._call(self._orders.CancelOrder, for_account(request, self._account).wire())).order
        )

    async def cancel_orders(
        self, *, instrument: str = "", side: Side | str | None = None, account: str | None = None
    ) -> int:
        """Cancel all open orders of an account, of one instrument or side if asked. How many they were."""
        request = orders_pb2.CancelOrdersRequest(
            account=self._account_or_default(account),
            instrument=instrument,
            side=convert.SIDE.number(side) if side else None,
        )
        return (await self._call(self._orders.CancelOrders, request)).canceled_count

    async def set_cancel_timer(self, timeout_s: float, account: str | None = None) -> datetime | None:
        """Dead-man timer: all orders of the account are canceled in 1 to 86400 s, unless this is called again before.

        0 switches it off. When it runs out.
        """
        request = orders_pb2.SetCancelTimerRequest(
            account=self._account_or_default(account), timeout_ms=round(timeout_s * 1000)
        )
        response = await self._call(self._orders.SetCancelTimer, request)
        return convert.utc(response.expire_time) if response.HasField("expire_time") else None

    async def set_trading_status(self, status: TradingStatus | str, instrument: str = "") -> None:
        """Open or restrict trading of an instrument, or of everything. Needs the scope RISK_ADMIN."""
        number = convert.TRADING_STATUS.number(status)
        request = orders_pb2.SetTradingStatusRequest(instrument=instrument, status=number)
        await self._call(self._orders.SetTradingStatus, request)

    async def set_reference_prices(
        self,
        instrument: str,
        *,
        mark_price: Number | None = None,
        index_price: Number | None = None,
        valid_for_s: float,
    ) -> datetime:
        """Set the mark and index price for triggers; None clears one. Returns when they expire. Needs RISK_ADMIN."""
        request = orders_pb2.SetReferencePricesRequest(
            instrument=instrument,
            mark_price=None if mark_price is None else convert.decimal_text("mark_price", mark_price),
            index_price=None if index_price is None else convert.decimal_text("index_price", index_price),
            valid_for_ms=round(valid_for_s * 1000),
        )
        return convert.utc((await self._call(self._orders.SetReferencePrices, request)).expire_time)

    def stream_orders(self) -> AsyncOrderStream:
        """A stream of commands in batches: the fast way in. Use it with `async with`."""
        return AsyncOrderStream(self._opener(self._orders.StreamOrders), self._account)

    async def get_order(
        self, order_id: str | None = None, *, client_order_id: str | None = None, account: str | None = None
    ) -> Order:
        """One order as it stands, named by either id. Raises NotFound."""
        request = orders_pb2.GetOrderRequest(order=self._order_ref(order_id, client_order_id, account))
        return convert.order((await self._call(self._orders.GetOrder, request)).order)

    async def list_orders(
        self,
        *,
        instrument: str = "",
        open_only: bool = False,
        statuses: Iterable[OrderStatus | str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 100,
        account: str | None = None,
    ) -> list[Order]:
        """Orders of an account, newest first; in some states, or placed in `[start, end)`, if asked."""
        request = orders_pb2.ListOrdersRequest(
            account=self._account_or_default(account),
            instrument=instrument,
            open_only=open_only,
            statuses=[convert.ORDER_STATUS.number(status) for status in statuses],
            start_time=None if start is None else convert.timestamp(start),
            end_time=None if end is None else convert.timestamp(end),
        )
        return await self._pages(self._orders.ListOrders, request, "orders", convert.order, limit)

    async def list_fills(
        self,
        *,
        instrument: str = "",
        order_id: str = "",
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 100,
        account: str | None = None,
    ) -> list[Fill]:
        """Fills of an account, newest first; of one instrument or order, or in `[start, end)`, if asked."""
        request = orders_pb2.ListFillsRequest(
            account=self._account_or_default(account),
            instrument=instrument,
            order_id=order_id,
            start_time=None if start is None else convert.timestamp(start),
            end_time=None if end is None else convert.timestamp(end),
        )
        return await self._pages(self._orders.ListFills, request, "fills", convert.fill, limit)

    def watch_orders(self, account: str | None = None) -> AsyncOrdersWatch:
        """The open orders of an account, then every change of any order, each once, also over reconnects."""
        name = self._account_or_default(account)

        async def look_up(order: Order) -> Order:
            return await self.get_order(order.order_id, account=name)

        open_call = self._opener(self._orders.SubscribeOrders)
        return AsyncOrdersWatch(open_call, OrdersFeed(name), self._max_outage_s, look_up)

    def _order_ref(self, order_id: str | None, client_order_id: str | None, account: str | None) -> orders_pb2.OrderRef:
        return OrderRef(order_id, client_order_id=client_order_id, account=account or self._account).wire_ref()
