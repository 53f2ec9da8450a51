# The newest fills, bounded, and each account's among them. They come in the order of their event_seq and go in the same.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.containers.growing cimport keys_t
from fastpath.model.structs cimport event_t

cdef struct account_fills_t:
    keys_t numbers                # of its fills
    size_t forgotten              # so many of the first are not held any more


cdef class Fills:
    cdef readonly uint64_t forgotten_key
    cdef readonly uint64_t forgotten_seq
    cdef event_t* ring            # the fill with number n is at n % capacity
    cdef size_t capacity
    cdef size_t bound
    cdef uint64_t first           # number of the oldest fill that is held
    cdef uint64_t end             # number of the next fill
    cdef account_fills_t* accounts
    cdef size_t account_count

    cdef int add(self, const event_t* event) except -1
    cdef list all(self)
    cdef void was_forgotten(self, uint64_t key, uint64_t seq) noexcept
    cdef const event_t* at(self, uint64_t number) noexcept nogil
    cdef uint64_t number_of(self, uint64_t event_seq) noexcept nogil
    cdef void forget_first(self) noexcept
