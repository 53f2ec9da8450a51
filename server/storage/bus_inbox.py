"""What waits for one subscriber of a bus: bounded, the oldest message gives way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable

from server.storage.ports import MarketMessage

CAPACITY = 16_384


class Inbox:
    """Messages of one subscription, in order, each topic's sequences ascending."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._messages: deque[MarketMessage] = deque(maxlen=capacity)
        self._arrived = asyncio.Event()
        self._newest: dict[str, int] = {}
        self.closed = False
        self.dropped = 0

    def put(self, message: MarketMessage) -> None:
        """Never waits. A message that was delivered before (a bus may repeat after an error) is left out."""
        if message.sequence <= self._newest.get(message.topic, -1):
            return
        self._newest[message.topic] = message.sequence
        if len(self._messages) == self._messages.maxlen:
            self.dropped += 1
        self._messages.append(message)
        self._arrived.set()

    def close(self) -> None:
        """The reader gets what is there, then its iteration ends."""
        self.closed = True
        self._arrived.set()

    async def read(self, on_end: Callable[[], None]) -> AsyncGenerator[MarketMessage, None]:
        try:
            while True:
                while self._messages:
                    yield self._messages.popleft()
                if self.closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            on_end()
