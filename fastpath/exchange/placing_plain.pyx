"""Plain limit orders, placed by the straight line. Described in placing_plain.pxd."""

from libc.stdint cimport uint32_t

from fastpath.risk.checks cimport shape_taker
from fastpath.risk.gate cimport ask_t, check_account, check_limits, check_tradable, check_trading
from fastpath.book.book cimport book_can_rest, book_rest
from fastpath.state.events cimport events_order
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport ledger_find_position, ledger_position, ledger_reserve
from fastpath.book.matching cimport match_crosses, incoming_t
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
)
from fastpath.model.structs cimport command_t, instrument_def_t, money_t
from fastpath.state.orders cimport (
    body_digest,
    client_order_id_hash,
    order_record_t,
    orders_append,
    orders_find_client,
    orders_open,
    share_of,
)
from fastpath.book.pool cimport pool_take, unlikely
from fastpath.state.settlement cimport required_for
from fastpath.state.route cimport is_mirrored
from fastpath.state.state cimport find_account, find_instrument, instrument_t, touch_market
from fastpath.exchange.placing cimport enter_checked

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
            and command.link_id == 0 and command.price > 0 and command.qty > 0
            and command.stp_mode <= SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL
            and command.client_order_id[0] != 0)


cdef bint place_plain(state_t* state, const command_t* command) noexcept nogil:
    cdef instrument_t* instrument = find_instrument(state, command.instrument)
    cdef uint32_t client_hash, position_row, number
    cdef ask_t ask
    cdef incoming_t taker
    cdef bint meets_others
    if unlikely(not is_plain(command) or instrument == NULL or is_mirrored(instrument) or check_tradable(instrument) != 0
                or check_trading(state, instrument, command.account, False) != 0
                or check_limits(instrument, command.price, command.qty, False) != 0):
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
    ask.account = command.account
    ask.paying_row = (state.ledger.positions[position_row].quote_row if command.side == SIDE_BUY
                      else state.ledger.positions[position_row].base_row)
    ask.side = command.side
    ask.price = command.price
    ask.qty = command.qty
    ask.needed = required_for(instrument, command.side, command.price, command.qty, worst_fee_ppm(&instrument.definition), 0)
    ask.held = 0
    if unlikely(check_account(state, &ask) != 0
                or state.pool.count >= state.pool.capacity
                or state.orders.open_chains[command.account].open_count >= share_of(state.bounds.max_open_orders)
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
        enter_checked(state, instrument, number, &taker)
    else:
        rest(state, instrument, number, ask.paying_row, ask.needed)
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
