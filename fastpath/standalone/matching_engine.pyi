"""The matching engine as a Python object: many books, packed commands in, packed reports out. See docs/matching.md."""

from struct import Struct

from typing_extensions import Buffer

from fastpath.standalone.engine import EngineFlag, EngineOp, ReportKind

__all__ = ["COMMAND", "EXTENSION", "REPORT", "EngineFlag", "EngineOp", "MatchingEngine", "ReportKind"]

COMMAND: Struct
"""op, side, time_in_force, flags, instrument, id, price, qty: 32 bytes."""
EXTENSION: Struct
"""owner, stp_mode, min_qty, display_qty, 0: the 32 bytes after a command with ENGINE_EXTENDED."""
REPORT: Struct
"""seq, kind, op, reason, side, instrument, id, maker_id, price, qty, leaves, maker_leaves: 64 bytes."""

class MatchingEngine:
    """Price-time matching of many instruments, driven by client ids.

    `max_orders` bounds the resting orders of all books together (at most 2**28), `max_books` the instrument numbers (0 to
    max_books - 1, at most 65,536); ValueError beyond. Not safe for several threads at once.
    """

    def __init__(self, max_orders: int = 1_000_000, max_books: int = 4096) -> None: ...
    def create_book(self, instrument: int) -> None:
        """Open an empty book. ValueError: it exists, or the number is not below max_books."""

    def retire_book(self, instrument: int) -> bytes:
        """Cancel all orders of a book and forget it: the CANCELED reports. KeyError: no such book."""

    def process(self, commands: Buffer, reports: Buffer) -> tuple[int, int]:
        """Apply records from one buffer, write reports into another: (records consumed, reports written).

        Fewer are consumed only when the next command might not find room for its reports. ValueError: a length is no multiple
        of its record, or the extension of the last command is missing. Runs without the GIL.
        """

    def apply(self, commands: Buffer) -> bytes:
        """`process` with memory of its own: all commands, all their reports."""

    def best(self, instrument: int, side: int) -> int | None:
        """Best displayed price of a side (1 buy, 2 sell). KeyError: no such book."""

    def level(self, instrument: int, side: int, price: int) -> tuple[int, int]:
        """(qty, orders) displayed at a price; (0, 0): nothing is."""

    def depth(self, instrument: int, side: int, levels: int) -> list[tuple[int, int, int]]:
        """(price, qty, orders) of the displayed levels, best first."""

    def orders(self, instrument: int, side: int) -> list[tuple[int, int, int, int, bool]]:
        """(id, price, qty shown, reserve, hidden) of every resting order: displayed in priority order, then hidden."""

    @property
    def order_count(self) -> int:
        """Resting orders of all books."""

    def state_hash(self) -> int:
        """Hash of everything resting: equal for equal books, whatever way they came about."""

    def validate(self) -> None:
        """Walk everything. AssertionError names the invariant that does not hold."""
