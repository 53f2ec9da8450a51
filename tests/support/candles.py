"""Candles for tests: written into a tick store through its port, before the server that reads them starts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.storage.ports import TickKey
from server.storage.tick_tables import instrument_batch, tick_batch
from server.storage.urls import open_tick_store

HOUR_NS = 3_600_000_000_000


def write_candles(
    path: Path, key: TickKey, opens_ns: NDArray[np.int64], closes: NDArray[np.float64], first_row_id: int = 1
) -> None:
    """A candle at each opening time with this close, which becomes a number of ticks."""
    ticks = np.rint(closes / float(key.tick_size)).astype(np.int64)
    ones = np.ones(len(ticks), dtype=np.int64)
    store = open_tick_store(f"duckdb:///{path}")
    try:
        store.write(instrument_batch(key, first_row_id))
        columns = dict.fromkeys(("open", "high", "low", "close"), ticks) | dict.fromkeys(("qty", "buy_qty", "trades"), ones)
        store.write(tick_batch("candles", key, first_row_id + 1, {"time_ns": opens_ns} | columns))
    finally:
        store.close()


def seeded_closes(seed: int, count: int, start: float, volatility: float) -> NDArray[np.float64]:
    """A random walk with Student-t returns, the same for the same seed."""
    steps = np.random.default_rng(seed).standard_t(5, count) * volatility
    return start * np.exp(np.cumsum(steps))


def keys(names: Mapping[str, tuple[str, str]]) -> dict[str, TickKey]:
    """By name: tick and lot size."""
    return {name: TickKey(name, Decimal(tick), Decimal(lot)) for name, (tick, lot) in names.items()}
