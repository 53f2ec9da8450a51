"""Pre-trade checks. What the order says is checked first, then what the market and the account say; the first reason counts."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, uint8_t, uint32_t

from fastpath.model.arith cimport fee_of
from fastpath.state.ledger cimport ledger_can_move
from fastpath.risk.gate cimport ask_t, check_account, check_limits, check_tradable, check_trading, cost_fits
from fastpath.risk.link_prices cimport meets_own_group
from fastpath.risk.market cimport walk
from fastpath.book.matching cimport (
    TAKER_HIDDEN,
    TAKER_MARKET,
    TAKER_MARKET_TO_LIMIT,
    TAKER_POST_ONLY,
    TAKER_SLIDE,
    match_cost,
    incoming_t,
)
from fastpath.book.mirror cimport mirror_best
from fastpath.model.order_sets cimport (
    ALL_TYPES,
    CLOSING_TYPES,
    DISPLAY_QTY_TYPES,
    IMMEDIATE,
    OWN_BOOK_TYPES,
    POSTABLE_TYPES,
    QUOTE_QTY_TYPES,
    WAITING_TYPES,
    is_in,
)
from fastpath.model.enums cimport (
    ORDER_FLAG_CANCEL_ON_DISCONNECT,
    ORDER_FLAG_CLOSE_POSITION,
    ORDER_FLAG_POST_ONLY,
    ORDER_FLAG_POST_ONLY_SLIDE,
    ORDER_FLAG_PROTECTED,
    ORDER_FLAG_QUOTE_QTY,
    ORDER_FLAG_REDUCE_ONLY,
    ORDER_TYPE_HIDDEN,
    ORDER_TYPE_MARKET,
    ORDER_TYPE_MARKET_TO_LIMIT,
    ORDER_TYPE_TRAILING_STOP_LIMIT,
    REJECT_REASON_AMOUNT_OVERFLOW,
    REJECT_REASON_EXPIRE_TIME_IN_PAST,
    REJECT_REASON_INVALID_COMMAND,
    REJECT_REASON_LINKED_PRICE,
    REJECT_REASON_NOTIONAL_BELOW_MIN,
    REJECT_REASON_NO_LIQUIDITY,
    REJECT_REASON_REDUCE_ONLY_VIOLATION,
    REJECT_REASON_SLIPPAGE_LIMIT,
    REJECT_REASON_UNSUPPORTED_ORDER_TYPE,
    REJECT_REASON_UNSUPPORTED_TIME_IN_FORCE,
    REJECT_REASON_UNSUPPORTED_TRIGGER_SOURCE,
    REJECT_REASON_WOULD_TAKE_LIQUIDITY,
    SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL,
    SELF_TRADE_PREVENTION_NONE,
    SIDE_BUY,
    SIDE_SELL,
    TIME_IN_FORCE_DAY,
    TIME_IN_FORCE_GTC,
    TIME_IN_FORCE_GTD,
    TRAILING_UNIT_BPS,
    TRAILING_UNIT_TICKS,
    TRIGGER_SOURCE_INDEX,
    TRIGGER_SOURCE_MARK,
)
from fastpath.model.structs cimport asset_def_t, instrument_def_t, money_t, price_t, qty_t, ts_t
from fastpath.state.orders cimport (
    GROUP_OWNER,
    WAIT_NONE,
    WAIT_TRIGGER,
    has_begun,
    is_conditional,
    is_sent,
    is_trailing,
    owner_of,
    takes_any_price,
    total_qty,
)
from fastpath.state.route cimport ROUTE_MIRRORED, ROUTE_OWN_BOOK, route_of
from fastpath.state.settlement cimport held_amount, required_amount, reserved_row
from fastpath.risk.sizing cimport REDUCING_FLAGS, UNSIZED_FLAGS, reducible, size_order
from fastpath.state.state cimport is_wide, travel_ns
from fastpath.state.triggers cimport WATCH_INDEX, WATCH_MARK, reference_price

cdef enum:
    POST_ONLY_FLAGS = ORDER_FLAG_POST_ONLY | ORDER_FLAG_POST_ONLY_SLIDE
    SUPPORTED_FLAGS = (POST_ONLY_FLAGS | REDUCING_FLAGS | ORDER_FLAG_PROTECTED | ORDER_FLAG_QUOTE_QTY
                       | ORDER_FLAG_CANCEL_ON_DISCONNECT)

cdef ts_t DAY_NS = 86_400_000_000_000
cdef price_t MAX_TRIGGER = <price_t>1 << 60


cdef inline bint takes_now(const order_record_t* order) noexcept nogil:
    """Whether it takes on arrival or not at all."""
    return is_in(order.time_in_force, IMMEDIATE)


cdef inline bint ends_at_a_time(const order_record_t* order) noexcept nogil:
    return order.time_in_force == TIME_IN_FORCE_GTD or order.time_in_force == TIME_IN_FORCE_DAY


cdef ts_t expiry_of(const order_record_t* order) noexcept nogil:
    if order.time_in_force == TIME_IN_FORCE_DAY and order.expire_ns == 0:
        return (order.placed_ns // DAY_NS + 1) * DAY_NS             # the end of the day, UTC
    return order.expire_ns


cdef uint8_t check_kind(const state_t* state, const instrument_t* instrument, const order_record_t* order) noexcept nogil:
    """Type, time in force and flags must exist and go together."""
    if not is_in(order.order_type, ALL_TYPES):
        return REJECT_REASON_UNSUPPORTED_ORDER_TYPE
    if is_in(order.order_type, OWN_BOOK_TYPES) and route_of(state, order.account, instrument) != ROUTE_OWN_BOOK:
        return REJECT_REASON_UNSUPPORTED_ORDER_TYPE
    if not TIME_IN_FORCE_GTC <= order.time_in_force <= TIME_IN_FORCE_DAY:
        return REJECT_REASON_UNSUPPORTED_TIME_IN_FORCE
    if takes_now(order) and is_in(order.order_type, WAITING_TYPES):
        return REJECT_REASON_UNSUPPORTED_TIME_IN_FORCE
    if order.order_type == ORDER_TYPE_MARKET and ends_at_a_time(order):
        return REJECT_REASON_UNSUPPORTED_TIME_IN_FORCE
    if not ends_at_a_time(order) and order.expire_ns != 0:
        return REJECT_REASON_INVALID_COMMAND
    if (order.side != SIDE_BUY and order.side != SIDE_SELL) or order.flags & ~<uint32_t>SUPPORTED_FLAGS:
        return REJECT_REASON_INVALID_COMMAND
    if order.flags & POST_ONLY_FLAGS and (not is_in(order.order_type, POSTABLE_TYPES) or takes_now(order) or order.min_qty != 0):
        return REJECT_REASON_INVALID_COMMAND
    if order.flags & ORDER_FLAG_PROTECTED and not takes_any_price(order):
        return REJECT_REASON_INVALID_COMMAND
    if not sizes_make_sense(instrument, order):
        return REJECT_REASON_INVALID_COMMAND
    if order.stp_mode > SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL or order.stp_group >= <uint32_t>GROUP_OWNER:
        return REJECT_REASON_INVALID_COMMAND
    return 0


cdef bint sizes_make_sense(const instrument_t* instrument, const order_record_t* order) noexcept nogil:
    """Of the flags that say how much: at most one, on types that can follow it, with the fields it needs."""
    cdef uint32_t sizing = order.flags & <uint32_t>(UNSIZED_FLAGS | REDUCING_FLAGS)
    if ((order.flags & ORDER_FLAG_QUOTE_QTY) != 0) != (order.amount != 0):
        return False
    if sizing == 0:
        return True
    if order.min_qty != 0 or is_in(order.order_type, DISPLAY_QTY_TYPES):
        return False
    if sizing == ORDER_FLAG_QUOTE_QTY:
        return (is_in(order.order_type, QUOTE_QTY_TYPES)
                and 0 < order.amount <= instrument.max_quote // instrument.quote_factor)
    if sizing == ORDER_FLAG_CLOSE_POSITION:
        return is_in(order.order_type, CLOSING_TYPES)
    return sizing == ORDER_FLAG_REDUCE_ONLY


cdef uint8_t check_numbers(const instrument_t* instrument, const order_record_t* order) noexcept nogil:
    """Price and quantities are in their domains and within the instrument's limits."""
    cdef bint priced = not takes_any_price(order) or order.flags & ORDER_FLAG_PROTECTED
    cdef qty_t qty = total_qty(order)
    if order.order_type == ORDER_TYPE_TRAILING_STOP_LIMIT and not has_begun(order):
        priced = False                                  # its price is a distance from the trigger yet to come
    elif order.price <= 0 if priced else order.price != 0:
        return REJECT_REASON_INVALID_COMMAND
    if order.flags & ORDER_FLAG_CLOSE_POSITION and order.waiting != WAIT_NONE:
        return 0 if qty == 0 else REJECT_REASON_INVALID_COMMAND
    if (qty <= 0
            or not 0 <= order.min_qty <= qty
            or (not 0 < order.display_qty <= qty if is_in(order.order_type, DISPLAY_QTY_TYPES)
                else order.display_qty != 0)):
        return REJECT_REASON_INVALID_COMMAND
    return check_limits(instrument, order.price if priced else 0, qty, order.parent_qty != 0)   # a child was measured as a whole


