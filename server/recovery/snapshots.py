"""When snapshots are made: every so many commands, every so often, and at a graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import NamedTuple

import structlog

from server.base.background import keep_running
from server.base.errors import TradewindError
from server.engine.engine import Engine
from server.engine.runner import Runner, RunnerState
from server.process.lifecycle import ServiceState, StatusBoard
from server.process.settings import SnapshotSettings
from server.recovery.replica import Replica, write_snapshot
from server.storage.snapshot_files import SnapshotFiles
from server.storage.urls import open_journal_reader

SERVICE = "snapshots"
_POLL_S = 0.5
_RETRY_S = 30.0

log = structlog.get_logger("snapshots")


class NewestSnapshot(NamedTuple):
    """The newest snapshot there is."""

    sequence: int
    """Of its last command; 0: there is none."""
    state_hash: int


class Snapshots:
    """Schedules snapshots. They only speed up a start: a failure is reported and trading goes on."""

    def __init__(
        self, engine: Engine, runner: Runner, replica: Replica, settings: SnapshotSettings, board: StatusBoard,
        newest: NewestSnapshot,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._runner = runner
        self._replica = replica
        self._settings = settings
        self._board = board
        self.newest = newest
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._board.set(SERVICE, ServiceState.SERVING, f"newest at command {self.newest.sequence}")
        self._task = keep_running("snapshots", self._run, self._board.failure_listener(SERVICE))

    async def stop(self) -> None:
        """Make no more of them in the background. Call before the runner stops."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def write_last(self) -> None:
        """At a graceful stop, when the runner has stopped and the journal is closed: the engine as it stands."""
        if self._runner.state is not RunnerState.STOPPED or self._engine.command_sequence <= self.newest.sequence:
            return
        files = SnapshotFiles(self._replica.directory, keep=self._replica.keep)
        try:
            journal = open_journal_reader(self._replica.journal_url)
            try:
                write_snapshot(self._engine, journal, files)
            finally:
                journal.close()
        except (TradewindError, OSError) as error:
            log.warning("no snapshot at the stop; the next start takes longer", error=str(error))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        made = loop.time()
        while True:
            await asyncio.sleep(_POLL_S)
            new = self._engine.command_sequence - self.newest.sequence
            old = loop.time() - made > 60 * self._settings.every_minutes
            if new < self._settings.every_commands and not (old and new):
                continue
            made = loop.time()
            try:
                done = await self._replica.snapshot()
            except TradewindError as error:
                log.warning("no snapshot could be made", error=error.message)
                self._board.set(SERVICE, ServiceState.DEGRADED, error.message)
                await asyncio.sleep(_RETRY_S)
                continue
            self.newest = NewestSnapshot(done.sequence, done.state_hash)
            detail = f"newest at command {done.sequence}, {done.size >> 10} KiB, made in {done.seconds:.1f} s"
            self._board.set(SERVICE, ServiceState.SERVING, detail)
