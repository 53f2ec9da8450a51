# A venue's displayed book, mirrored: what paper orders trade against.
#
# The venue's book arrives level by level (MIRROR_BEGIN, MIRROR_LEVEL best first, MIRROR_END). A paper taker walks the book snapshot and
# consumes what it takes: a level's consumed quantity is remembered from book snapshot to book snapshot for as long as the venue displays
# the price, and never exceeds what is displayed, so no displayed quantity fills twice. Beyond the last level of a book snapshot nothing
# is known: what was consumed there is remembered until a book snapshot gets there. Paper orders that rest do so in a book
# of their own: they trade with the venue only, never with each other, so that book may well be crossed.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastpath.book.book cimport book_t
from fastpath.book.matching cimport match_t, sink_t, incoming_t
from fastpath.model.enums cimport SIDE_BUY
from fastpath.model.structs cimport money_t, price_t, qty_t
from fastpath.book.pool cimport pool_t

cdef enum:
    MIRROR_LEVELS = 200           # displayed levels kept a side; the venue's deeper ones are left out

cdef struct shown_level_t:
    price_t price
    qty_t   qty                   # as the venue displays it
    qty_t   consumed              # of it taken by paper orders already

cdef struct shown_side_t:
    shown_level_t levels[MIRROR_LEVELS]    # best first
    uint32_t count
    shown_level_t beyond[MIRROR_LEVELS]    # worse than all levels: what was consumed there; the worst are forgotten
    uint32_t beyond_count

cdef struct mirror_t:
    shown_side_t shown[2]         # by side - 1
    shown_side_t incoming[2]      # the book snapshot being received
    uint8_t  state                # MirrorState
    uint8_t  incoming_state       # MirrorState announced by MIRROR_BEGIN
    uint8_t  receiving            # between MIRROR_BEGIN and MIRROR_END
    uint8_t  broken               # the book snapshot being received is not one
    book_t*  resting              # paper orders

cdef mirror_t* mirror_new(pool_t* pool, uint32_t instrument) noexcept nogil       # NULL: out of memory
cdef void mirror_free(mirror_t* mirror) noexcept nogil                            # NULL is allowed

cdef void mirror_begin(mirror_t* mirror, uint8_t state) noexcept nogil
# False: not a level (no book snapshot begun, out of order, not positive); the book snapshot will be refused at its end.
cdef bint mirror_level(mirror_t* mirror, uint8_t side, price_t price, qty_t qty) noexcept nogil
# False: there is no book snapshot, or it is broken or crossed; the mirror is STALE now.
cdef bint mirror_end(mirror_t* mirror) noexcept nogil

# match_order() against the book snapshot: the same taker, outcomes and reasons; a fill's maker is NIL, the venue. What is left
# rests among the paper orders. Self-trade prevention has nothing to prevent; there is nothing hidden.
cdef void mirror_match(mirror_t* mirror, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil

# The reason mirror_match would refuse with, 0 if it would not.
cdef uint8_t mirror_check(const mirror_t* mirror, const incoming_t* taker) noexcept nogil

# Whether the book snapshot's opposite side has something left for an order of `side` at this price.
cdef bint mirror_reaches(const mirror_t* mirror, uint8_t side, price_t limit) noexcept nogil

# match_cost() against the book snapshot.
cdef void mirror_cost(const mirror_t* mirror, uint8_t side, price_t limit, qty_t qty,
                      qty_t* found, money_t* cost, price_t* worst) noexcept nogil

# Take up to `qty` of what is displayed on the opposite side at `limit` or better; returns how much.
cdef qty_t mirror_consume(mirror_t* mirror, uint8_t side, price_t limit, qty_t qty) noexcept nogil

# Quantity displayed at a price of a side; -1 if the price is worse than all the book snapshot shows.
cdef qty_t mirror_displayed(const mirror_t* mirror, uint8_t side, price_t price) noexcept nogil

cdef uint64_t mirror_hash(const mirror_t* mirror, uint64_t seed) noexcept nogil


cdef inline bint mirror_best(const mirror_t* mirror, uint8_t side, price_t* price) noexcept nogil:
    """Best displayed price of a side; False (price untouched) when it is empty."""
    if mirror.shown[side - 1].count == 0:
        return False
    price[0] = mirror.shown[side - 1].levels[0].price
    return True


cdef inline bint worse(uint8_t side, price_t price, price_t than) noexcept nogil:
    """Whether a price of this book side is worse than another: lower for bids, higher for asks."""
    return price < than if side == SIDE_BUY else price > than
