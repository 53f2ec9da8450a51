"""Prefetching for the commands to come. Described in prefetch.pxd."""

from libc.stdint cimport uint32_t

from fastpath.book.book cimport book_t, side_mask
from fastpath.containers.hash_index cimport NO_ROW, index_next, index_start, index_t
from fastpath.book.side cimport cell_of, in_window, side_t, level_bit
from fastpath.state.ledger cimport balance_hash, position_hash, position_t
from fastpath.book.matching cimport match_crosses
from fastpath.model.enums cimport COMMAND_AMEND, COMMAND_CANCEL, COMMAND_PLACE, SIDE_BUY, SIDE_SELL
from fastpath.model.structs cimport command_t, price_t
from fastpath.state.orders cimport client_order_id_hash, order_record_t, orders_find
from fastpath.book.pool cimport NIL, PAGE_SHIFT, is_level
from fastpath.state.state cimport find_instrument, instrument_t

cdef extern from *:
    """
    #define TW_PREFETCH(address) __builtin_prefetch(address)
    """
    void prefetch "TW_PREFETCH"(const void* address) noexcept nogil

cdef enum:
    CACHE_LINE = 64
    FETCH_MAKERS = 8              # fills
    RECORDS_AHEAD = 4             # orders and positions whose records will be written


cdef inline void prefetch_cell(const index_t* index, uint32_t hash) noexcept nogil:
    prefetch(&index.cells[hash & index.mask])


