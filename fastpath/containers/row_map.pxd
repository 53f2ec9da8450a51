# Map from a 64-bit key to the number of the row that holds it, for tables whose rows come and go.
#
# Open addressing with linear probing, at most half full; a cell holds its key, so a search touches one or two cache lines.
# A removal moves the cells behind it up, so that there are no tombstones and searches stay short for ever. (hash_index.pxd is for rows
# that are kept for ever, pool.id_map for the open orders of a book.)

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    NO_ROW = 0xFFFFFFFF

cdef struct row_cell_t:
    uint64_t key
    uint64_t row                 # row + 1; 0: empty

cdef struct row_map_t:
    row_cell_t* cells
    uint64_t mask                # number of cells - 1
    uint64_t count
    uint32_t shift               # 64 - log2(number of cells)

cdef bint row_map_init(row_map_t* rows) noexcept nogil                          # False: out of memory
cdef void row_map_free(row_map_t* rows) noexcept nogil
cdef bint row_map_reserve(row_map_t* rows) noexcept nogil                       # room for one more; False: out of memory
cdef void row_map_put(row_map_t* rows, uint64_t key, uint32_t row) noexcept nogil    # after row_map_reserve; the key is new
cdef void row_map_remove(row_map_t* rows, uint64_t key) noexcept nogil          # the key is there


cdef inline uint64_t row_map_home(const row_map_t* rows, uint64_t key) noexcept nogil:
    """The cell where a search begins."""
    return (key * <uint64_t>0x9E3779B97F4A7C15) >> rows.shift


cdef inline uint32_t row_map_get(const row_map_t* rows, uint64_t key) noexcept nogil:
    """NO_ROW if the key is not there."""
    cdef uint64_t at = row_map_home(rows, key)
    while rows.cells[at].row != 0:
        if rows.cells[at].key == key:
            return <uint32_t>(rows.cells[at].row - 1)
        at = (at + 1) & rows.mask
    return NO_ROW
