# What a command sets off besides what it asked for, done before it ends: linked orders, reduce-only orders, triggers.

from fastpath.state cimport state_t

cdef void follow_up(state_t* state) noexcept nogil
