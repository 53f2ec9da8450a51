"""Validation of a new order: fields by order type, converted to lots, ticks and flags."""

from __future__ import annotations

from fastpath.model.enums import OrderFlag, TrailingUnit
from fastpath.model.order_sets import (
    CLOSING,
    CONDITIONAL,
    DISPLAY_QTY,
    IMMEDIATE_TIMES,
    ORDER_TYPES,
    POSTABLE,
    PRICED,
    PROTECTED,
    QUOTE_QTY,
    TRAILING,
    TRIGGERED,
    default_time_in_force_of,
)
from server.base.instruments import Instrument, Registry
from server.engine.orders import NewOrder
from server.rpc.fields import Fields
from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb

_MAX_GROUP = 2**31 - 1
_MAX_BPS = 9_999

_POST_ONLY = int(OrderFlag.ORDER_FLAG_POST_ONLY)
_SLIDE = int(OrderFlag.ORDER_FLAG_POST_ONLY_SLIDE)
_REDUCE_ONLY = int(OrderFlag.ORDER_FLAG_REDUCE_ONLY)
_CLOSE_POSITION = int(OrderFlag.ORDER_FLAG_CLOSE_POSITION)
_QUOTE_QTY = int(OrderFlag.ORDER_FLAG_QUOTE_QTY)
_CANCEL_ON_DISCONNECT = int(OrderFlag.ORDER_FLAG_CANCEL_ON_DISCONNECT)
_SIZING = _REDUCE_ONLY | _CLOSE_POSITION | _QUOTE_QTY
_PROTECTED = int(OrderFlag.ORDER_FLAG_PROTECTED)
_TICKS = int(TrailingUnit.TRAILING_UNIT_TICKS)
_BPS = int(TrailingUnit.TRAILING_UNIT_BPS)


def new_order(
    request: pb.PlaceOrderRequest, registry: Registry, group_owner: int, session: int = 0
) -> NewOrder:
    """Raises InvalidRequest with everything that is wrong, NotFound for an unknown account or instrument.

    `group_owner` says whose self-trade group it names; `session` is the stream the order comes on, 0 for none.
    """
    return _Form(request, registry, group_owner, session).order()


