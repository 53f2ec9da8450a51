"""The matching engine alone: nine workloads through its batch interface, with validation, reports and unbounded prices.

    python -m loadtest.bench.matching [--x10] [--rounds N] [--only NAME ...]

One thread, batches of 1,024 commands, a report for each thing that happens. Each round starts a fresh engine, builds
the book (not timed), and times the commands; a run first checks, apart from the timing, that the trades are exactly
those of the reference matcher. Exits 1 if any checksum differs. Besides the workloads of `_workload.py` there are
xc_100k_ids (its ids spread over all 64 bits) and itch_1k_256 (256 books take turns). Writes var/bench/matching.json
(matching-x10.json).

Times are CPU time of the thread: on an idle machine the same as elapsed time, on a busy one still about this program.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.model.enums import TimeInForce
from fastpath.standalone.matching_engine import REPORT, EngineOp, MatchingEngine, ReportKind
from loadtest.bench._workload import H0, MASK, WORKLOADS, K, Workload, cached

OUT = Path("var/bench")
COMMANDS = 1_000_000
BATCH = 1024
REPORTS = 8 * BATCH
MAX_ORDERS = 1 << 20
GOALS = {"xc_1k": (15, 45), "xc_100k": (10, 40), "itch_1k": (30, 75), "itch_100k": (15, 55), "swing_5k": (10, 20)}
SCATTER = 0x9E3779B97F4A7C15  # odd: multiplying by it renames ids one to one
MANY_BOOKS = 256
NAMES = [*WORKLOADS, "xc_100k_ids", "itch_1k_256"]

SOURCE = np.dtype([("op", "u1"), ("side", "u1"), ("zero", "<u2"), ("id", "<u4"), ("price", "<u4"), ("qty", "<u4")])
COMMAND = np.dtype(
    [("op", "u1"), ("side", "u1"), ("time_in_force", "u1"), ("flags", "u1"), ("instrument", "<u4"),
     ("id", "<u8"), ("price", "<i8"), ("qty", "<i8")]
)  # fmt: skip
REPORT_TYPE = np.dtype(
    [("seq", "<u8"), ("kind", "u1"), ("op", "u1"), ("reason", "u1"), ("side", "u1"), ("instrument", "<u4"),
     ("id", "<u8"), ("maker_id", "<u8"), ("price", "<i8"), ("qty", "<i8"), ("leaves", "<i8"), ("maker_leaves", "<i8")]
)  # fmt: skip

NEW, CANCEL, REDUCE, MOVE = (
    int(op) for op in (EngineOp.ENGINE_NEW, EngineOp.ENGINE_CANCEL, EngineOp.ENGINE_REDUCE, EngineOp.ENGINE_MOVE)
)
GTC, IOC = int(TimeInForce.TIME_IN_FORCE_GTC), int(TimeInForce.TIME_IN_FORCE_IOC)


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    exact: bool
    trades: int
    rates: list[float]  # million commands a second, one a round

    def as_json(self) -> dict[str, Any]:
        return {
            "workload": self.name,
            "exact": self.exact,
            "trades": self.trades,
            "million_commands_per_s": {
                "min": round(min(self.rates), 2),
                "median": round(statistics.median(self.rates), 2),
                "max": round(max(self.rates), 2),
            },
        }


def engine_commands(workload: Workload) -> NDArray[np.void]:
    """The records of a workload as the engine reads them. A market order is an IOC at the extreme price it carries."""
    source = np.frombuffer(workload.records, SOURCE)
    commands = np.zeros(len(source), COMMAND)
    commands["op"] = np.array([NEW, CANCEL, REDUCE, MOVE, NEW, NEW], "u1")[source["op"]]
    commands["time_in_force"] = np.array([GTC, 0, 0, 0, IOC, IOC], "u1")[source["op"]]
    commands["side"] = source["side"] + 1
    commands["instrument"] = 1
    for field in ("id", "price", "qty"):
        commands[field] = source[field]
    return commands


@dataclass(frozen=True, slots=True)
class Stream:
    """Commands as the engine reads them, what a book of theirs must come to, and how they were made of the workload's."""

    workload: Workload
    commands: bytes
    prefill: int
    books: int = 1
    scatter: int = 1  # ids are the workload's times this


