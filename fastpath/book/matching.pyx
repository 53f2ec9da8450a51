"""Price-time matching. See `matching.pxd`."""

from libc.stdint cimport INT64_MIN, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from fastpath.model.arith cimport saturating_add
from fastpath.book.book cimport (
    SIDE_INDEX_HIDDEN_BID,
    book_can_rest,
    book_level_qty,
    book_reduce,
    book_remove,
    book_rest,
    book_take,
    side_mask,
    order_price,
)
from fastpath.book.side cimport side_t
from fastpath.model.enums cimport (
    CANCEL_REASON_IOC_REMAINDER,
    CANCEL_REASON_MARKET_REMAINDER,
    CANCEL_REASON_SELF_TRADE,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_FOK_NOT_FILLABLE,
    REJECT_REASON_INVALID_COMMAND,
    REJECT_REASON_MIN_QTY_NOT_FILLABLE,
    REJECT_REASON_NO_LIQUIDITY,
    REJECT_REASON_QTY_BELOW_MIN,
    REJECT_REASON_SLIPPAGE_LIMIT,
    REJECT_REASON_WOULD_TAKE_LIQUIDITY,
    SELF_TRADE_PREVENTION_CANCEL_NEWEST,
    SELF_TRADE_PREVENTION_CANCEL_OLDEST,
    SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL,
    SELF_TRADE_PREVENTION_NONE,
    TIME_IN_FORCE_FOK,
    TIME_IN_FORCE_IOC,
)
from fastpath.book.pool cimport LEVEL_ICEBERG, NIL, level_t, order_leaves, order_t, pool_t

cdef enum:
    SINK_MAX_FILLS = 0x7FFFFFFF
    ICEBERG_MAX_SLICES = 1024     # bounds the fills one order can cause


cdef bint sink_init(sink_t* sink, uint32_t capacity) noexcept nogil:
    sink.fills = <fill_t*>malloc(<size_t>capacity * sizeof(fill_t))
    sink.count = 0
    sink.capacity = capacity
    return sink.fills != NULL


cdef void sink_close(sink_t* sink) noexcept nogil:
    free(sink.fills)
    sink.fills = NULL


cdef bint sink_room(sink_t* sink, uint64_t fills) noexcept nogil:
    """Room for so many more fills. False: out of memory."""
    cdef uint64_t needed = sink.count + fills
    cdef fill_t* grown
    if needed <= sink.capacity:
        return True
    if needed > <uint64_t>SINK_MAX_FILLS:
        return False
    grown = <fill_t*>realloc(sink.fills, needed * sizeof(fill_t))
    if grown == NULL:
        return False
    sink.fills = grown
    sink.capacity = <uint32_t>needed
    return True


cdef inline uint32_t self_trade_owner(const incoming_t* taker) noexcept nogil:
    """The owner this taker must not trade with; 0: it may trade with anyone."""
    return taker.owner if taker.stp_mode > SELF_TRADE_PREVENTION_NONE else 0


cdef inline const side_t* best_opposite(const book_t* book, uint8_t side) noexcept nogil:
    """The book_side a taker meets first: the better best price, displayed before hidden; NULL when nobody rests."""
    cdef const side_t* shown = &book.sides[side & 1]
    cdef const side_t* hidden = &book.sides[SIDE_INDEX_HIDDEN_BID + (side & 1)]
    if hidden.best != NIL and (shown.best == NIL or hidden.best_key < shown.best_key):
        return hidden
    return shown if shown.best != NIL else NULL


cdef inline price_t limit_key(const incoming_t* taker) noexcept nogil:
    """The taker's price as a key of the opposite sides: it crosses every key up to this one."""
    return taker.price ^ side_mask(taker.side & 1)


cdef inline bint never_rests(const incoming_t* taker) noexcept nogil:
    return (taker.time_in_force == TIME_IN_FORCE_IOC or taker.time_in_force == TIME_IN_FORCE_FOK
            or taker.flags & TAKER_MARKET)