cdef uint8_t price_market_order(const state_t* state, const instrument_t* instrument, const order_record_t* order,
                                incoming_t* taker, money_t* needed) noexcept nogil:
    """Bound a market order by the worst price it meets now, so that its cost is known before anything moves."""
    cdef const instrument_def_t* rules = &instrument.definition
    cdef qty_t leaves = order.qty - order.cum_qty
    cdef int32_t fee_carry = 0
    cdef qty_t found = 0
    cdef money_t cost = 0
    cdef price_t worst = 0
    cdef money_t notional
    walk(state, instrument, order, taker.price, leaves, &found, &cost, &worst)
    if found == 0:
        if order.flags & ORDER_FLAG_PROTECTED:
            walk(state, instrument, order, INT64_MAX if order.side == SIDE_BUY else INT64_MIN, 1, &found, &cost, &worst)
        return REJECT_REASON_SLIPPAGE_LIMIT if found > 0 else REJECT_REASON_NO_LIQUIDITY
    if not cost_fits(instrument, cost, &notional):
        return REJECT_REASON_AMOUNT_OVERFLOW
    if notional < rules.min_notional and order.parent_qty == 0:
        return REJECT_REASON_NOTIONAL_BELOW_MIN
    # A remainder may rest at up to the worst price, and own orders skipped by self-trade prevention may push the taker up to it.
    if order.order_type == ORDER_TYPE_MARKET_TO_LIMIT or order.stp_mode > SELF_TRADE_PREVENTION_NONE:
        if not cost_fits(instrument, <money_t>worst * leaves, &notional):
            return REJECT_REASON_AMOUNT_OVERFLOW
    taker.price = worst
    if order.side == SIDE_BUY:
        needed[0] = ((notional + fee_of(notional, max(order.maker_fee_ppm, order.taker_fee_ppm), &fee_carry))
                     * instrument.quote_factor)
    else:
        needed[0] = leaves * instrument.base_lot
    return 0


