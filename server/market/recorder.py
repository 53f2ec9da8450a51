"""The recorder: takes market data on the event loop, stores it from threads, never waits for the store.

Updates are buffered for a second, packed into the spool, and sent from there in order. The spool is the only path, so
an absent store, a slow one and a restart are all the same case: what is not stored yet is in the spool, and a batch
that may have arrived is sent as a retry. What a crash of this process costs is the buffer: the last second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from server.base.background import FailureListener, keep_running
from server.base.clock import Clock
from server.base.errors import Unavailable
from server.base.instruments import Instrument, format_decimal
from server.market.model import BookUpdate, FeedState, MarketUpdate, Quote, Trade
from server.storage.ports import Column, TickBatch, TickKey, TickStore
from server.storage.spool import Spool
from server.storage.tick_retention import drop_old_ticks
from server.storage.tick_tables import INTEGER, TABLES, instrument_id

Row = tuple[object, ...]
DAY_NS = 86_400_000_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TickWriterLimits:
    """How the recorder batches, and its bounds."""

    flush_s: float = 1.0
    batch_rows: int = 50_000
    """A batch is written when it has this many rows, even before `flush_s`."""
    buffered_rows: int = 500_000
    """Held in memory while the spool's disk is slow; rows beyond are dropped."""
    book_interval_s: float = 5.0
    book_depth: int = 20
    retry_s: tuple[float, float] = (0.1, 5.0)
    """Waits between attempts while the store is away: the first, doubling, at most the second."""
    retention_days: int | None = None
    """Older trades, quotes and books are dropped (of trades, candles stay); None keeps all."""
    retention_every_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class TickWriterStatus:
    """What became of the rows recorded since the start."""

    rows_recorded: int
    rows_stored: int
    rows_spooled: int
    """On disk, waiting for the store; includes what an earlier process left."""
    spool_bytes: int
    rows_dropped: int
    """Lost because the spool, its disk or the buffer was full."""
    batches_corrupt: int
    error: str | None
    """Why rows are not stored at present; None if all is well."""


def tick_key(instrument: Instrument) -> TickKey:
    """Where the instrument's market data is stored."""
    return TickKey(instrument.name, instrument.tick_size, instrument.data_lot_size)


