# Memory the next commands will need, asked for while the present one is worked on.
#
# Orders, balances and indexes of a busy engine do not fit the caches, and a command touches a dozen places at random: fetched one
# after the other they cost more than all the work on them. Stages, each when what the one before asked for has come: the command
# itself, far ahead; the index cells; the rows these name; what those rows point to; what that points to. Nothing here changes
# anything.

from fastpath.model cimport command_t
from fastpath.state cimport state_t

cdef enum:
    FETCH_COMMANDS_AHEAD = 40
    FETCH_CELLS_AHEAD = 24
    FETCH_ROWS_AHEAD = 18
    FETCH_LINKS_AHEAD = 12
    FETCH_NEIGHBORS_AHEAD = 6
    FETCH_MAKERS = 8              # fills

cdef void prefetch_command(const command_t* command) noexcept nogil
cdef void prefetch_cells(const state_t* state, const command_t* command) noexcept nogil
cdef void prefetch_rows(const state_t* state, const command_t* command) noexcept nogil
cdef void prefetch_links(const state_t* state, const command_t* command) noexcept nogil
cdef void prefetch_neighbors(const state_t* state, const command_t* command) noexcept nogil

# The orders that the fills in the sink are about to settle with.
cdef void prefetch_makers(const state_t* state) noexcept nogil
