# The fields of a PlaceOrderRequest, and whether they go together: what is left to do is to look up names and numbers.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastpath.wire.protobuf cimport span_t

# Fields of PlaceOrderRequest.
cdef enum:
    ACCOUNT = 1
    INSTRUMENT = 2
    SIDE = 3
    TYPE = 4
    TIME_IN_FORCE = 5
    QTY = 6
    PRICE = 7
    CLIENT_ORDER_ID = 8
    POST_ONLY = 9
    POST_ONLY_SLIDE = 10
    REDUCE_ONLY = 11
    PROTECTION_PRICE = 13
    TRIGGER_PRICE = 15
    TRIGGER_SOURCE = 16
    DISPLAY_QTY = 19
    MIN_QTY = 20
    EXPIRE_TIME = 21
    SELF_TRADE_PREVENTION = 22
    SELF_TRADE_GROUP = 23
    CANCEL_ON_DISCONNECT = 24
    PLACE_FIELDS = 25             # field numbers are below it

cdef struct place_t:              # each field given at most once
    uint32_t given                # bit set of field numbers
    span_t   texts[PLACE_FIELDS]
    uint64_t numbers[PLACE_FIELDS]


cdef inline bint has(const place_t* order, uint32_t field) noexcept nogil:
    return order.given >> field & 1


# False: there are fields that are not known here, twice, or of another form.
cdef bint read_place(span_t source, place_t* order) noexcept nogil

# What server/rpc/new_orders.py checks, of the types and options that are plain; in doubt not. `in_session`: the order comes on
# a stream, and may end with it.
cdef bint fields_go_together(const place_t* order, bint in_session) noexcept nogil

cdef uint32_t flags_of(const place_t* order) noexcept nogil           # OrderFlag set
cdef bint read_time(span_t source, int64_t* ns) noexcept nogil        # a google.protobuf.Timestamp from 1970 to 2262
