"""Map from keys to rows that come and go. Described in row_map.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

cdef enum:
    FIRST_CELLS_LOG2 = 10


cdef bint row_map_init(row_map_t* rows) noexcept nogil:
    rows.cells = <row_cell_t*>calloc(1 << FIRST_CELLS_LOG2, sizeof(row_cell_t))
    rows.mask = (1 << FIRST_CELLS_LOG2) - 1
    rows.count = 0
    rows.shift = 64 - FIRST_CELLS_LOG2
    return rows.cells != NULL


cdef void row_map_free(row_map_t* rows) noexcept nogil:
    free(rows.cells)
    rows.cells = NULL


cdef bint row_map_reserve(row_map_t* rows) noexcept nogil:
    cdef row_map_t larger
    cdef uint64_t at
    if rows.count * 2 <= rows.mask:
        return True
    larger.mask = rows.mask * 2 + 1
    larger.count = 0
    larger.shift = rows.shift - 1
    larger.cells = <row_cell_t*>calloc(larger.mask + 1, sizeof(row_cell_t))
    if larger.cells == NULL:
        return False
    for at in range(rows.mask + 1):
        if rows.cells[at].row != 0:
            row_map_put(&larger, rows.cells[at].key, <uint32_t>(rows.cells[at].row - 1))
    free(rows.cells)
    rows[0] = larger
    return True


cdef void row_map_put(row_map_t* rows, uint64_t key, uint32_t row) noexcept nogil:
    cdef uint64_t at = row_map_home(rows, key)
    while rows.cells[at].row != 0:
        at = (at + 1) & rows.mask
    rows.cells[at].key = key
    rows.cells[at].row = <uint64_t>row + 1
    rows.count += 1


cdef void row_map_remove(row_map_t* rows, uint64_t key) noexcept nogil:
    cdef uint64_t hole = row_map_home(rows, key), at
    while rows.cells[hole].key != key or rows.cells[hole].row == 0:
        hole = (hole + 1) & rows.mask
    at = (hole + 1) & rows.mask
    while rows.cells[at].row != 0:
        # A cell may move up to the hole unless its search begins behind the hole.
        if ((at - row_map_home(rows, rows.cells[at].key)) & rows.mask) >= ((at - hole) & rows.mask):
            rows.cells[hole] = rows.cells[at]
            hole = at
        at = (at + 1) & rows.mask
    rows.cells[hole].row = 0
    rows.count -= 1
