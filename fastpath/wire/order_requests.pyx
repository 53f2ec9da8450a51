"""Requests about orders, straight from the bytes of their messages to packed commands.

Only what is plain is read here: new orders (all but trailing ones, whole positions and quantities of quote money), amendments
and cancels, with known names, numbers on their grids, and fields that go together. Whatever else an item says, or if there is
anything wrong with it, it is left to whoever can say so: its bytes are handed back. So there is one place that words errors, and
this one cannot disagree with it.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fastpath.model.decimals cimport grid_t, read_units
from fastpath.wire.directory cimport Directory, Terms
from fastpath.model.order_sets cimport TRAILING_TYPES, default_time_in_force, is_in
from fastpath.model.enums cimport (
    COMMAND_AMEND,
    COMMAND_CANCEL,
    COMMAND_PLACE,
    ORDER_FLAG_CANCEL_ON_DISCONNECT,
    ORDER_FLAG_WAITING,
)
from fastpath.model.structs cimport command_t, event_t
from fastpath.state.orders cimport CLIENT_ORDER_ID_SIZE
from fastpath.wire.place_fields cimport (
    ACCOUNT,
    CLIENT_ORDER_ID,
    DISPLAY_QTY,
    EXPIRE_TIME,
    INSTRUMENT,
    MIN_QTY,
    PRICE,
    PROTECTION_PRICE,
    QTY,
    SELF_TRADE_GROUP,
    SELF_TRADE_PREVENTION,
    SIDE,
    TIME_IN_FORCE,
    TRIGGER_PRICE,
    TRIGGER_SOURCE,
    TYPE,
    fields_go_together,
    flags_of,
    has,
    place_t,
    read_place,
    read_time,
)
from fastpath.wire.protobuf cimport LEN, VARINT, read_bytes, read_number, read_tag, span_t

cdef enum:
    ITEMS = 1_000                 # of one message; one with more is not read here
    MAX_ID_DIGITS = 19

# Kinds of OrderCommand.
cdef enum:
    PLACE = 1
    CANCEL = 2
    AMEND = 3


cdef class Requests:
    """The commands of one message, item by item."""

    cdef readonly uint64_t batch_id
    cdef readonly Py_ssize_t count
    cdef readonly bytearray commands      # one record an item; zeros where it is not plain
    cdef readonly list others             # (item, its bytes) of those
    cdef readonly list unnamed            # plain items that are new orders without a client_order_id
    cdef readonly set accounts            # names that plain items use
    cdef readonly set session_accounts    # numbers of those with orders that end with their session


cdef class RequestReader:
    """Reads messages of clients. Of every message gives None if its frame is not plain: then nothing is known of it."""

    cdef Directory directory
    cdef object find_order
    # The names met last in the running message, and what they mean.
    cdef span_t last_account
    cdef uint32_t account
    cdef span_t last_instrument
    cdef Terms terms

    def __init__(self, Directory directory not None, find_order):
        """`find_order` gives the newest event of an order from (account number, order_id, client_order_id), one of the two ids
        being 0 or empty; None if it is not known."""
        self.directory = directory
        self.find_order = find_order

    def place(self, bytes raw not None):
        """A PlaceOrderRequest."""
        return self.only(raw, PLACE)

    def cancel(self, bytes raw not None):
        """A CancelOrderRequest."""
        return self.only(raw, CANCEL)

    def amend(self, bytes raw not None):
        """An AmendOrderRequest."""
        return self.only(raw, AMEND)

    cdef object only(self, bytes raw, uint32_t kind):
        """A message that is an item itself; None if it is not plain."""
        cdef Requests requests = new_requests(1)
        self.forget_names()
        self.item(whole(raw), kind, whole(raw), requests, 0, False)
        return None if requests.others else requests

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
        cdef span_t body
        cdef uint32_t kind
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
            kind, body = PLACE, items[i]
            if commands and not read_kind(items[i], &kind, &body):
                kind = 0
            self.item(items[i], kind, body, requests, i, commands)
        return requests

    cdef void forget_names(self) noexcept:
        self.last_account.at = self.last_account.end = NULL
        self.last_instrument.at = self.last_instrument.end = NULL
        self.account = 0
        self.terms = None

    cdef int item(self, span_t raw, uint32_t kind, span_t body, Requests requests, Py_ssize_t at, bint in_session) except -1:
        cdef command_t* command = <command_t*>PyByteArray_AS_STRING(requests.commands) + at
        if not ((kind == PLACE and self.place_command(body, command, in_session))
                or (kind == CANCEL and self.read_cancel(body, command))
                or (kind == AMEND and self.read_amend(body, command))):
            memset(command, 0, sizeof(command_t))
            requests.others.append((at, (<const char*>raw.at)[:raw.end - raw.at]))
            return 0
        if command.flags & ORDER_FLAG_CANCEL_ON_DISCONNECT:
            requests.session_accounts.add(command.account)
        if kind == PLACE and command.client_order_id[0] == 0:
            requests.unnamed.append(at)
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

    cdef bint place_command(self, span_t raw, command_t* command, bint in_session) except -1:
        """False: it is not plain, and the command is not finished."""
        cdef place_t order
        cdef Terms terms
        if not read_place(raw, &order) or not fields_go_together(&order, in_session):
            return False
        terms = self.find_instrument(order.texts[INSTRUMENT])
        command.account = self.find_account(order.texts[ACCOUNT])
        if (terms is None or command.account == 0
                or not take_units(order.texts[QTY], &terms.lot, &command.qty)
                or (has(&order, PRICE) and not take_units(order.texts[PRICE], &terms.tick, &command.price))
                or (has(&order, CLIENT_ORDER_ID) and not take_client_order_id(order.texts[CLIENT_ORDER_ID], command))
                or (has(&order, PROTECTION_PRICE)
                    and not take_units(order.texts[PROTECTION_PRICE], &terms.tick, &command.price))
                or (has(&order, TRIGGER_PRICE)
                    and not take_units(order.texts[TRIGGER_PRICE], &terms.tick, &command.trigger_price))
                or (has(&order, DISPLAY_QTY) and not take_units(order.texts[DISPLAY_QTY], &terms.lot, &command.display_qty))
                or (has(&order, MIN_QTY) and not take_units(order.texts[MIN_QTY], &terms.lot, &command.min_qty))
                or (has(&order, EXPIRE_TIME) and not read_time(order.texts[EXPIRE_TIME], &command.expire_ns))):
            return False
        command.kind = COMMAND_PLACE
        command.instrument = terms.number
        command.side = <uint8_t>order.numbers[SIDE]
        command.order_type = <uint8_t>order.numbers[TYPE]
        command.time_in_force = <uint8_t>order.numbers[TIME_IN_FORCE]
        if command.time_in_force == 0:
            command.time_in_force = default_time_in_force(command.order_type)
        command.trigger_source = <uint8_t>order.numbers[TRIGGER_SOURCE]
        command.stp_mode = <uint8_t>order.numbers[SELF_TRADE_PREVENTION]
        command.stp_group = <uint32_t>order.numbers[SELF_TRADE_GROUP]
        command.flags = flags_of(&order)
        return True

    cdef bint read_cancel(self, span_t raw, command_t* command) except -1:
        """A CancelOrderRequest."""
        cdef span_t ref
        if not read_only_field(raw, 1, &ref) or not self.read_ref(ref, command):
            return False
        command.kind = COMMAND_CANCEL
        return True

    cdef bint read_amend(self, span_t raw, command_t* command) except -1:
        """An AmendOrderRequest: an OrderRef, and qty, price, trigger_price, at least one of them."""
        cdef span_t texts[5]
        cdef uint32_t field, seen = 0
        cdef int wire_type
        cdef Terms terms
        cdef bytes record
        cdef const event_t* order
        while raw.at != raw.end:
            if (not read_tag(&raw, &field, &wire_type) or wire_type != LEN or not 1 <= field <= 4
                    or seen & 1 << field or not read_bytes(&raw, &texts[field])):
                return False
            seen |= 1 << field
        if not seen & 0b00010 or not seen & 0b11100 or not self.read_ref(texts[1], command):
            return False
        record = self.find_order(command.account, command.order_id, command.client_order_id[:CLIENT_ORDER_ID_SIZE])
        if record is None:
            return False
        order = <const event_t*>PyBytes_AS_STRING(record)
        terms = self.directory.instrument(order.instrument)
        if (terms is None or order.account != command.account
                or is_in(order.order_type, TRAILING_TYPES)
                or (seen & 0b10000 and not order.detail.flags & ORDER_FLAG_WAITING)
                or (seen & 0b00100 and not take_units(texts[2], &terms.lot, &command.qty))
                or (seen & 0b01000 and not take_units(texts[3], &terms.tick, &command.price))
                or (seen & 0b10000 and not take_units(texts[4], &terms.tick, &command.trigger_price))):
            return False
        command.kind = COMMAND_AMEND
        command.instrument = order.instrument
        return True

    cdef bint read_ref(self, span_t ref, command_t* command) except -1:
        """An OrderRef: an account and one of two ids."""
        cdef span_t account, text
        cdef uint32_t field, seen = 0
        cdef int wire_type
        account.at = account.end = NULL
        while ref.at != ref.end:
            if (not read_tag(&ref, &field, &wire_type) or wire_type != LEN or not 1 <= field <= 3
                    or seen & 1 << field or not read_bytes(&ref, &text)):
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
        command.account = self.find_account(account)
        return command.account != 0


def set_session(bytearray commands not None, uint32_t session):
    """The session whose end cancels the orders that say so."""
    cdef command_t* command = <command_t*>PyByteArray_AS_STRING(commands)
    cdef size_t i
    for i in range(<size_t>len(commands) // sizeof(command_t)):
        if command[i].flags & ORDER_FLAG_CANCEL_ON_DISCONNECT:
            command[i].session = session


def set_group_owner(bytearray commands not None, uint64_t owner):
    """Whose the self-trade groups are that new orders name."""
    cdef command_t* command = <command_t*>PyByteArray_AS_STRING(commands)
    cdef size_t i
    for i in range(<size_t>len(commands) // sizeof(command_t)):
        if command[i].kind == COMMAND_PLACE and command[i].stp_group != 0:
            command[i].stp_owner = owner


def set_client_order_id(bytearray commands not None, Py_ssize_t item, str client_order_id not None):
    """Name the order of an item."""
    cdef bytes name = client_order_id.encode("ascii")
    cdef command_t* command = <command_t*>PyByteArray_AS_STRING(commands) + item
    if not 0 <= item < <Py_ssize_t>(len(commands) // sizeof(command_t)) or not 0 < len(name) <= CLIENT_ORDER_ID_SIZE:
        raise ValueError(f"item {item} cannot be named {client_order_id!r}")
    memset(command.client_order_id, 0, CLIENT_ORDER_ID_SIZE)
    memcpy(command.client_order_id, PyBytes_AS_STRING(name), len(name))


cdef object new_requests(Py_ssize_t count):
    cdef Requests requests = Requests()
    cdef Py_ssize_t size = count * <Py_ssize_t>sizeof(command_t)
    requests.count = count
    requests.commands = PyByteArray_FromStringAndSize(NULL, size)
    memset(PyByteArray_AS_STRING(requests.commands), 0, size)
    requests.others = []
    requests.unnamed = []
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
