# What happens at a time: orders expire, dead-man timers go off. Time comes as commands.

from libc.stdint cimport int64_t

from fastpath.model.structs cimport command_t
from fastpath.state.state cimport state_t

cdef void run_timers(state_t* state, const command_t* command) noexcept nogil
cdef void run_arrivals(state_t* state, const command_t* command) noexcept nogil
cdef void set_deadman_timer(state_t* state, const command_t* command) noexcept nogil

# When the next TIMER command is due; INT64_MAX: never, as things stand.
cdef int64_t next_timer(const state_t* state) noexcept nogil
# And the next ARRIVALS command.
cdef int64_t next_arrival(const state_t* state) noexcept nogil
