# Every invariant of the trading state, checked the slow way. For tests, and for whoever doubts.

from libc.stdint cimport int64_t

from fastpath.state.state cimport state_t

# NULL: sound; else which invariant is broken. Walks everything.
cdef const char* audit(const state_t* state) noexcept nogil

# Assets whose balances do not sum to 0 over all accounts: anything but 0 is a fault. -1: no memory to count with.
cdef int64_t unbalanced_assets(const state_t* state) noexcept nogil
