"""Placing an order: known or new, passed or refused, waiting, on its way, or in the market."""

from __future__ import annotations

from fastpath.model.enums import EventKind
from tests.reference.exchange.checks import check_against_market, check_new
from tests.reference.exchange.entry import conclude
from tests.reference.exchange.link_prices import check_list_prices
from tests.reference.exchange.links import check_link, refuse_group
from tests.reference.exchange.market import best_opposite, take
from tests.reference.exchange.orders import (
    BODY,
    BUY,
    CONDITIONAL,
    DAY,
    DAY_NS,
    OCO,
    POST_ONLY,
    REJECTED,
    SLIDE,
    Order,
    Refused,
    crosses,
)
from tests.reference.exchange.paper import send_off, travel_ns
from tests.reference.exchange.state import State
from tests.reference.exchange.triggers import first_wait, start_trailing
from tests.reference.records import Command


def place(state: State, command: Command) -> None:
    if not command.client_order_id:
        raise Refused("INVALID_COMMAND")
    if command.account not in state.accounts:
        raise Refused("ACCOUNT_NOT_FOUND")
    if command.instrument not in state.instruments:
        raise Refused("INSTRUMENT_NOT_FOUND")
    known = state.by_client.get((command.account, command.client_order_id))
    if known:
        if any(getattr(known.body, name) != getattr(command, name) for name in BODY):
            raise Refused("CLIENT_ORDER_ID_CONFLICT")
        state.emit_order(EventKind.EVENT_ORDER_REPLAYED, known)
        return
    own = sum(order.account == command.account for order in state.orders.values())
    if len(state.orders) >= state.max_orders or own >= state.max_orders - state.max_orders // 10:
        raise Refused("CAPACITY")
    order = new_order(state, command)
    try:
        check_link(state, order)
        limit = check_new(state, order)
        if command.link_size:
            check_list_prices(state, order)
        others = [o for o in state.live if o.is_open and o is not order]
        own = sum(o.account == order.account for o in others)
        if len(others) >= state.max_open_orders or own >= state.max_open_orders - state.max_open_orders // 10:
            raise Refused("CAPACITY")
        if not order.waiting and (command.link_size or not travel_ns(state, order)):
            check_against_market(state, order, limit)
        if command.link_size and order.waiting != 3:
            order.waiting = 6
    except Refused as refused:
        order.waiting = 0
        order.status, order.reject_reason = REJECTED, refused.reason
        state.emit_order(EventKind.EVENT_ORDER_REJECTED, order)
        refuse_group(state, order.account, command.link_id)
        return
    if command.link_id:
        order.group = state.groups.setdefault((order.account, command.link_id), [])
        order.group.append(order)
        state.group_sizes.setdefault((order.account, command.link_id), command.link_size)
        state.link_changed(order)
    begin(state, order, limit)


def new_order(state: State, command: Command) -> Order:
    """On the books from now on, whatever becomes of it."""
    rules = state.instruments[command.instrument]
    for asset in (rules.base_asset, rules.quote_asset):
        state.totals.setdefault((command.account, asset), 0)
    order = Order(
        command,
        command,
        command.seq,
        command.account,
        command.instrument,
        command.side,
        command.price,
        command.qty,
        command.ts_ns,
        rules.maker_fee_ppm,
        rules.taker_fee_ppm,
    )
    order.expire_ns, order.trigger_price = command.expire_ns, command.trigger_price
    if command.order_type in CONDITIONAL:
        order.waiting = first_wait(order)
    if command.link_id and command.link_type != OCO and (order.account, command.link_id) in state.groups:
        order.waiting = 3
    if command.time_in_force == DAY and not command.expire_ns:
        order.expire_ns = command.ts_ns - command.ts_ns % DAY_NS + DAY_NS
    state.orders[order.order_id] = state.by_client[order.account, command.client_order_id] = order
    state.live.append(order)
    return order


def begin(state: State, order: Order, limit: int) -> None:
    """It passed the checks: it waits, sets off, or enters the market."""
    if order.waiting == 3:
        order.awaited, order.qty = order.qty, 0
    if not order.waiting and travel_ns(state, order):
        send_off(state, order)
        state.emit_order(EventKind.EVENT_ORDER_ACCEPTED, order)
        return
    if order.waiting:
        state.requeue(order)
        order.opened = state.priority
        if order.waiting == 1:
            start_trailing(state, order)
        state.emit_order(EventKind.EVENT_ORDER_ACCEPTED, order)
        state.touch(order.instrument)
        return
    if order.has(SLIDE):
        best = best_opposite(state, order)
        if best is not None and crosses(order.side, order.price, best):
            order.price = best - 1 if order.side == BUY else best + 1
    state.emit_order(EventKind.EVENT_ORDER_ACCEPTED, order)
    state.touch(order.instrument)
    stopped = False if order.has(POST_ONLY | SLIDE) else take(state, order, limit)
    conclude(state, order, stopped)
