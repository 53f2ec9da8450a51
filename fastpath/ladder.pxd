# One side of a book: the ordered set of its price levels, best first.
#
# A ladder knows keys, not prices: on the bid side the key is the complemented price (~price), so a smaller key is a better
# price on both sides, for every int64 price, and one code serves both.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.model cimport price_t, qty_t


cdef struct far_t:
    price_t  key
    uint32_t level
    uint32_t unused

cdef struct ladder_t:
    price_t  best_key             # meaningful while best is not NIL
    uint32_t best                 # level with the smallest key, NIL: no order rests here
    uint32_t orders               # resting orders
    qty_t    open_qty             # everything open, reserves included; never overflows
    uint64_t refills              # refills still to come of the icebergs here (at most)
    uint32_t count                # levels
    uint32_t far_capacity
    far_t*   far                  # levels, worst first

cdef void ladder_init(ladder_t* ladder) noexcept nogil
cdef void ladder_close(ladder_t* ladder) noexcept nogil
cdef bint ladder_reserve(ladder_t* ladder) noexcept nogil            # room for one more level; False: out of memory
cdef uint32_t ladder_find(const ladder_t* ladder, price_t key) noexcept nogil        # level, or NIL
cdef void ladder_insert(ladder_t* ladder, price_t key, uint32_t level) noexcept nogil    # after ladder_reserve; key is new
cdef void ladder_erase(ladder_t* ladder, price_t key) noexcept nogil
cdef uint32_t ladder_after(const ladder_t* ladder, price_t key) noexcept nogil       # best level worse than key, or NIL
