# Many orders canceled at once.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.model.structs cimport command_t
from fastpath.state.state cimport state_t

cdef struct filter_t:             # which open orders; 0: any
    uint32_t account
    uint32_t instrument
    uint8_t  side
    uint8_t  on_disconnect        # only those that asked for it
    uint8_t  reason               # CancelReason
    uint32_t session

# A filter that lets every order pass.
cdef filter_t any_order(uint8_t reason) noexcept nogil

# Cancels by account, each account's in order of acceptance; then one ORDERS_CANCELED tells how many.
cdef void cancel_matching(state_t* state, const filter_t* wanted) noexcept nogil

cdef void mass_cancel(state_t* state, const command_t* command) noexcept nogil
cdef void session_closed(state_t* state, const command_t* command) noexcept nogil
