"""Random numbers by counter: a scenario's draws follow from the seed and its number alone, on any number of threads."""

from libc.stdint cimport uint64_t


cdef struct draws_t:
    uint64_t state


cdef void begin_scenario(draws_t* draws, uint64_t seed, uint64_t scenario) noexcept nogil
cdef double next_normal(draws_t* draws) noexcept nogil
cdef double next_chi_square(draws_t* draws, double freedom) noexcept nogil
