# Orders changed by traders.

from fastpath.model cimport command_t
from fastpath.state cimport state_t

cdef void amend(state_t* state, const command_t* command) noexcept nogil
