"""What benchmarks of gRPC drive, each in a process of its own: a whole server with a synced journal, and an echo by the
same grpc that decodes each request and answers with bytes made beforehand: what grpc and protobuf cost alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import platform
import statistics
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import psutil
import uvloop

from server.app.config import load_config
from server.app.main import Ready, serve
from tradewind.v1 import orders_pb2 as pb

SERVICE = "tradewind.v1.OrderService"


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs."""

    address: str
    metadata: tuple[tuple[str, str], ...]
    """Of calls."""
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor time it used so far, without that of its children."""
        return float(sum(self.process.cpu_times()[:2]))


def serve_orders(data_dir: str, told: Connection) -> None:
    config = load_config(
        overrides={
            "data_dir": Path(data_dir),
            "server": {"port": 0, "requests_per_second": 1_000_000},
            "metrics": {"enabled": False},
            "feeds": {"mode": "off"},
            "logging": {"level": "error"},
        }
    )

    def ready(started: Ready) -> None:
        told.send((started.address, started.admin_token_path.read_text().strip()))

    serve(config, on_ready=ready)


def serve_echo(answer: bytes, told: Connection) -> None:
    """StreamOrders and PlaceOrder, both answered with `answer`."""

    async def stream_orders(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for raw in requests:
            pb.StreamOrdersRequest.FromString(raw)
            yield answer

    async def place_order(raw: bytes, context: Any) -> bytes:
        pb.PlaceOrderRequest.FromString(raw)
        return answer

    async def main() -> None:
        server = grpc.aio.server()
        methods = {
            "StreamOrders": grpc.stream_stream_rpc_method_handler(stream_orders),
            "PlaceOrder": grpc.unary_unary_rpc_method_handler(place_order),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        told.send((f"127.0.0.1:{port}", "none"))
        await server.wait_for_termination()

    uvloop.run(main())


@contextlib.contextmanager
def serving(target: Callable[[Any, Connection], None], argument: Any) -> Iterator[Served]:
    """`target` in a process of its own."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(argument, theirs))
    process.start()
    try:
        if not mine.poll(60):
            raise SystemExit(f"{target.__name__} did not start")
        address, token = mine.recv()
        yield Served(address, (("authorization", f"Bearer {token}"),), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.join()


def spread(values: list[float]) -> list[float]:
    """Lowest, median and highest."""
    return [round(value, 3) for value in (min(values), statistics.median(values), max(values))]


def machine() -> str:
    return platform.processor() or platform.machine()
