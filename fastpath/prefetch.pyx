"""Prefetching for the commands to come. Described in prefetch.pxd."""

from libc.stdint cimport uint32_t

from fastpath.index cimport NO_ROW, index_t
from fastpath.ledger cimport ledger_find_position, position_hash, position_t
from fastpath.model cimport COMMAND_AMEND, COMMAND_CANCEL, COMMAND_PLACE
from fastpath.orders cimport client_order_id_hash, order_id_hash, order_record_t, orders_find

cdef extern from *:
    """
    #define TW_PREFETCH(address) __builtin_prefetch(address)
    """
    void prefetch "TW_PREFETCH"(const void* address) noexcept nogil


cdef inline void prefetch_cell(const index_t* index, uint32_t hash) noexcept nogil:
    prefetch(&index.cells[hash & index.mask])


cdef void prefetch_cells(const state_t* state, const command_t* command) noexcept nogil:
    if command.kind == COMMAND_PLACE:
        prefetch_cell(&state.orders.by_order_id, order_id_hash(command.seq))
        prefetch_cell(&state.orders.by_client_order_id,
                      client_order_id_hash(command.account, command.client_order_id))
        prefetch_cell(&state.ledger.position_index, position_hash(command.account, command.instrument))
    elif (command.kind == COMMAND_CANCEL or command.kind == COMMAND_AMEND) and command.order_id != 0:
        prefetch_cell(&state.orders.by_order_id, order_id_hash(command.order_id))


cdef void prefetch_rows(const state_t* state, const command_t* command) noexcept nogil:
    cdef const order_record_t* order
    cdef const position_t* position
    cdef uint32_t row
    if command.kind == COMMAND_PLACE:
        row = ledger_find_position(&state.ledger, command.account, command.instrument)
        if row != NO_ROW:
            position = &state.ledger.positions[row]
            prefetch(&state.ledger.balances[position.base_row])
            prefetch(&state.ledger.balances[position.quote_row])
    elif (command.kind == COMMAND_CANCEL or command.kind == COMMAND_AMEND) and command.order_id != 0:
        row = orders_find(&state.orders, command.order_id)
        if row != NO_ROW:
            order = &state.orders.records[row]
            prefetch(&order.price)
            prefetch(&order.slot)
            prefetch(&state.pool.orders[order.slot])
            prefetch(&state.ledger.positions[order.position_row])
