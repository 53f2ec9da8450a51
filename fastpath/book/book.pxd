# The order book of one instrument: four sides of price levels, each level a queue in time order.
#
# Displayed and hidden orders rest on sides of their own, so "hidden behind displayed at the same price" is the order in which
# the sides are asked, and everything displayed (depth, best, order-by-order view) never sees a hidden order.
# The book moves records and keeps totals. It decides nothing (that is matching) and never takes or gives back an order's slot.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.book.side cimport __builtin_prefetch, cell_of, in_window, side_leave_best, side_reserve, side_t, level_bit
from fastpath.model.structs cimport price_t, qty_t
from fastpath.book.pool cimport (
    LEVEL_HUGE, LEVEL_ICEBERG, NIL, PAGE_LEVELS, PAGE_SHIFT, level_side_index, level_side, level_t, likely, links_of, order_t, page_t, pool_t, unlikely,
)

cdef extern from *:
    bint add_overflows "__builtin_add_overflow"(qty_t, qty_t, qty_t*) nogil      # the sum wraps

cdef enum SideIndex:
    SIDE_INDEX_BID = 0
    SIDE_INDEX_ASK = 1
    SIDE_INDEX_HIDDEN_BID = 2
    SIDE_INDEX_HIDDEN_ASK = 3
    BOOK_SIDES = 4

cdef struct book_t:
    side_t sides[4]           # by SideIndex
    pool_t*  pool
    uint32_t number               # below 65,536, the owner's name for the book

cdef struct depth_t:              # one displayed price level
    price_t  price
    qty_t    qty
    uint32_t orders
    uint32_t unused

cdef struct resting_t:            # one resting order
    price_t  price
    qty_t    qty                  # displayed (an iceberg's slice); all of it for a hidden order
    qty_t    reserve              # behind the slice
    uint32_t slot
    uint8_t  side                 # Side
    uint8_t  hidden

# The complement that turns a price of this book_side into its key and back.
cdef inline price_t side_mask(uint32_t book_side) noexcept nogil:
    return -<price_t>((book_side & 1) ^ 1)

cdef inline uint32_t side_index_of(uint8_t side, bint hidden) noexcept nogil:
    """SideIndex of orders of `side` (SIDE_BUY 1, SIDE_SELL 2)."""
    return (side - 1) + 2 * <uint32_t>hidden

cdef inline price_t order_price(const pool_t* pool, uint32_t slot) noexcept nogil:
    """Limit price of a resting order."""
    cdef uint32_t level = pool.orders[slot].level
    return pool.levels[level].key ^ side_mask(level_side(level))

cdef inline uint8_t order_side(const pool_t* pool, uint32_t slot) noexcept nogil:
    """Side of a resting order."""
    return <uint8_t>(level_side(pool.orders[slot].level) + 1)

cdef inline bint order_hidden(const pool_t* pool, uint32_t slot) noexcept nogil:
    return level_side_index(&pool.levels[pool.orders[slot].level]) >= SIDE_INDEX_HIDDEN_BID

cdef inline bint book_best(const book_t* book, uint8_t side, price_t* price) noexcept nogil:
    """Best displayed price of a side; False (price untouched) when the side is empty."""
    cdef const side_t* book_side = &book.sides[side - 1]
    if book_side.best == NIL:
        return False
    price[0] = book_side.best_key ^ side_mask(side - 1)
    return True

cdef book_t* book_new(pool_t* pool, uint32_t number) noexcept nogil      # NULL: out of memory
cdef void book_free(book_t* book) noexcept nogil                         # its orders must be gone (or the pool goes too)

# What only icebergs need, kept out of the inlined paths below.
cdef void book_announce_iceberg(book_t* book, uint32_t slot, side_t* book_side, qty_t qty, qty_t display) noexcept nogil
cdef void book_forget_iceberg(book_t* book, uint32_t slot, side_t* book_side) noexcept nogil

cdef inline bint book_can_rest(book_t* book, uint8_t side, bint hidden) noexcept nogil:
    """True when one more order could be rested now: room for one more level."""
    return side_reserve(&book.sides[side_index_of(side, hidden)])

cdef inline void level_add(level_t* level, qty_t qty) noexcept nogil:
    """More quantity. What orders of several accounts come to has no bound."""
    if unlikely(add_overflows(level.qty, qty, &level.qty)):
        level.home |= LEVEL_HUGE

# What is displayed on a level, at most INT64_MAX.
cdef qty_t book_level_qty(const pool_t* pool, uint32_t handle) noexcept nogil

cdef inline void book_append(pool_t* pool, uint32_t slot, uint32_t handle) noexcept nogil:
    """Link an order behind the youngest of a level; totals are the caller's."""
    cdef level_t* level = &pool.levels[handle]
    cdef order_t* order = &pool.orders[slot]
    order.level = handle
    cdef uint32_t youngest = level.links.prev
    order.links.next = handle
    order.links.prev = youngest
    level.links.prev = slot
    links_of(pool, youngest).next = slot

cdef inline void book_unlink(pool_t* pool, uint32_t slot) noexcept nogil:
    """Take an order out of its level's queue; totals are the caller's."""
    cdef uint32_t before = pool.orders[slot].links.prev
    cdef uint32_t after = pool.orders[slot].links.next
    links_of(pool, before).next = after
    links_of(pool, after).prev = before

cdef inline uint32_t book_home(const book_t* book, uint32_t index) noexcept nogil:
    """The home of a level of this book_side."""
    return book.number << 2 | index

