"""Reading a journal, the same in every store: rows follow each other without a gap, and each carries its checksum."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

from server.base.errors import JournalCorrupt
from server.storage.journal_chain import checksum, seed
from server.storage.ports import JournalRow

PAGE_ROWS = 64
"""Rows fetched at a time: a group commit may be some hundred kilobytes."""


class RowSource(Protocol):
    """Where rows are, by two queries."""

    def page(self, first_seq: int, limit: int) -> Sequence[tuple[int, int, int, bytes, bytes]]:
        """(first_seq, count, ts_ns, payload, checksum) of the rows that begin at `first_seq` or later, in order."""
        ...

    def up_to(self, seq: int) -> Sequence[tuple[int, int, bytes]]:
        """(first_seq, count, checksum) of the last two rows that begin at `seq` or before, the later one first."""
        ...


class JournalRows:
    """The rows of a journal, verified as they are read. Between two pages no writer is held up."""

    def __init__(self, source: RowSource, name: str, epoch: str) -> None:
        """`name` says in errors which journal it is."""
        self._source = source
        self._name = name
        self._epoch = epoch

    def read(self, from_seq: int, last_seq: int) -> Iterator[JournalRow]:
        """Rows from the one that holds `from_seq` to the one that holds `last_seq`. Raises JournalCorrupt."""
        following, chain = self._before(from_seq)
        while following <= last_seq:
            page = self._source.page(following, PAGE_ROWS)
            if not page:
                raise self._corrupt(f"the row of command {following} is missing")
            for first_seq, count, ts_ns, payload, stored in page:
                if following > last_seq:
                    return
                row = JournalRow(first_seq, count, ts_ns, payload)
                if first_seq != following:
                    raise self._corrupt(f"the row of command {following} is missing; the next is {first_seq}")
                try:
                    chain = checksum(chain, row)
                except (TypeError, struct.error) as error:
                    raise self._corrupt(f"the row of command {first_seq} is damaged ({error})") from error
                if stored != chain:
                    raise self._corrupt(f"the row of command {first_seq} does not carry its checksum")
                following = first_seq + count
                yield row

    def checksum(self, last_seq: int) -> bytes | None:
        """Of the row that ends with command `last_seq`; None if no row does."""
        found = self._source.up_to(last_seq)
        if found and found[0][0] + found[0][1] == last_seq + 1:
            return found[0][2]
        return None

    def end(self) -> tuple[int, bytes]:
        """The last command, and the checksum of its row; in an empty journal 0, and what the first row builds on."""
        found = self._source.up_to(2**63 - 1)
        try:
            return (found[0][0] + found[0][1] - 1, found[0][2]) if found else (0, seed(self._epoch))
        except TypeError as error:
            raise self._corrupt(f"its last row is damaged ({error})") from error

    def _before(self, from_seq: int) -> tuple[int, bytes]:
        """First command of the row that holds `from_seq`, and the checksum of the row before."""
        found = self._source.up_to(from_seq)
        if not found:
            return 1, seed(self._epoch)
        first_seq, count, chain = found[0]
        if first_seq + count <= from_seq:
            return first_seq + count, chain
        if first_seq == 1:
            return 1, seed(self._epoch)
        if len(found) < 2:
            raise self._corrupt(f"the row before command {first_seq} is missing")
        return first_seq, found[1][2]

    def _corrupt(self, what: str) -> JournalCorrupt:
        return JournalCorrupt(f"{self._name}: {what}; restore it from a backup")
