"""How open orders lose lots, or end, because of others. Described in reducing.pxd."""

from fastpath.book.book cimport book_reduce, book_remove
from fastpath.state.events cimport events_order
from fastpath.state.guards cimport has_siblings, same_group

from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport ledger_reserve, position_t
from fastpath.state.contingent_groups cimport group_t
from fastpath.model.enums cimport (
    CANCEL_REASON_LINKED_ORDER,
    CANCEL_REASON_REDUCE_ONLY,
    EVENT_ORDER_AMENDED,
    EVENT_ORDER_CANCELED,
    LINK_TYPE_OCO,
)
from fastpath.state.orders cimport (
    WAIT_MORE,
    WAIT_NONE,
    WAIT_PARENT,
    WAIT_TRANSIT,
    WAIT_TRIGGER,
    has_begun,
    is_funded,
    is_trailing,
    order_is_open,
    order_leaves_qty,
    order_record_t,
    waits_for_price,
)
from fastpath.state.settlement cimport held_amount, reserved_row
from fastpath.risk.sizing cimport REDUCING_FLAGS, reducible
from fastpath.state.state cimport instrument_t, touch_market
from fastpath.state.triggers cimport stop_waiting
from fastpath.state.withdrawal cimport call_back, withdraw

cdef enum:
    NOT_MET = -1                  # linked_qty of an order that its siblings have not met yet
    GAVE_WAY = -2                 # of one that was canceled for a sibling's sake, which goes on


cdef void shrink(state_t* state, instrument_t* instrument, uint32_t number, qty_t by) noexcept nogil:
    """Less quantity, less reserved, and the event that tells. The book has been told already."""
    cdef order_record_t* order = &state.orders.records[number]
    ledger_reserve(&state.ledger, reserved_row(state, order), -held_amount(instrument, order))
    order.qty -= by
    if order.qty == order.cum_qty and has_begun(order):
        order.waiting = WAIT_MORE
    ledger_reserve(&state.ledger, reserved_row(state, order), held_amount(instrument, order))
    order.changed_ns = state.events.command.ts_ns
    events_order(&state.events, EVENT_ORDER_AMENDED, order)


cdef void reduce_open(state_t* state, uint32_t number, qty_t by, int cancel_reason) noexcept nogil:
    """Take lots off an open order: off what is at work first, then off what waits for its parent. Cancel it if that
    leaves nothing."""
    cdef order_record_t* order = &state.orders.records[number]
    cdef instrument_t* instrument = &state.instruments[order.instrument]
    cdef qty_t working = order.qty - order.cum_qty
    cdef qty_t off = min(by, working)
    if by <= 0:
        return
    if by >= order_leaves_qty(order):
        withdraw(state, number, EVENT_ORDER_CANCELED, cancel_reason)
        return
    order.awaited_qty -= by - off
    if waits_for_price(order) and off == working:
        stop_waiting(state, instrument, number)
        wait_for_parent(order)
    elif order.waiting == WAIT_TRANSIT and off == working:
        call_back(state, order.slot)
    elif order.waiting == WAIT_NONE:
        if off < working:
            book_reduce(instrument.book, order.slot, off)
        else:
            book_remove(instrument.book, order.slot)
        touch_market(state, instrument)
    shrink(state, instrument, number, off)


cdef void wait_for_parent(order_record_t* order) noexcept nogil:
    """A conditional child has nothing left to wait for its price with. A trailing one will follow anew."""
    if is_trailing(order) and order.waiting == WAIT_TRIGGER:
        order.trigger_price = 0
    order.waiting = WAIT_PARENT


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


cdef void follow_siblings(state_t* state, uint32_t number) noexcept nogil:
    cdef const group_t* group = &state.contingent.groups[state.orders.records[number].group]
    cdef order_record_t* order = &state.orders.records[number]
    cdef const order_record_t* sibling
    cdef uint32_t i = 0 if group.link_type == LINK_TYPE_OCO else 1      # the parent of a bracket is no sibling
    cdef bint is_new = order.linked_qty == NOT_MET
    cdef bint gave_way = order.linked_qty == GAVE_WAY
    cdef qty_t filled = order.cum_qty - max(order.linked_qty, 0)
    order.linked_qty = order.cum_qty
    if gave_way:
        return
    for i in range(i, group.count):
        sibling = &state.orders.records[group.members[i]]
        if sibling == order:
            continue
        if order_is_open(sibling) and order_is_open(order):
            reduce_open(state, group.members[i], filled, CANCEL_REASON_LINKED_ORDER)
        elif order_is_open(sibling):
            withdraw(state, group.members[i], EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)
        if is_new and order_is_open(order):
            if not order_is_open(sibling):
                withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)
            else:
                reduce_open(state, number, sibling.linked_qty, CANCEL_REASON_LINKED_ORDER)


cdef void follow_fill(state_t* state, uint32_t maker, uint32_t taker) noexcept nogil:
    cdef const order_record_t* order = &state.orders.records[maker]
    if has_siblings(state, order) and not same_group(order, &state.orders.records[taker]):
        follow_siblings(state, maker)
    cap_reducing_orders(state, order.position_row)


cdef bint yield_balance(state_t* state, uint32_t number) noexcept nogil:
    cdef const order_record_t* order = &state.orders.records[number]
    cdef const order_record_t* sibling
    cdef const group_t* group
    cdef bint found = False
    cdef uint32_t i
    if not has_siblings(state, order):
        return False
    group = &state.contingent.groups[order.group]
    for i in range(0 if group.link_type == LINK_TYPE_OCO else 1, group.count):
        sibling = &state.orders.records[group.members[i]]
        if (sibling != order and order_is_open(sibling) and sibling.side == order.side and is_funded(sibling)
                and sibling.linked_qty == sibling.cum_qty):
            withdraw(state, group.members[i], EVENT_ORDER_CANCELED, CANCEL_REASON_LINKED_ORDER)
            state.orders.records[group.members[i]].linked_qty = GAVE_WAY
            found = True
    return found
