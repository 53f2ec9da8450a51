"""Waiting for prices. Described in triggers.pxd."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint32_t

from fastpath.state.events cimport events_order
from fastpath.containers.heap cimport heap_push, heap_rebuild, heap_remove, heap_reserve, heap_t
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.model.enums cimport (
    EVENT_ORDER_AMENDED,
    MIRROR_LIVE,
    ORDER_TYPE_TAKE_PROFIT,
    ORDER_TYPE_TAKE_PROFIT_LIMIT,
    SIDE_BUY,
    SIDE_SELL,
    TRADING_STATUS_OPEN,
    TRAILING_UNIT_BPS,
    TRIGGER_SOURCE_BID_ASK,
    TRIGGER_SOURCE_INDEX,
    TRIGGER_SOURCE_MARK,
    TRIGGER_SOURCE_MID,
)
from fastpath.model.structs cimport price_t
from fastpath.state.orders cimport WAIT_ACTIVATION, WAIT_TRIGGER, is_trailing
from fastpath.state.route cimport best_displayed, is_mirrored
from fastpath.state.state cimport TRIGGER_HEAPS, touch_market, untouch_first

cdef enum:
    RISING = 0                    # due when the watched price is at the trigger or above
    FALLING = 1
    TRAILING_HEAPS = 2 * WATCHED_PRICES      # heaps from here on hold trailing orders

cdef price_t NEVER = <price_t>1 << 62    # a trigger price no price reaches


cdef bint watched_price(
    const state_t* state, const instrument_t* instrument, uint32_t heap, price_t* price
) noexcept nogil:
    """The price a heap's orders watch, if there is one to trust."""
    cdef uint32_t watch = (heap % TRAILING_HEAPS) // 2
    cdef price_t bid = 0
    cdef price_t ask = 0
    cdef bint has_bid, has_ask
    if is_mirrored(instrument) and instrument.mirror.state != MIRROR_LIVE:
        return False
    if watch == WATCH_LAST:
        price[0] = instrument.last_price
        return instrument.last_price != 0
    if watch == WATCH_MARK or watch == WATCH_INDEX:
        price[0] = reference_price(state, instrument, watch)
        return price[0] != 0
    has_bid = best_displayed(instrument, SIDE_BUY, &bid)
    has_ask = best_displayed(instrument, SIDE_SELL, &ask)
    if watch == WATCH_BID:
        price[0] = bid
        return has_bid
    if watch == WATCH_ASK:
        price[0] = ask
        return has_ask
    price[0] = (bid + ask) // 2
    return has_bid and has_ask


cdef price_t reference_price(const state_t* state, const instrument_t* instrument, uint32_t watch) noexcept nogil:
    if instrument.reference.until_ns <= state.events.command.ts_ns:
        return 0
    return instrument.reference.mark_price if watch == WATCH_MARK else instrument.reference.index_price


cdef uint32_t heap_of(const order_record_t* order) noexcept nogil:
    """Which of the instrument's heaps the order waits in."""
    cdef bint rising = order.side == SIDE_BUY
    cdef uint32_t watch = WATCH_LAST
    if order.trigger_source == TRIGGER_SOURCE_BID_ASK:
        watch = WATCH_ASK if order.side == SIDE_BUY else WATCH_BID
    elif order.trigger_source == TRIGGER_SOURCE_MID:
        watch = WATCH_MID
    elif order.trigger_source == TRIGGER_SOURCE_MARK:
        watch = WATCH_MARK
    elif order.trigger_source == TRIGGER_SOURCE_INDEX:
        watch = WATCH_INDEX
    if (order.order_type == ORDER_TYPE_TAKE_PROFIT or order.order_type == ORDER_TYPE_TAKE_PROFIT_LIMIT
            or order.waiting == WAIT_ACTIVATION):
        rising = not rising                             # waits for the favourable side
    if is_trailing(order) and order.waiting == WAIT_TRIGGER:
        return TRAILING_HEAPS + 2 * watch + (RISING if rising else FALLING)
    return 2 * watch + (RISING if rising else FALLING)


cdef reach_t trigger_reach(const instrument_t* instrument, uint32_t watch) noexcept nogil:
    cdef reach_t reach
    cdef const heap_t* rising = &instrument.waiting[2 * watch + RISING]
    cdef const heap_t* falling = &instrument.waiting[2 * watch + FALLING]
    reach.low = -falling.items[0].key if falling.count > 0 else INT64_MIN
    reach.high = rising.items[0].key if rising.count > 0 else INT64_MAX
    if (instrument.waiting[TRAILING_HEAPS + 2 * watch].count > 0
            or instrument.waiting[TRAILING_HEAPS + 2 * watch + 1].count > 0):
        reach.low = INT64_MAX                           # trailing orders follow every move
        reach.high = INT64_MIN
    return reach


cdef inline int64_t heap_key(uint32_t heap, price_t trigger_price) noexcept nogil:
    return -trigger_price if heap & 1 else trigger_price


