# Cancels that a trader asked for, one by one or many at once: they take effect here, or at the venue when they get there.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.state.in_flight cimport ChangeKind
from fastpath.model.structs cimport command_t, price_t, qty_t
from fastpath.state.orders cimport is_sent, order_record_t
from fastpath.state.state cimport instrument_t, state_t, travel_ns

cdef void cancel(state_t* state, const command_t* command) noexcept nogil

# Cancel an open order, or send the cancel to its venue. False: one is on its way there already.
cdef bint request_cancel(state_t* state, uint32_t number, uint8_t cancel_reason) noexcept nogil

# Send a change to the venue of an open order. False: no memory for it.
cdef bint send_change(state_t* state, uint32_t number, ChangeKind kind, uint8_t cancel_reason, price_t price, qty_t qty) noexcept nogil

# The record an order-addressing command means (by order_id, else by client_order_id; account 0 may mean anybody's), or NO_ROW.
cdef uint32_t find_meant(const state_t* state, const command_t* command) noexcept nogil

# A cancel gets to the venue of its order.
cdef void cancel_arrives(state_t* state, uint32_t number, uint8_t cancel_reason) noexcept nogil


cdef inline bint is_far(const instrument_t* instrument, const order_record_t* order) noexcept nogil:
    """Whether the order is at a venue that takes time to reach, or on its way there."""
    return travel_ns(instrument) > 0 and is_sent(order)
