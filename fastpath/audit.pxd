# Every invariant of the trading state, checked the slow way. For tests, and for whoever doubts.

from fastpath.state cimport state_t

# NULL: sound; else which invariant is broken. Walks everything.
cdef const char* audit(const state_t* state) noexcept nogil
