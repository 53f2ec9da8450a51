"""Amend: a new price, a new total quantity, or both, atomically.

Less quantity at the same price keeps the order's place in the queue. Anything else takes the order out and lets it arrive
anew: it may trade, and rests behind the others. A total quantity that is filled already cancels what is left. A refused amendment
leaves the order exactly as it was.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastpath.risk.checks cimport check_amended, shape_taker
from fastpath.book.book cimport book_reduce, book_remove
from fastpath.exchange.canceling cimport find_meant, is_far, send_change
from fastpath.state.in_flight cimport CHANGE_AMEND
from fastpath.state.events cimport events_next, events_order
from fastpath.state.guards cimport has_guards
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport ledger_reserve
from fastpath.state.route cimport ROUTE_OWN_BOOK, route_of
from fastpath.book.matching cimport MATCH_REJECTED, MATCH_RESTED, TAKER_PAUSES, amend_order, match_t, incoming_t
from fastpath.book.mirror cimport mirror_check, mirror_match
from fastpath.model.enums cimport (
    CANCEL_REASON_AMENDED_AWAY,
    EVENT_AMEND_REJECTED,
    EVENT_ORDER_AMENDED,
    EVENT_ORDER_CANCELED,
    ORDER_FLAG_CLOSE_POSITION,
    ORDER_TYPE_TRAILING_STOP_LIMIT,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_CHANGE_PENDING,
    REJECT_REASON_INVALID_COMMAND,
    REJECT_REASON_ORDER_NOT_FOUND,
    REJECT_REASON_ORDER_NOT_OPEN,
)
from fastpath.model.structs cimport command_t, event_t
from fastpath.state.orders cimport (
    CLIENT_ORDER_ID_SIZE,
    WAIT_LIST,
    WAIT_NONE,
    has_begun,
    is_trailing,
    order_is_open,
    order_record_t,
    total_qty,
    waits_for_price,
)
from fastpath.state.settlement cimport held_amount, reserved_row, take_off_market
from fastpath.state.withdrawal cimport withdraw
from fastpath.state.state cimport instrument_t, touch_market
from fastpath.exchange.placing cimport conclude, settle_fills
from fastpath.state.triggers cimport start_waiting, stop_waiting


cdef void amend(state_t* state, const command_t* command) noexcept nogil:
    cdef uint32_t number = find_meant(state, command)
    cdef const order_record_t* order
    cdef event_t* event
    cdef uint8_t reason
    if number == NO_ROW:
        event = events_next(&state.events, EVENT_AMEND_REJECTED)
        event.account = command.account
        event.order_id = command.order_id
        memcpy(event.client_order_id, command.client_order_id, CLIENT_ORDER_ID_SIZE)
        event.reject_reason = REJECT_REASON_ORDER_NOT_FOUND
        return
    order = &state.orders.records[number]
    reason = check_request(order, command)
    if reason == 0 and is_far(&state.instruments[order.instrument], order):
        reason = send_amendment(state, number, command)
    elif reason == 0:
        reason = change(state, number, command.price, command.qty, command.trigger_price)
    if reason != 0:
        reject_amendment(state, number, reason)


cdef uint8_t check_request(const order_record_t* order, const command_t* command) noexcept nogil:
    """Whether this can be asked of the order at all."""
    if not order_is_open(order):
        return REJECT_REASON_ORDER_NOT_OPEN
    if ((command.price == 0 and command.qty == 0 and command.trigger_price == 0) or command.qty < 0
            or order.waiting == WAIT_LIST
            or (command.trigger_price != 0 and not may_move_trigger(order))
            or (command.qty != 0 and order.flags & ORDER_FLAG_CLOSE_POSITION)
            or (command.price != 0 and price_is_distance(order))):
        return REJECT_REASON_INVALID_COMMAND
    return 0


cdef uint8_t send_amendment(state_t* state, uint32_t number, const command_t* command) noexcept nogil:
    """One change at a time: what the next one would change is not known yet."""
    if state.orders.records[number].changes != 0:
        return REJECT_REASON_CHANGE_PENDING
    if not send_change(state, number, CHANGE_AMEND, 0, command.price, command.qty):
        return REJECT_REASON_CAPACITY
    return 0


cdef void reject_amendment(state_t* state, uint32_t number, uint8_t reason) noexcept nogil:
    cdef event_t* event = events_order(&state.events, EVENT_AMEND_REJECTED, &state.orders.records[number])
    event.reject_reason = reason


cdef void amendment_arrives(state_t* state, uint32_t number, price_t price, qty_t qty) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    cdef uint8_t reason = change(state, number, price, qty, 0) if order_is_open(order) else REJECT_REASON_ORDER_NOT_OPEN
    if reason == 0:
        return
    reject_amendment(state, number, reason)
    if order_is_open(order):
        events_order(&state.events, EVENT_ORDER_AMENDED, order)      # as it was, and nothing on its way any more


cdef uint8_t change(
    state_t* state, uint32_t number, price_t price, qty_t qty, price_t trigger_price
) noexcept nogil:
    """Change an open order, 0 leaving what it is for; the reason not to, or 0."""
    cdef const order_record_t* order = &state.orders.records[number]
    cdef order_record_t amended = order[0]
    if qty != 0 and qty <= order.cum_qty:
        withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_AMENDED_AWAY)
        return 0
    amended.price = price if price != 0 else order.price
    amended.qty = qty if qty != 0 else total_qty(order)
    amended.awaited_qty = 0
    if order.awaited_qty > 0:                           # more of it waits for its parent as well
        amended.awaited_qty = max(amended.qty - order.qty, 0)
        amended.qty -= amended.awaited_qty
    if trigger_price != 0:
        amended.trigger_price = trigger_price
    amended.display_qty = min(order.display_qty, total_qty(&amended))
    amended.min_qty = 0                                 # was met on arrival
    return enter_amended(state, number, &amended)


cdef inline bint price_is_distance(const order_record_t* order) noexcept nogil:
    return not has_begun(order) and order.order_type == ORDER_TYPE_TRAILING_STOP_LIMIT


cdef inline bint may_move_trigger(const order_record_t* order) noexcept nogil:
    return not has_begun(order) and not is_trailing(order)


cdef uint8_t enter_amended(state_t* state, uint32_t number, const order_record_t* amended) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    cdef instrument_t* instrument = &state.instruments[order.instrument]
    cdef uint32_t slot = order.slot
    cdef incoming_t taker
    cdef match_t result
    cdef uint8_t reason = check_amended(state, instrument, order, amended)
    if reason != 0:
        return reason
    if order.waiting != WAIT_NONE:
        amend_waiting(state, instrument, number, amended)
        return 0
    shape_taker(state, amended, &taker)
    taker.slot = slot
    state.sink.count = 0
    if amended.price == order.price and amended.qty <= order.qty:
        reduce_in_place(state, instrument, number, amended)
        return 0
    if route_of(state, order.account, instrument) == ROUTE_OWN_BOOK:
        if has_guards(instrument):
            taker.flags |= TAKER_PAUSES
        amend_order(instrument.book, &taker, &state.sink, &result)
        if result.outcome == MATCH_REJECTED:
            return result.reject_reason
    else:
        reason = mirror_check(instrument.mirror, &taker)
        if reason != 0:
            return reason
        book_remove(instrument.book, slot)
        mirror_match(instrument.mirror, &taker, &state.sink, &result)
    take_off_market(state, instrument, number)
    touch_market(state, instrument)
    order.price = amended.price
    if result.outcome == MATCH_RESTED and result.filled == 0:
        order.price = result.price                      # a slide
    order.qty = amended.qty
    order.awaited_qty = amended.awaited_qty
    order.changed_ns = state.events.command.ts_ns
    events_order(&state.events, EVENT_ORDER_AMENDED, order)
    settle_fills(state, instrument, number, &taker, &result)
    conclude(state, instrument, number, slot, &result)
    return 0


cdef void amend_waiting(state_t* state, instrument_t* instrument, uint32_t number,
                        const order_record_t* amended) noexcept nogil:
    """The order waits on, with its new price, quantity or trigger."""
    cdef order_record_t* order = &state.orders.records[number]
    if waits_for_price(order):
        stop_waiting(state, instrument, number)
    ledger_reserve(&state.ledger, reserved_row(state, order), -held_amount(instrument, order))
    order.price = amended.price
    order.qty = amended.qty
    order.awaited_qty = amended.awaited_qty
    order.trigger_price = amended.trigger_price
    order.changed_ns = state.events.command.ts_ns
    ledger_reserve(&state.ledger, reserved_row(state, order), held_amount(instrument, order))
    if waits_for_price(order):
        start_waiting(state, instrument, number)
    events_order(&state.events, EVENT_ORDER_AMENDED, order)


cdef void reduce_in_place(state_t* state, instrument_t* instrument, uint32_t number,
                          const order_record_t* amended) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    if amended.qty < order.qty:
        book_reduce(instrument.book, order.slot, order.qty - amended.qty)
    ledger_reserve(&state.ledger, reserved_row(state, order), -held_amount(instrument, order))
    order.qty = amended.qty
    order.awaited_qty = amended.awaited_qty
    order.changed_ns = state.events.command.ts_ns
    ledger_reserve(&state.ledger, reserved_row(state, order), held_amount(instrument, order))
    touch_market(state, instrument)
    events_order(&state.events, EVENT_ORDER_AMENDED, order)
