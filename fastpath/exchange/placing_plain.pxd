# The straight line of a plain order: a limit order for our own book, good till canceled, that is new and may come in.
#
# That is nearly every order of a busy market. place_plain() does the whole command; or it does nothing (but make the ledger rows that
# any new order gets) and returns False: the general path (placing.pyx) then decides, and says what is wrong if something is. So what
# is rare or refused costs the common case a few well predicted branches. The limits are those of risk/gate.pxd, which the general
# path asks too. Both paths move orders and money by the same primitives.

from fastpath.model.structs cimport command_t
from fastpath.state.state cimport state_t

cdef bint place_plain(state_t* state, const command_t* command) noexcept nogil
