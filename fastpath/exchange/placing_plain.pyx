"""Plain limit orders, placed by the straight line. Described in placing_plain.pxd."""

from libc.stdint cimport uint32_t

from fastpath.risk.checks cimport shape_taker
from fastpath.model.arith cimport worth
from fastpath.book.book cimport book_can_rest, book_rest
from fastpath.state.events cimport events_order
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport ledger_find_position, ledger_free_amount, ledger_position, ledger_reserve
from fastpath.book.matching cimport match_crosses, taker_t
from fastpath.model.enums cimport (
    EVENT_ORDER_ACCEPTED,
    ORDER_FLAG_CANCEL_ON_DISCONNECT,
    ORDER_FLAG_POST_ONLY,
    ORDER_FLAG_POST_ONLY_SLIDE,
    ORDER_TYPE_LIMIT,
    SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL,
    SIDE_BUY,
    SIDE_SELL,
    TIME_IN_FORCE_GTC,
    TRADING_STATUS_OPEN,
)
from fastpath.model.structs cimport command_t, instrument_def_t, money_t
from fastpath.state.orders cimport (
    body_digest,
    client_order_id_hash,
    order_record_t,
    orders_append,
    orders_find_client,
    orders_open,
)
from fastpath.book.pool cimport pool_take, unlikely
from fastpath.state.settlement cimport required_for
from fastpath.state.state cimport MAX_TICKS, find_account, find_instrument, instrument_t, touch_market, travel_ns
from fastpath.exchange.placing cimport enter_admitted

cdef enum:
    RESTING_FLAGS = ORDER_FLAG_POST_ONLY | ORDER_FLAG_POST_ONLY_SLIDE    # mean nothing to an order that meets nobody
    PLAIN_FLAGS = RESTING_FLAGS | ORDER_FLAG_CANCEL_ON_DISCONNECT


cdef inline bint is_plain(const command_t* command) noexcept nogil:
    """All that makes an order other than plain is absent."""
    return (command.order_type == ORDER_TYPE_LIMIT and command.time_in_force == TIME_IN_FORCE_GTC
            and (command.side == SIDE_BUY or command.side == SIDE_SELL)
            and (command.flags & ~<uint32_t>PLAIN_FLAGS
                 | command.stp_group | command.trigger_source | command.trailing_unit
                 | command.link_type | command.link_size) == 0
            and (command.trigger_price | command.display_qty | command.min_qty | command.amount | command.amount_high
                 | command.expire_ns | command.trailing_offset) == 0
            and command.link_id == 0
            and command.stp_mode <= SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL
            and command.client_order_id[0] != 0)


cdef inline bint takes_plain_orders(const state_t* state, const instrument_t* instrument) noexcept nogil:
    return (instrument.mirror == NULL and instrument.definition.tradable and instrument.definition.status == TRADING_STATUS_OPEN
            and state.trading_status == TRADING_STATUS_OPEN and travel_ns(instrument) == 0)


cdef inline bint numbers_fit(const instrument_t* instrument, const command_t* command) noexcept nogil:
    """Price and quantity are within the instrument's limits, and so are the amounts they come to."""
    cdef const instrument_def_t* rules = &instrument.definition
    cdef money_t amount
    return (command.price > 0 and command.qty > 0 and command.qty >= rules.min_qty
            and (rules.max_qty == 0 or command.qty <= rules.max_qty)
            and command.qty <= instrument.max_lots and command.price <= MAX_TICKS
            and worth(<money_t>command.price * command.qty, rules.quote_per_tick_lot, instrument.quote_factor,
                      instrument.max_quote, &amount)
            and amount >= rules.min_notional)


cdef bint place_plain(state_t* state, const command_t* command) noexcept nogil:
    cdef instrument_t* instrument = find_instrument(state, command.instrument)
    cdef uint32_t client_hash, position_row, paying_row, number
    cdef money_t needed
    cdef taker_t taker
    cdef bint meets_others
    if unlikely(not is_plain(command) or instrument == NULL or not takes_plain_orders(state, instrument)
                or not numbers_fit(instrument, command)):
        return False
    meets_others = match_crosses(instrument.book, command.side, command.price)
    if unlikely(meets_others and command.flags & RESTING_FLAGS):
        return False
    client_hash = client_order_id_hash(command.account, command.client_order_id)
    if unlikely(orders_find_client(&state.orders, command.account, command.client_order_id, client_hash) != NO_ROW):
        return False
    position_row = ledger_find_position(&state.ledger, command.account, command.instrument)
    if unlikely(position_row == NO_ROW):                # the account's first order here, if there is such an account
        if find_account(state, command.account) == NULL:
            return False
        position_row = ledger_position(&state.ledger, command.account, command.instrument,
                                       instrument.definition.base_asset, instrument.definition.quote_asset)
        if position_row == NO_ROW:
            return False
    paying_row = (state.ledger.positions[position_row].quote_row if command.side == SIDE_BUY
                  else state.ledger.positions[position_row].base_row)
    needed = required_for(instrument, command.side, command.price, command.qty, worst_fee_ppm(&instrument.definition), 0)
    if unlikely(ledger_free_amount(&state.ledger, paying_row) < needed
                or state.pool.count >= state.pool.capacity
                or not book_can_rest(instrument.book, command.side, False)):
        return False
    number = orders_append(&state.orders, command, body_digest(command), client_hash)
    if unlikely(number == NO_ROW):
        return False
    state.orders.records[number].position_row = position_row
    state.orders.records[number].maker_fee_ppm = <int>instrument.definition.maker_fee_ppm
    state.orders.records[number].taker_fee_ppm = <int>instrument.definition.taker_fee_ppm
    if meets_others:
        shape_taker(state, &state.orders.records[number], &taker)
        enter_admitted(state, instrument, number, &taker)
    else:
        rest(state, instrument, number, paying_row, needed)
    return True


cdef inline int worst_fee_ppm(const instrument_def_t* rules) noexcept nogil:
    return <int>max(rules.maker_fee_ppm, rules.taker_fee_ppm)


cdef void rest(state_t* state, instrument_t* instrument, uint32_t number, uint32_t paying_row,
               money_t needed) noexcept nogil:
    """The order meets nobody: it queues at its price, with what it needs reserved."""
    cdef order_record_t* order = &state.orders.records[number]
    order.slot = pool_take(state.pool)
    state.pool.orders[order.slot].id = number
    state.pool.orders[order.slot].owner = order.account
    book_rest(instrument.book, order.slot, order.side, False, order.price, order.qty, 0)
    touch_market(state, instrument)
    orders_open(&state.orders, number)
    ledger_reserve(&state.ledger, paying_row, needed)
    events_order(&state.events, EVENT_ORDER_ACCEPTED, order)
