"""Fills of resting paper orders. The rules, as docs/orders.md tells them to traders:

- A book snapshot whose opposite side reaches an order's price fills it, at its own price, up to what is displayed there and not
  consumed yet. Better prices first, then older orders. PESSIMISTIC: only one whose opposite side goes beyond that price.
- A print at a price strictly worse for the aggressor than the order's has traded through it: it fills.
- A print at the order's price. OPTIMISTIC: fills it. PESSIMISTIC: does not. QUEUE: first works off the quantity that was displayed
  there when the order came; what is printed beyond that fills it. An order deeper than the book snapshot showed starts with
  what the book snapshot shows at its first print. Cancellations at its price are spread evenly over those ahead and behind.
- A print's quantity is shared in price-time order and never used twice; it advances every queue at its price.
"""

from libc.stdint cimport INT64_MAX, uint8_t, uint32_t

from fastpath.model.arith cimport share, worth
from fastpath.book.book cimport SIDE_INDEX_ASK, SIDE_INDEX_BID, book_first, book_next, book_take
from fastpath.state.events cimport events_reject_command
from fastpath.state.guards cimport guarded_leaves
from fastpath.state.ledger cimport ledger_can_move, position_t
from fastpath.book.mirror cimport (
    mirror_begin,
    mirror_consume,
    mirror_displayed,
    mirror_end,
    mirror_level,
    mirror_reaches,
    worse,
)
from fastpath.model.enums cimport (
    CANCEL_REASON_AMOUNT_OVERFLOW,
    COMMAND_MIRROR_BEGIN,
    COMMAND_MIRROR_CANCELED,
    COMMAND_MIRROR_END,
    COMMAND_MIRROR_LEVEL,
    EVENT_ORDER_CANCELED,
    MIRROR_LIVE,
    PAPER_MODEL_OPTIMISTIC,
    PAPER_MODEL_PESSIMISTIC,
    REJECT_REASON_AMOUNT_OVERFLOW,
    REJECT_REASON_INSTRUMENT_NOT_FOUND,
    REJECT_REASON_INVALID_COMMAND,
    SIDE_BUY,
    SIDE_SELL,
)
from fastpath.model.structs cimport mirror_command_t, money_t, price_t, qty_t
from fastpath.state.orders cimport order_record_t
from fastpath.book.pool cimport NIL
from fastpath.state.route cimport is_mirrored
from fastpath.state.settlement cimport VENUE, settle_trade
from fastpath.state.withdrawal cimport withdraw
from fastpath.state.state cimport find_instrument, instrument_t, is_wide, touch_market


cdef void mirror_command(state_t* state, const mirror_command_t* command) noexcept nogil:
    cdef instrument_t* instrument = find_instrument(state, command.instrument)
    cdef bint valid = True
    if instrument == NULL or not is_mirrored(instrument):
        events_reject_command(&state.events, REJECT_REASON_INSTRUMENT_NOT_FOUND)
        return
    if command.kind == COMMAND_MIRROR_BEGIN:
        mirror_begin(instrument.mirror, <uint8_t>command.state)
    elif command.kind == COMMAND_MIRROR_LEVEL:
        valid = mirror_level(instrument.mirror, command.side, command.price, command.qty)
    elif command.kind == COMMAND_MIRROR_END:
        valid = mirror_end(instrument.mirror)
        if instrument.mirror.state == MIRROR_LIVE:
            fill_crossed(state, instrument, SIDE_BUY)
            fill_crossed(state, instrument, SIDE_SELL)
            touch_market(state, instrument)
    elif command.price <= 0 or command.qty < 0 or not SIDE_BUY <= command.side <= SIDE_SELL:
        valid = False
    elif command.kind == COMMAND_MIRROR_CANCELED:
        valid = 0 < command.qty <= command.displayed
        if valid and instrument.mirror.state == MIRROR_LIVE:
            move_up(state, instrument, command)
    elif instrument.mirror.state == MIRROR_LIVE:
        fill_printed(state, instrument, command)
    if not valid:
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)


cdef inline uint32_t first_resting(const instrument_t* instrument, uint8_t side) noexcept nogil:
    return book_first(instrument.book, SIDE_INDEX_BID if side == SIDE_BUY else SIDE_INDEX_ASK)


cdef bint can_receive(const state_t* state, const instrument_t* instrument, const order_record_t* order, qty_t qty) noexcept nogil:
    """Whether the account can hold what a fill of so many lots brings it."""
    cdef const position_t* position = &state.ledger.positions[order.position_row]
    cdef money_t amount
    if order.side == SIDE_BUY:
        return ledger_can_move(&state.ledger, is_wide(&state.assets[instrument.definition.base_asset]),
                               instrument.outside_base_row, position.base_row, qty * instrument.base_lot)
    return (worth(<money_t>order.price * qty, instrument.definition.quote_per_tick_lot, instrument.quote_factor,
                  instrument.max_quote, &amount)
            and ledger_can_move(&state.ledger, is_wide(&state.assets[instrument.definition.quote_asset]),
                                instrument.outside_quote_row, position.quote_row, amount * instrument.quote_factor))


