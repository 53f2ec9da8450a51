# Double-entry books of account in 128-bit integers: balances per (account, asset), positions per (account, instrument).
#
# Every amount that enters one balance leaves another, so each asset sums to exactly 0 over all accounts, always. Two
# accounts belong to nobody: OUTSIDE (the world: where deposits come from, withdrawals go to, and who trades with us at a
# mirrored venue; its balances are negative as a rule) and FEES (what traders paid; negative only if rebates exceed fees).
# Rows are made before an order is accepted and never die, so a fill moves money by row number: no lookup, no failure.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.model.arith cimport mix
from fastpath.containers.hash_index cimport NO_ROW, index_t
from fastpath.model.structs cimport money_t, qty_t

cdef enum:
    OUTSIDE_ACCOUNT = 0
    FEE_ACCOUNT = 0xFFFFFFFF

cdef struct balance_t:            # 64 bytes: a row lies in one cache line
    uint32_t account
    uint32_t asset
    uint32_t next_of_account     # chain of the account's rows; layout, not trading state
    uint32_t touched             # by the running command
    money_t total
    money_t reserved             # of total: what open orders may need
    uint64_t unused[2]

cdef struct position_t:           # 64 bytes
    uint32_t account
    uint16_t instrument
    uint8_t touched              # by the running command
    uint8_t has_rest             # whether its rest is not 0: see ledger_t
    qty_t qty                    # lots, signed: bought minus sold through fills
    money_t cost                 # quote money paid for the open quantity (average cost), signed as qty
    money_t realized_pnl         # quote money since ever, before fees
    # layout; not trading state
    uint32_t base_row            # the account's balance in the instrument's base asset
    uint32_t quote_row
    uint32_t next_of_account
    uint32_t reducing_orders     # open reduce-only orders on it

cdef struct touched_balance_t:   # as it was before the running command
    money_t total
    money_t reserved
    uint32_t row

cdef struct account_rows_t:      # first row of an account's chains, NO_ROW: none
    uint32_t balance
    uint32_t position

cdef struct ledger_t:
    balance_t* balances
    position_t* positions
    money_t* rests               # by position row: base units beyond whole lots, signed as the position; 0 unless its lot changed
    account_rows_t* first_rows   # by account number, FEE_ACCOUNT last
    touched_balance_t* touched_balances      # rows the running command has changed, in order of first touch
    uint32_t* touched_positions
    index_t balance_index        # by (account, asset)
    index_t position_index       # by (account, instrument)
    uint32_t balance_count
    uint32_t position_count
    uint32_t touched_balance_count
    uint32_t touched_position_count
    uint32_t max_accounts
    uint32_t max_rows            # of each kind

# Memory for all rows is reserved at once; the operating system commits a page when it is first touched. False: out of memory.
cdef bint ledger_init(ledger_t* ledger, uint32_t max_accounts, uint32_t max_rows) noexcept nogil
cdef void ledger_close(ledger_t* ledger) noexcept nogil

# Find or make a row. NO_ROW if the ledger is full. The account number is in bounds, OUTSIDE_ACCOUNT or FEE_ACCOUNT.
cdef uint32_t ledger_balance(ledger_t* ledger, uint32_t account, uint32_t asset) noexcept nogil
cdef uint32_t ledger_position(ledger_t* ledger, uint32_t account, uint32_t instrument,
                              uint32_t base_asset, uint32_t quote_asset) noexcept nogil
# The same without making one: NO_ROW if there is none.
cdef uint32_t ledger_find_position(const ledger_t* ledger, uint32_t account, uint32_t instrument) noexcept nogil
cdef account_rows_t ledger_first_rows(const ledger_t* ledger, uint32_t account) noexcept nogil

# Whether `amount` (>= 0) can go from one balance of an asset to another: an account holds at most MAX_MONEY, OUTSIDE owes at most
# MAX_SUPPLY. Unless the asset is `wide`, the bound of both is MAX_NARROW.
cdef bint ledger_can_move(const ledger_t* ledger, bint wide, uint32_t source, uint32_t target, money_t amount) noexcept nogil

# An execution of `lots` of `base_lot` base units each for `notional` units of quote money changes the position. Average cost; a reduction realizes
# `notional of the closed lots - share(cost)`, the share rounded toward zero; the last lot takes what is left.
cdef void ledger_execute(ledger_t* ledger, uint32_t position_row, int side, qty_t lots, money_t base_lot,
                         money_t notional) noexcept nogil

# Move all of a position to another of the same account and assets, whose lots have another size: not a unit is lost. Where
# one is long and the other short, the smaller closes against the larger, at cost. One unit of the source's quote money is
# worth `money_factor` of the target's.
cdef void ledger_merge(ledger_t* ledger, uint32_t source_row, money_t source_lot, uint32_t target_row, money_t target_lot,
                       int64_t money_factor) noexcept nogil

# Take over the rests of the first positions, as they lie in `rests`.
cdef void ledger_take_rests(ledger_t* ledger, const void* rests, size_t count) noexcept nogil

# Build the indexes and the chains of accounts anew from the rows. False: out of memory.
cdef bint ledger_reindex(ledger_t* ledger) noexcept nogil

cdef uint64_t ledger_hash(const ledger_t* ledger) noexcept nogil


cdef inline uint32_t balance_hash(uint32_t account, uint32_t asset) noexcept nogil:
    return <uint32_t>mix(0, <uint64_t>account << 32 | asset)


cdef inline uint32_t position_hash(uint32_t account, uint32_t instrument) noexcept nogil:
    return <uint32_t>mix(0, <uint64_t>account << 32 | instrument)


cdef inline void ledger_touch(ledger_t* ledger, uint32_t row) noexcept nogil:
    cdef balance_t* balance = &ledger.balances[row]
    cdef touched_balance_t* before
    if not balance.touched:
        balance.touched = 1
        before = &ledger.touched_balances[ledger.touched_balance_count]
        before.total = balance.total
        before.reserved = balance.reserved
        before.row = row
        ledger.touched_balance_count += 1


cdef inline void ledger_touch_position(ledger_t* ledger, uint32_t row) noexcept nogil:
    if not ledger.positions[row].touched:
        ledger.positions[row].touched = 1
        ledger.touched_positions[ledger.touched_position_count] = row
        ledger.touched_position_count += 1


cdef inline money_t position_units(const ledger_t* ledger, uint32_t row, money_t base_lot) noexcept nogil:
    """All of a position in base units."""
    return ledger.positions[row].qty * base_lot + ledger.rests[row]


cdef inline void ledger_move(ledger_t* ledger, uint32_t source, uint32_t target, money_t amount) noexcept nogil:
    """The one way money moves."""
    ledger_touch(ledger, source)
    ledger_touch(ledger, target)
    ledger.balances[source].total -= amount
    ledger.balances[target].total += amount


cdef inline void ledger_reserve(ledger_t* ledger, uint32_t row, money_t amount) noexcept nogil:
    """Reserve `amount` more (or, negative, less) of a balance for open orders."""
    if amount != 0:
        ledger_touch(ledger, row)
        ledger.balances[row].reserved += amount


cdef inline money_t ledger_free_amount(const ledger_t* ledger, uint32_t row) noexcept nogil:
    return ledger.balances[row].total - ledger.balances[row].reserved
