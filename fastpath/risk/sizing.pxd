# Orders whose quantity depends on the state: money to spend, a position to reduce or to close.

from libc.stdint cimport uint8_t

from fastpath.model.enums cimport ORDER_FLAG_CLOSE_POSITION, ORDER_FLAG_QUOTE_QTY, ORDER_FLAG_REDUCE_ONLY
from fastpath.model.structs cimport qty_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.state cimport instrument_t, state_t

cdef enum:
    REDUCING_FLAGS = ORDER_FLAG_REDUCE_ONLY | ORDER_FLAG_CLOSE_POSITION
    UNSIZED_FLAGS = ORDER_FLAG_QUOTE_QTY | ORDER_FLAG_CLOSE_POSITION      # qty is 0 until it enters the market

# Set the order's quantity as it enters the market. The reason to refuse it, 0 if there is none.
cdef uint8_t size_order(state_t* state, const instrument_t* instrument, order_record_t* order) noexcept nogil

# Lots of the account's position that an order of this side would reduce; 0: it would open or add.
cdef qty_t reducible(const state_t* state, const order_record_t* order) noexcept nogil
