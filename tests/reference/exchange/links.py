"""Orders that follow others (OCO, OTO, brackets, lists) and reduce-only orders, which follow the position.

A member that changed is put on a list; `follow_links_and_positions` works it off until nothing changes any more.
"""

from __future__ import annotations

from fastpath.model.enums import CancelReason, EventKind
from tests.reference.exchange.amending import enter_amended
from tests.reference.exchange.ledger import reducible
from tests.reference.exchange.orders import (
    BRACKET,
    CLOSE_POSITION,
    CONDITIONAL,
    FOK,
    IOC,
    OCO,
    OPEN,
    OTO,
    QUOTE_QTY,
    REDUCE_ONLY,
    Order,
    Refused,
)
from tests.reference.exchange.shrinking import cap_reducing_orders, close, follow_siblings
from tests.reference.exchange.state import State
from tests.reference.exchange.triggers import trigger, wait_for_price


def check_link(state: State, order: Order) -> None:
    """Whether the order fits its group; raises Refused."""
    command = order.command
    at_once = command.time_in_force in (IOC, FOK)
    most = 3 if command.link_type == BRACKET else 8
    if not command.link_id:
        if command.link_type or command.link_size:
            raise Refused("INVALID_COMMAND")
        return
    if command.link_type not in (OCO, OTO, BRACKET) or command.min_qty or order.has(QUOTE_QTY | CLOSE_POSITION):
        raise Refused("INVALID_COMMAND")
    if command.link_size == 1 or command.link_size > most:
        raise Refused("INVALID_COMMAND")
    if (order.account, command.link_id) in state.refused_groups:
        raise Refused("LINKED_ORDER")
    group = state.groups.get((order.account, command.link_id))
    if group is None:
        if at_once and command.link_type == OCO:
            raise Refused("INVALID_COMMAND")
        return
    first = group[0]
    if (
        at_once
        or first.body.link_type != command.link_type
        or first.instrument != order.instrument
        or state.group_sizes[order.account, command.link_id] != command.link_size
        or len(group) == (command.link_size or most)
    ):
        raise Refused("INVALID_COMMAND")
    if command.link_type == BRACKET and (first.side == order.side or not order.has(REDUCE_ONLY)):
        raise Refused("INVALID_COMMAND")


def refuse_group(state: State, account: int, link_id: int) -> None:
    """One was refused: all of its group go, those that are still to come too."""
    group = state.groups.get((account, link_id), [])
    complete = group and len(group) == state.group_sizes[account, link_id]
    if link_id and not complete:
        state.refused_groups.add((account, link_id))
        for order in group:
            if order.status in OPEN:
                close(state, order, CancelReason.CANCEL_REASON_LINKED_ORDER)


def follow_links_and_positions(state: State) -> None:
    """Members of groups first; then position by position, and whenever that changed a group, all over again."""
    capped = 0
    while True:
        positions = list(dict.fromkeys(state.executed))
        if state.changed:
            follow_member(state, state.changed.pop(0))
            capped = 0
        elif capped < len(positions):
            cap_reducing_orders(state, *positions[capped])
            capped += 1
        else:
            return


def follow_member(state: State, order: Order) -> None:
    """Tells the others of its group that an order changed."""
    group = order.group or []
    kind = order.body.link_type
    if kind != OCO and order is group[0]:
        for child in group[1:]:
            release(state, child, order)
    elif kind != OCO:
        release(state, order, group[0])
    if kind == OCO or (kind == BRACKET and order is not group[0]):
        follow_siblings(state, order)
    if len(group) == order.body.link_size and not any(member in state.changed for member in group):
        begin_next(state, group)


def begin_next(state: State, group: list[Order]) -> None:
    """A list is complete: its orders begin, one after the other."""
    held = [order for order in group if order.waiting == 6]
    if held and held[0].command.order_type in CONDITIONAL:
        wait_for_price(state, held[0])
    elif held:
        trigger(state, held[0])
    held = [order for order in held[1:] if order.waiting == 6]
    if held:
        state.link_changed(held[0])


def release(state: State, child: Order, parent: Order) -> None:
    """A child gets as many lots as its parent was filled."""
    if child.status not in OPEN or not child.awaited:
        return
    released = min(parent.cum_qty - child.followed, child.awaited)
    child.followed = parent.cum_qty
    over = parent.status not in OPEN
    if over and not released and not child.leaves:
        close(state, child, CancelReason.CANCEL_REASON_LINKED_ORDER)
        return
    child.awaited -= released
    if over:
        child.awaited = 0
        display_qty = min(child.command.display_qty, child.qty + released)
        child.command = child.command._replace(display_qty=display_qty)
    if released:
        grow(state, child, released)
    elif over:
        state.emit_order(EventKind.EVENT_ORDER_AMENDED, child)


def end_parent(state: State, child: Order) -> None:
    """A child on the other side of its parent has been triggered: what is left of the parent ends first."""
    parent = child.group[0] if child.group and child.body.link_type != OCO else child
    if parent.status in OPEN and parent.side != child.side:
        close(state, parent, CancelReason.CANCEL_REASON_LINKED_ORDER)
        follow_member(state, parent)


def grow(state: State, child: Order, lots: int) -> None:
    if child.waiting in (0, 5):
        grow_in_market(state, child, lots)
        return
    child.qty += lots
    if child.waiting == 4 or (child.waiting == 3 and child.command.order_type not in CONDITIONAL):
        trigger(state, child)
        return
    if child.waiting == 3:
        wait_for_price(state, child)
        return
    state.emit_order(EventKind.EVENT_ORDER_AMENDED, child)


def grow_in_market(state: State, child: Order, lots: int) -> None:
    qty = child.qty + lots
    if child.has(REDUCE_ONLY):
        qty = min(qty, child.cum_qty + reducible(state, child))
    try:
        if qty <= child.qty:
            raise Refused("REDUCE_ONLY_VIOLATION")
        enter_amended(state, child, child.price, qty, child.awaited)
    except Refused:
        state.emit_order(EventKind.EVENT_ORDER_AMENDED, child)
