"""The matching engine as a Python object: many books, packed commands in, packed reports out.

The records are laid out in `engine.pxd`; `COMMAND`, `EXTENSION` and `REPORT` pack and unpack them here. Compiled code drives
the same engine without Python through the functions of `engine.pxd`.
"""

import struct

from fastpath.standalone.engine import EngineFlag, EngineOp, ReportKind

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fastpath.book.book cimport BOOK_SIDES, book_best, book_depth, book_level, book_orders, depth_t, resting_t
from fastpath.standalone.engine cimport (
    ENGINE_EXTENDED,
    engine_add_book,
    engine_apply,
    engine_book,
    engine_command_t,
    engine_free,
    engine_hash,
    engine_new,
    engine_retire_book,
    engine_validate,
    report_t,
    reports_room,
    reports_t,
)
from fastpath.model.enums cimport SIDE_BUY, SIDE_SELL
from fastpath.model.structs cimport price_t

__all__ = ["COMMAND", "EXTENSION", "REPORT", "EngineFlag", "EngineOp", "MatchingEngine", "ReportKind"]

COMMAND = struct.Struct("<BBBBIQqq")
EXTENSION = struct.Struct("<IB3xqqQ")
REPORT = struct.Struct("<QBBBBIQQqqqq")

cdef enum:
    MAX_ORDERS = 67108864
    MAX_BOOKS = 65536


