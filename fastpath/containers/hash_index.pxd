# Hash index over rows that hold their own keys: hash -> row number. It only grows; rows are never taken out.
#
# Unlike pool.id_map (ids come and go, bounded by the open orders) this indexes things that are kept for ever, so its cells are
# small (8 bytes: 32 bits of hash, row number) and the table grows as it fills. A lookup yields candidates with the same
# hash; the caller compares the key in the row:
#
#     cursor = index_start(index, hash)
#     while True:
#         row = index_next(index, hash, &cursor)
#         if row == NO_ROW or rows[row].key == key:
#             return row

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    NO_ROW = 0xFFFFFFFF

cdef struct index_cell_t:
    uint32_t hash
    uint32_t row                 # row + 1; 0: empty

cdef struct index_t:
    index_cell_t* cells
    uint32_t mask                # number of cells - 1
    uint32_t count

cdef bint index_init(index_t* index) noexcept nogil                             # False: out of memory
cdef void index_free(index_t* index) noexcept nogil
cdef bint index_reserve(index_t* index) noexcept nogil                          # room for one more; False: out of memory
cdef void index_insert(index_t* index, uint32_t hash, uint32_t row) noexcept nogil    # after index_reserve; the key is new


cdef inline uint32_t index_start(const index_t* index, uint32_t hash) noexcept nogil:
    return hash & index.mask


cdef inline uint32_t index_next(const index_t* index, uint32_t hash, uint32_t* cursor) noexcept nogil:
    cdef const index_cell_t* cell
    while True:
        cell = &index.cells[cursor[0]]
        if cell.row == 0:
            return NO_ROW
        cursor[0] = (cursor[0] + 1) & index.mask
        if cell.hash == hash:
            return cell.row - 1
