"""Settlement of executions and the end of orders. Described in settlement.pxd."""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.model.arith cimport fee_of, high_word, low_word
from fastpath.state.events cimport events_next, events_order
from fastpath.state.guards cimport is_guarded
from fastpath.containers.heap cimport heap_push, heap_remove
from fastpath.state.ledger cimport balance_t, ledger_execute, ledger_move, ledger_reserve, position_t, touched_balance_t
from fastpath.state.contingent_groups cimport contingent_changed
from fastpath.model.enums cimport (
    EVENT_BALANCE_CHANGED,
    EVENT_ORDER_EXPIRED,
    EVENT_ORDER_FILLED,
    EVENT_POSITION_CHANGED,
    LIQUIDITY_MAKER,
    LIQUIDITY_TAKER,
    ORDER_FLAG_REDUCE_ONLY,
    ORDER_STATUS_CANCELED,
    ORDER_STATUS_EXPIRED,
    ORDER_STATUS_FILLED,
    ORDER_STATUS_PARTIALLY_FILLED,
)
from fastpath.model.structs cimport event_t, money_t, price_t, qty_t
from fastpath.state.orders cimport WAIT_MORE, WAIT_NONE, orders_leave, orders_open
from fastpath.book.pool cimport NIL, pool_give, unlikely
from fastpath.state.route cimport is_mirrored


cdef struct party_t:              # one side of a trade: the ledger rows it settles through
    uint32_t base_row
    uint32_t quote_row
    money_t  fee


cdef void unlist(state_t* state, uint32_t number) noexcept nogil:
    """The order is open no more; its slot stays taken."""
    cdef order_record_t* order = &state.orders.records[number]
    orders_leave(&state.orders, number)
    if order.flags & ORDER_FLAG_REDUCE_ONLY:
        state.ledger.positions[order.position_row].reducing_orders -= 1
    state.instruments[order.instrument].guarded_orders -= is_guarded(order)
    if order.expire_ns != 0:
        heap_remove(&state.expiries, state.expiry_places, order.slot)
    order.slot = NIL


cdef void take_off_market(state_t* state, instrument_t* instrument, uint32_t number) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    ledger_reserve(&state.ledger, reserved_row(state, order), -held_amount(instrument, order))
    unlist(state, number)


cdef party_t execute(state_t* state, instrument_t* instrument, uint32_t number, bint maker,
                     price_t price, qty_t qty, money_t notional) noexcept nogil:
    """Bring one order of a trade up to date: quantities, fee, reservation, position."""
    cdef order_record_t* order
    cdef party_t party
    cdef money_t held
    cdef uint32_t slot
    if number == VENUE:
        party.base_row = instrument.outside_base_row
        party.quote_row = instrument.outside_quote_row
        party.fee = 0
        return party
    order = &state.orders.records[number]
    party.base_row = state.ledger.positions[order.position_row].base_row
    party.quote_row = state.ledger.positions[order.position_row].quote_row
    held = held_amount(instrument, order)
    party.fee = fee_of(notional, order.maker_fee_ppm if maker else order.taker_fee_ppm, &order.fee_carry)
    order.cum_qty += qty
    order.cum_notional += notional
    order.cum_fee += party.fee
    order.status = ORDER_STATUS_PARTIALLY_FILLED
    if order.cum_qty == order.qty and order.awaited_qty == 0:
        order.status = ORDER_STATUS_FILLED
    order.changed_ns = state.events.command.ts_ns
    contingent_changed(&state.contingent, &state.orders, number)
    if order.slot != NIL:
        ledger_reserve(&state.ledger, reserved_row(state, order), held_amount(instrument, order) - held)
        if order.status == ORDER_STATUS_FILLED:
            slot = order.slot
            unlist(state, number)
            pool_give(state.pool, slot)
    if order.cum_qty == order.qty and order.awaited_qty > 0:
        order.waiting = WAIT_MORE
    ledger_execute(&state.ledger, order.position_row, order.side, qty, instrument.base_lot, notional)
    return party


cdef void write_fill(state_t* state, uint32_t number, uint32_t counter, uint8_t liquidity,
                     price_t price, qty_t qty, money_t fee) noexcept nogil:
    cdef event_t* event
    if number == VENUE:
        return
    event = events_order(&state.events, EVENT_ORDER_FILLED, &state.orders.records[number])
    event.last_price = price
    event.last_qty = qty
    event.counter_order_id = state.orders.records[counter].order_id if counter != VENUE else 0
    event.trade_id = state.last_trade_id
    event.money.fee = low_word(fee)
    event.of.order.fee_high = high_word(fee)
    event.liquidity = liquidity