cdef bint count_level(
    const book_t* book, uint32_t handle, const incoming_t* taker, qty_t* left, qty_t* found
) noexcept nogil:
    """Count what `left` would trade on one level, as the match loop would: slices in queue order, then what icebergs refill.

    False: the taker goes no further than this level.
    """
    cdef const pool_t* pool = book.pool
    cdef uint32_t own = self_trade_owner(taker)
    cdef uint32_t slot = pool.levels[handle].links.next
    cdef bint iceberg = pool.levels[handle].home & LEVEL_ICEBERG != 0
    cdef qty_t reserve = 0
    cdef qty_t step
    while slot != handle and left[0] > 0:
        if own == 0 or pool.orders[slot].owner != own:
            step = min(left[0], pool.orders[slot].qty)
            left[0] -= step
            found[0] += step
            if iceberg:
                reserve = saturating_add(reserve, pool.icebergs[slot].reserve)
        elif taker.stp_mode == SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL:
            left[0] -= min(left[0], order_leaves(pool, slot))
        elif taker.stp_mode != SELF_TRADE_PREVENTION_CANCEL_OLDEST:
            return False
        slot = pool.orders[slot].links.next
    step = min(left[0], reserve)
    left[0] -= step
    found[0] += step
    return left[0] > 0


cdef qty_t level_open(const pool_t* pool, uint32_t handle) noexcept nogil:
    """Everything open on a level, reserves included, at most INT64_MAX."""
    cdef qty_t total = book_level_qty(pool, handle)
    cdef uint32_t slot
    if pool.levels[handle].home & LEVEL_ICEBERG:
        slot = pool.levels[handle].links.next
        while slot != handle:
            total = saturating_add(total, pool.icebergs[slot].reserve)
            slot = pool.orders[slot].links.next
    return total


cdef qty_t match_fillable(const book_t* book, const incoming_t* taker, qty_t need) noexcept nogil:
    cdef uint32_t side = taker.side & 1
    cdef uint32_t shown = book.sides[side].best
    cdef uint32_t hidden = book.sides[SIDE_INDEX_HIDDEN_BID + side].best
    cdef uint32_t handle
    cdef qty_t left = taker.qty
    cdef qty_t found = 0
    while found < need:
        handle = next_level(book, side, &shown, &hidden)
        if handle == NIL or book.pool.levels[handle].key > limit_key(taker):
            break
        if not count_level(book, handle, taker, &left, &found):
            break
    return found


