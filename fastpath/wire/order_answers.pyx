"""Answers about orders, straight from packed events to the bytes of their messages.

The bytes are those that the protobuf library makes of server/rpc/convert.py. What cannot be written here (a grid beyond 18
decimals, an average beyond 128 bits) is handed back for that.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from fastpath.model.arith cimport money_of
from fastpath.blotter.orders cimport Orders
from fastpath.model.decimals cimport MAX_DECIMAL, grid_t, write_average, write_integer, write_money, write_units
from fastpath.wire.directory cimport Directory, Terms
from fastpath.model.enums cimport (
    EVENT_AMEND_REJECTED,
    EVENT_CANCEL_REJECTED,
    EVENT_ORDER_ACCEPTED,
    EVENT_ORDER_REJECTED,
    EVENT_ORDER_REPLAYED,
    EVENT_REJECTED_COMMAND,
    ORDER_FLAG_CHANGE_PENDING,
    ORDER_FLAG_CLOSE_POSITION,
    ORDER_FLAG_POST_ONLY,
    ORDER_FLAG_POST_ONLY_SLIDE,
    ORDER_FLAG_REDUCE_ONLY,
    ORDER_FLAG_WAITING,
    ORDER_TYPE_STOP,
    ORDER_TYPE_TRAILING_STOP_LIMIT,
    REJECT_REASON_AMOUNT_OVERFLOW,
    TRAILING_UNIT_BPS,
    TRAILING_UNIT_TICKS,
    TRIGGER_SOURCE_LAST,
)
from fastpath.model.structs cimport event_t, money_t
from fastpath.state.orders cimport CLIENT_ORDER_ID_SIZE
from fastpath.containers.row_map cimport NO_ROW, row_map_get
from fastpath.wire.protobuf cimport LEN, varint_size, write_bytes, write_number, write_tag, write_time, write_varint

cdef enum:
    MAX_ORDER = 2048              # bytes of an Order: 30 fields, names of 64, decimals of MAX_DECIMAL
    MAX_FRAME = 32                # bytes around it
    MAX_NAME = 64
    MAX_STATUS = 16
    MAX_REASON = 64
    FIRST_CAPACITY = 1 << 16

cdef int64_t MAX_TRIGGER = <int64_t>1 << 60      # beyond it, a trailing order's trigger is no price yet


cdef class AnswerWriter:
    """Writes answers one after another. One thread."""

    cdef Directory directory
    cdef list reject_messages     # bytes by RejectReason
    cdef Orders orders
    cdef object find
    cdef object encode
    cdef uint8_t* out             # the running answer
    cdef size_t size
    cdef size_t capacity
    cdef uint32_t decided[MAX_STATUS][MAX_REASON]

    def __init__(self, Directory directory not None, reject_messages, Orders orders not None, find, encode):
        """`orders` holds the newest event of most orders, `find` gives that of one that is not there (None: there is no
        such order), and `encode` makes an Order of one that is not written here."""
        self.directory = directory
        self.reject_messages = [text.encode() for text in reject_messages]
        self.orders = orders
        self.find = find
        self.encode = encode

    def __dealloc__(self):
        free(self.out)

    def stream(self, uint64_t batch_id, Py_ssize_t count, bytes events not None, errors, refused):
        """A StreamOrdersResponse of one batch with `count` results, and how many new orders were decided by (status, reject
        reason). Several, one behind the other, are a response of all their batches.

        `events` are those of the commands that were carried out. An item of `errors` was none: its google.rpc.Status is
        given. `refused` makes the Status of an item from the first event of its command, if that tells of no order.
        ValueError if events and items do not match.
        """
        cdef uint8_t frame[MAX_FRAME]
        cdef size_t frame_size, start
        self.begin()
        self.reserve(2 * MAX_FRAME)
        self.size = write_number(self.out + MAX_FRAME, 1, batch_id) - self.out
        self.results(2, False, count, events, errors, refused)
        # The length comes first and is known last: there is room for it in front.
        frame_size = write_varint(write_tag(frame, 1, LEN), self.size - MAX_FRAME) - frame
        start = MAX_FRAME - frame_size
        memcpy(self.out + start, frame, frame_size)
        return self.finish(start)

    def batch(self, Py_ssize_t count, bytes events not None, errors, refused):
        """A BatchPlaceOrdersResponse; else as `stream`."""
        self.begin()
        self.results(1, True, count, events, errors, refused)
        return self.finish(0)

    def one(self, bytes events not None):
        """A PlaceOrderResponse, which has the bytes of the responses of CancelOrder and AmendOrder, and what was decided, as
        `stream` tells it; None if the first event of the command tells of no order."""
        cdef const event_t* event = <const event_t*>PyBytes_AS_STRING(events)
        if PyBytes_GET_SIZE(events) < <Py_ssize_t>sizeof(event_t):
            raise ValueError("no event tells of the command")
        self.begin()
        return self.finish(0) if self.result(0, True, 0, event, None) else None

    def order(self, bytes record not None):
        """The Order that an event of it shows."""
        cdef uint8_t order[MAX_ORDER]
        cdef size_t size
        size = self.write_order(order, event_of(record))
        return (<const char*>order)[:size] if size else self.encode(record)

    cdef int begin(self) except -1:
        cdef size_t i, j
        self.size = 0
        for i in range(MAX_STATUS):
            for j in range(MAX_REASON):
                self.decided[i][j] = 0
        return 0

    cdef tuple finish(self, size_t start):
        cdef size_t status, reason
        cdef dict decided = {}
        for status in range(MAX_STATUS):
            for reason in range(MAX_REASON):
                if self.decided[status][reason]:
                    decided[(status, reason)] = self.decided[status][reason]
        return PyBytes_FromStringAndSize(<char*>self.out + start, self.size - start), decided

    cdef int reserve(self, size_t room) except -1:
        cdef size_t capacity = self.capacity
        cdef uint8_t* grown
        if self.size + room <= capacity:
            return 0
        while capacity < self.size + room:
            capacity = max(2 * capacity, <size_t>FIRST_CAPACITY)
        grown = <uint8_t*>realloc(self.out, capacity)
        if grown == NULL:
            raise MemoryError("no memory for an answer")
        self.out = grown
        self.capacity = capacity
        return 0

    cdef int results(self, uint32_t field, bint placed, Py_ssize_t count, bytes events, errors, refused) except -1:
        cdef const event_t* event = <const event_t*>PyBytes_AS_STRING(events)
        cdef const event_t* end = event + PyBytes_GET_SIZE(events) // sizeof(event_t)
        cdef uint64_t command_seq
        cdef Py_ssize_t item
        cdef bint all_carried_out = not errors
        for item in range(count):
            error = None if all_carried_out else errors.get(item)
            if error is not None:
                self.write_error(field, error)
                continue
            if event == end:
                raise ValueError(f"no event tells of item {item} of {count}")
            self.result(field, placed, item, event, refused)
            command_seq = event.command_seq
            while event != end and event.command_seq == command_seq:
                event += 1
        if event != end:
            raise ValueError(f"events tell of more than {count} items")
        return 0

    cdef bint result(self, uint32_t field, bint placed, Py_ssize_t item, const event_t* event, refused) except -1:
        """The item whose command `event` is the first of. False if it tells of no order, and nobody (None) words the refusal."""
        cdef uint8_t order[MAX_ORDER]
        cdef const event_t* newest = NULL
        cdef bytes forgotten = None, encoded
        cdef uint32_t row
        cdef size_t size
        if (event.kind != EVENT_REJECTED_COMMAND and event.kind != EVENT_CANCEL_REJECTED
                and event.kind != EVENT_AMEND_REJECTED):
            row = row_map_get(&self.orders.rows, event.order_id)
            if row != NO_ROW:
                newest = &self.orders.events[row]
            else:
                forgotten = self.find(event.order_id)
                newest = event_of(forgotten) if forgotten is not None else NULL
        if newest == NULL:
            if refused is None:
                return False
            self.write_error(field, refused(item, (<const char*>event)[:sizeof(event_t)]))
            return True
        if event.kind == EVENT_ORDER_ACCEPTED or event.kind == EVENT_ORDER_REJECTED:
            self.decided[newest.status % MAX_STATUS][newest.reject_reason % MAX_REASON] += 1
        size = self.write_order(order, newest)
        if size:
            self.write_result(field, placed, order, size, event.kind == EVENT_ORDER_REPLAYED)
        else:
            encoded = self.encode((<const char*>newest)[:sizeof(event_t)])
            self.write_result(field, placed, <const uint8_t*>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded),
                              event.kind == EVENT_ORDER_REPLAYED)
        return True

    cdef int write_result(self, uint32_t field, bint placed, const uint8_t* order, size_t order_size,
                          bint replayed) except -1:
        """An OrderCommandResult, or (`placed`) a PlaceOrderResult with its PlaceOrderResponse; without a `field` this alone."""
        cdef size_t inner = 1 + varint_size(order_size) + order_size
        cdef size_t size
        cdef uint8_t* at
        self.reserve(order_size + MAX_FRAME)
        at = self.out + self.size
        if placed:
            inner += 2 if replayed else 0
            if field:
                at = write_varint(write_tag(at, field, LEN), 1 + varint_size(inner) + inner)
                at = write_varint(write_tag(at, 1, LEN), inner)
            at = write_number(write_bytes(at, 1, order, order_size), 2, replayed)
        else:
            size = inner + (2 if replayed else 0)
            at = write_varint(write_tag(at, field, LEN), size)
            at = write_number(write_bytes(at, 1, order, order_size), 3, replayed)
        self.size = at - self.out
        return 0

    cdef int write_error(self, uint32_t field, bytes status) except -1:
        """The same with field 2, the google.rpc.Status."""
        cdef size_t status_size = PyBytes_GET_SIZE(status)
        cdef uint8_t* at
        self.reserve(status_size + MAX_FRAME)
        at = write_tag(self.out + self.size, field, LEN)
        at = write_varint(at, 1 + varint_size(status_size) + status_size)
        at = write_bytes(at, 2, PyBytes_AS_STRING(status), status_size)
        self.size = at - self.out
        return 0

    cdef size_t write_order(self, uint8_t* out, const event_t* event) except? 0:
        """0: not written here."""
        cdef Terms terms = self.directory.instrument(event.instrument)
        cdef bytes account = self.directory.account(event.account)
        cdef bytes message
        cdef bint is_distance
        cdef uint8_t* at = out
        # Of a refusal for its amount, the message tells the amount: worded elsewhere.
        if (terms is None or event.reject_reason == REJECT_REASON_AMOUNT_OVERFLOW
                or event.reject_reason >= len(self.reject_messages) or event.status >= MAX_STATUS
                or PyBytes_GET_SIZE(account) > MAX_NAME or not is_ascii(event.client_order_id)):
            return 0
        message = self.reject_messages[event.reject_reason]
        # Until it is triggered, the price of such an order is a distance.
        is_distance = event.order_type == ORDER_TYPE_TRAILING_STOP_LIMIT and event.detail.flags & ORDER_FLAG_WAITING
        at = write_id(at, 1, event.order_id)
        at = write_text(at, 2, event.client_order_id, length_of(event.client_order_id))
        at = write_text(at, 3, PyBytes_AS_STRING(account), PyBytes_GET_SIZE(account))
        at = write_text(at, 4, PyBytes_AS_STRING(terms.name), PyBytes_GET_SIZE(terms.name))
        at = write_number(at, 5, event.side)
        at = write_number(at, 6, event.order_type)
        at = write_number(at, 7, event.time_in_force)
        if event.price != 0 and not is_distance:
            at = write_decimal(at, 8, event.price, &terms.tick)
        at = write_decimal(at, 9, event.size.qty, &terms.lot)
        at = write_decimal(at, 10, event.cum_qty, &terms.lot)
        at = write_decimal(at, 11, event.leaves_qty, &terms.lot)
        if event.cum_qty != 0:
            at = write_average_price(at, event, terms)
            if at == NULL:
                return 0
        at = write_amount(at, 13, money_of(event.cum_notional, event.of.order.cum_notional_high), terms)
        at = write_amount(at, 14, money_of(event.of.order.cum_fee, event.of.order.cum_fee_high), terms)
        if at == NULL:
            return 0
        at = write_number(at, 15, event.status)
        at = write_number(at, 16, event.reject_reason)
        at = write_text(at, 17, PyBytes_AS_STRING(message), min(PyBytes_GET_SIZE(message), <Py_ssize_t>MAX_NAME))
        at = write_number(at, 18, event.cancel_reason)
        at = write_number(at, 19, event.detail.flags & (ORDER_FLAG_POST_ONLY | ORDER_FLAG_POST_ONLY_SLIDE) != 0)
        at = write_optional_time(at, 20, event.of.order.placed_ns)
        at = write_time(at, 21, event.ts_ns)
        if event.trigger_price != 0 and event.trigger_price <= MAX_TRIGGER:
            at = write_decimal(at, 22, event.trigger_price, &terms.tick)
        at = write_number(at, 23, event.detail.flags & ORDER_FLAG_WAITING != 0)
        if event.display_qty != 0:
            at = write_decimal(at, 24, event.display_qty, &terms.lot)
        at = write_optional_time(at, 25, event.expire_ns)
        at = write_number(at, 26, event.detail.flags & (ORDER_FLAG_REDUCE_ONLY | ORDER_FLAG_CLOSE_POSITION) != 0)
        if event.link_id != 0:
            at = write_id(at, 27, event.link_id)
        if ORDER_TYPE_STOP <= event.order_type <= ORDER_TYPE_TRAILING_STOP_LIMIT:
            at = write_number(at, 28, event.of.order.trigger_source or TRIGGER_SOURCE_LAST)
        if event.of.order.trailing_unit == TRAILING_UNIT_TICKS:
            at = write_decimal(at, 29, event.of.order.trailing_offset, &terms.tick)
        elif event.of.order.trailing_unit == TRAILING_UNIT_BPS:
            at = write_number(at, 30, event.of.order.trailing_offset)
        at = write_number(at, 31, event.detail.flags & ORDER_FLAG_CHANGE_PENDING != 0)
        return at - out


cdef const event_t* event_of(bytes record) except NULL:
    if PyBytes_GET_SIZE(record) != sizeof(event_t):
        raise ValueError(f"{len(record)} bytes are no event record")
    return <const event_t*>PyBytes_AS_STRING(record)


cdef bint is_ascii(const char* client_order_id) noexcept nogil:
    cdef uint8_t seen = 0
    cdef size_t i
    for i in range(CLIENT_ORDER_ID_SIZE):
        seen |= <uint8_t>client_order_id[i]
    return seen < 0x80


cdef size_t length_of(const char* client_order_id) noexcept nogil:
    """Without its zero padding."""
    cdef size_t size = CLIENT_ORDER_ID_SIZE
    while size != 0 and client_order_id[size - 1] == 0:
        size -= 1
    return size


cdef inline uint8_t* write_text(uint8_t* out, uint32_t field, const char* text, size_t size) noexcept nogil:
    return write_bytes(out, field, text, size) if size else out


cdef uint8_t* write_id(uint8_t* out, uint32_t field, uint64_t value) noexcept nogil:
    cdef char text[MAX_DECIMAL]
    return write_bytes(out, field, text, write_integer(text, value))


cdef uint8_t* write_decimal(uint8_t* out, uint32_t field, int64_t units, const grid_t* grid) noexcept nogil:
    cdef char text[MAX_DECIMAL]
    return write_bytes(out, field, text, write_units(text, units, grid))


cdef uint8_t* write_amount(uint8_t* out, uint32_t field, money_t amount, Terms terms) noexcept:
    """NULL: beyond 128 bits."""
    cdef char text[MAX_DECIMAL]
    cdef size_t size = write_money(text, amount, &terms.money) if out != NULL else 0
    return write_bytes(out, field, text, size) if size else NULL


cdef uint8_t* write_average_price(uint8_t* out, const event_t* event, Terms terms) noexcept:
    """NULL: beyond 128 bits."""
    cdef char text[MAX_DECIMAL]
    cdef money_t cost = money_of(event.cum_notional, event.of.order.cum_notional_high)
    cdef size_t size = write_average(text, cost, &terms.money, event.cum_qty, &terms.lot)
    return write_bytes(out, 12, text, size) if size else NULL


cdef inline uint8_t* write_optional_time(uint8_t* out, uint32_t field, int64_t ns) noexcept nogil:
    return write_time(out, field, ns) if ns != 0 else out
