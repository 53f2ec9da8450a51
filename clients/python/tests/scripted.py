"""A server that does what a test tells it to, over a real socket, and both clients behind one face.

It can do what a right server never does: lose a message, fail twice and then work, end a stream in the middle.
"""

from __future__ import annotations

import inspect
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import any_pb2, message
from google.rpc import status_pb2
from grpc_status import rpc_status

import tradewind
from tradewind.v1 import accounts_pb2, market_data_pb2, orders_pb2, risk_pb2, system_pb2

TOKEN = "a-token"
FILES = (system_pb2, market_data_pb2, orders_pb2, accounts_pb2, risk_pb2)


class Call:
    """A call the server got."""

    def __init__(self, request: Any, context: grpc.ServicerContext) -> None:
        self.request = request
        self.context = context
        self.metadata = dict(context.invocation_metadata())

    def fail(self, code: grpc.StatusCode, text: str = "no", *details: message.Message) -> None:
        """End the call with a status as the server of the contract does."""
        packed = [any_pb2.Any() for _ in details]
        for box, detail in zip(packed, details, strict=True):
            box.Pack(detail)
        status = status_pb2.Status(code=code.value[0], message=text, details=packed)
        self.context.abort_with_status(rpc_status.to_status(status))


def hold(call: Call) -> Iterator[Any]:
    """Keep the stream open and silent until the client ends it."""
    ended = threading.Event()
    if call.context.add_callback(ended.set):
        ended.wait(30)
    yield from ()


Script = Callable[[Call], Any]


class ScriptedServer:
    """Each RPC runs the scripts it was given, one a call, the last one for ever. `calls` keeps what came."""

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        self._scripts: dict[str, list[Script]] = {}
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers([self._handlers(file) for file in FILES])
        address = f"127.0.0.1:{port}"
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials is not None
            else self._server.add_insecure_port(address)
        )
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def on(self, rpc: str, *scripts: Script) -> None:
        self._scripts[rpc] = list(scripts)

    def stop(self) -> None:
        self._server.stop(None).wait()

    def _handlers(self, file: Any) -> Any:
        (service,) = file.DESCRIPTOR.services_by_name.values()
        handlers = {}
        for method in service.methods:
            request_type = getattr(file, method.input_type.name)
            build = {
                (False, False): grpc.unary_unary_rpc_method_handler,
                (False, True): grpc.unary_stream_rpc_method_handler,
                (True, True): grpc.stream_stream_rpc_method_handler,
            }[method.client_streaming, method.server_streaming]
            handlers[method.name] = build(
                self._behavior(method.name),
                request_deserializer=request_type.FromString,
                response_serializer=lambda response: response.SerializeToString(),
            )
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _behavior(self, rpc: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        def run(request: Any, context: grpc.ServicerContext) -> Any:
            call = Call(request, context)
            scripts = self._scripts[rpc]
            self.calls[rpc].append(call)
            return scripts[min(len(self.calls[rpc]), len(scripts)) - 1](call)

        return run


class Driver:
    """Either client behind one face, so that a test is written once."""

    def __init__(self, client: tradewind.Client | tradewind.AsyncClient) -> None:
        self.client = client

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        return await self.of(getattr(self.client, method)(*args, **options))

    async def of(self, result: Any) -> Any:
        """What a method of either kind gives."""
        return await result if inspect.isawaitable(result) else result

    async def take(self, watch: Any, count: int) -> list[Any]:
        """The next `count` values."""
        items: list[Any] = []
        while len(items) < count:
            items.append(await anext(watch) if hasattr(watch, "__anext__") else next(watch))
        return items
