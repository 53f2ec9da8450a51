"""Whatever bytes come: a clear refusal or an answer, never UNKNOWN or INTERNAL, and the server goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from server.rpc.operator import CHANNELZ, REFLECTION_V1ALPHA, reflection_v1
from server.rpc.server import HEALTH, PUBLIC
from tests.support.app import Running, running, settings
from tests.waiting import PATIENCE_S
from tradewind.errors import status_was_lost
from tradewind.v1 import system_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 200 * int(os.environ.get("TRADEWIND_SOAK", "1"))
AT_ONCE = 20
METHODS = [
    (f"/{service.full_name}/{method.name}", method)
    for service in (*PUBLIC, HEALTH, CHANNELZ, REFLECTION_V1ALPHA, reflection_v1())
    for method in service.methods
    if method.name != "RevokeToken"  # would end the token the test calls with, sooner or later
]
TEXTS = (
    "", "demo", "maker", "internal:BTC/USDT", "internal:", "BTC", "USDT", "0", "1", "-1", "0.01", "60000", "1e9", "NaN",
    "9" * 20, "9" * 40, "0." + "0" * 17 + "1", "-0", "\x00", "é" * 50, "\U0001f4a9" * 20, "a" * 5000, "%s%n",
    "' or 1=1", "../../etc", "aW5zdHJ1bWVudHM6eA", "b3JkZXJzOjE",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 3, 7, 100, 1000, 1001, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**64 - 1)
GOOD: dict[str, Any] = {
    "account": "demo", "instrument": "internal:BTC/USDT", "asset": "BTC", "name": "fuzz", "mode": 2, "side": 1,
    "type": 1, "time_in_force": 0, "qty": "0.001", "price": "100", "amount": "1", "request_id": "fuzz",
    "client_order_id": "fuzz", "order_id": "1", "page_size": 5, "page_token": "", "depth": 5, "channel": 3,
    "delivery": 2, "interval_ms": 0, "description": "fuzz", "scopes": 1, "accounts": "demo", "post_only": False,
    "epoch": "x",
}  # fmt: skip
"""Values that are taken: most fields of most messages get them, so that what is wrong reaches deeper checks."""

ALLOWED_TO_FAIL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAVAILABLE,  # no quote yet
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # tokens and streams are bounded
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    config = settings(tmp_path_factory.mktemp("fuzz"), server={"port": 0, "max_message_bytes": 65536})
    async with running(config) as started:
        yield started


def extreme(kind: Descriptor, rng: random.Random, depth: int = 0) -> Message:
    """A message with values from the edges in some of its fields."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if rng.random() < 0.15:
            continue
        repeated = field.is_repeated
        for _ in range(rng.choice((0, 1, 2, 5)) if repeated else 1):
            put(message, field, rng, depth)
    return message


def put(message: Any, field: FieldDescriptor, rng: random.Random, depth: int) -> None:
    repeated = field.is_repeated
    if field.message_type is not None:
        if depth < 4 and not field.message_type.GetOptions().map_entry:
            inner = extreme(field.message_type, rng, depth + 1)
            getattr(message, field.name).add().CopyFrom(inner) if repeated else getattr(message, field.name).CopyFrom(
                inner
            )
        return
    value: Any
    if field.name in GOOD and rng.random() < 0.8:
        value = GOOD[field.name]
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        value = rng.choice(TEXTS)
        value = value.encode() if field.type == FieldDescriptor.TYPE_BYTES else value
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        value = rng.random() < 0.5
    else:
        value = rng.choice(NUMBERS)
    with contextlib.suppress(ValueError, TypeError):  # does not fit this field's width
        getattr(message, field.name).append(value) if repeated else setattr(message, field.name, value)


def payloads(method: MethodDescriptor, rng: random.Random) -> Iterator[bytes]:
    for index in range(COUNT):
        raw = extreme(method.input_type, rng).SerializeToString()
        match index % 4:
            case 1:
                raw = raw[: rng.randrange(len(raw) + 1)]
            case 2:
                raw = bytes(byte ^ (1 << rng.randrange(8)) if rng.random() < 0.05 else byte for byte in raw)
            case 3 if index % 8 == 3:
                raw = rng.randbytes(rng.randrange(200))
        yield raw


async def ask(app: Running, name: str, method: MethodDescriptor, raw: bytes) -> grpc.StatusCode:
    """The code, or OK for a stream that is still open after its first messages."""
    call: Any
    if method.client_streaming:
        call = app.channel.stream_stream(name)(iter([raw]), metadata=app.admin)
    elif method.server_streaming:
        call = app.channel.unary_stream(name)(raw, metadata=app.admin)
    else:
        call = app.channel.unary_unary(name)(raw, metadata=app.admin)
    try:
        async with asyncio.timeout(0.05 if method.server_streaming else PATIENCE_S):
            if method.server_streaming:
                while await call.read() is not grpc.aio.EOF:
                    pass
            else:
                await call
    except TimeoutError:
        assert method.server_streaming, f"{name} did not answer {raw!r}"
    except grpc.aio.AioRpcError as error:
        return await ask(app, name, method, raw) if status_was_lost(error) else error.code()
    finally:
        call.cancel()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(("name", "method"), METHODS, ids=[name for name, _ in METHODS])
async def test_no_request_is_answered_unknown_or_internal(app: Running, name: str, method: MethodDescriptor) -> None:
    seed = f"{name} 1"
    rng = random.Random(seed)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(raw: bytes) -> None:
        async with room:
            code = await ask(app, name, method, raw)
        assert code is grpc.StatusCode.OK or code in ALLOWED_TO_FAIL, f"{code} for {raw!r}, seed {seed!r}"

    await asyncio.gather(*(one(raw) for raw in payloads(method, rng)))
    await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
