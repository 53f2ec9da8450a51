"""Orders that follow others (OCO, OTO, brackets, lists) and reduce-only orders, which follow the position.

A member that changed is put on a list; `follow_links_and_positions` works it off until nothing changes any more.
"""

from __future__ import annotations

from fastpath.model import CancelReason, EventKind
from tests.reference.exchange.amending import enter_amended
from tests.reference.exchange.ledger import reducible
from tests.reference.exchange.market import close
from tests.reference.exchange.orders import (
    BRACKET,
    CLOSE_POSITION,
    CONDITIONAL,
    FOK,
    IOC,
    NEW,
    OCO,
    OTO,
    PARTIAL,
    QUOTE_QTY,
    REDUCE_ONLY,
    TRAILING,
    Order,
    Refused,
)
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
    if link_id:
        state.refused_groups.add((account, link_id))
        for order in state.groups.get((account, link_id), []):
            if order.status in (NEW, PARTIAL):
                close(state, order, CancelReason.CANCEL_REASON_LINKED_ORDER)


def follow_links_and_positions(state: State) -> None:
    while True:
        while state.changed:
            follow_member(state, state.changed.pop(0))
        cap_reducing_orders(state)
        if not state.changed:
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
        follow_siblings(state, order, group if kind == OCO else group[1:])
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
    if child.status not in (NEW, PARTIAL) or not child.awaited:
        return
    released = min(parent.cum_qty - child.followed, child.awaited)
    child.followed = parent.cum_qty
    over = parent.status not in (NEW, PARTIAL)
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


def follow_siblings(state: State, order: Order, members: list[Order]) -> None:
    """What one was filled is taken off the others; when it ends, they end."""
    is_new = order.linked_qty < 0
    filled = order.cum_qty - max(order.linked_qty, 0)
    order.linked_qty = order.cum_qty
    for sibling in members:
        if sibling is order:
            continue
        if sibling.status in (NEW, PARTIAL):
            if order.status in (NEW, PARTIAL):
                reduce_open(state, sibling, filled, CancelReason.CANCEL_REASON_LINKED_ORDER)
            else:
                close(state, sibling, CancelReason.CANCEL_REASON_LINKED_ORDER)
        if is_new and order.status in (NEW, PARTIAL):
            if sibling.status not in (NEW, PARTIAL):
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


def cap_reducing_orders(state: State) -> None:
    """Reduce-only orders never exceed what they can reduce."""
    for account, instrument in dict.fromkeys(state.executed):
        for order in sorted(state.live, key=lambda o: o.opened):
            if order.resting and order.has(REDUCE_ONLY) and (order.account, order.instrument) == (account, instrument):
                excess = order.leaves - reducible(state, order)
                reduce_open(state, order, excess, CancelReason.CANCEL_REASON_REDUCE_ONLY)
