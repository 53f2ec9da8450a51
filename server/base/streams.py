"""The base of all streams: messages, resume position, heartbeats, waiting."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, NamedTuple, TypeVar

from server.base.clock import Clock, Timer

E = TypeVar("E")
T = TypeVar("T")


class StreamPosition(NamedTuple):
    """The epoch and sequence of the last message received, to continue after it."""

    epoch: str
    sequence: int


class Ack(NamedTuple):
    """The subscription was accepted. `resumed`: what came after the given position follows instead of a snapshot."""

    resumed: bool


class Gap(NamedTuple):
    """Messages that cannot be delivered any more; a snapshot follows. `to_sequence` 0: unknown."""

    from_sequence: int
    to_sequence: int
    reason: str


class Heartbeat(NamedTuple):
    """The stream is alive and complete up to its sequence; there was no message for the heartbeat interval."""


class Notice(NamedTuple):
    """The stream ends because the server stops."""

    message: str


class StreamItem(NamedTuple, Generic[E]):
    """One message. `prev_sequence` is the sequence of the previous message of the same stream."""

    epoch: str
    sequence: int
    prev_sequence: int
    event: Ack | Gap | Heartbeat | Notice | E


class Stream(ABC, Generic[T]):
    """An asynchronous iterator over messages for one reader.

    A message of a stream is read when its reader is ready for it, so a slow reader costs nobody else anything. When
    nothing comes for `heartbeat_s` seconds of `clock` the reader gets a heartbeat. `end` delivers a last notice, `close`
    gives everything back; a reader that waits then gets the end of the stream.
    """

    epoch: str
    """Part of every position in this stream."""

    def __init__(self, heartbeat_s: float, clock: Clock) -> None:
        self._clock = clock
        self._heartbeat_ns = round(heartbeat_s * 1e9)
        self._heartbeat_due_ns = 0
        """When the reader, if it still waits then, gets a heartbeat."""
        self._timer: Timer | None = None
        """Set at the first wait and again when it fires: a reader waits far more often than a heartbeat is due."""
        self._items: deque[T] = deque()
        """Messages that are read but not delivered."""
        self._ending: Notice | None = None
        self._closed = False
        self._reader: asyncio.Future[bool] | None = None

    @abstractmethod
    def _read(self) -> bool:
        """Add to `_items` what comes next; False if there is nothing now. Raises SlowConsumer."""

    @abstractmethod
    def _message(self, event: Heartbeat | Notice) -> T:
        """A message that no source sent."""

    @abstractmethod
    def _release(self) -> None:
        """The stream is closed: give back what it holds."""

    def _listen(self) -> None:
        """The reader begins to wait: `_wake` must be called when there is something to read."""

    def _stop_listening(self) -> None:
        """The reader does not wait any more."""

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        """The next message; a heartbeat if there is none for a while. Raises SlowConsumer."""
        while (item := self.pending()) is None:
            if self._closed:
                raise StopAsyncIteration
            if self._ending is not None:
                notice = self._message(self._ending)
                self.close()
                return notice
            if not await self._changed():
                return self._message(Heartbeat())
        return item

    def pending(self) -> T | None:
        """The next message if there is one now. Raises SlowConsumer."""
        while not self._items:
            if self._closed or not self._read():
                return None
        return self._items.popleft()

    def end(self, notice: Notice) -> None:
        """Deliver what is there, then the notice, then end."""
        self._ending = notice
        self._wake()

    def close(self) -> None:
        """Give everything back. A reader that waits gets the end of the stream."""
        if not self._closed:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._release()
            self._wake()

    async def _changed(self) -> bool:
        """Wait for something to read; False if nothing came until a heartbeat is due."""
        self._reader = asyncio.get_running_loop().create_future()
        self._heartbeat_due_ns = self._clock.now_ns() + self._heartbeat_ns
        if self._timer is None:
            self._timer = self._clock.call_at(self._heartbeat_due_ns, self._heartbeat_timer)
        self._listen()
        try:
            return await self._reader
        finally:
            self._reader = None
            self._stop_listening()

    def _heartbeat_timer(self) -> None:
        self._timer = None
        if self._reader is None or self._closed:
            return
        if self._clock.now_ns() >= self._heartbeat_due_ns:
            self._wake(False)
        else:  # it was set for an earlier wait
            self._timer = self._clock.call_at(self._heartbeat_due_ns, self._heartbeat_timer)

    def _wake(self, changed: bool = True) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(changed)
