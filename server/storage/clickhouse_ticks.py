"""The tick store in ClickHouse, over its native protocol.

The tables are made of what ClickHouse 18.16 (Debian's) knows; servers that know more compress better (CODEC) and drop
old rows by themselves (TTL). Rows travel as column blocks: VALUES text in an INSERT makes 18.16 hang.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import numpy as np
from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError

from server.base.errors import ConfigError, Unavailable
from server.base.instruments import INT64_MAX, parse_decimal
from server.storage.ports import Column, Columns, TickBatch, TickKey
from server.storage.tick_tables import (
    CANDLE_COLUMNS,
    INTEGER,
    INTEGERS,
    MINUTE_NS,
    TABLES,
    TEXT,
    candle_range,
    instrument_id,
    integers,
    missing_rows,
    row_count,
)

DAY_NS = 86_400_000_000_000
_PARTITION_NS = {"trades": DAY_NS, "quotes": DAY_NS, "books": DAY_NS, "candles": 100 * DAY_NS}
_TYPES = {INTEGER: "Int64", TEXT: "String", INTEGERS: "Array(Int64)"}
_SETTLE_S = 10.0
"""How long a retry waits for the server to be done with the attempt before."""
_IDLE_CLIENTS = 8



def _sum(column: str, condition: str = "") -> str:
    """The sum, at most what 64 bits hold: there it would wrap around."""
    total = f"sumIf({column}, {condition})" if condition else f"sum({column})"
    return f"if({total.replace(column, f'toFloat64({column})', 1)} >= 9.2e18, toInt64({INT64_MAX}), {total})"


# An alias hides the column of the same name everywhere in the query: inner names are single letters.
_FROM_TRADES = f"""
SELECT intDiv(time_ns, {{unit}}) * {{unit}} AS t, argMin(price, (time_ns, row_id)) AS o, max(price) AS h, min(price) AS l,
       argMax(price, (time_ns, row_id)) AS c, {_sum("qty")} AS q, {_sum("qty", "aggressor_side = 1")} AS b,
       toInt64(count()) AS n
