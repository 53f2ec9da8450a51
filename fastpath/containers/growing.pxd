# Arrays that grow: one resize in so many additions. Records in them may move when one is added.

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

cdef enum:
    FIRST_ITEMS = 16


cdef inline bint grow(void** items, size_t* capacity, size_t size, size_t needed) noexcept nogil:
    """Room for `needed` items of `size` bytes. False: out of memory, and all is as it was."""
    cdef size_t larger = capacity[0] if capacity[0] else FIRST_ITEMS
    cdef void* moved
    if needed <= capacity[0]:
        return True
    while larger < needed:
        larger *= 2
    moved = realloc(items[0], larger * size)
    if moved == NULL:
        return False
    items[0] = moved
    capacity[0] = larger
    return True


cdef inline bint grow_zeroed(void** items, size_t* capacity, size_t size, size_t needed) noexcept nogil:
    """As `grow`; new items are zero."""
    cdef size_t before = capacity[0]
    if not grow(items, capacity, size, needed):
        return False
    memset(<char*>items[0] + before * size, 0, (capacity[0] - before) * size)
    return True


cdef struct keys_t:               # ascending
    uint64_t* items
    size_t count
    size_t capacity


cdef inline bint keys_append(keys_t* keys, uint64_t key) noexcept nogil:
    """False: out of memory."""
    if not grow(<void**>&keys.items, &keys.capacity, sizeof(uint64_t), keys.count + 1):
        return False
    keys.items[keys.count] = key
    keys.count += 1
    return True


cdef inline void keys_cut(keys_t* keys, size_t count) noexcept nogil:
    """Drop the first `count`."""
    keys.count -= count
    memmove(keys.items, keys.items + count, keys.count * sizeof(uint64_t))


cdef inline size_t keys_below(const keys_t* keys, uint64_t key) noexcept nogil:
    """How many are smaller than `key`."""
    cdef size_t low = 0, high = keys.count, middle
    while low < high:
        middle = (low + high) // 2
        if keys.items[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low
