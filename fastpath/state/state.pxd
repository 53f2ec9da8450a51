# All trading state, as one C struct: what the exchange knows, and nothing else it could look at.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastpath.state.transfer_ids cimport adjustments_t
from fastpath.model.arith cimport MAX_MONEY, MAX_NARROW, power_of_ten
from fastpath.book.book cimport book_t
from fastpath.state.in_flight cimport changes_t
from fastpath.state.events cimport event_buffer_t
from fastpath.containers.heap cimport heap_t
from fastpath.state.ledger cimport ledger_t
from fastpath.state.contingent_groups cimport contingent_t
from fastpath.book.matching cimport sink_t
from fastpath.book.mirror cimport mirror_t
from fastpath.model.structs cimport account_def_t, asset_def_t, instrument_def_t, money_t, price_t, qty_t, ts_t
from fastpath.state.orders cimport order_store_t
from fastpath.book.pool cimport pool_t

cdef struct bounds_t:
    uint32_t max_orders           # ever
    uint32_t max_open_orders
    uint32_t max_instruments
    uint32_t max_accounts
    uint32_t max_assets

cdef enum:
    MAX_LOTS = 0x2000000000000000     # of an order: 2**61
    MAX_TICKS = 0x2000000000000000    # of an order's price
    TRIGGER_HEAPS = 24            # (6 watched prices) x (rising, falling) x (fixed, trailing): see triggers.pyx

cdef struct reference_t:          # prices that are told from outside; 0: none
    price_t mark_price
    price_t index_price
    ts_t    until_ns              # mark and index price hold until then
    price_t valuation_price       # see valuation.pxd
    ts_t    valuation_until_ns

cdef struct instrument_t:
    instrument_def_t definition   # kind 0: not defined
    # What its numbers are worth in the ledger. Follows from the definitions; not trading state.
    money_t   base_lot            # units of the base asset in one lot
    int64_t   quote_factor        # units of the quote asset in one unit of quote money
    qty_t     max_lots            # of an order: what they are worth fits
    money_t   max_quote           # the largest amount of an order, in units of the quote asset
    book_t*   book                # its own book, or the resting paper orders of its mirror
    mirror_t* mirror              # NULL: not mirrored
    price_t   last_price          # of the last trade (a mirrored one: of the last print); 0: none yet
    reference_t reference
    uint32_t  outside_base_row    # ledger rows of the accounts that belong to nobody
    uint32_t  outside_quote_row
    uint32_t  fee_row
    uint32_t  waiting_count       # conditional orders
    uint32_t  trailing_count      # of them
    uint32_t  guarded_orders      # open ones that may have to follow the fills of others: see guards.pxd
    uint8_t   touched             # queued in state.touched
    heap_t    waiting[TRIGGER_HEAPS]

cdef struct touched_t:            # ring of instruments whose prices may have moved, each once, first come first served
    uint32_t* items
    uint32_t  first
    uint32_t  count

cdef struct state_t:
    bounds_t bounds
    asset_def_t*   assets         # each by its number; kind 0: not defined
    uint8_t*       scales         # of the assets, side by side: every change of a balance tells it
    instrument_t*  instruments
    account_def_t* accounts
    ledger_t       ledger
    adjustments_t  adjustments
    contingent_t        contingent
    order_store_t  orders
    pool_t*        pool
    sink_t         sink
    heap_t         expiries       # open orders that end at a time
    uint32_t*      expiry_places  # by pool slot
    heap_t         transit        # orders on their way to mirrored venues, by when they get there
    changes_t      changes        # cancels and amendments on their way there
    uint32_t*      waiting_places # in `transit` or in the heap of a conditional order's instrument, by pool slot
    touched_t      touched
    ts_t*          deadman_ns     # by account: when all its orders are canceled; 0: never
    ts_t           next_deadman_ns    # none goes off before; INT64_MAX: none is set
    event_buffer_t events
    uint64_t last_seq             # of the last command applied
    uint64_t last_trade_id
    uint8_t  trading_status       # of the whole exchange; the stricter of it and the instrument's counts

cdef state_t* state_new(bounds_t bounds) noexcept nogil          # NULL: out of memory
cdef void state_free(state_t* state) noexcept nogil              # NULL is allowed
cdef uint64_t state_hash(const state_t* state) noexcept nogil    # of all trading state; not of how it lies in memory


