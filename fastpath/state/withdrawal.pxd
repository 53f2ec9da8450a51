# How an open order ends from wherever it waits: a book, a trigger, or on its way to a venue.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.state.state cimport state_t

# The order that holds this slot is on its way no more.
cdef void call_back(state_t* state, uint32_t slot) noexcept nogil

# Take an open order out of where it waits and close it: `kind` is the EventKind that tells of it.
cdef void withdraw(state_t* state, uint32_t number, uint8_t kind, uint8_t cancel_reason) noexcept nogil