# What book_enter() and book_leave() do when a page comes or goes, or stands outside the window.
cdef uint32_t book_enter_page(pool_t* pool, side_t* book_side, uint32_t side, price_t key) noexcept nogil
cdef void book_leave_page(pool_t* pool, side_t* book_side, price_t key, uint32_t page) noexcept nogil

cdef inline uint32_t book_enter(pool_t* pool, side_t* book_side, uint32_t home, price_t key) noexcept nogil:
    """The level of `key`, used from now on, for an order that is about to be linked to it. book_can_rest() said yes.

    Whether it was used is nearly a coin toss near the touch of a thin book, and guessing wrong costs as much as all of
    this: so both cases take the same steps.
    """
    cdef uint32_t page = NIL
    cdef uint32_t handle
    if likely(in_window(book_side, key >> PAGE_SHIFT)):
        page = cell_of(book_side, key >> PAGE_SHIFT)[0]
    if unlikely(page == NIL):
        page = book_enter_page(pool, book_side, home & 1, key)
    handle = (page << PAGE_SHIFT) + level_bit(key)
    pool.levels[handle].key = key
    pool.levels[handle].home |= home
    book_side.pages[page].used |= <uint32_t>1 << level_bit(key)
    if unlikely(key < book_side.best_key):
        book_side.best_key = key
        book_side.best = handle
    return handle

cdef inline void book_leave(pool_t* pool, side_t* book_side, uint32_t handle) noexcept nogil:
    """An order has left a level: if it was the last, the level is not used any more. As book_enter(), without asking which."""
    cdef page_t* page = &book_side.pages[handle >> PAGE_SHIFT]
    cdef level_t* level = &pool.levels[handle]
    cdef uint32_t unused = level.count == 0
    page.used &= ~(unused << (handle & (PAGE_LEVELS - 1)))
    level.home &= unused - 1
    if unlikely((handle == book_side.best) & unused):
        side_leave_best(book_side)
        __builtin_prefetch(&pool.levels[book_side.best])     # the next taker starts there
    if unlikely(page.used == 0):
        book_leave_page(pool, book_side, level.key, handle >> PAGE_SHIFT)

cdef inline void book_rest(
    book_t* book, uint32_t slot, uint8_t side, bint hidden, price_t price, qty_t qty, qty_t display
) noexcept nogil:
    """Queue an order behind all others of its price. Slot taken, id and owner written, book_can_rest() said yes.

    display: size of an iceberg's slice, 0: show everything. A hidden order has no slices.
    """
    cdef uint32_t index = side_index_of(side, hidden)
    cdef side_t* book_side = &book.sides[index]
    cdef uint32_t handle = book_enter(book.pool, book_side, book_home(book, index), price ^ side_mask(index))
    cdef level_t* level = &book.pool.levels[handle]
    book_side.orders += 1
    book_side.open_qty += qty
    if display > 0 and not hidden:
        book_announce_iceberg(book, slot, book_side, qty, display)
        level.home |= LEVEL_ICEBERG
        qty = min(qty, display)
    book.pool.orders[slot].qty = qty
    level_add(level, qty)
    level.count += 1
    book_append(book.pool, slot, handle)

cdef inline void book_remove(book_t* book, uint32_t slot) noexcept nogil:
    """Take a resting order out. The slot stays the caller's: give it back to the pool."""
    cdef order_t* order = &book.pool.orders[slot]
    cdef uint32_t handle = order.level
    cdef level_t* level = &book.pool.levels[handle]
    cdef side_t* book_side = &book.sides[level_side_index(level)]
    book_side.orders -= 1
    book_side.open_qty -= order.qty
    if unlikely(level.home & LEVEL_ICEBERG):
        book_forget_iceberg(book, slot, book_side)
    book_unlink(book.pool, slot)
    order.level = NIL
    level.qty -= order.qty
    level.count -= 1
    book_leave(book.pool, book_side, handle)

# Less open quantity at the same place in the queue (reserve first, then the slice); 0 < by < order_leaves.
cdef void book_reduce(book_t* book, uint32_t slot, qty_t by) noexcept nogil

# Trade `qty` (at most orders[slot].qty) of a resting order. Writes what stays open; 0: it has left the book.
# Returns the size of the new slice if an iceberg's was used up (it went behind all others of its price), else 0.
cdef qty_t book_take(book_t* book, uint32_t slot, qty_t qty, qty_t* leaves) noexcept nogil

cdef uint32_t book_depth(const book_t* book, uint8_t side, depth_t* out, uint32_t n) noexcept nogil    # levels written, best first
cdef bint book_level(const book_t* book, uint8_t side, price_t price, depth_t* out) noexcept nogil    # displayed; False: no such level
# Resting orders of a side in priority order, displayed book_side first, then hidden (only if asked). Orders written.
cdef uint32_t book_orders(const book_t* book, uint8_t side, bint with_hidden, resting_t* out, uint32_t n) noexcept nogil

# First order of the queue at the best price of a book_side, and the order after `slot` in priority order; NIL at the end.
cdef uint32_t book_first(const book_t* book, uint32_t book_side) noexcept nogil
cdef uint32_t book_next(const book_t* book, uint32_t slot) noexcept nogil

cdef uint64_t book_hash(const book_t* book, uint64_t seed) noexcept nogil   # of everything resting, in priority order; not of slots
# Never crossed is matching's promise, not the book's: book_crossed() asks, over displayed and hidden orders.
cdef bint book_crossed(const book_t* book) noexcept nogil
cdef const char* book_validate(const book_t* book) noexcept nogil           # NULL: sound; else which invariant is broken (walks all)
