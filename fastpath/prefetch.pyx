"""Prefetching for the commands to come. Described in prefetch.pxd."""

from libc.stdint cimport uint32_t

from fastpath.book cimport book_t, ladder_mask
from fastpath.index cimport NO_ROW, index_next, index_start, index_t
from fastpath.ladder cimport cell_of, in_window, ladder_t, level_bit
from fastpath.ledger cimport balance_hash, position_hash, position_t
from fastpath.model cimport COMMAND_AMEND, COMMAND_CANCEL, COMMAND_PLACE, SIDE_BUY, SIDE_SELL, command_t, price_t
from fastpath.orders cimport client_order_id_hash, order_record_t, orders_find
from fastpath.pool cimport NIL, PAGE_SHIFT
from fastpath.state cimport find_instrument, instrument_t

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


cdef void prefetch_command(const command_t* command) noexcept nogil:
    prefetch_lines(command, sizeof(command_t))


cdef void prefetch_cells(const state_t* state, const command_t* command) noexcept nogil:
    if command.kind == COMMAND_PLACE:
        prefetch_cell(&state.orders.by_client_order_id,
                      client_order_id_hash(command.account, command.client_order_id))
        prefetch_cell(&state.ledger.position_index, position_hash(command.account, command.instrument))
        if command.account <= state.bounds.max_accounts:
            prefetch(&state.orders.open_chains[command.account])


cdef void prefetch_rows(const state_t* state, const command_t* command) noexcept nogil:
    cdef const instrument_t* instrument
    cdef uint32_t row
    if command.kind == COMMAND_PLACE:
        row = candidate(&state.ledger.position_index, position_hash(command.account, command.instrument))
        if row != NO_ROW:
            prefetch(&state.ledger.positions[row])
        else:
            instrument = find_instrument(state, command.instrument)
            if instrument != NULL:                      # the first order here: the rows of its balances are looked up
                prefetch_cell(&state.ledger.balance_index, balance_hash(command.account, instrument.definition.base_asset))
                prefetch_cell(&state.ledger.balance_index, balance_hash(command.account, instrument.definition.quote_asset))
        if command.account <= state.bounds.max_accounts:
            row = state.orders.open_chains[command.account].last
            if row != NO_ROW:
                prefetch(&state.orders.records[row].next_open)
    elif names_an_order(command):
        row = orders_find(&state.orders, command.order_id)
        if row != NO_ROW:
            prefetch_lines(&state.orders.records[row], sizeof(order_record_t))


cdef inline void prefetch_level(const book_t* book, uint32_t side, price_t price) noexcept nogil:
    """The page and the level where an order will queue, if there are any yet."""
    cdef const ladder_t* ladder = &book.ladders[side - 1]
    cdef price_t key = price ^ ladder_mask(side - 1)
    cdef uint32_t page
    if in_window(ladder, key >> PAGE_SHIFT):
        page = cell_of(ladder, key >> PAGE_SHIFT)[0]
        prefetch(&ladder.pages[page])
        prefetch(&book.pool.levels[(page << PAGE_SHIFT) + level_bit(key)])


cdef void prefetch_balances(const state_t* state, const command_t* command) noexcept nogil:
    cdef const instrument_t* instrument = find_instrument(state, command.instrument)
    cdef const position_t* position
    cdef uint32_t row = candidate(&state.ledger.position_index, position_hash(command.account, command.instrument))
    if row != NO_ROW:
        position = &state.ledger.positions[row]
        prefetch(&state.ledger.balances[position.base_row if command.side != SIDE_BUY else position.quote_row])
    elif instrument != NULL:
        row = candidate(&state.ledger.balance_index, balance_hash(command.account, instrument.definition.base_asset))
        prefetch(&state.ledger.balances[row])
        row = candidate(&state.ledger.balance_index, balance_hash(command.account, instrument.definition.quote_asset))
        prefetch(&state.ledger.balances[row])


cdef void prefetch_links(const state_t* state, const command_t* command) noexcept nogil:
    cdef const instrument_t* instrument
    cdef const order_record_t* order
    cdef uint32_t row
    if command.kind == COMMAND_PLACE:
        prefetch_balances(state, command)
        instrument = find_instrument(state, command.instrument)
        if instrument != NULL and SIDE_BUY <= command.side <= SIDE_SELL:
            prefetch_level(instrument.book, command.side, command.price)
    elif names_an_order(command):
        row = orders_find(&state.orders, command.order_id)
        if row == NO_ROW:
            return
        order = &state.orders.records[row]
        if order.slot == NIL:
            return
        prefetch(&state.pool.orders[order.slot])
        prefetch(&state.ledger.positions[order.position_row])
        if order.previous_open != NO_ROW:
            prefetch(&state.orders.records[order.previous_open].next_open)
        if order.next_open != NO_ROW:
            prefetch(&state.orders.records[order.next_open].previous_open)


cdef inline uint32_t youngest(const book_t* book, uint32_t side, price_t price) noexcept nogil:
    """The order behind which an order of this price will queue, or NIL."""
    cdef const ladder_t* ladder = &book.ladders[side - 1]
    cdef price_t key = price ^ ladder_mask(side - 1)
    cdef uint32_t page = cell_of(ladder, key >> PAGE_SHIFT)[0] if in_window(ladder, key >> PAGE_SHIFT) else NIL
    return book.pool.levels[(page << PAGE_SHIFT) + level_bit(key)].links.prev if page != NIL else NIL


cdef void prefetch_neighbors(const state_t* state, const command_t* command) noexcept nogil:
    cdef const instrument_t* instrument
    cdef const order_record_t* order
    cdef const position_t* position
    cdef uint32_t row
    if command.kind == COMMAND_PLACE:
        instrument = find_instrument(state, command.instrument)
        if instrument != NULL and SIDE_BUY <= command.side <= SIDE_SELL:
            prefetch(&state.pool.orders[youngest(instrument.book, command.side, command.price)])
    elif names_an_order(command):
        row = orders_find(&state.orders, command.order_id)
        if row == NO_ROW or state.orders.records[row].slot == NIL:
            return
        order = &state.orders.records[row]
        position = &state.ledger.positions[order.position_row]
        prefetch(&state.ledger.balances[position.quote_row if order.side == SIDE_BUY else position.base_row])
        prefetch(&state.pool.orders[state.pool.orders[order.slot].links.prev])
        prefetch(&state.pool.orders[state.pool.orders[order.slot].links.next])
        prefetch(&state.pool.levels[state.pool.orders[order.slot].level])


cdef void prefetch_makers(const state_t* state) noexcept nogil:
    cdef uint32_t i, maker
    for i in range(min(state.sink.count, <uint32_t>FETCH_MAKERS)):
        maker = state.sink.fills[i].maker
        if maker != NIL:
            prefetch_lines(&state.orders.records[<uint32_t>state.pool.orders[maker].id], sizeof(order_record_t))
