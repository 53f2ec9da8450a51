"""Orders in batches over one stream."""

from __future__ import annotations

from asyncio import Queue
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

import grpc

from tradewind import convert
from tradewind.errors import ShuttingDown, TradewindError, from_rpc_error, from_status
from tradewind.models import Order
from tradewind.orders import Command, for_account, wire_command
from tradewind.v1 import orders_pb2

MAX_UNANSWERED = 16
"""Batches that may be sent ahead of their results."""


class AsyncOrderStream:
    """Commands go out in batches and are carried out in order; each batch is answered when it is durable.

    `submit` sends one and waits. To go faster, `send` several and `receive` their results, in order. A stream that
    breaks is not opened again: an error is raised, and what was not answered may have happened. Open a new stream and
    send the same requests again: their client order ids see to it that none is placed twice. Orders with
    `cancel_on_disconnect` are canceled when the stream ends.
    """

    def __init__(self, open_call: Callable[[Any], Any], account: str | None) -> None:
        """`account` is used for commands that name none."""
        self._account = account
        self._batches: Queue[orders_pb2.StreamOrdersRequest | None] = Queue()
        self._unanswered: deque[int] = deque()
        self._answered: deque[orders_pb2.OrderBatchResults] = deque()
        """What came with the last response and was not received yet."""
        self._last_id = 0
        self._closed = False
        self._call = open_call(self._requests())
        self._responses = aiter(self._call)

    @property
    def unanswered(self) -> int:
        """Batches sent whose results were not received yet."""
        return len(self._unanswered)

    async def submit(self, *commands: Command) -> list[Order | TradewindError]:
        """Send a batch of 1 to 1000 commands and wait: for each the order after it, or why nothing happened."""
        if self._unanswered:
            raise RuntimeError("receive the results of the batches sent before")
        await self.send(*commands)
        return await self.receive()

    async def send(self, *commands: Command) -> None:
        """Send a batch without waiting for its results. At most 16 may be unanswered."""
        if self._closed:
            raise RuntimeError("the stream is closed")
        if len(self._unanswered) >= MAX_UNANSWERED:
            raise RuntimeError(f"{MAX_UNANSWERED} batches are unanswered: receive their results first")
        wire = [wire_command(for_account(command, self._account)) for command in commands]
        self._last_id += 1
        self._unanswered.append(self._last_id)
        await self._batches.put(orders_pb2.StreamOrdersRequest(batch_id=self._last_id, commands=wire))

    async def receive(self) -> list[Order | TradewindError]:
        """The results of the oldest batch that is unanswered, one a command."""
        if not self._unanswered:
            raise RuntimeError("no batch is unanswered: send one first")
        while not self._answered:
            self._answered.extend((await self._read()).batches)
        self._unanswered.popleft()
        return [_result(result) for result in self._answered.popleft().results]

    async def close(self) -> None:
        """End the stream. What was sent is carried out; what was not received is not waited for."""
        if not self._closed:
            self._closed = True
            await self._batches.put(None)
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _requests(self) -> AsyncIterator[orders_pb2.StreamOrdersRequest]:
        while (batch := await self._batches.get()) is not None:
            yield batch

    async def _read(self) -> orders_pb2.StreamOrdersResponse:
        try:
            response: orders_pb2.StreamOrdersResponse = await anext(self._responses)
        except StopAsyncIteration:
            await self.close()
            raise ShuttingDown("the server ended the stream", reason="SHUTTING_DOWN") from None
        except grpc.RpcError as error:
            await self.close()
            raise from_rpc_error(error) from None
        if response.HasField("notice"):
            await self.close()
            raise ShuttingDown(response.notice.message, reason="SHUTTING_DOWN")
        return response


def _result(wire: orders_pb2.OrderCommandResult) -> Order | TradewindError:
    return convert.order(wire.order, replayed=wire.replayed) if wire.HasField("order") else from_status(wire.error)
