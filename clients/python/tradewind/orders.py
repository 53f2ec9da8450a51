"""Order requests as plain values, and their wire form."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypedDict, TypeVar

from tradewind import convert
from tradewind.connection import new_id
from tradewind.convert import Number, decimal_text
from tradewind.models import OrderType, SelfTradePrevention, Side, TimeInForce, TriggerSource
from tradewind.v1 import orders_pb2


class OrderOptions(TypedDict, total=False):
    """What `buy`, `sell` and `place_order` take besides instrument, quantity and price: see OrderRequest."""

    type: OrderType | str | None
    account: str | None
    time_in_force: TimeInForce | str | None
    expire_time: datetime | None
    post_only: bool
    post_only_slide: bool
    reduce_only: bool
    close_position: bool
    protection_price: Number | None
    quote_qty: Number | None
    trigger_price: Number | None
    trigger_source: TriggerSource | str | None
    trailing_offset: Number | None
    trailing_offset_bps: int | None
    limit_offset: Number | None
    display_qty: Number | None
    min_qty: Number | None
    self_trade_prevention: SelfTradePrevention | str | None
    self_trade_group: int
    cancel_on_disconnect: bool
    client_order_id: str


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A new order. Prices and quantities are Decimal, int or str; which go together is told in docs/orders.md.

    `type` None: a limit order if it has a price, else a market order. `client_order_id` makes it repeatable for ever;
    one is made if none is given, so the same OrderRequest can be sent again without placing a second order.
    """

    instrument: str
    side: Side | str
    qty: Number | None = None
    """None with `quote_qty` and `close_position`."""
    price: Number | None = None
    type: OrderType | str | None = field(default=None, kw_only=True)
    account: str | None = field(default=None, kw_only=True)
    """None: the client's."""
    time_in_force: TimeInForce | str | None = field(default=None, kw_only=True)
    expire_time: datetime | None = field(default=None, kw_only=True)
    """With a time in force of GTD."""
    post_only: bool = field(default=False, kw_only=True)
    """Refuse rather than take liquidity."""
    post_only_slide: bool = field(default=False, kw_only=True)
    """With `post_only`: rest one tick short of the other side instead of being refused."""
    reduce_only: bool = field(default=False, kw_only=True)
    close_position: bool = field(default=False, kw_only=True)
    protection_price: Number | None = field(default=None, kw_only=True)
    """Market orders: no fill worse than this."""
    quote_qty: Number | None = field(default=None, kw_only=True)
    """Market orders: money to spend, or to raise."""
    trigger_price: Number | None = field(default=None, kw_only=True)
    trigger_source: TriggerSource | str | None = field(default=None, kw_only=True)
    trailing_offset: Number | None = field(default=None, kw_only=True)
    """In price; or `trailing_offset_bps`, in basis points of the price."""
    trailing_offset_bps: int | None = field(default=None, kw_only=True)
    limit_offset: Number | None = field(default=None, kw_only=True)
    """TRAILING_STOP_LIMIT: how far the limit lies beyond the trigger."""
    display_qty: Number | None = field(default=None, kw_only=True)
    """ICEBERG: quantity shown at a time."""
    min_qty: Number | None = field(default=None, kw_only=True)
    """Trade at least this at once, or nothing."""
    self_trade_prevention: SelfTradePrevention | str | None = field(default=None, kw_only=True)
    self_trade_group: int = field(default=0, kw_only=True)
    cancel_on_disconnect: bool = field(default=False, kw_only=True)
    """On an order stream: cancel it when the stream ends."""
    client_order_id: str = field(default_factory=new_id, kw_only=True)

    def wire(self) -> orders_pb2.PlaceOrderRequest:
        """Raises ValueError or TypeError for values that cannot be sent."""
        kind = self.type or (OrderType.MARKET if self.price is None else OrderType.LIMIT)
        return orders_pb2.PlaceOrderRequest(
            account=_named(self.account),
            instrument=self.instrument,
            side=convert.SIDE.number(self.side),
            type=convert.ORDER_TYPE.number(kind),
            time_in_force=convert.TIME_IN_FORCE.number(self.time_in_force) if self.time_in_force else None,
            qty=_text("qty", self.qty),
            price=_text("price", self.price),
            client_order_id=self.client_order_id,
            post_only=self.post_only,
            post_only_slide=self.post_only_slide,
            reduce_only=self.reduce_only,
            close_position=self.close_position,
            protection_price=_text("protection_price", self.protection_price),
            quote_qty=_text("quote_qty", self.quote_qty),
            trigger_price=_text("trigger_price", self.trigger_price),
            trigger_source=convert.TRIGGER_SOURCE.number(self.trigger_source) if self.trigger_source else None,
            trailing_offset=_text("trailing_offset", self.trailing_offset),
            trailing_offset_bps=self.trailing_offset_bps,
            display_qty=_text("display_qty", self.display_qty),
            min_qty=_text("min_qty", self.min_qty),
            expire_time=None if self.expire_time is None else convert.timestamp(self.expire_time),
            self_trade_prevention=(
                convert.SELF_TRADE_PREVENTION.number(self.self_trade_prevention) if self.self_trade_prevention else None
            ),
            self_trade_group=self.self_trade_group,
            cancel_on_disconnect=self.cancel_on_disconnect,
            limit_offset=_text("limit_offset", self.limit_offset),
        )


