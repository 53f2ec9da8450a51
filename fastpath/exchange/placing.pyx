"""Orders placed: from the command to the events.

A placement is decided in this order: is the client order id new (else: replay or conflict), may the order come in
(pre-trade checks), what does the book say (matching, or the mirror), then the trades settle one by one, and what is left rests or
is canceled. A refusal is stored with its client order id like any order; nothing else of it remains.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.risk.checks cimport check_new, expiry_of

from fastpath.state.events cimport events_order, events_reject_command
from fastpath.state.guards cimport guarded_fillable, has_guards
from fastpath.containers.heap cimport heap_push, heap_reserve
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport ledger_position
from fastpath.risk.link_prices cimport check_list_prices, parent_in_the_way
from fastpath.state.contingent_groups cimport group_t, contingent_check, contingent_is_child, contingent_join, contingent_refuse
from fastpath.book.matching cimport (
    FILL_DECREMENTED,
    FILL_TRADE,
    MATCH_CANCELED,
    MATCH_PAUSED,
    MATCH_REJECTED,
    MATCH_RESTED,
    TAKER_PAUSES,
    fill_t,
    match_check,
    match_order,
    match_resume,
    match_t,
    incoming_t,
)
from fastpath.book.mirror cimport mirror_check, mirror_displayed, mirror_match
from fastpath.model.enums cimport (
    CANCEL_REASON_INSUFFICIENT_BALANCE,
    CANCEL_REASON_LINKED_ORDER,
    CANCEL_REASON_MARKET_REMAINDER,
    CANCEL_REASON_REDUCE_ONLY,
    CANCEL_REASON_SELF_TRADE,
    EVENT_ORDER_ACCEPTED,
    EVENT_ORDER_AMENDED,
    EVENT_ORDER_CANCELED,
    EVENT_ORDER_REJECTED,
    EVENT_ORDER_REPLAYED,
    EVENT_ORDER_TRIGGERED,
    LINK_TYPE_OCO,
    ORDER_STATUS_REJECTED,
    ORDER_TYPE_LIMIT,
    ORDER_TYPE_MARKET_TO_LIMIT,
    ORDER_TYPE_TRAILING_STOP_LIMIT,
    REJECT_REASON_ACCOUNT_NOT_FOUND,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_CLIENT_ORDER_ID_CONFLICT,
    REJECT_REASON_FOK_NOT_FILLABLE,
    REJECT_REASON_INSTRUMENT_NOT_FOUND,
    REJECT_REASON_INSUFFICIENT_BALANCE,
    REJECT_REASON_INVALID_COMMAND,
    REJECT_REASON_MIN_QTY_NOT_FILLABLE,
    REJECT_REASON_OPEN_ORDER_LIMIT,
    REJECT_REASON_REDUCE_ONLY_VIOLATION,
    SIDE_BUY,
    TIME_IN_FORCE_FOK,
)
from fastpath.model.structs cimport command_t, qty_t
from fastpath.state.orders cimport (
    WAIT_LIST,
    WAIT_MORE,
    WAIT_NONE,
    WAIT_PARENT,
    WAIT_TRANSIT,
    body_digest,
    client_order_id_hash,
    first_wait,
    is_conditional,
    order_is_open,
    order_record_t,
    orders_append,
    orders_find_client,
    share_of,
    waits_for_price,
)
from fastpath.book.pool cimport NIL, pool_give, pool_take
from fastpath.exchange.prefetch cimport prefetch_makers, prefetch_settlement
from fastpath.state.route cimport ROUTE_MIRRORED, ROUTE_OWN_BOOK, route_of
from fastpath.state.settlement cimport VENUE, close_order, open_order, settle_trade, take_off_market
from fastpath.exchange.reducing cimport cap_reducing_orders, follow_fill, shrink, yield_balance
from fastpath.state.withdrawal cimport call_back, withdraw
from fastpath.risk.sizing cimport UNSIZED_FLAGS
from fastpath.state.state cimport find_account, find_instrument, touch_market, travel_ns
from fastpath.state.triggers cimport can_wait, start_waiting


cdef void place(state_t* state, const command_t* command) noexcept nogil:
    cdef instrument_t* instrument = find_instrument(state, command.instrument)
    cdef uint64_t digest
    cdef uint32_t client_hash, number
    if command.client_order_id[0] == 0:
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
        return
    if find_account(state, command.account) == NULL:
        events_reject_command(&state.events, REJECT_REASON_ACCOUNT_NOT_FOUND)
        return
    if instrument == NULL:
        events_reject_command(&state.events, REJECT_REASON_INSTRUMENT_NOT_FOUND)
        return
    digest = body_digest(command)
    client_hash = client_order_id_hash(command.account, command.client_order_id)
    number = orders_find_client(&state.orders, command.account, command.client_order_id, client_hash)
    if number != NO_ROW:
        if state.orders.records[number].body_digest == digest:
            events_order(&state.events, EVENT_ORDER_REPLAYED, &state.orders.records[number])
        else:
            events_reject_command(&state.events, REJECT_REASON_CLIENT_ORDER_ID_CONFLICT)
            refuse_group(state, command.account, command.link_id)
        return
    number = store(state, instrument, command, digest, client_hash)
    if number == NO_ROW:
        events_reject_command(&state.events, REJECT_REASON_CAPACITY)
        refuse_group(state, command.account, command.link_id)
        return
    enter(state, instrument, number)


cdef uint32_t store(state_t* state, const instrument_t* instrument, const command_t* command, uint64_t digest,
                    uint32_t client_hash) noexcept nogil:
    """The order's record, with all the ledger rows it will ever need. NO_ROW: a bound is reached."""
    cdef uint32_t position_row = ledger_position(&state.ledger, command.account, command.instrument,
                                                 instrument.definition.base_asset, instrument.definition.quote_asset)
    cdef uint32_t number
    if position_row == NO_ROW:
        return NO_ROW
    number = orders_append(&state.orders, command, digest, client_hash)
    if number != NO_ROW:
        state.orders.records[number].position_row = position_row
        state.orders.records[number].waiting = first_wait(&state.orders.records[number])
        if contingent_is_child(&state.contingent, &state.orders.records[number]):
            state.orders.records[number].waiting = WAIT_PARENT
        state.orders.records[number].expire_ns = expiry_of(&state.orders.records[number])
        state.orders.records[number].maker_fee_ppm = <int>instrument.definition.maker_fee_ppm
        state.orders.records[number].taker_fee_ppm = <int>instrument.definition.taker_fee_ppm
    return number


