"""A venue's displayed book, mirrored. Described in mirror.pxd."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastpath.model.arith cimport mix
from fastpath.book.book cimport book_can_rest, book_free, book_hash, book_new, book_rest
from fastpath.book.matching cimport (
    FILL_TRADE,
    MATCH_CANCELED,
    MATCH_FILLED,
    MATCH_REJECTED,
    MATCH_RESTED,
    TAKER_MARKET,
    TAKER_MARKET_TO_LIMIT,
    TAKER_POST_ONLY,
    TAKER_SLIDE,
    fill_t,
    match_t,
    sink_t,
    incoming_t,
)
from fastpath.model.enums cimport (
    CANCEL_REASON_IOC_REMAINDER,
    CANCEL_REASON_MARKET_REMAINDER,
    MIRROR_LIVE,
    MIRROR_STALE,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_FOK_NOT_FILLABLE,
    REJECT_REASON_MIN_QTY_NOT_FILLABLE,
    REJECT_REASON_NO_LIQUIDITY,
    REJECT_REASON_SLIPPAGE_LIMIT,
    REJECT_REASON_STALE_MARKET_DATA,
    REJECT_REASON_WOULD_TAKE_LIQUIDITY,
    SIDE_BUY,
    SIDE_SELL,
    TIME_IN_FORCE_FOK,
    TIME_IN_FORCE_IOC,
)
from fastpath.model.structs cimport money_t, price_t, qty_t
from fastpath.book.pool cimport NIL, pool_t


cdef mirror_t* mirror_new(pool_t* pool, uint32_t instrument) noexcept nogil:
    cdef mirror_t* mirror = <mirror_t*>calloc(1, sizeof(mirror_t))
    if mirror == NULL:
        return NULL
    mirror.resting = book_new(pool, instrument)
    if mirror.resting == NULL:
        mirror_free(mirror)
        return NULL
    return mirror


cdef void mirror_free(mirror_t* mirror) noexcept nogil:
    if mirror == NULL:
        return
    if mirror.resting != NULL:
        book_free(mirror.resting)
    free(mirror)


# -- the book snapshot --

cdef void mirror_begin(mirror_t* mirror, uint8_t state) noexcept nogil:
    mirror.incoming[0].count = mirror.incoming[1].count = 0
    mirror.incoming[0].beyond_count = mirror.incoming[1].beyond_count = 0
    mirror.broken = 0
    mirror.receiving = 1
    mirror.incoming_state = state
    if state != MIRROR_LIVE:
        mirror.state = MIRROR_STALE


cdef bint mirror_level(mirror_t* mirror, uint8_t side, price_t price, qty_t qty) noexcept nogil:
    cdef shown_side_t* incoming
    cdef shown_level_t* level
    if not mirror.receiving or not SIDE_BUY <= side <= SIDE_SELL or price <= 0 or qty <= 0:
        mirror.broken = 1
        return False
    incoming = &mirror.incoming[side - 1]
    if incoming.count > 0 and not worse(side, price, incoming.levels[incoming.count - 1].price):
        mirror.broken = 1
        return False
    if incoming.count < MIRROR_LEVELS:
        level = &incoming.levels[incoming.count]
        level.price = price
        level.qty = qty
        level.consumed = 0
        incoming.count += 1
    return True


cdef void remember_consumed(const shown_side_t* old, shown_side_t* new, uint8_t side) noexcept nogil:
    """Carry over what was consumed: at a price the new book snapshot shows, never more than is displayed now; at a price worse
    than all it shows, as it was. What it should show and does not is gone."""
    cdef uint32_t total = old.count + old.beyond_count
    cdef uint32_t i, j = 0
    cdef shown_level_t level
    new.beyond_count = 0
    for i in range(total):
        level = old.levels[i] if i < old.count else old.beyond[i - old.count]
        while j < new.count and worse(side, level.price, new.levels[j].price):
            j += 1
        if j < new.count and new.levels[j].price == level.price:
            new.levels[j].consumed = min(level.consumed, new.levels[j].qty)
        elif j == new.count and level.consumed > 0 and new.beyond_count < MIRROR_LEVELS:
            level.qty = level.consumed
            new.beyond[new.beyond_count] = level
            new.beyond_count += 1


cdef bint mirror_end(mirror_t* mirror) noexcept nogil:
    cdef shown_side_t* bids = &mirror.incoming[0]
    cdef shown_side_t* asks = &mirror.incoming[1]
    cdef bint crossed = bids.count > 0 and asks.count > 0 and bids.levels[0].price >= asks.levels[0].price
    if not mirror.receiving or mirror.broken or crossed:
        mirror.state = MIRROR_STALE
        mirror.receiving = 0
        return False
    mirror.receiving = 0
    if mirror.incoming_state != MIRROR_LIVE:
        return True
    remember_consumed(&mirror.shown[0], bids, SIDE_BUY)
    remember_consumed(&mirror.shown[1], asks, SIDE_SELL)
    mirror.shown[0] = bids[0]
    mirror.shown[1] = asks[0]
    mirror.state = MIRROR_LIVE
    return True


cdef qty_t mirror_displayed(const mirror_t* mirror, uint8_t side, price_t price) noexcept nogil:
    cdef const shown_side_t* shown = &mirror.shown[side - 1]
    cdef uint32_t i
    for i in range(shown.count):
        if shown.levels[i].price == price:
            return shown.levels[i].qty
        if worse(side, shown.levels[i].price, price):
            return 0
    return -1


cdef uint64_t side_hash(const shown_side_t* shown, uint64_t seed) noexcept nogil:
    cdef uint64_t h = mix(mix(seed, shown.count), shown.beyond_count)
    cdef uint32_t i
    for i in range(shown.beyond_count):
        h = mix(mix(h, <uint64_t>shown.beyond[i].price), <uint64_t>shown.beyond[i].consumed)
    for i in range(shown.count):
        h = mix(mix(h, <uint64_t>shown.levels[i].price), <uint64_t>shown.levels[i].qty)
        h = mix(h, <uint64_t>shown.levels[i].consumed)
    return h


cdef uint64_t mirror_hash(const mirror_t* mirror, uint64_t seed) noexcept nogil:
    cdef uint64_t h = mix(seed, mirror.state | mirror.receiving << 8 | mirror.broken << 16 | mirror.incoming_state << 24)
    h = side_hash(&mirror.shown[1], side_hash(&mirror.shown[0], h))
    if mirror.receiving:
        h = side_hash(&mirror.incoming[1], side_hash(&mirror.incoming[0], h))
    return book_hash(mirror.resting, h)


# -- taking --

cdef inline bint crosses(uint8_t side, price_t limit, price_t opposite) noexcept nogil:
    """Whether a taker of `side` with this limit trades at a price of the opposite side."""
    return opposite <= limit if side == SIDE_BUY else opposite >= limit


cdef void mirror_cost(const mirror_t* mirror, uint8_t side, price_t limit, qty_t qty,
                      qty_t* found, money_t* cost, price_t* worst) noexcept nogil:
    cdef const shown_side_t* opposite = &mirror.shown[side & 1]
    cdef const shown_level_t* level
    cdef qty_t step
    cdef uint32_t i
    found[0] = 0
    cost[0] = 0
    for i in range(opposite.count):
        level = &opposite.levels[i]
        if found[0] == qty or not crosses(side, limit, level.price):
            break
        step = min(qty - found[0], level.qty - level.consumed)
        if step > 0:
            worst[0] = level.price
            found[0] += step
            cost[0] += <money_t>step * level.price


cdef bint mirror_reaches(const mirror_t* mirror, uint8_t side, price_t limit) noexcept nogil:
    cdef const shown_side_t* opposite = &mirror.shown[side & 1]
    cdef uint32_t i
    for i in range(opposite.count):
        if not crosses(side, limit, opposite.levels[i].price):
            return False
        if opposite.levels[i].qty > opposite.levels[i].consumed:
            return True
    return False


cdef qty_t available(const mirror_t* mirror, const incoming_t* taker) noexcept nogil:
    """What the taker could take now, counted up to its quantity."""
    cdef const shown_side_t* opposite = &mirror.shown[taker.side & 1]
    cdef qty_t found = 0
    cdef uint32_t i
    for i in range(opposite.count):
        if found == taker.qty or not crosses(taker.side, taker.price, opposite.levels[i].price):
            break
        found += min(taker.qty - found, opposite.levels[i].qty - opposite.levels[i].consumed)
    return found


cdef qty_t mirror_consume(mirror_t* mirror, uint8_t side, price_t limit, qty_t qty) noexcept nogil:
    cdef shown_side_t* opposite = &mirror.shown[side & 1]
    cdef qty_t left = qty
    cdef qty_t step
    cdef uint32_t i
    for i in range(opposite.count):
        if left == 0 or not crosses(side, limit, opposite.levels[i].price):
            break
        step = min(left, opposite.levels[i].qty - opposite.levels[i].consumed)
        opposite.levels[i].consumed += step
        left -= step
    return qty - left


cdef inline bint never_rests(const incoming_t* taker) noexcept nogil:
    return (taker.time_in_force == TIME_IN_FORCE_IOC or taker.time_in_force == TIME_IN_FORCE_FOK
            or taker.flags & TAKER_MARKET)


cdef uint8_t mirror_check(const mirror_t* mirror, const incoming_t* taker) noexcept nogil:
    cdef const shown_side_t* opposite = &mirror.shown[taker.side & 1]
    cdef bint marketable = opposite.count > 0 and crosses(taker.side, taker.price, opposite.levels[0].price)
    cdef qty_t found
    if mirror.state != MIRROR_LIVE:
        return REJECT_REASON_STALE_MARKET_DATA
    if taker.flags & (TAKER_POST_ONLY | TAKER_SLIDE):
        if marketable and not taker.flags & TAKER_SLIDE:
            return REJECT_REASON_WOULD_TAKE_LIQUIDITY
    else:
        found = available(mirror, taker)
        if taker.flags & (TAKER_MARKET | TAKER_MARKET_TO_LIMIT) and found == 0:
            return REJECT_REASON_SLIPPAGE_LIMIT if opposite.count > 0 and not marketable else REJECT_REASON_NO_LIQUIDITY
        if taker.time_in_force == TIME_IN_FORCE_FOK and found < taker.qty:
            return REJECT_REASON_FOK_NOT_FILLABLE
        if found < taker.min_qty:
            return REJECT_REASON_MIN_QTY_NOT_FILLABLE
    if not never_rests(taker) and not book_can_rest(mirror.resting, taker.side, False):
        return REJECT_REASON_CAPACITY
    return 0


cdef void take(mirror_t* mirror, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil:
    """Walk the displayed levels, best first. A sink always has room for MIRROR_LEVELS fills."""
    cdef shown_side_t* opposite = &mirror.shown[taker.side & 1]
    cdef shown_level_t* level
    cdef fill_t* fill
    cdef qty_t step
    cdef uint32_t i
    for i in range(opposite.count):
        level = &opposite.levels[i]
        if result.leaves == 0 or not crosses(taker.side, taker.price, level.price):
            break
        step = min(result.leaves, level.qty - level.consumed)
        if step == 0:
            continue
        level.consumed += step
        fill = &sink.fills[sink.count]
        sink.count += 1
        memset(fill, 0, sizeof(fill_t))
        fill.kind = FILL_TRADE
        fill.maker = NIL
        fill.price = level.price
        fill.qty = step
        result.leaves -= step
        result.filled += step
        result.price = level.price


cdef void mirror_match(mirror_t* mirror, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil:
    cdef const shown_side_t* opposite = &mirror.shown[taker.side & 1]
    cdef price_t price = taker.price
    memset(result, 0, sizeof(match_t))
    result.outcome = MATCH_REJECTED
    result.reject_reason = mirror_check(mirror, taker)
    if result.reject_reason != 0:
        return
    result.leaves = taker.qty
    if taker.flags & TAKER_SLIDE:
        if opposite.count > 0 and crosses(taker.side, price, opposite.levels[0].price):
            price = opposite.levels[0].price + (-1 if taker.side == SIDE_BUY else 1)
    elif not taker.flags & TAKER_POST_ONLY:
        take(mirror, taker, sink, result)
    if result.leaves == 0:
        result.outcome = MATCH_FILLED
        return
    if never_rests(taker):
        result.outcome = MATCH_CANCELED
        result.cancel_reason = (CANCEL_REASON_MARKET_REMAINDER
                                if taker.flags & (TAKER_MARKET | TAKER_MARKET_TO_LIMIT)
                                else CANCEL_REASON_IOC_REMAINDER)
        return
    if taker.flags & TAKER_MARKET_TO_LIMIT:
        price = result.price
    mirror.resting.pool.orders[taker.slot].owner = taker.owner
    book_rest(mirror.resting, taker.slot, taker.side, False, price, result.leaves, 0)
    result.outcome = MATCH_RESTED
    result.price = price
