"""Stores against their bare drivers, in the same run on the same servers: what our rules (checksums, locks, exactly
once, spool) cost. Each pair is measured in turns and the best of the rounds counts, so that a busy machine hits both
alike.
"""

from __future__ import annotations

import asyncio
import json
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_driver
import duckdb
import numpy as np
import orjson
import psycopg
from redis.asyncio import Redis

from loadtest.servers import LocalServer, ServerAbsent, running
from server.base.clock import SystemClock
from server.base.instruments import Instrument, InstrumentKind
from server.market.bus_messages import decode, encode
from server.market.model import Quote, Trade
from server.market.recorder import TickWriter, tick_key
from server.storage.ports import Journal, JournalRow, TickBatch, TickStore
from server.storage.spool import Spool
from server.storage.tick_tables import MINUTE_NS, TABLES, tick_batch
from server.storage.urls import open_bus, open_journal, open_tick_store

RESULTS = Path("var/bench/stores.json")
ROUNDS = 3
ROUND_S = 0.5
COMMAND_BYTES = 128
BATCH_ROWS = 50_000
MESSAGES = 20_000
BTC = Instrument(
    1, "binance:BTC/USDT", "BTC", "USDT", InstrumentKind.SPOT, tick_size=Decimal("0.01"), lot_size=Decimal("0.00001")
)
START = 1_700_000_000_000_000_000 // MINUTE_NS * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Measure:
    """Ours and the bare driver's rate; `bare` is 0 where there is nothing bare to compare with."""

    name: str
    unit: str
    ours: float
    bare: float = 0.0


Step = Callable[[], int]
"""Does some work, returns how many units it did."""


def rates(*steps: Step) -> list[float]:
    """Units per second of each, the best of some rounds taken in turns."""
    best = [0.0] * len(steps)
    for _ in range(ROUNDS):
        for index, step in enumerate(steps):
            done, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < ROUND_S:
                done += step()
            best[index] = max(best[index], done / elapsed)
    return best


# -- journals ------------------------------------------------------------------------------------------------


def journal_measures(
    name: str, journal: Journal, bare_insert: Callable[[tuple[object, ...]], object]
) -> Iterator[Measure]:
    bare_seq = 1

    def ours(count: int) -> Step:
        payload = bytes(COMMAND_BYTES * count)

        def step() -> int:
            journal.append(JournalRow(journal.last_seq + 1, count, START, payload))
            return count

        return step

    def bare(count: int) -> Step:
        payload = bytes(COMMAND_BYTES * count)

        def step() -> int:
            nonlocal bare_seq
            bare_insert((bare_seq, count, START, payload, b"checksum"))
            bare_seq += count
            return count

        return step

    for count in (1, 100, 1_000):
        unit = "durable commits/s" if count == 1 else "durable commands/s"
        yield Measure(f"{name}, {count} a commit", unit, *rates(ours(count), bare(count)))


