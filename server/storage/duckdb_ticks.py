"""The tick store in a DuckDB file: the embedded default. One process at a time; queries run beside the writer."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from server.base.errors import Unavailable
from server.base.instruments import INT64_MAX, parse_decimal
from server.storage.ports import Column, Columns, TickBatch, TickKey
from server.storage.set_aside import set_aside
from server.storage.tick_tables import (
    CANDLE_COLUMNS,
    INTEGER,
    INTEGERS,
    MINUTE_NS,
    TABLES,
    TEXT,
    candle_range,
    instrument_id,
)

_IN_USE = "Could not set lock on file"
_TYPES = {INTEGER: "BIGINT", TEXT: "VARCHAR", INTEGERS: "BIGINT[]"}

_FROM_TRADES = """
SELECT time_ns // $unit * $unit AS time_ns, arg_min(price, row(time_ns, row_id)) AS open, max(price) AS high,
       min(price) AS low, arg_max(price, row(time_ns, row_id)) AS close, sum(qty) AS qty,
       coalesce(sum(qty) FILTER (aggressor_side = 1), 0) AS buy_qty, count(*) AS trades
FROM trades WHERE instrument_id = $id AND time_ns >= $start AND time_ns < $until GROUP BY 1
"""
_STORED = """
SELECT time_ns, {values} FROM candles
WHERE instrument_id = $id AND time_ns >= $start AND time_ns < $until GROUP BY time_ns
""".format(values=", ".join(f"arg_max({name}, row_id) AS {name}" for name in CANDLE_COLUMNS[1:]))
_FROM_MINUTES = f"""
WITH stored AS ({_STORED}), built AS ({_FROM_TRADES}),
minutes AS (SELECT * FROM stored UNION ALL SELECT * FROM built WHERE time_ns NOT IN (SELECT time_ns FROM stored))
SELECT time_ns // $interval * $interval AS time_ns, arg_min(open, minutes.time_ns) AS open, max(high) AS high,
       min(low) AS low, arg_max(close, minutes.time_ns) AS close, sum(qty) AS qty, sum(buy_qty) AS buy_qty,
       sum(trades) AS trades
