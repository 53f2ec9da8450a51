"""The tables of a tick store, the same in every adapter, and their packed form on disk (the spool's)."""

from __future__ import annotations

import hashlib
import struct
import zlib
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from server.base.instruments import format_decimal
from server.storage.ports import Column, Columns, TickBatch, TickKey

INTEGER, TEXT, INTEGERS = "integer", "text", "integers"
MINUTE_NS = 60_000_000_000

_ROW = {"row_id": INTEGER, "instrument_id": INTEGER, "time_ns": INTEGER}

TABLES: dict[str, dict[str, str]] = {
    "trades": _ROW
    | {"receive_time_ns": INTEGER, "price": INTEGER, "qty": INTEGER, "aggressor_side": INTEGER, "trade_id": TEXT},
    "quotes": _ROW
    | {"receive_time_ns": INTEGER, "bid_price": INTEGER, "bid_qty": INTEGER, "ask_price": INTEGER, "ask_qty": INTEGER},
    # Snapshots of the best levels, best first.
    "books": _ROW
    | {
        "receive_time_ns": INTEGER,
        "venue_sequence": INTEGER,
        "bid_prices": INTEGERS,
        "bid_qtys": INTEGERS,
        "ask_prices": INTEGERS,
        "ask_qtys": INTEGERS,
    },
    # One minute each: imported history, or what is kept of trades that were pruned. A later row replaces an earlier.
    "candles": _ROW | dict.fromkeys(("open", "high", "low", "close", "qty", "buy_qty", "trades"), INTEGER),
    # Names and grids of the ids; `time_ns` is when the row was written.
    "instruments": _ROW | {"name": TEXT, "tick_size": TEXT, "lot_size": TEXT},
}
CANDLE_COLUMNS = ("time_ns", "open", "high", "low", "close", "qty", "buy_qty", "trades")


def instrument_id(key: TickKey) -> int:
    """The key's number in every store: needs no registry, so that several servers can fill one store."""
    text = f"{key.name} {format_decimal(key.tick_size)} {format_decimal(key.lot_size)}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def candle_range(interval_ns: int, start_ns: int, end_ns: int) -> tuple[int, int]:
    """The time [from, to) covered by the candles that open in `[start_ns, end_ns)`. Raises ValueError."""
    if interval_ns <= 0:
        raise ValueError("a candle's interval must be positive")
    return -(-start_ns // interval_ns) * interval_ns, -(-end_ns // interval_ns) * interval_ns


def row_count(columns: Columns) -> int:
    return len(columns["row_id"])


def tick_batch(table: str, key: TickKey, first_row_id: int, columns: Columns) -> TickBatch:
    """Rows of one instrument, numbered from `first_row_id`; `columns` are those of the table but row_id and
    instrument_id.

    The caller sees to it that no other rows have these numbers; a wall clock in nanoseconds is a good start.
    """
    count = len(columns["time_ns"])
    own = {
        "row_id": np.arange(first_row_id, first_row_id + count, dtype=np.int64),
        "instrument_id": np.full(count, instrument_id(key), dtype=np.int64),
    }
    return TickBatch(table, own | dict(columns))


def instrument_batch(key: TickKey, row_id: int) -> TickBatch:
    """The row that makes the key known to a store: without it `instruments()` does not list the key."""
    names: Columns = {
        "time_ns": np.array([row_id], dtype=np.int64),
        "name": [key.name],
        "tick_size": [format_decimal(key.tick_size)],
        "lot_size": [format_decimal(key.lot_size)],
    }
    return tick_batch("instruments", key, row_id, names)


def integers(columns: Columns, name: str) -> NDArray[np.int64]:
    """An integer column."""
    return np.asarray(columns[name], dtype=np.int64)


def missing_rows(batch: TickBatch, stored: set[int]) -> TickBatch:
    """The rows of a batch whose row_id is not in `stored`."""
    keep = [index for index, row_id in enumerate(integers(batch.columns, "row_id").tolist()) if row_id not in stored]
    columns: dict[str, Column] = {}
    for name, column in batch.columns.items():
        if isinstance(column, np.ndarray):
            columns[name] = column[keep]
        else:
            columns[name] = [column[index] for index in keep]  # type: ignore[assignment]
    return TickBatch(batch.table, columns)


# -- packed form: magic, checksum, then table name, row count and the columns in the table's order ------------------

_MAGIC = b"TWB1"
_HEAD = struct.Struct("<4sI")
_COUNT = struct.Struct("<Q")


class CorruptBatch(ValueError):
    """The bytes are not what was written."""


def pack(batch: TickBatch) -> bytes:
    """The batch as bytes: integers raw, texts and lists as lengths and contents."""
    parts = [batch.table.encode().ljust(16, b"\0"), _COUNT.pack(row_count(batch.columns))]
    for name, kind in TABLES[batch.table].items():
        column = batch.columns[name]
        if kind == INTEGER:
            parts.append(_int64(column))
            continue
        contents = [value.encode() if isinstance(value, str) else _int64(value) for value in column]
        joined = b"".join(contents)
        parts += [_int64([len(content) for content in contents]), _COUNT.pack(len(joined)), joined]
    body = b"".join(parts)
    return _HEAD.pack(_MAGIC, zlib.crc32(body)) + body


def unpack(data: bytes) -> TickBatch:
    """What was packed. Raises CorruptBatch."""
    if len(data) < _HEAD.size or _HEAD.unpack_from(data) != (_MAGIC, zlib.crc32(data[_HEAD.size :])):
        raise CorruptBatch("wrong checksum")
    at = _HEAD.size
    table = data[at : at + 16].rstrip(b"\0").decode()
    (rows,) = _COUNT.unpack_from(data, at + 16)
    at += 16 + _COUNT.size
    columns: dict[str, Column] = {}
    for name, kind in TABLES[table].items():
        values = np.frombuffer(data, dtype="<i8", count=rows, offset=at)
        at += 8 * rows
        if kind == INTEGER:
            columns[name] = values
            continue
        (size,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        contents = [data[at + start : at + end] for start, end in pairwise(accumulate(values.tolist(), initial=0))]
        at += size
        if kind == TEXT:
            columns[name] = [content.decode() for content in contents]
        else:
            columns[name] = [np.frombuffer(content, dtype="<i8").tolist() for content in contents]
    return TickBatch(table, columns)


def _int64(values: object) -> bytes:
    return np.asarray(values, dtype="<i8").tobytes()
