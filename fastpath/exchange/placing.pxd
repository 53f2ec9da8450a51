# Orders placed by traders, and how any order ends.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.book.matching cimport match_t, incoming_t
from fastpath.model.structs cimport command_t
from fastpath.state.state cimport instrument_t, state_t

cdef void place(state_t* state, const command_t* command) noexcept nogil

# A stored order that may come in, shaped for the book but for its slot: it waits, trades, rests, or is refused for want of room.
cdef void enter_checked(state_t* state, instrument_t* instrument, uint32_t number, incoming_t* taker) noexcept nogil

# A waiting order's time has come: it arrives at the market, or is canceled if it may not. It is in no trigger heap any more.
cdef void trigger(state_t* state, uint32_t number) noexcept nogil

# An order on its way gets to its venue: it trades, rests, or is canceled if it may not.
cdef void arrive(state_t* state, uint32_t number) noexcept nogil

# After matching: settle what is in the sink, and match on if it paused; then let what is left of the taker rest, or cancel it.
cdef void settle_fills(state_t* state, instrument_t* instrument, uint32_t number, const incoming_t* taker,
                       match_t* result) noexcept nogil
cdef void conclude(state_t* state, instrument_t* instrument, uint32_t number, uint32_t slot,
                   const match_t* result) noexcept nogil
