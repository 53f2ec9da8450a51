"""The stores, as small protocols. An adapter is done when the contract suite in tests/storage passes on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol, TypeAlias

from server.base.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Column: TypeAlias = "NDArray[np.int64] | list[str] | list[list[int]]"
"""Integers, texts, or a list of integers per row; which one, says the table (`server/storage/tick_tables.py`)."""
Columns: TypeAlias = "Mapping[str, Column]"
"""Rows of a table, column by column, all equally long."""


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One group commit: `count` commands from `first_seq` on, stamped `ts_ns`, packed by `fastpath.model.codec`."""

    first_seq: int
    count: int
    ts_ns: int
    payload: bytes


class JournalReader(Protocol):
    """Reads a journal, also while a server writes it. All calls block."""

    @property
    def epoch(self) -> str:
        """Names this journal for ever: created with it, part of every stream position."""
        ...

    @property
    def last_seq(self) -> int:
        """Sequence of the last durable command; 0 in an empty journal."""
        ...

    def read(self, from_seq: int = 1) -> Iterator[JournalRow]:
        """Rows in order from the one that holds `from_seq`. Raises JournalCorrupt at a row whose checksum is wrong."""
        ...

    def checksum(self, last_seq: int) -> bytes | None:
        """The checksum of the row that ends with command `last_seq`; it names all commands up to there. None: no row
        ends there."""
        ...

    def close(self) -> None: ...


class Journal(JournalReader, Protocol):
    """Commands in order: the system of record. All calls block; the runner makes them on a thread of its own."""

    def append(self, row: JournalRow) -> None:
        """Make the row durable, or raise JournalFailed. On return the row survives a power cut.

        After a failure append the same row again, before any other: if it got through after all, that is found out.
        """
        ...

    def load(self, rows: Iterable[JournalRow]) -> None:
        """Fill a journal that is empty, with all rows or none, durably. Raises JournalFailed."""
        ...


class SnapshotStore(Protocol):
    """Snapshots of the engine by command sequence. All derive from the journal: losing them costs time only."""

    def sequences(self) -> list[int]:
        """Of the snapshots there are, newest first."""
        ...

    def read(self, sequence: int) -> bytes:
        """Raises SnapshotUnusable if it is gone or cannot be read."""
        ...

    def write(self, sequence: int, data: bytes) -> None:
        """Store it whole or not at all, and let go of the oldest beyond those to keep. Raises OSError."""
        ...


BlotterRow: TypeAlias = "tuple[int | str | bytes, ...]"
"""Values in the order of the table's columns (`server/storage/blotter_rows.py`)."""


@dataclass(frozen=True, slots=True)
class BlotterBatch:
    """Rows made of the events after `after_sequence` up to `last_sequence`, stored together or not at all."""

    after_sequence: int
    last_sequence: int
    rows: Mapping[str, list[BlotterRow]]
    """Of orders (each once), fills and ledger."""
    directory: Mapping[str, list[BlotterRow]]
    """Names that are new; those that are stored already are left as they are."""


@dataclass(frozen=True, slots=True)
class BlotterQuery:
    """Which rows of an account, newest first. `None` and 0 stand for no condition."""

    account: int
    instruments: frozenset[int] | None = None
    """Of orders and fills."""
    statuses: frozenset[int] | None = None
    """Of orders: OrderStatus."""
    order_id: int = 0
    """Of fills."""
    asset: int = 0
    """Of ledger entries."""
    start_ns: int = 0
    end_ns: int = 0
    """Time in `[start_ns, end_ns)`: of orders when they were placed."""
    before: int | None = None
    """Keys (order_id; of fills and ledger entries event_seq) below this."""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class BlotterPage:
    """Packed events, and how far the blotter was when it answered: to the event `cursor`."""

    records: list[bytes]
    cursor: int


class BlotterMismatch(Unavailable):
    """The blotter does not belong to this journal, or is of another format: it has to be made again."""


class BlotterMoved(Exception):
    """The blotter's cursor is not where the batch begins."""


