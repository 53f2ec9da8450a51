"""One instrument takes over from all others of its name. Described in succession.pxd."""

from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from fastpath.state.events cimport events_next, events_reject_command
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport ledger_find_position, ledger_merge, ledger_position, position_t
from fastpath.model.enums cimport (
    CANCEL_REASON_INSTRUMENT_CHANGED,
    EVENT_INSTRUMENT_SUCCEEDED,
    EVENT_ORDER_CANCELED,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_INSTRUMENT_NOT_FOUND,
    REJECT_REASON_INVALID_COMMAND,
)
from fastpath.model.structs cimport event_t, instrument_def_t
from fastpath.state.withdrawal cimport withdraw
from fastpath.state.state cimport find_instrument, instrument_t


cdef bint precedes(const instrument_t* other, const instrument_t* heir) noexcept nogil:
    """Whether it is another instrument of the same name."""
    return (other != heir and other.definition.kind != 0
            and memcmp(other.definition.name, heir.definition.name, sizeof(heir.definition.name)) == 0)


cdef bint moves(const state_t* state, const position_t* position, const instrument_t* heir) noexcept nogil:
    """Whether the heir takes over this position."""
    cdef const instrument_t* other = &state.instruments[position.instrument]
    return (heir.definition.tradable and precedes(other, heir)
            and other.definition.base_asset == heir.definition.base_asset
            and other.definition.quote_asset == heir.definition.quote_asset
            and (position.qty != 0 or position.has_rest or position.cost != 0 or position.realized_pnl != 0))


cdef bint make_rows(state_t* state, const instrument_t* heir) noexcept nogil:
    """A row for every position to come. False: there is no room; rows that were made are empty and mean nothing."""
    cdef const instrument_def_t* rules = &heir.definition
    cdef uint32_t count = state.ledger.position_count
    cdef uint32_t row
    for row in range(count):
        if (moves(state, &state.ledger.positions[row], heir)
                and ledger_position(&state.ledger, state.ledger.positions[row].account, rules.instrument, rules.base_asset,
                                    rules.quote_asset) == NO_ROW):
            return False
    return True


cdef bint money_fits(const state_t* state, const instrument_t* heir) noexcept nogil:
    """Whether the heir's quote money is as fine as that of every position it takes over."""
    cdef uint32_t row
    for row in range(state.ledger.position_count):
        if (moves(state, &state.ledger.positions[row], heir)
                and state.instruments[state.ledger.positions[row].instrument].quote_factor < heir.quote_factor):
            return False
    return True


cdef uint32_t cancel_orders(state_t* state, const instrument_t* heir) noexcept nogil:
    """All open orders of the others, by account and in order of acceptance; how many."""
    cdef uint32_t account, number, next_number
    cdef uint32_t canceled = 0
    for account in range(1, state.bounds.max_accounts + 1):
        number = state.orders.open_chains[account].first
        while number != NO_ROW:
            next_number = state.orders.records[number].next_open
            if precedes(&state.instruments[state.orders.records[number].instrument], heir):
                withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_INSTRUMENT_CHANGED)
                canceled += 1
            number = next_number
    return canceled


cdef void move_positions(state_t* state, const instrument_t* heir) noexcept nogil:
    cdef const position_t* position
    cdef const instrument_t* other
    cdef uint32_t row
    for row in range(state.ledger.position_count):
        position = &state.ledger.positions[row]
        if moves(state, position, heir):
            other = &state.instruments[position.instrument]
            ledger_merge(&state.ledger, row, other.base_lot,
                         ledger_find_position(&state.ledger, position.account, heir.definition.instrument),
                         heir.base_lot, other.quote_factor // heir.quote_factor)


cdef void succeed_instrument(state_t* state, const command_t* command) noexcept nogil:
    cdef instrument_t* heir = find_instrument(state, command.instrument)
    cdef uint32_t number, canceled
    cdef event_t* event
    if heir == NULL:
        events_reject_command(&state.events, REJECT_REASON_INSTRUMENT_NOT_FOUND)
        return
    if not money_fits(state, heir):
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
        return
    if not make_rows(state, heir):
        events_reject_command(&state.events, REJECT_REASON_CAPACITY)
        return
    canceled = cancel_orders(state, heir)
    move_positions(state, heir)
    for number in range(1, state.bounds.max_instruments + 1):
        if precedes(&state.instruments[number], heir):
            state.instruments[number].definition.tradable = 0
    event = events_next(&state.events, EVENT_INSTRUMENT_SUCCEEDED)
    event.instrument = command.instrument
    event.size.order_count = canceled