cdef inline bint sees_all(const state_t* state, const instrument_t* instrument, uint8_t side) noexcept nogil:
    """An order whose account is full ends, and those behind it go on; older builds, whose bound was one for all accounts, stopped."""
    return is_wide(&state.assets[instrument.definition.base_asset if side == SIDE_BUY else instrument.definition.quote_asset])


cdef void withdraw_full(state_t* state, uint32_t slot) noexcept nogil:
    """Cancel an order that the market reaches and whose account cannot hold what it would bring."""
    cdef uint32_t number = <uint32_t>state.pool.orders[slot].id
    state.orders.records[number].reject_reason = REJECT_REASON_AMOUNT_OVERFLOW
    withdraw(state, number, EVENT_ORDER_CANCELED, CANCEL_REASON_AMOUNT_OVERFLOW)


cdef void fill_maker(state_t* state, instrument_t* instrument, uint32_t slot, qty_t qty) noexcept nogil:
    """Fill so many lots of a resting paper order, at its own price."""
    cdef uint32_t number = <uint32_t>state.pool.orders[slot].id
    cdef qty_t leaves
    book_take(instrument.book, slot, qty, &leaves)
    settle_trade(state, instrument, number, VENUE, state.orders.records[number].price, qty)


cdef void fill_crossed(state_t* state, instrument_t* instrument, uint8_t side) noexcept nogil:
    """Fill the orders of a side that the new book snapshot's opposite side reaches."""
    cdef const order_record_t* order
    cdef uint32_t slot, next_slot
    cdef qty_t open_qty, filled
    cdef price_t beyond = 0
    if instrument.definition.paper_model == PAPER_MODEL_PESSIMISTIC:
        beyond = 1 if side == SIDE_BUY else -1
    slot = first_resting(instrument, side)
    while slot != NIL:
        next_slot = book_next(instrument.book, slot)
        order = &state.orders.records[state.pool.orders[slot].id]
        open_qty = guarded_leaves(state, order, state.pool.orders[slot].qty)
        if beyond < 0 and order.price == INT64_MAX:
            return
        if not can_receive(state, instrument, order, open_qty):
            if not sees_all(state, instrument, side):
                return
            if mirror_reaches(instrument.mirror, side, order.price - beyond):
                withdraw_full(state, slot)
        elif open_qty > 0:
            filled = mirror_consume(instrument.mirror, side, order.price - beyond, open_qty)
            if filled == 0:
                return
            fill_maker(state, instrument, slot, filled)
        slot = next_slot


cdef void fill_printed(state_t* state, instrument_t* instrument, const mirror_command_t* trade) noexcept nogil:
    """Share one print among the resting orders on the side its aggressor hit."""
    cdef uint8_t side = SIDE_SELL if trade.side == SIDE_BUY else SIDE_BUY
    cdef qty_t left = trade.qty
    cdef qty_t open_qty, filled
    cdef order_record_t* order
    cdef uint32_t slot = first_resting(instrument, side)
    cdef uint32_t next_slot
    instrument.last_price = trade.price
    touch_market(state, instrument)
    if trade.qty == 0:
        return
    while slot != NIL:
        next_slot = book_next(instrument.book, slot)
        order = &state.orders.records[state.pool.orders[slot].id]
        if worse(side, order.price, trade.price):
            return
        open_qty = guarded_leaves(state, order, state.pool.orders[slot].qty)
        filled = min(left, open_qty)
        if order.price == trade.price:
            filled = min(filled, printed_for(instrument, order, trade.qty))
        if filled > 0:
            if can_receive(state, instrument, order, filled):
                fill_maker(state, instrument, slot, filled)
                left -= filled
            elif sees_all(state, instrument, side):
                withdraw_full(state, slot)
            else:
                return
        slot = next_slot


cdef void move_up(state_t* state, instrument_t* instrument, const mirror_command_t* canceled) noexcept nogil:
    """Of what was displayed at a price, some was canceled: as much of it ahead of an order as behind, in proportion."""
    cdef order_record_t* order
    cdef uint32_t slot = first_resting(instrument, canceled.side)
    while slot != NIL:
        order = &state.orders.records[state.pool.orders[slot].id]
        if worse(canceled.side, order.price, canceled.price):
            return
        if order.price == canceled.price and order.queue_ahead > 0:
            order.queue_ahead -= share(order.queue_ahead, canceled.qty, canceled.displayed)
        slot = book_next(instrument.book, slot)


cdef qty_t printed_for(const instrument_t* instrument, order_record_t* order, qty_t printed) noexcept nogil:
    """What a print at the order's price leaves for it; in its queue it moves up by the print."""
    cdef qty_t displayed
    if instrument.definition.paper_model == PAPER_MODEL_OPTIMISTIC:
        return printed
    if instrument.definition.paper_model == PAPER_MODEL_PESSIMISTIC:
        return 0
    if order.queue_ahead < 0:
        displayed = mirror_displayed(instrument.mirror, order.side, order.price)
        order.queue_ahead = max(displayed, 0)
    if printed <= order.queue_ahead:
        order.queue_ahead -= printed
        return 0
    printed -= order.queue_ahead
    order.queue_ahead = 0
    return printed
