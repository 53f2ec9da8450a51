"""PlaceOrder one by one, against an echo of the same messages. `python -m loadtest.bench.unary`.

A whole server in a process of its own, its journal synced, and an echo; both are driven in turns, so that both meet the
same machine, and the first turn does not count. First 64 callers at once, each with its next order when the last is
answered; then a single caller, whose time is compared with the echo's plus that of one journal row, written and synced in
the same turn on the same disk. Prints a table and writes var/bench/unary.json; fails if an order was not accepted.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import uvloop

from fastpath.model.structs import COMMAND_SIZE
from loadtest.bench._serving import SERVICE, Served, machine, serve_echo, serve_orders, serving, spread
from server.storage.ports import Journal, JournalRow
from server.storage.urls import open_journal
from tradewind.v1 import common_pb2
from tradewind.v1 import orders_pb2 as pb

CALLERS, ORDERS, ALONE, TURNS = 64, 1_280, 100, 15
NAME = f"/{SERVICE}/PlaceOrder"
RESULT = Path("var/bench/unary.json")


def requests(prefix: str, count: int) -> list[bytes]:
    """Orders that rest: no two have the same client_order_id."""
    return [
        pb.PlaceOrderRequest(
            account="demo",
            instrument="internal:BTC/USDT",
            side=common_pb2.SIDE_BUY,
            type=pb.ORDER_TYPE_LIMIT,
            qty="0.0001",
            price=f"{20_000 + at % 100}.5",
            client_order_id=f"{prefix}-{at}",
        ).SerializeToString()
        for at in range(count)
    ]


async def drive(served: Served, orders: list[bytes], callers: int) -> tuple[float, list[float], list[bytes]]:
    """Seconds in all, seconds of each call, the answers."""
    waits: list[float] = []
    answers: list[bytes] = []
    left = iter(orders)
    async with grpc.aio.insecure_channel(served.address) as channel:
        place = channel.unary_unary(NAME)

        async def caller() -> None:
            for order in left:
                began = time.perf_counter()
                answers.append(await place(order, metadata=served.metadata))
                waits.append(time.perf_counter() - began)

        started = time.perf_counter()
        await asyncio.gather(*[caller() for _ in range(callers)])
        return time.perf_counter() - started, waits, answers


class Side:
    """One of the two servers, and how its turns went."""

    def __init__(self, name: str, served: Served) -> None:
        self.name = name
        self._served = served
        self.rates: list[float] = []
        self.cpu_us: list[float] = []
        self.alone_ms: list[float] = []

    def turn(self, number: int, *, counts: bool = True) -> bytes:
        """Drive it once; one of its answers."""
        used = self._served.cpu_s()
        orders = requests(f"{self.name}-{number}", ORDERS)
        seconds, _, answers = uvloop.run(drive(self._served, orders, CALLERS))
        used = self._served.cpu_s() - used
        orders = requests(f"{self.name}-{number}-alone", ALONE)
        _, waits, alone = uvloop.run(drive(self._served, orders, 1))
        for answer in answers + alone:
            if pb.PlaceOrderResponse.FromString(answer).order.status != pb.ORDER_STATUS_NEW:
                raise SystemExit("an order was not accepted")
        if counts:
            self.rates.append(ORDERS / seconds)
            self.cpu_us.append(used / ORDERS * 1e6)
            self.alone_ms.append(statistics.median(waits) * 1e3)
        return answers[0]


def sync_ms(journal: Journal) -> float:
    """Median of the time to write and sync a row of one command."""
    waits = []
    for _ in range(ALONE):
        row = JournalRow(journal.last_seq + 1, 1, 0, bytes(COMMAND_SIZE // 3))
        began = time.perf_counter()
        journal.append(row)
        waits.append(time.perf_counter() - began)
    return statistics.median(waits) * 1e3


def main() -> int:
    syncs: list[float] = []
    with tempfile.TemporaryDirectory() as data_dir, serving(serve_orders, data_dir) as ours:
        orders = Side("PlaceOrder", ours)
        journal = open_journal(f"sqlite:{data_dir}/other.db", new_epoch="bench")
        with serving(serve_echo, orders.turn(0, counts=False)) as theirs:
            echo = Side("echo", theirs)
            echo.turn(0, counts=False)
            for number in range(1, TURNS + 1):
                orders.turn(number)
                echo.turn(number)
                syncs.append(sync_ms(journal))
        journal.close()
    report(orders, echo, syncs)
    return 0


def report(orders: Side, echo: Side, syncs: list[float]) -> None:
    print(f"{'':12}{f'{CALLERS} callers, orders/s: min / median / max':>45}{'CPU us/order':>14}{'one caller, p50 ms':>20}")
    result: dict[str, Any] = {"machine": machine(), "callers": CALLERS, "grpc": grpc.__version__}
    for side in (orders, echo):
        rates, cpu_us, alone_ms = spread(side.rates), spread(side.cpu_us), spread(side.alone_ms)
        print(f"{side.name:12}{_row(rates, ',.0f'):>45}{cpu_us[1]:>14.0f}{alone_ms[1]:>20.3f}")
        result[side.name] = {"orders_per_s": rates, "cpu_us_per_order": cpu_us, "alone_ms": alone_ms}
    ratios = spread([ours / theirs for ours, theirs in zip(orders.rates, echo.rates, strict=True)])
    alone = spread(
        [ours / (theirs + sync) for ours, theirs, sync in zip(orders.alone_ms, echo.alone_ms, syncs, strict=True)]
    )
    result |= {"sync_ms": spread(syncs), "ratio": ratios, "ratio_alone": alone}
    print(f"rate over the echo's, turn by turn: {_row(ratios, '.2f')}")
    print(f"one journal row, synced: {_row(spread(syncs), '.3f')} ms")
    print(f"one caller's p50 over the echo's plus that, turn by turn: {_row(alone, '.2f')}")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def _row(values: list[float], form: str) -> str:
    return " / ".join(format(value, form) for value in values)


if __name__ == "__main__":
    sys.exit(main())
