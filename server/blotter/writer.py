"""Fills the blotter: takes durable events from the engine's log and stores them in batches from a thread.

Nothing is queued here. The event log holds the newest events, the blotter stores its own cursor, and older events are
recomputed from the journal. So an absent store, a slow one, a restart and a rebuild are the same case, and an absent
store costs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from fastpath.model import records
from server.base.background import FailureListener, keep_running
from server.base.errors import TradewindError
from server.base.instruments import Registry
from server.engine.event_log import EventLog, EventSource, durable_events
from server.storage.blotter_rows import blotter_batch, defines_names, directory_rows
from server.storage.ports import BlotterMismatch, BlotterMoved, BlotterRow, BlotterStore

R = TypeVar("R")

_log = logging.getLogger(__name__)

WriteEvents = Callable[[int, bytes, dict[str, list[BlotterRow]]], None]
"""Stores durable events in a blotter: (sequence before the first, whole commands, names that are new). Blocks; raises as
`BlotterStore.write`."""


@dataclass(frozen=True, slots=True)
class BlotterWriterLimits:
    pause_s: float = 0.05
    """How long events gather for a batch."""
    batch_events: int = 20_000
    retry_s: tuple[float, float] = (0.2, 5.0)
    """Waits between attempts while the store is away: the first, doubling, at most the second."""


@dataclass(frozen=True, slots=True)
class BlotterStatus:
    cursor: int | None
    """Sequence of the last event that is stored; None until the store said it."""
    behind: int
    """Durable events that are not stored yet."""
    error: str | None
    """Why events are not stored at present; None if all is well."""


class BlotterWriter:
    """One for a blotter. Life: `start`, `stop`."""

    def __init__(
        self,
        store: BlotterStore,
        log: EventLog,
        registry: Registry,
        past: EventSource,
        limits: BlotterWriterLimits | None = None,
        on_status: Callable[[BlotterStatus], None] = lambda status: None,
        write: WriteEvents | None = None,
        on_failure: FailureListener = lambda reason: None,
    ) -> None:
        """`on_status` is called when an error appears or clears, and with the progress of a long catch-up. `write`
        fills the same blotter as `store`; without it the rows are made here. `on_failure` hears when the writer itself
        ends unexpectedly.
        """
        self._store = store
        self._event_log = log
        self._registry = registry
        self._past = past
        self._limits = limits or BlotterWriterLimits()
        self._on_status = on_status
        self._on_failure = on_failure
        self._write_events = write or (
            lambda after, events, directory: store.write(blotter_batch(after, events, directory))
        )
        self._cursor: int | None = None
        self._error: str | None = "the store was not asked yet"
        self._names_stored = False
        self._wake = asyncio.Event()
        self._stopping = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blotter")
        self._task: asyncio.Task[None] | None = None

    @property
    def status(self) -> BlotterStatus:
        return BlotterStatus(self._cursor, self._event_log.last_sequence - (self._cursor or 0), self._error)

    def start(self) -> None:
        self._task = keep_running("blotter writer", self._run, self._on_failure)

    def wake(self) -> None:
        """There are new events."""
        self._wake.set()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Store what is there, at most for `grace_s`; the rest is stored at the next start."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, grace_s)
        self._thread.shutdown(cancel_futures=True)

    async def _run(self) -> None:
        first, longest = self._limits.retry_s
        wait = first
        while True:
            try:
                await self._step()
                wait = first
            except BlotterMoved:
                self._cursor = None  # a commit in doubt arrived after all, or the blotter was made again
            except Exception as error:
                if not isinstance(error, TradewindError):
                    _log.exception("the blotter cannot be written")
                self._cursor = None
                self._tell(str(error) or type(error).__name__)
                if self._stopping:
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop_asked(), wait)
                wait = min(2 * wait, longest)
            if self._stopping and self._cursor is not None and self._cursor >= self._event_log.last_sequence:
                return

    async def _stop_asked(self) -> None:
        while not self._stopping:
            self._wake.clear()
            await self._wake.wait()

    async def _step(self) -> None:
        """Store the next batch, or all that the log does not hold any more; or wait for one."""
        log = self._event_log
        if self._cursor is None:
            self._cursor = await self._in_thread(self._store.cursor)
            self._names_stored = False
            if self._cursor > log.last_sequence:
                raise BlotterMismatch(
                    f"the blotter is at event {self._cursor}, the journal at {log.last_sequence}:"
                    " make it again with `tradewind blotter rebuild`"
                )
        if self._cursor < log.floor:
            self._tell_behind()
        events = durable_events(log, self._past, self._cursor, self._limits.batch_events)
        async with contextlib.aclosing(events) as batches:
            async for batch in batches:
                await self._write(batch)
                if self._cursor >= log.floor or self._stopping:
                    break
                self._tell_behind()
        self._tell(None)
        if self._cursor == log.last_sequence and not self._stopping:
            self._wake.clear()
            await self._wake.wait()
            await asyncio.sleep(self._limits.pause_s)

    async def _write(self, events: bytes) -> None:
        assert self._cursor is not None
        directory: dict[str, list[BlotterRow]] = {}
        if not self._names_stored or defines_names(events):
            directory = directory_rows(self._registry)
        after = self._cursor
        await self._in_thread(lambda: self._write_events(after, events, directory))
        self._cursor = records.last_sequence(events)
        self._names_stored = True

    async def _in_thread(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _tell_behind(self) -> None:
        self._tell(f"{self.status.behind} events behind: they are being made again from the journal")

    def _tell(self, error: str | None) -> None:
        if error != self._error:
            self._error = error
            self._on_status(self.status)
