"""The consequences of a command, in a fixed order until there are none left.

First linked orders follow their siblings and parents, then reduce-only orders shrink with their positions, then the next
triggered order enters, and so on from the beginning. Only triggers can go on for long; they are bounded per command.
"""

from libc.stdint cimport uint32_t

from fastpath.exchange.amending cimport enter_amended

from fastpath.state.events cimport events_order
from fastpath.containers.hash_index cimport NO_ROW

from fastpath.state.contingent_groups cimport group_t, contingent_changed, contingent_next_changed
from fastpath.model.enums cimport (
    CANCEL_REASON_LINKED_ORDER,
    CANCEL_REASON_MARKET_REMAINDER,
    EVENT_ORDER_AMENDED,
    EVENT_ORDER_CANCELED,
    LINK_TYPE_BRACKET,
    LINK_TYPE_OCO,
    REJECT_REASON_OPEN_ORDER_LIMIT,
)
from fastpath.model.structs cimport qty_t
from fastpath.state.orders cimport (
    WAIT_LIST,
    WAIT_MORE,
    first_wait,
    is_conditional,
    is_sent,
    order_is_open,
    order_record_t,
    total_qty,
    waits_for_price,
)
from fastpath.risk.sizing cimport REDUCING_FLAGS, reducible
from fastpath.exchange.reducing cimport cap_reducing_orders, follow_siblings
from fastpath.state.withdrawal cimport withdraw
from fastpath.state.state cimport instrument_t
from fastpath.exchange.placing cimport trigger
from fastpath.state.triggers cimport MAX_TRIGGERS_PER_COMMAND, can_wait, next_triggered, start_waiting


cdef void follow_changes(state_t* state) noexcept nogil:
    cdef uint32_t budget = MAX_TRIGGERS_PER_COMMAND
    cdef uint32_t positions = 0
    cdef uint32_t number
    while True:
        number = contingent_next_changed(&state.contingent, &state.orders)
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
        end_parent(state, number)
        trigger(state, number)
        positions = 0


cdef void end_parent(state_t* state, uint32_t number) noexcept nogil:
    """The price of a child has come that trades against its parent: what is left of the parent ends, and its children know, before
    the child enters. So none trades with it, and no fill comes after the exit."""
    cdef const order_record_t* child = &state.orders.records[number]
    cdef uint32_t parent
    if child.group == NO_ROW or child.link_type == LINK_TYPE_OCO:
        return
    parent = state.contingent.groups[child.group].members[0]
    if order_is_open(&state.orders.records[parent]) and state.orders.records[parent].side != child.side:
        withdraw(state, parent, EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)
        follow_member(state, parent)


cdef void follow_member(state_t* state, uint32_t number) noexcept nogil:
    """A member of a group was filled, has ended, is new, or is next to enter."""
    cdef const group_t* group = &state.contingent.groups[state.orders.records[number].group]
    cdef const order_record_t* parent = &state.orders.records[group.members[0]]
    cdef uint32_t i
    if group.link_type != LINK_TYPE_OCO and number == group.members[0]:
        for i in range(1, group.count):
            release_child(state, group.members[i], parent)
    elif group.link_type != LINK_TYPE_OCO:
        release_child(state, number, parent)
    if group.link_type == LINK_TYPE_OCO or (group.link_type == LINK_TYPE_BRACKET and number != group.members[0]):
        follow_siblings(state, number)
    if group.count == group.size:
        begin_next(state, group)


cdef void begin_next(state_t* state, const group_t* group) noexcept nogil:
    """All orders of a list are there: the first that still waits for them enters, the next when that was followed."""
    cdef uint32_t first = NO_ROW
    cdef uint32_t i
    for i in range(group.count):
        if state.orders.records[group.members[i]].link_queued:
            return                                      # there is something to follow first
    for i in range(group.count):
        if state.orders.records[group.members[i]].waiting != WAIT_LIST:
            continue
        if first != NO_ROW:
            enter_listed(state, first)
            contingent_changed(&state.contingent, &state.orders, group.members[i])
            return
        first = group.members[i]
    if first != NO_ROW:
        enter_listed(state, first)


cdef void enter_listed(state_t* state, uint32_t number) noexcept nogil:
    if is_conditional(&state.orders.records[number]):
        wait_for_price(state, number)
    else:
        trigger(state, number)


cdef void wait_for_price(state_t* state, uint32_t number) noexcept nogil:
    """A conditional order that waited for others waits for its price now."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef instrument_t* instrument = &state.instruments[order.instrument]
    if not can_wait(state, instrument, order):
        order.reject_reason = REJECT_REASON_OPEN_ORDER_LIMIT
        withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_MARKET_REMAINDER)
        return
    order.waiting = first_wait(order)
    start_waiting(state, instrument, number)
    restate(state, order)


cdef void release_child(state_t* state, uint32_t number, const order_record_t* parent) noexcept nogil:
    """What the parent has filled since is released. Once it has ended nothing more comes: the rest is given up."""
    cdef order_record_t* child = &state.orders.records[number]
    cdef qty_t filled = min(parent.cum_qty - child.parent_qty, child.awaited_qty)
    cdef bint over = not order_is_open(parent)
    if not order_is_open(child) or child.awaited_qty == 0:
        return
    child.parent_qty = parent.cum_qty
    if over and filled == 0 and child.qty == child.cum_qty:
        withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)
        return
    child.awaited_qty -= filled
    if over:
        child.awaited_qty = 0
        child.display_qty = min(child.display_qty, child.qty + filled)
    if filled > 0:
        grow(state, number, filled)
    elif over:
        restate(state, child)


cdef void restate(state_t* state, order_record_t* order) noexcept nogil:
    order.changed_ns = state.events.command.ts_ns
    events_order(&state.events, EVENT_ORDER_AMENDED, order)


cdef void grow(state_t* state, uint32_t number, qty_t by) noexcept nogil:
    """A child has so much more to work with, wherever it is."""
    cdef order_record_t* child = &state.orders.records[number]
    if is_sent(child):
        grow_in_market(state, number, by)
        return
    child.qty += by
    if waits_for_price(child):
        restate(state, child)
    elif child.waiting == WAIT_MORE or not is_conditional(child):
        trigger(state, number)
    else:
        wait_for_price(state, number)


cdef void grow_in_market(state_t* state, uint32_t number, qty_t by) noexcept nogil:
    """As an amendment by its owner: more quantity arrives anew. What the market refuses is given up."""
    cdef order_record_t* child = &state.orders.records[number]
    cdef order_record_t grown = child[0]
    grown.qty += by
    if child.flags & REDUCING_FLAGS:
        grown.qty = min(grown.qty, child.cum_qty + reducible(state, child))
    grown.display_qty = min(child.display_qty, total_qty(&grown))
    grown.min_qty = 0
    if grown.qty <= child.qty or enter_amended(state, number, &grown) != 0:
        restate(state, child)
