"""Double-entry balances and positions. The design and the C-level interface are described in ledger.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastpath.arith cimport MAX_MONEY, mix, saturating_add, share
from fastpath.index cimport index_free, index_init, index_insert, index_next, index_reserve, index_start
from fastpath.memory cimport memory_release, memory_reserve
from fastpath.model cimport SIDE_BUY, money_t, qty_t


cdef bint ledger_init(ledger_t* ledger, uint32_t max_accounts, uint32_t max_rows) noexcept nogil:
    cdef size_t first_rows_size = (<size_t>max_accounts + 2) * sizeof(account_rows_t)
    memset(ledger, 0, sizeof(ledger_t))
    ledger.max_accounts = max_accounts
    ledger.max_rows = max_rows
    ledger.balances = <balance_t*>memory_reserve(max_rows * sizeof(balance_t))
    ledger.positions = <position_t*>memory_reserve(max_rows * sizeof(position_t))
    ledger.touched_balances = <uint32_t*>memory_reserve(max_rows * sizeof(uint32_t))
    ledger.touched_positions = <uint32_t*>memory_reserve(max_rows * sizeof(uint32_t))
    ledger.first_rows = <account_rows_t*>malloc(first_rows_size)
    if (ledger.balances == NULL or ledger.positions == NULL or ledger.first_rows == NULL
            or ledger.touched_balances == NULL or ledger.touched_positions == NULL
            or not index_init(&ledger.balance_index) or not index_init(&ledger.position_index)):
        return False
    memset(ledger.first_rows, 0xFF, first_rows_size)        # NO_ROW everywhere
    return True


cdef void ledger_close(ledger_t* ledger) noexcept nogil:
    memory_release(ledger.balances, ledger.max_rows * sizeof(balance_t))
    memory_release(ledger.positions, ledger.max_rows * sizeof(position_t))
    memory_release(ledger.touched_balances, ledger.max_rows * sizeof(uint32_t))
    memory_release(ledger.touched_positions, ledger.max_rows * sizeof(uint32_t))
    free(ledger.first_rows)
    index_free(&ledger.balance_index)
    index_free(&ledger.position_index)
    memset(ledger, 0, sizeof(ledger_t))


cdef inline account_rows_t* account_rows(const ledger_t* ledger, uint32_t account) noexcept nogil:
    return &ledger.first_rows[ledger.max_accounts + 1 if account == FEE_ACCOUNT else account]


cdef account_rows_t ledger_first_rows(const ledger_t* ledger, uint32_t account) noexcept nogil:
    return account_rows(ledger, account)[0]


cdef uint32_t ledger_balance(ledger_t* ledger, uint32_t account, uint32_t asset) noexcept nogil:
    cdef uint32_t hash = balance_hash(account, asset)
    cdef uint32_t cursor = index_start(&ledger.balance_index, hash)
    cdef uint32_t row
    cdef balance_t* balance
    while True:
        row = index_next(&ledger.balance_index, hash, &cursor)
        if row == NO_ROW:
            break
        if ledger.balances[row].account == account and ledger.balances[row].asset == asset:
            return row
    if ledger.balance_count == ledger.max_rows or not index_reserve(&ledger.balance_index):
        return NO_ROW
    row = ledger.balance_count
    ledger.balance_count += 1
    balance = &ledger.balances[row]
    balance.account = account
    balance.asset = asset
    balance.next_of_account = account_rows(ledger, account).balance
    account_rows(ledger, account).balance = row
    index_insert(&ledger.balance_index, hash, row)
    return row


cdef uint32_t ledger_find_position(const ledger_t* ledger, uint32_t account, uint32_t instrument) noexcept nogil:
    cdef uint32_t hash = position_hash(account, instrument)
    cdef uint32_t cursor = index_start(&ledger.position_index, hash)
    cdef uint32_t row
    while True:
        row = index_next(&ledger.position_index, hash, &cursor)
        if row == NO_ROW or (ledger.positions[row].account == account
                             and ledger.positions[row].instrument == instrument):
            return row


cdef uint32_t ledger_position(ledger_t* ledger, uint32_t account, uint32_t instrument,
                              uint32_t base_asset, uint32_t quote_asset) noexcept nogil:
    cdef uint32_t row = ledger_find_position(ledger, account, instrument)
    cdef uint32_t base_row, quote_row
    cdef position_t* position
    if row != NO_ROW:
        return row
    base_row = ledger_balance(ledger, account, base_asset)
    quote_row = ledger_balance(ledger, account, quote_asset)
    if (base_row == NO_ROW or quote_row == NO_ROW or ledger.position_count == ledger.max_rows
            or not index_reserve(&ledger.position_index)):
        return NO_ROW
    row = ledger.position_count
    ledger.position_count += 1
    position = &ledger.positions[row]
    position.account = account
    position.instrument = instrument
    position.base_row = base_row
    position.quote_row = quote_row
    position.next_of_account = account_rows(ledger, account).position
    account_rows(ledger, account).position = row
    index_insert(&ledger.position_index, position_hash(account, instrument), row)
    return row


cdef bint ledger_can_move(ledger_t* ledger, uint32_t source, uint32_t target, money_t amount) noexcept nogil:
    return (0 <= amount <= MAX_MONEY
            and ledger.balances[source].total - amount >= -MAX_MONEY
            and ledger.balances[target].total + amount <= MAX_MONEY)


cdef void ledger_execute(ledger_t* ledger, uint32_t position_row, int side, qty_t lots, money_t notional) noexcept nogil:
    cdef position_t* position = &ledger.positions[position_row]
    cdef int sign = 1 if side == SIDE_BUY else -1
    cdef qty_t against = -sign * position.qty               # > 0: so many lots are open the other way
    cdef qty_t closed
    cdef money_t closed_notional, closed_cost
    if not position.touched:
        position.touched = 1
        ledger.touched_positions[ledger.touched_position_count] = position_row
        ledger.touched_position_count += 1
    if against > 0:
        closed = min(against, lots)
        closed_notional = share(notional, closed, lots)
        closed_cost = share(position.cost, closed, against)
        # Long: sold for closed_notional what cost closed_cost. Short (cost < 0): bought back for closed_notional.
        position.realized_pnl = saturating_add(position.realized_pnl, -sign * closed_notional - closed_cost)
        position.cost -= closed_cost
        position.qty += sign * closed
        lots -= closed
        notional -= closed_notional
    position.qty = saturating_add(position.qty, sign * lots)
    position.cost = saturating_add(position.cost, sign * notional)


cdef bint ledger_reindex(ledger_t* ledger) noexcept nogil:
    cdef balance_t* balance
    cdef position_t* position
    cdef account_rows_t* rows
    cdef uint32_t row
    for row in range(ledger.balance_count):
        balance = &ledger.balances[row]
        if not index_reserve(&ledger.balance_index):
            return False
        index_insert(&ledger.balance_index, balance_hash(balance.account, balance.asset), row)
        rows = account_rows(ledger, balance.account)
        balance.next_of_account = rows.balance
        rows.balance = row
    for row in range(ledger.position_count):
        position = &ledger.positions[row]
        if not index_reserve(&ledger.position_index):
            return False
        index_insert(&ledger.position_index, position_hash(position.account, position.instrument), row)
        rows = account_rows(ledger, position.account)
        position.next_of_account = rows.position
        rows.position = row
    return True


cdef uint64_t ledger_hash(const ledger_t* ledger) noexcept nogil:
    cdef uint64_t total = 0, h
    cdef const balance_t* balance
    cdef const position_t* position
    cdef uint32_t row
    for row in range(ledger.balance_count):
        balance = &ledger.balances[row]
        h = mix(mix(mix(1, balance.account), balance.asset), <uint64_t>balance.total)
        total += mix(h, <uint64_t>balance.reserved)
    for row in range(ledger.position_count):
        position = &ledger.positions[row]
        h = mix(mix(mix(2, position.account), position.instrument), <uint64_t>position.qty)
        total += mix(mix(h, <uint64_t>position.cost), <uint64_t>position.realized_pnl)
    return total
