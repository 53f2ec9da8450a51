"""How open orders lose lots, or end, because of others: of their group, or because of the position they reduce."""

from __future__ import annotations

from fastpath.model.enums import CancelReason, EventKind
from tests.reference.exchange.ledger import reducible
from tests.reference.exchange.orders import (
    BRACKET,
    CANCELED,
    CONDITIONAL,
    OCO,
    OPEN,
    REDUCE_ONLY,
    TRAILING,
    Order,
)
from tests.reference.exchange.state import State


def close(state: State, order: Order, reason: int) -> None:
    """Cancel what is open of an order."""
    if order.resting:
        state.touch(order.instrument)
    order.resting, order.waiting = False, 0
    order.status, order.cancel_reason = CANCELED, int(reason)
    state.link_changed(order)
    state.emit_order(EventKind.EVENT_ORDER_CANCELED, order)


def siblings(order: Order) -> list[Order]:
    """The others of an OCO, or of the exits of a bracket."""
    group = order.group or []
    if order.body.link_type == BRACKET:
        group = [] if order is group[0] else group[1:]
    return [member for member in group if member is not order and order.body.link_type in (OCO, BRACKET)]


def follow_siblings(state: State, order: Order) -> None:
    """What one was filled is taken off the others; when it ends, they end."""
    is_new = order.linked_qty == -1
    gave_way = order.linked_qty == -2
    filled = order.cum_qty - max(order.linked_qty, 0)
    order.linked_qty = order.cum_qty
    if gave_way:
        return
    for sibling in siblings(order):
        if sibling.status in OPEN:
            if order.status in OPEN:
                reduce_open(state, sibling, filled, CancelReason.CANCEL_REASON_LINKED_ORDER)
            else:
                close(state, sibling, CancelReason.CANCEL_REASON_LINKED_ORDER)
        if is_new and order.status in OPEN:
            if sibling.status not in OPEN:
                close(state, order, CancelReason.CANCEL_REASON_LINKED_ORDER)
            else:
                reduce_open(state, order, sibling.linked_qty, CancelReason.CANCEL_REASON_LINKED_ORDER)


def reduce_open(state: State, order: Order, lots: int, reason: int) -> None:
    if lots <= 0:
        return
    if lots >= order.leaves + order.awaited:
        close(state, order, reason)
        return
    off = min(lots, order.leaves)
    order.awaited -= lots - off
    order.qty -= off
    order.slice = min(order.slice, order.leaves)
    if order.resting:
        state.touch(order.instrument)
    if not order.leaves:
        if order.waiting == 1 and order.command.order_type in TRAILING:
            order.trigger_price = 0
        order.waiting = 3 if order.waiting in (1, 2, 3) else 4
        order.resting = False
    state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)


def cap_reducing_orders(state: State, account: int, instrument: int) -> None:
    """Reduce-only orders never exceed what they can reduce."""
    for order in sorted(state.live, key=lambda o: o.opened):
        if order.resting and order.has(REDUCE_ONLY) and (order.account, order.instrument) == (account, instrument):
            excess = order.leaves - reducible(state, order)
            reduce_open(state, order, excess, CancelReason.CANCEL_REASON_REDUCE_ONLY)


def same_group(one: Order, other: Order) -> bool:
    return one.body.link_id != 0 and (one.account, one.body.link_id) == (other.account, other.body.link_id)


def follow_fill(state: State, maker: Order, taker: Order) -> None:
    """Before the taker goes on, what else it may meet follows the fill."""
    if siblings(maker) and not same_group(maker, taker):
        follow_siblings(state, maker)
    cap_reducing_orders(state, maker.account, maker.instrument)


def may_fill(state: State, order: Order) -> int:
    """What is left of a resting order, while its siblings have not followed each other yet."""
    lots = order.leaves
    for sibling in siblings(order):
        if sibling.status not in OPEN:
            return 0
        lots -= sibling.cum_qty - max(sibling.linked_qty, 0)
    if order.has(REDUCE_ONLY):
        lots = min(lots, reducible(state, order))
    return max(lots, 0)


def yield_balance(state: State, order: Order) -> bool:
    """Siblings of its side give way to an order whose trigger has fired. False: there are none."""
    found = False
    for sibling in siblings(order):
        holds = sibling.resting or sibling.waiting == 5
        holds = holds or (sibling.waiting == 6 and sibling.command.order_type not in CONDITIONAL)
        if sibling.side == order.side and holds and sibling.linked_qty == sibling.cum_qty:
            close(state, sibling, CancelReason.CANCEL_REASON_LINKED_ORDER)
            sibling.linked_qty = -2
            found = True
    return found
