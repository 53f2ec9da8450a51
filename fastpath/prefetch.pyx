"""Prefetching for the commands to come. Described in prefetch.pxd."""

from libc.stdint cimport uint32_t

from fastpath.index cimport NO_ROW, index_next, index_start, index_t
from fastpath.ledger cimport position_hash, position_t
from fastpath.model cimport COMMAND_AMEND, COMMAND_CANCEL, COMMAND_PLACE
from fastpath.orders cimport client_order_id_hash, order_id_hash, order_record_t
from fastpath.pool cimport NIL

cdef extern from *:
    """
    #define TW_PREFETCH(address) __builtin_prefetch(address)
    """
    void prefetch "TW_PREFETCH"(const void* address) noexcept nogil

cdef enum:
    CACHE_LINE = 64


cdef inline void prefetch_cell(const index_t* index, uint32_t hash) noexcept nogil:
    prefetch(&index.cells[hash & index.mask])


cdef inline void prefetch_lines(const void* start, size_t size) noexcept nogil:
    cdef size_t line
    for line in range((size + CACHE_LINE - 1) // CACHE_LINE):
        prefetch(<const char*>start + line * CACHE_LINE)


cdef inline bint names_an_order(const command_t* command) noexcept nogil:
    return (command.kind == COMMAND_CANCEL or command.kind == COMMAND_AMEND) and command.order_id != 0


cdef inline uint32_t candidate(const index_t* index, uint32_t hash) noexcept nogil:
    """The row that is most likely meant: its key is not compared, since it has not come yet."""
    cdef uint32_t cursor = index_start(index, hash)
    return index_next(index, hash, &cursor)


cdef void prefetch_cells(const state_t* state, const command_t* command) noexcept nogil:
    if command.kind == COMMAND_PLACE:
        prefetch_cell(&state.orders.by_order_id, order_id_hash(command.seq))
        prefetch_cell(&state.orders.by_client_order_id,
                      client_order_id_hash(command.account, command.client_order_id))
        prefetch_cell(&state.ledger.position_index, position_hash(command.account, command.instrument))
        if command.account <= state.bounds.max_accounts:
            prefetch(&state.orders.open_chains[command.account])
    elif names_an_order(command):
        prefetch_cell(&state.orders.by_order_id, order_id_hash(command.order_id))


cdef void prefetch_rows(const state_t* state, const command_t* command) noexcept nogil:
    cdef uint32_t row
    if command.kind == COMMAND_PLACE:
        row = candidate(&state.ledger.position_index, position_hash(command.account, command.instrument))
        if row != NO_ROW:
            prefetch(&state.ledger.positions[row])
        if command.account <= state.bounds.max_accounts:
            row = state.orders.open_chains[command.account].last
            if row != NO_ROW:
                prefetch(&state.orders.records[row].next_open)
    elif names_an_order(command):
        row = candidate(&state.orders.by_order_id, order_id_hash(command.order_id))
        if row != NO_ROW:
            prefetch_lines(&state.orders.records[row], sizeof(order_record_t))


cdef void prefetch_links(const state_t* state, const command_t* command) noexcept nogil:
    cdef const order_record_t* order
    cdef const position_t* position
    cdef uint32_t row
    if command.kind == COMMAND_PLACE:
        row = candidate(&state.ledger.position_index, position_hash(command.account, command.instrument))
        if row != NO_ROW:
            position = &state.ledger.positions[row]
            prefetch(&state.ledger.balances[position.base_row])
            prefetch(&state.ledger.balances[position.quote_row])
    elif names_an_order(command):
        row = candidate(&state.orders.by_order_id, order_id_hash(command.order_id))
        if row == NO_ROW:
            return
        order = &state.orders.records[row]
        if order.slot == NIL:
            return
        prefetch(&state.pool.orders[order.slot])
        prefetch(&state.expiry_places[order.slot])
        prefetch(&state.ledger.positions[order.position_row])
        if order.previous_open != NO_ROW:
            prefetch(&state.orders.records[order.previous_open].next_open)
        if order.next_open != NO_ROW:
            prefetch(&state.orders.records[order.next_open].previous_open)


cdef void prefetch_makers(const state_t* state) noexcept nogil:
    cdef uint32_t i, maker
    for i in range(min(state.sink.count, <uint32_t>FETCH_MAKERS)):
        maker = state.sink.fills[i].maker
        if maker != NIL:
            prefetch_lines(&state.orders.records[<uint32_t>state.pool.orders[maker].id], sizeof(order_record_t))
