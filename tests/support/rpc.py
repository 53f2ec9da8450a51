"""A boundary with scripted handlers behind a real channel, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import CollectorRegistry

from server.access.tokens import Token, TokenStore
from server.base.clock import Clock, SystemClock
from server.process.settings import ServerSettings
from server.rpc.boundary import Boundary
from server.rpc.metrics import RpcMetrics

Metadata = list[tuple[str, str]]


def bearer(secret: str) -> Metadata:
    return [("authorization", f"Bearer {secret}")]


@dataclass
class Refusal:
    """A refused call, its details decoded."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    fields: dict[str, str]
    """Field path -> reason of the violation."""
    retry: bool
    trailing: dict[str, str | bytes]


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    trailing: dict[str, str | bytes] = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    has_retry = False
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        has_retry |= detail.Unpack(retry)
    fields = {violation.field: violation.reason for violation in bad.field_violations}
    return Refusal(error.code(), error.details() or "", info.reason, info.domain, fields, has_retry, trailing)


async def refused(call: Any) -> Refusal:
    """Await a call, or read a stream to its end; it must be refused."""
    try:
        if hasattr(call, "read"):
            while await call.read() is not grpc.aio.EOF:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return refusal(error)
    raise AssertionError("the call was not refused")


def token_store(folder: Path, clock: Clock | None = None) -> TokenStore:
    folder.mkdir(parents=True, exist_ok=True)
    return TokenStore(folder, clock or SystemClock(), os.urandom)


def admin_secret(store: TokenStore) -> str:
    return store.admin_path.read_text().strip()


def admin_token(store: TokenStore) -> Token:
    return store.find(admin_secret(store))


@dataclass
class Scripted:
    """A server whose handlers a test wrote."""

    channel: grpc.aio.Channel
    server: grpc.aio.Server
    boundary: Boundary
    tokens: TokenStore
    registry: CollectorRegistry
    admin: Metadata


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    service: ServiceDescriptor,
    implementation: object,
    settings: ServerSettings | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Scripted]:
    settings = settings or ServerSettings(port=0)
    registry = CollectorRegistry()
    tokens = token_store(folder, clock)
    ids = itertools.count(1)
    boundary = Boundary(tokens, settings, RpcMetrics(registry), clock or SystemClock(), lambda: f"made-{next(ids)}")
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", settings.max_message_bytes * 4)])
    server.add_generic_rpc_handlers([boundary.service(service, implementation)])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Scripted(channel, server, boundary, tokens, registry, bearer(admin_secret(tokens)))
    finally:
        await server.stop(None)


class Events:
    """The events of a stream, one at a time, whatever the messages they come in."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.epoch = ""
        """Of the last message."""
        self._events: deque[Any] = deque()

    async def read(self, timeout_s: float = 30.0) -> Any:
        while not self._events:
            message = await asyncio.wait_for(self.call.read(), timeout_s)
            self.epoch = message.stream_epoch
            self._events.extend(message.events)
        return self._events.popleft()

    async def take(self, count: int) -> list[Any]:
        return [await self.read() for _ in range(count)]
