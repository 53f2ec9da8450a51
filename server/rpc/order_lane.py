"""Messages about orders, from their bytes to the bytes of their answers.

Plain items are read and answered by compiled code, which spends no Python on an order. Every other item, and every error,
takes the path of the unary calls: decoded by protobuf, checked field by field, one at a time. Both meet in one packed
batch of commands, in the order of the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from fastpath.model.structs import COMMAND_SIZE
from fastpath.wire.directory import Directory
from fastpath.wire.order_answers import AnswerWriter
from fastpath.wire.order_requests import RequestReader, Requests, set_client_order_id, set_group_owner, set_session
from server.base.errors import InvalidRequest, TradewindError
from server.engine.order_entry import PackedOrderEntry
from server.engine.orders import NewOrder, OrderRequest
from server.engine.sessions import Session
from server.rpc import convert
from server.rpc.metrics import OrderMetrics
from server.rpc.new_orders import new_order
from server.rpc.order_changes import amend_order, cancel_order
from server.rpc.status import to_status
from tradewind.v1 import orders_pb2 as pb

MAX_BATCH = 1_000
"""Items in one message."""

Refused: TypeAlias = Callable[[int, bytes], bytes]
Decided: TypeAlias = dict[tuple[int, int], int]


class Reader(Protocol):
    """What `fastpath.wire.order_requests.RequestReader` does; the tests have a naive one."""

    def stream(self, raw: bytes) -> Requests | None: ...
    def batch(self, raw: bytes) -> Requests | None: ...
    def place(self, raw: bytes) -> Requests | None: ...
    def cancel(self, raw: bytes) -> Requests | None: ...
    def amend(self, raw: bytes) -> Requests | None: ...


class Writer(Protocol):
    """What `fastpath.wire.order_answers.AnswerWriter` does; the tests have a naive one."""

    def stream(
        self, batch_id: int, count: int, events: bytes, errors: dict[int, bytes], refused: Refused
    ) -> tuple[bytes, Decided]: ...
    def batch(self, count: int, events: bytes, errors: dict[int, bytes], refused: Refused) -> tuple[bytes, Decided]: ...
    def one(self, events: bytes) -> tuple[bytes, Decided] | None: ...


class OrderLane:
    """Makes batches of messages. One for a server."""

    def __init__(self, entry: PackedOrderEntry, metrics: OrderMetrics, reader: Reader, writer: Writer) -> None:
        self.entry = entry
        self.metrics = metrics
        self.writer = writer
        self.reader = reader

    def read_stream(self, raw: bytes) -> StreamBatch:
        """A StreamOrdersRequest. Raises DecodeError."""
        read = self.reader.stream(raw)
        if read is None:
            message = pb.StreamOrdersRequest.FromString(raw)
            return StreamBatch(self, message.batch_id, len(message.commands), dict(enumerate(message.commands)))
        others = {at: pb.OrderCommand.FromString(part) for at, part in read.others}
        return StreamBatch(self, read.batch_id, read.count, others, read)

    def read_batch(self, raw: bytes) -> OrderBatch:
        """A BatchPlaceOrdersRequest. Raises DecodeError."""
        read = self.reader.batch(raw)
        if read is None:
            message = pb.BatchPlaceOrdersRequest.FromString(raw)
            return OrderBatch(self, len(message.orders), dict(enumerate(message.orders)))
        return OrderBatch(
            self, read.count, {at: pb.PlaceOrderRequest.FromString(part) for at, part in read.others}, read
        )


def compiled_lane(entry: PackedOrderEntry, metrics: OrderMetrics) -> OrderLane:
    directory = Directory(entry.registry)

    def encode(record: bytes) -> bytes:
        return convert.order(entry.order_view(record)).SerializeToString()

    writer = AnswerWriter(directory, convert.REJECT_MESSAGES, entry.newest_order_events, entry.order_event, encode)
    return OrderLane(entry, metrics, RequestReader(directory, entry.find_order_event), writer)


class OrderBatch:
    """The orders of a BatchPlaceOrdersRequest, carried out in order and together; one that is malformed stays out."""

    field = "orders"
    """Of the message, where the items are."""

    def __init__(self, lane: OrderLane, count: int, others: dict[int, Any], read: Requests | None = None) -> None:
        """`others`: the items that `read` does not hold, by place; without it, all of them."""
        self._lane = lane
        self._count = count
        self._others = others
        self._commands = read.commands if read is not None else bytearray(count * COMMAND_SIZE)
        self._unnamed = read.unnamed if read is not None else []
        self._session_accounts = read.session_accounts if read is not None else set()
        self._accounts = read.accounts if read is not None else set()
        self._errors: dict[int, bytes] = {}
        self._events: asyncio.Future[bytes] | None = None
        self._request_id = ""
        self._group_owner = 0

    @property
    def accounts(self) -> set[str]:
        """Names of all accounts the items are about, whether there is such an account or not."""
        return self._accounts | {self._account_of(item) for item in self._others.values()}

    def start(self, request_id: str, group_owner: int, session: Session | None = None) -> None:
        """Hand it to the engine. `group_owner` says whose self-trade groups its orders name. Raises ResourceExhausted,
        Unavailable, and InvalidRequest for an empty or too large batch; then nothing was taken."""
        if not 1 <= self._count <= MAX_BATCH:
            raise InvalidRequest.of(
                self.field, f"must be 1 to {MAX_BATCH}, not {self._count}", reason="OUT_OF_RANGE"
            )
        self._request_id, self._group_owner = request_id, group_owner
        set_group_owner(self._commands, group_owner)
        if session is not None and self._session_accounts:
            set_session(self._commands, session.number)
            for account in self._session_accounts:
                session.covers(account)
        for at in sorted((*self._others, *self._unnamed)):
            if at not in self._others:
                set_client_order_id(self._commands, at, self._lane.entry.new_id())
                continue
            try:
                command = self._lane.entry.command(self._check(self._others[at], session))
                self._commands[at * COMMAND_SIZE : (at + 1) * COMMAND_SIZE] = command
            except TradewindError as error:
                self._errors[at] = self._status(error)
        if len(self._errors) < self._count:
            self._events = self._lane.entry.submit_packed(self._carried_out())

    @property
    def is_durable(self) -> bool:
        """Whether all of it is, so that `answer` need not wait."""
        events = self._events
        return events is None or (events.done() and not events.cancelled() and events.exception() is None)

    async def answer(self) -> bytes:
        """The response message, when all is durable."""
        events = await self._events if self._events is not None else b""
        answer, decided = self._write(events, self._errors, self._refused)
        self._lane.metrics.count(decided)
        return answer

    def refusal(self, error: TradewindError) -> bytes:
        """The response message if it could not be started."""
        status = self._status(error)
        answer, _ = self._write(b"", {at: self._errors.get(at, status) for at in range(self._count)}, self._refused)
        return answer

    # -- what differs between messages ----------------------------------------------------------------

    def _account_of(self, item: Any) -> str:
        account: str = item.account
        return account

    def _check(self, item: Any, session: Session | None) -> OrderRequest:
        return new_order(item, self._lane.entry.registry, self._group_owner)

    def _write(self, events: bytes, errors: dict[int, bytes], refused: Refused) -> tuple[bytes, Decided]:
        return self._lane.writer.batch(self._count, events, errors, refused)

    # -- inside ----------------------------------------------------------------------------------------

    def _carried_out(self) -> bytes:
        """The commands of all items but those that were refused already."""
        if not self._errors:
            return bytes(self._commands)
        return b"".join([self._command(at) for at in range(self._count) if at not in self._errors])

    def _command(self, at: int) -> bytes:
        return bytes(self._commands[at * COMMAND_SIZE : (at + 1) * COMMAND_SIZE])

    def _refused(self, at: int, event: bytes) -> bytes:
        return self._status(self._lane.entry.refusal(self._command(at), event))

    def _status(self, error: TradewindError) -> bytes:
        status: bytes = to_status(error, self._request_id).SerializeToString()
        return status


class StreamBatch(OrderBatch):
    """The commands of a StreamOrdersRequest."""

    field = "commands"

    def __init__(
        self, lane: OrderLane, batch_id: int, count: int, others: dict[int, Any], read: Requests | None = None
    ) -> None:
        super().__init__(lane, count, others, read)
        self._batch_id = batch_id

    def _account_of(self, item: pb.OrderCommand) -> str:
        match item.WhichOneof("command"):
            case "place":
                return item.place.account
            case "cancel":
                return item.cancel.order.account
            case "amend":
                return item.amend.order.account
        return ""

    def _check(self, item: pb.OrderCommand, session: Session | None) -> OrderRequest:
        entry = self._lane.entry
        match item.WhichOneof("command"):
            case "place":
                order = new_order(item.place, entry.registry, self._group_owner, session.number if session else 0)
                return self._covered(order, session)
            case "cancel":
                return cancel_order(item.cancel, entry.registry)
            case "amend":
                return amend_order(item.amend, entry)
        raise InvalidRequest.of("command", "is required: place, cancel or amend", reason="REQUIRED")

    def _covered(self, order: NewOrder, session: Session | None) -> NewOrder:
        if order.session and session is not None:
            session.covers(self._lane.entry.registry.account(order.account).number)
        return order

    def _write(self, events: bytes, errors: dict[int, bytes], refused: Refused) -> tuple[bytes, Decided]:
        return self._lane.writer.stream(self._batch_id, self._count, events, errors, refused)
