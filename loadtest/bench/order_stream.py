"""Orders over one StreamOrders call, against an echo of the same messages. `python -m loadtest.bench.order_stream`.

A whole server in a process of its own, its journal synced; a client here that keeps 16 batches of 100 limit orders
under way, serialized beforehand, and reads the answers as bytes: what is measured is the server. The echo reads each
request and answers with a response of the same shape, made beforehand: what grpc and protobuf cost alone. Prints a
table and writes var/bench/order_stream.json; fails if an order was not accepted.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import uvloop

from server.app import Ready, run
from server.config import load_config
from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb

BATCH, BATCHES, WINDOW, RUNS = 100, 200, 16, 3
NAME = "/tradewind.v1.OrderService/StreamOrders"
RESULT = Path("var/bench/order_stream.json")


def batches(prefix: str) -> list[bytes]:
    """Requests with orders that rest: no two have the same client_order_id."""
    requests = []
    for number in range(BATCHES):
        commands = [
            pb.OrderCommand(
                place=pb.PlaceOrderRequest(
                    account="demo",
                    instrument="internal:BTC/USDT",
                    side=common_pb2.SIDE_BUY,
                    type=pb.ORDER_TYPE_LIMIT,
                    qty="0.0001",
                    price=f"{20_000 + at}.5",
                    client_order_id=f"{prefix}-{number}-{at}",
                )
            )
            for at in range(BATCH)
        ]
        requests.append(pb.StreamOrdersRequest(batch_id=number + 1, commands=commands).SerializeToString())
    return requests


def serve_orders(data_dir: str, told: Connection) -> None:
    config = load_config(
        overrides={
            "data_dir": Path(data_dir),
            "server": {"port": 0},
            "metrics": {"enabled": False},
            "feeds": {"mode": "off"},
            "logging": {"level": "error"},
        }
    )

    def ready(started: Ready) -> None:
        told.send((started.address, started.admin_token_path.read_text().strip()))

    uvloop.run(run(config, on_ready=ready))


def serve_echo(answer: bytes, told: Connection) -> None:
    async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for raw in requests:
            pb.StreamOrdersRequest.FromString(raw)
            yield answer

    async def main() -> None:
        server = grpc.aio.server()
        method = grpc.stream_stream_rpc_method_handler(echo)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tradewind.v1.OrderService", {"StreamOrders": method})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        told.send((f"127.0.0.1:{port}", ""))
        await server.wait_for_termination()

    uvloop.run(main())


async def drive(address: str, token: str, requests: list[bytes]) -> tuple[float, list[float], list[bytes]]:
    """Seconds in all, seconds of each batch from write to answer, the answers."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(NAME)(metadata=[("authorization", f"Bearer {token}")])
        sent: deque[float] = deque()
        waits: list[float] = []
        answers: list[bytes] = []
        started = time.perf_counter()
        for request in requests:
            if len(sent) == WINDOW:
                answers.append(await call.read())
                waits.append(time.perf_counter() - sent.popleft())
            sent.append(time.perf_counter())
            await call.write(request)
        while sent:
            answers.append(await call.read())
            waits.append(time.perf_counter() - sent.popleft())
        seconds = time.perf_counter() - started
        await call.done_writing()
        return seconds, waits, answers


def measure(target: Any, argument: Any, name: str) -> tuple[dict[str, float], bytes]:
    """The best of some runs against a server in a process of its own, and one of its answers."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(argument, theirs), daemon=True)
    process.start()
    try:
        if not mine.poll(60):
            raise SystemExit(f"the {name} server did not start")
        address, token = mine.recv()
        best: dict[str, float] = {}
        for number in range(RUNS):
            seconds, waits, answers = uvloop.run(drive(address, token, batches(f"{name}-{number}")))
            for answer in answers:
                results = pb.StreamOrdersResponse.FromString(answer).results
                if any(result.order.status != pb.ORDER_STATUS_NEW for result in results) or len(results) != BATCH:
                    raise SystemExit("an order was not accepted")
            rate = BATCH * BATCHES / seconds
            if rate > best.get("orders_per_s", 0):
                best = {"orders_per_s": round(rate), "batch_p50_ms": round(sorted(waits)[len(waits) // 2] * 1e3, 2)}
        return best, answers[0]
    finally:
        process.terminate()
        process.join()


def main() -> int:
    with tempfile.TemporaryDirectory() as data_dir:
        orders, answer = measure(serve_orders, data_dir, "orders")
    echo, _ = measure(serve_echo, answer, "echo")
    print(f"{'':20}{'orders/s':>12}{'batch p50, ms':>16}")
    for name, figures in (("StreamOrders", orders), ("echo", echo)):
        print(f"{name:20}{figures['orders_per_s']:>12,}{figures['batch_p50_ms']:>16}")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": platform.processor() or platform.machine(), "batch": BATCH, "window": WINDOW}
    RESULT.write_text(json.dumps(result | {"stream_orders": orders, "echo": echo}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