cdef bint is_due(const state_t* state, const instrument_t* instrument, const order_record_t* order) noexcept nogil:
    cdef uint32_t heap = heap_of(order)
    cdef price_t price = 0
    return (watched_price(state, instrument, heap, &price)
            and heap_key(heap, order.trigger_price) <= heap_key(heap, price))


cdef bint can_wait(state_t* state, instrument_t* instrument, const order_record_t* order) noexcept nogil:
    cdef uint32_t heap
    if not is_trailing(order):
        return heap_reserve(&instrument.waiting[heap_of(order)], instrument.waiting_count + 1)
    for heap in range(TRIGGER_HEAPS):                   # it may move from one to another
        if not heap_reserve(&instrument.waiting[heap], instrument.waiting_count + 1):
            return False
    return instrument.trailing_count < MAX_TRAILING


cdef void start_waiting(state_t* state, instrument_t* instrument, uint32_t number) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    cdef uint32_t heap = heap_of(order)
    cdef price_t price = 0
    instrument.waiting_count += 1
    if is_trailing(order):
        instrument.trailing_count += 1
        if order.waiting == WAIT_TRIGGER:
            if order.trigger_price == 0 and watched_price(state, instrument, heap, &price):
                order.trigger_price = trail(order, price)
            elif order.trigger_price == 0:              # nothing to trail yet: start with the first price there is
                order.trigger_price = NEVER if order.side == SIDE_BUY else 0
    heap_push(&instrument.waiting[heap], state.waiting_places, heap_key(heap, order.trigger_price), number, order.slot)
    touch_market(state, instrument)


cdef void stop_waiting(state_t* state, instrument_t* instrument, uint32_t number) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    heap_remove(&instrument.waiting[heap_of(order)], state.waiting_places, order.slot)
    instrument.waiting_count -= 1
    if is_trailing(order):
        instrument.trailing_count -= 1


cdef price_t trail(const order_record_t* order, price_t price) noexcept nogil:
    """Where the trigger stands when the best price seen is `price`."""
    cdef int64_t offset = order.trailing_offset
    if order.trailing_unit == TRAILING_UNIT_BPS:
        offset = max(1, price // 10_000 * order.trailing_offset + price % 10_000 * order.trailing_offset // 10_000)
    return price + offset if order.side == SIDE_BUY else max(price - offset, 0)


cdef void follow(state_t* state, instrument_t* instrument, uint32_t heap, price_t price) noexcept nogil:
    """Move the triggers of trailing orders that the price has run away from."""
    cdef heap_t* trailing = &instrument.waiting[heap]
    cdef order_record_t* order
    cdef price_t trigger_price
    cdef bint moved = False
    cdef uint32_t i
    for i in range(trailing.count):
        order = &state.orders.records[trailing.items[i].number]
        trigger_price = trail(order, price)
        if trigger_price > order.trigger_price if heap & 1 else trigger_price < order.trigger_price:
            order.trigger_price = trigger_price
            trailing.items[i].key = heap_key(heap, trigger_price)
            moved = True
    if moved:
        heap_rebuild(trailing, state.waiting_places)


cdef uint32_t pop_due(state_t* state, instrument_t* instrument) noexcept nogil:
    """The next due order of the instrument, waiting no more; NO_ROW: none."""
    cdef price_t price = 0
    cdef uint32_t heap, number
    cdef heap_t* waiting
    if instrument.trailing_count > 0:                   # all of them see every price, whoever fires first
        for heap in range(TRAILING_HEAPS, TRIGGER_HEAPS):
            if instrument.waiting[heap].count > 0 and watched_price(state, instrument, heap, &price):
                follow(state, instrument, heap, price)
    for heap in range(TRIGGER_HEAPS):
        waiting = &instrument.waiting[heap]
        if waiting.count == 0 or not watched_price(state, instrument, heap, &price):
            continue
        if waiting.items[0].key <= heap_key(heap, price):
            number = waiting.items[0].number
            stop_waiting(state, instrument, number)
            return number
    return NO_ROW


cdef uint32_t next_triggered(state_t* state, uint32_t* budget) noexcept nogil:
    cdef instrument_t* instrument
    cdef order_record_t* order
    cdef uint32_t number
    while state.touched.count > 0:
        instrument = &state.instruments[state.touched.items[state.touched.first]]
        number = NO_ROW
        if (state.trading_status == TRADING_STATUS_OPEN
                and instrument.definition.status == TRADING_STATUS_OPEN):
            if budget[0] == 0:
                return NO_ROW
            number = pop_due(state, instrument)
        if number == NO_ROW:
            untouch_first(state)
            continue
        budget[0] -= 1
        order = &state.orders.records[number]
        if order.waiting != WAIT_ACTIVATION:
            return number
        order.waiting = WAIT_TRIGGER                    # now it trails
        order.trigger_price = 0
        order.changed_ns = state.events.command.ts_ns
        start_waiting(state, instrument, number)
        events_order(&state.events, EVENT_ORDER_AMENDED, order)
    return NO_ROW
