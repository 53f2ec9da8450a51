"""Prices of linked orders. Described in link_prices.pxd."""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.contingent_groups cimport find_group, group_t
from fastpath.model.enums cimport (
    LINK_TYPE_OCO,
    LINK_TYPE_OTO,
    ORDER_FLAG_POST_ONLY,
    ORDER_FLAG_POST_ONLY_SLIDE,
    ORDER_TYPE_TAKE_PROFIT,
    ORDER_TYPE_TAKE_PROFIT_LIMIT,
    REJECT_REASON_LINKED_PRICE,
    SIDE_BUY,
    SIDE_SELL,
    TRIGGER_SOURCE_LAST,
)
from fastpath.state.orders cimport WAIT_NONE, has_begun, is_conditional, is_trailing, order_is_open, takes_any_price
from fastpath.state.route cimport ROUTE_OWN_BOOK, best_displayed, route_of
from fastpath.state.triggers cimport is_due

cdef enum:
    POST_ONLY_FLAGS = ORDER_FLAG_POST_ONLY | ORDER_FLAG_POST_ONLY_SLIDE


cdef inline price_t level_of(const order_record_t* order) noexcept nogil:
    """The price at which it acts; 0: it has none that is known."""
    if is_trailing(order):
        return 0
    if is_conditional(order):
        return order.trigger_price
    return 0 if takes_any_price(order) else order.price


cdef inline bint waits_for_rise(const order_record_t* order) noexcept nogil:
    """Whether it acts when the market has risen to its level, or has fallen to it."""
    cdef bint takes_profit = (order.order_type == ORDER_TYPE_TAKE_PROFIT
                              or order.order_type == ORDER_TYPE_TAKE_PROFIT_LIMIT or not is_conditional(order))
    return (order.side == SIDE_SELL) == takes_profit


cdef inline bint is_beyond(const order_record_t* order, price_t price) noexcept nogil:
    """Whether the order's level is on the side of a price on which it waits; 0 is no price."""
    return price == 0 or (level_of(order) > price if waits_for_rise(order) else level_of(order) < price)


cdef price_t best_price(const instrument_t* instrument, uint8_t side) noexcept nogil:
    """Of a side of the book, as it shows; 0: there is none."""
    cdef price_t price = 0
    best_displayed(instrument, side, &price)
    return price


cdef price_t price_of_entry(const state_t* state, const instrument_t* instrument,
                            const order_record_t* parent) noexcept nogil:
    """What a parent that trades on arrival begins with; 0: it does not."""
    cdef price_t best = best_price(instrument, SIDE_SELL if parent.side == SIDE_BUY else SIDE_BUY)
    if is_conditional(parent):
        return best if not is_trailing(parent) and is_due(state, instrument, parent) else 0
    if takes_any_price(parent) or parent.flags & POST_ONLY_FLAGS:
        return best if takes_any_price(parent) else 0
    if parent.side == SIDE_BUY:
        return best if parent.price >= best else 0
    return best if parent.price <= best else 0


cdef bint comes_at_once(const state_t* state, const instrument_t* instrument, const order_record_t* order) noexcept nogil:
    """Whether the trigger price of an order has come. In an own book the last trade will be the parent's."""
    return (is_conditional(order) and not is_trailing(order)
            and (route_of(state, order.account, instrument) != ROUTE_OWN_BOOK or order.trigger_source > TRIGGER_SOURCE_LAST)
            and is_due(state, instrument, order))


cdef bint fits_parent(const state_t* state, const instrument_t* instrument, const order_record_t* order,
                      const order_record_t* parent) noexcept nogil:
    cdef price_t limit = 0 if takes_any_price(parent) or is_trailing(parent) else parent.price
    cdef price_t entry
    if order.side == parent.side or is_trailing(order):
        return True
    if takes_any_price(order) and not is_conditional(order):
        return order.link_type == LINK_TYPE_OTO         # no exit of a bracket: it would trade back each fill at once
    entry = price_of_entry(state, instrument, parent)
    return (is_beyond(order, level_of(parent)) and is_beyond(order, limit) and is_beyond(order, entry)
            and not (entry != 0 and comes_at_once(state, instrument, order)))


cdef bint fits_other(const order_record_t* order, const order_record_t* other) noexcept nogil:
    """Of an OCO."""
    return (level_of(order) == 0 or level_of(other) == 0 or waits_for_rise(order) == waits_for_rise(other)
            or is_beyond(order, level_of(other)))


cdef uint8_t check_list_prices(const state_t* state, const instrument_t* instrument,
                               const order_record_t* order) noexcept nogil:
    cdef uint32_t row = find_group(&state.contingent, order.account, order.link_id)
    cdef const group_t* group = &state.contingent.groups[row] if row != NO_ROW else NULL
    cdef uint32_t i
    if order.link_type != LINK_TYPE_OCO:
        if group != NULL and not fits_parent(state, instrument, order, &state.orders.records[group.members[0]]):
            return REJECT_REASON_LINKED_PRICE
        return 0
    if is_conditional(order) and not is_trailing(order) and is_due(state, instrument, order):
        return REJECT_REASON_LINKED_PRICE
    for i in range(group.count if group != NULL else 0):
        if not fits_other(order, &state.orders.records[group.members[i]]):
            return REJECT_REASON_LINKED_PRICE
    return 0


cdef uint32_t parent_in_the_way(const state_t* state, const instrument_t* instrument, const order_record_t* child,
                                price_t limit) noexcept nogil:
    cdef const order_record_t* parent
    cdef uint32_t number
    if (child.group == NO_ROW or child.link_type == LINK_TYPE_OCO
            or route_of(state, child.account, instrument) != ROUTE_OWN_BOOK):
        return NO_ROW
    number = state.contingent.groups[child.group].members[0]
    parent = &state.orders.records[number]
    if parent.side == child.side or not order_is_open(parent) or parent.waiting != WAIT_NONE:
        return NO_ROW
    return number if (limit >= parent.price if child.side == SIDE_BUY else limit <= parent.price) else NO_ROW


cdef inline bint has_limit(const order_record_t* order) noexcept nogil:
    """Whether it is in the market, or will be, at the price it has. A stop that is a child ends its parent when it fires."""
    return not takes_any_price(order) and (has_begun(order) or not is_conditional(order))


cdef bint meets_own_group(const state_t* state, const order_record_t* order, price_t price) noexcept nogil:
    cdef const group_t* group
    cdef const order_record_t* other
    cdef uint32_t i
    if order.group == NO_ROW or not has_limit(order):
        return False
    group = &state.contingent.groups[order.group]
    for i in range(group.count):
        other = &state.orders.records[group.members[i]]
        if (other.side != order.side and order_is_open(other) and has_limit(other)
                and (price >= other.price if order.side == SIDE_BUY else price <= other.price)):
            return True
    return False
