# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Python classes around the hash index and the heap, which have none: for `test_containers.py`."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

from fastpath.containers.hash_index cimport (
    NO_ROW,
    index_free,
    index_init,
    index_insert,
    index_next,
    index_reserve,
    index_start,
    index_t,
)
from fastpath.containers.heap cimport (
    heap_close,
    heap_holds,
    heap_push,
    heap_rebuild,
    heap_remove,
    heap_reserve,
    heap_t,
)


cdef class HashIndex:
    cdef index_t index

    def __cinit__(self):
        if not index_init(&self.index):
            raise MemoryError

    def __dealloc__(self):
        index_free(&self.index)

    def insert(self, uint32_t hash, uint32_t row):
        if not index_reserve(&self.index):
            raise MemoryError
        index_insert(&self.index, hash, row)

    def rows(self, uint32_t hash):
        """All rows of a hash."""
        cdef uint32_t cursor = index_start(&self.index, hash)
        cdef list rows = []
        cdef uint32_t row = index_next(&self.index, hash, &cursor)
        while row != NO_ROW:
            rows.append(row)
            row = index_next(&self.index, hash, &cursor)
        return rows

    @property
    def cells(self):
        return self.index.mask + 1


cdef class Heaps:
    """Some heaps that share the places of `slots` orders, each of which is in one of them at most."""

    cdef heap_t heaps[2]
    cdef uint32_t* places
    cdef uint32_t slots

    def __cinit__(self, uint32_t slots):
        self.slots = slots
        self.places = <uint32_t*>calloc(slots, sizeof(uint32_t))
        if self.places == NULL:
            raise MemoryError

    def __dealloc__(self):
        heap_close(&self.heaps[0])
        heap_close(&self.heaps[1])
        free(self.places)

    def push(self, int which, int64_t key, uint32_t number, uint32_t slot):
        if not heap_reserve(&self.heaps[which], self.heaps[which].count + 1):
            raise MemoryError
        heap_push(&self.heaps[which], self.places, key, number, slot)

    def remove(self, int which, uint32_t slot):
        heap_remove(&self.heaps[which], self.places, slot)

    def rebuild(self, int which, dict keys):
        """Give the orders of these slots other keys."""
        cdef heap_t* heap = &self.heaps[which]
        cdef uint32_t at
        for at in range(heap.count):
            heap.items[at].key = keys[heap.items[at].slot]
        heap_rebuild(heap, self.places)

    def first(self, int which):
        """(key, number, slot) of what comes first, None: the heap is empty."""
        cdef heap_t* heap = &self.heaps[which]
        return (heap.items[0].key, heap.items[0].number, heap.items[0].slot) if heap.count else None

    def held(self):
        return {slot for slot in range(self.slots) if heap_holds(self.places, slot)}

    def lost(self, int which):
        """Items that do not lie where `places` says."""
        cdef heap_t* heap = &self.heaps[which]
        return [at for at in range(heap.count) if self.places[heap.items[at].slot] != at + 1]
