# Price-time matching: the one place that decides what an incoming order does.
#
# match_order() first decides (nothing has moved yet), then trades, then rests or cancels what is left. It writes what happened to
# resting orders into a sink the caller drains. It never takes or gives back slots: the caller takes the taker's slot before
# the call, and afterwards gives back the slot of each maker whose maker_leaves is 0, and the taker's unless it rests.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastpath.book.book cimport SIDE_INDEX_HIDDEN_BID, book_t, side_mask
from fastpath.book.side cimport side_after, side_t
from fastpath.model.enums cimport SELF_TRADE_PREVENTION_NONE
from fastpath.model.structs cimport money_t, price_t, qty_t
from fastpath.book.pool cimport NIL, pool_t

cdef enum TakerFlag:
    TAKER_POST_ONLY = 1           # would take: reject. With an order that only takes (IOC, MARKET, ...) or min_qty: INVALID_COMMAND
    TAKER_SLIDE = 2               # would take: rest one tick short of the best opposite price instead (implies POST_ONLY)
    TAKER_HIDDEN = 4              # rests hidden
    TAKER_MARKET = 8              # never rests; price is the protection (buy: INT64_MAX, sell: INT64_MIN for none)
    TAKER_MARKET_TO_LIMIT = 16    # as MARKET, but what is left rests at the last fill price
    TAKER_PAUSES = 32             # after each fill, so that what follows from it comes before the next: see MATCH_PAUSED

cdef struct incoming_t:
    uint32_t slot                 # pool slot; orders[slot].id is written by the caller
    uint32_t owner                # self-trade prevention group, 0: none
    uint8_t  side                 # Side
    uint8_t  time_in_force        # TimeInForce: IOC and FOK never rest, all others do
    uint8_t  stp_mode             # SelfTradePrevention
    uint8_t  flags                # TakerFlag set
    price_t  price                # worst price it may trade at
    qty_t    qty                  # > 0
    qty_t    min_qty              # trade at least this at once, or reject; 0: no such wish
    qty_t    display_qty          # iceberg slice; 0: show all

cdef enum FillKind:
    FILL_TRADE = 0                # qty traded at price
    FILL_MAKER_CANCELED = 1       # self-trade prevention took the maker out; qty = what was open, maker_leaves 0
    FILL_DECREMENTED = 2          # self-trade prevention took qty off both, no trade

cdef struct fill_t:               # 40 bytes: what happened to one resting order
    uint8_t  kind                 # FillKind
    uint8_t  unused[3]
    uint32_t maker                # slot
    price_t  price                # the maker's
    qty_t    qty
    qty_t    maker_leaves         # all that is open of it afterwards; 0: it has left the book
    qty_t    refill               # > 0: the slice was used up, this new one went to the back of the queue

cdef struct sink_t:               # owned by the caller, reused from call to call: set count to 0 after draining
    fill_t*  fills
    uint32_t count
    uint32_t capacity

cdef enum MatchOutcome:
    MATCH_REJECTED = 0            # reject_reason; nothing changed
    MATCH_FILLED = 1              # leaves 0, all traded
    MATCH_RESTED = 2              # leaves rests at price, after `filled` traded (perhaps 0)
    MATCH_CANCELED = 3            # cancel_reason; leaves is what was canceled, after `filled` traded (perhaps 0)
    MATCH_PAUSED = 4              # the sink has a fill, and there is more to do: match_resume()

cdef struct match_t:
    uint8_t  outcome              # MatchOutcome
    uint8_t  reject_reason        # RejectReason
    uint8_t  cancel_reason        # CancelReason
    uint8_t  kept_priority        # amend_order: reduced in place
    price_t  price                # RESTED: resting price (differs from the taker's after a slide, or market-to-limit)
    qty_t    filled               # traded
    qty_t    decremented          # taken off by DECREMENT_AND_CANCEL
    qty_t    leaves               # qty - filled - decremented

