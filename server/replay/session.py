"""One connected WebSocket client and its bounded outbox."""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp import web


class Session:
    """Sends in order, never drops: a full outbox either holds the replay back or ends the connection.

    `limit` is in messages. What the client asked for itself (acknowledgements, snapshots) is always taken,
    because the server reads no further request of a session whose outbox is full.
    """

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.Transport | None, limit: int) -> None:
        self.topics: dict[str, str] = {}
        """Topic -> the name under which the client subscribed it."""
        self.product = ""
        """The venue's market (spot, linear, ...) this connection belongs to."""
        self.connection_id = ""
        self.combined = False
        """Binance: frames are wrapped with the name of their stream."""
        self._ws = ws
        self._transport = transport
        self._limit = limit
        self._outbox: deque[str] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._room = asyncio.Event()
        self._drained = asyncio.Event()
        self._room.set()
        self._drained.set()

    @property
    def full(self) -> bool:
        return len(self._outbox) >= self._limit

    def push(self, text: str) -> None:
        """Queue `text` to be sent; nothing when the connection has ended."""
        if self._closed:
            return
        self._outbox.append(text)
        if self._drained.is_set():
            self._drained.clear()
            self._wake.set()
        if self.full:
            self._room.clear()

    async def room(self) -> None:
        """Wait until the outbox is below its limit."""
        await self._room.wait()

    async def drained(self) -> None:
        """Wait until everything pushed so far has been given to the socket."""
        await self._drained.wait()

    async def pump(self) -> None:
        """Send what is pushed until the connection ends."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    await self._ws.send_str(self._outbox.popleft())
                    if not self._room.is_set() and len(self._outbox) <= self._limit // 2:
                        self._room.set()
                self._drained.set()
        except ConnectionError:
            pass
        finally:
            self._closed = True
            self._outbox.clear()
            self._room.set()
            self._drained.set()

    def abort(self) -> None:
        """End the connection at once, without a closing handshake."""
        if self._transport is not None:
            self._transport.abort()
