"""Makes rows durable, on a thread of its own, however long the journal takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from server.base.errors import JournalFailed
from server.engine.limits import EngineLimits
from server.storage.ports import Journal, JournalRow


class JournalWriter:
    """One row at a time. Life: `write` as often as needed, `stop`, `close`. One asyncio thread.

    How long a disk or a database may take is counted in real time, not by the engine's clock.
    """

    def __init__(
        self,
        journal: Journal,
        limits: EngineLimits,
        on_failure: Callable[[JournalFailed], None],
        reached: Callable[[str], None],
    ) -> None:
        """`on_failure` hears why a row is not durable yet: an attempt failed, or the journal does not answer. `reached` is
        told "appended", on the journal's thread."""
        self._journal = journal
        self._limits = limits
        self._on_failure = on_failure
        self._reached = reached
        self._stopping = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

    async def write(self, row: JournalRow) -> float:
        """Wait until the row is durable: the same row is tried again until it is. Returns the seconds of the last attempt.

        Raises JournalFailed only after `stop`.
        """
        sync = self._append(row)
        failing = False
        while True:
            done, _ = await asyncio.wait({sync}, timeout=None if failing else self._limits.journal_stall_s)
            if not done:
                stalled = f"the journal has not answered for {self._limits.journal_stall_s:g} s; its disk or database hangs"
                self._on_failure(JournalFailed(stalled))
                failing = True
                continue
            try:
                return sync.result()
            except JournalFailed as failure:
                if self._stopping.is_set():
                    raise
                self._on_failure(failure)
                failing = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._limits.journal_retry_s)
            sync = self._append(row)

    def stop(self) -> None:
        """Give up after the next attempt that fails."""
        self._stopping.set()

    async def close(self) -> None:
        """Close the journal, behind what is being written."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._journal.close)
        self._thread.shutdown()

    def _append(self, row: JournalRow) -> asyncio.Future[float]:
        return asyncio.get_running_loop().run_in_executor(self._thread, self._store, row)

    def _store(self, row: JournalRow) -> float:
        """On the journal's thread."""
        start = time.monotonic()
        try:
            self._journal.append(row)
        except JournalFailed:
            raise
        except Exception as error:
            raise JournalFailed(f"the journal failed: {error}") from error
        self._reached("appended")
        return time.monotonic() - start
