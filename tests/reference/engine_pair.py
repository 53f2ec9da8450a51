"""The compiled matching engine and its twin, driven together and compared."""

from __future__ import annotations

from collections.abc import Sequence

from fastpath.standalone.matching_engine import (
    COMMAND,
    EXTENSION,
    REPORT,
    EngineFlag,
    EngineOp,
    MatchingEngine,
    ReportKind,
)
from tests.reference.book_twin import BUY, SELL, Command, EngineTwin, Report

EXTENSION_FIELDS = ("owner", "stp_mode", "min_qty", "display_qty")


def pack(command: Command) -> bytes:
    """The command as the engine reads it, with its extension if it needs one."""
    extended = any(getattr(command, name) for name in EXTENSION_FIELDS)
    flags = command.flags | (EngineFlag.ENGINE_EXTENDED if extended else 0)
    record = COMMAND.pack(
        command.op, command.side, command.time_in_force, flags, command.instrument, command.id,
        command.price, command.qty,
    )  # fmt: skip
    if not extended:
        return record
    return record + EXTENSION.pack(command.owner, command.stp_mode, command.min_qty, command.display_qty, 0)


def unpack(reports: bytes) -> list[Report]:
    return [Report(*record) for record in REPORT.iter_unpack(reports)]


class EnginePair:
    def __init__(self, max_orders: int = 1000, instruments: Sequence[int] = (1,)) -> None:
        self.engine = MatchingEngine(max_orders=max_orders, max_books=max(instruments) + 1)
        self.twin = EngineTwin(max_orders, list(instruments))
        self.instruments = instruments
        for instrument in instruments:
            self.engine.create_book(instrument)

    def submit(self, *commands: Command) -> list[Report]:
        """Run commands through both in one batch; their common reports."""
        expected = [report for command in commands for report in self.twin.submit(command)]
        actual = unpack(self.engine.apply(b"".join(pack(command) for command in commands)))
        assert actual == expected
        return actual

    def new(self, id: int, side: int, price: int, qty: int, time_in_force: int = 1, **fields: int) -> list[Report]:
        command = Command(EngineOp.ENGINE_NEW, side, time_in_force, id=id, price=price, qty=qty)
        return self.submit(command._replace(**fields))

    def cancel(self, id: int) -> list[Report]:
        return self.submit(Command(EngineOp.ENGINE_CANCEL, id=id))

    def modify(self, id: int, price: int, qty: int, **fields: int) -> list[Report]:
        return self.submit(Command(EngineOp.ENGINE_MODIFY, id=id, price=price, qty=qty)._replace(**fields))

    def compare(self) -> None:
        """Everything that can be seen of both is equal, and the compiled books are sound."""
        self.engine.validate()
        for instrument in self.instruments:
            for side in (BUY, SELL):
                depth = self.twin.depth(instrument, side)
                assert self.engine.depth(instrument, side, 10**6) == depth
                assert self.engine.best(instrument, side) == (depth[0][0] if depth else None)
                assert self.engine.orders(instrument, side) == self.twin.orders(instrument, side)
        self.compare_hash()

    def compare_hash(self) -> None:
        assert self.engine.state_hash() == self.twin.state_hash()


def trades(reports: Sequence[Report]) -> list[tuple[int, int, int]]:
    """(maker id, price, qty) of each trade."""
    return [(report.maker_id, report.price, report.qty) for report in reports if report.kind == ReportKind.REPORT_TRADE]
