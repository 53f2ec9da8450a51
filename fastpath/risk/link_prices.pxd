# Prices of linked orders that would make them trade at once, or with each other, where they are to wait.
#
# Every order but a market or trailing one has a level: it acts when the market has risen to it (a limit to sell, a stop to buy)
# or has fallen to it (a limit to buy, a stop to sell). In a list:
#
# OCO: whoever waits for a rise is above whoever waits for a fall; no stop's price has come already.
# OTO, BRACKET: so are children on the other side and the price of their parent. If the parent trades on arrival, they do not.
# A market order may be a child of an OTO, but no exit of a bracket.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.model.structs cimport price_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.state cimport instrument_t, state_t

# Why an order may not join its list at these prices, or 0. The orders before it are in their group.
cdef uint8_t check_list_prices(const state_t* state, const instrument_t* instrument,
                               const order_record_t* order) noexcept nogil

# The parent of a child that goes to market and trades as far as this price, if it rests where the child would meet it; or NO_ROW.
cdef uint32_t parent_in_the_way(const state_t* state, const instrument_t* instrument, const order_record_t* child,
                                price_t limit) noexcept nogil

# Whether an open order, amended to this price, would trade with another of its group.
cdef bint meets_own_group(const state_t* state, const order_record_t* order, price_t price) noexcept nogil