cdef class MatchingEngine:
    """Price-time matching of many instruments, driven by client ids.

    `max_orders` bounds the resting orders of all books together, `max_books` the instrument numbers (0 to max_books - 1, at
    most 65,536). Memory for the bounds is reserved; 64 bytes an order, 64 MiB at most, are taken at once, the rest as it is needed.
    Not safe for several threads at once.
    """

    def __cinit__(self, max_orders: int = 1_000_000, max_books: int = 4096):
        if not 0 < max_orders <= MAX_ORDERS or not 0 < max_books <= MAX_BOOKS:
            raise ValueError("max_orders must be in 1..2**26, max_books in 1..65536")
        self.engine = engine_new(max_orders, max_books)
        if self.engine == NULL:
            raise MemoryError(f"no memory for {max_orders} orders and {max_books} books")

    def __dealloc__(self):
        engine_free(self.engine)

    def create_book(self, instrument: int) -> None:
        """Open an empty book. ValueError: it exists, or the number is not below max_books."""
        if not 0 <= instrument < self.engine.max_books or engine_book(self.engine, instrument) != NULL:
            raise ValueError(f"instrument {instrument} has a book already or is not below {self.engine.max_books}")
        if not engine_add_book(self.engine, instrument):
            raise MemoryError("no memory for another book")

    def retire_book(self, instrument: int) -> bytes:
        """Cancel all orders of a book and forget it: the CANCELED reports. KeyError: no such book."""
        cdef book_t* book = self._book(instrument)
        cdef uint64_t orders = 0
        cdef uint32_t book_side
        for book_side in range(BOOK_SIDES):
            orders += book.sides[book_side].orders
        reports = bytearray(orders * sizeof(report_t))
        cdef unsigned char[::1] view = reports
        cdef reports_t sink = array_of(view)
        engine_retire_book(self.engine, instrument, &sink)
        return bytes(reports)

    def process(self, commands, reports) -> tuple[int, int]:
        """Apply 32-byte records from one buffer, write 64-byte reports into another.

        Returns (records consumed, reports written). Fewer are consumed only when the next command might not find room for its
        reports: empty the reports and go on with the rest. ValueError: a length is no multiple of its record, or the
        extension of the last command is missing. Runs without the GIL.
        """
        cdef const unsigned char[::1] source = commands
        cdef unsigned char[::1] target = reports
        cdef reports_t sink = array_of(target)
        cdef uint64_t n = <uint64_t>source.shape[0] // sizeof(engine_command_t)
        cdef uint64_t consumed = 0
        if source.shape[0] % sizeof(engine_command_t) or target.shape[0] % sizeof(report_t):
            raise ValueError("commands are records of 32 bytes, reports of 64")
        if n > 0:
            with nogil:
                consumed = engine_apply(self.engine, <const engine_command_t*>&source[0], n, &sink)
            if consumed + 1 == n and reports_room(&sink) >= 2 and source[source.shape[0] - 29] & ENGINE_EXTENDED:
                raise ValueError("the last command says ENGINE_EXTENDED, but no extension follows")
        return consumed, sink.head

    def apply(self, commands) -> bytes:
        """`process` with memory of its own: all commands, all their reports."""
        cdef Py_ssize_t room_bytes = max(64, len(commands) // 32 * 4) * sizeof(report_t)
        source = memoryview(commands)
        parts = []
        while True:
            buffer = bytearray(room_bytes)
            consumed, written = self.process(source, buffer)
            parts.append(bytes(memoryview(buffer)[: written * sizeof(report_t)]))
            source = source[consumed * sizeof(engine_command_t):]
            if len(source) == 0:
                return b"".join(parts)
            if consumed == 0:
                room_bytes *= 2

    def best(self, instrument: int, side: int) -> int | None:
        """Best displayed price of a side (1 buy, 2 sell). KeyError: no such book."""
        cdef price_t price = 0
        return price if book_best(self._book(instrument), checked_side(side), &price) else None

    def depth(self, instrument: int, side: int, levels: int) -> list[tuple[int, int, int]]:
        """(price, qty, orders) of the displayed levels, best first."""
        cdef book_t* book = self._book(instrument)
        cdef uint8_t of_side = checked_side(side)
        cdef uint32_t n = min(levels, book.sides[of_side - 1].orders)
        cdef depth_t* out = <depth_t*>malloc((n + 1) * sizeof(depth_t))
        cdef uint32_t i
        if out == NULL:
            raise MemoryError
        try:
            n = book_depth(book, of_side, out, n)
            return [(out[i].price, out[i].qty, out[i].orders) for i in range(n)]
        finally:
            free(out)

    def level(self, instrument: int, side: int, price: int) -> tuple[int, int]:
        """(qty, orders) displayed at a price; (0, 0): nothing is."""
        cdef depth_t out
        if not book_level(self._book(instrument), checked_side(side), price, &out):
            return 0, 0
        return out.qty, out.orders

    def orders(self, instrument: int, side: int) -> list[tuple[int, int, int, int, bool]]:
        """(id, price, qty shown, reserve, hidden) of every resting order: displayed in priority order, then hidden."""
        cdef book_t* book = self._book(instrument)
        cdef uint8_t of_side = checked_side(side)
        cdef uint32_t n = book.sides[of_side - 1].orders + book.sides[of_side + 1].orders
        cdef resting_t* out = <resting_t*>malloc((n + 1) * sizeof(resting_t))
        cdef uint32_t i
        if out == NULL:
            raise MemoryError
        try:
            n = book_orders(book, of_side, True, out, n)
            return [(self.engine.pool.orders[out[i].slot].id, out[i].price, out[i].qty, out[i].reserve, bool(out[i].hidden))
                    for i in range(n)]
        finally:
            free(out)

    @property
    def order_count(self) -> int:
        """Resting orders of all books."""
        return self.engine.pool.count

    def state_hash(self) -> int:
        """Hash of everything resting: equal for equal books, whatever way they came about."""
        return engine_hash(self.engine)

    def validate(self) -> None:
        """Walk everything. AssertionError names the invariant that does not hold."""
        cdef const char* broken = engine_validate(self.engine)
        if broken != NULL:
            raise AssertionError(broken.decode())

    cdef book_t* _book(self, uint32_t instrument) except NULL:
        cdef book_t* book = engine_book(self.engine, instrument)
        if book == NULL:
            raise KeyError(f"no book of instrument {instrument}")
        return book


cdef uint8_t checked_side(int side) except 0:
    if not SIDE_BUY <= side <= SIDE_SELL:
        raise ValueError("side is 1 (buy) or 2 (sell)")
    return <uint8_t>side


cdef reports_t array_of(unsigned char[::1] target) noexcept:
    cdef reports_t reports
    reports.limit = <uint64_t>target.shape[0] // sizeof(report_t)
    reports.records = <report_t*>&target[0] if reports.limit > 0 else NULL
    reports.mask = <uint64_t>-1
    reports.head = 0
    return reports
