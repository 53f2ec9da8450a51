"""The consequences of a command, in a fixed order until there are none left.

First linked orders follow their siblings and parents, then reduce-only orders shrink with their positions, then the next
triggered order enters, and so on from the beginning. Only triggers can go on for long; they are bounded per command.
"""

from libc.stdint cimport uint32_t

from fastpath.book cimport book_reduce
from fastpath.events cimport events_order
from fastpath.index cimport NO_ROW
from fastpath.ledger cimport position_t
from fastpath.links cimport group_t, links_next_changed
from fastpath.model cimport (
    CANCEL_REASON_LINKED_ORDER,
    CANCEL_REASON_MARKET_REMAINDER,
    CANCEL_REASON_REDUCE_ONLY,
    EVENT_ORDER_AMENDED,
    EVENT_ORDER_CANCELED,
    LINK_TYPE_OCO,
    LINK_TYPE_OTO,
    REJECT_REASON_OPEN_ORDER_LIMIT,
    qty_t,
)
from fastpath.orders cimport WAIT_NONE, WAIT_PARENT, first_wait, is_conditional, order_is_open, order_record_t
from fastpath.sizing cimport REDUCING_FLAGS, reducible
from fastpath.state cimport instrument_t, touch_market
from fastpath.trading cimport shrink, trigger, withdraw
from fastpath.triggers cimport MAX_TRIGGERS_PER_COMMAND, can_wait, next_triggered, start_waiting


cdef void follow_up(state_t* state) noexcept nogil:
    cdef uint32_t budget = MAX_TRIGGERS_PER_COMMAND
    cdef uint32_t positions = 0
    cdef uint32_t number
    while True:
        number = links_next_changed(&state.links, &state.orders)
        if number != NO_ROW:
            follow_member(state, number)
            positions = 0                               # touched ones are listed once, and may have changed again
            continue
        if positions < state.ledger.touched_position_count:
            cap_reducing_orders(state, state.ledger.touched_positions[positions])
            positions += 1
            continue
        number = next_triggered(state, &budget)
        if number == NO_ROW:
            return
        trigger(state, number)
        positions = 0


cdef void reduce_open(state_t* state, uint32_t number, qty_t by, int cancel_reason) noexcept nogil:
    """Take lots off an open order, wherever it is; cancel it if that leaves nothing."""
    cdef order_record_t* order = &state.orders.records[number]
    if by <= 0:
        return
    if by >= order.qty - order.cum_qty:
        withdraw(state, number, EVENT_ORDER_CANCELED, cancel_reason)
        return
    if order.waiting == WAIT_NONE:
        book_reduce(state.instruments[order.instrument].book, order.slot, by)
        touch_market(state, &state.instruments[order.instrument])
    shrink(state, &state.instruments[order.instrument], number, by)


cdef void cap_reducing_orders(state_t* state, uint32_t position_row) noexcept nogil:
    """A position has changed: its resting reduce-only orders shrink to what they can still reduce, or are canceled."""
    cdef const position_t* position = &state.ledger.positions[position_row]
    cdef uint32_t number = state.orders.open_chains[position.account].first
    cdef uint32_t next_number
    cdef const order_record_t* order
    if position.reducing_orders == 0:
        return
    while number != NO_ROW:
        order = &state.orders.records[number]
        next_number = order.next_open
        if (order.instrument == position.instrument and order.flags & REDUCING_FLAGS
                and order.waiting == WAIT_NONE):
            reduce_open(state, number, order.qty - order.cum_qty - reducible(state, order), CANCEL_REASON_REDUCE_ONLY)
        number = next_number


cdef void follow_member(state_t* state, uint32_t number) noexcept nogil:
    """A member of a group was filled, has ended, or is new."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef const group_t* group = &state.links.groups[order.group]
    cdef const order_record_t* parent = &state.orders.records[group.members[0]]
    cdef uint32_t i
    if group.link_type != LINK_TYPE_OCO and number == group.members[0]:
        for i in range(1, group.count):
            release_child(state, group.members[i], parent)
        return
    if group.link_type != LINK_TYPE_OCO:
        release_child(state, number, parent)
    if group.link_type != LINK_TYPE_OTO:
        follow_siblings(state, number, group)


cdef void release_child(state_t* state, uint32_t number, const order_record_t* parent) noexcept nogil:
    """Once the parent has ended, a child enters for what the parent filled, or is canceled if that is nothing."""
    cdef order_record_t* child = &state.orders.records[number]
    cdef instrument_t* instrument = &state.instruments[child.instrument]
    if order_is_open(parent) or not order_is_open(child) or child.waiting != WAIT_PARENT:
        return
    if parent.cum_qty == 0:
        withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)
        return
    child.qty = min(child.qty, parent.cum_qty)
    child.display_qty = min(child.display_qty, child.qty)
    if not is_conditional(child):
        trigger(state, number)
    elif can_wait(state, instrument, child):
        child.waiting = first_wait(child)
        child.changed_ns = state.events.command.ts_ns
        start_waiting(state, instrument, number)
        events_order(&state.events, EVENT_ORDER_AMENDED, child)
    else:
        child.reject_reason = REJECT_REASON_OPEN_ORDER_LIMIT
        withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_MARKET_REMAINDER)


cdef void follow_siblings(state_t* state, uint32_t number, const group_t* group) noexcept nogil:
    """What one has filled is taken off the others; when one ends, they are canceled."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef order_record_t* sibling
    cdef uint32_t i = 0 if group.link_type == LINK_TYPE_OCO else 1      # the parent of a bracket is no sibling
    cdef bint is_new = order.linked_qty < 0
    cdef qty_t filled = order.cum_qty - max(order.linked_qty, 0)
    order.linked_qty = order.cum_qty
    for i in range(i, group.count):
        sibling = &state.orders.records[group.members[i]]
        if sibling == order:
            continue
        if order_is_open(sibling):
            reduce_open(state, group.members[i], filled if order_is_open(order) else sibling.qty - sibling.cum_qty,
                        CANCEL_REASON_LINKED_ORDER)
        if is_new and order_is_open(order):
            if not order_is_open(sibling):
                withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)
            else:
                reduce_open(state, number, sibling.linked_qty, CANCEL_REASON_LINKED_ORDER)
