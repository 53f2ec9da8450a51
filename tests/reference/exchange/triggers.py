"""Conditional orders: the price they watch, trailing it, which of them is due first, and what then happens."""

from __future__ import annotations

from fastpath.model.enums import EventKind
from tests.reference.exchange.entry import go_to_market
from tests.reference.exchange.orders import (
    BUY,
    CONDITIONAL,
    INDEX,
    MARK,
    SELL,
    TAKE_PROFITS,
    TRAILING,
    TRAILING_STOP_LIMIT,
    Order,
)
from tests.reference.exchange.paper import travel_ns
from tests.reference.exchange.state import State


def first_wait(order: Order) -> int:
    """What a conditional order waits for first."""
    if order.command.order_type not in CONDITIONAL:
        return 0
    return 2 if order.command.order_type in TRAILING and order.trigger_price else 1


def watched(state: State, order: Order) -> int | None:
    """The price a conditional order waits for, if there is one to trust."""
    mirror = state.mirrors.get(order.instrument)
    if mirror and not mirror.live:
        return None
    if order.command.trigger_source in (0, 1):
        return state.last_price.get(order.instrument)
    if order.command.trigger_source in (MARK, INDEX):
        return state.reference_price(order.instrument, order.command.trigger_source)
    bid, ask = touch_prices(state, order.instrument)
    if order.command.trigger_source == 2:
        return ask if order.side == BUY else bid
    return None if bid is None or ask is None else (bid + ask) // 2


def touch_prices(state: State, instrument: int) -> tuple[int | None, int | None]:
    """Best bid and ask that show."""
    if instrument in state.mirrors:
        shown = state.mirrors[instrument].shown
        bids, asks = ([level.price for level in shown[side]] for side in (BUY, SELL))
    else:
        bids, asks = ([price for price, _, _ in levels] for levels in state.depth(instrument))
    return bids[0] if bids else None, asks[0] if asks else None


def is_rising(order: Order) -> bool:
    """Whether it is due when the price has risen to its trigger price."""
    favourable = order.command.order_type in TAKE_PROFITS or order.waiting == 2
    return (order.side == BUY) != favourable


def trail(order: Order, price: int) -> int:
    """The trigger price that follows from a price."""
    offset = order.command.trailing_offset
    if order.command.trailing_unit == 2:
        offset = max(1, price * offset // 10_000)
    return price + offset if order.side == BUY else max(price - offset, 0)


def start_trailing(state: State, order: Order) -> None:
    if order.command.order_type in TRAILING:
        price = watched(state, order)
        order.trigger_price = trail(order, price) if price else (2**62 if order.side == BUY else 0)


def next_due(state: State, instrument: int) -> Order | None:
    """Moves the trailing ones along and picks the order that is due first."""
    due = []
    for order in state.live:
        price = watched(state, order) if order.waiting in (1, 2) and order.instrument == instrument else None
        if price is None:
            continue
        trails = order.command.order_type in TRAILING and order.waiting == 1
        if trails:
            follow = min if order.side == BUY else max
            order.trigger_price = follow(order.trigger_price, trail(order, price))
        rising = is_rising(order)
        if price >= order.trigger_price if rising else price <= order.trigger_price:
            source = order.command.trigger_source
            watch = {0: 0, 1: 0, 2: 2 if order.side == BUY else 1, 3: 3, MARK: 4, INDEX: 5}[source]
            key = order.trigger_price if rising else -order.trigger_price
            due.append(((trails, watch, not rising, key, order.order_id), order))
    return min(due, key=lambda item: item[0])[1] if due else None


def wait_for_price(state: State, order: Order) -> None:
    order.waiting = first_wait(order)
    if order.waiting == 1:
        start_trailing(state, order)
    state.touch(order.instrument)
    state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)


def trigger(state: State, order: Order) -> None:
    returns, order.waiting = order.waiting == 4, 0
    kind = order.command.order_type
    if kind == TRAILING_STOP_LIMIT and not returns:
        order.price = order.trigger_price + (order.price if order.side == BUY else -order.price)
    order.waiting = 5 if travel_ns(state, order) else 0
    state.emit_order(EventKind.EVENT_ORDER_TRIGGERED, order)
    order.waiting = 0
    go_to_market(state, order, travels=travel_ns(state, order) > 0)