class _Form:
    """One request on its way through the checks."""

    def __init__(self, request: pb.PlaceOrderRequest, registry: Registry, group_owner: int, session: int) -> None:
        self._request = request
        self._registry = registry
        self._group_owner = group_owner
        self._session = session
        self._fields = Fields()
        self._flags = 0
        self._typed = True

    def order(self) -> NewOrder:
        request, fields = self._request, self._fields
        account = fields.name("account", request.account)
        instrument = fields.instrument("instrument", request.instrument, self._registry)
        side = fields.choice("side", request.side, common_pb2.Side)
        self._typed = fields.choice("type", request.type, pb.OrderType) in ORDER_TYPES
        fields.choice("time_in_force", request.time_in_force, pb.TimeInForce, required=False)
        client_order_id = None
        if request.HasField("client_order_id"):
            client_order_id = fields.name("client_order_id", request.client_order_id)
        qty, quote_amount = self._size(instrument)
        price = self._price(instrument)
        trigger_price, trigger_source = self._trigger(instrument)
        trailing_offset, trailing_unit = self._trailing(instrument)
        display_qty = self._display_qty(instrument)
        self._options()
        min_qty = self._min_qty(instrument)
        expire_ns = self._expiry()
        fields.check()
        self._registry.account(account)
        return NewOrder(
            account=account,
            instrument=self._registry.instrument(request.instrument),
            side=side,
            order_type=request.type,
            time_in_force=request.time_in_force or default_time_in_force_of(request.type),
            qty=qty,
            price=price,
            client_order_id=client_order_id,
            flags=self._flags,
            trigger_price=trigger_price,
            trigger_source=trigger_source,
            trailing_offset=trailing_offset,
            trailing_unit=trailing_unit,
            display_qty=display_qty,
            min_qty=min_qty,
            quote_amount=quote_amount,
            expire_ns=expire_ns,
            stp_mode=request.self_trade_prevention,
            stp_group=request.self_trade_group,
            stp_owner=self._group_owner,
            session=self._session if request.cancel_on_disconnect else 0,
        )

    def _refuse(self, field: str, description: str) -> None:
        """Report a field that its order type does not allow; skipped for an unknown type."""
        if self._typed:
            self._fields.wrong(field, description, "NOT_ALLOWED")

    def _size(self, instrument: Instrument | None) -> tuple[int, int]:
        """Lots, and units of the quote asset: one of the two, or neither for a whole position."""
        request, fields = self._request, self._fields
        by_quote = request.HasField("quote_qty")
        if request.reduce_only:
            self._flags |= _REDUCE_ONLY
            if request.type in DISPLAY_QTY:
                self._refuse("reduce_only", "an iceberg cannot be reduce-only")
        if request.close_position:
            self._flags |= _CLOSE_POSITION
            if request.type not in CLOSING:
                self._refuse("close_position", "goes with MARKET, STOP, TAKE_PROFIT and TRAILING_STOP")
        if by_quote:
            self._flags |= _QUOTE_QTY
            if request.type not in QUOTE_QTY:
                self._refuse("quote_qty", "goes with MARKET only")
        sized = [name for name, given in (("quote_qty", by_quote), ("close_position", request.close_position)) if given]
        if not sized:
            return fields.qty("qty", request.qty, instrument), 0
        if request.qty:
            self._refuse("qty", f"is not given with {sized[0]}")
        for other in (*sized[1:], *(["reduce_only"] if request.reduce_only else [])):
            self._refuse(other, f"is not given with {sized[0]}")
        if not by_quote:
            return 0, 0
        return 0, fields.quote_money("quote_qty", request.quote_qty, instrument)

    def _price(self, instrument: Instrument | None) -> int:
        """Ticks: the limit, the protection, or the distance of the limit; 0 for none."""
        request, fields = self._request, self._fields
        price = 0
        if request.type in PRICED:
            price = fields.price("price", request.price, instrument)
        elif request.HasField("price"):
            self._refuse("price", f"{_name(request.type)} takes no limit price")
        if request.HasField("protection_price"):
            if request.type in PROTECTED:
                self._flags |= _PROTECTED
                price = fields.price("protection_price", request.protection_price, instrument)
            else:
                self._refuse("protection_price", "goes with orders that become market orders")
        if request.HasField("limit_offset"):
            if request.type == pb.ORDER_TYPE_TRAILING_STOP_LIMIT:
                price = fields.distance("limit_offset", request.limit_offset, instrument)
            else:
                self._refuse("limit_offset", "goes with TRAILING_STOP_LIMIT only")
        return price

    def _trigger(self, instrument: Instrument | None) -> tuple[int, int]:
        """Ticks and TriggerSource."""
        request, fields = self._request, self._fields
        fields.choice("trigger_source", request.trigger_source, pb.TriggerSource, required=False)
        if request.trigger_source and request.type not in CONDITIONAL:
            self._refuse("trigger_source", "goes with stop, take-profit and trailing orders")
        if request.type in TRIGGERED or (request.type in TRAILING and request.HasField("trigger_price")):
            return fields.price("trigger_price", request.trigger_price, instrument), request.trigger_source
        if request.HasField("trigger_price"):
            self._refuse("trigger_price", "goes with stop, take-profit and trailing orders")
        return 0, request.trigger_source

    def _trailing(self, instrument: Instrument | None) -> tuple[int, int]:
        """Offset and TrailingUnit."""
        request, fields = self._request, self._fields
        by_price, by_bps = request.HasField("trailing_offset"), request.HasField("trailing_offset_bps")
        if request.type not in TRAILING:
            for name, given in (("trailing_offset", by_price), ("trailing_offset_bps", by_bps)):
                if given:
                    self._refuse(name, "goes with trailing orders")
            return 0, 0
        if by_price == by_bps:
            fields.wrong("trailing_offset", "give it or trailing_offset_bps, one of the two", "REQUIRED")
            return 0, 0
        if by_price:
            return fields.price("trailing_offset", request.trailing_offset, instrument), _TICKS
        return fields.between("trailing_offset_bps", request.trailing_offset_bps, 1, _MAX_BPS), _BPS

    def _options(self) -> None:
        """Post-only, self-trade prevention, cancel on disconnect."""
        request, fields = self._request, self._fields
        if request.post_only:
            self._flags |= _POST_ONLY
            if request.type not in POSTABLE:
                self._refuse("post_only", f"{_name(request.type)} cannot be post-only")
            elif request.time_in_force in IMMEDIATE_TIMES:
                self._refuse("post_only", "an order that only takes cannot be post-only")
        if request.post_only_slide:
            self._flags |= _SLIDE
            if not request.post_only:
                self._refuse("post_only_slide", "goes with post_only")
        fields.choice("self_trade_prevention", request.self_trade_prevention, pb.SelfTradePrevention, required=False)
        fields.between("self_trade_group", request.self_trade_group, 0, _MAX_GROUP)
        if request.cancel_on_disconnect:
            self._flags |= _CANCEL_ON_DISCONNECT
            if not self._session:
                self._refuse("cancel_on_disconnect", "goes with orders on StreamOrders only")

    def _display_qty(self, instrument: Instrument | None) -> int:
        if self._request.type in DISPLAY_QTY:
            return self._fields.qty("display_qty", self._request.display_qty, instrument)
        if self._request.HasField("display_qty"):
            self._refuse("display_qty", "goes with ICEBERG only")
        return 0

    def _min_qty(self, instrument: Instrument | None) -> int:
        request = self._request
        if not request.HasField("min_qty"):
            return 0
        if request.type in CONDITIONAL or request.post_only or self._flags & _SIZING:
            self._refuse("min_qty", "goes with orders that trade on arrival, and say how much they want")
        return self._fields.qty("min_qty", request.min_qty, instrument)

    def _expiry(self) -> int:
        request, fields = self._request, self._fields
        given = request.HasField("expire_time")
        if request.time_in_force == pb.TIME_IN_FORCE_GTD:
            if given:
                return fields.time_ns("expire_time", request.expire_time)
            fields.wrong("expire_time", "is required with GTD", "REQUIRED")
        elif given:
            self._refuse("expire_time", "goes with GTD only")
        return 0


def _name(order_type: int) -> str:
    return pb.OrderType.Name(order_type).removeprefix("ORDER_TYPE_") if order_type in ORDER_TYPES else ""
