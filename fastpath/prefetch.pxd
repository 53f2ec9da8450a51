# Memory the next commands will need, asked for while the present one is worked on.
#
# Orders, balances and indexes of a busy engine do not fit the caches, and a command touches a dozen places at random: fetched one
# after the other they cost more than all the work on them. Two stages: first the index cells, some commands ahead; then, when
# those have come, the rows they name. Nothing here changes anything.

from fastpath.model cimport command_t
from fastpath.state cimport state_t

cdef enum:
    FETCH_CELLS_AHEAD = 12        # commands
    FETCH_ROWS_AHEAD = 6

cdef void prefetch_cells(const state_t* state, const command_t* command) noexcept nogil
cdef void prefetch_rows(const state_t* state, const command_t* command) noexcept nogil