cdef inline void prefetch_lines(const void* start, size_t size) noexcept nogil:
    cdef size_t line
    for line in range((size + CACHE_LINE - 1) // CACHE_LINE):
        prefetch(<const char*>start + line * CACHE_LINE)


cdef inline void prefetch_position(const state_t* state, uint32_t row) noexcept nogil:
    prefetch(&state.ledger.positions[row])


cdef inline void prefetch_balance(const state_t* state, uint32_t row) noexcept nogil:
    prefetch(&state.ledger.balances[row])


cdef inline void prefetch_level(const state_t* state, uint32_t level) noexcept nogil:
    prefetch(&state.pool.levels[level])
    prefetch(&state.pool.pages[level >> PAGE_SHIFT])


cdef inline void prefetch_both_balances(const state_t* state, uint32_t number) noexcept nogil:
    """Of the account and the instrument of an order."""
    cdef const position_t* position = &state.ledger.positions[state.orders.records[number].position_row]
    prefetch_balance(state, position.base_row)
    prefetch_balance(state, position.quote_row)


cdef inline bint names_an_order(const command_t* command) noexcept nogil:
    return (command.kind == COMMAND_CANCEL or command.kind == COMMAND_AMEND) and command.order_id != 0


cdef inline const instrument_t* meant_instrument(const state_t* state, const command_t* command) noexcept nogil:
    """NULL: there is none, or it is on no side of it."""
    if not SIDE_BUY <= command.side <= SIDE_SELL:
        return NULL
    return find_instrument(state, command.instrument)


cdef inline uint32_t candidate(const index_t* index, uint32_t hash) noexcept nogil:
    """The row that is most likely meant: its key is not compared, since it has not come yet."""
    cdef uint32_t cursor = index_start(index, hash)
    return index_next(index, hash, &cursor)


cdef inline uint32_t level_of(const book_t* book, uint32_t side, price_t price) noexcept nogil:
    """The level where an order will queue, NIL if its page is not there yet, or far."""
    cdef const side_t* book_side = &book.sides[side - 1]
    cdef price_t key = price ^ side_mask(side - 1)
    cdef uint32_t page = cell_of(book_side, key >> PAGE_SHIFT)[0] if in_window(book_side, key >> PAGE_SHIFT) else NIL
    return (page << PAGE_SHIFT) + level_bit(key) if page != NIL else NIL


cdef inline uint32_t first_maker(const book_t* book, uint32_t side) noexcept nogil:
    """The slot at the head of the queue that a taker of this side meets."""
    return book.pool.levels[book.sides[side & 1].best].links.next


# -- the stages of a placement --

cdef inline void placement_cells(const state_t* state, const command_t* command) noexcept nogil:
    prefetch_lines(&state.orders.records[state.orders.count + RECORDS_AHEAD], sizeof(order_record_t))
    prefetch_cell(&state.orders.by_client_order_id, client_order_id_hash(command.account, command.client_order_id))
    prefetch_cell(&state.ledger.position_index, position_hash(command.account, command.instrument))
    if command.account <= state.bounds.max_accounts:
        prefetch(&state.orders.open_chains[command.account])


cdef void placement_rows(plan_t* plan, const state_t* state, const command_t* command) noexcept nogil:
    cdef const instrument_t* instrument = meant_instrument(state, command)
    cdef uint32_t last
    if instrument == NULL or command.account > state.bounds.max_accounts:
        return
    plan.row = candidate(&state.ledger.position_index, position_hash(command.account, command.instrument))
    if plan.row != NO_ROW:
        prefetch_position(state, plan.row)
    else:                                               # the first order here: the rows of its balances are looked up
        prefetch(&state.accounts[command.account])
        prefetch(&state.ledger.positions[state.ledger.position_count + RECORDS_AHEAD])
        prefetch_cell(&state.ledger.balance_index, balance_hash(command.account, instrument.definition.base_asset))
        prefetch_cell(&state.ledger.balance_index, balance_hash(command.account, instrument.definition.quote_asset))
    last = state.orders.open_chains[command.account].last
    if last != NO_ROW:
        prefetch(&state.orders.records[last].next_open)
    if match_crosses(instrument.book, command.side, command.price):
        plan.maker = first_maker(instrument.book, command.side)
        prefetch(&state.pool.orders[plan.maker])


cdef void placement_links(plan_t* plan, const state_t* state, const command_t* command) noexcept nogil:
    cdef const instrument_t* instrument = meant_instrument(state, command)
    cdef const position_t* position
    cdef uint32_t level
    if instrument == NULL:
        return
    if plan.row != NO_ROW:
        position = &state.ledger.positions[plan.row]
        if command.side == SIDE_BUY or plan.maker != NO_ROW:
            prefetch_balance(state, position.quote_row)
        if command.side == SIDE_SELL or plan.maker != NO_ROW:
            prefetch_balance(state, position.base_row)
    else:
        prefetch_balance(state, candidate(&state.ledger.balance_index,
                                          balance_hash(command.account, instrument.definition.base_asset)))
        prefetch_balance(state, candidate(&state.ledger.balance_index,
                                          balance_hash(command.account, instrument.definition.quote_asset)))
    if plan.maker == NO_ROW:
        level = level_of(instrument.book, command.side, command.price)
        prefetch_level(state, level)
        return
    plan.next_maker = state.pool.orders[plan.maker].links.next
    plan.maker = <uint32_t>state.pool.orders[plan.maker].id
    prefetch_lines(&state.orders.records[plan.maker], sizeof(order_record_t))
    if is_level(state.pool, plan.next_maker):
        plan.next_maker = NO_ROW                        # nobody else at this price
    else:
        prefetch(&state.pool.orders[plan.next_maker])


cdef void placement_neighbors(plan_t* plan, const state_t* state, const command_t* command) noexcept nogil:
    cdef const instrument_t* instrument = meant_instrument(state, command)
    if plan.maker != NO_ROW:
        prefetch_position(state, state.orders.records[plan.maker].position_row)
        if plan.next_maker != NO_ROW:
            plan.next_maker = <uint32_t>state.pool.orders[plan.next_maker].id
            prefetch_lines(&state.orders.records[plan.next_maker], sizeof(order_record_t))
    elif instrument != NULL:
        prefetch(&state.pool.orders[state.pool.levels[level_of(instrument.book, command.side, command.price)].links.prev])


cdef inline void placement_balances(plan_t* plan, const state_t* state) noexcept nogil:
    if plan.maker != NO_ROW:
        prefetch_both_balances(state, plan.maker)
    if plan.next_maker != NO_ROW:
        prefetch_position(state, state.orders.records[plan.next_maker].position_row)


# -- the stages of a cancel or an amendment --

cdef inline void change_rows(plan_t* plan, const state_t* state, const command_t* command) noexcept nogil:
    plan.row = orders_find(&state.orders, command.order_id)
    if plan.row != NO_ROW:
        prefetch_lines(&state.orders.records[plan.row], sizeof(order_record_t))


cdef void change_links(plan_t* plan, const state_t* state) noexcept nogil:
    cdef const order_record_t* order
    if plan.row == NO_ROW:
        return
    order = &state.orders.records[plan.row]
    if order.slot == NIL:
        plan.row = NO_ROW                               # done already
        return
    prefetch(&state.pool.orders[order.slot])
    prefetch_position(state, order.position_row)
    if order.previous_open != NO_ROW:
        prefetch(&state.orders.records[order.previous_open].next_open)
    if order.next_open != NO_ROW:
        prefetch(&state.orders.records[order.next_open].previous_open)


cdef void change_neighbors(plan_t* plan, const state_t* state) noexcept nogil:
    cdef const order_record_t* order
    cdef const position_t* position
    if plan.row == NO_ROW:
        return
    order = &state.orders.records[plan.row]
    position = &state.ledger.positions[order.position_row]
    prefetch_balance(state, position.quote_row if order.side == SIDE_BUY else position.base_row)
    prefetch(&state.pool.orders[state.pool.orders[order.slot].links.prev])
    prefetch(&state.pool.orders[state.pool.orders[order.slot].links.next])
    prefetch_level(state, state.pool.orders[order.slot].level)


# -- the pipeline --

cdef inline plan_t* plan_of(prefetch_t* ahead, size_t number) noexcept nogil:
    return &ahead.plans[number & (PLANS - 1)]


cdef inline void cells_stage(prefetch_t* ahead, const state_t* state, const command_t* commands, size_t at) noexcept nogil:
    plan_of(ahead, at).row = NO_ROW
    plan_of(ahead, at).maker = NO_ROW
    plan_of(ahead, at).next_maker = NO_ROW
    if commands[at].kind == COMMAND_PLACE:
        placement_cells(state, &commands[at])


cdef inline void rows_stage(prefetch_t* ahead, const state_t* state, const command_t* commands, size_t at) noexcept nogil:
    if commands[at].kind == COMMAND_PLACE:
        placement_rows(plan_of(ahead, at), state, &commands[at])
    elif names_an_order(&commands[at]):
        change_rows(plan_of(ahead, at), state, &commands[at])


cdef inline void links_stage(prefetch_t* ahead, const state_t* state, const command_t* commands, size_t at) noexcept nogil:
    if commands[at].kind == COMMAND_PLACE:
        placement_links(plan_of(ahead, at), state, &commands[at])
    elif names_an_order(&commands[at]):
        change_links(plan_of(ahead, at), state)


cdef inline void neighbors_stage(prefetch_t* ahead, const state_t* state, const command_t* commands,
                                 size_t at) noexcept nogil:
    if commands[at].kind == COMMAND_PLACE:
        placement_neighbors(plan_of(ahead, at), state, &commands[at])
    elif names_an_order(&commands[at]):
        change_neighbors(plan_of(ahead, at), state)


cdef inline void balances_stage(prefetch_t* ahead, const state_t* state, const command_t* commands,
                                size_t at) noexcept nogil:
    if commands[at].kind == COMMAND_PLACE:
        placement_balances(plan_of(ahead, at), state)


cdef void prefetch_first(prefetch_t* ahead, const state_t* state, const command_t* commands,
                           size_t count) noexcept nogil:
    cdef size_t at
    for at in range(min(count, <size_t>CELLS_STAGE)):
        cells_stage(ahead, state, commands, at)
    for at in range(min(count, <size_t>ROWS_STAGE)):
        rows_stage(ahead, state, commands, at)
    for at in range(min(count, <size_t>LINKS_STAGE)):
        links_stage(ahead, state, commands, at)
    for at in range(min(count, <size_t>NEIGHBORS_STAGE)):
        neighbors_stage(ahead, state, commands, at)
    for at in range(min(count, <size_t>BALANCES_STAGE)):
        balances_stage(ahead, state, commands, at)


cdef void prefetch_batch(prefetch_t* ahead, const state_t* state, const command_t* commands, size_t at,
                     size_t count) noexcept nogil:
    if at + COMMAND_STAGE < count:
        prefetch_lines(&commands[at + COMMAND_STAGE], sizeof(command_t))
    if at + CELLS_STAGE < count:
        cells_stage(ahead, state, commands, at + CELLS_STAGE)
    if at + ROWS_STAGE < count:
        rows_stage(ahead, state, commands, at + ROWS_STAGE)
    if at + LINKS_STAGE < count:
        links_stage(ahead, state, commands, at + LINKS_STAGE)
    if at + NEIGHBORS_STAGE < count:
        neighbors_stage(ahead, state, commands, at + NEIGHBORS_STAGE)
    if at + BALANCES_STAGE < count:
        balances_stage(ahead, state, commands, at + BALANCES_STAGE)


# -- settlement --

cdef inline uint32_t maker_of_fill(const state_t* state, uint32_t at) noexcept nogil:
    """The record; NO_ROW: there is no such fill, or a venue's."""
    if at >= state.sink.count or state.sink.fills[at].maker == NIL:
        return NO_ROW
    return <uint32_t>state.pool.orders[state.sink.fills[at].maker].id


cdef void prefetch_makers(const state_t* state) noexcept nogil:
    cdef uint32_t at, maker
    for at in range(min(state.sink.count, <uint32_t>FETCH_MAKERS)):
        maker = maker_of_fill(state, at)
        if maker != NO_ROW:
            prefetch_lines(&state.orders.records[maker], sizeof(order_record_t))


cdef void prefetch_settlement(const state_t* state, uint32_t at) noexcept nogil:
    cdef uint32_t following = maker_of_fill(state, at + 1)
    if following == NO_ROW:
        return
    prefetch_both_balances(state, following)
    following = maker_of_fill(state, at + 2)
    if following != NO_ROW:
        prefetch_position(state, state.orders.records[following].position_row)
