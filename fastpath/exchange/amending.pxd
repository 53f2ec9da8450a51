# Orders changed by traders, and by the parents they follow.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.model.structs cimport command_t, price_t, qty_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.state cimport state_t

cdef void amend(state_t* state, const command_t* command) noexcept nogil

# An amendment gets to the venue of its order; price, qty: 0 leaves it as it is.
cdef void amendment_arrives(state_t* state, uint32_t number, price_t price, qty_t qty) noexcept nogil

# Let the market decide on an open order as `amended` has it; the reason to refuse that (then nothing has changed), or 0.
cdef uint8_t enter_amended(state_t* state, uint32_t number, const order_record_t* amended) noexcept nogil
