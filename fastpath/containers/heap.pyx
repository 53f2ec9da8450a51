"""A heap of open orders with removal. Described in heap.pxd."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, realloc

cdef enum:
    FIRST_CAPACITY = 64


cdef void heap_close(heap_t* heap) noexcept nogil:
    free(heap.items)
    heap.items = NULL
    heap.count = heap.capacity = 0


cdef bint heap_reserve(heap_t* heap, uint32_t count) noexcept nogil:
    cdef uint32_t wanted = heap.capacity if heap.capacity else FIRST_CAPACITY
    cdef heap_item_t* grown
    if count <= heap.capacity:
        return True
    while wanted < count:
        wanted *= 2
    grown = <heap_item_t*>realloc(heap.items, wanted * sizeof(heap_item_t))
    if grown == NULL:
        return False
    heap.items = grown
    heap.capacity = wanted
    return True


cdef inline bint before(const heap_item_t* a, const heap_item_t* b) noexcept nogil:
    return a.key < b.key or (a.key == b.key and a.number < b.number)


cdef void settle_up(heap_t* heap, uint32_t* places, uint32_t at, heap_item_t item) noexcept nogil:
    cdef uint32_t parent
    while at > 0:
        parent = (at - 1) // 2
        if not before(&item, &heap.items[parent]):
            break
        heap.items[at] = heap.items[parent]
        places[heap.items[at].slot] = at + 1
        at = parent
    heap.items[at] = item
    places[item.slot] = at + 1


cdef void settle_down(heap_t* heap, uint32_t* places, uint32_t at, heap_item_t item) noexcept nogil:
    cdef uint32_t child
    while True:
        child = 2 * at + 1
        if child >= heap.count:
            break
        if child + 1 < heap.count and before(&heap.items[child + 1], &heap.items[child]):
            child += 1
        if not before(&heap.items[child], &item):
            break
        heap.items[at] = heap.items[child]
        places[heap.items[at].slot] = at + 1
        at = child
    heap.items[at] = item
    places[item.slot] = at + 1


cdef void heap_push(heap_t* heap, uint32_t* places, int64_t key, uint32_t number, uint32_t slot) noexcept nogil:
    cdef heap_item_t item
    item.key = key
    item.number = number
    item.slot = slot
    heap.count += 1
    settle_up(heap, places, heap.count - 1, item)


cdef void heap_remove(heap_t* heap, uint32_t* places, uint32_t slot) noexcept nogil:
    cdef uint32_t at = places[slot] - 1
    cdef heap_item_t last = heap.items[heap.count - 1]
    places[slot] = 0
    heap.count -= 1
    if at == heap.count:
        return
    if at > 0 and before(&last, &heap.items[(at - 1) // 2]):
        settle_up(heap, places, at, last)
    else:
        settle_down(heap, places, at, last)


cdef void heap_rebuild(heap_t* heap, uint32_t* places) noexcept nogil:
    cdef uint32_t at = heap.count // 2
    while at > 0:
        at -= 1
        settle_down(heap, places, at, heap.items[at])
    for at in range(heap.count):
        places[heap.items[at].slot] = at + 1
