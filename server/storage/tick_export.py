"""Ticks of any store as a Parquet file, for notebooks and other tools."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from server.base.instruments import format_decimal
from server.storage.duckdb_ticks import DuckDBTicks
from server.storage.ports import Columns, TickBatch, TickKey, TickStore
from server.storage.tick_tables import integers, row_count

PAGE_ROWS = 100_000


def pages(
    store: TickStore, table: str, key: TickKey, start_ns: int, end_ns: int, *, page: int = PAGE_ROWS
) -> Iterator[Columns]:
    """All rows of a range in order, at most `page` at a time. Raises Unavailable."""
    after: tuple[int, int] | None = None
    while True:
        columns = store.rows(table, key, start_ns, end_ns, after=after, limit=page)
        count = row_count(columns)
        if count:
            yield columns
        if count < page:
            return
        after = int(integers(columns, "time_ns")[-1]), int(integers(columns, "row_id")[-1])


def export_parquet(
    store: TickStore, table: str, key: TickKey, start_ns: int, end_ns: int, path: Path, *, page: int = PAGE_ROWS
) -> int:
    """Write rows of `trades`, `quotes` or `books` to `path`, compressed; returns how many.

    Prices count ticks and quantities lots; `tick_size` and `lot_size` are in the file's metadata. Memory stays bounded:
    the rows pass through a temporary DuckDB file beside `path`. Raises Unavailable, OSError.
    """
    facts = {
        "instrument": key.name,
        "tick_size": format_decimal(key.tick_size),
        "lot_size": format_decimal(key.lot_size),
    }
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as directory:
        collected = DuckDBTicks(Path(directory) / "rows.duckdb")
        try:
            rows = 0
            for columns in pages(store, table, key, start_ns, end_ns, page=page):
                collected.write(TickBatch(table, columns))
                rows += row_count(columns)
            collected.copy_to_parquet(table, path, facts)
        finally:
            collected.close()
    return rows
