# Which fields, options and instruments go with which order type, and which statuses are open: said here once.
#
# A set has the bit 1 << value of each of its members. The wire (place_fields), the words of refusals (server/rpc/new_orders, by the
# frozensets of order_sets.pyx) and the pre-trade checks all ask these sets.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.model.enums cimport (
    ORDER_STATUS_NEW,
    ORDER_STATUS_PARTIALLY_FILLED,
    ORDER_STATUS_PENDING_CANCEL,
    ORDER_STATUS_PENDING_NEW,
    ORDER_STATUS_PENDING_REPLACE,
    ORDER_STATUS_PENDING_UNKNOWN,
    ORDER_TYPE_HIDDEN,
    ORDER_TYPE_ICEBERG,
    ORDER_TYPE_LIMIT,
    ORDER_TYPE_MARKET,
    ORDER_TYPE_MARKET_TO_LIMIT,
    ORDER_TYPE_STOP,
    ORDER_TYPE_STOP_LIMIT,
    ORDER_TYPE_TAKE_PROFIT,
    ORDER_TYPE_TAKE_PROFIT_LIMIT,
    ORDER_TYPE_TRAILING_STOP,
    ORDER_TYPE_TRAILING_STOP_LIMIT,
    TIME_IN_FORCE_FOK,
    TIME_IN_FORCE_GTC,
    TIME_IN_FORCE_IOC,
)

# Order types.
cdef enum:
    TRIGGERED_TYPES = (1 << ORDER_TYPE_STOP | 1 << ORDER_TYPE_STOP_LIMIT | 1 << ORDER_TYPE_TAKE_PROFIT
                       | 1 << ORDER_TYPE_TAKE_PROFIT_LIMIT)        # must have a trigger_price
    TRAILING_TYPES = 1 << ORDER_TYPE_TRAILING_STOP | 1 << ORDER_TYPE_TRAILING_STOP_LIMIT    # may have one; must have an offset
    CONDITIONAL_TYPES = TRIGGERED_TYPES | TRAILING_TYPES           # may have a trigger_source, never a min_qty
    POSTABLE_TYPES = 1 << ORDER_TYPE_LIMIT | 1 << ORDER_TYPE_ICEBERG | 1 << ORDER_TYPE_HIDDEN    # may be post-only
    PRICED_TYPES = POSTABLE_TYPES | 1 << ORDER_TYPE_STOP_LIMIT | 1 << ORDER_TYPE_TAKE_PROFIT_LIMIT    # must have a limit price
    CLOSING_TYPES = (1 << ORDER_TYPE_MARKET | 1 << ORDER_TYPE_STOP | 1 << ORDER_TYPE_TAKE_PROFIT
                     | 1 << ORDER_TYPE_TRAILING_STOP)              # may close a position
    PROTECTED_TYPES = CLOSING_TYPES | 1 << ORDER_TYPE_MARKET_TO_LIMIT    # market orders once they trade: may have a protection price
    QUOTE_QTY_TYPES = 1 << ORDER_TYPE_MARKET                       # may have a quantity of quote money
    DISPLAY_QTY_TYPES = 1 << ORDER_TYPE_ICEBERG                    # must have a display_qty; never reduce-only
    OWN_BOOK_TYPES = 1 << ORDER_TYPE_ICEBERG | 1 << ORDER_TYPE_HIDDEN    # need a book of our own
    ALL_TYPES = PRICED_TYPES | PROTECTED_TYPES | TRAILING_TYPES

# Times in force of orders that take on arrival or not at all: not for types that rest or wait.
cdef enum:
    IMMEDIATE = 1 << TIME_IN_FORCE_IOC | 1 << TIME_IN_FORCE_FOK
    WAITING_TYPES = OWN_BOOK_TYPES | CONDITIONAL_TYPES

# Statuses of an order that may still be filled or canceled. One that is pending waits for its venue's word.
cdef enum:
    OPEN_STATUS_SET = (1 << ORDER_STATUS_NEW | 1 << ORDER_STATUS_PARTIALLY_FILLED | 1 << ORDER_STATUS_PENDING_NEW
                       | 1 << ORDER_STATUS_PENDING_CANCEL | 1 << ORDER_STATUS_PENDING_REPLACE
                       | 1 << ORDER_STATUS_PENDING_UNKNOWN)


cdef inline bint is_in(uint8_t value, uint32_t members) noexcept nogil:
    """Whether a value is in a set; one beyond all sets is in none."""
    return value < 32 and members >> value & 1


cdef inline bint is_open_status(uint8_t status) noexcept nogil:
    return is_in(status, OPEN_STATUS_SET)


cdef inline uint8_t default_time_in_force(uint8_t order_type) noexcept nogil:
    return TIME_IN_FORCE_IOC if order_type == ORDER_TYPE_MARKET else TIME_IN_FORCE_GTC
