# One side of a book: its price levels in order, best first.
#
# A side knows keys, not prices: on the bid side the key is the complemented price (~price), so a smaller key is a better
# price on both sides, for every int64 price, and one code serves both.
#
# Design: a side is an ordered map from page keys (key >> PAGE_SHIFT) to pages of levels (pool.pxd); which levels of a page are
# used is a bit mask. Pages near the touch stand in a window, an array of page numbers indexed by the low bits of the page key (a
# ring: moving the window moves no page that stays in it) with a three-level occupancy bitmap; finding the next page over any gap is
# three bit scans. Pages outside the window stand in an ordered map (far). Nothing depends on where the window is but speed: each
# page outside that comes or goes counts as a miss, and when misses have paid for moving what is in the window, it is moved to the touch,
# or widened if it is there already. So a command costs O(log n) on average, whatever the prices do. No level ever moves.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.book.far_levels cimport far_find, far_t
from fastpath.model.structs cimport price_t, qty_t
from fastpath.book.pool cimport NIL, PAGE_LEVELS, PAGE_SHIFT, page_t

cdef extern from *:
    int __builtin_ctz(uint32_t) nogil
    int __builtin_ctzll(uint64_t) nogil
    void __builtin_prefetch(const void*) nogil

cdef struct side_t:             # 128 bytes: a power of two, so that choosing a side is a shift
    price_t   best_key            # INT64_MAX while best is NIL
    uint32_t  best                # level with the smallest key, NIL: no order rests here
    uint32_t  orders              # resting orders
    uint64_t  open_qty            # everything open, reserves included, modulo 2**64: a check of the book, no more
    price_t   base                # the window covers the page keys base .. base + width - 1
    uint32_t* cells               # page by page key & (width - 1), NIL: none
    page_t*   pages               # the pool's
    uint32_t  width               # a power of two; 0 until the first order
    uint32_t  icebergs            # resting orders with a display size
    uint64_t  refills             # refills still to come of the icebergs here
    uint64_t* words               # bit per cell
    uint64_t* summary             # bit per word
    uint64_t  top                 # bit per summary word
    uint32_t  near                # pages in the window
    uint32_t  misses              # see above
    far_t     far

cdef void side_init(side_t* book_side, page_t* pages) noexcept nogil
cdef void side_close(side_t* book_side) noexcept nogil
cdef bint side_prepare(side_t* book_side) noexcept nogil
# Add the page of a key, which is new; side_reserve() said yes since the last time. Take out the page of a key, which is there.
cdef void side_insert(side_t* book_side, price_t key, uint32_t page) noexcept nogil
cdef void side_erase(side_t* book_side, price_t key) noexcept nogil
# The best level with a key > `key`, and its key; NIL: there is none.
cdef uint32_t side_after(const side_t* book_side, price_t key, price_t* found) noexcept nogil
cdef void side_next_best(side_t* book_side) noexcept nogil      # no level of the best key's page is used any more

cdef inline bint side_reserve(side_t* book_side) noexcept nogil:
    """Make sure one more page has room. False: out of memory."""
    return book_side.far.spare != NULL or side_prepare(book_side)

cdef inline bint in_window(const side_t* book_side, price_t page_key) noexcept nogil:
    return <uint64_t>page_key - <uint64_t>book_side.base < book_side.width

cdef inline uint32_t* cell_of(const side_t* book_side, price_t page_key) noexcept nogil:
    return &book_side.cells[<uint32_t>page_key & (book_side.width - 1)]

cdef inline uint32_t level_bit(price_t key) noexcept nogil:
    """Which level of its page."""
    return <uint32_t>key & (PAGE_LEVELS - 1)

cdef inline uint32_t side_page(const side_t* book_side, price_t page_key) noexcept nogil:
    """The page of a page key, or NIL."""
    return cell_of(book_side, page_key)[0] if in_window(book_side, page_key) else far_find(&book_side.far, page_key)

cdef inline uint32_t side_find(const side_t* book_side, price_t key) noexcept nogil:
    """The level of `key`, or NIL if no order rests there."""
    cdef uint32_t page = side_page(book_side, key >> PAGE_SHIFT)
    return (page << PAGE_SHIFT) + level_bit(key) if book_side.pages[page].used >> level_bit(key) & 1 else NIL

cdef inline void side_leave_best(side_t* book_side) noexcept nogil:
    """The level of the best key is not used any more: find the next. Mostly it is on the same page."""
    cdef uint32_t rest = book_side.pages[book_side.best >> PAGE_SHIFT].used >> (book_side.best & (PAGE_LEVELS - 1))
    if rest == 0:
        side_next_best(book_side)
        return
    book_side.best += __builtin_ctz(rest)
    book_side.best_key += __builtin_ctz(rest)
