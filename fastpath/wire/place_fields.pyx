"""The fields of a PlaceOrderRequest. Described in place_fields.pxd."""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.model.order_sets cimport (
    ALL_TYPES,
    CONDITIONAL_TYPES,
    DISPLAY_QTY_TYPES,
    IMMEDIATE,
    POSTABLE_TYPES,
    PRICED_TYPES,
    PROTECTED_TYPES,
    TRAILING_TYPES,
    TRIGGERED_TYPES,
)
from fastpath.model.enums cimport (
    ORDER_FLAG_CANCEL_ON_DISCONNECT,
    ORDER_FLAG_POST_ONLY,
    ORDER_FLAG_POST_ONLY_SLIDE,
    ORDER_FLAG_PROTECTED,
    ORDER_FLAG_REDUCE_ONLY,
    ORDER_TYPE_HIDDEN,
    SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL,
    SIDE_SELL,
    TIME_IN_FORCE_DAY,
    TIME_IN_FORCE_GTD,
    TRIGGER_SOURCE_INDEX,
)
from fastpath.wire.protobuf cimport LEN, VARINT, read_bytes, read_number, read_tag, span_t

cdef enum:
    GROUPS = 0x80000000           # self_trade_group is below it
    NS = 1_000_000_000
    TEXTS = (1 << ACCOUNT | 1 << INSTRUMENT | 1 << QTY | 1 << PRICE | 1 << CLIENT_ORDER_ID | 1 << PROTECTION_PRICE
             | 1 << TRIGGER_PRICE | 1 << DISPLAY_QTY | 1 << MIN_QTY | 1 << EXPIRE_TIME)
    NUMBERS = (1 << SIDE | 1 << TYPE | 1 << TIME_IN_FORCE | 1 << POST_ONLY | 1 << POST_ONLY_SLIDE | 1 << REDUCE_ONLY
               | 1 << TRIGGER_SOURCE | 1 << SELF_TRADE_PREVENTION | 1 << SELF_TRADE_GROUP | 1 << CANCEL_ON_DISCONNECT)
    REQUIRED = 1 << ACCOUNT | 1 << INSTRUMENT | 1 << SIDE | 1 << TYPE | 1 << QTY
    PLAIN = ALL_TYPES & ~TRAILING_TYPES    # what is read here


cdef bint read_place(span_t source, place_t* order) noexcept nogil:
    cdef uint32_t field, bit
    cdef int wire_type
    memset(order, 0, sizeof(place_t))
    while source.at != source.end:
        if not read_tag(&source, &field, &wire_type) or field >= PLACE_FIELDS:
            return False
        bit = <uint32_t>1 << field
        if order.given & bit:
            return False
        order.given |= bit
        if TEXTS & bit and wire_type == LEN:
            if not read_bytes(&source, &order.texts[field]):
                return False
        elif NUMBERS & bit and wire_type == VARINT:
            if not read_number(&source, &order.numbers[field]):
                return False
        else:
            return False
    return order.given & REQUIRED == REQUIRED


cdef bint fields_go_together(const place_t* order, bint in_session) noexcept nogil:
    cdef uint64_t order_type = order.numbers[TYPE]
    cdef uint64_t time_in_force = order.numbers[TIME_IN_FORCE]
    cdef uint32_t type_bit
    if not 1 <= order.numbers[SIDE] <= SIDE_SELL or time_in_force > TIME_IN_FORCE_DAY or order_type > ORDER_TYPE_HIDDEN:
        return False
    type_bit = <uint32_t>1 << order_type
    if (not type_bit & PLAIN
            or has(order, PRICE) != (type_bit & PRICED_TYPES != 0)
            or has(order, TRIGGER_PRICE) != (type_bit & TRIGGERED_TYPES != 0)
            or has(order, DISPLAY_QTY) != (type_bit & DISPLAY_QTY_TYPES != 0)
            or has(order, EXPIRE_TIME) != (time_in_force == TIME_IN_FORCE_GTD)):
        return False
    if has(order, PROTECTION_PRICE) and not type_bit & PROTECTED_TYPES:
        return False
    if order.numbers[TRIGGER_SOURCE] > (TRIGGER_SOURCE_INDEX if type_bit & CONDITIONAL_TYPES else 0):
        return False
    if order.numbers[POST_ONLY] and (not type_bit & POSTABLE_TYPES or 1 << time_in_force & IMMEDIATE):
        return False
    if order.numbers[REDUCE_ONLY] and type_bit & DISPLAY_QTY_TYPES:
        return False
    if has(order, MIN_QTY) and (type_bit & CONDITIONAL_TYPES or order.numbers[POST_ONLY] or order.numbers[REDUCE_ONLY]):
        return False
    if (order.numbers[POST_ONLY] > 1 or order.numbers[POST_ONLY_SLIDE] > order.numbers[POST_ONLY]
            or order.numbers[REDUCE_ONLY] > 1 or order.numbers[CANCEL_ON_DISCONNECT] > <uint64_t>in_session):
        return False
    return (order.numbers[SELF_TRADE_PREVENTION] <= SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL
            and order.numbers[SELF_TRADE_GROUP] < <uint64_t>GROUPS)


cdef uint32_t flags_of(const place_t* order) noexcept nogil:
    cdef uint32_t flags = 0
    if order.numbers[POST_ONLY]:
        flags |= ORDER_FLAG_POST_ONLY
    if order.numbers[POST_ONLY_SLIDE]:
        flags |= ORDER_FLAG_POST_ONLY_SLIDE
    if order.numbers[REDUCE_ONLY]:
        flags |= ORDER_FLAG_REDUCE_ONLY
    if order.numbers[CANCEL_ON_DISCONNECT]:
        flags |= ORDER_FLAG_CANCEL_ON_DISCONNECT
    if has(order, PROTECTION_PRICE):
        flags |= ORDER_FLAG_PROTECTED
    return flags


cdef bint read_time(span_t source, int64_t* ns) noexcept nogil:
    cdef uint64_t parts[2]        # seconds, nanoseconds
    cdef uint32_t field, seen = 0
    cdef int wire_type
    parts[0] = parts[1] = 0
    while source.at != source.end:
        if (not read_tag(&source, &field, &wire_type) or wire_type != VARINT or not 1 <= field <= 2 or seen & 1 << field
                or not read_number(&source, &parts[field - 1])):
            return False
        seen |= 1 << field
    if parts[0] >= <uint64_t>(INT64_MAX // NS) or parts[1] >= <uint64_t>NS:
        return False
    ns[0] = <int64_t>(parts[0] * NS + parts[1])
    return True
