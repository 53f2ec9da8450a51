"""Definitions, trading status and reference prices.

A definition sent again may change what is a rule (limits, fees, status) and nothing that is identity (assets, units, name,
mode): orders and balances depend on those for ever. An asset may be given smaller units: its balances stay the same amounts,
told in more decimals. What an order is worth is told in the quote money of its instrument, whose units never change.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from fastpath.model.arith cimport MAX_NARROW, MAX_SUPPLY, power_of_ten
from fastpath.state.transfer_ids cimport adjustment_t
from fastpath.book.book cimport book_new
from fastpath.state.events cimport events_next, events_reject_command
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.model.decimals cimport MAX_SCALE
from fastpath.state.ledger cimport FEE_ACCOUNT, OUTSIDE_ACCOUNT, balance_t, ledger_balance, position_t
from fastpath.book.mirror cimport mirror_new
from fastpath.model.enums cimport (
    ACCOUNT_MODE_LIVE,
    ACCOUNT_MODE_SIMULATION,
    EVENT_ACCOUNT_DEFINED,
    EVENT_ASSET_DEFINED,
    EVENT_INSTRUMENT_DEFINED,
    EVENT_TRADING_STATUS_CHANGED,
    PAPER_MODEL_PESSIMISTIC,
    REFERENCE_VALUATION,
    REJECT_REASON_AMOUNT_OVERFLOW,
    REJECT_REASON_ASSET_NOT_FOUND,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_EXPIRE_TIME_IN_PAST,
    REJECT_REASON_INSTRUMENT_NOT_FOUND,
    REJECT_REASON_INVALID_COMMAND,
    REJECT_REASON_NOT_TRADABLE,
    TRADING_STATUS_OPEN,
    TRADING_STATUS_REDUCE_ONLY,
)
from fastpath.model.structs cimport (
    account_def_t,
    asset_def_t,
    event_t,
    instrument_def_t,
    money_t,
    price_t,
    reference_prices_t,
    trading_status_t,
)
from fastpath.state.state cimport (
    asset_is_defined,
    find_instrument,
    first_scale,
    instrument_t,
    is_wide,
    measure_instrument,
    state_t,
    touch_market,
    units_of_lot,
    units_of_money,
)

cdef enum:
    MAX_FEE_PPM = 1_000_000       # the whole notional
    MAX_LATENCY_NS = 1_000_000_000

cdef price_t MAX_REFERENCE = <price_t>1 << 60


cdef bint same_asset(const asset_def_t* known, const asset_def_t* new) noexcept nogil:
    """Whether a redefinition leaves the identity alone: it may give smaller units."""
    return (memcmp(known.name, new.name, sizeof(new.name)) == 0 and new.scale >= known.scale
            and (new.first_scale == first_scale(known) or (new.first_scale == 0 and not is_wide(known) and new.scale == known.scale)))


cdef bint refine(state_t* state, uint32_t asset, uint8_t scale) noexcept nogil:
    """Tell all balances of an asset in units of that many decimals. False: one would be beyond the bounds."""
    cdef int64_t factor = power_of_ten(scale - state.assets[asset].scale)
    cdef balance_t* balance
    cdef position_t* position
    cdef adjustment_t* adjustment
    cdef uint32_t row
    cdef money_t most = MAX_SUPPLY // factor
    for row in range(state.ledger.balance_count):
        balance = &state.ledger.balances[row]
        if balance.asset == asset and not -most <= balance.total <= most:
            return False
    for row in range(state.ledger.balance_count):
        balance = &state.ledger.balances[row]
        if balance.asset == asset:
            balance.total *= factor
            balance.reserved *= factor
    for row in range(state.ledger.position_count):
        position = &state.ledger.positions[row]
        if state.ledger.balances[position.base_row].asset == asset:
            state.ledger.rests[row] *= factor
    for row in range(state.adjustments.count):
        adjustment = &state.adjustments.items[row]
        if adjustment.asset == asset:
            adjustment.amount *= factor
    return True


cdef void define_asset(state_t* state, const asset_def_t* asset) noexcept nogil:
    cdef asset_def_t* known
    cdef instrument_t* instrument
    cdef event_t* event
    cdef uint32_t number
    if asset.asset == 0:
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
        return
    if asset.asset > state.bounds.max_assets:
        events_reject_command(&state.events, REJECT_REASON_CAPACITY)
        return
    known = &state.assets[asset.asset]
    if asset.scale > MAX_SCALE or (known.kind != 0 and not same_asset(known, asset)):
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
        return
    if known.kind != 0 and not refine(state, asset.asset, asset.scale):
        events_reject_command(&state.events, REJECT_REASON_AMOUNT_OVERFLOW)
        return
    known[0] = asset[0]
    state.scales[asset.asset] = asset.scale
    for number in range(1, state.bounds.max_instruments + 1):
        instrument = &state.instruments[number]
        if (instrument.definition.kind != 0
                and (instrument.definition.base_asset == asset.asset or instrument.definition.quote_asset == asset.asset)):
            measure_instrument(state, instrument)
    event = events_next(&state.events, EVENT_ASSET_DEFINED)
    event.of.asset = asset.asset


cdef void define_account(state_t* state, const account_def_t* account) noexcept nogil:
    cdef account_def_t* known
    cdef event_t* event
    if account.account == 0 or not ACCOUNT_MODE_LIVE <= account.mode <= ACCOUNT_MODE_SIMULATION:
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
        return
    if account.account > state.bounds.max_accounts:
        events_reject_command(&state.events, REJECT_REASON_CAPACITY)
        return
    known = &state.accounts[account.account]
    if known.kind != 0 and (known.mode != account.mode or memcmp(known.name, account.name, sizeof(account.name)) != 0):
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
        return
    known[0] = account[0]
    event = events_next(&state.events, EVENT_ACCOUNT_DEFINED)
    event.account = account.account
    event.detail.account_mode = account.mode


cdef bint same_instrument(const state_t* state, const instrument_def_t* known, const instrument_def_t* new) noexcept nogil:
    """Whether a redefinition leaves the identity alone."""
    return (known.mirrored == new.mirrored and known.base_asset == new.base_asset
            and known.quote_asset == new.quote_asset and known.quote_per_tick_lot == new.quote_per_tick_lot
            and units_of_lot(state, known) == units_of_lot(state, new)
            and units_of_money(state, known) == units_of_money(state, new)
            and memcmp(known.name, new.name, sizeof(new.name)) == 0
            and memcmp(known.tick_size, new.tick_size, sizeof(new.tick_size)) == 0
            and memcmp(known.lot_size, new.lot_size, sizeof(new.lot_size)) == 0)


cdef uint8_t check_instrument(const state_t* state, const instrument_def_t* new) noexcept nogil:
    """The reason to refuse the definition, 0 if there is none."""
    if new.instrument > state.bounds.max_instruments:
        return REJECT_REASON_CAPACITY
    if not asset_is_defined(state, new.base_asset) or not asset_is_defined(state, new.quote_asset):
        return REJECT_REASON_ASSET_NOT_FOUND
    if (new.instrument == 0 or new.base_asset == new.quote_asset or new.mirrored > 1
            or not TRADING_STATUS_OPEN <= new.status <= TRADING_STATUS_REDUCE_ONLY
            or not 1 <= new.base_per_lot <= MAX_NARROW or not 1 <= new.quote_per_tick_lot <= MAX_NARROW
            or units_of_lot(state, new) == 0 or units_of_money(state, new) == 0
            or new.tradable > 1 or new.min_qty < 1 or (new.max_qty != 0 and new.max_qty < new.min_qty) or new.min_notional < 0):
        return REJECT_REASON_INVALID_COMMAND
    # A rebate may not exceed the taker's fee, or each trade would drain the fee account.
    if (not 0 <= new.taker_fee_ppm <= MAX_FEE_PPM or not -new.taker_fee_ppm <= new.maker_fee_ppm <= MAX_FEE_PPM):
        return REJECT_REASON_INVALID_COMMAND
    if (not 0 <= new.latency_in_ns <= MAX_LATENCY_NS or not 0 <= new.latency_out_ns <= MAX_LATENCY_NS
            or new.paper_model > PAPER_MODEL_PESSIMISTIC
            or (not new.mirrored and (new.latency_in_ns != 0 or new.latency_out_ns != 0 or new.paper_model != 0))):
        return REJECT_REASON_INVALID_COMMAND
    if (state.instruments[new.instrument].definition.kind != 0
            and not same_instrument(state, &state.instruments[new.instrument].definition, new)):
        return REJECT_REASON_INVALID_COMMAND
    return 0


cdef bint open_instrument(state_t* state, const instrument_def_t* new) noexcept nogil:
    """Everything a new instrument needs. False: no memory or no room, and nothing is left behind that counts."""
    cdef instrument_t* instrument = &state.instruments[new.instrument]
    instrument.outside_base_row = ledger_balance(&state.ledger, OUTSIDE_ACCOUNT, new.base_asset)
    instrument.outside_quote_row = ledger_balance(&state.ledger, OUTSIDE_ACCOUNT, new.quote_asset)
    instrument.fee_row = ledger_balance(&state.ledger, FEE_ACCOUNT, new.quote_asset)
    if instrument.outside_base_row == NO_ROW or instrument.outside_quote_row == NO_ROW or instrument.fee_row == NO_ROW:
        return False
    if new.mirrored:
        instrument.mirror = mirror_new(state.pool, new.instrument)
        instrument.book = instrument.mirror.resting if instrument.mirror != NULL else NULL
    else:
        instrument.book = book_new(state.pool, new.instrument)
    return instrument.book != NULL


cdef void define_instrument(state_t* state, const instrument_def_t* new) noexcept nogil:
    cdef uint8_t reason = check_instrument(state, new)
    cdef event_t* event
    if reason == 0 and state.instruments[new.instrument].definition.kind == 0 and not open_instrument(state, new):
        reason = REJECT_REASON_CAPACITY
    if reason != 0:
        events_reject_command(&state.events, reason)
        return
    state.instruments[new.instrument].definition = new[0]
    measure_instrument(state, &state.instruments[new.instrument])
    touch_market(state, &state.instruments[new.instrument])
    event = events_next(&state.events, EVENT_INSTRUMENT_DEFINED)
    event.instrument = new.instrument
    event.detail.trading_status = new.status


cdef void touch_all_markets(state_t* state) noexcept nogil:
    """Prices that moved while trading was halted count when it opens."""
    cdef uint32_t number
    for number in range(1, state.bounds.max_instruments + 1):
        touch_market(state, &state.instruments[number])


cdef void set_trading_status(state_t* state, const trading_status_t* command) noexcept nogil:
    """Of one instrument, or (instrument 0) of the whole exchange."""
    cdef instrument_t* instrument = find_instrument(state, command.instrument)
    cdef event_t* event
    if not TRADING_STATUS_OPEN <= command.trading_status <= TRADING_STATUS_REDUCE_ONLY:
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
        return
    if command.instrument == 0:
        state.trading_status = <uint8_t>command.trading_status
    elif instrument == NULL:
        events_reject_command(&state.events, REJECT_REASON_INSTRUMENT_NOT_FOUND)
        return
    elif not instrument.definition.tradable and (command.trading_status == TRADING_STATUS_OPEN
                                                 or command.trading_status == TRADING_STATUS_REDUCE_ONLY):
        events_reject_command(&state.events, REJECT_REASON_NOT_TRADABLE)
        return
    else:
        instrument.definition.status = <uint8_t>command.trading_status
    touch_all_markets(state)
    event = events_next(&state.events, EVENT_TRADING_STATUS_CHANGED)
    event.instrument = command.instrument
    event.detail.trading_status = command.trading_status


cdef void set_reference_prices(state_t* state, const reference_prices_t* command) noexcept nogil:
    """Prices of an instrument from now until a time; nothing trades at them. Triggers watch mark and index, positions are valued
    by the valuation price; 0 takes it back."""
    cdef bint values = command.sets == REFERENCE_VALUATION
    cdef instrument_t* instrument = find_instrument(state, command.instrument)
    if instrument == NULL:
        events_reject_command(&state.events, REJECT_REASON_INSTRUMENT_NOT_FOUND)
        return
    if (not 0 <= command.mark_price <= MAX_REFERENCE or not 0 <= command.index_price <= MAX_REFERENCE
            or command.sets > REFERENCE_VALUATION or (values and command.index_price != 0)):
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
        return
    if command.until_ns <= command.ts_ns and not (values and command.mark_price == 0):
        events_reject_command(&state.events, REJECT_REASON_EXPIRE_TIME_IN_PAST)
        return
    if values:
        instrument.reference.valuation_price = command.mark_price
        instrument.reference.valuation_until_ns = command.until_ns
        return
    instrument.reference.mark_price = command.mark_price
    instrument.reference.index_price = command.index_price
    instrument.reference.until_ns = command.until_ns
    touch_market(state, instrument)
