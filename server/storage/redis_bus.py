"""The bus over Redis: several server processes share market data and private events.

Market data is published in pipelines: PUBLISH for subscribers, SET for the last message of a topic. A pipeline that
fails is sent again, and readers leave out what they have seen. Private events are a Redis stream per stream, entry ids
are our sequences, and each entry names the one before it, so that a reader notices whatever Redis lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from server.base.background import FailureListener, keep_running
from server.base.errors import ConfigError, Unavailable
from server.storage.bus_inbox import CAPACITY, Inbox
from server.storage.ports import MarketMessage, PrivateMessage, StreamGap

PIPELINE = 512
"""Messages sent at a time."""
OUTBOX = 65_536
"""Market messages held while Redis is away."""
PRIVATE_CAPACITY = 10_000
"""Events held per private stream, about."""
LAST_TTL_S = 86_400
"""How long the last message of a topic nobody publishes any more is remembered."""
BLOCK_MS = 1_000
TIMEOUT_S = 5.0
RETRY_S = 0.2
CONNECTIONS = 256
KEEPALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}
"""A subscriber waits without a time limit: this is how it notices a server that vanished without a word."""

_log = logging.getLogger(__name__)

_SEQUENCE = struct.Struct("<q")


class RedisBus:
    """`Bus` over a Redis server, version 5 or newer."""

    def __init__(
        self,
        url: str,
        *,
        first_sequence: int,
        prefix: str = "tradewind",
        private_capacity: int = PRIVATE_CAPACITY,
        on_failure: FailureListener = lambda reason: None,
    ) -> None:
        """Connects when it is used; needs a running event loop. `on_failure` hears when sending ends unexpectedly. Raises
        ConfigError."""
        try:
            self._redis: Any = Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                max_connections=CONNECTIONS,
                socket_keepalive=True,
                socket_keepalive_options=KEEPALIVE,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise ConfigError(f"bus URL: {error}") from error
        self._prefix = prefix
        self._first_sequence = first_sequence
        self._private_capacity = private_capacity
        self._sequences: dict[str, int] = {}
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._filled = asyncio.Event()
        self._dropped = 0
        self._inboxes: dict[Inbox, asyncio.Task[None]] = {}
        self._publishing = keep_running("sending to Redis", self._keep_publishing, on_failure)
        self._closed = False

    # -- market data ---------------------------------------------------------------------------------------

    def publish_market(self, topic: str, payload: bytes) -> None:
        sequence = self._sequences.get(topic, self._first_sequence - 1) + 1
        self._sequences[topic] = sequence
        if len(self._outbox) == OUTBOX:
            self._outbox.popleft()
            self._dropped += 1
        self._outbox.append((topic, _SEQUENCE.pack(sequence) + payload))
        self._filled.set()

    async def subscribe(self, patterns: Sequence[str]) -> AsyncGenerator[MarketMessage, None]:
        inbox = Inbox(CAPACITY)
        channels = [f"{self._prefix}:market:{pattern}" for pattern in patterns]
        listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._keep_receiving(inbox, channels, listening))
        self._inboxes[inbox] = task
        task.add_done_callback(lambda _: self._inboxes.pop(inbox, None))
        try:
            await listening
        except asyncio.CancelledError:
            inbox.close()  # the task finishes connecting, sees it, and ends
            raise
        return inbox.read(lambda: self._leave(inbox))

    async def last(self, topic: str) -> MarketMessage | None:
        try:
            data = await self._redis.get(f"{self._prefix}:last:{topic}")
        except (RedisError, OSError) as error:
            raise _away(error) from error
        return _message(topic, data) if isinstance(data, bytes) else None

    # -- private events ------------------------------------------------------------------------------------

    async def append_private(self, stream: str, messages: Sequence[PrivateMessage]) -> None:
        key = self._private_key(stream)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for message in messages:
                    entry: dict[Any, Any] = {"prev": message.prev_sequence, "data": message.payload}
                    pipeline.xadd(
                        key, entry, id=f"{message.sequence}-0", maxlen=self._private_capacity, approximate=True
                    )
                answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise _away(error) from error
        for answer in answers:
            if isinstance(answer, ResponseError) and "equal or smaller" in str(answer):
                continue
            if isinstance(answer, Exception):
                raise _away(answer)

    async def private_sequence(self, stream: str) -> int:
        try:
            newest = await self._redis.xrevrange(self._private_key(stream), count=1)
        except (RedisError, OSError) as error:
            raise _away(error) from error
        return _sequence_of(newest[0][0]) if newest else 0

    async def read_private(self, stream: str, after_sequence: int) -> AsyncGenerator[PrivateMessage, None]:
        key = self._private_key(stream)
        while not self._closed:
            try:
                found = await self._redis.xread({key: f"{after_sequence}-0"}, count=PIPELINE, block=BLOCK_MS)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_S)
                continue
            for entry_id, entry in _entries(found):
                event = PrivateMessage(_sequence_of(entry_id), int(entry[b"prev"]), entry[b"data"])
                if event.prev_sequence != after_sequence:
                    raise StreamGap(
                        f"{stream}: events {after_sequence + 1} to {event.prev_sequence} are not held any more"
                    )
                yield event
                after_sequence = event.sequence

    @property
    def dropped(self) -> int:
        return self._dropped + sum(inbox.dropped for inbox in self._inboxes)

    async def close(self) -> None:
        self._closed = True
        for inbox in self._inboxes:
            inbox.close()
        await asyncio.gather(*map(_end, (self._publishing, *self._inboxes.values())))
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    # -- inside --------------------------------------------------------------------------------------------

    async def _keep_publishing(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox:
                batch = [self._outbox.popleft() for _ in range(min(PIPELINE, len(self._outbox)))]
                await self._publish(batch)

    async def _publish(self, batch: list[tuple[str, bytes]]) -> None:
        """Returns when Redis took the batch."""
        while True:
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for topic, data in batch:
                        pipeline.publish(f"{self._prefix}:market:{topic}", data)
                    for topic, data in dict(batch).items():
                        pipeline.set(f"{self._prefix}:last:{topic}", data, ex=LAST_TTL_S)
                    await pipeline.execute()
                return
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_S)

    async def _listen(self, channels: list[str]) -> Any:
        """A connection that is subscribed; the last answer to PSUBSCRIBE has come. Raises RedisError, OSError."""
        pubsub = self._redis.pubsub()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await pubsub.psubscribe(*channels)
                for _ in channels:
                    await pubsub.parse_response(block=True)
        except BaseException:
            await pubsub.aclose()
            raise
        return pubsub

    async def _keep_receiving(self, inbox: Inbox, channels: list[str], listening: asyncio.Future[None]) -> None:
        """Fill the inbox until it is closed. `listening` gets what became of the first attempt to subscribe."""
        skip = len(f"{self._prefix}:market:")
        pubsub: Any = None
        try:
            while not inbox.closed:
                try:
                    if pubsub is None:
                        pubsub = await self._listen(channels)
                        if not listening.done():
                            listening.set_result(None)
                        continue
                    # Silence is normal: wait without the socket's timeout; a lost connection ends the wait.
                    response = await pubsub.parse_response(block=True)
                    if response is not None and response[0] == b"pmessage":
                        inbox.put(_message(response[2][skip:].decode(), response[3]))
                except Exception as error:  # also of a message that is none of ours
                    if not isinstance(error, (RedisError, OSError)):
                        _log.exception("a message on the bus cannot be read; connecting anew")
                    if not listening.done():
                        listening.set_exception(_away(error))
                        return
                    if pubsub is not None:
                        await pubsub.aclose()
                        pubsub = None
                    await asyncio.sleep(RETRY_S)
        finally:
            if not listening.done():
                listening.set_exception(Unavailable("the bus is closed"))
            if pubsub is not None:
                await pubsub.aclose()

    def _leave(self, inbox: Inbox) -> None:
        task = self._inboxes.get(inbox)
        if task is not None:
            self._dropped, inbox.dropped = self._dropped + inbox.dropped, 0
            inbox.close()
            task.cancel()

    def _private_key(self, stream: str) -> str:
        return f"{self._prefix}:private:{stream}"


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel, and again: redis-py swallows a cancellation that comes while it connects."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=RETRY_S)


def _message(topic: str, data: bytes) -> MarketMessage:
    return MarketMessage(topic, _SEQUENCE.unpack_from(data)[0], data[_SEQUENCE.size :])


def _entries(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of the one stream that was asked for; the answer's form depends on the protocol's version."""
    if not found:
        return []
    if isinstance(found, dict):
        (batches,) = found.values()
        return [entry for batch in batches for entry in batch]
    return list(found[0][1])


def _sequence_of(entry_id: Any) -> int:
    return int(entry_id.split(b"-")[0])


def _away(error: Exception) -> Unavailable:
    return Unavailable(f"bus Redis: {error or type(error).__name__}")
