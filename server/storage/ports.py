"""The stores, as small protocols. An adapter is done when the contract suite in tests/storage passes on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One group commit: `count` commands from `first_seq` on, stamped `ts_ns`, packed by `fastpath.codec`."""

    first_seq: int
    count: int
    ts_ns: int
    payload: bytes


class Journal(Protocol):
    """Commands in order: the system of record. All calls block; the runner makes them on a thread of its own."""

    @property
    def epoch(self) -> str:
        """Names this journal for ever: created with it, part of every stream position."""
        ...

    @property
    def last_seq(self) -> int:
        """Sequence of the last durable command; 0 in an empty journal."""
        ...

    def append(self, row: JournalRow) -> None:
        """Make the row durable, or raise JournalFailed. On return the row survives a power cut."""
        ...

    def read(self, from_seq: int = 1) -> Iterator[JournalRow]:
        """Rows in order from the one that holds `from_seq`. Raises JournalCorrupt at a row whose checksum is wrong."""
        ...

    def close(self) -> None: ...
