"""Durability: group commits against a bare sqlite3 loop in the same run, recovery with and without a snapshot, and how
long the engine is held up while a snapshot is made.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from fastpath.model import codec, records
from fastpath.model.enums import AccountMode, OrderType, Side, TimeInForce
from server.base.clock import SystemClock
from server.engine.engine import Engine, new_exchange
from server.engine.limits import EngineLimits
from server.engine.runner import Runner
from server.engine.setup import AccountSetup, Funding, Setup, apply_setup, internal_spot
from server.engine.trading import Trading
from server.records import commands
from server.recovery.recover import command_batches, recover
from server.recovery.replica import Replica, SnapshotDone
from server.storage.ports import JournalRow
from server.storage.snapshot_files import SnapshotFiles
from server.storage.sqlite_journal import SqliteJournal
from server.storage.sqlite_rows import SqliteJournalReader
from server.storage.urls import sqlite_url

RESULTS = Path("var/bench/recovery.json")
COMMANDS = 300_000
GROUP = 1_000
ROUNDS = 3
ROUND_S = 0.5
LIMITS = EngineLimits(max_orders=1_000_000)
_MONEY = (Funding("USDT", "1000000000"), Funding("BTC", "1000000"))
SETUP = Setup(
    instruments=(internal_spot("BTC/USDT", "0.01", "0.00001"),),
    accounts=tuple(AccountSetup(name, int(AccountMode.ACCOUNT_MODE_PAPER), _MONEY) for name in ("alice", "bob")),
)


def orders(count: int, start: int, rng: Random) -> bytes:
    """Limit orders around one price, of which about half trade."""
    return b"".join(
        commands.place(
            account=1 + n % 2,
            instrument=1,
            side=int(rng.choice((Side.SIDE_BUY, Side.SIDE_SELL))),
            order_type=int(OrderType.ORDER_TYPE_LIMIT),
            time_in_force=int(TimeInForce.TIME_IN_FORCE_GTC),
            qty=rng.randrange(1_000, 2_000),
            price=rng.randrange(100_00, 101_00),
            client_order_id=f"b{start + n}",
        )
        for n in range(count)
    )


def rate(step: Callable[[], int]) -> float:
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < ROUND_S:
        done += step()
    return done / elapsed


def commits(directory: Path, group: int) -> tuple[float, float]:
    """Commands made durable a second by the journal, and by a bare sqlite3 loop with the same bytes; best of rounds."""
    journal = SqliteJournal(directory / f"ours{group}.db", new_epoch="bench")
    bare = sqlite3.connect(directory / f"bare{group}.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE commits (first_seq INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    packed = bytearray(orders(group, 0, Random(1)))
    records.stamp(packed, 1, 1)
    payload = codec.encode(packed)

    def ours() -> int:
        journal.append(JournalRow(journal.last_seq + 1, group, 1, payload))
        return group

    def theirs() -> int:
        bare.execute("INSERT INTO commits (payload) VALUES (?)", (payload,))
        return group

    best = [0.0, 0.0]
    for _ in range(ROUNDS):
        best = [max(best[0], rate(ours)), max(best[1], rate(theirs))]
    journal.close()
    bare.close()
    return best[0], best[1]


async def fill(directory: Path) -> tuple[float, dict[str, float]]:
    """Orders through the whole engine; then a snapshot beside a running stream of orders."""
    journal = SqliteJournal(directory / "journal.db", new_epoch="bench")
    engine = Engine(LIMITS, journal.epoch)
    runner = Runner(engine, journal, SystemClock())
    runner.start()
    await apply_setup(Trading(engine, runner, lambda: "unused"), SETUP)
    rng = Random(2)
    prepared = [orders(GROUP, start, rng) for start in range(0, COMMANDS, GROUP)]
    start = time.perf_counter()
    for first in range(0, len(prepared), 32):
        await asyncio.gather(*map(runner.submit, prepared[first : first + 32]))
    durable = COMMANDS / (time.perf_counter() - start)
    quiet = await slowest(runner, 0.5, COMMANDS)
    replica = Replica.of(sqlite_url(directory / "journal.db"), directory / "snapshots", 3, LIMITS)
    making = asyncio.create_task(replica.snapshot())
    busy = await slowest(runner, 0.5, COMMANDS + 100_000, making)
    done = await making
    await runner.stop()
    return durable, {
        "snapshot_s": done.seconds,
        "snapshot_bytes": done.size,
        "slowest_order_ms": 1e3 * quiet,
        "slowest_order_while_a_snapshot_is_made_ms": 1e3 * busy,
    }


async def slowest(
    runner: Runner, least_s: float, start: int, until: asyncio.Task[SnapshotDone] | None = None
) -> float:
    """The longest one order took, one after the other, for some time."""
    worst, number, begin = 0.0, start, time.perf_counter()
    while time.perf_counter() - begin < least_s or (until is not None and not until.done()):
        number += 1
        before = time.perf_counter()
        await runner.submit(orders(1, number, Random(number)))
        worst = max(worst, time.perf_counter() - before)
    return worst


async def recoveries(directory: Path) -> dict[str, float]:
    """Commands a second: the exchange alone, the whole engine; and seconds from the snapshot.

    By the clock and by the CPU's time, which says more on a machine that does other things, too.
    """
    reader = SqliteJournalReader(directory / "journal.db")
    exchange = new_exchange(LIMITS)
    start, cpu = time.perf_counter(), time.process_time()
    for batch, _ in command_batches(reader, 1, LIMITS.batch_commands):
        exchange.apply(batch)
    bare, bare_cpu = time.perf_counter() - start, time.process_time() - cpu
    whole = Engine(LIMITS, reader.epoch)
    cpu = time.process_time()
    full = await recover(whole, reader)
    full_cpu = time.process_time() - cpu
    start = time.perf_counter()
    from_snapshot = Engine(LIMITS, reader.epoch)
    done = await recover(from_snapshot, reader, SnapshotFiles(directory / "snapshots", keep=3))
    seconds = time.perf_counter() - start
    assert exchange.state_hash() == whole.exchange.state_hash() == from_snapshot.exchange.state_hash()
    reader.close()
    return {
        "replay_exchange_commands_per_s": reader.last_seq / bare,
        "replay_exchange_commands_per_cpu_s": reader.last_seq / bare_cpu,
        "replay_engine_commands_per_s": full.commands_per_s,
        "replay_engine_commands_per_cpu_s": reader.last_seq / full_cpu,
        "recovery_from_snapshot_s": seconds,
        "commands_after_snapshot": float(done.commands),
    }


def main() -> None:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="tradewind-bench-") as name:
        directory = Path(name)
        for group in (1, 100, GROUP):
            ours, bare = commits(directory, group)
            figures |= {f"commit_{group}_per_s": ours, f"commit_{group}_bare_per_s": bare}
            print(f"durable commands/s in groups of {group:>5}: {ours:>12,.0f}, bare sqlite3 {bare:>12,.0f}, "
                  f"ratio {ours / bare:.2f}")  # fmt: skip
        durable, snapshot = asyncio.run(fill(directory))
        figures |= {"engine_durable_per_s": durable} | snapshot | asyncio.run(recoveries(directory))
    print(f"durable orders/s through the engine, groups of {GROUP}: {durable:,.0f}")
    for label, value in figures.items():
        if not label.startswith("commit_"):
            print(f"  {label:<45} {value:>14,.1f}")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({
        "commit": commit,
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commands": COMMANDS,
        "figures": figures,
    }, indent=1))  # fmt: skip
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
