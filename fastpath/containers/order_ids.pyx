"""From order ids to records. Described in order_ids.pxd."""

from libc.stdint cimport uint64_t

from fastpath.containers.memory cimport memory_release, memory_reserve

cdef enum:
    FIRST_CELLS_LOG2 = 10


cdef inline size_t cells_size(const order_ids_t* ids) noexcept nogil:
    return (ids.mask + 1) * sizeof(id_span_t)


cdef bint order_ids_init(order_ids_t* ids) noexcept nogil:
    ids.mask = (1 << FIRST_CELLS_LOG2) - 1
    ids.shift = 64 - FIRST_CELLS_LOG2
    ids.spans = ids.count = 0
    ids.newest = NULL
    ids.cells = <id_span_t*>memory_reserve(cells_size(ids))
    return ids.cells != NULL


cdef void order_ids_free(order_ids_t* ids) noexcept nogil:
    memory_release(ids.cells, cells_size(ids))
    ids.cells = NULL


cdef id_span_t* free_cell(const order_ids_t* ids, uint64_t number) noexcept nogil:
    cdef uint64_t at = order_ids_home(ids, number)
    while ids.cells[at].used != 0:
        at = (at + 1) & ids.mask
    return &ids.cells[at]


cdef void order_ids_add_span(order_ids_t* ids, uint64_t number) noexcept nogil:
    ids.newest = free_cell(ids, number)
    ids.newest.number = number
    ids.newest.before = ids.count
    ids.spans += 1


cdef bint order_ids_grow(order_ids_t* ids) noexcept nogil:
    cdef order_ids_t larger = ids[0]
    cdef const id_span_t* span
    cdef id_span_t* cell
    cdef uint64_t at
    larger.mask = ids.mask * 2 + 1
    larger.shift = ids.shift - 1
    larger.cells = <id_span_t*>memory_reserve(cells_size(&larger))
    if larger.cells == NULL:
        return False
    for at in range(ids.mask + 1):
        span = &ids.cells[at]
        if span.used == 0:
            continue
        cell = free_cell(&larger, span.number)
        cell[0] = span[0]
        if span == ids.newest:
            larger.newest = cell
    memory_release(ids.cells, cells_size(ids))
    ids[0] = larger
    return True