cdef inline uint32_t next_level(
    const book_t* book, uint32_t side, uint32_t* shown, uint32_t* hidden
) noexcept nogil:
    """Step through the levels of both sides of a side as a taker meets them; NIL at the end."""
    cdef const pool_t* pool = book.pool
    cdef price_t key = 0
    cdef uint32_t handle
    if hidden[0] != NIL and (shown[0] == NIL or pool.levels[hidden[0]].key < pool.levels[shown[0]].key):
        handle = hidden[0]
        hidden[0] = side_after(&book.sides[SIDE_INDEX_HIDDEN_BID + side], pool.levels[handle].key, &key)
    else:
        handle = shown[0]
        if handle != NIL:
            shown[0] = side_after(&book.sides[side], pool.levels[handle].key, &key)
    return handle


cdef inline bint match_crosses(const book_t* book, uint8_t side, price_t price) noexcept nogil:
    """Would an order of `side` at `price` meet anybody? If not, a plain limit order only rests: book_rest() is all it needs."""
    cdef const side_t* shown = &book.sides[side & 1]
    cdef const side_t* hidden = &book.sides[SIDE_INDEX_HIDDEN_BID + (side & 1)]
    cdef price_t limit = price ^ side_mask(side & 1)
    return (shown.best_key <= limit and shown.best != NIL) or (hidden.best != NIL and hidden.best_key <= limit)

cdef inline uint64_t match_fill_bound(const book_t* book, const incoming_t* taker) noexcept nogil:
    """How many fills this order can cause at most, at a glance; 0: nothing crosses. See match_fills_within()."""
    cdef const side_t* shown = &book.sides[taker.side & 1]
    cdef const side_t* hidden = &book.sides[SIDE_INDEX_HIDDEN_BID + (taker.side & 1)]
    cdef price_t limit = taker.price ^ side_mask(taker.side & 1)
    cdef uint64_t bound = 0
    if shown.best != NIL and shown.best_key <= limit:
        bound += shown.orders + shown.refills
    if hidden.best != NIL and hidden.best_key <= limit:
        bound += hidden.orders
    if taker.stp_mode <= SELF_TRADE_PREVENTION_NONE and <uint64_t>taker.qty < bound:
        bound = <uint64_t>taker.qty
    return bound

# Does it cause `most` fills at most? Found out by walking along those it would meet, no further than `most` of them.
cdef bint match_fills_within(const book_t* book, const incoming_t* taker, uint64_t most) noexcept nogil

cdef bint sink_init(sink_t* sink, uint32_t capacity) noexcept nogil    # False: out of memory. Grows when a taker needs more
cdef void sink_close(sink_t* sink) noexcept nogil

cdef void match_order(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil

# Go on after MATCH_PAUSED with the same taker and result; the sink has been drained. Resting orders may have shrunk or gone meanwhile.
cdef void match_resume(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil

# The reason match_order would reject with, 0 if it would not. Changes nothing but memory it may reserve.
cdef uint8_t match_check(book_t* book, const incoming_t* taker, sink_t* sink) noexcept nogil

# What `taker` could trade now (under self-trade prevention), counted up to `need`; nothing moves.
cdef qty_t match_fillable(const book_t* book, const incoming_t* taker, qty_t need) noexcept nogil

# Change a resting order (slot, side, flags, owner, ... as it was placed) to taker.price and taker.qty = new open quantity.
# Price equal and quantity not above the open one: reduced in place, priority kept, outcome RESTED. Otherwise it is taken out and
# arrives anew (it may trade). REJECTED (say, post-only would take): the order rests on as it was. The slot stays the same.
cdef void amend_order(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil

# As amend_order, but it always arrives anew, at the back of the queue.
cdef void replace_order(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil

# What a MARKET-like taker would pay: quote ticks x lots of the first `qty` lots at prices up to `limit`, without self-trade
# prevention. Writes the quantity found and the worst price touched.
cdef void match_cost(const book_t* book, uint8_t side, price_t limit, qty_t qty, qty_t* found, money_t* cost, price_t* worst) noexcept nogil
