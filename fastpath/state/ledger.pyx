"""Double-entry balances and positions. The design and the C-level interface are described in ledger.pxd."""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastpath.model.arith cimport MAX_MONEY, MAX_NARROW, MAX_SUPPLY, clamped, mix, mix_money, share, whole
from fastpath.containers.hash_index cimport index_free, index_init, index_insert, index_next, index_reserve, index_start
from fastpath.containers.memory cimport memory_release, memory_reserve
from fastpath.model.enums cimport SIDE_BUY
from fastpath.model.structs cimport money_t, qty_t
from fastpath.book.pool cimport likely


cdef bint ledger_init(ledger_t* ledger, uint32_t max_accounts, uint32_t max_rows) noexcept nogil:
    cdef size_t first_rows_size = (<size_t>max_accounts + 2) * sizeof(account_rows_t)
    memset(ledger, 0, sizeof(ledger_t))
    ledger.max_accounts = max_accounts
    ledger.max_rows = max_rows
    ledger.balances = <balance_t*>memory_reserve(max_rows * sizeof(balance_t))
    ledger.positions = <position_t*>memory_reserve(max_rows * sizeof(position_t))
    ledger.rests = <money_t*>memory_reserve(max_rows * sizeof(money_t))
    ledger.touched_balances = <touched_balance_t*>memory_reserve(max_rows * sizeof(touched_balance_t))
    ledger.touched_positions = <uint32_t*>memory_reserve(max_rows * sizeof(uint32_t))
    ledger.first_rows = <account_rows_t*>malloc(first_rows_size)
    if (ledger.balances == NULL or ledger.positions == NULL or ledger.rests == NULL or ledger.first_rows == NULL
            or ledger.touched_balances == NULL or ledger.touched_positions == NULL
            or not index_init(&ledger.balance_index) or not index_init(&ledger.position_index)):
        return False
    memset(ledger.first_rows, 0xFF, first_rows_size)        # NO_ROW everywhere
    return True


cdef void ledger_close(ledger_t* ledger) noexcept nogil:
    memory_release(ledger.balances, ledger.max_rows * sizeof(balance_t))
    memory_release(ledger.positions, ledger.max_rows * sizeof(position_t))
    memory_release(ledger.rests, ledger.max_rows * sizeof(money_t))
    memory_release(ledger.touched_balances, ledger.max_rows * sizeof(touched_balance_t))
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
    position.instrument = <uint16_t>instrument
    position.base_row = base_row
    position.quote_row = quote_row
    position.next_of_account = account_rows(ledger, account).position
    account_rows(ledger, account).position = row
    index_insert(&ledger.position_index, position_hash(account, instrument), row)
    return row


cdef bint ledger_can_move(const ledger_t* ledger, bint wide, uint32_t source, uint32_t target, money_t amount) noexcept nogil:
    cdef uint32_t holder = ledger.balances[target].account
    cdef money_t most = MAX_SUPPLY if holder == OUTSIDE_ACCOUNT or holder == FEE_ACCOUNT else MAX_MONEY
    cdef money_t supply = MAX_SUPPLY
    if not wide:
        most = supply = MAX_NARROW
    return (0 <= amount <= most
            and ledger.balances[source].total - amount >= -supply
            and ledger.balances[target].total + amount <= most)


cdef inline money_t trade(position_t* position, money_t open_qty, int sign, money_t qty, money_t notional) noexcept nogil:
    """Cost and profit after `qty` was bought (sign 1) or sold (-1) for `notional`; what is open then, signed."""
    cdef money_t against = -sign * open_qty                 # > 0: so much is open the other way
    cdef money_t closed
    cdef money_t closed_notional, closed_cost
    if against > 0:
        closed = min(against, qty)
        closed_notional = share(notional, closed, qty)
        closed_cost = share(position.cost, closed, against)
        # Long: sold for closed_notional what cost closed_cost. Short (cost < 0): bought back for closed_notional.
        position.realized_pnl += -sign * closed_notional - closed_cost
        position.cost -= closed_cost
        open_qty += sign * closed
        qty -= closed
        notional -= closed_notional
    position.cost += sign * notional
    return open_qty + sign * qty


cdef inline void set_units(ledger_t* ledger, uint32_t row, money_t units, money_t base_lot) noexcept nogil:
    cdef position_t* position = &ledger.positions[row]
    position.qty = clamped(whole(units, base_lot))
    ledger.rests[row] = units - position.qty * base_lot
    position.has_rest = ledger.rests[row] != 0


cdef void ledger_execute(ledger_t* ledger, uint32_t position_row, int side, qty_t lots, money_t base_lot,
                         money_t notional) noexcept nogil:
    cdef position_t* position = &ledger.positions[position_row]
    cdef int sign = 1 if side == SIDE_BUY else -1
    ledger_touch_position(ledger, position_row)
    if likely(not position.has_rest):
        position.qty = clamped(trade(position, position.qty, sign, lots, notional))
    else:
        set_units(ledger, position_row, trade(position, position_units(ledger, position_row, base_lot), sign, lots * base_lot,
                                              notional), base_lot)


cdef void ledger_merge(ledger_t* ledger, uint32_t source_row, money_t source_lot, uint32_t target_row, money_t target_lot,
                       int64_t money_factor) noexcept nogil:
    cdef position_t* source = &ledger.positions[source_row]
    cdef position_t* target = &ledger.positions[target_row]
    cdef money_t units = position_units(ledger, source_row, source_lot)
    cdef money_t open_units = position_units(ledger, target_row, target_lot)
    cdef int sign = -1 if units < 0 else 1
    ledger_touch_position(ledger, source_row)
    ledger_touch_position(ledger, target_row)
    if units != 0:
        set_units(ledger, target_row, trade(target, open_units, sign, units * sign, source.cost * money_factor * sign), target_lot)
    target.realized_pnl += source.realized_pnl * money_factor
    source.qty = 0
    ledger.rests[source_row] = source.cost = source.realized_pnl = 0
    source.has_rest = False


cdef void ledger_take_rests(ledger_t* ledger, const void* rests, size_t count) noexcept nogil:
    cdef size_t row
    memcpy(ledger.rests, rests, count * sizeof(money_t))
    for row in range(count):
        ledger.positions[row].has_rest = ledger.rests[row] != 0


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
        h = mix_money(mix(mix(1, balance.account), balance.asset), balance.total)
        total += mix_money(h, balance.reserved)
    for row in range(ledger.position_count):
        position = &ledger.positions[row]
        h = mix(mix(mix(2, position.account), position.instrument), <uint64_t>position.qty)
        h = mix_money(mix_money(h, position.cost), position.realized_pnl)
        total += mix_money(h, ledger.rests[row]) if position.has_rest else h
    return total
