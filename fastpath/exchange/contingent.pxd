# What a command sets off besides what it asked for, done before it ends: linked orders, reduce-only orders, triggers.

from fastpath.state.state cimport state_t

cdef void follow_changes(state_t* state) noexcept nogil


cdef inline void follow_up(state_t* state) noexcept nogil:
    if state.contingent.changed_count | state.ledger.touched_position_count | state.touched.count:
        follow_changes(state)