cdef void enter(state_t* state, instrument_t* instrument, uint32_t number) noexcept nogil:
    """A stored order arrives: it waits, trades, rests, or is refused."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef incoming_t taker
    cdef uint8_t reason = contingent_check(&state.contingent, &state.orders, order, state.events.command.link_size)
    if reason == 0:
        reason = check_new(state, instrument, order, &taker)
    if reason == 0 and state.events.command.link_size > 0:
        reason = check_list_prices(state, instrument, order)
    if reason != 0:
        refuse(state, order, reason)
        return
    enter_checked(state, instrument, number, &taker)


cdef void refuse(state_t* state, order_record_t* order, uint8_t reason) noexcept nogil:
    order.waiting = WAIT_NONE
    order.status = ORDER_STATUS_REJECTED
    order.reject_reason = reason
    events_order(&state.events, EVENT_ORDER_REJECTED, order)
    refuse_group(state, order.account, order.link_id)


cdef void enter_checked(state_t* state, instrument_t* instrument, uint32_t number, incoming_t* taker) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    cdef match_t result
    cdef uint8_t reason
    taker.slot = pool_take(state.pool)
    reason = find_room(state, instrument, order, taker.slot)
    if reason == 0 and state.events.command.link_size > 0 and order.waiting != WAIT_PARENT:
        reason = hold(state, instrument, order, taker)
    elif reason == 0 and order.waiting == WAIT_NONE and travel_ns(instrument) > 0:
        order.waiting = WAIT_TRANSIT
    if reason == 0 and order.waiting == WAIT_NONE:
        reason = trade(state, instrument, number, taker, &result)
    if reason != 0:
        if taker.slot != NIL:
            pool_give(state.pool, taker.slot)
        refuse(state, order, reason)
        return
    contingent_join(&state.contingent, &state.orders, number, state.events.command.link_size)
    if order.waiting == WAIT_PARENT:
        order.awaited_qty = order.qty
        order.qty = 0
    if order.waiting == WAIT_TRANSIT:
        send_off(state, instrument, number, taker.slot)
        events_order(&state.events, EVENT_ORDER_ACCEPTED, order)
        return
    if order.waiting != WAIT_NONE:
        open_order(state, instrument, number, taker.slot)
        if waits_for_price(order):
            start_waiting(state, instrument, number)
        events_order(&state.events, EVENT_ORDER_ACCEPTED, order)
        return
    if result.outcome == MATCH_RESTED and result.filled == 0:
        order.price = result.price                      # a slide
    events_order(&state.events, EVENT_ORDER_ACCEPTED, order)
    settle_fills(state, instrument, number, taker, &result)
    conclude(state, instrument, number, taker.slot, &result)


cdef void refuse_group(state_t* state, uint32_t account, uint64_t link_id) noexcept nogil:
    """An order of this group was refused: so are those to come, and those that are open are canceled."""
    cdef uint32_t row = contingent_refuse(&state.contingent, account, link_id)
    cdef const group_t* group
    cdef uint32_t i
    if row == NO_ROW:
        return
    group = &state.contingent.groups[row]
    for i in range(group.count):
        if order_is_open(&state.orders.records[group.members[i]]):
            withdraw(state, group.members[i], EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)


cdef uint8_t hold(state_t* state, instrument_t* instrument, order_record_t* order, const incoming_t* taker) noexcept nogil:
    """An order waits for the others of its list; the reason for which the market would refuse it as it is now, or 0."""
    cdef uint8_t reason = 0
    if order.waiting == WAIT_NONE and route_of(state, order.account, instrument) == ROUTE_OWN_BOOK:
        reason = check_book(state, instrument, order, taker)
    elif order.waiting == WAIT_NONE:
        reason = mirror_check(instrument.mirror, taker)
    order.waiting = WAIT_LIST
    return reason


cdef uint8_t find_room(state_t* state, instrument_t* instrument, const order_record_t* order,
                       uint32_t slot) noexcept nogil:
    """Memory for whatever may become of the order, so that nothing can fail once it is accepted."""
    if (slot == NIL or state.orders.open_chains[order.account].open_count >= share_of(state.bounds.max_open_orders)
            or not heap_reserve(&state.expiries, state.pool.count + 1)
            or not heap_reserve(&state.transit, state.pool.count + 1)):
        return REJECT_REASON_CAPACITY
    if waits_for_price(order) and not can_wait(state, instrument, order):
        return REJECT_REASON_OPEN_ORDER_LIMIT
    return 0


cdef uint8_t refusal_of_triggered(uint8_t reject_reason) noexcept nogil:
    """The CancelReason of a triggered order that may not enter; its reject_reason says more."""
    if reject_reason == REJECT_REASON_INSUFFICIENT_BALANCE:
        return CANCEL_REASON_INSUFFICIENT_BALANCE
    if reject_reason == REJECT_REASON_REDUCE_ONLY_VIOLATION:
        return CANCEL_REASON_REDUCE_ONLY
    return CANCEL_REASON_MARKET_REMAINDER


cdef void trigger(state_t* state, uint32_t number) noexcept nogil:
    """A waiting order's price has come, or its parent's fill: it arrives at the market, or is canceled if it may not."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef instrument_t* instrument = &state.instruments[order.instrument]
    cdef uint32_t slot = order.slot
    cdef bint returns = order.waiting == WAIT_MORE
    cdef bint travels = travel_ns(instrument) > 0
    take_off_market(state, instrument, number)
    order.waiting = WAIT_TRANSIT if travels else WAIT_NONE
    order.changed_ns = state.events.command.ts_ns
    if order.order_type == ORDER_TYPE_TRAILING_STOP_LIMIT and not returns:
        order.price = order.trigger_price + (order.price if order.side == SIDE_BUY else -order.price)
    events_order(&state.events, EVENT_ORDER_TRIGGERED, order)
    go_to_market(state, instrument, number, slot, travels)