def stream_of(name: str, n: int) -> Stream:
    """The stream `name` with about `n` commands after its prefill."""
    if name == "xc_100k_ids":
        workload = cached("xc_100k", n, OUT / "workloads")
        commands = engine_commands(workload)
        commands["id"] *= np.uint64(SCATTER)
        return Stream(workload, commands.tobytes(), workload.prefill, scatter=SCATTER)
    if name == "itch_1k_256":
        workload = cached("itch_1k", n // MANY_BOOKS, OUT / "workloads")
        once = engine_commands(workload)
        commands = np.repeat(once, MANY_BOOKS)
        book = np.tile(np.arange(1, MANY_BOOKS + 1, dtype=np.uint32), len(once))
        commands["instrument"] = book
        commands["id"] += np.uint64(1 << 32) * book.astype(np.uint64)
        return Stream(workload, commands.tobytes(), workload.prefill * MANY_BOOKS, MANY_BOOKS)
    workload = cached(name, n, OUT / "workloads")
    return Stream(workload, engine_commands(workload).tobytes(), workload.prefill)


def run(
    commands: bytes, prefill: int, drain: Callable[[memoryview], None] | None = None, books: int = 1
) -> tuple[float, MatchingEngine]:
    """Seconds taken by what follows the prefill. `drain` sees every batch of reports (between the timed stretches)."""
    engine = MatchingEngine(max_orders=MAX_ORDERS, max_books=books + 1)
    for instrument in range(1, books + 1):
        engine.create_book(instrument)
    engine.apply(commands[: prefill * COMMAND.itemsize])
    source = memoryview(commands)[prefill * COMMAND.itemsize :]
    reports = bytearray(REPORTS * REPORT.size)
    view = memoryview(reports)
    seconds = 0.0
    at, size = 0, COMMAND.itemsize
    while at < len(source):
        batch = source[at : at + BATCH * size]
        start = time.thread_time()
        consumed, written = engine.process(batch, reports)
        seconds += time.thread_time() - start
        if drain is not None:
            drain(view[: written * REPORT.size])
        at += consumed * size
    return seconds, engine


def checksum_of(trades: NDArray[np.void], scatter: int) -> tuple[int, int, int]:
    """(checksum, trades, traded quantity) as the workload tells them, of its own ids."""
    back = np.uint64(pow(scatter, -1, 1 << 64))
    low = np.uint64(0xFFFFFFFF)
    makers, takers = (trades["maker_id"] * back) & low, (trades["id"] * back) & low
    checksum = H0
    for maker, taker, qty, price in zip(
        makers.tolist(), takers.tolist(), trades["qty"].tolist(), trades["price"].tolist(), strict=True
    ):
        checksum = ((checksum ^ (maker | taker << 32)) * K) & MASK
        checksum = ((checksum ^ (qty | price << 32)) * K) & MASK
    return checksum, len(trades), int(trades["qty"].sum())


def is_exact(stream: Stream) -> bool:
    """Every book made exactly the trades of the reference."""
    batches: list[NDArray[np.void]] = []

    def keep_trades(reports: memoryview) -> None:
        batch = np.frombuffer(reports, REPORT_TYPE)
        batches.append(batch[batch["kind"] == int(ReportKind.REPORT_TRADE)].copy())

    _, engine = run(stream.commands, stream.prefill, keep_trades, stream.books)
    engine.validate()
    workload = stream.workload
    trades = np.concatenate(batches)
    wanted = (workload.checksum, workload.trades, workload.traded_qty)
    same = all(
        checksum_of(trades[trades["instrument"] == book], stream.scatter) == wanted
        for book in range(1, stream.books + 1)
    )
    return same and engine.order_count == workload.resting_end * stream.books


def measure(name: str, n: int, rounds: int) -> Result:
    stream = stream_of(name, n)
    exact = is_exact(stream)
    timed = len(stream.commands) // COMMAND.itemsize - stream.prefill
    rates = [timed / run(stream.commands, stream.prefill, books=stream.books)[0] / 1e6 for _ in range(rounds)]
    return Result(name, exact, stream.workload.trades * stream.books, rates)


def commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--x10", action="store_true", help="ten times the commands")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    arguments = parser.parse_args()
    n = COMMANDS * 10 if arguments.x10 else COMMANDS
    print(f"matching engine, {n:,} commands a workload, million commands/s (floor / goal)")
    results = []
    for name in arguments.only:
        result = measure(name, n, arguments.rounds)
        results.append(result)
        floor, goal = GOALS.get(name, ("-", "-"))
        low, middle, high = min(result.rates), statistics.median(result.rates), max(result.rates)
        verdict = "exact" if result.exact else "WRONG TRADES"
        print(f"  {name:10} {low:6.1f} {middle:6.1f} {high:6.1f}   ({floor} / {goal})  {verdict}", flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / ("matching-x10.json" if arguments.x10 else "matching.json")
    facts = {
        "machine": cpu(), "python": platform.python_version(), "commit": commit(), "commands": n, "batch": BATCH,
        "results": [result.as_json() for result in results],
    }  # fmt: skip
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"  written to {path}")
    return 0 if all(result.exact for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
