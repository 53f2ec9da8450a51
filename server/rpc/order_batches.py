"""Many orders at once: batches of commands, and the stream of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias

from google.rpc import status_pb2

from server.engine.orders import NewOrder, OrderRequest, Outcome
from server.engine.trading import Trading
from server.errors import InvalidRequest, ResourceExhausted, ShuttingDown, TradewindError
from server.rpc import convert
from server.rpc.metrics import OrderMetrics
from server.rpc.new_orders import new_order
from server.rpc.order_changes import amend_order, cancel_order
from server.rpc.status import to_status
from server.rpc.streams import RECONNECT
from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb

MAX_BATCH = 1_000
"""Commands in one message."""
MAX_WAITING_BATCHES = 16
"""Batches of one stream that wait for the journal; the next is read when the first of them is answered."""

Result: TypeAlias = "Outcome | status_pb2.Status"


def check_batch(field: str, items: Sequence[Any]) -> None:
    """Raises InvalidRequest for an empty or too large batch."""
    if not 1 <= len(items) <= MAX_BATCH:
        raise InvalidRequest.of(field, f"must be 1 to {MAX_BATCH}, not {len(items)}", reason="OUT_OF_RANGE")


class Batch:
    """Commands that are carried out in order and together. One that is malformed stays out of it, and is told why."""

    def __init__(self, trading: Trading, metrics: OrderMetrics, request_id: str) -> None:
        self._trading = trading
        self._metrics = metrics
        self._request_id = request_id
        self._requests: list[OrderRequest] = []
        self._errors: dict[int, TradewindError] = {}
        self._count = 0
        self._events: asyncio.Future[bytes] | None = None

    def add(self, check: Callable[[], OrderRequest]) -> None:
        """The next command: what `check` returns, or the error it raises."""
        try:
            self._requests.append(check())
        except TradewindError as error:
            self._errors[self._count] = error
        self._count += 1

    def start(self) -> None:
        """Hand it to the engine. Raises ResourceExhausted, Unavailable; then nothing was taken."""
        if self._requests:
            self._events = self._trading.submit(self._requests)

    async def results(self) -> list[Result]:
        """One a command, when all are durable."""
        events = await self._events if self._events is not None else b""
        outcomes = self._trading.outcomes(self._requests, events)
        for request, outcome in zip(self._requests, outcomes, strict=True):
            if isinstance(request, NewOrder) and isinstance(outcome, Outcome):
                self._metrics.decided(outcome)
        following = iter(outcomes)
        return [
            self._result(self._errors[at] if at in self._errors else next(following)) for at in range(self._count)
        ]

    def refused(self, error: TradewindError) -> list[Result]:
        """The results if the batch could not be started."""
        return [self._result(self._errors.get(at, error)) for at in range(self._count)]

    def _result(self, answer: Outcome | TradewindError) -> Result:
        return answer if isinstance(answer, Outcome) else to_status(answer, self._request_id)


class _Answer:
    """To one message of the stream: a batch that is on its way, or that the engine had no room for."""

    def __init__(self, batch_id: int, batch: Batch) -> None:
        self._batch_id = batch_id
        self._batch = batch
        self._refusal: TradewindError | None = None
        try:
            batch.start()
        except ResourceExhausted as error:
            self._refusal = error

    async def response(self) -> pb.StreamOrdersResponse:
        refusal = self._refusal
        results = await self._batch.results() if refusal is None else self._batch.refused(refusal)
        return pb.StreamOrdersResponse(batch_id=self._batch_id, results=map(_command_result, results))


class OrderStream:
    """One StreamOrders call. It reads ahead, so that several batches share one sync of the journal."""

    def __init__(
        self,
        trading: Trading,
        metrics: OrderMetrics,
        requests: AsyncIterator[pb.StreamOrdersRequest],
        request_id: str,
    ) -> None:
        self._trading = trading
        self._metrics = metrics
        self._requests = requests
        self._request_id = request_id
        self._session = trading.open_session()
        self._room = asyncio.Semaphore(MAX_WAITING_BATCHES)
        self._answers: asyncio.Queue[_Answer | Exception | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read(), name="order-stream-reader")
        self._ender = asyncio.create_task(self._end(), name="order-stream-ender")

    def close(self) -> None:
        """Read nothing more, and cancel the orders that are to end with the stream."""
        self._reader.cancel()
        self._ender.cancel()
        self._session.close()

    async def responses(self) -> AsyncIterator[pb.StreamOrdersResponse]:
        """Raises what a malformed message, or a token that may not use an account, is refused with."""
        while (answer := await self._answers.get()) is not None:
            if isinstance(answer, Exception):
                raise answer
            yield await answer.response()
            self._room.release()
        if self._session.ending.is_set():
            notice = common_pb2.StreamNotice(code=common_pb2.StreamNotice.CODE_GOING_AWAY, message=RECONNECT)
            yield pb.StreamOrdersResponse(notice=notice)
            raise ShuttingDown(RECONNECT)

    async def _read(self) -> None:
        last: Exception | None = None
        try:
            async for request in self._requests:
                await self._room.acquire()
                self._answers.put_nowait(self._begin(request))
        except asyncio.CancelledError:
            pass  # the server is about to stop, or nobody listens any more: what was taken is still answered
        except Exception as error:
            last = error
        self._answers.put_nowait(last)

    async def _end(self) -> None:
        await self._session.ending.wait()
        self._reader.cancel()

    def _begin(self, request: pb.StreamOrdersRequest) -> _Answer:
        check_batch("commands", request.commands)
        batch = Batch(self._trading, self._metrics, self._request_id)
        for command in request.commands:
            batch.add(lambda command=command: self._check(command))  # type: ignore[misc]
        return _Answer(request.batch_id, batch)

    def _check(self, command: pb.OrderCommand) -> OrderRequest:
        match command.WhichOneof("command"):
            case "place":
                return self._covered(new_order(command.place, self._trading.registry, self._session.number))
            case "cancel":
                return cancel_order(command.cancel, self._trading.registry)
            case "amend":
                return amend_order(command.amend, self._trading)
            case _:
                raise InvalidRequest.of("command", "is required: place, cancel or amend", reason="REQUIRED")

    def _covered(self, order: NewOrder) -> NewOrder:
        if order.session:
            self._session.covers(self._trading.registry.account(order.account).number)
        return order


def _command_result(result: Result) -> pb.OrderCommandResult:
    if isinstance(result, Outcome):
        return pb.OrderCommandResult(order=convert.order(result.order), replayed=result.replayed)
    return pb.OrderCommandResult(error=result)
