"""The buffer of events and the records written into it. Described in events.pxd."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from fastpath.model cimport (
    COMMAND_DEFINE_ACCOUNT,
    COMMAND_DEFINE_ASSET,
    EVENT_REJECTED_COMMAND,
    ORDER_FLAG_WAITING,
    command_t,
    event_t,
)
from fastpath.orders cimport CLIENT_ORDER_ID_SIZE, WAIT_NONE, order_leaves_qty, order_record_t, total_qty

cdef enum:
    FIRST_CAPACITY = 4096


cdef bint events_init(event_buffer_t* events) noexcept nogil:
    memset(events, 0, sizeof(event_buffer_t))
    events.capacity = FIRST_CAPACITY
    events.items = <event_t*>malloc(FIRST_CAPACITY * sizeof(event_t))
    return events.items != NULL


cdef void events_close(event_buffer_t* events) noexcept nogil:
    free(events.items)
    events.items = NULL


cdef event_t* events_next(event_buffer_t* events, uint8_t kind) noexcept nogil:
    cdef event_t* event = &events.scratch
    cdef event_t* grown
    if events.count == events.capacity:
        grown = <event_t*>realloc(events.items, 2 * events.capacity * sizeof(event_t))
        if grown == NULL:
            events.out_of_memory = True
            return event
        events.items = grown
        events.capacity *= 2
    event = &events.items[events.count]
    events.count += 1
    events.seq += 1
    memset(event, 0, sizeof(event_t))
    event.event_seq = events.seq
    event.command_seq = events.command.seq
    event.ts_ns = events.command.ts_ns
    event.kind = kind
    return event


cdef void show_order(event_t* event, const order_record_t* order) noexcept nogil:
    event.side = order.side
    event.order_type = order.order_type
    event.time_in_force = order.time_in_force
    event.flags = order.flags | (ORDER_FLAG_WAITING if order.waiting != WAIT_NONE else 0)
    event.account = order.account
    event.instrument = order.instrument
    event.order_id = order.order_id
    event.price = order.price
    event.qty = total_qty(order)
    event.cum_qty = order.cum_qty
    event.leaves_qty = order_leaves_qty(order)
    event.cum_notional = order.cum_notional
    event.status = order.status
    event.reject_reason = order.reject_reason
    event.cancel_reason = order.cancel_reason
    event.trigger_price = order.trigger_price
    event.display_qty = order.display_qty
    event.expire_ns = order.expire_ns
    event.link_id = order.link_id
    event.asset = order.trigger_source | <uint32_t>order.trailing_unit << 8
    event.reserved_amount = order.trailing_offset
    event.total = order.cum_fee
    event.delta = order.placed_ns
    memcpy(event.client_order_id, order.client_order_id, CLIENT_ORDER_ID_SIZE)


cdef event_t* events_order(event_buffer_t* events, uint8_t kind, const order_record_t* order) noexcept nogil:
    cdef event_t* event = events_next(events, kind)
    show_order(event, order)
    return event


cdef void events_reject_command(event_buffer_t* events, uint8_t reason) noexcept nogil:
    cdef const command_t* command = events.command
    cdef event_t* event = events_next(events, EVENT_REJECTED_COMMAND)
    event.reject_reason = reason
    if not COMMAND_DEFINE_ASSET <= command.kind <= COMMAND_DEFINE_ACCOUNT:      # those are laid out otherwise
        event.account = command.account
        event.instrument = command.instrument
        event.asset = command.asset
        event.order_id = command.order_id
        memcpy(event.client_order_id, command.client_order_id, CLIENT_ORDER_ID_SIZE)