cdef uint8_t check_proceeds(state_t* state, const instrument_t* instrument, const order_record_t* order,
                            price_t limit) noexcept nogil:
    """Against a mirror the outside world pays: what it gives must fit the books whatever price is met."""
    cdef const asset_def_t* base = &state.assets[instrument.definition.base_asset]
    cdef const asset_def_t* quote = &state.assets[instrument.definition.quote_asset]
    cdef qty_t leaves = order.qty - order.cum_qty
    cdef qty_t found = 0
    cdef money_t best = 0
    cdef price_t worst = 0
    cdef money_t amount
    if order.side == SIDE_BUY:
        if not ledger_can_move(&state.ledger, is_wide(base), instrument.outside_base_row,
                               state.ledger.positions[order.position_row].base_row,
                               leaves * instrument.base_lot):
            return REJECT_REASON_AMOUNT_OVERFLOW
        return 0
    walk(state, instrument, order, limit, 1, &found, &best, &worst)
    if not cost_fits(instrument, max(best, <money_t>limit) * leaves, &amount):
        return REJECT_REASON_AMOUNT_OVERFLOW
    if not ledger_can_move(&state.ledger, is_wide(quote), instrument.outside_quote_row,
                           state.ledger.positions[order.position_row].quote_row, amount * instrument.quote_factor):
        return REJECT_REASON_AMOUNT_OVERFLOW
    return 0


