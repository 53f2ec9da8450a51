"""The one writer: takes commands from a bounded queue, applies them, makes them durable, and only then answers.

Group commit: whatever arrives while one sync runs is the next batch. The engine applies a batch, then the journal syncs it
on a thread of its own (not at the same time: two threads that both need the interpreter cost more than they save), and
nobody sees a result before the sync is over. While the journal cannot be written, commands are refused and the same row is
tried again: the engine has applied it, so it comes first when the journal is back.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastpath.model import codec, records
from fastpath.model.structs import COMMAND_SIZE
from server.base.clock import Clock, Timer
from server.base.errors import InvalidRequest, JournalFailed, QueueFull, ShuttingDown, TradewindError, Unavailable
from server.engine.command_sources import CommandSources
from server.engine.engine import Engine
from server.engine.journal_writer import JournalWriter
from server.records.commands import arrivals, timer
from server.storage.ports import Journal, JournalRow

R = TypeVar("R")

TIMER_INTERVAL_NS = 10_000_000
"""Expiries and timers that fall due within it are carried out together."""
ARRIVAL_INTERVAL_NS = 1_000_000
"""The same of orders that get to a mirrored venue."""

_log = logging.getLogger(__name__)


class RunnerState(enum.Enum):
    IDLE = "idle"
    RUNNING = "running"
    SUSPENDED = "suspended"
    """The journal refuses a write or does not answer; `Runner.failure` says why. Goes on by itself when it can."""
    FAILED = "failed"
    """`Runner.failure` says why. Only a new start, with a recovery, helps."""
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

    def __init__(
        self, engine: Engine, journal: Journal, clock: Clock, reached: Callable[[str], None] = lambda point: None
    ) -> None:
        """`reached` is told where a commit is: apply, applied, append, appended, commit, reply, replied."""
        self.state = RunnerState.IDLE
        self.failure: Unavailable | None = None
        self.stats = RunnerStats()
        self.sources = CommandSources()
        """What goes in front of the commands of callers."""
        self.on_failure: Callable[[Unavailable], None] | None = None
        """Called when commands are refused from now on."""
        self.on_resume: Callable[[], None] | None = None
        """Called when they are taken again."""
        self.observe_sync: Callable[[float, int], None] | None = None
        """Called with (seconds, commands) of each group commit."""
        self.clock = clock
        self._engine = engine
        self._reached = reached
        self._journal = JournalWriter(journal, engine.limits, self._suspend, reached)
        self._queue: deque[_Submission] = deque()
        self._queued = 0
        self._reads: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._alarm: Timer | None = None
        self._batch: list[_Submission] = []
        """Submissions that are being carried out."""

    @property
    def queued(self) -> int:
        """Commands that wait for their batch."""
        return self._queued

    def start(self) -> None:
        self.state = RunnerState.RUNNING
        self._task = asyncio.create_task(self._run(), name="engine-runner")

    async def stop(self) -> None:
        """Refuse new commands, carry out what is queued, close the journal."""
        if self.state in (RunnerState.RUNNING, RunnerState.SUSPENDED):
            self.state = RunnerState.STOPPED
        self._journal.stop()
        if self._alarm is not None:
            self._alarm.cancel()
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._journal.close()

    def submit(self, commands: bytes, *, urgent: bool = False) -> asyncio.Future[bytes]:
        """Commands, in order and together; the future gives their events once they are durable.

        `urgent`: before all that waits, also where there is no room for more.

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
        if self._queued + count > limits.queue_commands and not urgent:
            raise QueueFull(f"{self._queued} commands wait for the journal already; try again a little later")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        add = self._queue.appendleft if urgent else self._queue.append
        add(_Submission(commands, count, future))
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
        """A source has something due."""
        self._wake.set()

    def _check_accepting(self) -> None:
        if self.failure is not None:
            raise _copy(self.failure)
        if self.state is not RunnerState.RUNNING:
            raise ShuttingDown("the server is stopping and takes no more commands")

    async def _run(self) -> None:
        try:
            while self.state is RunnerState.RUNNING or self._queue or self._reads:
                self._set_alarm()
                await self._wake.wait()
                self._wake.clear()
                await self._step()
                if self._queue or self.state is not RunnerState.RUNNING:
                    self._wake.set()
        except Unavailable as failure:
            self._fail(failure)
        except asyncio.CancelledError:
            self._fail(Unavailable("the engine stopped: its task was canceled"))
            raise
        except Exception as error:
            self._fail(Unavailable(f"the engine stopped: internal error ({type(error).__name__})"))
            _log.exception("the engine stopped")

    async def _step(self) -> None:
        """One group commit of what is there, then the reads."""
        batch = self._batch = self._take()
        try:
            ts_ns = max(self._engine.time_ns, self.clock.now_ns())
            commands = self._commands(batch, ts_ns)
            if commands:
                await self._commit(batch, commands, ts_ns)
        except BaseException as error:
            failure = error if isinstance(error, Unavailable) else Unavailable("the engine stopped: internal error")
            self._refuse_batch(failure)
            raise
        finally:
            self._batch = []
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

    def _commands(self, batch: list[_Submission], ts_ns: int) -> bytearray:
        """The batch as one buffer, behind what is due by now and what the sources have for it."""
        exchange = self._engine.exchange
        commands = bytearray().join([submission.commands for submission in batch])
        if self.sources:
            entered = records.entered_instruments(commands) | dict.fromkeys(exchange.arriving(ts_ns), True)
            commands[:0] = self._arrivals(ts_ns)
            commands[:0] = self.sources.take(entered)
        due_ns = exchange.next_timer_ns
        if due_ns is not None and due_ns <= ts_ns:
            commands[:0] = timer()
        return commands

    def _arrivals(self, ts_ns: int) -> bytes:
        due_ns = self._engine.exchange.next_arrival_ns
        return arrivals() if due_ns is not None and due_ns <= ts_ns else b""

    def _set_alarm(self) -> None:
        """Wake up when the engine's next timer or arrival is due."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        exchange = self._engine.exchange
        timers = (exchange.next_timer_ns, TIMER_INTERVAL_NS), (exchange.next_arrival_ns, ARRIVAL_INTERVAL_NS)
        if self.state is not RunnerState.RUNNING or all(due_ns is None for due_ns, _ in timers):
            return
        now_ns = self.clock.now_ns()
        wake_ns = min(max(due_ns, now_ns + interval_ns) for due_ns, interval_ns in timers if due_ns is not None)
        self._alarm = self.clock.call_at(wake_ns, self._wake.set)

    async def _commit(self, batch: list[_Submission], commands: bytearray, ts_ns: int) -> None:
        engine = self._engine
        first_seq = engine.command_sequence + 1
        count = len(commands) // COMMAND_SIZE
        records.stamp(commands, first_seq, ts_ns)
        self._reached("apply")
        events = engine.apply(commands)
        self._reached("applied")
        row = JournalRow(first_seq, count, ts_ns, codec.encode(commands))
        self._reached("append")
        self._observe(await self._journal.write(row), count)
        if self.failure is not None:
            self._resume()
        self._reached("commit")
        engine.commit(commands, events, first_seq + count - 1, ts_ns)
        first_answered = first_seq + count - sum(submission.count for submission in batch)
        self._reached("reply")
        self._answer(batch, events, first_answered)
        self._reached("replied")

    def _suspend(self, failure: JournalFailed) -> None:
        """Refuse what waits, and what comes, until the journal can be written. Callers whose commands are being carried
        out do not wait that long either: they are refused, and do not know whether that will be."""
        if self.failure is not None and self.failure.message == failure.message:
            return
        if self.state is RunnerState.RUNNING:
            self.state = RunnerState.SUSPENDED
        self._refuse_batch(failure)
        self._refuse_all(failure)

    def _resume(self) -> None:
        self.failure = None
        if self.state is RunnerState.SUSPENDED:
            self.state = RunnerState.RUNNING
            if self.on_resume is not None:
                self.on_resume()

    def _answer(self, batch: list[_Submission], events: bytes, first_seq: int) -> None:
        seqs = list(itertools.accumulate((submission.count for submission in batch), initial=first_seq))
        offsets = records.event_offsets(events, seqs)
        for submission, start, end in zip(batch, offsets, offsets[1:], strict=False):
            if not submission.future.done():
                submission.future.set_result(events[start:end])

    def _observe(self, seconds: float, count: int) -> None:
        stats = self.stats
        stats.batches += 1
        stats.commands += count
        stats.last_sync_s = seconds
        stats.sync_s += seconds
        if self.observe_sync is not None:
            self.observe_sync(seconds, count)

    def _fail(self, failure: Unavailable) -> None:
        self.state = RunnerState.FAILED
        self._refuse_all(failure)

    def _refuse_batch(self, failure: Unavailable) -> None:
        for submission in self._batch:
            _refuse(submission.future, failure)

    def _refuse_all(self, failure: Unavailable) -> None:
        self.failure = failure
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
