"""How long ticks are kept. Of trades that go, one-minute candles stay."""

from __future__ import annotations

from server.storage.ports import Columns, TickKey, TickStore
from server.storage.tick_tables import MINUTE_NS, integers, row_count, tick_batch

TICKS = ("trades", "quotes", "books")
CHUNK_NS = 30 * 86_400_000_000_000
"""Candles are made for a month at a time."""


def drop_old_ticks(store: TickStore, before_ns: int, first_row_id: int) -> None:
    """Drop trades, quotes and books before `before_ns` (rounded down to a minute). Their candles are stored first, with
    row ids from `first_row_id` on; repeating a call that failed half way does no harm. Blocks. Raises Unavailable."""
    before_ns = before_ns // MINUTE_NS * MINUTE_NS
    row_id = first_row_id
    for key in store.instruments():
        row_id = _keep_candles(store, key, before_ns, row_id)
    for table in TICKS:
        store.prune(table, before_ns)


def _keep_candles(store: TickStore, key: TickKey, before_ns: int, row_id: int) -> int:
    """Returns the next free row id."""
    oldest: Columns = store.rows("trades", key, 0, before_ns, limit=1)
    if not row_count(oldest):
        return row_id
    start = int(integers(oldest, "time_ns")[0]) // MINUTE_NS * MINUTE_NS
    while start < before_ns:
        end = min(start + CHUNK_NS, before_ns)
        candles = store.candles(key, MINUTE_NS, start, end)
        count = len(candles["time_ns"])
        if count:
            store.write(tick_batch("candles", key, row_id, candles))
            row_id += count
        start = end
    return row_id
