# How open orders lose lots, or end, because of others: of their group, or because of the position they reduce.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.model.structs cimport qty_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.state cimport instrument_t, state_t

# An open order loses lots, which the book has been told already: less quantity, less reserved, and the event that tells.
cdef void shrink(state_t* state, instrument_t* instrument, uint32_t number, qty_t by) noexcept nogil

# A conditional child has nothing left to wait for its price with. A trailing one will follow anew.
cdef void wait_for_parent(order_record_t* order) noexcept nogil

# A position has changed: its resting reduce-only orders shrink to what they can still reduce, or are canceled.
cdef void cap_reducing_orders(state_t* state, uint32_t position_row) noexcept nogil

# What a member of an OCO, or an exit of a bracket, has filled is taken off the others; when one ends, they are canceled.
cdef void follow_siblings(state_t* state, uint32_t number) noexcept nogil

# A resting order was filled, and the taker goes on: what else it may meet must follow first. The rest follows when the command ends.
cdef void follow_fill(state_t* state, uint32_t maker, uint32_t taker) noexcept nogil

# An order whose trigger has fired lacks balance: its siblings of the same side, which hold it, give way. False: it has none.
cdef bint yield_balance(state_t* state, uint32_t number) noexcept nogil