cdef void arrive(state_t* state, uint32_t number) noexcept nogil:
    """An order gets to its mirrored venue."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef instrument_t* instrument = &state.instruments[order.instrument]
    cdef uint32_t slot = order.slot
    call_back(state, slot)
    take_off_market(state, instrument, number)
    order.waiting = WAIT_NONE
    order.changed_ns = state.events.command.ts_ns
    events_order(&state.events, EVENT_ORDER_AMENDED, order)
    go_to_market(state, instrument, number, slot, False)


cdef void send_off(state_t* state, instrument_t* instrument, uint32_t number, uint32_t slot) noexcept nogil:
    """An order that passed the checks sets out for its mirrored venue. One sized by money or position is sized there again."""
    cdef order_record_t* order = &state.orders.records[number]
    order.waiting = WAIT_TRANSIT
    if order.flags & UNSIZED_FLAGS:
        order.qty = 0
    open_order(state, instrument, number, slot)
    heap_push(&state.transit, state.waiting_places, state.events.command.ts_ns + travel_ns(instrument), number, slot)


cdef void go_to_market(state_t* state, instrument_t* instrument, uint32_t number, uint32_t slot,
                       bint travels) noexcept nogil:
    """An order that was taken off whatever it waited for enters, sets out, or is canceled if it may not."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef incoming_t taker
    cdef match_t result
    cdef uint32_t parent
    cdef uint8_t reason
    order.waiting = WAIT_NONE
    if order.group != NO_ROW and order.link_type != LINK_TYPE_OCO:
        cap_reducing_orders(state, order.position_row)  # its parent's fills have moved the position
    reason = check_new(state, instrument, order, &taker)
    if reason == REJECT_REASON_INSUFFICIENT_BALANCE and is_conditional(order) and yield_balance(state, number):
        reason = check_new(state, instrument, order, &taker)
    parent = parent_in_the_way(state, instrument, order, taker.price) if reason == 0 else NO_ROW
    if parent != NO_ROW:                                # no order trades with its own parent
        withdraw(state, parent, EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)
        reason = check_new(state, instrument, order, &taker)
    taker.slot = slot
    if reason == 0 and travels:
        send_off(state, instrument, number, slot)
        return
    if reason == 0:
        reason = trade(state, instrument, number, &taker, &result)
    if reason != 0:
        pool_give(state.pool, slot)
        order.reject_reason = reason
        close_order(state, instrument, number, EVENT_ORDER_CANCELED, refusal_of_triggered(reason))
        return
    settle_fills(state, instrument, number, &taker, &result)
    conclude(state, instrument, number, slot, &result)