cdef void settle_trade(state_t* state, instrument_t* instrument, uint32_t maker, uint32_t taker,
                       price_t price, qty_t qty) noexcept nogil:
    cdef money_t notional = notional_of(instrument, price, qty)
    cdef party_t maker_party = execute(state, instrument, maker, True, price, qty, notional)
    cdef party_t taker_party = execute(state, instrument, taker, False, price, qty, notional)
    cdef bint maker_buys
    cdef party_t* buyer = &taker_party
    cdef party_t* seller = &maker_party
    if maker != VENUE:
        maker_buys = state.orders.records[maker].side == SIDE_BUY
    else:
        maker_buys = state.orders.records[taker].side != SIDE_BUY
    if maker_buys:
        buyer, seller = seller, buyer
    ledger_move(&state.ledger, buyer.quote_row, seller.quote_row, notional * instrument.quote_factor)
    ledger_move(&state.ledger, seller.base_row, buyer.base_row, qty * instrument.base_lot)
    if maker_party.fee != 0:
        ledger_move(&state.ledger, maker_party.quote_row, instrument.fee_row, maker_party.fee * instrument.quote_factor)
    if taker_party.fee != 0:
        ledger_move(&state.ledger, taker_party.quote_row, instrument.fee_row, taker_party.fee * instrument.quote_factor)
    if not is_mirrored(instrument):
        instrument.last_price = price
    state.last_trade_id += 1
    write_fill(state, maker, taker, LIQUIDITY_MAKER, price, qty, maker_party.fee)
    write_fill(state, taker, maker, LIQUIDITY_TAKER, price, qty, taker_party.fee)


cdef void open_order(state_t* state, instrument_t* instrument, uint32_t number, uint32_t slot) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    order.slot = slot
    orders_open(&state.orders, number)
    if order.flags & ORDER_FLAG_REDUCE_ONLY:
        state.ledger.positions[order.position_row].reducing_orders += 1
    instrument.guarded_orders += is_guarded(order)
    ledger_reserve(&state.ledger, reserved_row(state, order), held_amount(instrument, order))
    if order.expire_ns != 0:
        heap_push(&state.expiries, state.expiry_places, order.expire_ns, number, slot)


cdef void close_order(state_t* state, instrument_t* instrument, uint32_t number,
                      uint8_t kind, uint8_t cancel_reason) noexcept nogil:
    cdef order_record_t* order = &state.orders.records[number]
    cdef uint32_t slot = order.slot
    if slot != NIL:
        take_off_market(state, instrument, number)
        pool_give(state.pool, slot)
    order.waiting = WAIT_NONE
    order.status = ORDER_STATUS_EXPIRED if kind == EVENT_ORDER_EXPIRED else ORDER_STATUS_CANCELED
    order.cancel_reason = cancel_reason
    contingent_changed(&state.contingent, &state.orders, number)
    order.changed_ns = state.events.command.ts_ns
    events_order(&state.events, kind, order)


cdef void flush_positions(state_t* state) noexcept nogil:
    cdef position_t* position
    cdef event_t* event
    cdef uint32_t i
    for i in range(state.ledger.touched_position_count):
        position = &state.ledger.positions[state.ledger.touched_positions[i]]
        position.touched = 0
        event = events_next(&state.events, EVENT_POSITION_CHANGED)
        event.account = position.account
        event.instrument = position.instrument
        event.detail.scale = state.scales[state.ledger.balances[position.base_row].asset]
        event.of.position.open_qty = position.qty
        if unlikely(position.has_rest):
            event.of.position.rest = low_word(state.ledger.rests[state.ledger.touched_positions[i]])
            event.money.rest_high = high_word(state.ledger.rests[state.ledger.touched_positions[i]])
        event.of.position.cost = low_word(position.cost)
        event.of.position.cost_high = high_word(position.cost)
        event.of.position.realized_pnl = low_word(position.realized_pnl)
        event.of.position.realized_pnl_high = high_word(position.realized_pnl)
    state.ledger.touched_position_count = 0


cdef void show_balance(state_t* state, uint32_t row, money_t delta) noexcept nogil:
    cdef const balance_t* balance = &state.ledger.balances[row]
    cdef event_t* event = events_next(&state.events, EVENT_BALANCE_CHANGED)
    event.detail.scale = state.scales[balance.asset]
    event.account = balance.account
    event.of.balance.asset = balance.asset
    event.of.balance.total = low_word(balance.total)
    event.of.balance.total_high = high_word(balance.total)
    event.of.balance.reserved = low_word(balance.reserved)
    event.of.balance.reserved_high = high_word(balance.reserved)
    event.of.balance.delta = low_word(delta)
    event.of.balance.delta_high = high_word(delta)


cdef void flush_balances(state_t* state) noexcept nogil:
    cdef const touched_balance_t* before
    cdef balance_t* balance
    cdef uint32_t i
    for i in range(state.ledger.touched_balance_count):
        before = &state.ledger.touched_balances[i]
        balance = &state.ledger.balances[before.row]
        balance.touched = 0
        if balance.total != before.total or balance.reserved != before.reserved:
            show_balance(state, before.row, balance.total - before.total)
    state.ledger.touched_balance_count = 0


cdef void flush_ledger(state_t* state) noexcept nogil:
    flush_positions(state)
    flush_balances(state)
