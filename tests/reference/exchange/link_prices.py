"""Prices of linked orders: none is to trade at once, or with another of its group, where it should wait."""

from __future__ import annotations

from tests.reference.exchange.orders import (
    BUY,
    CONDITIONAL,
    MARKETS,
    OCO,
    OPEN,
    OTO,
    POST_ONLY,
    SELL,
    SLIDE,
    TAKE_PROFITS,
    TRAILING,
    Order,
    Refused,
    crosses,
)
from tests.reference.exchange.state import State
from tests.reference.exchange.triggers import touch_prices, watched


def level(order: Order) -> int:
    """The price at which it acts; 0: none is known."""
    kind = order.command.order_type
    if kind in TRAILING:
        return 0
    if kind in CONDITIONAL:
        return order.trigger_price
    return 0 if kind in MARKETS else order.price


def waits_for_rise(order: Order) -> bool:
    kind = order.command.order_type
    return (order.side == SELL) == (kind in TAKE_PROFITS or kind not in CONDITIONAL)


def is_beyond(order: Order, price: int) -> bool:
    return not price or (level(order) > price if waits_for_rise(order) else level(order) < price)


def is_due(state: State, order: Order) -> bool:
    price = watched(state, order)
    if order.command.order_type not in CONDITIONAL - TRAILING or price is None or not price:
        return False
    return price >= order.trigger_price if waits_for_rise(order) else price <= order.trigger_price


def price_of_entry(state: State, parent: Order) -> int:
    """What a parent that trades on arrival begins with; 0: it does not."""
    bid, ask = touch_prices(state, parent.instrument)
    best = ask if parent.side == BUY else bid
    kind = parent.command.order_type
    if kind in CONDITIONAL:
        at_once = is_due(state, parent)
    elif kind in MARKETS:
        at_once = True
    else:
        at_once = not parent.has(POST_ONLY | SLIDE) and best is not None and crosses(parent.side, parent.price, best)
    return best if at_once and best is not None else 0


def check_list_prices(state: State, order: Order) -> None:
    """Raises Refused."""
    group = state.groups.get((order.account, order.command.link_id), [])
    if order.command.link_type == OCO:
        fits = not is_due(state, order) and all(fits_other(order, other) for other in group)
    else:
        fits = not group or fits_parent(state, order, group[0])
    if not fits:
        raise Refused("LINKED_PRICE")


def fits_other(order: Order, other: Order) -> bool:
    if not level(order) or not level(other) or waits_for_rise(order) == waits_for_rise(other):
        return True
    return is_beyond(order, level(other))


def fits_parent(state: State, order: Order, parent: Order) -> bool:
    kind = order.command.order_type
    if order.side == parent.side or kind in TRAILING:
        return True
    if kind in MARKETS and kind not in CONDITIONAL:
        return order.command.link_type == OTO
    limit = 0 if parent.command.order_type in MARKETS | TRAILING else parent.price
    entry = price_of_entry(state, parent)
    last_is_entry = order.instrument not in state.mirrors and order.command.trigger_source in (0, 1)
    if entry and not last_is_entry and is_due(state, order):
        return False
    return all(is_beyond(order, price) for price in (level(parent), limit, entry))


def has_limit(order: Order) -> bool:
    kind = order.command.order_type
    return kind not in MARKETS and (order.waiting in (0, 4, 5) or kind not in CONDITIONAL)


def check_own_group(order: Order, price: int) -> None:
    """An amended order must not trade with another of its group; raises Refused."""
    for other in order.group or []:
        at_work = other.status in OPEN and has_limit(order) and has_limit(other)
        if at_work and other.side != order.side and crosses(order.side, price, other.price):
            raise Refused("LINKED_PRICE")
