"""Streams as iterators that reconnect, resume and check completeness by themselves."""

from __future__ import annotations

import random
import time
from asyncio import sleep
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc

from tradewind.errors import (
    Cancelled,
    DeadlineExceeded,
    QuotaExceeded,
    ShuttingDown,
    SlowConsumer,
    TradewindError,
    Unavailable,
    from_rpc_error,
    is_unreachable,
)
from tradewind.models import Order, OrderUpdate
from tradewind.streams import Feed, MessageLost, OrdersFeed, is_only_acks

T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Between attempts, twice as long after each that failed."""
LONGEST_PAUSE_WITHOUT_SERVER_S = 0.4
"""Where nobody answers, or the server stops, there is nobody to spare, and the stream is to stand soon after it does."""
DEFAULT_OUTAGE_S = 60.0

_RECONNECT_AFTER = (Unavailable, SlowConsumer, QuotaExceeded, MessageLost, DeadlineExceeded, Cancelled)
"""What another attempt may mend. QuotaExceeded: the server may still count the stream that broke. Cancelled: not by us."""


class AsyncWatch(Generic[T]):
    """Iterate over it to follow what it watches. Nothing is read ahead: the server waits, or merges, for a slow reader.

    When the connection breaks, it is opened again and continues where it was. Once nothing was received for
    `max_outage_s` in spite of that, the last error is raised. A first connection that fails is an error at once. Use
    `async with` to be subscribed before the block begins and to end the stream after it.
    """

    def __init__(
        self, open_call: Callable[[Any], Any], feed: Feed[Any, Any, T], max_outage_s: float = DEFAULT_OUTAGE_S
    ) -> None:
        self.reconnects = 0
        """How often the connection was opened again."""
        self._open_call = open_call
        self._feed = feed
        self._max_outage_s = max_outage_s
        self._items: deque[T] = deque()
        self._call: Any = None
        self._messages: AsyncIterator[Any] | None = None
        self._connected_before = False
        self._failures = 0
        self._opened_at = 0.0
        self._down_since: float | None = None
        """Since when nothing was received; None while the stream stands."""
        self._closed = False

    @property
    def gaps(self) -> int:
        """How often the server could not deliver something and sent a fresh snapshot instead."""
        return self._feed.gaps

    def close(self) -> None:
        """End the stream; an iteration over it ends too. Safe to call twice."""
        self._closed = True
        self._cancel_call()

    async def raw(self) -> AsyncIterator[Any]:
        """The wire messages (SubscribeMarketDataResponse, ...) instead of values: checked, and over reconnects."""
        while not self._closed:
            message = await self._read()
            self._items.clear()
            if message is not None:
                yield message

    def __aiter__(self) -> AsyncWatch[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            await self._read()
        return self._items.popleft()

    async def __aenter__(self) -> AsyncWatch[T]:
        await self._read()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _read(self) -> Any:
        """Take in the next message; None if the stream broke and is to be opened again, or was closed."""
        try:
            if self._messages is None:
                self._opened_at = time.monotonic()
                self._call = self._open_call(self._feed.request())
                self._messages = aiter(self._call)
            message = await anext(self._messages)
            self._connected_before = True
            self._down_since = None
            self._items.extend(self._feed.accept(message))
        except StopAsyncIteration:
            await self._reconnect(ShuttingDown("the server ended the stream", reason="SHUTTING_DOWN"))
        except MessageLost as error:
            await self._reconnect(error)
        except grpc.RpcError as error:
            await self._reconnect(from_rpc_error(error))
        except BaseException:  # a reader that was cancelled, perhaps by a timeout, or is interrupted
            self._cancel_call()  # the next read, if there is one, resumes
            if not self._closed:  # closing while another task reads ends that read; the reader sees the end, not this
                raise
        else:
            if not is_only_acks(message):
                self._failures = 0
            return message
        return None

    async def _reconnect(self, error: TradewindError) -> None:
        """Wait before the next attempt. Raises the error when there is to be none."""
        self._cancel_call()
        if self._closed:
            return
        if not self._connected_before or not isinstance(error, _RECONNECT_AFTER):
            raise error
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            if now - self._opened_at > LONGEST_PAUSE_S:  # it stood, if only quietly
                self._failures = 0
        elif now - self._down_since > self._max_outage_s:
            raise error
        away = is_unreachable(error) or isinstance(error, ShuttingDown)
        longest_s = LONGEST_PAUSE_WITHOUT_SERVER_S if away else LONGEST_PAUSE_S
        pause_s = min(FIRST_PAUSE_S * 2**self._failures, longest_s)
        self._failures = min(self._failures + 1, 16)
        self.reconnects += 1
        await sleep(pause_s * random.uniform(0.5, 1.0))  # not everybody at once after a restart

    def _cancel_call(self) -> None:
        if self._call is not None:
            self._call.cancel()
        self._call = self._messages = None


class AsyncOrdersWatch(AsyncWatch[OrderUpdate]):
    """Orders of an account. An order that closed unseen, in a gap of the stream, is looked up and delivered too."""

    def __init__(
        self,
        open_call: Callable[[Any], Any],
        feed: OrdersFeed,
        max_outage_s: float,
        look_up: Callable[[Order], Awaitable[Order]],
    ) -> None:
        super().__init__(open_call, feed, max_outage_s)
        self._orders = feed
        self._look_up = look_up

    async def _read(self) -> Any:
        message = None if self._orders.unknown else await super()._read()  # those that could not be looked up come first
        while self._orders.unknown:
            try:
                order = await self._look_up(self._orders.unknown[0])
            except _RECONNECT_AFTER as error:
                await self._reconnect(error)
                break
            self._down_since = None
            self._items.append(OrderUpdate(order, is_snapshot=True))
            del self._orders.unknown[0]
        return message
