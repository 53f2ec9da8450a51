"""What every tick store promises, on DuckDB and on a real ClickHouse."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.base.errors import ConfigError
from server.storage.clickhouse_ticks import ClickHouseTicks, create_table
from server.storage.ports import Columns, TickBatch, TickKey, TickStore
from server.storage.tick_export import export_parquet
from server.storage.tick_tables import MINUTE_NS, TABLES, instrument_batch, instrument_id, tick_batch
from server.storage.urls import open_tick_store

BTC = TickKey("binance:BTC/USDT", Decimal("0.01"), Decimal("0.00001"))
ETH = TickKey("binance:ETH/USDT", Decimal("0.01"), Decimal("0.0001"))
START = 1_700_000_000_000_000_000 // MINUTE_NS * MINUTE_NS
DAY_NS = 86_400_000_000_000
END = START + 400 * DAY_NS


@pytest.fixture(params=["duckdb", "clickhouse"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "duckdb":
        return f"duckdb:///{tmp_path / 'ticks.duckdb'}"
    return str(request.getfixturevalue("clickhouse_url"))


@pytest.fixture
def store(url: str) -> Iterator[TickStore]:
    opened = open_tick_store(url)
    yield opened
    opened.close()


def trades(key: TickKey, first_row_id: int, count: int, *, start: int = START, step_ns: int = 700_000_000) -> TickBatch:
    rng = random.Random(first_row_id)
    times = np.sort(np.array([start + rng.randrange(count) * step_ns for _ in range(count)], dtype=np.int64))
    return tick_batch(
        "trades",
        key,
        first_row_id,
        {
            "time_ns": times,
            "receive_time_ns": times + 1_000_000,
            "price": np.array([6_000_000 + rng.randrange(1000) for _ in range(count)], dtype=np.int64),
            "qty": np.array([1 + rng.randrange(10**9) for _ in range(count)], dtype=np.int64),
            "aggressor_side": np.array([1 + rng.randrange(2) for _ in range(count)], dtype=np.int64),
            "trade_id": [f"t{first_row_id + i}-é" for i in range(count)],
        },
    )


def as_lists(columns: Columns) -> dict[str, list[Any]]:
    return {
        name: np.asarray(column).tolist() if isinstance(column, np.ndarray) else list(column)
        for name, column in columns.items()
    }


def reference_candles(rows: dict[str, list[Any]], interval_ns: int) -> list[tuple[int, ...]]:
    """The plain way: rows in order, one after the other."""
    candles: dict[int, list[int]] = {}
    for time_ns, price, qty, side in zip(
        rows["time_ns"], rows["price"], rows["qty"], rows["aggressor_side"], strict=True
    ):
        opens = time_ns // interval_ns * interval_ns
        candle = candles.setdefault(opens, [price, price, price, price, 0, 0, 0])
        candle[1], candle[2], candle[3] = max(candle[1], price), min(candle[2], price), price
        candle[4] += qty
        candle[5] += qty if side == 1 else 0
        candle[6] += 1
    return [(opens, *values) for opens, values in sorted(candles.items())]


def candle_rows(columns: Columns) -> list[tuple[int, ...]]:
    return list(zip(*(np.asarray(columns[name]).tolist() for name in columns), strict=True))


def test_rows_of_every_table_come_back_as_they_were(store: TickStore) -> None:
    times = np.array([START, START, START + 5], dtype=np.int64)
    numbers = iter(range(100, 200))
    empty_first: list[list[int]] = [[], [7, 8], []]
    for table in ("trades", "quotes", "books"):
        columns: dict[str, Any] = {}
        for name, kind in TABLES[table].items():
            if name == "time_ns":
                columns[name] = times
            elif name not in ("row_id", "instrument_id"):
                columns[name] = {
                    "integer": np.array([next(numbers), -next(numbers), 2**63 - 1], dtype=np.int64),
                    "text": ["a", "", "'quoted'\n\\ü"],
                    "integers": empty_first,
                }[kind]
        batch = tick_batch(table, BTC, 1, columns)
        store.write(batch)
        assert as_lists(store.rows(table, BTC, START, END)) == as_lists(batch.columns)
        assert as_lists(store.rows(table, BTC, START, START + 5))["row_id"] == [1, 2]
        assert as_lists(store.rows(table, ETH, START, END))["row_id"] == []


def test_paging_gives_every_row_once_in_order(store: TickStore) -> None:
    store.write(trades(BTC, 1, 500, step_ns=3))
    store.write(trades(ETH, 501, 100))
    everything = as_lists(store.rows("trades", BTC, START, END))
    order = list(zip(everything["time_ns"], everything["row_id"], strict=True))
    assert order == sorted(order)
    assert len(order) == 500
    paged: list[tuple[int, int]] = []
    while page := candle_rows(
        {
            name: column
            for name, column in store.rows(
                "trades", BTC, START, END, after=paged[-1] if paged else None, limit=37
            ).items()
            if name in ("row_id", "time_ns")
        }
    ):
        paged += [(time_ns, row_id) for row_id, time_ns in page]
    assert paged == order


@pytest.mark.parametrize("interval_s", [1, 7, 60, 300, 3600])
def test_candles_are_those_of_a_plain_loop(store: TickStore, interval_s: int) -> None:
    store.write(trades(BTC, 1, 2_000))
    store.write(trades(ETH, 2_001, 50))
    interval_ns = interval_s * 1_000_000_000
    rows = as_lists(store.rows("trades", BTC, START, END))
    expected = reference_candles(rows, interval_ns)
    assert candle_rows(store.candles(BTC, interval_ns, START - interval_ns, END)) == expected
    # Candles that open in the range, whole: also of the trades that follow its end.
    start, end = START + 61_000_000_000, START + 601_000_000_000
    assert candle_rows(store.candles(BTC, interval_ns, start, end)) == [c for c in expected if start <= c[0] < end]
    assert candle_rows(store.candles(BTC, interval_ns, START - interval_ns, END, limit=2)) == expected[:2]


def test_an_absurd_quantity_does_not_hide_the_candles_of_its_hour(store: TickStore) -> None:
    """A venue may send up to 2**60 data lots a trade: the sum of a candle stops at what 64 bits hold."""
    batch = trades(BTC, 1, 20)
    most = 2**60
    store.write(TickBatch("trades", dict(batch.columns) | {"qty": np.full(20, most)}))
    found = as_lists(store.candles(BTC, 3_600_000_000_000, START - 3_600_000_000_000, END))
    assert sum(found["trades"]) == 20
    assert max(found["qty"]) == 2**63 - 1
    assert min(found["qty"]) > 0
    minutes = as_lists(store.candles(BTC, 1_000_000_000, START, END))
    assert set(minutes["qty"]) <= {most * count if count < 8 else 2**63 - 1 for count in minutes["trades"]}


def test_stored_minutes_stand_in_for_trades(store: TickStore) -> None:
    store.write(trades(BTC, 1, 1_000))
    rows = as_lists(store.rows("trades", BTC, START, END))
    minutes = reference_candles(rows, MINUTE_NS)

    def minute(row_id: int, opens: int, price: int) -> TickBatch:
        values = (
            {"time_ns": opens}
            | dict.fromkeys(("open", "high", "low", "close"), price)
            | {"qty": 5, "buy_qty": 2, "trades": 1}
        )
        return tick_batch(
            "candles", BTC, row_id, {name: np.array([value], dtype=np.int64) for name, value in values.items()}
        )

    store.write(minute(5_000, START - MINUTE_NS, 1))  # before all trades
    store.write(minute(5_001, minutes[3][0], 2))
    store.write(minute(5_002, minutes[3][0], 3))  # imported again: the later one counts
    expected = [(START - MINUTE_NS, 1, 1, 1, 1, 5, 2, 1), *minutes]
    expected[4] = (minutes[3][0], 3, 3, 3, 3, 5, 2, 1)
    assert candle_rows(store.candles(BTC, MINUTE_NS, START - DAY_NS, END)) == expected

    five = 5 * MINUTE_NS
    bars: dict[int, list[tuple[int, ...]]] = {}
    for bar in expected:
        bars.setdefault(bar[0] // five * five, []).append(bar)
    merged = [
        (
            opens,
            group[0][1],
            max(b[2] for b in group),
            min(b[3] for b in group),
            group[-1][4],
            *(sum(b[i] for b in group) for i in (5, 6, 7)),
        )
        for opens, group in sorted(bars.items())
    ]
    assert candle_rows(store.candles(BTC, five, START - DAY_NS, END)) == merged


def test_a_repeated_batch_is_there_once_and_a_torn_one_is_completed(store: TickStore) -> None:
    batch = trades(BTC, 1_000, 300)
    half = TickBatch("trades", {name: column[:150] for name, column in batch.columns.items()})
    store.write(half)
    store.write(batch, retry=True)
    store.write(batch, retry=True)
    assert as_lists(store.rows("trades", BTC, START, END)) == as_lists(batch.columns)


def test_another_grid_is_another_key(store: TickStore) -> None:
    finer = TickKey(BTC.name, Decimal("0.001"), BTC.lot_size)
    same = TickKey(BTC.name, Decimal("0.010"), Decimal("0.000010"))
    assert instrument_id(same) == instrument_id(BTC) != instrument_id(finer)
    store.write(trades(BTC, 1, 3))
    store.write(trades(finer, 4, 5))
    for row_id, key in enumerate((BTC, finer, ETH, BTC), start=100):
        store.write(instrument_batch(key, row_id))
    assert len(store.rows("trades", BTC, START, END)["row_id"]) == 3
    assert len(store.rows("trades", finer, START, END)["row_id"]) == 5
    assert store.instruments() == [finer, BTC, ETH]


def test_old_rows_are_pruned(store: TickStore) -> None:
    for day in range(4):
        store.write(trades(BTC, 1 + 100 * day, 100, start=(START // DAY_NS + day) * DAY_NS))
    store.prune("trades", (START // DAY_NS + 2) * DAY_NS)
    assert as_lists(store.rows("trades", BTC, 0, END))["row_id"] == list(range(201, 401))


def test_rows_survive_reopening(url: str) -> None:
    store = open_tick_store(url)
    store.write(trades(BTC, 1, 100))
    store.close()
    store = open_tick_store(url)
    assert len(store.rows("trades", BTC, START, END)["row_id"]) == 100
    store.close()


def test_parquet_export(store: TickStore, tmp_path: Path) -> None:
    import duckdb

    batch = trades(BTC, 1, 1_000)
    store.write(batch)
    path = tmp_path / "trades.parquet"
    assert export_parquet(store, "trades", BTC, START, END, path, page=300) == 1_000
    with duckdb.connect() as database:
        found = database.execute("SELECT * FROM read_parquet(?) ORDER BY row_id", [str(path)]).fetchnumpy()
        facts = dict(
            database.execute("SELECT decode(key), decode(value) FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
        )
    assert found["price"].tolist() == as_lists(batch.columns)["price"]
    assert list(found["trade_id"]) == batch.columns["trade_id"]
    assert facts["tick_size"] == "0.01"
    assert facts["instrument"] == BTC.name


def test_newer_servers_get_codecs() -> None:
    old, new = (create_table("trades", version, database="d") for version in ((18, 16, 1), (24, 8, 0)))
    assert "CODEC" not in old
    assert "time_ns Int64 CODEC(Delta, ZSTD(1))" in new


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse://127.0.0.1:1/bad-name!",
        "clickhouse://127.0.0.1:x/d",
        "clickhouse://127.0.0.1",
        "mysql://x",
        "duckdb://",
    ],
)
def test_wrong_urls_say_what_to_write(url: str) -> None:
    with pytest.raises(ConfigError, match=r"write|use"):
        open_tick_store(url)


def test_a_second_process_cannot_open_the_duckdb_file(tmp_path: Path) -> None:
    import subprocess
    import sys

    url = f"duckdb:///{tmp_path / 'ticks.duckdb'}"
    store = open_tick_store(url)
    code = f"from server.storage.urls import open_tick_store; open_tick_store({url!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Unavailable" in done.stderr
    store.close()


def test_the_version_is_known(store: TickStore) -> None:
    name, version = store.version().split()
    assert name in ("DuckDB", "ClickHouse")
    assert isinstance(store, ClickHouseTicks) == (name == "ClickHouse")
    assert version[0].isdigit()
