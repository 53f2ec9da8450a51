"""The stream of commands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from server.base.errors import ResourceExhausted, ShuttingDown, TradewindError
from server.engine.order_entry import OrderEntry
from server.engine.sessions import Session
from server.rpc.order_lane import StreamBatch
from server.rpc.streams import MESSAGE_BYTES, RECONNECT
from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb

MAX_WAITING_BATCHES = 16
"""Batches of one stream that wait for the journal; the next is read when the first of them is answered."""


class _Answer:
    """To one message of the stream: a batch that is on its way, or that the engine had no room for."""

    def __init__(self, batch: StreamBatch, request_id: str, group_owner: int, session: Session) -> None:
        self._batch = batch
        self._refusal: TradewindError | None = None
        try:
            batch.start(request_id, group_owner, session)
        except ResourceExhausted as error:
            self._refusal = error

    @property
    def is_ready(self) -> bool:
        """Whether `response` gives it without waiting."""
        return self._refusal is not None or self._batch.is_durable

    async def response(self) -> bytes:
        return await self._batch.answer() if self._refusal is None else self._batch.refusal(self._refusal)


class OrderStream:
    """One StreamOrders call. It reads ahead, so that several batches share one sync of the journal."""

    def __init__(
        self, orders: OrderEntry, requests: AsyncIterator[StreamBatch], request_id: str, group_owner: int
    ) -> None:
        self._requests = requests
        self._request_id, self._group_owner = request_id, group_owner
        self._session = orders.open_session()
        self._room = asyncio.Semaphore(MAX_WAITING_BATCHES)
        self._answers: deque[_Answer] = deque()
        self._changed = asyncio.Event()
        """There is a new answer, or there will be no more."""
        self._ended = False
        self._failure: Exception | None = None
        self._reader = asyncio.create_task(self._read(), name="order-stream-reader")
        self._ender = asyncio.create_task(self._end(), name="order-stream-ender")

    def close(self) -> None:
        """Read nothing more, and cancel the orders that are to end with the stream."""
        self._reader.cancel()
        self._ender.cancel()
        self._session.close()

    async def responses(self) -> AsyncIterator[bytes]:
        """Serialized StreamOrdersResponses. Raises what a malformed message, or a token that may not use an account,
        is refused with.

        Each has all answers that are ready when it is written: a message costs far more than an answer in it.
        """
        while await self._has_answer():
            parts = [await self._answers.popleft().response()]
            size = len(parts[0])
            while self._answers and self._answers[0].is_ready and size < MESSAGE_BYTES:
                parts.append(await self._answers.popleft().response())
                size += len(parts[-1])
            yield b"".join(parts)
            for _ in parts:
                self._room.release()
        if self._failure is not None:
            raise self._failure
        if self._session.ending.is_set():
            notice = common_pb2.StreamNotice(code=common_pb2.StreamNotice.CODE_GOING_AWAY, message=RECONNECT)
            yield pb.StreamOrdersResponse(notice=notice).SerializeToString()
            raise ShuttingDown(RECONNECT)

    async def _has_answer(self) -> bool:
        """Wait for one, ready or not; False if there will be no more."""
        while not self._answers and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        return bool(self._answers)

    async def _read(self) -> None:
        try:
            async for batch in self._requests:
                await self._room.acquire()
                self._answers.append(_Answer(batch, self._request_id, self._group_owner, self._session))
                self._changed.set()
        except asyncio.CancelledError:
            pass  # the server is about to stop, or nobody listens any more: what was taken is still answered
        except Exception as error:
            self._failure = error
        self._ended = True
        self._changed.set()

    async def _end(self) -> None:
        await self._session.ending.wait()
        self._reader.cancel()
