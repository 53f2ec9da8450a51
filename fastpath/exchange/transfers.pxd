# Deposits and withdrawals, applied to the ledger.

from fastpath.model.structs cimport command_t
from fastpath.state.state cimport state_t

cdef void adjust_balance(state_t* state, const command_t* command) noexcept nogil
