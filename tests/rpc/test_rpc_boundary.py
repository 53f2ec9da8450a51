"""The wrapper around every handler: real channel, real tokens, scripted handlers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from server.access.tokens import Scope
from server.base import errors
from server.base.clock import ManualClock, SystemClock
from server.process.settings import ServerSettings
from server.rpc.boundary import Call
from tests.support.rpc import Scripted, admin_token, bearer, refused, serving
from tests.waiting import PATIENCE_S, until
from tradewind.v1 import orders_pb2 as pb
from tradewind.v1 import orders_pb2_grpc

ORDERS = pb.DESCRIPTOR.services_by_name["OrderService"]
REF = pb.OrderRef(account="demo", order_id="1")


class Handlers:
    """Answers with nothing, unless a test puts a function in."""

    def __init__(self, **scripted: Any) -> None:
        for method in ORDERS.methods:
            default = _empty_stream if method.server_streaming else _empty(method.output_type.name)
            setattr(self, method.name, scripted.get(method.name, default))


def _empty(response: str) -> Any:
    async def answer(request: Any, call: Call) -> Any:
        return getattr(pb, response)()

    return answer


async def _empty_stream(request: Any, call: Call) -> AsyncIterator[Any]:
    return
    yield


async def _endless(request: Any, call: Call) -> AsyncIterator[Any]:
    for sequence in itertools.count(1):
        yield pb.SubscribeOrdersResponse(events=[pb.OrdersEvent(sequence=sequence)])
        await asyncio.sleep(0.001 if sequence < 5 else 3600)


def stub(scripted: Scripted) -> Any:
    return orders_pb2_grpc.OrderServiceStub(scripted.channel)


def sample(scripted: Scripted, name: str, **labels: str) -> float:
    return scripted.registry.get_sample_value(name, labels) or 0.0


async def test_request_id_is_taken_from_the_caller_or_made_and_always_returned(tmp_path: Path) -> None:
    seen: list[str] = []

    async def get_order(request: Any, call: Call) -> Any:
        seen.append(call.request_id)
        return pb.GetOrderResponse()

    async with serving(tmp_path, ORDERS, Handlers(GetOrder=get_order)) as scripted:
        for sent in ("mine-1", "bad id with spaces", ""):
            headers = [*scripted.admin, ("x-request-id", sent)] if sent else scripted.admin
            call = stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=headers)
            await call
            assert dict(await call.trailing_metadata())["x-request-id"] == seen[-1]
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = [*scripted.admin, ("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
        await stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=headers)
    assert seen == ["mine-1", "made-1", "made-2", trace]


async def test_streams_send_their_request_id_before_the_first_message(tmp_path: Path) -> None:
    async with serving(tmp_path, ORDERS, Handlers(SubscribeOrders=_endless)) as scripted:
        call = stub(scripted).SubscribeOrders(
            pb.SubscribeOrdersRequest(account="demo"), metadata=[*scripted.admin, ("x-request-id", "s-1")]
        )
        assert dict(await call.initial_metadata())["x-request-id"] == "s-1"
        call.cancel()


async def test_an_unexpected_error_is_internal_and_tells_nothing_but_the_request_id(tmp_path: Path) -> None:
    async def broken(request: Any, call: Call) -> Any:
        raise RuntimeError("secret detail")

    async with serving(tmp_path, ORDERS, Handlers(GetOrder=broken)) as scripted:
        call = stub(scripted).GetOrder(
            pb.GetOrderRequest(order=REF), metadata=[*scripted.admin, ("x-request-id", "r-9")]
        )
        answer = await refused(call)
    assert answer.code is grpc.StatusCode.INTERNAL
    assert answer.trailing["x-request-id"] == "r-9"
    assert "secret detail" not in str(answer)
    assert "Traceback" not in str(answer)


async def test_a_call_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def slow(request: Any, call: Call) -> Any:
        await asyncio.sleep(60)

    settings = ServerSettings(port=0, unary_deadline_ms=50)
    async with serving(tmp_path, ORDERS, Handlers(GetOrder=slow), settings) as scripted:
        answer = await refused(stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=scripted.admin))
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert answer.reason == "DEADLINE_EXCEEDED"


async def test_a_handlers_own_timeout_is_not_the_deadline(tmp_path: Path) -> None:
    async def broken(request: Any, call: Call) -> Any:
        raise TimeoutError

    async with serving(tmp_path, ORDERS, Handlers(GetOrder=broken)) as scripted:
        answer = await refused(stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=scripted.admin))
    assert answer.code is grpc.StatusCode.INTERNAL


async def test_undecodable_and_oversized_messages_are_refused_with_a_reason(tmp_path: Path) -> None:
    settings = ServerSettings(port=0, max_message_bytes=2048)
    async with serving(tmp_path, ORDERS, Handlers(), settings) as scripted:
        place = scripted.channel.unary_unary("/tradewind.v1.OrderService/PlaceOrder")
        garbage = await refused(place(b"\xff\xff\xff", metadata=scripted.admin))
        assert garbage.code is grpc.StatusCode.INVALID_ARGUMENT
        assert garbage.reason == "MALFORMED_MESSAGE"
        large = await refused(place(b"x" * 2049, metadata=scripted.admin))
        assert large.code is grpc.StatusCode.INVALID_ARGUMENT
        assert large.reason == "MESSAGE_TOO_LARGE"
        assert "2049" in large.message
        huge = await refused(place(b"x" * 10_000, metadata=scripted.admin))
        assert huge.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=scripted.admin)


async def test_nothing_of_an_unauthenticated_request_is_decoded(tmp_path: Path) -> None:
    async with serving(tmp_path, ORDERS, Handlers()) as scripted:
        place = scripted.channel.unary_unary("/tradewind.v1.OrderService/PlaceOrder")
        answer = await refused(place(b"\xff\xff\xff"))
    assert answer.code is grpc.StatusCode.UNAUTHENTICATED


async def test_rate_quota_is_told_and_kept(tmp_path: Path) -> None:
    settings = ServerSettings(port=0, requests_per_second=5)
    async with serving(tmp_path, ORDERS, Handlers(), settings) as scripted:
        answers = []
        for _ in range(20):
            call = stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=scripted.admin)
            try:
                await call
            except grpc.aio.AioRpcError:
                answers.append(await refused(call))
            else:
                trailing = dict(await call.trailing_metadata())
                assert trailing["x-ratelimit-limit"] == "5"
                assert 0 <= int(trailing["x-ratelimit-remaining"]) < 5
                assert 0 < float(trailing["x-ratelimit-reset"]) <= 1
    assert answers
    assert {answer.reason for answer in answers} == {"QUOTA_EXCEEDED"}
    assert all(answer.retry and answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED for answer in answers)


async def test_streams_of_a_token_are_bounded(tmp_path: Path) -> None:
    settings = ServerSettings(port=0, max_token_streams=2)
    async with serving(tmp_path, ORDERS, Handlers(SubscribeOrders=_endless), settings) as scripted:
        request = pb.SubscribeOrdersRequest(account="demo")
        open_calls = [stub(scripted).SubscribeOrders(request, metadata=scripted.admin) for _ in range(2)]
        for call in open_calls:
            await call.read()
        third = await refused(stub(scripted).SubscribeOrders(request, metadata=scripted.admin))
        assert third.reason == "QUOTA_EXCEEDED"
        open_calls[0].cancel()

        async def is_open_again() -> bool:
            with contextlib.suppress(grpc.aio.AioRpcError):
                return bool(await stub(scripted).SubscribeOrders(request, metadata=scripted.admin).read())
            return False

        await until(is_open_again, "a closed stream counts no more")


async def test_streams_of_all_tokens_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, ORDERS, Handlers(SubscribeOrders=_endless), ServerSettings(max_streams=1)) as scripted:
        request = pb.SubscribeOrdersRequest(account="demo")
        first = stub(scripted).SubscribeOrders(request, metadata=scripted.admin)
        await first.read()
        _, secret = scripted.tokens.create(admin_token(scripted.tokens), "another", [Scope.READ], [], None)
        answer = await refused(stub(scripted).SubscribeOrders(request, metadata=bearer(secret)))
        assert (answer.code, answer.retry) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        assert "more than this server holds" in answer.message
        first.cancel()


async def test_revoking_a_token_ends_its_streams(tmp_path: Path) -> None:
    async with serving(tmp_path, ORDERS, Handlers(SubscribeOrders=_endless)) as scripted:
        root = admin_token(scripted.tokens)
        token, secret = scripted.tokens.create(root, "reader", [Scope.READ], [], None)
        call = stub(scripted).SubscribeOrders(pb.SubscribeOrdersRequest(account="demo"), metadata=bearer(secret))
        await call.read()
        await asyncio.to_thread(scripted.tokens.revoke, root, token.token_id)
        answer = await refused(call)
        assert answer.code is grpc.StatusCode.UNAUTHENTICATED
        again = await refused(stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=bearer(secret)))
        assert again.code is grpc.StatusCode.UNAUTHENTICATED


async def _flood(request: Any, call: Call) -> AsyncIterator[Any]:
    big = pb.SubscribeOrdersResponse(stream_epoch="x" * 100_000)
    while True:
        yield big


async def test_a_stream_that_is_being_written_to_is_ended_with_a_status(tmp_path: Path) -> None:
    async with serving(tmp_path, ORDERS, Handlers(SubscribeOrders=_flood)) as scripted:
        call = stub(scripted).SubscribeOrders(pb.SubscribeOrdersRequest(account="demo"), metadata=scripted.admin)
        await call.read()
        await asyncio.sleep(0.2)
        await scripted.boundary.close(errors.ShuttingDown("the server stops"), refuse_s=0, patience_s=0)
        answer = await asyncio.wait_for(refused(call), PATIENCE_S)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert answer.reason == "SHUTTING_DOWN"


async def test_a_reader_that_does_not_read_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    async with serving(tmp_path, ORDERS, Handlers(SubscribeOrders=_flood)) as scripted:
        call = stub(scripted).SubscribeOrders(pb.SubscribeOrdersRequest(account="demo"), metadata=scripted.admin)
        await call.read()
        await asyncio.sleep(0.2)
        await scripted.boundary.close(errors.ShuttingDown("the server stops"), refuse_s=0, patience_s=0)
        await asyncio.wait_for(scripted.server.stop(0.2), PATIENCE_S)
        answer = await asyncio.wait_for(refused(call), PATIENCE_S)
    assert answer.code is grpc.StatusCode.UNAVAILABLE


async def test_a_stream_ends_when_its_token_expires(tmp_path: Path) -> None:
    async with serving(tmp_path, ORDERS, Handlers(SubscribeOrders=_endless)) as scripted:
        end_ns = SystemClock().now_ns() + 300_000_000
        _, secret = scripted.tokens.create(admin_token(scripted.tokens), "short", [Scope.READ], [], end_ns)
        call = stub(scripted).SubscribeOrders(pb.SubscribeOrdersRequest(account="demo"), metadata=bearer(secret))
        answer = await asyncio.wait_for(refused(call), PATIENCE_S)
    assert answer.code is grpc.StatusCode.UNAUTHENTICATED


async def test_the_caller_going_away_ends_the_handler(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def waiting(request: Any, call: Call) -> AsyncIterator[Any]:
        try:
            yield pb.SubscribeOrdersResponse()
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async with serving(tmp_path, ORDERS, Handlers(SubscribeOrders=waiting)) as scripted:
        call = stub(scripted).SubscribeOrders(pb.SubscribeOrdersRequest(account="demo"), metadata=scripted.admin)
        await call.read()
        call.cancel()
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
        labels = {"grpc_service": ORDERS.full_name, "grpc_method": "SubscribeOrders", "grpc_type": "server_stream"}
        await until(lambda: sample(scripted, "grpc_server_handled_total", **labels, grpc_code="Cancelled") == 1)


async def test_metrics_count_every_call_with_its_code(tmp_path: Path) -> None:
    async def missing(request: Any, call: Call) -> Any:
        raise errors.NotFound("order", "1")

    async with serving(tmp_path, ORDERS, Handlers(GetOrder=missing)) as scripted:
        await refused(stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=scripted.admin))
        await refused(stub(scripted).GetOrder(pb.GetOrderRequest(order=REF)))
        await stub(scripted).ListOrders(pb.ListOrdersRequest(account="a"), metadata=scripted.admin)
        method = {"grpc_service": ORDERS.full_name, "grpc_method": "GetOrder", "grpc_type": "unary"}
        listed = method | {"grpc_method": "ListOrders"}
        # A caller has its answer a moment before the call is counted as handled.
        await until(lambda: sample(scripted, "grpc_server_handled_total", **listed, grpc_code="OK") == 1)
        assert sample(scripted, "grpc_server_started_total", **method) == 2
        assert sample(scripted, "grpc_server_handled_total", **method, grpc_code="NotFound") == 1
        assert sample(scripted, "grpc_server_handled_total", **method, grpc_code="Unauthenticated") == 1
        assert sample(scripted, "grpc_server_handling_seconds_count", **method) == 2


async def test_an_expired_token_is_refused_at_once(tmp_path: Path) -> None:
    clock = ManualClock(1_000)
    async with serving(tmp_path, ORDERS, Handlers(), clock=clock) as scripted:
        _, secret = scripted.tokens.create(admin_token(scripted.tokens), "short", [Scope.READ], [], 2_000)
        await stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=bearer(secret))
        clock.advance(1_000)
        answer = await refused(stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=bearer(secret)))
    assert answer.code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_service_with_a_missing_method_or_policy_cannot_be_registered(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        async with serving(tmp_path, ORDERS, SimpleNamespace()):
            pass


async def test_once_closed_it_answers_every_call_with_the_reason(tmp_path: Path) -> None:
    async with serving(tmp_path, ORDERS, Handlers()) as scripted:
        await scripted.boundary.close(errors.ShuttingDown("the server stops"), refuse_s=0, patience_s=0)
        for call in (
            stub(scripted).GetOrder(pb.GetOrderRequest(order=REF), metadata=scripted.admin),
            stub(scripted).SubscribeOrders(pb.SubscribeOrdersRequest(account="a"), metadata=scripted.admin),
        ):
            answer = await refused(call)
            assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
