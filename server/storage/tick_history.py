"""Recorded market data as services ask for it: trades and candles of an instrument, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from server.errors import FailedPrecondition
from server.feeds.model import Trade
from server.instruments import Instrument
from server.storage.ports import Columns, TickStore
from server.storage.tick_store_writer import tick_key
from server.storage.tick_tables import CANDLE_COLUMNS, integers

R = TypeVar("R")

RowPosition = tuple[int, int]
"""(time_ns, row_id) of a row."""


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices in ticks, quantities in data lots."""

    open_ns: int
    open: int
    high: int
    low: int
    close: int
    qty: int
    buy_qty: int
    trades: int


class TradesPage(NamedTuple):
    trades: list[Trade]
    """Oldest first."""
    following: RowPosition | None
    """Where the next page begins; None: there is none."""


class TickHistory:
    """What the tick store knows of an instrument, as recorded with its present tick and lot size."""

    def __init__(self, store: TickStore | None) -> None:
        """`store` None: this server records nothing, and every question is refused."""
        self._store = store
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tick-history")

    async def trades(
        self, instrument: Instrument, start_ns: int, end_ns: int, *, after: RowPosition | None, limit: int
    ) -> TradesPage:
        """Trades in `[start_ns, end_ns)`, behind `after`. Raises FailedPrecondition (NOT_RECORDED), Unavailable."""
        key = tick_key(instrument)
        rows = await self._ask(lambda store: store.rows("trades", key, start_ns, end_ns, after=after, limit=limit))
        times, ids = integers(rows, "time_ns").tolist(), integers(rows, "row_id").tolist()
        following = (times[-1], ids[-1]) if len(ids) == limit else None
        return TradesPage(_trades(instrument, rows), following)

    async def candles(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> list[Candle]:
        """Candles that open in `[start_ns, end_ns)`, oldest first. Raises as `trades`."""
        key = tick_key(instrument)
        rows = await self._ask(lambda store: store.candles(key, interval_ns, start_ns, end_ns))
        return [Candle(*row) for row in zip(*(integers(rows, name).tolist() for name in CANDLE_COLUMNS), strict=True)]

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def _ask(self, question: Callable[[TickStore], R]) -> R:
        store = self._store
        if store is None:
            raise FailedPrecondition(
                "this server records no market data: storage.ticks_url is off", reason="NOT_RECORDED"
            )
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: question(store))


def _trades(instrument: Instrument, rows: Columns) -> list[Trade]:
    names = ("price", "qty", "aggressor_side", "time_ns", "receive_time_ns")
    numbers = zip(*(integers(rows, name).tolist() for name in names), strict=True)
    return [
        Trade(instrument, str(trade_id), price, qty, side, time_ns, receive_ns)
        for trade_id, (price, qty, side, time_ns, receive_ns) in zip(rows["trade_id"], numbers, strict=True)
    ]
