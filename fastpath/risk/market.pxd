# What an order trades against, seen as one thing: our own book or the mirrored venue.

from fastpath.state.guards cimport guarded_cost, has_guards
from fastpath.book.matching cimport match_cost
from fastpath.book.mirror cimport mirror_cost
from fastpath.model.structs cimport money_t, price_t, qty_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.route cimport ROUTE_OWN_BOOK, route_of
from fastpath.state.state cimport instrument_t, state_t


cdef inline void walk(const state_t* state, const instrument_t* instrument, const order_record_t* order, price_t limit,
                      qty_t qty, qty_t* found, money_t* cost, price_t* worst) noexcept nogil:
    """matching.match_cost() of an order on whatever the order trades against."""
    if route_of(state, order.account, instrument) != ROUTE_OWN_BOOK:
        mirror_cost(instrument.mirror, order.side, limit, qty, found, cost, worst)
    elif has_guards(instrument):
        guarded_cost(state, instrument, order, limit, qty, found, cost, worst)
    else:
        match_cost(instrument.book, order.side, limit, qty, found, cost, worst)
