"""Orders over one StreamOrders call, against an echo of the same messages. `python -m loadtest.bench.order_stream`.

A whole server in a process of its own, its journal synced; a client here that keeps 16 batches of 100 limit orders
under way, serialized beforehand, and reads the answers as bytes: what is measured is the server. The echo reads each
request and answers it with a response of the same size, made beforehand: what grpc and protobuf cost alone. Batches that
became durable together share a response; the echo has no reason to wait, and writes one for each. Both serve at
the same time and are driven in turns, so that both meet the same machine; the first turn warms up and does not count.
Prints a table and writes var/bench/order_stream.json; fails if an order was not accepted.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import grpc
import uvloop

from loadtest.bench._serving import SERVICE, Served, machine, serve_echo, serve_orders, serving, spread
from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb

BATCH, BATCHES, WINDOW, TURNS = 100, 500, 16, 5
NAME = f"/{SERVICE}/StreamOrders"
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


async def drive(served: Served, requests: list[bytes]) -> tuple[float, list[float], list[bytes]]:
    """Seconds in all, seconds of each batch from write to answer, the answers."""
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = channel.stream_stream(NAME)(metadata=served.metadata)
        sent: deque[float] = deque()
        waits: list[float] = []
        answers: list[bytes] = []

        async def receive() -> None:
            answers.append(await call.read())
            now = time.perf_counter()
            waits.extend(now - sent.popleft() for _ in range(batches_in(answers[-1])))

        started = time.perf_counter()
        for request in requests:
            if len(sent) == WINDOW:
                await receive()
            sent.append(time.perf_counter())
            await call.write(request)
        while sent:
            await receive()
        seconds = time.perf_counter() - started
        await call.done_writing()
        return seconds, waits, answers


def batches_in(answer: bytes) -> int:
    """How many batches a StreamOrdersResponse answers, without decoding what is in them."""
    at = count = 0
    while at < len(answer):
        size = shift = 0
        at += 1
        while (byte := answer[at]) & 0x80:
            size |= (byte & 0x7F) << shift
            shift += 7
            at += 1
        at += 1 + (size | byte << shift)
        count += 1
    return count


class Side:
    """One of the two servers, and how its turns went."""

    def __init__(self, name: str, served: Served) -> None:
        self._name = name
        self._served = served
        self._turns: list[dict[str, float]] = []

    def turn(self, number: int, *, counts: bool = True) -> bytes:
        """Drive it once; one of its answers."""
        used = self._served.cpu_s()
        requests = batches(f"{self._name}-{number}")
        seconds, waits, answers = uvloop.run(drive(self._served, requests))
        used = self._served.cpu_s() - used
        answered = [batch for answer in answers for batch in pb.StreamOrdersResponse.FromString(answer).batches]
        for batch in answered:
            if any(result.order.status != pb.ORDER_STATUS_NEW for result in batch.results) or len(batch.results) != BATCH:
                raise SystemExit("an order was not accepted")
        if counts:
            orders = BATCH * BATCHES
            self._turns.append(
                {
                    "orders_per_s": orders / seconds,
                    "batch_p50_ms": statistics.median(waits) * 1e3,
                    "cpu_us_per_order": used / orders * 1e6,
                }
            )
        return pb.StreamOrdersResponse(batches=answered[:1]).SerializeToString()

    def figures(self) -> dict[str, list[float]]:
        """Lowest, median and highest of the turns."""
        return {name: spread([turn[name] for turn in self._turns]) for name in self._turns[0]}


def main() -> int:
    with tempfile.TemporaryDirectory() as data_dir, serving(serve_orders, data_dir) as ours:
        orders = Side("orders", ours)
        with serving(serve_echo, orders.turn(0, counts=False)) as theirs:
            echo = Side("echo", theirs)
            echo.turn(0, counts=False)
            for number in range(1, TURNS + 1):
                orders.turn(number)
                echo.turn(number)
    print(f"{'':14}{'orders/s: min / median / max':>32}{'batch p50, ms':>16}{'CPU us/order':>16}")
    result: dict[str, Any] = {"machine": machine(), "batch": BATCH, "window": WINDOW}
    for name, side in (("StreamOrders", orders), ("echo", echo)):
        figures = result[name] = side.figures()
        rates = " / ".join(f"{rate:,.0f}" for rate in figures["orders_per_s"])
        print(f"{name:14}{rates:>32}{figures['batch_p50_ms'][1]:>16}{figures['cpu_us_per_order'][1]:>16}")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
