"""Orders in batches, by one call and over the stream of commands."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from server.engine.sessions import Session
from server.rpc.order_lane import StreamBatch
from server.rpc.order_stream import MAX_WAITING_BATCHES
from server.storage.ports import JournalRow
from server.storage.sqlite_journal import SqliteJournal
from tests.support.app import Running, order, running, settings
from tests.support.rpc import refused
from tests.waiting import PATIENCE_S, until
from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings(tmp_path)) as started:
        yield started


def reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def fields(status: status_pb2.Status) -> list[str]:
    bad = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(bad):
            return [violation.field for violation in bad.field_violations]
    return []


def place(**values: Any) -> pb.OrderCommand:
    return pb.OrderCommand(place=order(**values))


def ref(client_order_id: str) -> pb.OrderRef:
    return pb.OrderRef(account="demo", client_order_id=client_order_id)


def cancel(client_order_id: str) -> pb.OrderCommand:
    return pb.OrderCommand(cancel=pb.CancelOrderRequest(order=ref(client_order_id)))


def amend(client_order_id: str, **changes: str) -> pb.OrderCommand:
    return pb.OrderCommand(amend=pb.AmendOrderRequest(order=ref(client_order_id), **changes))


class Stream:
    """The client's end of one StreamOrders call."""

    def __init__(self, app: Running) -> None:
        self.call = app.orders.StreamOrders(metadata=app.admin)
        self.messages = 0
        """Responses with batches that came."""
        self._sent = 0
        self._came: deque[pb.OrderBatchResults] = deque()

    async def send(self, *commands: pb.OrderCommand) -> None:
        self._sent += 1
        await self.call.write(pb.StreamOrdersRequest(batch_id=self._sent, commands=commands))

    async def message(self) -> pb.StreamOrdersResponse:
        message = await asyncio.wait_for(self.call.read(), PATIENCE_S)
        assert message is not grpc.aio.EOF
        return message

    async def read(self) -> pb.OrderBatchResults:
        """The answer to the next batch."""
        if not self._came:
            self._came.extend((await self.message()).batches)
            self.messages += 1
        return self._came.popleft()

    async def results(self, *commands: pb.OrderCommand) -> list[pb.OrderCommandResult]:
        await self.send(*commands)
        answer = await self.read()
        assert answer.batch_id == self._sent
        return list(answer.results)


async def open_ids(app: Running) -> set[str]:
    request = pb.ListOrdersRequest(account="demo", open_only=True)
    listed = await app.orders.ListOrders(request, metadata=app.admin)
    return {each.client_order_id for each in listed.orders}


async def test_a_batch_answers_each_order_by_itself(app: Running) -> None:
    await app.orders.PlaceOrder(order(client_order_id="known"), metadata=app.admin)
    batch = pb.BatchPlaceOrdersRequest(
        orders=[
            order(client_order_id="one"),
            order(client_order_id="bad", qty="0", price="1.001"),
            order(client_order_id="known"),
            order(client_order_id="known", qty="0.2"),
            order(client_order_id="poor", qty="10000"),
            order(client_order_id="where", instrument="internal:X/Y"),
            order(client_order_id="who", account="nobody"),
            order(client_order_id="last"),
        ]
    )
    results = (await app.orders.BatchPlaceOrders(batch, metadata=app.admin)).results
    assert [result.WhichOneof("result") for result in results] == [
        "placed", "error", "placed", "error", "placed", "error", "error", "placed",
    ]  # fmt: skip
    assert results[0].placed.order.client_order_id == "one"
    assert (results[1].error.code, fields(results[1].error)) == (
        grpc.StatusCode.INVALID_ARGUMENT.value[0], ["qty", "price"],
    )  # fmt: skip
    assert results[2].placed.replayed
    assert reason(results[3].error) == "CLIENT_ORDER_ID_CONFLICT"
    assert results[4].placed.order.status == pb.ORDER_STATUS_REJECTED
    assert reason(results[5].error) == "INSTRUMENT_NOT_FOUND"
    assert reason(results[6].error) == "ACCOUNT_NOT_FOUND"
    assert await open_ids(app) == {"known", "one", "last"}
    for count in (0, 1001):
        request = pb.BatchPlaceOrdersRequest(orders=[order()] * count)
        answer = await refused(app.orders.BatchPlaceOrders(request, metadata=app.admin))
        assert answer.fields == {"orders": "OUT_OF_RANGE"}


async def test_a_token_of_one_account_places_no_batch_for_another(app: Running) -> None:
    mine = await app.token(2, accounts=("demo",))
    request = pb.BatchPlaceOrdersRequest(orders=[order(client_order_id="a"), order(account="maker")])
    answer = await refused(app.orders.BatchPlaceOrders(request, metadata=mine))
    assert answer.code is grpc.StatusCode.PERMISSION_DENIED
    assert await open_ids(app) == set()


