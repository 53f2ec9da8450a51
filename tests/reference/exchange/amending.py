"""Amending: in place, with loss of priority, or while the order still waits."""

from __future__ import annotations

from fastpath.model.enums import CancelReason, EventKind
from tests.reference.exchange.checks import (
    check_against_market,
    check_numbers,
    check_proceeds,
    check_state,
    check_tradable,
    check_trigger,
)
from tests.reference.exchange.entry import conclude
from tests.reference.exchange.ledger import free, pays, reducible, required
from tests.reference.exchange.link_prices import check_own_group
from tests.reference.exchange.market import best_opposite, take
from tests.reference.exchange.orders import (
    BUY,
    CLOSE_POSITION,
    OPEN,
    POST_ONLY,
    REDUCE_ONLY,
    SLIDE,
    TRAILING,
    TRAILING_STOP_LIMIT,
    Change,
    Order,
    Refused,
    crosses,
)
from tests.reference.exchange.paper import is_far, travel_ns
from tests.reference.exchange.shrinking import close
from tests.reference.exchange.state import State
from tests.reference.records import Command


def amend(state: State, command: Command) -> None:
    order = state.meant(command)
    try:
        if order is None:
            raise Refused("ORDER_NOT_FOUND")
        if order.status not in OPEN:
            raise Refused("ORDER_NOT_OPEN")
        if (command.price, command.qty, command.trigger_price) == (0, 0, 0) or command.qty < 0 or order.waiting == 6:
            raise Refused("INVALID_COMMAND")
        if command.qty and order.has(CLOSE_POSITION):
            raise Refused("INVALID_COMMAND")
        if command.trigger_price and (order.waiting in (0, 4, 5) or order.command.order_type in TRAILING):
            raise Refused("INVALID_COMMAND")
        if command.price and order.waiting in (1, 2, 3) and order.command.order_type == TRAILING_STOP_LIMIT:
            raise Refused("INVALID_COMMAND")
        if is_far(state, order):
            send_amendment(state, order, command)
        else:
            change(state, order, command.price, command.qty, command.trigger_price)
    except Refused as refused:
        if order is None:
            state.emit(
                EventKind.EVENT_AMEND_REJECTED,
                account=command.account,
                order_id=command.order_id,
                client_order_id=command.client_order_id.ljust(36, b"\0"),
                reject_reason=refused.reason,
            )
        else:
            state.emit_order(EventKind.EVENT_AMEND_REJECTED, order, reject_reason=refused.reason)


def send_amendment(state: State, order: Order, command: Command) -> None:
    if order.cancel_pending or order.amend_pending:
        raise Refused("CHANGE_PENDING")
    order.amend_pending = True
    due_ns = command.ts_ns + travel_ns(state, order)
    state.changes.append(Change(due_ns, command.seq, order, price=command.price, qty=command.qty))
    state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)


def amendment_arrives(state: State, sent: Change) -> None:
    order = sent.order
    order.amend_pending = False
    try:
        if order.status not in OPEN:
            raise Refused("ORDER_NOT_OPEN")
        change(state, order, sent.price, sent.qty, 0)
    except Refused as refused:
        state.emit_order(EventKind.EVENT_AMEND_REJECTED, order, reject_reason=refused.reason)
        if order.status in OPEN:
            state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)


def change(state: State, order: Order, price: int, qty: int, trigger_price: int) -> None:
    """0 leaves what it is for."""
    if qty and qty <= order.cum_qty:
        close(state, order, CancelReason.CANCEL_REASON_AMENDED_AWAY)
        return
    price, qty, awaited = price or order.price, qty or order.qty + order.awaited, 0
    if order.awaited:
        awaited = max(0, qty - order.qty)
        qty -= awaited
    if order.waiting in (1, 2, 3, 4):
        amend_waiting(state, order, price, qty, awaited, trigger_price or order.trigger_price)
    else:
        enter_amended(state, order, price, qty, awaited)


def amend_waiting(state: State, order: Order, price: int, qty: int, awaited: int, trigger_price: int) -> None:
    old_command = order.command
    order.command = old_command._replace(price=price, qty=qty + awaited, trigger_price=trigger_price)
    try:
        check_tradable(state, order)
        check_numbers(state, order)
        if order.waiting != 4:
            check_trigger(order)
        check_state(state, order)
        if price != order.price:
            check_own_group(order, price)
    except Refused:
        order.command = old_command
        raise
    order.price, order.qty, order.awaited, order.trigger_price = price, qty, awaited, trigger_price
    state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
    state.touch(order.instrument)


def enter_amended(state: State, order: Order, price: int, qty: int, awaited: int) -> None:
    """Checked like a new order; on a refusal everything is as it was."""
    old_price, old_qty, old_command = order.price, order.qty, order.command
    order.command = old_command._replace(
        price=price, qty=qty + awaited, min_qty=0, display_qty=min(old_command.display_qty, qty + awaited)
    )
    was_resting = order.resting
    order.price, order.qty, order.resting = price, qty, False
    in_place = price == old_price and qty <= old_qty
    try:
        check_tradable(state, order)
        check_numbers(state, order)
        check_state(state, order)
        if price != old_price:
            check_own_group(order, price)
        if order.has(REDUCE_ONLY) and order.leaves > reducible(state, order):
            raise Refused("REDUCE_ONLY_VIOLATION")
        if order.has(SLIDE) and order.side == BUY and best_opposite(state, order) == 1:
            raise Refused("WOULD_TAKE_LIQUIDITY")
        needed = required(state, order, price, order.leaves)
        held = needed if order.waiting else 0  # counted as reserved already
        if free(state, order.account, pays(state, order)) + held < needed:
            raise Refused("INSUFFICIENT_BALANCE")
        check_proceeds(state, order, price)
        if not in_place and not order.waiting:
            check_against_market(state, order, price)
    except Refused:
        order.command, order.price, order.qty, order.resting = old_command, old_price, old_qty, was_resting
        raise
    order.command, order.awaited = old_command, awaited
    if order.waiting:
        state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
        return
    if in_place:
        order.resting = True
        order.slice = min(order.slice, order.leaves)
        state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
        state.touch(order.instrument)
        return
    state.touch(order.instrument)
    best = best_opposite(state, order)
    if order.has(SLIDE) and best is not None and crosses(order.side, order.price, best):
        order.price = best - 1 if order.side == BUY else best + 1
    state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
    stopped = False if order.has(POST_ONLY | SLIDE) else take(state, order, price)
    conclude(state, order, stopped)
