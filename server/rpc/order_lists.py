"""Checking a list of orders that belong together."""

from __future__ import annotations

import dataclasses

from fastpath.model.enums import OrderFlag
from fastpath.model.order_sets import IMMEDIATE_TIMES
from server.base.errors import FieldViolation, InvalidRequest
from server.base.instruments import Registry
from server.engine.orders import NewOrder
from server.rpc.fields import Fields
from server.rpc.new_orders import new_order
from tradewind.v1 import orders_pb2 as pb

MAX_MEMBERS = 8
SIZES = {
    pb.ORDER_LIST_TYPE_OCO: (2, MAX_MEMBERS),
    pb.ORDER_LIST_TYPE_OTO: (2, MAX_MEMBERS),
    pb.ORDER_LIST_TYPE_BRACKET: (3, 3),
}
_REDUCE_ONLY = int(OrderFlag.ORDER_FLAG_REDUCE_ONLY)


def order_list(request: pb.PlaceOrderListRequest, registry: Registry, group_owner: int) -> list[NewOrder]:
    """Raises InvalidRequest with everything that is wrong, NotFound for an unknown account or instrument."""
    fields = Fields()
    fields.choice("type", request.type, pb.OrderListType)
    fewest, most = SIZES.get(request.type, (1, MAX_MEMBERS))
    if not fewest <= len(request.orders) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        fields.wrong("orders", f"must be {wanted}, not {len(request.orders)}", "OUT_OF_RANGE")
        fields.check()
    for at in range(len(request.orders)):
        _check_member(fields, request, at)
    orders: list[NewOrder] = []
    violations: list[FieldViolation] = []
    for at, each in enumerate(request.orders):
        try:
            orders.append(_waiting_for_parent(new_order(each, registry, group_owner), at))
        except InvalidRequest as error:
            for wrong in error.violations:
                violations.append(dataclasses.replace(wrong, field=f"orders[{at}].{wrong.field}"))
    for wrong in violations:
        fields.wrong(wrong.field, wrong.description, wrong.reason)
    fields.check()
    if request.type == pb.ORDER_LIST_TYPE_BRACKET:
        orders[1:] = [dataclasses.replace(exit, flags=exit.flags | _REDUCE_ONLY) for exit in orders[1:]]
    return orders


def _waiting_for_parent(order: NewOrder, at: int) -> NewOrder:
    """A market order that waits for its parent stays open until it is released."""
    if at == 0 or order.order_type != pb.ORDER_TYPE_MARKET:
        return order
    return dataclasses.replace(order, time_in_force=pb.TIME_IN_FORCE_GTC)


def _check_member(fields: Fields, request: pb.PlaceOrderListRequest, at: int) -> None:
    """What an order must be to be one of this list, apart from being an order."""
    first, order, path = request.orders[0], request.orders[at], f"orders[{at}]"
    if not order.HasField("client_order_id"):
        fields.wrong(f"{path}.client_order_id", "is required in a list", "REQUIRED")
    for name in ("account", "instrument"):
        if getattr(order, name) != getattr(first, name):
            fields.wrong(f"{path}.{name}", "must be that of the first order", "NOT_ALLOWED")
    for name, given in (
        ("min_qty", order.HasField("min_qty")),
        ("quote_qty", order.HasField("quote_qty")),
        ("close_position", order.close_position),
    ):
        if given:
            fields.wrong(f"{path}.{name}", "does not go with a list", "NOT_ALLOWED")
    is_parent = at == 0 and request.type != pb.ORDER_LIST_TYPE_OCO
    if not is_parent and order.time_in_force in IMMEDIATE_TIMES:
        fields.wrong(f"{path}.time_in_force", "only a parent may take at once or not at all", "NOT_ALLOWED")
    if at and request.type == pb.ORDER_LIST_TYPE_BRACKET and order.side == first.side:
        fields.wrong(f"{path}.side", "must be the other side than that of the entry", "NOT_ALLOWED")
