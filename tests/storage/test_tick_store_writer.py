"""The recorder and its spool: rows arrive once whatever happens to the store, and memory and disk stay bounded."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from loadtest.servers import ClickHouseServer
from server.base.clock import ManualClock
from server.base.errors import Unavailable
from server.base.instruments import Instrument, InstrumentKind
from server.market.model import BookUpdate, FeedState, Quote, Trade
from server.market.recorder import TickWriter, TickWriterLimits, tick_key
from server.storage.ports import TickBatch, TickStore
from server.storage.spool import Spool
from server.storage.tick_tables import TABLES, CorruptBatch, pack, unpack
from server.storage.urls import open_tick_store
from tests.waiting import until

BTC = Instrument(
    1, "binance:BTC/USDT", "BTC", "USDT", InstrumentKind.SPOT, tick_size=Decimal("0.01"), lot_size=Decimal("0.00001")
)
START = 1_700_000_000_000_000_000
END = START + 10**15
QUICK = TickWriterLimits(flush_s=0.02, batch_rows=500, retry_s=(0.02, 0.1), book_interval_s=0.05)


def trade(number: int) -> Trade:
    return Trade(
        BTC, f"t{number}", 6_000_000 + number % 100, 1 + number, 1 + number % 2, START + number, START + number + 5
    )


def quote(number: int) -> Quote:
    return Quote(BTC, 100, 1, 101, number, None, START + number)


@pytest.fixture(params=["duckdb", "clickhouse"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TickStore]:
    is_duckdb = request.param == "duckdb"
    url = f"duckdb:///{tmp_path / 'ticks.duckdb'}" if is_duckdb else request.getfixturevalue("clickhouse_url")
    opened = open_tick_store(url)
    yield opened
    opened.close()


@asynccontextmanager
async def recording(
    store: TickStore, directory: Path, limits: TickWriterLimits = QUICK, **options: object
) -> AsyncIterator[TickWriter]:
    writer = TickWriter(store, Spool(directory), ManualClock(START), limits, **options)  # type: ignore[arg-type]
    writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


def stored_ids(store: TickStore) -> list[str]:
    return list(store.rows("trades", tick_key(BTC), 0, END, limit=10**7)["trade_id"])  # type: ignore[arg-type]


async def test_what_is_recorded_is_stored(store: TickStore, tmp_path: Path) -> None:
    snapshot = BookUpdate(BTC, ((100, 5), (99, 6)), ((101, 7),), True, FeedState.LIVE, 42, START, START + 1)
    async with recording(store, tmp_path / "spool", snapshots=lambda: [snapshot]) as writer:
        for number in range(2_000):
            writer.record(trade(number))
            writer.record(quote(number))
        writer.record(BookUpdate(BTC, ((1, 1),), (), False, FeedState.LIVE, 43, START, START))
        writer.record(BookUpdate(BTC, (), (), True, FeedState.STALE, 44, START, START))
        await until(lambda: writer.status.rows_recorded > 4_001)
    status = writer.status
    assert status.rows_stored == status.rows_recorded
    assert (status.rows_spooled, status.rows_dropped, status.error) == (0, 0, None)
    assert stored_ids(store) == [f"t{number}" for number in range(2_000)]
    quotes = store.rows("quotes", tick_key(BTC), 0, END)
    assert np.asarray(quotes["ask_qty"]).tolist() == list(range(2_000))
    books = store.rows("books", tick_key(BTC), 0, END)
    assert (books["bid_prices"][0], books["ask_qtys"][0]) == ([100, 99], [7])
    assert set(np.asarray(books["venue_sequence"]).tolist()) == {42}
    assert store.instruments() == [tick_key(BTC)]


class Broken:
    """A real store whose calls fail at chosen moments, before or after they did their work."""

    def __init__(self, store: TickStore, failures: Iterator[str]) -> None:
        self._store = store
        self._failures = failures

    def write(self, batch: TickBatch, *, retry: bool = False) -> None:
        failure = next(self._failures, "")
        if failure == "before":
            raise Unavailable("lost before")
        self._store.write(batch, retry=retry)
        if failure == "after":
            raise Unavailable("lost after")


async def test_every_row_is_stored_once_whenever_the_connection_breaks(store: TickStore, tmp_path: Path) -> None:
    failures = itertools.islice(itertools.cycle(["after", "before", "", "after", ""]), 60)
    async with recording(Broken(store, failures), tmp_path / "spool") as writer:  # type: ignore[arg-type]
        for number in range(5_000):
            writer.record(trade(number))
            if number % 250 == 0:
                await asyncio.sleep(0.02)
        await until(lambda: writer.status.rows_stored == writer.status.rows_recorded)
    assert stored_ids(store) == [f"t{number}" for number in range(5_000)]


async def test_what_the_store_did_not_take_waits_for_the_next_start(store: TickStore, tmp_path: Path) -> None:
    away = Broken(store, itertools.chain(["after"], itertools.repeat("before")))
    writer = TickWriter(away, Spool(tmp_path / "spool"), ManualClock(START), QUICK)  # type: ignore[arg-type]
    writer.start()
    for number in range(1_200):
        writer.record(trade(number))
    await until(lambda: writer.status.error is not None)
    await writer.stop(grace_s=0.1)
    assert writer.status.rows_spooled == writer.status.rows_recorded
    async with recording(store, tmp_path / "spool") as writer:
        writer.record(trade(1_200))
    assert stored_ids(store) == [f"t{number}" for number in range(1_201)]


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_clickhouse_restarts_under_load(
    clickhouse: ClickHouseServer, clickhouse_url: str, tmp_path: Path, how: str
) -> None:
    """Three times. Every row is there once, and the recorder never waited."""
    store = open_tick_store(clickhouse_url)
    recorded = 0
    async with recording(store, tmp_path / "spool") as writer:

        async def load(count: int) -> None:
            nonlocal recorded
            for _ in range(count):
                for _ in range(50):
                    writer.record(trade(recorded))
                    recorded += 1
                await asyncio.sleep(0.01)

        for _ in range(3):
            await load(20)
            ended = asyncio.create_task(asyncio.to_thread(getattr(clickhouse, how)))
            await load(20)
            await ended
            await until(lambda: writer.status.error is not None)
            await asyncio.gather(load(20), asyncio.to_thread(clickhouse.start))
        await until(lambda: writer.status.rows_stored == writer.status.rows_recorded)
    assert stored_ids(store) == [f"t{number}" for number in range(recorded)]
    store.close()


async def test_a_frozen_clickhouse_is_an_absent_one(
    clickhouse: ClickHouseServer, clickhouse_url: str, tmp_path: Path
) -> None:
    store = open_tick_store(clickhouse_url, timeout_s=0.5)
    async with recording(store, tmp_path / "spool") as writer:
        writer.record(trade(0))
        await until(lambda: writer.status.rows_stored == 2)
        clickhouse.freeze()
        try:
            for number in range(1, 1_000):
                writer.record(trade(number))
            await until(lambda: writer.status.error is not None)
        finally:
            clickhouse.thaw()
        await until(lambda: writer.status.rows_stored == writer.status.rows_recorded)
    assert stored_ids(store) == [f"t{number}" for number in range(1_000)]
    store.close()


async def test_a_full_spool_drops_the_oldest_and_says_so(store: TickStore, tmp_path: Path) -> None:
    away = Broken(store, itertools.repeat("before"))
    spool = Spool(tmp_path / "spool", limit_bytes=100_000)
    writer = TickWriter(away, spool, ManualClock(START), QUICK)  # type: ignore[arg-type]
    writer.start()
    for number in range(20_000):
        writer.record(trade(number))
        if number % 500 == 0:
            await asyncio.sleep(0)
    await until(lambda: writer.status.rows_dropped + writer.status.rows_spooled == writer.status.rows_recorded)
    status = writer.status
    await writer.stop(grace_s=0)
    assert status.spool_bytes <= 100_000
    assert sum(file.stat().st_size for file in (tmp_path / "spool").iterdir()) <= 100_000
    assert status.rows_dropped > 10_000
    async with recording(store, tmp_path / "spool"):
        pass
    kept = [int(text[1:]) for text in stored_ids(store)]
    assert kept == list(range(kept[0], 20_000))


async def test_memory_is_bounded_while_nothing_is_flushed(store: TickStore, tmp_path: Path) -> None:
    limits = TickWriterLimits(flush_s=60, buffered_rows=1_000)
    writer = TickWriter(store, Spool(tmp_path / "spool"), ManualClock(START), limits)
    for number in range(5_000):
        writer.record(trade(number))
    assert writer.status.rows_dropped == 4_001
    writer.start()
    await writer.stop()
    assert writer.status.error is None
    assert len(stored_ids(store)) == 999


async def test_a_damaged_spool_file_is_left_out_and_counted(store: TickStore, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    writer = TickWriter(Broken(store, itertools.repeat("before")), spool, ManualClock(START), QUICK)  # type: ignore[arg-type]
    writer.start()
    for number in range(1_500):
        writer.record(trade(number))
    await until(lambda: writer.status.rows_spooled == 1_501)
    await writer.stop(grace_s=0)
    second = sorted((tmp_path / "spool").glob("*trades*"))[1]
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    (tmp_path / "spool" / "torn.new").write_bytes(b"half a batch")
    async with recording(store, tmp_path / "spool") as writer:
        pass
    assert writer.status.batches_corrupt == 1
    assert stored_ids(store) == [f"t{number}" for number in (*range(500), *range(1_000, 1_500))]


def test_a_spool_whose_files_were_taken_away_is_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for row_id in (1, 2):
        columns = {name: np.array([row_id]) if kind == "integer" else ["t"] for name, kind in TABLES["trades"].items()}
        spool.put(TickBatch("trades", columns))
    assert spool.rows == 2
    shutil.rmtree(tmp_path / "spool")
    assert spool.oldest() is None
    assert (spool.rows, spool.rows_dropped) == (0, 2)


async def test_old_ticks_are_dropped_and_their_candles_stay(store: TickStore, tmp_path: Path) -> None:
    day = 86_400_000_000_000
    midnight = START // day * day
    clock = ManualClock(midnight + 10 * day)
    limits = replace(QUICK, retention_days=3, retention_every_s=0.05)
    writer = TickWriter(store, Spool(tmp_path / "spool"), ManualClock(START), QUICK)
    writer.start()
    for days, number in ((d, n) for d in (1, 2, 6, 7, 8) for n in range(200)):
        time_ns = midnight + days * day + number * 10_000_000_000
        writer.record(replace(trade(number), trade_id=f"{days}", venue_time_ns=time_ns))
        writer.record(replace(quote(number), venue_time_ns=time_ns))
    await writer.stop()
    key = tick_key(BTC)
    minute = 60_000_000_000
    candles = {name: list(column) for name, column in store.candles(key, minute, 0, END).items()}
    writer = TickWriter(store, Spool(tmp_path / "spool"), clock, limits)
    writer.start()
    await until(lambda: set(stored_ids(store)) == {"7", "8"})
    clock.advance(day)
    await until(lambda: set(stored_ids(store)) == {"8"})
    await writer.stop()
    assert len(store.rows("quotes", key, 0, END)["row_id"]) == 200
    assert {name: list(column) for name, column in store.candles(key, minute, 0, END).items()} == candles


async def test_an_unusable_spool_is_reported(store: TickStore, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    async with recording(store, directory) as writer:
        directory.rmdir()
        directory.write_text("in the way")
        writer.record(trade(0))
        await until(lambda: writer.status.rows_dropped == 2, "the trade and its instrument have no place to go")
        assert "spool" in str(writer.status.error)
        directory.unlink()
        directory.mkdir()
        writer.record(trade(1))
        await until(lambda: writer.status.error is None)
    assert stored_ids(store) == ["t1"]


async def test_a_row_that_does_not_fit_is_left_out_alone(
    store: TickStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    absurd = [
        replace(trade(7), qty=10**25), replace(trade(8), venue_time_ns=10**26), replace(trade(9), price=-(2**64)),
        replace(trade(10), trade_id="\ud800"), replace(trade(11), qty=None),
    ]  # fmt: skip
    limits = replace(QUICK, flush_s=60.0)
    async with recording(store, tmp_path / "spool", limits) as writer:
        for number in range(300):
            writer.record(trade(number + 100))
            writer.record(quote(number))
            if number % 60 == 30:
                writer.record(absurd[number // 60])  # type: ignore[arg-type]
    assert (writer.status.rows_dropped, writer.status.error) == (5, None)
    (said,) = [record.getMessage() for record in caplog.records if "cannot be stored" in record.getMessage()]
    assert said.startswith("5 rows of trades cannot be stored, the first: "), "one line a batch"
    assert stored_ids(store) == [f"t{number + 100}" for number in range(300)]
    assert len(store.rows("quotes", tick_key(BTC), 0, END)["row_id"]) == 300


def test_packed_batches_are_read_back_and_damage_is_found() -> None:
    columns = {
        name: {"integer": np.array([1, -(2**63)]), "text": ["", "é\0"], "integers": [[], [1, 2]]}[kind]
        for name, kind in TABLES["books"].items()
    }
    data = pack(TickBatch("books", columns))
    back = unpack(data)
    assert back.table == "books"
    assert {name: list(column) for name, column in back.columns.items()} == {
        name: list(c) for name, c in columns.items()
    }
    for at in range(0, len(data), 7):
        with pytest.raises(CorruptBatch):
            unpack(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(CorruptBatch):
            unpack(data[:at])
