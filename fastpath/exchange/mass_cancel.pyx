"""Mass cancel by filter, and cancel-on-disconnect. Never refused, whatever the state of the market."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from fastpath.exchange.canceling cimport request_cancel
from fastpath.state.events cimport events_next
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.model.enums cimport (
    CANCEL_REASON_DISCONNECT,
    CANCEL_REASON_MASS_CANCEL,
    EVENT_ORDERS_CANCELED,
    ORDER_FLAG_CANCEL_ON_DISCONNECT,
)
from fastpath.model.structs cimport command_t, event_t
from fastpath.state.orders cimport order_record_t


cdef filter_t any_order(uint8_t reason) noexcept nogil:
    cdef filter_t wanted
    memset(&wanted, 0, sizeof(wanted))
    wanted.reason = reason
    return wanted


cdef bint matches(const filter_t* wanted, const order_record_t* order) noexcept nogil:
    if wanted.on_disconnect and not order.flags & ORDER_FLAG_CANCEL_ON_DISCONNECT:
        return False
    return (wanted.session == 0 or order.session == wanted.session) and ((wanted.instrument == 0 or order.instrument == wanted.instrument)
            and (wanted.side == 0 or order.side == wanted.side))


cdef void cancel_matching(state_t* state, const filter_t* wanted) noexcept nogil:
    cdef uint32_t account = wanted.account if wanted.account != 0 else 1
    cdef uint32_t last = min(wanted.account if wanted.account != 0 else state.bounds.max_accounts,
                             state.bounds.max_accounts)
    cdef uint32_t number, next_number
    cdef uint32_t canceled = 0
    cdef event_t* event
    while account <= last:
        number = state.orders.open_chains[account].first
        while number != NO_ROW:
            next_number = state.orders.records[number].next_open
            if matches(wanted, &state.orders.records[number]):
                canceled += request_cancel(state, number, wanted.reason)
            number = next_number
        account += 1
    event = events_next(&state.events, EVENT_ORDERS_CANCELED)
    event.account = wanted.account
    event.instrument = wanted.instrument
    event.side = wanted.side
    event.cancel_reason = wanted.reason
    event.size.order_count = canceled


cdef void mass_cancel(state_t* state, const command_t* command) noexcept nogil:
    cdef filter_t wanted = any_order(CANCEL_REASON_MASS_CANCEL)
    wanted.account = command.account
    wanted.instrument = command.instrument
    wanted.side = command.side
    cancel_matching(state, &wanted)


cdef void session_closed(state_t* state, const command_t* command) noexcept nogil:
    cdef filter_t wanted = any_order(CANCEL_REASON_DISCONNECT)
    wanted.account = command.account
    wanted.on_disconnect = 1
    wanted.session = command.session
    cancel_matching(state, &wanted)
