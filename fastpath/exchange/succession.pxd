# One instrument takes over from all others of its name: the way in which a venue's new tick or lot comes into force.
#
# A price is a number of ticks and a quantity a number of lots, so an instrument keeps its grid for ever: another grid is another
# instrument, with a number of its own, under the same name. SUCCEED_INSTRUMENT makes it the only one that counts.

from fastpath.model.structs cimport command_t
from fastpath.state.state cimport state_t

# Orders of the others are canceled (INSTRUMENT_CHANGED), those on their way and those that wait included; the others take no
# orders any more; their positions move over unit by unit, if the assets are the same. An instrument that takes no orders
# itself takes over no positions: its lots are worth nothing in money. Refused (CAPACITY) if the ledger has no room for
# the positions, and (INVALID_COMMAND) if its quote money is coarser than that of a position; then nothing has changed.
cdef void succeed_instrument(state_t* state, const command_t* command) noexcept nogil
