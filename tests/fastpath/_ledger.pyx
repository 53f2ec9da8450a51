# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Python classes around the ledger, which has none: for `test_ledger.py`."""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from fastpath.containers.hash_index cimport NO_ROW
from fastpath.model.arith cimport high_word, low_word, money_of
from fastpath.model.structs cimport money_t
from fastpath.state.ledger cimport (
    balance_t,
    ledger_balance,
    ledger_can_move,
    ledger_close,
    ledger_execute,
    ledger_find_position,
    ledger_first_rows,
    ledger_free_amount,
    ledger_hash,
    ledger_init,
    ledger_merge,
    ledger_move,
    ledger_position,
    ledger_reindex,
    ledger_reserve,
    ledger_t,
    ledger_take_rests,
    position_t,
    position_units,
)


cdef money_t money(object amount) except? -1:
    cdef object low = ((amount + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)
    return money_of(low, (amount - low) >> 64)


cdef object number(money_t amount):
    return (<object>high_word(amount) << 64) + low_word(amount)


cdef class Ledger:
    cdef ledger_t ledger

    def __cinit__(self, uint32_t max_accounts, uint32_t max_rows):
        if not ledger_init(&self.ledger, max_accounts, max_rows):
            raise MemoryError

    def __dealloc__(self):
        ledger_close(&self.ledger)

    def balance(self, uint32_t account, uint32_t asset):
        return ledger_balance(&self.ledger, account, asset)

    def position(self, uint32_t account, uint32_t instrument, uint32_t base_asset, uint32_t quote_asset):
        return ledger_position(&self.ledger, account, instrument, base_asset, quote_asset)

    def find_position(self, uint32_t account, uint32_t instrument):
        return ledger_find_position(&self.ledger, account, instrument)

    def can_move(self, bint wide, uint32_t source, uint32_t target, amount):
        return ledger_can_move(&self.ledger, wide, source, target, money(amount))

    def move(self, uint32_t source, uint32_t target, amount):
        ledger_move(&self.ledger, source, target, money(amount))

    def reserve(self, uint32_t row, amount):
        ledger_reserve(&self.ledger, row, money(amount))

    def free_amount(self, uint32_t row):
        return number(ledger_free_amount(&self.ledger, row))

    def amounts(self, uint32_t row):
        """(account, asset, total, reserved) of a balance."""
        cdef balance_t* balance = &self.ledger.balances[row]
        return balance.account, balance.asset, number(balance.total), number(balance.reserved)

    def execute(self, uint32_t row, int side, int64_t lots, base_lot, notional):
        ledger_execute(&self.ledger, row, side, lots, money(base_lot), money(notional))

    def merge(self, uint32_t source, source_lot, uint32_t target, target_lot, int64_t money_factor):
        ledger_merge(&self.ledger, source, money(source_lot), target, money(target_lot), money_factor)

    def held(self, uint32_t row, base_lot):
        """(units, whole lots, cost, realized) of a position."""
        cdef position_t* position = &self.ledger.positions[row]
        assert position.has_rest == (self.ledger.rests[row] != 0)
        return (number(position_units(&self.ledger, row, money(base_lot))), position.qty, number(position.cost),
                number(position.realized_pnl))

    def rows_of(self, uint32_t account):
        """(balance rows, position rows) of an account, the newest first."""
        cdef uint32_t row = ledger_first_rows(&self.ledger, account).balance
        cdef list balances = [], positions = []
        while row != NO_ROW:
            balances.append(row)
            row = self.ledger.balances[row].next_of_account
        row = ledger_first_rows(&self.ledger, account).position
        while row != NO_ROW:
            positions.append(row)
            row = self.ledger.positions[row].next_of_account
        return balances, positions

    def end_command(self):
        """What the command changed: ([(row, total before, reserved before)], [position row]), in order of first change."""
        cdef uint32_t at
        cdef list balances = [], positions = []
        for at in range(self.ledger.touched_balance_count):
            before = self.ledger.touched_balances[at]
            balances.append((before.row, number(before.total), number(before.reserved)))
            self.ledger.balances[before.row].touched = 0
        for at in range(self.ledger.touched_position_count):
            positions.append(self.ledger.touched_positions[at])
            self.ledger.positions[self.ledger.touched_positions[at]].touched = 0
        self.ledger.touched_balance_count = self.ledger.touched_position_count = 0
        return balances, positions

    def reopened(self):
        """Another ledger with the same rows, as a snapshot makes it."""
        cdef Ledger other = Ledger(self.ledger.max_accounts, self.ledger.max_rows)
        memcpy(other.ledger.balances, self.ledger.balances, self.ledger.balance_count * sizeof(balance_t))
        memcpy(other.ledger.positions, self.ledger.positions, self.ledger.position_count * sizeof(position_t))
        other.ledger.balance_count = self.ledger.balance_count
        other.ledger.position_count = self.ledger.position_count
        if not ledger_reindex(&other.ledger):
            raise MemoryError
        ledger_take_rests(&other.ledger, self.ledger.rests, self.ledger.position_count)
        return other

    def __hash__(self):
        return <Py_hash_t>(ledger_hash(&self.ledger) >> 2)