cdef uint8_t trade(state_t* state, instrument_t* instrument, uint32_t number, incoming_t* taker,
                   match_t* result) noexcept nogil:
    """Let the market decide. The fills wait in the sink; a reason means nothing happened."""
    cdef uint8_t reason
    state.pool.orders[taker.slot].id = number
    state.sink.count = 0
    if route_of(state, state.orders.records[number].account, instrument) == ROUTE_OWN_BOOK:
        if has_guards(instrument):
            taker.flags |= TAKER_PAUSES
            reason = check_book(state, instrument, &state.orders.records[number], taker)
            if reason != 0:
                return reason
        match_order(instrument.book, taker, &state.sink, result)
    else:
        mirror_match(instrument.mirror, taker, &state.sink, result)
    if result.outcome == MATCH_REJECTED:
        return result.reject_reason
    prefetch_makers(state)
    touch_market(state, instrument)
    return 0


cdef uint8_t check_book(state_t* state, const instrument_t* instrument, const order_record_t* order,
                        const incoming_t* taker) noexcept nogil:
    """The reason for which the book would refuse the order, or 0."""
    cdef qty_t need = taker.qty if taker.time_in_force == TIME_IN_FORCE_FOK else taker.min_qty
    cdef uint8_t reason = match_check(instrument.book, taker, &state.sink)
    if (reason == 0 and need > 0 and has_guards(instrument)
            and guarded_fillable(state, instrument, order, taker) < need):
        return (REJECT_REASON_FOK_NOT_FILLABLE if taker.time_in_force == TIME_IN_FORCE_FOK
                else REJECT_REASON_MIN_QTY_NOT_FILLABLE)
    return reason


