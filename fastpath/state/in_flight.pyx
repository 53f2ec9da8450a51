"""Cancels and amendments on their way to mirrored venues. Described in in_flight.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from fastpath.model.arith cimport mix

cdef enum:
    FIRST_CAPACITY = 64


cdef void changes_close(changes_t* changes) noexcept nogil:
    free(changes.items)
    changes.items = NULL


cdef inline bint is_before(const change_t* one, const change_t* other) noexcept nogil:
    if one.due_ns != other.due_ns:
        return one.due_ns < other.due_ns
    if one.seq != other.seq:
        return one.seq < other.seq
    return one.number < other.number


cdef bint changes_push(changes_t* changes, const change_t* change) noexcept nogil:
    cdef uint32_t at = changes.count
    cdef uint32_t parent, capacity
    cdef change_t* grown
    if at == changes.capacity:
        capacity = max(2 * changes.capacity, <uint32_t>FIRST_CAPACITY)
        grown = <change_t*>realloc(changes.items, capacity * sizeof(change_t))
        if grown == NULL:
            return False
        changes.items = grown
        changes.capacity = capacity
    changes.count += 1
    while at > 0:
        parent = (at - 1) // 2
        if not is_before(change, &changes.items[parent]):
            break
        changes.items[at] = changes.items[parent]
        at = parent
    changes.items[at] = change[0]
    return True


cdef change_t changes_pop(changes_t* changes) noexcept nogil:
    cdef change_t first = changes.items[0]
    cdef change_t last
    cdef uint32_t at = 0
    cdef uint32_t child
    changes.count -= 1
    last = changes.items[changes.count]
    while True:
        child = 2 * at + 1
        if child >= changes.count:
            break
        if child + 1 < changes.count and is_before(&changes.items[child + 1], &changes.items[child]):
            child += 1
        if not is_before(&changes.items[child], &last):
            break
        changes.items[at] = changes.items[child]
        at = child
    changes.items[at] = last
    return first


cdef uint64_t changes_hash(const changes_t* changes) noexcept nogil:
    """Of what is on its way, not of how it lies in the heap."""
    cdef const change_t* change
    cdef uint64_t total = 0
    cdef uint64_t h
    cdef uint32_t i
    for i in range(changes.count):
        change = &changes.items[i]
        h = mix(mix(mix(12, <uint64_t>change.due_ns), change.seq), change.number)
        h = mix(mix(h, change.kind | <uint64_t>change.cancel_reason << 8), <uint64_t>change.price)
        total += mix(h, <uint64_t>change.qty)
    return total
