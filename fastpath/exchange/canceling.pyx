"""Cancels that a trader asked for. Never refused while the order is open, whatever the state of the market."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastpath.state.in_flight cimport CHANGE_CANCEL, change_t, changes_push
from fastpath.state.events cimport events_next, events_order
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.model.enums cimport (
    CANCEL_REASON_REQUESTED,
    EVENT_CANCEL_REJECTED,
    EVENT_ORDER_AMENDED,
    EVENT_ORDER_CANCELED,
    EVENT_ORDER_REPLAYED,
    REJECT_REASON_ORDER_NOT_FOUND,
    REJECT_REASON_ORDER_NOT_OPEN,
)
from fastpath.model.structs cimport event_t
from fastpath.state.orders cimport CLIENT_ORDER_ID_SIZE, client_order_id_hash, order_is_open, orders_find, orders_find_client
from fastpath.state.withdrawal cimport withdraw


cdef uint32_t find_meant(const state_t* state, const command_t* command) noexcept nogil:
    cdef uint32_t number
    if command.order_id != 0:
        number = orders_find(&state.orders, command.order_id)
        if number != NO_ROW and command.account != 0 and state.orders.records[number].account != command.account:
            return NO_ROW
        return number
    return orders_find_client(&state.orders, command.account, command.client_order_id,
                              client_order_id_hash(command.account, command.client_order_id))


cdef void cancel(state_t* state, const command_t* command) noexcept nogil:
    cdef uint32_t number = find_meant(state, command)
    cdef event_t* event
    if number == NO_ROW:
        event = events_next(&state.events, EVENT_CANCEL_REJECTED)
        event.account = command.account
        event.order_id = command.order_id
        memcpy(event.client_order_id, command.client_order_id, CLIENT_ORDER_ID_SIZE)
        event.reject_reason = REJECT_REASON_ORDER_NOT_FOUND
    elif not order_is_open(&state.orders.records[number]):
        reject_cancel(state, number)
    elif not request_cancel(state, number, CANCEL_REASON_REQUESTED):
        events_order(&state.events, EVENT_ORDER_REPLAYED, &state.orders.records[number])


cdef void reject_cancel(state_t* state, uint32_t number) noexcept nogil:
    cdef event_t* event = events_order(&state.events, EVENT_CANCEL_REJECTED, &state.orders.records[number])
    event.reject_reason = REJECT_REASON_ORDER_NOT_OPEN


cdef bint request_cancel(state_t* state, uint32_t number, uint8_t cancel_reason) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    if order.changes & CHANGE_CANCEL:
        return False
    if not (is_far(&state.instruments[order.instrument], order)
            and send_change(state, number, CHANGE_CANCEL, cancel_reason, 0, 0)):
        withdraw(state, number, EVENT_ORDER_CANCELED, cancel_reason)
    return True


cdef bint send_change(
    state_t* state, uint32_t number, ChangeKind kind, uint8_t cancel_reason, price_t price, qty_t qty
) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    cdef change_t change
    change.due_ns = state.events.command.ts_ns + travel_ns(&state.instruments[order.instrument])
    change.seq = state.events.command.seq
    change.number = number
    change.kind = <uint8_t>kind
    change.cancel_reason = cancel_reason
    change.unused = 0
    change.price = price
    change.qty = qty
    if not changes_push(&state.changes, &change):
        return False
    order.changes |= kind
    order.changed_ns = state.events.command.ts_ns
    events_order(&state.events, EVENT_ORDER_AMENDED, order)
    return True


cdef void cancel_arrives(state_t* state, uint32_t number, uint8_t cancel_reason) noexcept nogil:
    if order_is_open(&state.orders.records[number]):
        withdraw(state, number, EVENT_ORDER_CANCELED, cancel_reason)
    else:
        reject_cancel(state, number)
