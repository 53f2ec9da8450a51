# What is traded, by whom, when, and at what reference prices.

from fastpath.model.structs cimport account_def_t, asset_def_t, instrument_def_t, reference_prices_t, trading_status_t
from fastpath.state.state cimport state_t

cdef void define_asset(state_t* state, const asset_def_t* asset) noexcept nogil
cdef void define_instrument(state_t* state, const instrument_def_t* instrument) noexcept nogil
cdef void define_account(state_t* state, const account_def_t* account) noexcept nogil
cdef void set_trading_status(state_t* state, const trading_status_t* command) noexcept nogil
cdef void set_reference_prices(state_t* state, const reference_prices_t* command) noexcept nogil