def sqlite_measures(directory: Path) -> Iterator[Measure]:
    bare = sqlite3.connect(directory / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE rows (first_seq INTEGER PRIMARY KEY, count, ts_ns, payload BLOB, checksum BLOB)")
    journal = open_journal(f"sqlite:///{directory / 'journal.db'}", new_epoch="bench")
    yield from journal_measures(
        "journal SQLite", journal, lambda row: bare.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", row)
    )
    journal.close()
    bare.close()


def postgres_measures(server: LocalServer) -> Iterator[Measure]:
    with psycopg.connect(server.url, autocommit=True) as bare:
        bare.execute(
            "CREATE TABLE bare (first_seq bigint PRIMARY KEY, count int, ts_ns bigint, payload bytea, checksum bytea)"
        )
        bare.execute("ALTER TABLE bare ALTER COLUMN payload SET STORAGE EXTERNAL")
        journal = open_journal(server.url, new_epoch="bench")
        insert = "INSERT INTO bare VALUES (%s, %s, %s, %b, %b)"
        yield from journal_measures("journal PostgreSQL", journal, lambda row: bare.execute(insert, row, prepare=True))
        journal.close()


# -- tick stores ---------------------------------------------------------------------------------------------


def trade_batches() -> Iterator[TickBatch]:
    rng = np.random.default_rng(1)
    columns = {name: rng.integers(1, 10**6, BATCH_ROWS) for name in ("price", "qty", "aggressor_side")}
    ids = [f"{number}" for number in range(BATCH_ROWS)]
    row_id = 1
    while True:
        times = START + (row_id + np.arange(BATCH_ROWS, dtype=np.int64)) * 1_000_000
        yield tick_batch(
            "trades", tick_key(BTC), row_id, {"time_ns": times, "receive_time_ns": times, "trade_id": ids, **columns}
        )
        row_id += BATCH_ROWS


def tick_measures(name: str, store: TickStore, bare_write: Callable[[TickBatch], object]) -> Iterator[Measure]:
    ours, theirs = trade_batches(), trade_batches()

    def step() -> int:
        store.write(next(ours))
        return BATCH_ROWS

    def bare_step() -> int:
        bare_write(next(theirs))
        return BATCH_ROWS

    yield Measure(f"{name}, batches of {BATCH_ROWS:,}", "rows/s", *rates(step, bare_step))
    stored = tick_key(BTC)
    rows = int(np.asarray(store.candles(stored, 10**9 * 86_400, 0, START * 2)["trades"]).sum())

    def candles() -> int:
        store.candles(stored, MINUTE_NS, 0, START * 2)
        return rows

    yield Measure(f"{name}, one-minute candles of {rows:,} trades", "rows scanned/s", *rates(candles))
    yield Measure(f"{name}, recorder end to end", "rows/s", asyncio.run(recorded(store)))


async def recorded(store: TickStore) -> float:
    """Trades through the recorder: record, spool, store."""
    count = 4 * BATCH_ROWS
    with tempfile.TemporaryDirectory() as directory:
        writer = TickWriter(store, Spool(Path(directory)), SystemClock())
        writer.start()
        start = time.perf_counter()
        for number in range(count):
            writer.record(Trade(BTC, str(number), 1, 2, 1, START + number, START + number))
            if number % 1_000 == 0:
                await asyncio.sleep(0)
        await writer.stop(grace_s=60)
        status = writer.status
        if status.rows_dropped or status.rows_stored < count:
            raise RuntimeError(f"the recorder did not store all: {status}")
        return count / (time.perf_counter() - start)


def duckdb_measures(directory: Path) -> Iterator[Measure]:
    bare = duckdb.connect(str(directory / "bare.duckdb"))
    kinds = TABLES["trades"]
    definition = ", ".join(f"{name} {'VARCHAR' if kind == 'text' else 'BIGINT'}" for name, kind in kinds.items())
    bare.execute(f"CREATE TABLE trades ({definition})")

    def write(batch: TickBatch) -> None:
        texts = np.empty(BATCH_ROWS, dtype=object)
        texts[:] = batch.columns["trade_id"]
        bare.register("batch", {**batch.columns, "trade_id": texts})
        bare.execute(f"INSERT INTO trades SELECT {', '.join(kinds)} FROM batch")
        bare.unregister("batch")

    store = open_tick_store(f"duckdb:///{directory / 'ticks.duckdb'}")
    yield from tick_measures("ticks DuckDB", store, write)
    store.close()
    bare.close()


def clickhouse_measures(server: LocalServer) -> Iterator[Measure]:
    store = open_tick_store(server.url)
    bare = clickhouse_driver.Client.from_url(server.url)
    kinds = TABLES["trades"]
    definition = ", ".join(f"{name} {'String' if kind == 'text' else 'Int64'}" for name, kind in kinds.items())
    bare.execute(f"CREATE TABLE bare ({definition}) ENGINE = MergeTree() ORDER BY (instrument_id, time_ns, row_id)")

    def write(batch: TickBatch) -> None:
        columns = [c.tolist() if isinstance(c, np.ndarray) else c for c in (batch.columns[name] for name in kinds)]
        bare.execute(f"INSERT INTO bare ({', '.join(kinds)}) VALUES", columns, columnar=True)

    yield from tick_measures("ticks ClickHouse", store, write)
    store.close()
    bare.disconnect()


# -- buses ---------------------------------------------------------------------------------------------------


async def bus_rate(url: str) -> float:
    """Messages from publisher to a subscriber in the same process."""
    bus = open_bus(url, first_sequence=time.perf_counter_ns())
    messages = await bus.subscribe(["quote:*"])
    start = time.perf_counter()
    for sent in range(0, MESSAGES, 500):
        for number in range(sent, sent + 500):
            bus.publish_market(f"quote:{number % 10}", bytes(64))
        for _ in range(500):
            await anext(messages)
    rate = MESSAGES / (time.perf_counter() - start)
    await messages.aclose()
    await bus.close()
    return rate


async def bare_redis_rate(url: str) -> float:
    client: Any = Redis.from_url(url)
    pubsub = client.pubsub()
    await pubsub.psubscribe("bare:*")
    await pubsub.parse_response(block=True)
    start = time.perf_counter()
    for sent in range(0, MESSAGES, 500):
        async with client.pipeline(transaction=False) as pipeline:
            for number in range(sent, sent + 500):
                pipeline.publish(f"bare:{number % 10}", bytes(72))
            await pipeline.execute()
        for _ in range(500):
            await pubsub.parse_response(block=True)
    rate = MESSAGES / (time.perf_counter() - start)
    await pubsub.aclose()
    await client.aclose()
    return rate


def redis_measures(server: LocalServer) -> Iterator[Measure]:
    ours = max(asyncio.run(bus_rate(server.url)) for _ in range(ROUNDS))
    bare = max(asyncio.run(bare_redis_rate(server.url)) for _ in range(ROUNDS))
    yield Measure("bus Redis, publish to receipt", "messages/s", ours, bare)


def memory_measures(_: Path) -> Iterator[Measure]:
    yield Measure("bus in process", "messages/s", max(asyncio.run(bus_rate("memory:")) for _ in range(ROUNDS)))


def packing_measures(_: Path) -> Iterator[Measure]:
    """A quote to bytes and back, packed as the bus does it and as JSON."""
    quote = Quote(BTC, 6_000_000, 123_456, 6_000_001, 654_321, START, START + 1)
    names = ("bid_price", "bid_qty", "ask_price", "ask_qty", "venue_time_ns", "receive_time_ns")

    def packed() -> int:
        for _ in range(1_000):
            decode(encode(quote, 42), BTC, 42)
        return 1_000

    def as_json() -> int:
        for _ in range(1_000):
            fields = orjson.loads(orjson.dumps({name: getattr(quote, name) for name in names}))
            Quote(BTC, *(fields[name] for name in names))
        return 1_000

    yield Measure("bus payload of a quote, packed against JSON", "updates/s", *rates(packed, as_json))


# -- report --------------------------------------------------------------------------------------------------


def main() -> int:
    measures: list[Measure] = []
    absent: list[str] = []

    def take(found: Iterator[Measure]) -> None:
        for measure in found:
            measures.append(measure)
            ratio = f"{measure.ours / measure.bare:6.2f} of bare {measure.bare:12,.0f}" if measure.bare else ""
            print(f"{measure.name:55s} {measure.ours:14,.0f} {measure.unit:20s} {ratio}", flush=True)

    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradewind-bench-")))
        for embedded in (sqlite_measures, duckdb_measures, memory_measures, packing_measures):
            take(embedded(directory))
    for name, measured in (
        ("postgresql", postgres_measures),
        ("clickhouse", clickhouse_measures),
        ("redis", redis_measures),
    ):
        try:
            with running(name) as server:
                take(measured(server))
        except ServerAbsent as problem:
            absent.append(name)
            print(f"{name}: {problem}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    facts = {"python": platform.python_version(), "machine": platform.machine(), "absent": absent}
    RESULTS.write_text(json.dumps(facts | {"measures": [asdict(measure) for measure in measures]}, indent=2))
    print(f"written to {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
