"""Growing hash index over rows that hold their own keys. Described in hash_index.pxd."""

from libc.stdint cimport uint32_t

from fastpath.containers.memory cimport memory_release, memory_reserve

cdef enum:
    FIRST_CELLS = 1024
    SMALL_CELLS = 1 << 20         # up to here it grows fourfold, beyond by doubling


cdef inline size_t cells_size(const index_t* index) noexcept nogil:
    return (<size_t>index.mask + 1) * sizeof(index_cell_t)


cdef bint index_init(index_t* index) noexcept nogil:
    index.cells = <index_cell_t*>memory_reserve(FIRST_CELLS * sizeof(index_cell_t))
    index.mask = FIRST_CELLS - 1
    index.count = 0
    return index.cells != NULL


cdef void index_free(index_t* index) noexcept nogil:
    memory_release(index.cells, cells_size(index))
    index.cells = NULL


cdef void index_insert(index_t* index, uint32_t hash, uint32_t row) noexcept nogil:
    cdef uint32_t at = hash & index.mask
    while index.cells[at].row != 0:
        at = (at + 1) & index.mask
    index.cells[at].hash = hash
    index.cells[at].row = row + 1
    index.count += 1


cdef bint index_reserve(index_t* index) noexcept nogil:
    cdef index_t larger
    cdef uint32_t at
    if index.count * 2 <= index.mask:                   # at most half full
        return True
    larger.mask = (index.mask + 1) * (4 if index.mask < SMALL_CELLS else 2) - 1
    larger.count = 0
    larger.cells = <index_cell_t*>memory_reserve(cells_size(&larger))
    if larger.cells == NULL:
        return False
    for at in range(index.mask + 1):
        if index.cells[at].row != 0:
            index_insert(&larger, index.cells[at].hash, index.cells[at].row - 1)
    memory_release(index.cells, cells_size(index))
    index[0] = larger
    return True
