# Memory the next commands will need, asked for while the present one is worked on.
#
# Orders, balances and indexes of a busy engine do not fit the caches, and a command touches a dozen places at random: fetched one
# after the other they cost more than all the work on them. So commands go through stages, each when what the one before asked for
# has come: the command itself; the index cells; the rows these name; what those rows point to, and so on. What a stage
# finds it leaves for the next. Who will trade is guessed from the books as they are now. Nothing here changes anything.

from libc.stdint cimport uint32_t

from fastpath.model.structs cimport command_t
from fastpath.state.state cimport state_t

cdef enum:                        # how many commands ahead a stage is
    COMMAND_STAGE = 20
    CELLS_STAGE = 11
    ROWS_STAGE = 8
    LINKS_STAGE = 6
    NEIGHBORS_STAGE = 4
    BALANCES_STAGE = 2
    PLANS = 64                    # a power of two above all of these

cdef struct plan_t:               # what is known of a later command
    uint32_t row                  # PLACE: of its position; CANCEL and AMEND: of the order meant. NO_ROW: not known
    uint32_t maker                # PLACE: the pool slot, then the record, of the order it would trade with first. NO_ROW: none
    uint32_t next_maker           # and of the one after it, a stage later

cdef struct prefetch_t:
    plan_t plans[64]              # of the command with this number, modulo PLANS

# Take the commands that follow number `at` of `count` one stage further; before the first: the same for those at the beginning.
cdef void prefetch_first(prefetch_t* ahead, const state_t* state, const command_t* commands, size_t count) noexcept nogil
cdef void prefetch_batch(prefetch_t* ahead, const state_t* state, const command_t* commands, size_t at,
                     size_t count) noexcept nogil

# The orders that the fills in the sink are about to settle with; then, as fill number `at` settles, what the following ones need.
cdef void prefetch_makers(const state_t* state) noexcept nogil
cdef void prefetch_settlement(const state_t* state, uint32_t at) noexcept nogil
