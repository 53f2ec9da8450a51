# A binary min-heap of open orders, from which any order can be taken out: what is due first, and what is due no more.
#
# Orders are named by pool slot; an array the heaps of one purpose share says where in its heap a slot lies, since an order is
# in at most one of them. Equal keys come out in order of age (record number).

from libc.stdint cimport int64_t, uint32_t

cdef struct heap_item_t:
    int64_t  key
    uint32_t number               # record of the order
    uint32_t slot

cdef struct heap_t:
    heap_item_t* items
    uint32_t count
    uint32_t capacity

cdef void heap_close(heap_t* heap) noexcept nogil
cdef bint heap_reserve(heap_t* heap, uint32_t count) noexcept nogil  # room for so many in all; False: out of memory
cdef void heap_push(heap_t* heap, uint32_t* places, int64_t key, uint32_t number, uint32_t slot) noexcept nogil
cdef void heap_remove(heap_t* heap, uint32_t* places, uint32_t slot) noexcept nogil
cdef void heap_rebuild(heap_t* heap, uint32_t* places) noexcept nogil    # after keys were changed in place


cdef inline bint heap_holds(const uint32_t* places, uint32_t slot) noexcept nogil:
    return places[slot] != 0                                         # place + 1; 0: in none
