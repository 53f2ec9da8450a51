"""What has reached its venue: orders, and cancels and amendments of orders that are there."""

from __future__ import annotations

from fastpath.model.enums import EventKind
from tests.reference.exchange.amending import amendment_arrives
from tests.reference.exchange.canceling import cancel_arrives
from tests.reference.exchange.entry import go_to_market
from tests.reference.exchange.orders import Change, Order
from tests.reference.exchange.state import State
from tests.reference.records import Command


def arrivals(state: State, command: Command) -> None:
    """The earliest first; an order before what changes others at that time."""
    while True:
        orders = [(order.arrival_ns, 0, 0, order.order_id, order) for order in state.live if order.waiting == 5]
        changes = [(change.due_ns, 1, change.seq, change.order.order_id, change) for change in state.changes]
        due = [each for each in (*orders, *changes) if each[0] <= command.ts_ns]
        if not due:
            return
        arrive(state, min(due, key=lambda each: each[:4])[-1])


def arrive(state: State, arrived: Order | Change) -> None:
    if isinstance(arrived, Order):
        arrived.waiting = 0
        state.emit_order(EventKind.EVENT_ORDER_AMENDED, arrived)
        go_to_market(state, arrived, travels=False)
        return
    state.changes.remove(arrived)
    if arrived.cancel_reason:
        cancel_arrives(state, arrived)
    else:
        amendment_arrives(state, arrived)
