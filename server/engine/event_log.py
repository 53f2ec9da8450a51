"""Durable event streams: recent events in one bounded log, and readers with a cursor into it.

Nothing is copied per reader and nothing is dropped: a reader that fell behind what the log holds is ended with
SlowConsumer, and can resume, from the log or from a fresh snapshot. The log holds the engine's packed batches; a reader
takes from each batch the events of its account.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from fastpath.model.records import first_sequence, last_sequence, select
from fastpath.model.structs import EVENT_SIZE
from server.base.clock import Clock
from server.base.errors import SlowConsumer, Unavailable
from server.base.streams import Ack, Gap, Heartbeat, Notice, Stream, StreamItem, StreamPosition

E = TypeVar("E")


History = Callable[[int, tuple[int, int], int, int], Awaitable[list[bytes]]]
"""Makes events anew that are not held any more: (account, kinds, after, to) -> records with sequences in (after, to].
Raises Unavailable."""

EventSource = Callable[[int], AsyncGenerator[bytes, None]]
"""Durable events after a sequence, whole commands, in order, made again from the journal. Raises Unavailable."""


class EventLog:
    """The most recent events, bounded in bytes, and the streams waiting for more. One asyncio thread."""

    def __init__(self, epoch: str, max_bytes: int) -> None:
        self.epoch = epoch
        self.floor = 0
        """Sequence of the last event that is not held any more."""
        self.last_sequence = 0
        self.first_batch = 0
        """Number of the oldest batch held."""
        self.streams: set[EventStream[Any]] = set()
        self.history: History | None = None
        self._max_bytes = max_bytes
        self._bytes = 0
        self._batches: deque[tuple[int, bytes]] = deque()
        self._waiting: dict[int, list[EventStream[Any]]] = {}

    @property
    def end(self) -> int:
        """Number that the next batch will have."""
        return self.first_batch + len(self._batches)

    def append(self, last_sequence: int, events: bytes, accounts: Iterable[int]) -> None:
        """A batch of events up to `last_sequence`; wakes who waits for one of `accounts`."""
        number = self.end
        self._batches.append((last_sequence, events))
        self.last_sequence = last_sequence
        self._bytes += len(events)
        while self._bytes > self._max_bytes and len(self._batches) > 1:
            self.floor, oldest = self._batches.popleft()
            self.first_batch += 1
            self._bytes -= len(oldest)
        if self._waiting:
            for account in accounts:
                for stream in self._waiting.pop(account, ()):
                    stream.wake(number)

    def save(self) -> dict[str, bytes]:
        """The sections of a snapshot that hold the log."""
        sizes = array("Q", (len(events) for _, events in self._batches))
        events = b"".join(events for _, events in self._batches)
        return {"log.events": events, "log.sizes": array("Q", (self.floor, *sizes)).tobytes()}

    def load(self, sections: Mapping[str, bytes]) -> None:
        """Fill a new log with what `save` gave. Raises KeyError if a section is missing."""
        events, (floor, *sizes) = sections["log.events"], array("Q", sections["log.sizes"])
        self.floor = self.last_sequence = floor
        at = 0
        for size in sizes:
            batch = events[at : at + size]
            self.append(last_sequence(batch), batch, ())
            at += size

    def batch(self, number: int) -> tuple[int, bytes]:
        """(last sequence, events) of a batch that is held."""
        return self._batches[number - self.first_batch]

    def batch_after(self, sequence: int) -> int:
        """Number of the first batch with events after `sequence`, which must not be below the floor."""
        return self.first_batch + bisect_right(self._batches, sequence, key=lambda batch: batch[0])

    def events_after(self, sequence: int, limit: int) -> bytes:
        """The events after `sequence`, which must not be below the floor: whole batches, until there are `limit`."""
        chosen: list[bytes] = []
        room = limit * EVENT_SIZE
        for number in range(self.batch_after(sequence), self.end):
            _, events = self.batch(number)
            if not chosen:
                first = first_sequence(events)
                events = events[max(0, sequence + 1 - first) * EVENT_SIZE :]
            elif len(events) > room:
                break
            chosen.append(events)
            room -= len(events)
        return b"".join(chosen)

    def wait(self, account: int, stream: EventStream[Any]) -> None:
        self._waiting.setdefault(account, []).append(stream)

    def forget(self, account: int, stream: EventStream[Any]) -> None:
        """`stream` does not wait any more."""
        waiting = self._waiting.get(account)
        if waiting is not None and stream in waiting:
            waiting.remove(stream)
            if not waiting:
                del self._waiting[account]

    def close(self, message: str) -> None:
        """End every stream, after what it still has to deliver, with a notice."""
        for stream in list(self.streams):
            stream.end(Notice(message))


async def durable_events(log: EventLog, past: EventSource, after: int, limit: int) -> AsyncGenerator[bytes, None]:
    """All events after a sequence, in order, until there are no newer ones: whole commands, about `limit` at a time.

    What the log does not hold any more comes from `past`. Raises Unavailable if that cannot be had.
    """
    while after < log.last_sequence:
        if after >= log.floor:
            events = log.events_after(after, limit)
            after = last_sequence(events)
            yield events
            continue
        floor = log.floor
        async with contextlib.aclosing(past(after)) as made:
            async for events in made:
                after = last_sequence(events)
                yield events
                if after >= log.floor:
                    break
        if after < floor:
            raise Unavailable(f"the journal holds no events between {after} and {floor}")


class EventStream(Stream[StreamItem[E]]):
    """The events of one account that are of certain kinds, for one reader.

    First an Ack, then a snapshot (resumed: what was missed), then every change. Ends after a Notice, or with
    SlowConsumer when the reader is further behind than the log reaches.
    """

    def __init__(
        self,
        log: EventLog,
        account: int,
        kinds: tuple[int, int],
        *,
        decode: Callable[[bytes], E],
        snapshot: Callable[[], list[E]],
        resume_from: StreamPosition | None,
        heartbeat_s: float,
        clock: Clock,
    ) -> None:
        """`kinds` are the first and last EventKind; `snapshot` makes the messages of a snapshot, at least one."""
        super().__init__(heartbeat_s, clock)
        self.epoch = log.epoch
        self._log = log
        self._account = account
        self._kinds = kinds
        self._decode = decode
        self._sequence = 0
        """Of the last message put into `_items`."""
        self._batch = log.end
        """The next batch to read."""
        self._after = log.last_sequence
        """Events up to here are read already."""
        self._snapshot = snapshot
        self._missed_from: int | None = None
        """Sequence after which events must be made anew before anything else is delivered."""
        self._begin(resume_from)
        log.streams.add(self)

    def _begin(self, resume_from: StreamPosition | None) -> None:
        log = self._log
        if resume_from is None:
            self._put(log.last_sequence, Ack(resumed=False))
            self._put_snapshot()
        elif resume_from.epoch != log.epoch or resume_from.sequence > log.last_sequence:
            self._resync(Gap(resume_from.sequence + 1, 0, "the position belongs to another journal"))
        elif resume_from.sequence >= log.floor:
            self._after = resume_from.sequence
            self._batch = log.batch_after(resume_from.sequence)
            self._resumed(resume_from.sequence)
        elif log.history is not None:
            self._missed_from = resume_from.sequence
        else:
            self._resync(Gap(resume_from.sequence + 1, log.last_sequence, "older than what is held"))

    def _resumed(self, sequence: int) -> None:
        self._sequence = sequence
        self._put(sequence, Ack(resumed=True))

    def _resync(self, gap: Gap) -> None:
        """Send a gap and a current snapshot instead of the missed events."""
        self._batch, self._after = self._log.end, self._log.last_sequence
        self._put(self._after, Ack(resumed=False))
        self._put(self._after, gap)
        self._put_snapshot()

    def _put_snapshot(self) -> None:
        for message in self._snapshot():
            self._put(self._log.last_sequence, message)

    async def _catch_up(self, history: History, missed_from: int) -> None:
        """Deliver events older than the log, recomputed from the journal, up to where this stream began."""
        try:
            missed = await history(self._account, self._kinds, missed_from, self._after)
        except Unavailable as failure:
            self._resync(Gap(missed_from + 1, self._log.last_sequence, f"cannot be made anew: {failure.message}"))
            return
        self._resumed(missed_from)
        for record in missed:
            self._put(first_sequence(record), self._decode(record))

    async def __anext__(self) -> StreamItem[E]:
        """The next message; a heartbeat if there is none for a while. Raises SlowConsumer."""
        if self._missed_from is not None and self._log.history is not None:
            missed_from, self._missed_from = self._missed_from, None
            await self._catch_up(self._log.history, missed_from)
        return await super().__anext__()

    def wake(self, batch: int) -> None:
        """`batch` is the first with something for this stream since it began to wait."""
        self._batch = batch
        self._wake()

    def _listen(self) -> None:
        self._log.wait(self._account, self)

    def _stop_listening(self) -> None:
        self._log.forget(self._account, self)

    def _release(self) -> None:
        self._log.streams.discard(self)
        self._log.forget(self._account, self)

    def _read(self) -> bool:
        """Read the next batch; False if there is none."""
        log = self._log
        if self._batch < log.first_batch:
            self.close()
            raise SlowConsumer(
                f"the stream is {log.last_sequence - self._after} events behind, more than are held; "
                f"read faster, and resume after sequence {self._sequence}"
            )
        if self._batch == log.end:
            return False
        last_sequence, events = log.batch(self._batch)
        for record in select(events, self._account, *self._kinds, after=self._after):
            self._put(first_sequence(record), self._decode(record))
        self._batch += 1
        self._after = last_sequence
        return True

    def _message(self, event: Heartbeat | Notice) -> StreamItem[E]:
        if isinstance(event, Heartbeat):
            self._batch, self._after = self._log.end, self._log.last_sequence
        self._put(self._after, event)
        return self._items.popleft()

    def _put(self, sequence: int, event: Ack | Gap | Heartbeat | Notice | E) -> None:
        self._items.append(StreamItem(self._log.epoch, sequence, self._sequence, event))
        self._sequence = sequence
