"""How an order goes to market, now or after its way to the venue, and what becomes of what is left of it."""

from __future__ import annotations

from fastpath.model.enums import CancelReason, EventKind
from tests.reference.exchange.checks import check_against_market, check_new
from tests.reference.exchange.market import best_opposite, take
from tests.reference.exchange.orders import (
    BUY,
    CANCELED,
    CONDITIONAL,
    FOK,
    IOC,
    LIMIT,
    MARKET_TO_LIMIT,
    MARKETS,
    OCO,
    POST_ONLY,
    SLIDE,
    Order,
    Refused,
    crosses,
)
from tests.reference.exchange.paper import displayed, send_off
from tests.reference.exchange.shrinking import cap_reducing_orders, close, yield_balance
from tests.reference.exchange.state import State


def go_to_market(state: State, order: Order, *, travels: bool) -> None:
    """An order that waited enters; it is checked again, for much may have changed."""
    order.command = order.command._replace(price=order.price, qty=order.qty + order.awaited)
    if order.group and order.body.link_type != OCO:
        cap_reducing_orders(state, order.account, order.instrument)
    try:
        limit = check_or_make_way(state, order)
        if meets_parent(state, order, limit):
            close(state, (order.group or [])[0], CancelReason.CANCEL_REASON_LINKED_ORDER)
            limit = check_new(state, order)
        if travels:
            send_off(state, order)
            return
        check_against_market(state, order, limit)
    except Refused as refused:
        order.reject_reason = refused.reason
        close(
            state,
            order,
            {
                "INSUFFICIENT_BALANCE": CancelReason.CANCEL_REASON_INSUFFICIENT_BALANCE,
                "REDUCE_ONLY_VIOLATION": CancelReason.CANCEL_REASON_REDUCE_ONLY,
            }.get(str(refused), CancelReason.CANCEL_REASON_MARKET_REMAINDER),
        )
        return
    state.touch(order.instrument)
    if not order.has(POST_ONLY | SLIDE):
        conclude(state, order, take(state, order, limit))
        return
    best = best_opposite(state, order)
    if best is not None and crosses(order.side, order.price, best):
        order.price = best - 1 if order.side == BUY else best + 1
        state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
    rest(state, order)


def meets_parent(state: State, order: Order, limit: int) -> bool:
    """Whether it would trade with the rest of its parent."""
    parent = order.group[0] if order.group and order.body.link_type != OCO else order
    if not parent.resting or parent.side == order.side or order.instrument in state.mirrors:
        return False
    return crosses(order.side, limit, parent.price)


def check_or_make_way(state: State, order: Order) -> int:
    try:
        return check_new(state, order)
    except Refused as refused:
        if (
            str(refused) == "INSUFFICIENT_BALANCE"
            and order.command.order_type in CONDITIONAL
            and yield_balance(state, order)
        ):
            return check_new(state, order)
        raise


def conclude(state: State, order: Order, stopped: bool) -> None:
    """What is left of a taker rests or is canceled."""
    command = order.command
    if order.waiting:
        state.requeue(order)
        order.opened = state.priority
    if order.leaves == 0 or order.status == CANCELED:
        return
    if stopped:
        close(state, order, CancelReason.CANCEL_REASON_SELF_TRADE)
    elif (
        command.order_type in MARKETS - {MARKET_TO_LIMIT}
        or command.time_in_force in (IOC, FOK)
        or (command.order_type == MARKET_TO_LIMIT and order.cum_qty == 0)
    ):
        market = command.order_type in MARKETS
        close(
            state,
            order,
            CancelReason.CANCEL_REASON_MARKET_REMAINDER if market else CancelReason.CANCEL_REASON_IOC_REMAINDER,
        )
    else:
        if command.order_type == MARKET_TO_LIMIT:
            order.price = state.last_fill_price
            order.command = command._replace(order_type=LIMIT)
            state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
        rest(state, order)


def rest(state: State, order: Order) -> None:
    order.resting = True
    order.slice = order.command.display_qty
    order.opened = state.priority + 1
    state.requeue(order)
    mirror = state.mirrors.get(order.instrument)
    if mirror:
        order.queue_ahead = displayed(mirror, order.side, order.price)
