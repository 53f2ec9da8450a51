"""Deposits and withdrawals: the command that moves money between an account and the outside world."""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.adjustments cimport adjustment_t, adjustments_find, adjustments_remember
from fastpath.arith cimport MAX_MONEY
from fastpath.events cimport events_next, events_reject_command
from fastpath.index cimport NO_ROW
from fastpath.ledger cimport OUTSIDE_ACCOUNT, ledger_balance, ledger_can_move, ledger_free_amount, ledger_move
from fastpath.model cimport (
    EVENT_BALANCE_CHANGED,
    REJECT_REASON_ACCOUNT_NOT_FOUND,
    REJECT_REASON_AMOUNT_OVERFLOW,
    REJECT_REASON_ASSET_NOT_FOUND,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_CLIENT_ORDER_ID_CONFLICT,
    REJECT_REASON_INSUFFICIENT_BALANCE,
    REJECT_REASON_INVALID_COMMAND,
    command_t,
    event_t,
    money_t,
)
from fastpath.state cimport asset_is_defined, find_account, state_t


cdef void show_balance(state_t* state, uint32_t account, uint32_t asset) noexcept nogil:
    cdef uint32_t row = ledger_balance(&state.ledger, account, asset)
    cdef event_t* event = events_next(&state.events, EVENT_BALANCE_CHANGED)
    event.account = account
    event.asset = asset
    event.total = state.ledger.balances[row].total
    event.reserved_amount = state.ledger.balances[row].reserved


cdef uint8_t check_move(state_t* state, uint32_t outside, uint32_t row, money_t amount) noexcept nogil:
    """The reason to refuse the movement, 0 if there is none. Only what is free can leave."""
    if outside == NO_ROW or row == NO_ROW:
        return REJECT_REASON_CAPACITY
    if amount == 0:
        return REJECT_REASON_INVALID_COMMAND
    if not -MAX_MONEY <= amount <= MAX_MONEY:
        return REJECT_REASON_AMOUNT_OVERFLOW
    if amount > 0:
        return 0 if ledger_can_move(&state.ledger, outside, row, amount) else REJECT_REASON_AMOUNT_OVERFLOW
    if ledger_free_amount(&state.ledger, row) < -amount:
        return REJECT_REASON_INSUFFICIENT_BALANCE
    return 0 if ledger_can_move(&state.ledger, row, outside, -amount) else REJECT_REASON_AMOUNT_OVERFLOW


cdef void adjust_balance(state_t* state, const command_t* command) noexcept nogil:
    cdef const adjustment_t* known = NULL
    cdef uint8_t reason
    cdef uint32_t row, outside
    if find_account(state, command.account) == NULL:
        events_reject_command(&state.events, REJECT_REASON_ACCOUNT_NOT_FOUND)
        return
    if not asset_is_defined(state, command.asset):
        events_reject_command(&state.events, REJECT_REASON_ASSET_NOT_FOUND)
        return
    if command.client_order_id[0] != 0:
        known = adjustments_find(&state.adjustments, command)
    if known != NULL:
        if known.asset == command.asset and known.amount == command.amount:
            show_balance(state, command.account, command.asset)
        else:
            events_reject_command(&state.events, REJECT_REASON_CLIENT_ORDER_ID_CONFLICT)
        return
    row = ledger_balance(&state.ledger, command.account, command.asset)
    outside = ledger_balance(&state.ledger, OUTSIDE_ACCOUNT, command.asset)
    reason = check_move(state, outside, row, command.amount)
    if reason == 0 and command.client_order_id[0] != 0 and not adjustments_remember(&state.adjustments, command):
        reason = REJECT_REASON_CAPACITY
    if reason != 0:
        events_reject_command(&state.events, reason)
        return
    ledger_move(&state.ledger, outside, row, command.amount)