MAX_CLIENT_ORDER_ID = 36
"""Characters of a client order id."""
_LONGEST_SUFFIX = 3


def linked_id(key: str, suffix: str) -> str:
    """The client order id of an order linked to the one with id `key`: deterministic, within the length limit. `suffix`
    has at most 3 characters; ids too long to take one are shortened to a digest."""
    if len(key) > MAX_CLIENT_ORDER_ID - _LONGEST_SUFFIX:
        key = hashlib.sha256(key.encode()).hexdigest()[:32]
    return key + suffix


def bracket_of(entry: OrderRequest, take_profit: Number, stop_loss: Number) -> tuple[OrderRequest, ...]:
    """Returns entry, take-profit (limit) and stop-loss (stop)."""
    side = Side.SELL if Side(entry.side.upper()) is Side.BUY else Side.BUY
    key = entry.client_order_id
    profit = OrderRequest(
        entry.instrument,
        side,
        entry.qty,
        take_profit,
        account=entry.account,
        reduce_only=True,
        client_order_id=linked_id(key, "-tp"),
    )
    loss = replace(profit, price=None, type=OrderType.STOP, trigger_price=stop_loss, client_order_id=linked_id(key, "-sl"))
    return entry, profit, loss


@dataclass(frozen=True, slots=True)
class OrderRef:
    """An order named by one of its ids."""

    order_id: str | None = None
    client_order_id: str | None = field(default=None, kw_only=True)
    account: str | None = field(default=None, kw_only=True)
    """None: the client's."""

    def wire_ref(self) -> orders_pb2.OrderRef:
        """Raises ValueError unless it names an account and has one of the two ids."""
        if (self.order_id is None) == (self.client_order_id is None):
            raise ValueError("name the order by order_id or by client_order_id, one of the two")
        return orders_pb2.OrderRef(
            account=_named(self.account), order_id=self.order_id, client_order_id=self.client_order_id
        )


@dataclass(frozen=True, slots=True)
class CancelRequest(OrderRef):
    """Cancel an open order."""

    def wire(self) -> orders_pb2.CancelOrderRequest:
        return orders_pb2.CancelOrderRequest(order=self.wire_ref())


@dataclass(frozen=True, slots=True)
class AmendRequest(OrderRef):
    """Change an open order; what is None stays as it is. `qty` is the new total, what is filled included."""

    qty: Number | None = field(default=None, kw_only=True)
    price: Number | None = field(default=None, kw_only=True)
    trigger_price: Number | None = field(default=None, kw_only=True)

    def wire(self) -> orders_pb2.AmendOrderRequest:
        return orders_pb2.AmendOrderRequest(
            order=self.wire_ref(),
            qty=_text("qty", self.qty),
            price=_text("price", self.price),
            trigger_price=_text("trigger_price", self.trigger_price),
        )


Command = OrderRequest | CancelRequest | AmendRequest
"""What an order stream carries."""


C = TypeVar("C", bound="OrderRequest | CancelRequest | AmendRequest")


def for_account(command: C, account: str | None) -> C:
    """The command with `account` filled in if it names none."""
    return command if command.account or account is None else replace(command, account=account)


def wire_command(command: Command) -> orders_pb2.OrderCommand:
    """Raises ValueError or TypeError for values that cannot be sent."""
    if isinstance(command, OrderRequest):
        return orders_pb2.OrderCommand(place=command.wire())
    if isinstance(command, CancelRequest):
        return orders_pb2.OrderCommand(cancel=command.wire())
    return orders_pb2.OrderCommand(amend=command.wire())


def _text(name: str, value: Number | None) -> str | None:
    return None if value is None else decimal_text(name, value)


def _named(account: str | None) -> str:
    if not account:
        raise ValueError("which account? give account=, here or to the client")
    return account
