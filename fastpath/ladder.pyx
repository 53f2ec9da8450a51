"""One side of a book: its price levels in order. See `ladder.pxd`."""

from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

from fastpath.pool cimport NIL


cdef void ladder_init(ladder_t* ladder) noexcept nogil:
    memset(ladder, 0, sizeof(ladder_t))


cdef void ladder_close(ladder_t* ladder) noexcept nogil:
    free(ladder.far)
    ladder.far = NULL


cdef bint ladder_reserve(ladder_t* ladder) noexcept nogil:
    cdef uint32_t capacity = ladder.far_capacity
    cdef far_t* far
    if ladder.count < capacity:
        return True
    capacity = 64 if capacity == 0 else capacity * 2
    far = <far_t*>realloc(ladder.far, capacity * sizeof(far_t))
    if far == NULL:
        return False
    ladder.far = far
    ladder.far_capacity = capacity
    return True


cdef inline uint32_t position(const ladder_t* ladder, price_t key) noexcept nogil:
    """How many levels are worse than `key` (have a greater key)."""
    cdef uint32_t low = 0
    cdef uint32_t high = ladder.count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) >> 1
        if ladder.far[middle].key > key:
            low = middle + 1
        else:
            high = middle
    return low


cdef uint32_t ladder_find(const ladder_t* ladder, price_t key) noexcept nogil:
    cdef uint32_t at = position(ladder, key)
    return ladder.far[at].level if at < ladder.count and ladder.far[at].key == key else NIL


cdef inline void refresh_best(ladder_t* ladder) noexcept nogil:
    if ladder.count == 0:
        ladder.best = NIL
    else:
        ladder.best = ladder.far[ladder.count - 1].level
        ladder.best_key = ladder.far[ladder.count - 1].key


cdef void ladder_insert(ladder_t* ladder, price_t key, uint32_t level) noexcept nogil:
    cdef uint32_t at = position(ladder, key)
    memmove(&ladder.far[at + 1], &ladder.far[at], (ladder.count - at) * sizeof(far_t))
    ladder.far[at].key = key
    ladder.far[at].level = level
    ladder.count += 1
    refresh_best(ladder)


cdef void ladder_erase(ladder_t* ladder, price_t key) noexcept nogil:
    cdef uint32_t at = position(ladder, key)
    ladder.count -= 1
    memmove(&ladder.far[at], &ladder.far[at + 1], (ladder.count - at) * sizeof(far_t))
    refresh_best(ladder)


cdef uint32_t ladder_after(const ladder_t* ladder, price_t key) noexcept nogil:
    cdef uint32_t at = position(ladder, key)
    return ladder.far[at - 1].level if at > 0 else NIL
