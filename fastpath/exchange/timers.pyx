"""Expiry, dead-man timers and arrivals. A command brings the time; everything due by then happens, the earliest first.

TIMER is for what ends, ARRIVALS for orders, cancels and amendments that get to a venue: between the two, the venue's market is brought up to date.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from fastpath.exchange.amending cimport amendment_arrives
from fastpath.exchange.canceling cimport cancel_arrives
from fastpath.state.in_flight cimport CHANGE_CANCEL, change_t, changes_pop
from fastpath.state.events cimport events_next, events_reject_command
from fastpath.exchange.mass_cancel cimport any_order, cancel_matching, filter_t
from fastpath.model.enums cimport (
    CANCEL_REASON_TIMER,
    CANCEL_REASON_UNSPECIFIED,
    EVENT_DEADMAN_TIMER_SET,
    EVENT_ORDER_EXPIRED,
    REJECT_REASON_ACCOUNT_NOT_FOUND,
    REJECT_REASON_EXPIRE_TIME_IN_PAST,
)
from fastpath.model.structs cimport command_t, event_t, ts_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.withdrawal cimport withdraw
from fastpath.state.state cimport find_account
from fastpath.exchange.placing cimport arrive


cdef void run_timers(state_t* state, const command_t* command) noexcept nogil:
    cdef uint32_t account
    cdef filter_t wanted
    while state.expiries.count > 0 and state.expiries.items[0].key <= command.ts_ns:
        withdraw(state, state.expiries.items[0].number, EVENT_ORDER_EXPIRED, CANCEL_REASON_UNSPECIFIED)
    if command.ts_ns < state.next_deadman_ns:
        return
    state.next_deadman_ns = INT64_MAX
    for account in range(1, state.bounds.max_accounts + 1):
        if state.deadman_ns[account] == 0:
            continue
        if state.deadman_ns[account] <= command.ts_ns:
            state.deadman_ns[account] = 0
            wanted = any_order(CANCEL_REASON_TIMER)
            wanted.account = account
            cancel_matching(state, &wanted)
        else:
            state.next_deadman_ns = min(state.next_deadman_ns, state.deadman_ns[account])


cdef void run_arrivals(state_t* state, const command_t* command) noexcept nogil:
    """An order before the changes that get there at the same time."""
    cdef change_t change
    cdef order_record_t* order
    while next_arrival(state) <= command.ts_ns:
        if order_due(state) <= change_due(state):
            arrive(state, state.transit.items[0].number)
            continue
        change = changes_pop(&state.changes)
        order = &state.orders.records[change.number]
        order.changes &= ~<uint32_t>change.kind
        order.changed_ns = command.ts_ns
        if change.kind == CHANGE_CANCEL:
            cancel_arrives(state, change.number, change.cancel_reason)
        else:
            amendment_arrives(state, change.number, change.price, change.qty)


cdef inline ts_t order_due(const state_t* state) noexcept nogil:
    return state.transit.items[0].key if state.transit.count > 0 else INT64_MAX


cdef inline ts_t change_due(const state_t* state) noexcept nogil:
    return state.changes.items[0].due_ns if state.changes.count > 0 else INT64_MAX


cdef int64_t next_arrival(const state_t* state) noexcept nogil:
    return min(order_due(state), change_due(state))


cdef void set_deadman_timer(state_t* state, const command_t* command) noexcept nogil:
    cdef event_t* event
    if find_account(state, command.account) == NULL:
        events_reject_command(&state.events, REJECT_REASON_ACCOUNT_NOT_FOUND)
        return
    if command.expire_ns != 0 and command.expire_ns <= command.ts_ns:
        events_reject_command(&state.events, REJECT_REASON_EXPIRE_TIME_IN_PAST)
        return
    state.deadman_ns[command.account] = command.expire_ns
    if command.expire_ns != 0:
        state.next_deadman_ns = min(state.next_deadman_ns, command.expire_ns)
    event = events_next(&state.events, EVENT_DEADMAN_TIMER_SET)
    event.account = command.account
    event.expire_ns = command.expire_ns


cdef int64_t next_timer(const state_t* state) noexcept nogil:
    """A dead-man timer that was set again or switched off may make this too early, never too late."""
    if state.expiries.count == 0:
        return state.next_deadman_ns
    return min(state.next_deadman_ns, state.expiries.items[0].key)