cdef bint slides_to_nothing(const state_t* state, const instrument_t* instrument, const order_record_t* order) noexcept nogil:
    """A buyer that would slide below the lowest price there is."""
    cdef qty_t found = 0
    cdef money_t cost = 0
    cdef price_t best = 0
    if not order.flags & ORDER_FLAG_POST_ONLY_SLIDE or order.side != SIDE_BUY:
        return False
    if route_of(state, order.account, instrument) != ROUTE_OWN_BOOK:
        return mirror_best(instrument.mirror, SIDE_SELL, &best) and best == 1
    match_cost(instrument.book, SIDE_BUY, order.price, 1, &found, &cost, &best)    # hidden orders count
    return found > 0 and best == 1


cdef void shape_taker(const state_t* state, const order_record_t* order, incoming_t* taker) noexcept nogil:
    taker.owner = owner_of(&state.orders, order)
    taker.side = order.side
    taker.time_in_force = order.time_in_force
    taker.stp_mode = order.stp_mode
    taker.price = order.price
    taker.qty = order.qty - order.cum_qty
    taker.min_qty = order.min_qty
    taker.display_qty = order.display_qty
    taker.flags = 0
    if order.flags & ORDER_FLAG_POST_ONLY:
        taker.flags |= TAKER_POST_ONLY
    if order.flags & ORDER_FLAG_POST_ONLY_SLIDE:
        taker.flags |= TAKER_POST_ONLY | TAKER_SLIDE
    if order.order_type == ORDER_TYPE_HIDDEN:
        taker.flags |= TAKER_HIDDEN
    if order.order_type == ORDER_TYPE_MARKET_TO_LIMIT:
        taker.flags |= TAKER_MARKET_TO_LIMIT
    elif takes_any_price(order):
        taker.flags |= TAKER_MARKET
    if takes_any_price(order) and not order.flags & ORDER_FLAG_PROTECTED:
        taker.price = INT64_MAX if order.side == SIDE_BUY else INT64_MIN


cdef uint8_t check_trigger(const order_record_t* order) noexcept nogil:
    """What a conditional order waits for must be said, and only it may say so."""
    if not is_conditional(order):
        if (order.trigger_price != 0 or order.trigger_source != 0 or order.trailing_offset != 0
                or order.trailing_unit != 0):
            return REJECT_REASON_INVALID_COMMAND
        return 0
    if (order.trigger_source > TRIGGER_SOURCE_INDEX or order.flags & POST_ONLY_FLAGS or order.min_qty != 0
            or order.trigger_price < 0 or not 0 <= order.price <= MAX_TRIGGER):
        return REJECT_REASON_INVALID_COMMAND
    if order.trigger_price > MAX_TRIGGER and not (is_trailing(order) and order.waiting == WAIT_TRIGGER):
        return REJECT_REASON_INVALID_COMMAND            # one that trails is ours, not the trader's
    if is_trailing(order):
        if order.trailing_unit == TRAILING_UNIT_TICKS and 0 < order.trailing_offset <= MAX_TRIGGER:
            return 0
        if order.trailing_unit == TRAILING_UNIT_BPS and 0 < order.trailing_offset < 10_000:
            return 0
        return REJECT_REASON_INVALID_COMMAND
    if order.trigger_price == 0 or order.trailing_offset != 0 or order.trailing_unit != 0:
        return REJECT_REASON_INVALID_COMMAND
    return 0


cdef inline bint has_trigger_price(
    const state_t* state, const instrument_t* instrument, const order_record_t* order
) noexcept nogil:
    """A mark or index price must be known when an order begins to wait for it; later it may come and go."""
    if is_sent(order):
        return True
    if order.trigger_source == TRIGGER_SOURCE_MARK:
        return reference_price(state, instrument, WATCH_MARK) != 0
    return order.trigger_source != TRIGGER_SOURCE_INDEX or reference_price(state, instrument, WATCH_INDEX) != 0


