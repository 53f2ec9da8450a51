# Conditional orders: they wait for a price, hold nothing, and enter the market when it comes.
#
# An order watches one price of its instrument: the last trade, the side of the touch it would trade at (a buyer the best ask,
# a seller the best bid), the middle (rounded down to a tick), or the mark or index price that was told. It waits in a heap by (watched price, direction), so what is due
# is on top. A trailing order first waits, if asked to, for its activation price; then (ORDER_AMENDED tells it)
# its trigger follows the best price seen at its offset. Whatever may move a watched price puts the instrument on a queue that is worked off at the end of the
# command; a cascade is bounded, and what is left over goes on at the end of the next command.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.model.structs cimport price_t
from fastpath.state.orders cimport order_record_t
from fastpath.state.state cimport instrument_t, state_t

cdef enum:
    MAX_TRIGGERS_PER_COMMAND = 1000
    MAX_TRAILING = 10_000         # orders trailing one price: each of its moves looks at all of them

# Memory for one more waiting order, and no more trailing ones than allowed. False: there is none.
cdef bint can_wait(state_t* state, instrument_t* instrument, const order_record_t* order) noexcept nogil

# Whether the price that a conditional order waits for has come, were it to wait now. Not for trailing ones.
cdef bint is_due(const state_t* state, const instrument_t* instrument, const order_record_t* order) noexcept nogil

# An open order (slot taken) starts to wait, or waits no more.
cdef void start_waiting(state_t* state, instrument_t* instrument, uint32_t number) noexcept nogil
cdef void stop_waiting(state_t* state, instrument_t* instrument, uint32_t number) noexcept nogil

cdef enum WatchedPrice:
    WATCH_LAST = 0
    WATCH_BID = 1
    WATCH_ASK = 2
    WATCH_MID = 3
    WATCH_MARK = 4
    WATCH_INDEX = 5
    WATCHED_PRICES = 6

# The mark or index price (WATCH_MARK, WATCH_INDEX) that holds now; 0: none.
cdef price_t reference_price(const state_t* state, const instrument_t* instrument, uint32_t watch) noexcept nogil

cdef struct reach_t:              # a watched price at `low` or below, or at `high` or above, can change a waiting order
    price_t low
    price_t high

# What of a watched price matters; with nothing waiting for it, low is INT64_MIN and high INT64_MAX.
cdef reach_t trigger_reach(const instrument_t* instrument, uint32_t watch) noexcept nogil

# The next order that is due, taken out of its heap; NO_ROW: none, the queue is empty. `budget` counts down.
cdef uint32_t next_triggered(state_t* state, uint32_t* budget) noexcept nogil
