"""Deposits and withdrawals: the command that moves money between an account and the outside world."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from fastpath.state.transfer_ids cimport adjustment_t, adjustments_find, adjustments_remember
from fastpath.model.arith cimport money_of, power_of_ten
from fastpath.state.events cimport events_reject_command
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport OUTSIDE_ACCOUNT, ledger_balance, ledger_can_move, ledger_free_amount, ledger_move
from fastpath.model.enums cimport (
    REJECT_REASON_ACCOUNT_NOT_FOUND,
    REJECT_REASON_AMOUNT_OVERFLOW,
    REJECT_REASON_ASSET_NOT_FOUND,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_CLIENT_ORDER_ID_CONFLICT,
    REJECT_REASON_INSUFFICIENT_BALANCE,
    REJECT_REASON_INVALID_COMMAND,
)
from fastpath.model.structs cimport asset_def_t, command_t, money_t
from fastpath.state.settlement cimport show_balance
from fastpath.state.state cimport asset_is_defined, find_account, first_scale, is_wide, max_amount, state_t


cdef uint8_t take_amount(const state_t* state, const command_t* command, money_t* amount) noexcept nogil:
    """The command's amount in units of the asset as it is defined now; the reason to refuse it, or 0."""
    cdef const asset_def_t* asset = &state.assets[command.asset]
    cdef uint8_t scale = command.amount_scale
    cdef int64_t factor
    cdef money_t most = max_amount(asset)
    if scale == 0:
        scale = first_scale(asset)
    if scale > asset.scale:
        return REJECT_REASON_INVALID_COMMAND
    factor = power_of_ten(asset.scale - scale)
    amount[0] = money_of(command.amount, command.amount_high)
    if amount[0] == 0:
        return REJECT_REASON_INVALID_COMMAND
    if not -(most // factor) <= amount[0] <= most // factor:
        return REJECT_REASON_AMOUNT_OVERFLOW
    amount[0] *= factor
    return 0


cdef uint8_t check_move(const state_t* state, bint wide, uint32_t outside, uint32_t row, money_t amount) noexcept nogil:
    """The reason to refuse the movement, 0 if there is none. Only what is free can leave."""
    if amount > 0:
        return 0 if ledger_can_move(&state.ledger, wide, outside, row, amount) else REJECT_REASON_AMOUNT_OVERFLOW
    if ledger_free_amount(&state.ledger, row) < -amount:
        return REJECT_REASON_INSUFFICIENT_BALANCE
    return 0 if ledger_can_move(&state.ledger, wide, row, outside, -amount) else REJECT_REASON_AMOUNT_OVERFLOW


cdef void adjust_balance(state_t* state, const command_t* command) noexcept nogil:
    cdef const adjustment_t* known = NULL
    cdef money_t amount = 0
    cdef uint8_t reason
    cdef uint32_t row, outside
    if find_account(state, command.account) == NULL:
        events_reject_command(&state.events, REJECT_REASON_ACCOUNT_NOT_FOUND)
        return
    if not asset_is_defined(state, command.asset):
        events_reject_command(&state.events, REJECT_REASON_ASSET_NOT_FOUND)
        return
    reason = take_amount(state, command, &amount)
    if command.client_order_id[0] != 0:
        known = adjustments_find(&state.adjustments, command)
    if known != NULL:
        if reason == 0 and known.asset == command.asset and known.amount == amount:
            show_balance(state, ledger_balance(&state.ledger, command.account, command.asset), 0)
        else:
            events_reject_command(&state.events, REJECT_REASON_CLIENT_ORDER_ID_CONFLICT)
        return
    row = ledger_balance(&state.ledger, command.account, command.asset)
    outside = ledger_balance(&state.ledger, OUTSIDE_ACCOUNT, command.asset)
    if outside == NO_ROW or row == NO_ROW:
        reason = REJECT_REASON_CAPACITY
    if reason == 0:
        reason = check_move(state, is_wide(&state.assets[command.asset]), outside, row, amount)
    if reason == 0 and command.client_order_id[0] != 0 and not adjustments_remember(&state.adjustments, command, amount):
        reason = REJECT_REASON_CAPACITY
    if reason != 0:
        events_reject_command(&state.events, reason)
        return
    ledger_move(&state.ledger, outside, row, amount)
