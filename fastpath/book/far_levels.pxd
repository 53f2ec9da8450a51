# Ordered map of the pages of price levels away from the touch: page key -> page, smallest key first.
#
# Design: keys stand sorted in blocks of up to 64, the blocks in a sorted directory: two binary searches over contiguous memory
# and a short memmove. A full block splits, two small neighbours merge. Cost: O(log n) to find; an insert or erase also
# moves at most one block, and one time in 32 the directory's tail (16 bytes for every 32 levels or so).

from libc.stdint cimport uint32_t, uint64_t

from fastpath.model.structs cimport price_t

cdef enum:
    FAR_BLOCK = 64

cdef struct far_block_t:
    uint32_t count
    uint32_t levels[FAR_BLOCK]
    price_t  keys[FAR_BLOCK]

cdef struct far_entry_t:          # directory
    price_t first                 # smallest key of the block
    far_block_t* block

cdef struct far_t:
    far_entry_t* directory
    far_block_t* spare            # for the next split; while there is one, the directory has room for it too
    uint32_t blocks
    uint32_t capacity             # of the directory
    uint64_t count                # levels

cdef bint far_prepare(far_t* far) noexcept nogil                 # fill the spare; False: out of memory
cdef void far_close(far_t* far) noexcept nogil
cdef uint32_t far_find(const far_t* far, price_t key) noexcept nogil              # level, or NIL
cdef void far_insert(far_t* far, price_t key, uint32_t level) noexcept nogil      # key is new, spare is filled
cdef void far_erase(far_t* far, price_t key) noexcept nogil                       # key is there
# The level of the smallest key that is >= `key`, and that key; NIL: there is none.
cdef uint32_t far_from(const far_t* far, price_t key, price_t* found) noexcept nogil