async def test_commands_of_all_kinds_are_carried_out_in_order(app: Running) -> None:
    stream = Stream(app)
    first = await stream.results(place(client_order_id="a"), place(client_order_id="b"), cancel("a"), cancel("nobody"))
    assert [result.WhichOneof("result") for result in first] == ["order", "order", "order", "error"]
    assert first[2].order.status == pb.ORDER_STATUS_CANCELED
    assert first[3].error.code == grpc.StatusCode.NOT_FOUND.value[0]
    second = await stream.results(
        amend("b", qty="0.05"), place(client_order_id="b"), amend("a", qty="1"), pb.OrderCommand(), amend("b"),
    )  # fmt: skip
    assert second[0].order.qty == "0.05"
    assert second[1].replayed
    assert [reason(result.error) for result in second[2:]] == ["ORDER_NOT_OPEN", "REQUIRED", "REQUIRED"]
    await stream.call.done_writing()
    assert await stream.call.read() is grpc.aio.EOF
    assert await stream.call.code() is grpc.StatusCode.OK
    assert await open_ids(app) == {"b"}, "an order stays unless it asked to go with the stream"


async def test_batches_need_not_wait_for_each_other(app: Running) -> None:
    stream = Stream(app)
    for batch in range(100):
        await stream.send(*[place(client_order_id=f"{batch}-{n}", qty="0.001") for n in range(5)])
    for batch in range(100):
        answer = await stream.read()
        assert answer.batch_id == batch + 1
        assert [result.order.client_order_id for result in answer.results] == [f"{batch}-{n}" for n in range(5)]
    stream.call.cancel()


async def test_batches_that_became_durable_together_are_answered_together(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()
    append = SqliteJournal.append

    def slow(journal: SqliteJournal, row: JournalRow) -> None:
        assert disk.wait(PATIENCE_S)
        append(journal, row)

    started: list[StreamBatch] = []
    start = StreamBatch.start

    def noted(batch: StreamBatch, request_id: str, group_owner: int, session: Session) -> None:
        start(batch, request_id, group_owner, session)
        started.append(batch)

    monkeypatch.setattr(SqliteJournal, "append", slow)
    monkeypatch.setattr(StreamBatch, "start", noted)
    stream = Stream(app)
    for batch in range(MAX_WAITING_BATCHES):
        await stream.send(*[place(client_order_id=f"{batch}-{n}", qty="0.001") for n in range(5)])
    await until(lambda: len(started) == MAX_WAITING_BATCHES, "the server has all of them")
    disk.set()
    for _ in range(MAX_WAITING_BATCHES):
        await stream.read()
    assert stream.messages <= 2, "those of the first write, and those that waited for it"
    for batch in range(100, 104):
        await stream.send(*[place(client_order_id=f"{batch}-{n}", qty="0.001") for n in range(1_000)])
    stream.messages = 0
    for _ in range(4):
        await stream.read()
    assert stream.messages == 4, "what is large is not joined"
    stream.call.cancel()


async def test_orders_that_ask_for_it_end_with_the_stream(app: Running) -> None:
    stays, goes, other = Stream(app), Stream(app), Stream(app)
    await stays.results(place(client_order_id="other", cancel_on_disconnect=True))
    await other.results(place(client_order_id="stays"))
    await goes.results(
        place(client_order_id="goes", cancel_on_disconnect=True),
        place(client_order_id="also", account="maker", cancel_on_disconnect=True),
    )
    goes.call.cancel()
    other.call.cancel()

    async def have_ended() -> bool:
        return await open_ids(app) == {"other", "stays"}

    await until(have_ended, "orders end with their stream")
    found = await app.orders.GetOrder(pb.GetOrderRequest(order=ref("goes")), metadata=app.admin)
    assert found.order.cancel_reason == pb.CANCEL_REASON_DISCONNECT
    also = pb.OrderRef(account="maker", client_order_id="also")
    found = await app.orders.GetOrder(pb.GetOrderRequest(order=also), metadata=app.admin)
    assert found.order.status == pb.ORDER_STATUS_CANCELED
    stays.call.cancel()


async def test_what_a_killed_process_left_ends_with_the_next_start(tmp_path: Path) -> None:
    async with running(settings(tmp_path / "first")) as app:
        stream = Stream(app)
        await stream.results(place(client_order_id="goes", cancel_on_disconnect=True), place(client_order_id="stays"))
        shutil.copytree(tmp_path / "first", tmp_path / "second")  # what is on disk if the process ends here
        stream.call.cancel()
    async with running(settings(tmp_path / "second")) as app:
        assert await open_ids(app) == {"stays"}
        found = await app.orders.GetOrder(pb.GetOrderRequest(order=ref("goes")), metadata=app.admin)
        assert found.order.cancel_reason == pb.CANCEL_REASON_DISCONNECT


async def test_a_malformed_batch_ends_the_stream_after_the_answers_before_it(app: Running) -> None:
    stream = Stream(app)
    await stream.send(place(client_order_id="a"))
    await stream.send()
    assert (await stream.read()).results[0].order.client_order_id == "a"
    answer = await refused(stream.call)
    assert (answer.code, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, {"commands": "OUT_OF_RANGE"})


async def test_a_stop_is_announced_and_cancels_what_asked_for_it(tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with running(config) as app:
        stream = Stream(app)
        await stream.results(place(client_order_id="goes", cancel_on_disconnect=True))
        app.stop.set()
        response = await stream.message()
        assert response.notice.code == common_pb2.StreamNotice.CODE_GOING_AWAY
        assert (await refused(stream.call)).reason == "SHUTTING_DOWN"
    async with running(config) as app:
        assert await open_ids(app) == set()
