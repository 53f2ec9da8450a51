# Paper orders that rest at a mirrored venue: when the venue's book snapshots and prints fill them.

from fastpath.model.structs cimport mirror_command_t
from fastpath.state.state cimport state_t

cdef void mirror_command(state_t* state, const mirror_command_t* command) noexcept nogil
