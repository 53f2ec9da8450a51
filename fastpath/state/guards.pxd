# Orders of one book that cannot all be filled: reduce-only orders share a position, members of an OCO share a quantity.
#
# When one incoming order trades with several of them, each fill reduces the others (reducing.follow_fill, fill by fill). The
# functions here compute the same in advance, without changing anything: the quantity that can really trade, and its cost.

from libc.stdint cimport int64_t

from fastpath.containers.hash_index cimport NO_ROW
from fastpath.book.matching cimport incoming_t
from fastpath.model.enums cimport LINK_TYPE_BRACKET, LINK_TYPE_OCO, ORDER_FLAG_REDUCE_ONLY
from fastpath.model.structs cimport money_t, price_t, qty_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.state cimport instrument_t, state_t

cdef inline bint is_guarded(const order_record_t* order) noexcept nogil:
    """Whether what is open of it may have to follow the fills of others."""
    return (order.flags & ORDER_FLAG_REDUCE_ONLY != 0 or order.link_type == LINK_TYPE_OCO
            or order.link_type == LINK_TYPE_BRACKET)


cdef inline bint has_guards(const instrument_t* instrument) noexcept nogil:
    """Whether a taker may meet such orders in this instrument's own book."""
    return instrument.guarded_orders > 0

cdef inline bint has_siblings(const state_t* state, const order_record_t* order) noexcept nogil:
    """All of an OCO, and the exits of a bracket."""
    if order.group == NO_ROW or order.link_type == LINK_TYPE_OCO:
        return order.group != NO_ROW
    return (order.link_type == LINK_TYPE_BRACKET
            and order != &state.orders.records[state.contingent.groups[order.group].members[0]])


cdef inline bint same_group(const order_record_t* one, const order_record_t* other) noexcept nogil:
    """Linked orders that trade with each other follow when all is done."""
    return one.link_id != 0 and one.link_id == other.link_id and one.account == other.account

# What `order`, going to market as `taker`, would trade; as matching.match_fillable(). Perhaps less, where more than MAX_GUARDS
# positions and groups take part: what is certain.
cdef qty_t guarded_fillable(const state_t* state, const instrument_t* instrument, const order_record_t* order,
                            const incoming_t* taker) noexcept nogil

# matching.match_cost() of `order`. An upper bound, where more than MAX_GUARDS take part.
cdef void guarded_cost(const state_t* state, const instrument_t* instrument, const order_record_t* order,
                       price_t limit, qty_t qty, qty_t* found, money_t* cost, price_t* worst) noexcept nogil

# Lots of a resting order that a fill may take now; its siblings may have been filled by the same command.
cdef qty_t guarded_leaves(const state_t* state, const order_record_t* order, qty_t leaves) noexcept nogil