cdef inline instrument_t* find_instrument(const state_t* state, uint32_t number) noexcept nogil:
    """NULL: there is none."""
    if 0 < number <= state.bounds.max_instruments and state.instruments[number].definition.kind != 0:
        return &state.instruments[number]
    return NULL


cdef inline ts_t travel_ns(const instrument_t* instrument) noexcept nogil:
    """From when an order is sent until what came of it is known here; 0 for books of our own."""
    return instrument.definition.latency_in_ns + instrument.definition.latency_out_ns


cdef inline account_def_t* find_account(const state_t* state, uint32_t number) noexcept nogil:
    """NULL: there is none."""
    if 0 < number <= state.bounds.max_accounts and state.accounts[number].kind != 0:
        return &state.accounts[number]
    return NULL


cdef inline bint asset_is_defined(const state_t* state, uint32_t number) noexcept nogil:
    return 0 < number <= state.bounds.max_assets and state.assets[number].kind != 0


cdef inline bint is_wide(const asset_def_t* asset) noexcept nogil:
    """Whether amounts of it may be beyond MAX_NARROW: whether a build that has wide amounts has defined it."""
    return asset.first_scale != 0


cdef inline money_t max_amount(const asset_def_t* asset) noexcept nogil:
    return MAX_MONEY if is_wide(asset) else MAX_NARROW


cdef inline uint8_t first_scale(const asset_def_t* asset) noexcept nogil:
    return asset.first_scale if is_wide(asset) else asset.scale


cdef inline void note_scales(state_t* state) noexcept nogil:
    cdef uint32_t number
    for number in range(1, state.bounds.max_assets + 1):
        state.scales[number] = state.assets[number].scale


cdef inline money_t units_of_lot(const state_t* state, const instrument_def_t* definition) noexcept nogil:
    """Units of the base asset in one lot; 0: the asset's units are too large to tell, or the lot is."""
    cdef const asset_def_t* base = &state.assets[definition.base_asset]
    cdef uint8_t scale = definition.base_scale if definition.base_scale != 0 else first_scale(base)
    if scale > base.scale or definition.base_per_lot > max_amount(base) // power_of_ten(base.scale - scale):
        return 0
    return <money_t>definition.base_per_lot * power_of_ten(base.scale - scale)


cdef inline int64_t units_of_money(const state_t* state, const instrument_def_t* definition) noexcept nogil:
    """Units of the quote asset in one unit of the instrument's quote money; 0: the asset's units are too large to tell."""
    cdef const asset_def_t* quote = &state.assets[definition.quote_asset]
    cdef uint8_t scale = definition.quote_scale if definition.quote_scale != 0 else first_scale(quote)
    return 0 if scale > quote.scale else power_of_ten(quote.scale - scale)


cdef inline void measure_instrument(const state_t* state, instrument_t* instrument) noexcept nogil:
    """Work out what its numbers are worth, from its definition and those of its assets."""
    instrument.base_lot = units_of_lot(state, &instrument.definition)
    instrument.quote_factor = units_of_money(state, &instrument.definition)
    if instrument.base_lot != 0:
        instrument.max_lots = <qty_t>min(<money_t>MAX_LOTS, max_amount(&state.assets[instrument.definition.base_asset]) // instrument.base_lot)
    instrument.max_quote = max_amount(&state.assets[instrument.definition.quote_asset])


cdef inline void touch_market(state_t* state, instrument_t* instrument) noexcept nogil:
    """A watched price of the instrument may have moved: look at who waits for it when the command ends."""
    cdef uint32_t at
    if instrument.waiting_count == 0 or instrument.touched:
        return
    instrument.touched = 1
    at = (state.touched.first + state.touched.count) % (state.bounds.max_instruments + 1)
    state.touched.items[at] = instrument.definition.instrument
    state.touched.count += 1


cdef inline void untouch_first(state_t* state) noexcept nogil:
    state.instruments[state.touched.items[state.touched.first]].touched = 0
    state.touched.first = (state.touched.first + 1) % (state.bounds.max_instruments + 1)
    state.touched.count -= 1
