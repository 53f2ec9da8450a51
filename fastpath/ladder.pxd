# One side of a book: its price levels in order, best first.
#
# A ladder knows keys, not prices: on the bid side the key is the complemented price (~price), so a smaller key is a better
# price on both sides, for every int64 price, and one code serves both.
#
# Design: levels near the touch stand in a window, an array of level numbers indexed by the low bits of the key (a ring: moving
# the window moves no level that stays in it) with a three-level occupancy bitmap; finding the next level over any gap is three
# bit scans. Levels outside the window stand in an ordered map (far). Nothing depends on where the window is but speed: each
# level outside that comes or goes counts as a miss, and when misses have paid for moving what is in the window, it is moved to the touch,
# or widened if it is there already. So a command costs O(log n) on average, whatever the prices do.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.far cimport far_find, far_t
from fastpath.model cimport price_t, qty_t
from fastpath.pool cimport NIL

cdef extern from *:
    int __builtin_ctzll(uint64_t) nogil
    void __builtin_prefetch(const void*) nogil

cdef struct ladder_t:             # 128 bytes
    price_t   best_key            # meaningful while best is not NIL
    uint32_t  best                # level with the smallest key, NIL: no order rests here
    uint32_t  orders              # resting orders
    qty_t     open_qty            # everything open, reserves included; never overflows
    uint64_t  refills             # refills still to come of the icebergs here
    price_t   base                # the window covers base .. base + width - 1
    uint64_t  width               # a power of two; 0 until the first order
    uint32_t* cells               # level by key & (width - 1), NIL: none
    uint64_t* words               # bit per cell
    uint64_t* summary             # bit per word
    uint64_t  top                 # bit per summary word
    uint32_t  near                # levels in the window
    uint32_t  misses              # see above
    far_t     far
    uint64_t  unused              # a power of two in size, so that choosing a side is a shift

cdef void ladder_init(ladder_t* ladder) noexcept nogil
cdef void ladder_close(ladder_t* ladder) noexcept nogil
cdef bint ladder_prepare(ladder_t* ladder) noexcept nogil
cdef void ladder_insert_far(ladder_t* ladder, price_t key, uint32_t level) noexcept nogil
cdef void ladder_erase_far(ladder_t* ladder, price_t key) noexcept nogil
cdef void ladder_start(ladder_t* ladder, price_t key) noexcept nogil
# The best level with a key > `key`, and its key; NIL: there is none.
cdef uint32_t ladder_after(const ladder_t* ladder, price_t key, price_t* found) noexcept nogil

cdef inline uint64_t ladder_levels(const ladder_t* ladder) noexcept nogil:
    """How many price levels there are."""
    return ladder.near + ladder.far.count

cdef inline bint ladder_reserve(ladder_t* ladder) noexcept nogil:
    """Make sure one more level has room. False: out of memory."""
    return ladder.far.spare != NULL or ladder_prepare(ladder)

cdef inline bint in_window(const ladder_t* ladder, price_t key) noexcept nogil:
    return <uint64_t>key - <uint64_t>ladder.base < ladder.width

cdef inline uint64_t cell_of(const ladder_t* ladder, price_t key) noexcept nogil:
    return <uint64_t>key & (ladder.width - 1)

cdef inline uint32_t ladder_find(const ladder_t* ladder, price_t key) noexcept nogil:
    """The level of `key`, or NIL."""
    if in_window(ladder, key):
        return ladder.cells[cell_of(ladder, key)]
    return far_find(&ladder.far, key)

cdef inline void window_put(ladder_t* ladder, price_t key, uint32_t level) noexcept nogil:
    cdef uint64_t cell = cell_of(ladder, key)
    ladder.cells[cell] = level
    ladder.words[cell >> 6] |= <uint64_t>1 << (cell & 63)
    ladder.summary[cell >> 12] |= <uint64_t>1 << ((cell >> 6) & 63)
    ladder.top |= <uint64_t>1 << (cell >> 12)
    ladder.near += 1

cdef inline void window_take(ladder_t* ladder, price_t key) noexcept nogil:
    cdef uint64_t cell = cell_of(ladder, key)
    ladder.cells[cell] = NIL
    ladder.words[cell >> 6] &= ~(<uint64_t>1 << (cell & 63))
    if ladder.words[cell >> 6] == 0:
        ladder.summary[cell >> 12] &= ~(<uint64_t>1 << ((cell >> 6) & 63))
        if ladder.summary[cell >> 12] == 0:
            ladder.top &= ~(<uint64_t>1 << (cell >> 12))
    ladder.near -= 1

cdef inline void ladder_insert(ladder_t* ladder, price_t key, uint32_t level) noexcept nogil:
    """Add a level. `key` is new, and ladder_reserve() said yes since the last insert."""
    if ladder.best == NIL:
        ladder_start(ladder, key)
    if ladder.best == NIL or key < ladder.best_key:
        ladder.best = level
        ladder.best_key = key
    if in_window(ladder, key):
        window_put(ladder, key, level)
    else:
        ladder_insert_far(ladder, key, level)

cdef inline void ladder_erase(ladder_t* ladder, price_t key) noexcept nogil:
    """Remove the level of `key`, which is there."""
    if in_window(ladder, key):
        window_take(ladder, key)
        if key == ladder.best_key:
            ladder.best = ladder_after(ladder, key, &ladder.best_key)
    else:
        ladder_erase_far(ladder, key)
