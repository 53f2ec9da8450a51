"""Requests about orders, straight from the bytes of their messages to packed commands.

Only what is plain is read here: new LIMIT and MARKET orders and cancels, with known names, numbers on their grids, and fields
that go together. Whatever else an item says, or if there is anything wrong with it, it is left to whoever can say so: its
bytes are handed back. So there is one place that words errors, and this one cannot disagree with it.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fastpath.decimals cimport grid_t, read_units
from fastpath.directory cimport Directory, Terms
from fastpath.model cimport (
    COMMAND_CANCEL,
    COMMAND_PLACE,
    ORDER_FLAG_CANCEL_ON_DISCONNECT,
    ORDER_FLAG_POST_ONLY,
    ORDER_FLAG_POST_ONLY_SLIDE,
    ORDER_FLAG_REDUCE_ONLY,
    ORDER_TYPE_LIMIT,
    ORDER_TYPE_MARKET,
    SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL,
    SIDE_SELL,
    TIME_IN_FORCE_DAY,
    TIME_IN_FORCE_FOK,
    TIME_IN_FORCE_GTC,
    TIME_IN_FORCE_GTD,
    TIME_IN_FORCE_IOC,
    command_t,
)
from fastpath.orders cimport CLIENT_ORDER_ID_SIZE
from fastpath.wire cimport LEN, VARINT, read_bytes, read_number, read_tag, span_t

cdef enum:
    ITEMS = 1_000                 # of one message; one with more is not read here
    PLACE_FIELDS = 25             # field numbers of PlaceOrderRequest are below it
    GROUPS = 0x80000000           # self_trade_group is below it
    MAX_ID_DIGITS = 19

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
    SELF_TRADE_PREVENTION = 22
    SELF_TRADE_GROUP = 23
    CANCEL_ON_DISCONNECT = 24
    TEXTS = 1 << ACCOUNT | 1 << INSTRUMENT | 1 << QTY | 1 << PRICE | 1 << CLIENT_ORDER_ID
    NUMBERS = (1 << SIDE | 1 << TYPE | 1 << TIME_IN_FORCE | 1 << POST_ONLY | 1 << POST_ONLY_SLIDE | 1 << REDUCE_ONLY
               | 1 << SELF_TRADE_PREVENTION | 1 << SELF_TRADE_GROUP | 1 << CANCEL_ON_DISCONNECT)
    REQUIRED = 1 << ACCOUNT | 1 << INSTRUMENT | 1 << SIDE | 1 << TYPE | 1 << QTY | 1 << CLIENT_ORDER_ID

cdef struct place_t:              # the fields of a PlaceOrderRequest, each given at most once
    uint32_t given                # bit set of field numbers
    span_t   texts[CLIENT_ORDER_ID + 1]
    uint64_t numbers[PLACE_FIELDS]


cdef class Requests:
    """The commands of one message, item by item."""

    cdef readonly uint64_t batch_id
    cdef readonly Py_ssize_t count
    cdef readonly bytearray commands      # one record an item; zeros where it is not plain
    cdef readonly list others             # (item, its bytes) of those
    cdef readonly set accounts            # names that plain items use
    cdef readonly set session_accounts    # numbers of those with orders that end with their session


cdef class RequestReader:
    """Reads messages of clients. Of every message gives None if its frame is not plain: then nothing is known of it."""

    cdef Directory directory
    # The names met last in the running message, and what they mean.
    cdef span_t last_account
    cdef uint32_t account
    cdef span_t last_instrument
    cdef Terms terms

    def __init__(self, Directory directory not None):
        self.directory = directory

    def stream(self, bytes raw not None):
        """A StreamOrdersRequest: batch_id, and OrderCommands."""
        return self.read(raw, 2, True)

    def batch(self, bytes raw not None):
        """A BatchPlaceOrdersRequest: PlaceOrderRequests."""
        return self.read(raw, 1, False)

    cdef object read(self, bytes raw, uint32_t items_field, bint commands):
        """A message whose items are in `items_field`: OrderCommands with their batch_id, or PlaceOrderRequests."""
        cdef span_t source = whole(raw)
        cdef span_t items[ITEMS]
        cdef Requests requests
        cdef uint64_t batch_id = 0
        cdef uint32_t field
        cdef int wire_type
        cdef Py_ssize_t i, count = 0
        cdef bint numbered = False
        while source.at != source.end:
            if not read_tag(&source, &field, &wire_type):
                return None
            if field == items_field and wire_type == LEN and count < ITEMS and read_bytes(&source, &items[count]):
                count += 1
            elif (commands and field == 1 and wire_type == VARINT and not numbered
                    and read_number(&source, &batch_id)):
                numbered = True
            else:
                return None
        requests = new_requests(count)
        requests.batch_id = batch_id
        self.forget_names()
        for i in range(count):
            self.item(items[i], requests, i, commands)
        return requests

    cdef void forget_names(self) noexcept:
        self.last_account.at = self.last_account.end = NULL
        self.last_instrument.at = self.last_instrument.end = NULL
        self.account = 0
        self.terms = None

    cdef int item(self, span_t raw, Requests requests, Py_ssize_t at, bint is_command) except -1:
        cdef command_t* command = <command_t*>PyByteArray_AS_STRING(requests.commands) + at
        cdef span_t body = raw
        cdef uint32_t kind = 1                                  # of OrderCommand: place
        cdef bint plain = not is_command or read_kind(raw, &kind, &body)
        if plain:
            plain = self.place(body, command, is_command) if kind == 1 else kind == 2 and self.cancel(body, command)
        if not plain:
            memset(command, 0, sizeof(command_t))
            requests.others.append((at, (<const char*>raw.at)[:raw.end - raw.at]))
            return 0
        if command.flags & ORDER_FLAG_CANCEL_ON_DISCONNECT:
            requests.session_accounts.add(command.account)
        if at == 0 or command[-1].account != command.account:
            requests.accounts.add((<const char*>self.last_account.at)[:size_of(self.last_account)].decode("ascii"))
        return 0

    cdef uint32_t find_account(self, span_t name) except? 0:
        if not same(name, self.last_account):
            self.account = self.directory.find_account(name) if is_name(name) else 0
            self.last_account = name
        return self.account

    cdef object find_instrument(self, span_t name):
        if not same(name, self.last_instrument):
            self.terms = self.directory.find_instrument(name)
            self.last_instrument = name
        return self.terms

    cdef bint place(self, span_t raw, command_t* command, bint in_session) except -1:
        """False: it is not plain, and the command is not finished."""
        cdef place_t order
        cdef Terms terms
        if not read_place(raw, &order) or not fields_go_together(&order, in_session):
            return False
        terms = self.find_instrument(order.texts[INSTRUMENT])
        command.account = self.find_account(order.texts[ACCOUNT])
        if (terms is None or command.account == 0
                or not take_units(order.texts[QTY], &terms.lot, &command.qty)
                or (order.given & 1 << PRICE and not take_units(order.texts[PRICE], &terms.tick, &command.price))
                or not take_client_order_id(order.texts[CLIENT_ORDER_ID], command)):
            return False
        command.kind = COMMAND_PLACE
        command.instrument = terms.number
        command.side = <uint8_t>order.numbers[SIDE]
        command.order_type = <uint8_t>order.numbers[TYPE]
        command.time_in_force = <uint8_t>order.numbers[TIME_IN_FORCE]
        if command.time_in_force == 0:
            command.time_in_force = TIME_IN_FORCE_IOC if command.order_type == ORDER_TYPE_MARKET else TIME_IN_FORCE_GTC
        command.stp_mode = <uint8_t>order.numbers[SELF_TRADE_PREVENTION]
        command.stp_group = <uint32_t>order.numbers[SELF_TRADE_GROUP]
        command.flags = flags_of(&order)
        return True

    cdef bint cancel(self, span_t raw, command_t* command) except -1:
        """A CancelOrderRequest: an OrderRef of account and one of two ids."""
        cdef span_t order, text
        cdef span_t account
        cdef uint32_t field, seen = 0
        cdef int wire_type
        if not read_only_field(raw, 1, &order):
            return False
        account.at = account.end = NULL
        while order.at != order.end:
            if (not read_tag(&order, &field, &wire_type) or wire_type != LEN or not 1 <= field <= 3
                    or seen & 1 << field or not read_bytes(&order, &text)):
                return False
            seen |= 1 << field
            if field == 1:
                account = text
            elif field == 2 and not take_order_id(text, &command.order_id):
                return False
            elif field == 3 and not take_client_order_id(text, command):
                return False
        if seen != 0b0110 and seen != 0b1010:
            return False
        command.kind = COMMAND_CANCEL
        command.account = self.find_account(account)
        return command.account != 0


def set_session(bytearray commands not None, uint32_t session):
    """The session whose end cancels the orders that say so."""
    cdef command_t* command = <command_t*>PyByteArray_AS_STRING(commands)
    cdef size_t i
    for i in range(<size_t>len(commands) // sizeof(command_t)):
        if command[i].flags & ORDER_FLAG_CANCEL_ON_DISCONNECT:
            command[i].session = session


cdef object new_requests(Py_ssize_t count):
    cdef Requests requests = Requests()
    cdef Py_ssize_t size = count * <Py_ssize_t>sizeof(command_t)
    requests.count = count
    requests.commands = PyByteArray_FromStringAndSize(NULL, size)
    memset(PyByteArray_AS_STRING(requests.commands), 0, size)
    requests.others = []
    requests.accounts = set()
    requests.session_accounts = set()
    return requests


cdef span_t whole(bytes raw) noexcept:
    cdef span_t span
    span.at = <const uint8_t*>PyBytes_AS_STRING(raw)
    span.end = span.at + PyBytes_GET_SIZE(raw)
    return span


cdef inline size_t size_of(span_t span) noexcept nogil:
    return span.end - span.at


cdef inline bint same(span_t a, span_t b) noexcept nogil:
    return b.at != NULL and size_of(a) == size_of(b) and memcmp(a.at, b.at, size_of(a)) == 0


cdef bint read_only_field(span_t source, uint32_t only, span_t* value) noexcept nogil:
    """A message of nothing but one LEN field."""
    cdef uint32_t field
    cdef int wire_type
    return (read_tag(&source, &field, &wire_type) and field == only and wire_type == LEN
            and read_bytes(&source, value) and source.at == source.end)


cdef bint read_kind(span_t source, uint32_t* kind, span_t* body) noexcept nogil:
    """An OrderCommand: one of its kinds, once, and its body."""
    cdef int wire_type
    return (read_tag(&source, kind, &wire_type) and wire_type == LEN
            and read_bytes(&source, body) and source.at == source.end)


cdef bint read_place(span_t source, place_t* order) noexcept nogil:
    """A PlaceOrderRequest of fields that are known here, each given at most once."""
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
    """What server/rpc/new_orders.py checks, of the types and options that are plain; in doubt not."""
    cdef uint64_t order_type = order.numbers[TYPE]
    cdef uint64_t time_in_force = order.numbers[TIME_IN_FORCE]
    if not 1 <= order.numbers[SIDE] <= SIDE_SELL:
        return False
    if time_in_force > TIME_IN_FORCE_DAY or time_in_force == TIME_IN_FORCE_GTD:
        return False
    if order_type == ORDER_TYPE_LIMIT:
        if not order.given & 1 << PRICE:
            return False
    elif order_type != ORDER_TYPE_MARKET or order.given & 1 << PRICE or order.numbers[POST_ONLY]:
        return False
    if order.numbers[POST_ONLY] and (time_in_force == TIME_IN_FORCE_IOC or time_in_force == TIME_IN_FORCE_FOK):
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
    return flags


cdef bint take_units(span_t text, const grid_t* grid, int64_t* units) noexcept nogil:
    return read_units(<const char*>text.at, size_of(text), grid, units)


cdef bint is_name(span_t text) noexcept nogil:
    """1 to 36 of A-Z, a-z, 0-9, _ and -."""
    cdef const uint8_t* at = text.at
    if not 0 < size_of(text) <= CLIENT_ORDER_ID_SIZE:
        return False
    while at != text.end:
        if not (c"a" <= at[0] <= c"z" or c"0" <= at[0] <= c"9" or c"A" <= at[0] <= c"Z"
                or at[0] == c"-" or at[0] == c"_"):
            return False
        at += 1
    return True


cdef bint take_client_order_id(span_t text, command_t* command) noexcept nogil:
    if not is_name(text):
        return False
    memcpy(command.client_order_id, text.at, size_of(text))
    return True


cdef bint take_order_id(span_t text, uint64_t* order_id) noexcept nogil:
    """A number of 1 to 19 digits that does not begin with 0."""
    cdef const uint8_t* at = text.at
    cdef uint64_t value = 0
    if not 0 < size_of(text) <= MAX_ID_DIGITS or at[0] == c"0":
        return False
    while at != text.end:
        if not c"0" <= at[0] <= c"9":
            return False
        value = value * 10 + <uint64_t>(at[0] - c"0")
        at += 1
    order_id[0] = value
    return True
