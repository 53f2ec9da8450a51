"""The bus within one process: the embedded default."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from fnmatch import translate

from server.storage.bus_inbox import CAPACITY, Inbox
from server.storage.ports import MarketMessage, PrivateMessage, StreamGap

PRIVATE_CAPACITY = 10_000
"""Events held per private stream."""


class _Subscriber:
    """An inbox and what it wants; remembers the answer per topic."""

    def __init__(self, patterns: Sequence[str], capacity: int) -> None:
        self.inbox = Inbox(capacity)
        self._wanted = re.compile("|".join(map(translate, patterns)))
        self._answers: dict[str, bool] = {}

    def wants(self, topic: str) -> bool:
        answer = self._answers.get(topic)
        if answer is None:
            answer = self._answers[topic] = self._wanted.match(topic) is not None
        return answer


class _PrivateStream:
    """The newest events, and who waits for the next one."""

    def __init__(self, capacity: int) -> None:
        self.events: deque[PrivateMessage] = deque(maxlen=capacity)
        self.appended = asyncio.Event()

    def after(self, sequence: int) -> list[PrivateMessage]:
        return [event for event in self.events if event.sequence > sequence]


class MemoryBus:
    """`Bus` on one event loop."""

    def __init__(
        self, *, first_sequence: int, capacity: int = CAPACITY, private_capacity: int = PRIVATE_CAPACITY
    ) -> None:
        self._first_sequence = first_sequence
        self._capacity = capacity
        self._private_capacity = private_capacity
        self._last: dict[str, MarketMessage] = {}
        self._subscribers: set[_Subscriber] = set()
        self._streams: dict[str, _PrivateStream] = {}
        self._dropped = 0
        self._closed = False

    def publish_market(self, topic: str, payload: bytes) -> None:
        last = self._last.get(topic)
        message = MarketMessage(topic, last.sequence + 1 if last is not None else self._first_sequence, payload)
        self._last[topic] = message
        for subscriber in self._subscribers:
            if subscriber.wants(topic):
                subscriber.inbox.put(message)

    async def subscribe(self, patterns: Sequence[str]) -> AsyncGenerator[MarketMessage, None]:
        subscriber = _Subscriber(patterns, self._capacity)
        self._subscribers.add(subscriber)
        return subscriber.inbox.read(lambda: self._leave(subscriber))

    async def last(self, topic: str) -> MarketMessage | None:
        return self._last.get(topic)

    async def append_private(self, stream: str, messages: Sequence[PrivateMessage]) -> None:
        held = self._stream(stream)
        newest = held.events[-1].sequence if held.events else 0
        held.events.extend(message for message in messages if message.sequence > newest)
        held.appended.set()
        held.appended = asyncio.Event()

    async def private_sequence(self, stream: str) -> int:
        events = self._stream(stream).events
        return events[-1].sequence if events else 0

    async def read_private(self, stream: str, after_sequence: int) -> AsyncGenerator[PrivateMessage, None]:
        held = self._stream(stream)
        while not self._closed:
            appended = held.appended
            for event in held.after(after_sequence):
                if event.prev_sequence != after_sequence:
                    raise StreamGap(
                        f"{stream}: events {after_sequence + 1} to {event.prev_sequence} are not held any more"
                    )
                yield event
                after_sequence = event.sequence
            await appended.wait()

    @property
    def dropped(self) -> int:
        return self._dropped + sum(subscriber.inbox.dropped for subscriber in self._subscribers)

    async def close(self) -> None:
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.inbox.close()
        for held in self._streams.values():
            held.appended.set()

    def _stream(self, name: str) -> _PrivateStream:
        held = self._streams.get(name)
        if held is None:
            held = self._streams[name] = _PrivateStream(self._private_capacity)
        return held

    def _leave(self, subscriber: _Subscriber) -> None:
        self._dropped += subscriber.inbox.dropped
        self._subscribers.discard(subscriber)
