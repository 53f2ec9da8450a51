# What an execution, a cancel or an expiry does to orders and ledger, and the events that tell of it.

from libc.stdint cimport int32_t, uint8_t, uint32_t

from fastpath.model.arith cimport fee_of
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.model.enums cimport SIDE_BUY
from fastpath.model.structs cimport money_t, price_t, qty_t
from fastpath.state.orders cimport is_funded, order_record_t
from fastpath.book.pool cimport NIL
from fastpath.state.state cimport instrument_t, state_t

cdef enum:
    VENUE = 0xFFFFFFFF            # as an order's record number: the mirrored venue, account OUTSIDE

# One trade: money and lots change hands, positions and both orders follow, then the maker's and the taker's fill events.
# `maker` or `taker` may be VENUE. A resting order that is filled leaves the open ones and gives its slot back.
cdef void settle_trade(state_t* state, instrument_t* instrument, uint32_t maker, uint32_t taker,
                       price_t price, qty_t qty) noexcept nogil

# The order starts to rest (or, if it is marked so, to wait): it holds a slot, is listed, its need is reserved, and its expiry is set.
cdef void open_order(state_t* state, instrument_t* instrument, uint32_t number, uint32_t slot) noexcept nogil

# The opposite, for an order that is about to arrive anew. The slot stays taken, for the caller.
cdef void take_off_market(state_t* state, instrument_t* instrument, uint32_t number) noexcept nogil

# The order ends with what it has: `kind` is EVENT_ORDER_CANCELED or EVENT_ORDER_EXPIRED. It is no longer in a book.
cdef void close_order(state_t* state, instrument_t* instrument, uint32_t number,
                      uint8_t kind, uint8_t cancel_reason) noexcept nogil

# BALANCE_CHANGED of a row of the ledger, whose total has changed by `delta`.
cdef void show_balance(state_t* state, uint32_t row, money_t delta) noexcept nogil

# POSITION_CHANGED and BALANCE_CHANGED of everything the command touched, then the ledger is clean for the next one.
cdef void flush_ledger(state_t* state) noexcept nogil


cdef inline money_t notional_of(const instrument_t* instrument, price_t price, qty_t qty) noexcept nogil:
    """Units of quote money. Admission has checked that the product fits."""
    return <money_t>price * qty * instrument.definition.quote_per_tick_lot


cdef inline money_t required_for(const instrument_t* instrument, uint8_t side, price_t price, qty_t leaves,
                                 int32_t worst_fee_ppm, int32_t fee_carry) noexcept nogil:
    """What must be free, or reserved, for so many lots at a price no better than this: in units of the asset that pays.

    A buyer: the notional and the higher of its fees; since fees carry their rounding (arith.fee_of), every fill costs at
    most what it takes off this amount. A seller: the lots.
    """
    cdef money_t notional
    if side != SIDE_BUY:
        return leaves * instrument.base_lot
    notional = notional_of(instrument, price, leaves)
    return (notional + fee_of(notional, worst_fee_ppm, &fee_carry)) * instrument.quote_factor


cdef inline money_t required_amount(const instrument_t* instrument, const order_record_t* order,
                                    price_t price, qty_t leaves) noexcept nogil:
    """required_for() what is left of an order, at the rates of its acceptance."""
    return required_for(instrument, order.side, price, leaves, max(order.maker_fee_ppm, order.taker_fee_ppm),
                        order.fee_carry)


cdef inline money_t held_amount(const instrument_t* instrument, const order_record_t* order) noexcept nogil:
    """What is reserved for the order now. Before it gets there it has what its limit needs: of a market order that buys, nothing."""
    if order.slot == NIL or not is_funded(order):
        return 0
    return required_amount(instrument, order, order.price, order.qty - order.cum_qty)


cdef inline uint32_t reserved_row(const state_t* state, const order_record_t* order) noexcept nogil:
    """The balance that pays for the order."""
    if order.side == SIDE_BUY:
        return state.ledger.positions[order.position_row].quote_row
    return state.ledger.positions[order.position_row].base_row