cdef uint8_t check_new(state_t* state, instrument_t* instrument, order_record_t* order,
                   incoming_t* taker) noexcept nogil:
    cdef money_t needed = 0
    cdef bint triggered = is_conditional(order) and order.waiting == WAIT_NONE
    cdef uint8_t reason = check_tradable(instrument)
    if reason == 0:
        reason = check_kind(state, instrument, order)
    if reason == 0 and not triggered:
        reason = check_trigger(order)
    if reason == 0 and not has_trigger_price(state, instrument, order):
        reason = REJECT_REASON_UNSUPPORTED_TRIGGER_SOURCE
    if reason == 0 and order.flags & UNSIZED_FLAGS and order.qty != 0:
        reason = REJECT_REASON_INVALID_COMMAND
    if reason == 0 and order.qty >= 0 and order.waiting == WAIT_NONE:
        reason = size_order(state, instrument, order)
    if reason == 0:
        reason = check_numbers(instrument, order)
    if reason == 0 and ends_at_a_time(order) and order.expire_ns <= order.placed_ns:
        reason = REJECT_REASON_EXPIRE_TIME_IN_PAST
    if reason == 0:
        reason = check_trading(state, instrument, order.account, order.flags & REDUCING_FLAGS != 0)
    if reason != 0 or order.waiting != WAIT_NONE:
        return reason
    shape_taker(state, order, taker)
    if takes_any_price(order):
        reason = price_market_order(state, instrument, order, taker, &needed)
        if reason == 0 and travel_ns(instrument) > 0 and not order.flags & UNSIZED_FLAGS:
            # On its way it has what its protection price needs, whatever the market asks now.
            needed = max(needed, required_amount(instrument, order, order.price, order.qty - order.cum_qty))
    else:
        needed = required_amount(instrument, order, order.price, order.qty - order.cum_qty)
        if slides_to_nothing(state, instrument, order):
            reason = REJECT_REASON_WOULD_TAKE_LIQUIDITY
    if reason == 0:
        reason = check_funds(state, instrument, order, taker.price, needed, 0)
    return reason


cdef uint8_t check_funds(state_t* state, const instrument_t* instrument, const order_record_t* order, price_t limit,
                         money_t needed, money_t held) noexcept nogil:
    """What the order needs must be there, and what it brings must fit."""
    cdef ask_t ask
    cdef uint8_t reason
    ask.account = order.account
    ask.paying_row = reserved_row(state, order)
    ask.side = order.side
    ask.price = limit
    ask.qty = order.qty - order.cum_qty
    ask.needed = needed
    ask.held = held
    reason = check_account(state, &ask)
    if reason == 0 and route_of(state, order.account, instrument) == ROUTE_MIRRORED:
        reason = check_proceeds(state, instrument, order, limit)
    return reason


cdef uint8_t check_amended(state_t* state, instrument_t* instrument, const order_record_t* order,
                           const order_record_t* amended) noexcept nogil:
    cdef money_t needed
    cdef uint8_t reason = check_tradable(instrument)
    if reason == 0:
        reason = check_numbers(instrument, amended)
    if reason == 0 and not has_begun(order):
        reason = check_trigger(amended)
    if reason == 0:
        reason = check_trading(state, instrument, amended.account, amended.flags & REDUCING_FLAGS != 0)
    if reason == 0 and amended.price != order.price and meets_own_group(state, order, amended.price):
        reason = REJECT_REASON_LINKED_PRICE
    if reason != 0 or not is_sent(order):
        return reason
    if amended.flags & REDUCING_FLAGS and amended.qty - amended.cum_qty > reducible(state, amended):
        return REJECT_REASON_REDUCE_ONLY_VIOLATION
    if slides_to_nothing(state, instrument, amended):
        return REJECT_REASON_WOULD_TAKE_LIQUIDITY
    needed = required_amount(instrument, amended, amended.price, amended.qty - amended.cum_qty)
    return check_funds(state, instrument, amended, amended.price, needed, held_amount(instrument, order))
