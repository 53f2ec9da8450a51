"""Checking requests about an order that exists."""

from __future__ import annotations

from fastpath.model.order_sets import TRAILING
from server.base.instruments import Registry
from server.engine.order_entry import PackedOrderEntry
from server.engine.orders import AmendOrder, CancelOrder
from server.rpc.fields import Fields
from tradewind.v1 import orders_pb2 as pb


def order_ref(ref: pb.OrderRef) -> tuple[str, int, str]:
    """Account, and one of the two ids; the other is 0 or empty. Raises InvalidRequest."""
    fields = Fields()
    account, order_id, client_order_id = _order_ref(fields, ref)
    fields.check()
    return account, order_id, client_order_id


def cancel_order(request: pb.CancelOrderRequest, registry: Registry) -> CancelOrder:
    """Raises InvalidRequest, NotFound for an unknown account."""
    account, order_id, client_order_id = order_ref(request.order)
    registry.account(account)
    return CancelOrder(account, order_id, client_order_id)


def amend_order(request: pb.AmendOrderRequest, entry: PackedOrderEntry) -> AmendOrder:
    """Raises InvalidRequest with everything that is wrong, NotFound for an unknown order."""
    fields = Fields()
    account, order_id, client_order_id = _order_ref(fields, request.order)
    if not any(request.HasField(name) for name in ("qty", "price", "trigger_price")):
        fields.wrong("qty", "give a new qty, price or trigger_price", "REQUIRED")
    fields.check()
    order = entry.get_order(account, order_id=order_id, client_order_id=client_order_id)
    qty = fields.qty("qty", request.qty, order.instrument) if request.HasField("qty") else 0
    price = fields.price("price", request.price, order.instrument) if request.HasField("price") else 0
    trigger_price = 0
    if request.HasField("trigger_price"):
        trigger_price = fields.price("trigger_price", request.trigger_price, order.instrument)
        if not order.waiting or order.order_type in TRAILING:
            fields.wrong("trigger_price", "goes with stop and take-profit orders that wait", "NOT_ALLOWED")
    if price and order.waiting and order.order_type == pb.ORDER_TYPE_TRAILING_STOP_LIMIT:
        fields.wrong("price", "follows from the trigger", "NOT_ALLOWED")
    fields.check()
    return AmendOrder(account, order_id, client_order_id, qty, price, trigger_price)


def _order_ref(fields: Fields, ref: pb.OrderRef) -> tuple[str, int, str]:
    order_id, client_order_id = 0, ""
    account = fields.name("order.account", ref.account)
    match ref.WhichOneof("id"):
        case "order_id":
            order_id = fields.number("order.order_id", ref.order_id)
        case "client_order_id":
            client_order_id = fields.name("order.client_order_id", ref.client_order_id)
        case _:
            fields.wrong("order.id", "is required: order_id or client_order_id", "REQUIRED")
    return account, order_id, client_order_id