cdef bint match_fills_within(const book_t* book, const incoming_t* taker, uint64_t most) noexcept nogil:
    cdef const pool_t* pool = book.pool
    cdef uint32_t side = taker.side & 1
    cdef uint32_t shown = book.sides[side].best
    cdef uint32_t hidden = book.sides[SIDE_INDEX_HIDDEN_BID + side].best
    cdef uint32_t own = self_trade_owner(taker)
    cdef qty_t left = taker.qty
    cdef uint64_t fills = 0
    cdef bint iceberg
    cdef uint32_t handle, slot
    while left > 0:
        handle = next_level(book, side, &shown, &hidden)
        if handle == NIL or pool.levels[handle].key > limit_key(taker):
            break
        iceberg = pool.levels[handle].home & LEVEL_ICEBERG != 0
        slot = pool.levels[handle].links.next
        while slot != handle and (left > 0 or iceberg):      # icebergs take turns: the whole level may have a part in it
            fills += 1
            if iceberg and pool.icebergs[slot].reserve > 0:
                fills += <uint64_t>((pool.icebergs[slot].reserve - 1) // pool.icebergs[slot].display) + 1
            if fills > most:
                return False
            if own == 0 or pool.orders[slot].owner != own:
                left -= min(left, order_leaves(pool, slot))
            slot = pool.orders[slot].links.next
    return True


cdef uint8_t match_check(book_t* book, const incoming_t* taker, sink_t* sink) noexcept nogil:
    cdef const side_t* opposite = best_opposite(book, taker.side)
    cdef bint crosses = opposite != NULL and opposite.best_key <= limit_key(taker)
    cdef qty_t need = taker.qty if taker.time_in_force == TIME_IN_FORCE_FOK else taker.min_qty
    if taker.qty <= 0 or taker.display_qty < 0 or not 0 <= taker.min_qty <= taker.qty:
        return REJECT_REASON_INVALID_COMMAND
    if taker.flags & (TAKER_POST_ONLY | TAKER_SLIDE) and (
            need > 0 or never_rests(taker) or taker.flags & TAKER_MARKET_TO_LIMIT):
        return REJECT_REASON_INVALID_COMMAND
    if 0 < taker.display_qty < taker.qty // ICEBERG_MAX_SLICES:
        return REJECT_REASON_QTY_BELOW_MIN
    if crosses:
        if taker.flags & TAKER_SLIDE:
            if opposite.best_key == INT64_MIN:
                return REJECT_REASON_WOULD_TAKE_LIQUIDITY
        elif taker.flags & TAKER_POST_ONLY:
            return REJECT_REASON_WOULD_TAKE_LIQUIDITY
        elif not sink_room(sink, match_fill_bound(book, taker)):
            return REJECT_REASON_CAPACITY
    elif taker.flags & (TAKER_MARKET | TAKER_MARKET_TO_LIMIT):
        return REJECT_REASON_NO_LIQUIDITY if opposite == NULL else REJECT_REASON_SLIPPAGE_LIMIT
    if need > 0 and match_fillable(book, taker, need) < need:
        return (REJECT_REASON_FOK_NOT_FILLABLE if taker.time_in_force == TIME_IN_FORCE_FOK
                else REJECT_REASON_MIN_QTY_NOT_FILLABLE)
    if not never_rests(taker) and not book_can_rest(book, taker.side, taker.flags & TAKER_HIDDEN != 0):
        return REJECT_REASON_CAPACITY
    return 0


cdef inline fill_t* next_fill(sink_t* sink, uint8_t kind, uint32_t maker, price_t price, qty_t qty) noexcept nogil:
    cdef fill_t* fill = &sink.fills[sink.count]
    sink.count += 1
    fill.kind = kind
    fill.maker = maker
    fill.price = price
    fill.qty = qty
    fill.maker_leaves = 0
    fill.refill = 0
    return fill


cdef bint prevent_self_trade(
    book_t* book, uint32_t maker, price_t price, const incoming_t* taker, sink_t* sink, match_t* result
) noexcept nogil:
    """The taker meets an order of its own. False: the taker is canceled."""
    cdef qty_t open_qty = order_leaves(book.pool, maker)
    cdef fill_t* fill
    cdef qty_t both
    if taker.stp_mode == SELF_TRADE_PREVENTION_CANCEL_NEWEST:
        return False
    if taker.stp_mode == SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL:
        both = min(result.leaves, open_qty)
        fill = next_fill(sink, FILL_DECREMENTED, maker, price, both)
        fill.maker_leaves = open_qty - both
        result.leaves -= both
        result.decremented += both
        if both < open_qty:
            book_reduce(book, maker, both)
            return False
        book_remove(book, maker)
        return result.leaves > 0
    next_fill(sink, FILL_MAKER_CANCELED, maker, price, open_qty)
    book_remove(book, maker)
    return taker.stp_mode == SELF_TRADE_PREVENTION_CANCEL_OLDEST


cdef bint trade(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil:
    """Trade until nothing is left or nothing crosses, or up to the next fill if asked. False: self-trade prevention ended it."""
    cdef uint32_t own = self_trade_owner(taker)
    cdef price_t limit = limit_key(taker)
    cdef price_t mask = side_mask(taker.side & 1)
    cdef const side_t* opposite
    cdef const level_t* level
    cdef const order_t* maker
    cdef fill_t* fill
    cdef price_t price
    while result.leaves > 0:
        opposite = best_opposite(book, taker.side)
        if opposite == NULL or opposite.best_key > limit:
            break
        level = &book.pool.levels[opposite.best]
        maker = &book.pool.orders[level.links.next]
        price = opposite.best_key ^ mask
        if own != 0 and maker.owner == own:
            if not prevent_self_trade(book, level.links.next, price, taker, sink, result):
                return False
            continue
        fill = next_fill(sink, FILL_TRADE, level.links.next, price, min(result.leaves, maker.qty))
        result.leaves -= fill.qty
        result.filled += fill.qty
        result.price = price
        fill.refill = book_take(book, fill.maker, fill.qty, &fill.maker_leaves)
        if taker.flags & TAKER_PAUSES and result.leaves > 0:
            result.outcome = MATCH_PAUSED
            break
    return True


cdef void execute(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil:
    """Trade, then rest or cancel what is left. match_check() has said yes."""
    cdef const side_t* opposite
    result.leaves = taker.qty
    result.price = taker.price
    if taker.flags & TAKER_SLIDE:
        opposite = best_opposite(book, taker.side)
        if opposite != NULL and opposite.best_key <= limit_key(taker):
            result.price = (opposite.best_key - 1) ^ side_mask(taker.side & 1)
        rest_or_cancel(book, taker, result, result.price)
        return
    match_resume(book, taker, sink, result)


cdef void match_resume(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil:
    result.outcome = MATCH_FILLED
    if not trade(book, taker, sink, result):
        result.outcome = MATCH_CANCELED
        result.cancel_reason = CANCEL_REASON_SELF_TRADE
    elif result.leaves > 0 and result.outcome != MATCH_PAUSED:
        rest_or_cancel(book, taker, result, result.price if taker.flags & TAKER_MARKET_TO_LIMIT else taker.price)


cdef inline void rest_or_cancel(book_t* book, const incoming_t* taker, match_t* result, price_t price) noexcept nogil:
    if never_rests(taker) or (taker.flags & TAKER_MARKET_TO_LIMIT and result.filled == 0):
        result.outcome = MATCH_CANCELED
        result.cancel_reason = (CANCEL_REASON_MARKET_REMAINDER
                                if taker.flags & (TAKER_MARKET | TAKER_MARKET_TO_LIMIT)
                                else CANCEL_REASON_IOC_REMAINDER)
        return
    book.pool.orders[taker.slot].owner = taker.owner
    book_rest(book, taker.slot, taker.side, taker.flags & TAKER_HIDDEN != 0, price, result.leaves, taker.display_qty)
    result.outcome = MATCH_RESTED
    result.price = price


cdef void match_order(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil:
    memset(result, 0, sizeof(match_t))
    result.reject_reason = match_check(book, taker, sink)
    if result.reject_reason == 0:
        execute(book, taker, sink, result)


cdef void replace_order(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil:
    memset(result, 0, sizeof(match_t))
    result.reject_reason = match_check(book, taker, sink)
    if result.reject_reason == 0:
        book_remove(book, taker.slot)
        execute(book, taker, sink, result)


cdef void amend_order(book_t* book, const incoming_t* taker, sink_t* sink, match_t* result) noexcept nogil:
    cdef qty_t open_qty = order_leaves(book.pool, taker.slot)
    if not 0 < taker.qty <= open_qty or taker.price != order_price(book.pool, taker.slot):
        replace_order(book, taker, sink, result)
        return
    memset(result, 0, sizeof(match_t))
    if taker.qty < open_qty:
        book_reduce(book, taker.slot, open_qty - taker.qty)
    result.outcome = MATCH_RESTED
    result.kept_priority = 1
    result.price = taker.price
    result.leaves = taker.qty


cdef void match_cost(
    const book_t* book, uint8_t side, price_t limit, qty_t qty, qty_t* found, money_t* cost, price_t* worst
) noexcept nogil:
    cdef uint32_t book_side = side & 1
    cdef price_t limit_at = limit ^ side_mask(book_side)
    cdef uint32_t shown = book.sides[book_side].best
    cdef uint32_t hidden = book.sides[SIDE_INDEX_HIDDEN_BID + book_side].best
    cdef uint32_t handle
    cdef qty_t step
    found[0] = 0
    cost[0] = 0
    while found[0] < qty:
        handle = next_level(book, book_side, &shown, &hidden)
        if handle == NIL or book.pool.levels[handle].key > limit_at:
            break
        step = min(qty - found[0], level_open(book.pool, handle))
        worst[0] = book.pool.levels[handle].key ^ side_mask(book_side)
        found[0] += step
        cost[0] += <money_t>step * worst[0]
