# The pre-trade gate: the checks that every order passes, whichever way it comes. Each limit stands here once.
#
# placing_plain.pyx asks them of a command, checks.pyx of an order's record, between the checks that only some orders need.
# A new limit of an instrument goes into check_limits, one of an account into check_account.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.model.arith cimport worth
from fastpath.model.enums cimport (
    MIRROR_LIVE,
    REJECT_REASON_ACCOUNT_MODE,
    REJECT_REASON_AMOUNT_OVERFLOW,
    REJECT_REASON_INSTRUMENT_NOT_TRADING,
    REJECT_REASON_INSUFFICIENT_BALANCE,
    REJECT_REASON_NOTIONAL_BELOW_MIN,
    REJECT_REASON_NOT_TRADABLE,
    REJECT_REASON_QTY_ABOVE_MAX,
    REJECT_REASON_QTY_BELOW_MIN,
    REJECT_REASON_STALE_MARKET_DATA,
    REJECT_REASON_TRADING_CANCEL_ONLY,
    REJECT_REASON_TRADING_HALTED,
    REJECT_REASON_TRADING_REDUCE_ONLY,
    TRADING_STATUS_CANCEL_ONLY,
    TRADING_STATUS_HALTED,
    TRADING_STATUS_OPEN,
    TRADING_STATUS_REDUCE_ONLY,
)
from fastpath.model.structs cimport instrument_def_t, money_t, price_t, qty_t
from fastpath.state.ledger cimport ledger_free_amount
from fastpath.state.route cimport ROUTE_MIRRORED, ROUTE_OWN_BOOK, Route, route_of
from fastpath.state.state cimport MAX_TICKS, instrument_t, state_t

cdef struct ask_t:                # what an order asks of its account
    uint32_t account
    uint32_t paying_row           # the balance that pays for it
    uint8_t  side
    price_t  price                # the worst it may trade at
    qty_t    qty                  # lots still to be traded
    money_t  needed               # to be set aside, in units of the asset that pays
    money_t  held                 # of it, set aside already: of an order that is amended


cdef inline uint8_t check_tradable(const instrument_t* instrument) noexcept nogil:
    return 0 if instrument.definition.tradable else REJECT_REASON_NOT_TRADABLE


cdef inline bint cost_fits(const instrument_t* instrument, money_t cost, money_t* notional) noexcept nogil:
    """Whether so many ticks times lots are an amount of quote money that an order may have; then which."""
    return worth(cost, instrument.definition.quote_per_tick_lot, instrument.quote_factor, instrument.max_quote, notional)


cdef inline uint8_t check_limits(const instrument_t* instrument, price_t price, qty_t qty, bint is_part) noexcept nogil:
    """The limits of the instrument, for `qty` lots. `price` 0: not known yet. `is_part`: of an order that was measured as a whole."""
    cdef const instrument_def_t* rules = &instrument.definition
    cdef money_t amount
    if qty < rules.min_qty and not is_part:
        return REJECT_REASON_QTY_BELOW_MIN
    if rules.max_qty != 0 and qty > rules.max_qty:
        return REJECT_REASON_QTY_ABOVE_MAX
    if qty > instrument.max_lots:
        return REJECT_REASON_AMOUNT_OVERFLOW
    if price != 0:
        if price > MAX_TICKS or not cost_fits(instrument, <money_t>price * qty, &amount):
            return REJECT_REASON_AMOUNT_OVERFLOW
        if amount < rules.min_notional and not is_part:
            return REJECT_REASON_NOTIONAL_BELOW_MIN
    return 0


cdef inline uint8_t status_reason(uint8_t status, bint reduces) noexcept nogil:
    if status == TRADING_STATUS_OPEN:
        return 0
    if status == TRADING_STATUS_HALTED:
        return REJECT_REASON_TRADING_HALTED
    if status == TRADING_STATUS_CANCEL_ONLY:
        return REJECT_REASON_TRADING_CANCEL_ONLY
    if status == TRADING_STATUS_REDUCE_ONLY:
        return 0 if reduces else REJECT_REASON_TRADING_REDUCE_ONLY
    return REJECT_REASON_INSTRUMENT_NOT_TRADING


cdef inline uint8_t check_trading(const state_t* state, const instrument_t* instrument, uint32_t account,
                                  bint reduces) noexcept nogil:
    """Whether the exchange and the instrument take orders now, and the account's orders a route that is open."""
    cdef Route route
    cdef uint8_t reason = status_reason(state.trading_status, reduces)
    if reason == 0:
        reason = status_reason(instrument.definition.status, reduces)
    if reason != 0:
        return reason
    route = route_of(state, account, instrument)
    if route == ROUTE_OWN_BOOK:
        return 0
    if route != ROUTE_MIRRORED:
        return REJECT_REASON_ACCOUNT_MODE
    return 0 if instrument.mirror.state == MIRROR_LIVE else REJECT_REASON_STALE_MARKET_DATA


cdef inline uint8_t check_account(const state_t* state, const ask_t* ask) noexcept nogil:
    """The limits of the account: what the order needs must be free."""
    if ledger_free_amount(&state.ledger, ask.paying_row) + ask.held < ask.needed:
        return REJECT_REASON_INSUFFICIENT_BALANCE
    return 0
