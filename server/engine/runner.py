"""The one writer: takes commands from a bounded queue, makes them durable, applies them, and only then answers.

Group commit: whatever arrives while one sync runs is the next batch. The engine applies a batch while the journal syncs
it on a thread of its own; nobody sees a result before the sync is over. A journal that fails stops the engine.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fastpath import codec, records
from server.clock import Clock
from server.engine.commands import COMMAND_SIZE
from server.engine.engine import Engine
from server.errors import InvalidRequest, JournalFailed, QueueFull, ShuttingDown, TradewindError, Unavailable
from server.storage.ports import Journal, JournalRow

R = TypeVar("R")

_log = logging.getLogger(__name__)


class MirrorSource(Protocol):
    """Where the state of mirrored venue books comes from, as commands."""

    def take(self, instruments: Iterable[int]) -> bytes:
        """MIRROR_* commands that are due, among them what brings the mirrors of `instruments` up to date."""
        ...


class RunnerState(enum.Enum):
    IDLE = "idle"
    RUNNING = "running"
    FAILED = "failed"
    """The journal refused a write; `Runner.failure` says why. Only a new start, with a recovery, helps."""
    STOPPED = "stopped"


@dataclass(slots=True)
class RunnerStats:
    """Counters since the start."""

    batches: int = 0
    commands: int = 0
    sync_s: float = 0.0
    last_sync_s: float = 0.0


class _Submission:
    __slots__ = ("commands", "count", "future")

    def __init__(self, commands: bytes, count: int, future: asyncio.Future[bytes]) -> None:
        self.commands = commands
        self.count = count
        self.future = future


class Runner:
    """The only caller of `Engine.apply` after the recovery. Call it from the event loop's thread."""

    def __init__(self, engine: Engine, journal: Journal, clock: Clock) -> None:
        self.state = RunnerState.IDLE
        self.failure: Unavailable | None = None
        self.stats = RunnerStats()
        self.mirror: MirrorSource | None = None
        self.on_failure: Callable[[Unavailable], None] | None = None
        self.observe_sync: Callable[[float, int], None] | None = None
        """Called with (seconds, commands) of each group commit."""
        self._engine = engine
        self._journal = journal
        self._clock = clock
        self._queue: deque[_Submission] = deque()
        self._queued = 0
        self._reads: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._task: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """Commands that wait for their batch."""
        return self._queued

    def start(self) -> None:
        self.state = RunnerState.RUNNING
        self._task = asyncio.create_task(self._run(), name="engine-runner")

    async def stop(self) -> None:
        """Refuse new commands, carry out what is queued, close the journal."""
        if self.state is RunnerState.RUNNING:
            self.state = RunnerState.STOPPED
        self._wake.set()
        if self._task is not None:
            await self._task
        await asyncio.get_running_loop().run_in_executor(self._thread, self._journal.close)
        self._thread.shutdown()

    def submit(self, commands: bytes) -> asyncio.Future[bytes]:
        """Commands, in order and together; their events once they are durable.

        Raises InvalidRequest (none, or too many for a group), QueueFull, ShuttingDown, or the failure that stopped the
        engine. The future may raise that failure, too: then whether the commands are in the journal is known after the
        next start only.
        """
        count = len(commands) // COMMAND_SIZE
        self._check_accepting()
        limits = self._engine.limits
        if len(commands) % COMMAND_SIZE:
            raise ValueError(f"{len(commands)} bytes are no whole number of commands")
        if not 0 < count <= limits.batch_commands:
            raise InvalidRequest.of("commands", f"there must be 1 to {limits.batch_commands} of them, not {count}")
        if self._queued + count > limits.queue_commands:
            raise QueueFull(f"{self._queued} commands wait for the journal already; try again a little later")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._queue.append(_Submission(commands, count, future))
        self._queued += count
        self._wake.set()
        return future

    def read(self, query: Callable[[], R]) -> asyncio.Future[R]:
        """The result of `query`, run when the engine's state is exactly what is durable. It must be quick."""
        self._check_accepting()
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._reads.append((query, future))
        self._wake.set()
        return future

    def wake(self) -> None:
        """The mirror source has something due."""
        self._wake.set()

    def _check_accepting(self) -> None:
        if self.failure is not None:
            raise _copy(self.failure)
        if self.state is not RunnerState.RUNNING:
            raise ShuttingDown("the server is stopping and takes no more commands")

    async def _run(self) -> None:
        try:
            while self.state is RunnerState.RUNNING or self._queue or self._reads:
                await self._wake.wait()
                self._wake.clear()
                await self._step()
                if self._queue or self.state is not RunnerState.RUNNING:
                    self._wake.set()
        except Unavailable as failure:
            self._fail(failure)
        except Exception as error:
            _log.exception("the engine stopped")
            self._fail(Unavailable(f"the engine stopped: internal error ({type(error).__name__})"))

    async def _step(self) -> None:
        """One group commit of what is there, then the reads."""
        batch = self._take()
        try:
            commands = self._commands(batch)
            if commands:
                await self._commit(batch, commands)
        except BaseException as error:
            failure = error if isinstance(error, Unavailable) else Unavailable("the engine stopped: internal error")
            for submission in batch:
                _refuse(submission.future, failure)
            raise
        reads, self._reads = self._reads, []
        for query, future in reads:
            if future.done():
                continue
            try:
                future.set_result(query())
            except TradewindError as error:
                future.set_exception(error)

    def _take(self) -> list[_Submission]:
        batch: list[_Submission] = []
        room = self._engine.limits.batch_commands
        while self._queue and self._queue[0].count <= room:
            submission = self._queue.popleft()
            room -= submission.count
            self._queued -= submission.count
            batch.append(submission)
        return batch

    def _commands(self, batch: list[_Submission]) -> bytearray:
        """The batch as one buffer, behind the mirror commands it needs."""
        commands = bytearray(b"".join([submission.commands for submission in batch]))
        if self.mirror is not None:
            commands[:0] = self.mirror.take(records.placed_instruments(commands))
        return commands

    async def _commit(self, batch: list[_Submission], unstamped: bytearray) -> None:
        engine, loop = self._engine, asyncio.get_running_loop()
        first_seq = engine.command_sequence + 1
        count = len(unstamped) // COMMAND_SIZE
        ts_ns = max(engine.time_ns, self._clock.now_ns())
        records.stamp(unstamped, first_seq, ts_ns)
        commands = bytes(unstamped)
        sync = loop.run_in_executor(self._thread, self._store, first_seq, count, ts_ns, commands)
        try:
            events = engine.apply(commands)
        finally:
            seconds = await sync
        self._observe(seconds, count)
        engine.commit(commands, events, first_seq + count - 1, ts_ns)
        first_answered = first_seq + count - sum(submission.count for submission in batch)
        self._answer(batch, events, first_answered)

    def _answer(self, batch: list[_Submission], events: bytes, first_seq: int) -> None:
        seqs = list(itertools.accumulate((submission.count for submission in batch), initial=first_seq))
        offsets = records.event_offsets(events, seqs)
        for submission, start, end in zip(batch, offsets, offsets[1:], strict=False):
            if not submission.future.done():
                submission.future.set_result(events[start:end])

    def _store(self, first_seq: int, count: int, ts_ns: int, commands: bytes) -> float:
        """On the journal's thread: make the batch durable. Returns the seconds it took."""
        start = time.monotonic()
        try:
            self._journal.append(JournalRow(first_seq, count, ts_ns, codec.encode(commands)))
        except JournalFailed:
            raise
        except Exception as error:
            raise JournalFailed(f"the journal failed: {error}") from error
        return time.monotonic() - start

    def _observe(self, seconds: float, count: int) -> None:
        stats = self.stats
        stats.batches += 1
        stats.commands += count
        stats.last_sync_s = seconds
        stats.sync_s += seconds
        if self.observe_sync is not None:
            self.observe_sync(seconds, count)

    def _fail(self, failure: Unavailable) -> None:
        self.failure = failure
        self.state = RunnerState.FAILED
        for submission in self._queue:
            _refuse(submission.future, failure)
        for _, future in self._reads:
            _refuse(future, failure)
        self._queue.clear()
        self._reads.clear()
        self._queued = 0
        if self.on_failure is not None:
            self.on_failure(failure)


def _refuse(future: asyncio.Future[Any], failure: Unavailable) -> None:
    if not future.done():
        future.set_exception(_copy(failure))


def _copy(failure: Unavailable) -> Unavailable:
    """One of its own for every raise: a shared exception would gather the tracebacks of all."""
    return type(failure)(failure.message, metadata=failure.metadata)