FROM minutes GROUP BY 1
"""


class DuckDBTicks:
    """`TickStore` in a file of its own."""

    def __init__(self, path: Path, *, memory_limit_mb: int = 1024) -> None:
        """Open or create the file (mode 0600); a damaged one is set aside. Raises Unavailable if another process has it, or
        no file can be made there."""
        self.warning: str | None = None
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._database = self._open(path, memory_limit_mb)
        except duckdb.Error as error:
            if _IN_USE in str(error) or not os.access(path, os.R_OK | os.W_OK) or not path.is_file():
                raise Unavailable(f"tick store {path} cannot be opened: {_text(error)}") from error
            self._database = self._open_anew(path, memory_limit_mb, error)
        path.chmod(0o600)
        self._writing = threading.Lock()

    @staticmethod
    def _open(path: Path, memory_limit_mb: int) -> duckdb.DuckDBPyConnection:
        database = duckdb.connect(str(path), config={"memory_limit": f"{memory_limit_mb}MB"})
        try:
            for table, columns in TABLES.items():
                definition = ", ".join(f"{name} {_TYPES[kind]} NOT NULL" for name, kind in columns.items())
                database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({definition})")
        except duckdb.Error:
            database.close()
            raise
        return database

    def _open_anew(self, path: Path, memory_limit_mb: int, damage: duckdb.Error) -> duckdb.DuckDBPyConnection:
        """Set the file aside and begin with an empty one. Raises Unavailable."""
        try:
            aside = set_aside(path, ".wal")
            self.warning = f"the file was damaged ({_text(damage)}): set aside as {aside.name}, a new one was begun"
            return self._open(path, memory_limit_mb)
        except (duckdb.Error, OSError) as error:
            raise Unavailable(f"tick store {path} is damaged and no new one can be begun: {error}") from error

    def write(self, batch: TickBatch, *, retry: bool = False) -> None:
        """See `TickStore.write`. One transaction, on disk when the call returns."""
        kinds = TABLES[batch.table]
        columns = {name: _numpy(batch.columns[name], kind) for name, kind in kinds.items()}
        names = ", ".join(_select(name, kind) for name, kind in kinds.items())
        condition = ""
        if retry:
            row_ids = columns["row_id"]
            stored = (
                f"SELECT row_id FROM {batch.table} WHERE row_id BETWEEN {int(row_ids.min())} AND {int(row_ids.max())}"
            )
            condition = f"WHERE row_id NOT IN ({stored})"
        with self._writing, self._cursor() as cursor:
            cursor.register("batch", columns)
            cursor.execute(f"INSERT INTO {batch.table} SELECT {names} FROM batch {condition}")

    def instruments(self) -> list[TickKey]:
        with self._cursor() as cursor:
            found = cursor.execute("SELECT DISTINCT name, tick_size, lot_size FROM instruments ORDER BY ALL").fetchall()
        return [TickKey(name, parse_decimal(tick), parse_decimal(lot)) for name, tick, lot in found]

    def rows(
        self,
        table: str,
        key: TickKey,
        start_ns: int,
        end_ns: int,
        *,
        after: tuple[int, int] | None = None,
        limit: int = 100_000,
    ) -> Columns:
        after_time, after_row = after or (start_ns, -1)
        return self._query(
            TABLES[table],
            f"SELECT {', '.join(TABLES[table])} FROM {table}"
            " WHERE instrument_id = $id AND time_ns >= $start AND time_ns < $end"
            " AND (time_ns > $time OR row_id > $row) ORDER BY time_ns, row_id LIMIT $limit",
            {
                "id": instrument_id(key), "start": max(start_ns, after_time), "end": end_ns,
                "time": after_time, "row": after_row, "limit": limit,
            },
        )  # fmt: skip

    def candles(self, key: TickKey, interval_ns: int, start_ns: int, end_ns: int, *, limit: int = 100_000) -> Columns:
        by_minutes = interval_ns % MINUTE_NS == 0
        first, until = candle_range(interval_ns, start_ns, end_ns)
        values = {
            "id": instrument_id(key), "start": first, "until": until,
            "unit": MINUTE_NS if by_minutes else interval_ns, "limit": limit,
        }  # fmt: skip
        if by_minutes:
            values["interval"] = interval_ns
        query = _FROM_MINUTES if by_minutes else _FROM_TRADES
        # Sums of 64-bit integers are 128 bits wide here; what is beyond 64 is told as the most there is.
        names = ", ".join(f"CAST(least({name}, {INT64_MAX}) AS BIGINT) AS {name}" for name in CANDLE_COLUMNS)
        kinds = dict.fromkeys(CANDLE_COLUMNS, INTEGER)
        return self._query(kinds, f"SELECT {names} FROM ({query}) ORDER BY time_ns LIMIT $limit", values)

    def prune(self, table: str, before_ns: int) -> None:
        with self._writing, self._cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE time_ns < ?", [before_ns])
            cursor.execute("CHECKPOINT")

    def copy_to_parquet(self, table: str, path: Path, facts: dict[str, str]) -> None:
        """The whole table as a Parquet file, in order of time; `facts` become the file's metadata."""
        metadata = ", ".join(f"{name}: {_quoted(fact)}" for name, fact in facts.items())
        with self._cursor() as cursor:
            cursor.execute(
                f"COPY (SELECT * FROM {table} ORDER BY time_ns, row_id) TO {_quoted(str(path))}"
                f" (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{metadata}}})"
            )

    def version(self) -> str:
        return f"DuckDB {duckdb.__version__}"

    def close(self) -> None:
        with self._writing:
            self._database.close()

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own for this call, so that threads don't wait for one another."""
        try:
            with self._database.cursor() as cursor:
                yield cursor
        except duckdb.Error as error:
            raise Unavailable(f"tick store: {_text(error)}") from error

    def _query(self, kinds: dict[str, str], query: str, values: dict[str, int]) -> Columns:
        with self._cursor() as cursor:
            found: dict[str, Any] = cursor.execute(query, values).fetchnumpy()
        return {name: _column(found[name], kind) for name, kind in kinds.items()}


def _select(name: str, kind: str) -> str:
    return f"CAST({name} AS BIGINT[])" if kind == INTEGERS else name


def _numpy(column: Column, kind: str) -> Any:
    """What DuckDB scans fastest. Lists travel as text: it guesses types from a sample, wrongly if all are empty."""
    if kind == INTEGER:
        return np.asarray(column, dtype=np.int64)
    values = np.empty(len(column), dtype=object)
    values[:] = [str(value) for value in column]
    return values


def _column(values: Any, kind: str) -> Column:
    if kind == INTEGER:
        return np.asarray(values, dtype=np.int64)
    return [str(text) for text in values] if kind == TEXT else [[int(i) for i in list_] for list_ in values]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _text(error: duckdb.Error) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
