# Whether a new order may come in: everything that is decided before it meets a book.

from libc.stdint cimport uint8_t

from fastpath.book.matching cimport incoming_t
from fastpath.model.structs cimport ts_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.state cimport instrument_t, state_t

# The reason to refuse the order, 0 if there is none. Sets the quantity of an order that leaves it open, and fills `taker`, but for its slot, as the book is to see it.
cdef uint8_t check_new(state_t* state, instrument_t* instrument, order_record_t* order,
                   incoming_t* taker) noexcept nogil

# The same for an open order that is to become `amended` (price and quantity differ).
cdef uint8_t check_amended(state_t* state, instrument_t* instrument, const order_record_t* order,
                           const order_record_t* amended) noexcept nogil

# The order as the book is to see it; the slot is the caller's affair.
cdef void shape_taker(const state_t* state, const order_record_t* order, incoming_t* taker) noexcept nogil

# When an order of this time in force ends; 0: never.
cdef ts_t expiry_of(const order_record_t* order) noexcept nogil
