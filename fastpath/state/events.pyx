"""The buffer of events and the records written into it. Described in events.pxd."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from fastpath.model.arith cimport high_word, low_word
from fastpath.model.enums cimport (
    COMMAND_DEFINE_ACCOUNT,
    COMMAND_DEFINE_ASSET,
    EVENT_REJECTED_COMMAND,
    ORDER_FLAG_CHANGE_PENDING,
    ORDER_FLAG_WAITING,
)
from fastpath.model.structs cimport command_t, event_t
from fastpath.state.orders cimport CLIENT_ORDER_ID_SIZE, WAIT_NONE, order_is_open, order_leaves_qty, order_record_t, total_qty
from fastpath.book.pool cimport unlikely

cdef extern from "Python.h":
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char*, Py_ssize_t)    # NULL: MemoryError
    int resize_bytes "_PyBytes_Resize"(PyObject**, Py_ssize_t) except -1        # it is gone then
    char* bytes_data "PyBytes_AS_STRING"(PyObject*) nogil
    void PyErr_Clear()

cdef extern from *:
    """
    #include <stddef.h>
    #include <string.h>
    /* memset(start, 0, size) of a constant size, a multiple of 32, as plain stores: setting up a string instruction for so
       little costs more than all of them. */
    static inline __attribute__((always_inline)) void tw_clear(void *start, size_t size) {
    #pragma GCC unroll 8
        for (size_t at = 0; at < size; at += 32)
            memset((char *)start + at, 0, 32);
    }

    /* An event's lines are asked for some events before it is written. */
    static inline void tw_prefetch_event(const void *event) {
        for (int line = 0; line < 4; line++)
            __builtin_prefetch((const char *)event + 64 * line);
    }
    """
    void clear "tw_clear"(void* start, size_t size) noexcept nogil
    void prefetch_event "tw_prefetch_event"(const event_t* event) noexcept nogil

cdef enum:
    EVENTS_AHEAD = 16             # for which memory is asked before they are written
    EVENTS_A_COMMAND = 6          # that there is room for at once; a guess


cdef bint events_begin_batch(event_buffer_t* events, size_t commands) noexcept:
    events.count = events.capacity = 0
    return make_room(events, max(1, EVENTS_A_COMMAND * commands))


cdef bytes events_end_batch(event_buffer_t* events):
    cdef PyObject* memory = events.memory
    cdef bytes batch
    events.memory = NULL
    events.items = NULL
    if events.out_of_memory:
        Py_DECREF(<object>memory)
        raise MemoryError("no memory for the events of these commands; this state is incomplete, rebuild it")
    resize_bytes(&memory, events.count * sizeof(event_t))
    batch = <bytes>memory
    Py_DECREF(batch)                    # the reference that was ours
    return batch


cdef bint make_room(event_buffer_t* events, size_t capacity) noexcept:
    """Go on in a new bytes object, with what there is copied. False: out of memory, all as it was."""
    cdef PyObject* before = events.memory
    cdef PyObject* memory = new_bytes(NULL, capacity * sizeof(event_t))
    if memory == NULL:
        PyErr_Clear()
        return False
    if events.count > 0:
        memcpy(bytes_data(memory), events.items, events.count * sizeof(event_t))
        Py_DECREF(<object>before)
    events.memory = memory
    events.items = <event_t*>bytes_data(memory)
    events.capacity = capacity
    return True


cdef bint grow(event_buffer_t* events) noexcept nogil:
    with gil:
        return make_room(events, 2 * events.capacity)


cdef inline event_t* stamped(event_buffer_t* events, uint8_t kind) noexcept nogil:
    """The next event: nothing is written yet but which it is."""
    cdef event_t* event = &events.scratch
    if unlikely(events.count == events.capacity) and not grow(events):
        events.out_of_memory = True
    else:
        event = &events.items[events.count]
        events.count += 1
        events.seq += 1
    prefetch_event(event + EVENTS_AHEAD)
    event.event_seq = events.seq
    event.command_seq = events.command.seq
    event.ts_ns = events.command.ts_ns
    event.kind = kind
    return event


cdef event_t* events_next(event_buffer_t* events, uint8_t kind) noexcept nogil:
    cdef event_t* event = stamped(events, kind)
    event.side = event.order_type = event.time_in_force = 0
    event.detail.flags = 0
    clear(&event.account, sizeof(event_t) - (<size_t>&event.account - <size_t>event))
    return event


cdef void show_order(event_t* event, const order_record_t* order) noexcept nogil:
    event.side = order.side
    event.order_type = order.order_type
    event.time_in_force = order.time_in_force
    event.detail.flags = order.flags | (ORDER_FLAG_WAITING if order.waiting != WAIT_NONE else 0)
    if order.changes != 0 and order_is_open(order):
        event.detail.flags |= ORDER_FLAG_CHANGE_PENDING
    event.account = order.account
    event.instrument = order.instrument
    event.order_id = order.order_id
    event.price = order.price
    event.size.qty = total_qty(order)
    event.cum_qty = order.cum_qty
    event.leaves_qty = order_leaves_qty(order)
    event.last_price = 0
    event.last_qty = 0
    event.counter_order_id = 0
    event.trade_id = 0
    event.money.fee = 0
    event.cum_notional = low_word(order.cum_notional)
    event.status = order.status
    event.liquidity = 0
    event.reject_reason = order.reject_reason
    event.cancel_reason = order.cancel_reason
    event.of.order.trigger_source = order.trigger_source
    event.of.order.trailing_unit = order.trailing_unit
    event.of.order.unused = 0
    event.of.order.cum_fee = low_word(order.cum_fee)
    event.of.order.trailing_offset = order.trailing_offset
    event.of.order.placed_ns = order.placed_ns
    event.of.order.cum_notional_high = high_word(order.cum_notional)
    event.of.order.cum_fee_high = high_word(order.cum_fee)
    event.of.order.fee_high = 0
    event.trigger_price = order.trigger_price
    event.display_qty = order.display_qty
    event.expire_ns = order.expire_ns
    event.link_id = order.link_id
    memcpy(event.client_order_id, order.client_order_id, CLIENT_ORDER_ID_SIZE)
    event.last_of_command = 0


cdef event_t* events_order(event_buffer_t* events, uint8_t kind, const order_record_t* order) noexcept nogil:
    cdef event_t* event = stamped(events, kind)
    show_order(event, order)
    return event


cdef void events_reject_command(event_buffer_t* events, uint8_t reason) noexcept nogil:
    cdef const command_t* command = events.command
    cdef event_t* event = events_next(events, EVENT_REJECTED_COMMAND)
    event.reject_reason = reason
    if not COMMAND_DEFINE_ASSET <= command.kind <= COMMAND_DEFINE_ACCOUNT:      # those are laid out otherwise
        event.account = command.account
        event.instrument = command.instrument
        event.of.asset = command.asset
        event.order_id = command.order_id
        memcpy(event.client_order_id, command.client_order_id, CLIENT_ORDER_ID_SIZE)