class BlotterStore(Protocol):
    """Orders, fills and ledger entries for ever: a projection of the journal, filled by one writer, that can be made
    again at any time. All calls block; any thread may call. They raise Unavailable while the store is away."""

    def cursor(self) -> int:
        """Sequence of the last event stored, 0 if there is none. Raises BlotterMismatch if the rows are of another
        journal or format than this server's."""
        ...

    def write(self, batch: BlotterBatch) -> None:
        """Store the rows and the new cursor in one transaction. Raises BlotterMoved if the cursor is not at
        `after_sequence`: the batch is stored already, or somebody else writes."""
        ...

    def page(self, table: str, query: BlotterQuery) -> BlotterPage:
        """Rows of orders, fills or ledger with the cursor, as of one moment."""
        ...

    def clear(self) -> None:
        """Remove everything, and begin with this journal and format."""
        ...

    def version(self) -> str:
        """The store's name and version."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TickBatch:
    """Rows of one tick table that are stored together; one column is `row_id`, ascending and unique for ever."""

    table: str
    columns: Columns


@dataclass(frozen=True, slots=True)
class TickKey:
    """An instrument as its ticks are stored: prices count `tick_size`, quantities `lot_size`.

    Rows recorded under another tick or lot size belong to another key, so that integers of different grids never mix.
    """

    name: str
    tick_size: Decimal
    lot_size: Decimal
    """The instrument's `data_lot_size`: what market data counts."""


class TickStore(Protocol):
    """Market data for history, candles, AI and backtests. All calls block; any thread may call.

    Tables: trades, quotes, books, candles. Times are int64 ns; a row's `time_ns` is the venue's time, or the time of
    receipt where the venue sends none. Queries answer rows of `[start_ns, end_ns)` in order of (time_ns, row_id), at
    most `limit`; `after`, the (time_ns, row_id) of the last row got, continues behind it. Raises Unavailable while the
    store is away.
    """

    warning: str | None
    """What became of data that could not be read when the store was opened; None if all was well."""

    def write(self, batch: TickBatch, *, retry: bool = False) -> None:
        """Store the rows. `retry`: an earlier attempt may have stored some or all of them; the rest is added, so that
        every row is there exactly once."""
        ...

    def instruments(self) -> list[TickKey]:
        """All keys that ever had rows, by name."""
        ...

    def rows(
        self,
        table: str,
        key: TickKey,
        start_ns: int,
        end_ns: int,
        *,
        after: tuple[int, int] | None = None,
        limit: int = 100_000,
    ) -> Columns:
        """Rows of `trades`, `quotes` or `books`."""
        ...

    def candles(self, key: TickKey, interval_ns: int, start_ns: int, end_ns: int, *, limit: int = 100_000) -> Columns:
        """Candles that open in `[start_ns, end_ns)`, built in the store: time_ns (of the opening), open, high, low,
        close, qty, buy_qty (of taker buys), trades. Intervals begin at the epoch; one without trades has no candle.

        Whole minutes come from stored one-minute candles where there are some, from trades elsewhere.
        """
        ...

    def prune(self, table: str, before_ns: int) -> None:
        """Drop rows older than `before_ns`; a store that drops whole partitions keeps those that are not all old."""
        ...

    def version(self) -> str:
        """The store's name and version."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class MarketMessage:
    """Market data of a topic. Sequences of a topic are contiguous: a jump means that messages were lost on the way."""

    topic: str
    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    """An event of a private stream. `prev_sequence` is that of the stream's event before it (0: it is the first)."""

    sequence: int
    prev_sequence: int
    payload: bytes


class StreamGap(LookupError):
    """The bus does not hold all events asked for: read them where they are kept, then go on from there."""


class Bus(Protocol):
    """Fan-out between processes. Not a system of record: a bus that loses everything costs a resynchronization, no
    data."""

    def publish_market(self, topic: str, payload: bytes) -> None:
        """Hand a message to all subscribers, soon, in order, without waiting. While the bus is away the newest are held
        up to a bound, the oldest dropped; subscribers see the jump."""
        ...

    async def subscribe(self, patterns: Sequence[str]) -> AsyncGenerator[MarketMessage, None]:
        """Messages of topics that match a pattern (`quote:*`), from the return of this call on; `aclose` ends it.

        A reader that falls behind loses the oldest messages and sees the jump. Raises Unavailable; once subscribed, a
        bus that goes away is waited for.
        """
        ...

    async def last(self, topic: str) -> MarketMessage | None:
        """The newest message of the topic, if the bus still knows it. Raises Unavailable."""
        ...

    async def append_private(self, stream: str, messages: Sequence[PrivateMessage]) -> None:
        """Add events; those the stream has already are skipped, so that a call may be repeated. Raises Unavailable."""
        ...

    async def private_sequence(self, stream: str) -> int:
        """Sequence of the newest event of the stream, 0 if there is none. Raises Unavailable.

        A writer compares it with its own now and then, and appends again what a bus that was emptied lacks.
        """
        ...

    def read_private(self, stream: str, after_sequence: int) -> AsyncGenerator[PrivateMessage, None]:
        """Events after this sequence, then new ones as they come. Raises StreamGap rather than leaving one out."""
        ...

    @property
    def dropped(self) -> int:
        """Market messages dropped because the bus was away or a reader too slow."""
        ...

    async def close(self) -> None: ...