FROM trades WHERE instrument_id = {{id}} AND time_ns >= {{start}} AND time_ns < {{until}}
"""
_STORED_RANGE = "FROM candles WHERE instrument_id = {id} AND time_ns >= {start} AND time_ns < {until}"
_STORED = (
    "SELECT time_ns AS t, argMax(open, row_id) AS o, argMax(high, row_id) AS h, argMax(low, row_id) AS l,"
    " argMax(close, row_id) AS c, argMax(qty, row_id) AS q, argMax(buy_qty, row_id) AS b, argMax(trades, row_id) AS n"
    f" {_STORED_RANGE} GROUP BY time_ns"
)
_FROM_MINUTES = (
    "SELECT intDiv(t, {interval}) * {interval} AS time_ns, argMin(o, t) AS open, max(h) AS high, min(l) AS low,"
    f" argMax(c, t) AS close, {_sum('q')} AS qty, {_sum('b')} AS buy_qty, sum(n) AS trades"
    f" FROM ({_STORED} UNION ALL {_FROM_TRADES}"
    f" AND intDiv(time_ns, {{unit}}) * {{unit}} NOT IN (SELECT time_ns {_STORED_RANGE})"
    " GROUP BY t) GROUP BY time_ns"
)
_BELOW_MINUTES = (
    "SELECT t AS time_ns, o AS open, h AS high, l AS low, c AS close, q AS qty, b AS buy_qty, n AS trades"
    f" FROM ({_FROM_TRADES} GROUP BY t)"
)


class ClickHouseTicks:
    """`TickStore` in a ClickHouse database. While the server is away calls raise Unavailable; each tries again."""

    warning: str | None = None

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        """`url`: `clickhouse://user:password@host:9000/database`; the database is created on first use.

        A server that is silent for `timeout_s` is away. Raises ConfigError.
        """
        parts = urlsplit(url)
        self._database = parts.path.strip("/")
        if not (parts.hostname and _is_port(parts) and self._database.replace("_", "").isalnum()):
            raise ConfigError(
                "tick store URL: write clickhouse://USER:PASSWORD@HOST:PORT/DATABASE, the name of letters and digits"
            )
        self._url = url
        self._url_without_database = urlunsplit(parts._replace(path=""))
        self._timeout_s = timeout_s
        self._idle: queue.LifoQueue[Client] = queue.LifoQueue(_IDLE_CLIENTS)
        self._preparing = threading.Lock()
        self._server: tuple[int, ...] | None = None
        """Version of the server, once the tables are known to be there."""

    def write(self, batch: TickBatch, *, retry: bool = False) -> None:
        """See `TickStore.write`. The server has the rows when the call returns; it syncs them by its own rules."""
        query_id = f"tradewind-{batch.table}-{integers(batch.columns, 'row_id')[0]}"
        with self._client() as client:
            if retry:
                self._await_end(client, query_id)
                batch = missing_rows(batch, self._stored(client, batch))
                if not row_count(batch.columns):
                    return
            kinds = TABLES[batch.table]
            columns = [_plain(batch.columns[name]) for name in kinds]
            insert = f"INSERT INTO {batch.table} ({', '.join(kinds)}) VALUES"
            client.execute(insert, columns, columnar=True, query_id=query_id)

    def instruments(self) -> list[TickKey]:
        with self._client() as client:
            found = client.execute(
                "SELECT DISTINCT name, tick_size, lot_size FROM instruments ORDER BY name, tick_size, lot_size"
            )
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
            f"SELECT {', '.join(TABLES[table])} FROM {table} WHERE instrument_id = {instrument_id(key)}"
            f" AND time_ns >= {max(start_ns, after_time):d} AND time_ns < {end_ns:d}"
            f" AND (time_ns > {after_time:d} OR row_id > {after_row:d}) ORDER BY time_ns, row_id LIMIT {limit:d}",
        )

    def candles(self, key: TickKey, interval_ns: int, start_ns: int, end_ns: int, *, limit: int = 100_000) -> Columns:
        by_minutes = interval_ns % MINUTE_NS == 0
        first, until = candle_range(interval_ns, start_ns, end_ns)
        query = (_FROM_MINUTES if by_minutes else _BELOW_MINUTES).format(
            id=instrument_id(key), start=first, until=until, interval=interval_ns,
            unit=MINUTE_NS if by_minutes else interval_ns,
        )  # fmt: skip
        return self._query(dict.fromkeys(CANDLE_COLUMNS, INTEGER), f"{query} ORDER BY time_ns LIMIT {limit:d}")

    def prune(self, table: str, before_ns: int) -> None:
        """Drops the partitions (days; 100 days of candles) that are older as a whole."""
        unit = _PARTITION_NS[table]
        with self._client() as client:
            found = client.execute(
                "SELECT DISTINCT partition FROM system.parts"
                " WHERE active AND database = %(database)s AND table = %(table)s",
                {"database": self._database, "table": table},
            )
            for (partition,) in found:
                if (int(partition) + 1) * unit <= before_ns:
                    client.execute(f"ALTER TABLE {table} DROP PARTITION {int(partition)}")

    def version(self) -> str:
        with self._client():
            return "ClickHouse " + ".".join(map(str, self._server or ()))

    def close(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().disconnect()

    # -- inside --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        """A connection for one call; one that failed is not used again."""
        client: Client | None = None
        try:
            self._prepare()
            client = self._reuse() or self._connect(self._url)
            yield client
        except (DriverError, OSError, EOFError) as error:
            # When it is back its tables may be others.
            self._server = None
            raise Unavailable(f"tick store ClickHouse: {_text(error)}") from error
        else:
            with contextlib.suppress(queue.Full):
                self._idle.put_nowait(client)
                client = None
        finally:
            if client is not None:
                client.disconnect()

    def _connect(self, url: str) -> Client:
        client = Client.from_url(url)
        connection = client.connection
        connection.connect_timeout = min(5.0, self._timeout_s)
        connection.send_receive_timeout = connection.sync_request_timeout = self._timeout_s
        return client

    def _reuse(self) -> Client | None:
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        return None

    def _prepare(self) -> None:
        """Create the database and its tables unless they are known to be there."""
        with self._preparing:
            if self._server is not None:
                return
            self.close()
            creator = self._connect(self._url_without_database)
            try:
                creator.execute(f"CREATE DATABASE IF NOT EXISTS {self._database}")
                version = creator.connection.server_info.version_tuple()
                for table in TABLES:
                    creator.execute(create_table(table, version, database=self._database))
            finally:
                creator.disconnect()
            self._server = version

    @staticmethod
    def _await_end(client: Client, query_id: str) -> None:
        """Wait until the attempt before has ended, so that what is stored now is all that it stored.

        An attempt that the server has not begun yet cannot store anything later: rows are sent only after the server
        answered that it takes them, and the connection they would have come on is closed.
        """
        running = "SELECT count() FROM system.processes WHERE query_id = %(id)s"
        deadline = time.monotonic() + _SETTLE_S
        while client.execute(running, {"id": query_id}) != [(0,)]:
            if time.monotonic() > deadline:
                raise Unavailable("tick store ClickHouse: an earlier attempt to write the same rows still runs")
            time.sleep(0.1)

    @staticmethod
    def _stored(client: Client, batch: TickBatch) -> set[int]:
        row_ids, times = integers(batch.columns, "row_id"), integers(batch.columns, "time_ns")
        found = client.execute(
            f"SELECT row_id FROM {batch.table} WHERE row_id >= {int(row_ids.min())} AND row_id <= {int(row_ids.max())}"
            # Lets it skip all other partitions.
            f" AND time_ns >= {int(times.min())} AND time_ns <= {int(times.max())}"
        )
        return {row_id for (row_id,) in found}

    def _query(self, kinds: dict[str, str], query: str) -> Columns:
        with self._client() as client:
            found = client.execute(query, columnar=True)
        columns = found or [()] * len(kinds)
        return {name: _column(values, kind) for (name, kind), values in zip(kinds.items(), columns, strict=True)}


def _is_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def create_table(table: str, version: tuple[int, ...], *, database: str) -> str:
    """The statement for a server of this version. Nothing expires by itself: `prune` knows what to keep of it first."""
    modern = version >= (20, 3)
    ascending = " CODEC(Delta, ZSTD(1))" if modern else ""
    other = " CODEC(ZSTD(1))" if modern else ""
    columns = ", ".join(
        f"{name} {_TYPES[kind]}{ascending if name in ('row_id', 'time_ns', 'receive_time_ns') else other}"
        for name, kind in TABLES[table].items()
    )
    unit = _PARTITION_NS.get(table)
    partition = f"PARTITION BY intDiv(time_ns, {unit}) " if unit else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {database}.{table} ({columns}) ENGINE = MergeTree() {partition}"
        "ORDER BY (instrument_id, time_ns, row_id)"
    )


def _plain(column: Column) -> list[Any]:
    """The driver packs Python integers faster than numpy's."""
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _column(values: Any, kind: str) -> Column:
    if kind == INTEGER:
        return np.array(values, dtype=np.int64)
    return list(values)


def _text(error: Exception) -> str:
    """The first line: the server adds its stack trace."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Code:")]
    return (lines or [type(error).__name__])[0].removesuffix(" Stack trace:").strip()[:300]
