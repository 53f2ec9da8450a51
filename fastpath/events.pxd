# The events of the running batch of commands, in one growing buffer that is handed to Python as bytes.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.model cimport command_t, event_t
from fastpath.orders cimport order_record_t

cdef struct event_buffer_t:
    event_t* items
    size_t   count
    size_t   capacity
    bint     out_of_memory       # sticky: an event was lost, the state must not be used any more
    event_t  scratch             # where events go then
    # of the running command
    const command_t* command
    size_t   first_of_command
    uint64_t seq                 # of the last event ever

cdef bint events_init(event_buffer_t* events) noexcept nogil         # False: out of memory
cdef void events_close(event_buffer_t* events) noexcept nogil
cdef event_t* events_next(event_buffer_t* events, uint8_t kind) noexcept nogil    # zeroed, stamped, never NULL

# An event of `kind` that shows the order as it stands.
cdef event_t* events_order(event_buffer_t* events, uint8_t kind, const order_record_t* order) noexcept nogil
cdef void show_order(event_t* event, const order_record_t* order) noexcept nogil

# The command changed nothing and `reason` says why.
cdef void events_reject_command(event_buffer_t* events, uint8_t reason) noexcept nogil


cdef inline void events_begin_command(event_buffer_t* events, const command_t* command) noexcept nogil:
    events.command = command
    events.first_of_command = events.count


cdef inline void events_end_command(event_buffer_t* events) noexcept nogil:
    if events.count > events.first_of_command:
        events.items[events.count - 1].last_of_command = 1
