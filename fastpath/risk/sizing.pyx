"""Quantities that depend on the state. Described in sizing.pxd."""

from libc.stdint cimport INT64_MAX, int32_t, uint8_t

from fastpath.model.arith cimport fee_of, worth
from fastpath.risk.market cimport walk
from fastpath.model.enums cimport (
    ORDER_FLAG_PROTECTED,
    ORDER_FLAG_QUOTE_QTY,
    REJECT_REASON_NO_LIQUIDITY,
    REJECT_REASON_QTY_BELOW_MIN,
    REJECT_REASON_REDUCE_ONLY_VIOLATION,
    SIDE_BUY,
)
from fastpath.model.structs cimport money_t, price_t


cdef qty_t reducible(const state_t* state, const order_record_t* order) noexcept nogil:
    cdef qty_t position = state.ledger.positions[order.position_row].qty
    return max(-position if order.side == SIDE_BUY else position, 0)


cdef bint affordable(const state_t* state, const instrument_t* instrument, const order_record_t* order, price_t limit,
                     qty_t qty) noexcept nogil:
    """Whether so many lots are on offer and come to no more than the order's amount: a buyer's fees included."""
    cdef qty_t found = 0
    cdef money_t cost = 0
    cdef price_t worst_price = 0
    cdef money_t notional
    cdef int32_t fee_carry = 0
    walk(state, instrument, order, limit, qty, &found, &cost, &worst_price)
    if found < qty or not worth(cost, instrument.definition.quote_per_tick_lot, instrument.quote_factor,
                                instrument.max_quote, &notional):
        return False
    if order.side == SIDE_BUY:
        notional += fee_of(notional, order.taker_fee_ppm, &fee_carry)
    return notional <= order.amount


cdef qty_t lots_for_amount(const state_t* state, const instrument_t* instrument, const order_record_t* order,
                           price_t limit) noexcept nogil:
    """The most lots the amount pays for, or brings in: by bisection, since cost only grows with quantity. A lot costs a tick at least."""
    cdef qty_t enough = 0
    cdef qty_t too_many = <qty_t>min(<money_t>instrument.max_lots, order.amount // instrument.definition.quote_per_tick_lot) + 1
    cdef qty_t middle
    while too_many - enough > 1:
        middle = enough + (too_many - enough) // 2
        if affordable(state, instrument, order, limit, middle):
            enough = middle
        else:
            too_many = middle
    return enough


cdef uint8_t size_order(state_t* state, const instrument_t* instrument, order_record_t* order) noexcept nogil:
    cdef price_t limit = INT64_MAX if order.side == SIDE_BUY else 1
    cdef qty_t found = 0
    cdef money_t cost = 0
    cdef price_t worst = 0
    if order.flags & ORDER_FLAG_QUOTE_QTY:
        if order.flags & ORDER_FLAG_PROTECTED:
            limit = order.price
        order.qty = lots_for_amount(state, instrument, order, limit)
        if order.qty == 0:
            walk(state, instrument, order, limit, 1, &found, &cost, &worst)
            return REJECT_REASON_QTY_BELOW_MIN if found else REJECT_REASON_NO_LIQUIDITY
    elif order.flags & REDUCING_FLAGS:
        found = reducible(state, order)
        if found == 0:
            return REJECT_REASON_REDUCE_ONLY_VIOLATION
        if order.flags & ORDER_FLAG_CLOSE_POSITION:
            order.qty = found
        else:
            order.qty = min(order.qty, order.cum_qty + found)
    return 0
