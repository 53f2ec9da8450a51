# The events of the running batch of commands: written once, into the bytes object that Python gets.

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.model.structs cimport command_t, event_t
from fastpath.state.orders cimport order_record_t

cdef struct event_buffer_t:
    PyObject* memory             # the bytes object of the running batch
    event_t* items               # its contents
    size_t   count
    size_t   capacity
    bint     out_of_memory       # sticky: an event was lost, the state must not be used any more
    event_t  scratch             # where events go then
    # of the running command
    const command_t* command
    size_t   first_of_command
    uint64_t seq                 # of the last event ever

cdef bint events_begin_batch(event_buffer_t* events, size_t commands) noexcept     # False: out of memory
cdef bytes events_end_batch(event_buffer_t* events)                                # the events; MemoryError if one was lost

cdef event_t* events_next(event_buffer_t* events, uint8_t kind) noexcept nogil    # zeroed, stamped, never NULL

# An event of `kind` that shows the order as it stands.
cdef event_t* events_order(event_buffer_t* events, uint8_t kind, const order_record_t* order) noexcept nogil
# All of an event record, but for the header that says which event it is.
cdef void show_order(event_t* event, const order_record_t* order) noexcept nogil

# The command changed nothing and `reason` says why.
cdef void events_reject_command(event_buffer_t* events, uint8_t reason) noexcept nogil


cdef inline void events_begin_command(event_buffer_t* events, const command_t* command) noexcept nogil:
    events.command = command
    events.first_of_command = events.count


cdef inline void events_end_command(event_buffer_t* events) noexcept nogil:
    if events.count > events.first_of_command:
        events.items[events.count - 1].last_of_command = 1
