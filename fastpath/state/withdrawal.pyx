"""How an open order ends from wherever it waits. Described in withdrawal.pxd."""

from fastpath.book.book cimport book_remove
from fastpath.containers.heap cimport heap_remove
from fastpath.state.orders cimport WAIT_NONE, WAIT_TRANSIT, order_record_t, waits_for_price
from fastpath.state.settlement cimport close_order
from fastpath.state.state cimport instrument_t, touch_market
from fastpath.state.triggers cimport stop_waiting


cdef void call_back(state_t* state, uint32_t slot) noexcept nogil:
    """An order is on its way no more."""
    heap_remove(&state.transit, state.waiting_places, slot)


cdef void withdraw(state_t* state, uint32_t number, uint8_t kind, uint8_t cancel_reason) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    cdef instrument_t* instrument = &state.instruments[order.instrument]
    if waits_for_price(order):
        stop_waiting(state, instrument, number)
    elif order.waiting == WAIT_TRANSIT:
        call_back(state, order.slot)
    elif order.waiting == WAIT_NONE:
        book_remove(instrument.book, order.slot)
        touch_market(state, instrument)
    close_order(state, instrument, number, kind, cancel_reason)