cdef void settle_fills(state_t* state, instrument_t* instrument, uint32_t number, const incoming_t* taker,
                       match_t* result) noexcept nogil:
    cdef uint32_t maker = settle_sink(state, instrument, number)
    while result.outcome == MATCH_PAUSED:
        follow_fill(state, maker, number)
        state.sink.count = 0
        match_resume(instrument.book, taker, &state.sink, result)
        maker = settle_sink(state, instrument, number)


cdef uint32_t settle_sink(state_t* state, instrument_t* instrument, uint32_t taker) noexcept nogil:
    """The last maker."""
    cdef const fill_t* fill
    cdef uint32_t maker = VENUE
    cdef uint32_t i
    for i in range(state.sink.count):
        prefetch_settlement(state, i)
        fill = &state.sink.fills[i]
        maker = VENUE if fill.maker == NIL else <uint32_t>state.pool.orders[fill.maker].id
        if fill.kind == FILL_TRADE:
            settle_trade(state, instrument, maker, taker, fill.price, fill.qty)
        elif fill.kind == FILL_DECREMENTED:
            decrement(state, instrument, maker, fill.qty)
            decrement(state, instrument, taker, fill.qty)
        else:
            close_order(state, instrument, maker, EVENT_ORDER_CANCELED, CANCEL_REASON_SELF_TRADE)
    return maker


cdef void decrement(state_t* state, instrument_t* instrument, uint32_t number, qty_t by) noexcept nogil:
    """Self-trade prevention takes `by` lots off an order; with nothing left it is canceled."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef qty_t leaves = order.qty - order.cum_qty
    if by == leaves:
        close_order(state, instrument, number, EVENT_ORDER_CANCELED, CANCEL_REASON_SELF_TRADE)
        return
    shrink(state, instrument, number, by)


cdef void conclude(state_t* state, instrument_t* instrument, uint32_t number, uint32_t slot,
                   const match_t* result) noexcept nogil:
    """What is left of a taker rests, waits for more from its parent, is canceled, or is nothing."""
    cdef order_record_t* order = &state.orders.records[number]
    if result.outcome == MATCH_RESTED:
        if order.order_type == ORDER_TYPE_MARKET_TO_LIMIT or order.price != result.price:
            if order.order_type == ORDER_TYPE_MARKET_TO_LIMIT:
                order.order_type = ORDER_TYPE_LIMIT
            order.price = result.price                  # a linked order that slid as it entered
            events_order(&state.events, EVENT_ORDER_AMENDED, order)
        if route_of(state, order.account, instrument) == ROUTE_MIRRORED:
            order.queue_ahead = mirror_displayed(instrument.mirror, order.side, order.price)
        open_order(state, instrument, number, slot)
        return
    if order.waiting == WAIT_MORE:
        open_order(state, instrument, number, slot)
        return
    pool_give(state.pool, slot)
    if result.outcome == MATCH_CANCELED and order_is_open(order):
        close_order(state, instrument, number, EVENT_ORDER_CANCELED, result.cancel_reason)