class TickWriter:
    """Records quotes, trades and snapshots of books. One per store: it numbers the store's rows."""

    def __init__(
        self,
        store: TickStore,
        spool: Spool,
        clock: Clock,
        limits: TickWriterLimits | None = None,
        snapshots: Callable[[], Iterable[BookUpdate]] = lambda: (),
        failure_listener: Callable[[], FailureListener] = lambda: lambda reason: None,
    ) -> None:
        """`snapshots` gives the books to record; it is asked every `book_interval_s`, on the event loop.
        `failure_listener` makes a listener for each task of the writer that ends unexpectedly."""
        self._failure_listener = failure_listener
        self._store = store
        self._clock = clock
        self._spool = spool
        self._limits = limits or TickWriterLimits()
        self._snapshots = snapshots
        self._buffers: dict[str, list[Row]] = {table: [] for table in TABLES}
        self._buffered = 0
        self._next_row_id = max(clock.now_ns(), spool.last_row_id + self._limits.buffered_rows)
        self._ids: dict[str, tuple[Instrument, int]] = {}
        self._recorded = self._stored = self._dropped = 0
        self._disk_error: str | None = None
        self._store_error: str | None = None
        self._flush_now = asyncio.Event()
        self._send_now = asyncio.Event()
        self._stopping = False
        self._all_spooled = False
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="ticks")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to store; needs a running event loop."""
        self._send_now.set()
        self._tasks = [
            keep_running(name, run, self._failure_listener())
            for name, run in (
                ("tick spooling", self._keep_flushing),
                ("tick storing", self._keep_sending),
                ("book sampling", self._keep_sampling),
                ("tick pruning", self._keep_pruning),
            )
        ]

    def record(self, update: MarketUpdate) -> None:
        """Take an update over, as a listener of the market data hub: quick, never raises. Of books, whole LIVE ones
        are kept."""
        if isinstance(update, Quote):
            self._add("quotes", update, (update.bid_price, update.bid_qty, update.ask_price, update.ask_qty))
        elif isinstance(update, Trade):
            self._add("trades", update, (update.price, update.qty, update.aggressor_side, update.trade_id))
        elif update.is_snapshot and update.state is FeedState.LIVE:
            bids, asks = update.bids[: self._limits.book_depth], update.asks[: self._limits.book_depth]
            levels = [
                [price for price, _ in bids],
                [qty for _, qty in bids],
                [price for price, _ in asks],
                [qty for _, qty in asks],
            ]
            self._add("books", update, (update.venue_sequence, *levels))

    @property
    def status(self) -> TickWriterStatus:
        return TickWriterStatus(
            rows_recorded=self._recorded,
            rows_stored=self._stored,
            rows_spooled=self._spool.rows,
            spool_bytes=self._spool.size_bytes,
            rows_dropped=self._dropped + self._spool.rows_dropped,
            batches_corrupt=self._spool.batches_corrupt,
            error=self._disk_error or self._store_error,
        )

    async def stop(self, grace_s: float = 5.0) -> None:
        """Spool all that is buffered and give the store `grace_s` to take it; the rest waits for the next start.

        A write in progress is waited for, at most as long as the store itself waits for its server.
        """
        self._stopping = True
        self._flush_now.set()
        flushing, sending, sampling, pruning = self._tasks
        sampling.cancel()
        pruning.cancel()
        await flushing
        self._all_spooled = True
        self._send_now.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sending, grace_s)
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    # -- rows ----------------------------------------------------------------------------------------------

    def _add(self, table: str, update: MarketUpdate, values: Row) -> None:
        if self._buffered >= self._limits.buffered_rows:
            self._dropped += 1
            return
        time_ns = update.receive_time_ns if update.venue_time_ns is None else update.venue_time_ns
        number = self._number(update.instrument, time_ns)
        self._append(table, (self._next_row_id, number, time_ns, update.receive_time_ns, *values))

    def _append(self, table: str, row: Row) -> None:
        buffer = self._buffers[table]
        buffer.append(row)
        self._next_row_id += 1
        self._buffered += 1
        self._recorded += 1
        if len(buffer) == self._limits.batch_rows:
            self._flush_now.set()

    def _number(self, instrument: Instrument, time_ns: int) -> int:
        known = self._ids.get(instrument.name)
        if known is not None and (known[0] is instrument or known[0] == instrument):
            return known[1]
        key = tick_key(instrument)
        number = instrument_id(key)
        self._ids[instrument.name] = (instrument, number)
        grid = (format_decimal(key.tick_size), format_decimal(key.lot_size))
        self._append("instruments", (self._next_row_id, number, time_ns, key.name, *grid))
        return number

    # -- tasks ---------------------------------------------------------------------------------------------

    async def _keep_flushing(self) -> None:
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._flush_now.wait(), self._limits.flush_s)
            self._flush_now.clear()
            await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        filled = {table: rows for table, rows in self._buffers.items() if rows}
        for table in filled:
            self._buffers[table] = []
        for table, rows in filled.items():
            await asyncio.get_running_loop().run_in_executor(self._threads, self._spool_rows, table, rows)
            self._buffered -= len(rows)
        if filled:
            self._send_now.set()

    def _spool_rows(self, table: str, rows: list[Row]) -> None:
        parts = [rows[at : at + self._limits.batch_rows] for at in range(0, len(rows), self._limits.batch_rows)]
        unfit, problem = 0, ""
        while parts:
            part = parts.pop(0)
            try:
                self._spool.put(TickBatch(table, _columns(table, part)))
                self._disk_error = None
            except OSError as error:
                self._dropped += len(part)
                self._disk_error = f"cannot write to the spool: {error}"
            except Exception as error:
                # A row that does not fit its columns: it is left out, and no other with it.
                if len(part) > 1:
                    half = len(part) // 2
                    parts[:0] = [part[:half], part[half:]]
                else:
                    self._dropped += 1
                    unfit += 1
                    problem = problem or f"{type(error).__name__}: {error}"[:200]
        if unfit:
            _log.error("%d rows of %s cannot be stored, the first: %s", unfit, table, problem)

    async def _keep_sending(self) -> None:
        first, longest = self._limits.retry_s
        wait = first
        while True:
            await self._send_now.wait()
            self._send_now.clear()
            while await asyncio.get_running_loop().run_in_executor(self._threads, self._send_oldest):
                wait = first
            if self._store_error is not None:
                await asyncio.sleep(wait)
                wait = min(2 * wait, longest)
                self._send_now.set()
            elif self._all_spooled and not self._spool.rows:
                return

    def _send_oldest(self) -> bool:
        """Whether a batch was stored."""
        try:
            found = self._spool.oldest()
            if found is None:
                self._store_error = None
                return False
            name, batch, seen = found
            self._store.write(batch, retry=seen)
            self._stored += self._spool.remove(name)
        except Exception as error:
            # Whatever it is, recording goes on: status says it, and it is tried again.
            self._store_error = str(error) or type(error).__name__
            return False
        self._store_error = None
        return True

    async def _keep_sampling(self) -> None:
        while True:
            await asyncio.sleep(self._limits.book_interval_s)
            for snapshot in self._snapshots():
                self.record(snapshot)

    async def _keep_pruning(self) -> None:
        days = self._limits.retention_days
        while days is not None:
            now_ns = self._clock.now_ns()
            # A store that is away: the next round does it.
            with contextlib.suppress(Unavailable):
                drop = partial(drop_old_ticks, self._store, now_ns - days * DAY_NS, now_ns)
                await asyncio.get_running_loop().run_in_executor(self._threads, drop)
            await asyncio.sleep(self._limits.retention_every_s)


def _columns(table: str, rows: list[Row]) -> dict[str, Column]:
    transposed = zip(TABLES[table].items(), zip(*rows, strict=True), strict=True)
    columns: dict[str, Column] = {}
    for (name, kind), values in transposed:
        columns[name] = np.array(values, dtype=np.int64) if kind == INTEGER else list(values)
    return columns
