"""Recorded trades and candles of an instrument, queried off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, TypeVar

from server.base.errors import FailedPrecondition, Unavailable
from server.base.instruments import Instrument
from server.market.model import Trade
from server.market.recorder import tick_key
from server.storage.ports import Columns, TickStore
from server.storage.tick_tables import CANDLE_COLUMNS, integers

R = TypeVar("R")

_EXACT = Context(prec=80)

_SPANS_NS = tuple(seconds * 1_000_000_000 for seconds in (10, 300, 3_600, 86_400, 30 * 86_400))
"""How far back the newest trades are looked for: further where there are few."""
_ENOUGH_REPEATED, _MOST_REPEATED = 1_000, 10_000

RowPosition = tuple[int, int]
"""(time_ns, row_id) of a row."""


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices in quote currency, quantities in base currency, exactly."""

    open_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    qty: Decimal
    buy_qty: Decimal
    trades: int


class TradesPage(NamedTuple):
    trades: list[Trade]
    """Oldest first."""
    following: RowPosition | None
    """Where the next page begins; None: there is none."""


class TickHistory:
    """What the tick store knows of instruments, with every tick and lot size that they had."""

    def __init__(self, store: TickStore | None) -> None:
        """`store` None: this server records nothing, and every question is refused."""
        self._store = store
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tick-history")

    async def trades(
        self, grids: Sequence[Instrument], start_ns: int, end_ns: int, *, after: RowPosition | None, limit: int
    ) -> TradesPage:
        """Trades in `[start_ns, end_ns)`, behind `after`. `grids`: the instrument, as `Registry.grids` gives it.

        Raises FailedPrecondition (NOT_RECORDED), Unavailable.
        """

        def found(store: TickStore) -> list[tuple[RowPosition, Trade]]:
            pages = (
                _trades(each, store.rows("trades", tick_key(each), start_ns, end_ns, after=after, limit=limit))
                for each in grids
            )
            return sorted(chain(*pages), key=itemgetter(0))[:limit]

        page = await self._ask(found)
        return TradesPage([trade for _, trade in page], page[-1][0] if len(page) == limit else None)

    async def candles(self, grids: Sequence[Instrument], interval_ns: int, start_ns: int, end_ns: int) -> list[Candle]:
        """Candles that open in `[start_ns, end_ns)`, oldest first. Arguments and errors as of `trades`."""

        def found(store: TickStore) -> list[Candle]:
            merged: dict[int, Candle] = {}
            for each in grids:
                for candle in _candles(each, store.candles(tick_key(each), interval_ns, start_ns, end_ns)):
                    earlier = merged.get(candle.open_ns)
                    merged[candle.open_ns] = candle if earlier is None else _joined(earlier, candle)
            return [merged[open_ns] for open_ns in sorted(merged)]

        return await self._ask(found)

    async def newest_trades(self, instrument: Instrument, now_ns: int) -> list[tuple[str, int]]:
        """Ids and times of trades that were recorded last, oldest first: enough to know again what a venue repeats.
        Empty if nothing is recorded, or the store is away."""

        def found(store: TickStore) -> list[tuple[str, int]]:
            rows: Columns = {"trade_id": [], "time_ns": []}
            for span_ns in _SPANS_NS:
                start_ns, end_ns = now_ns - span_ns, now_ns + _SPANS_NS[-1]
                rows = store.rows("trades", tick_key(instrument), start_ns, end_ns, limit=_MOST_REPEATED)
                if len(rows["trade_id"]) >= _ENOUGH_REPEATED:
                    break
            return list(zip(map(str, rows["trade_id"]), integers(rows, "time_ns").tolist(), strict=True))

        try:
            return await self._ask(found)
        except (FailedPrecondition, Unavailable):
            return []

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def _ask(self, question: Callable[[TickStore], R]) -> R:
        store = self._store
        if store is None:
            raise FailedPrecondition(
                "this server records no market data: storage.ticks_url is off", reason="NOT_RECORDED"
            )
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: question(store))


def _trades(instrument: Instrument, rows: Columns) -> list[tuple[RowPosition, Trade]]:
    names = ("row_id", "price", "qty", "aggressor_side", "time_ns", "receive_time_ns")
    numbers = zip(*(integers(rows, name).tolist() for name in names), strict=True)
    return [
        ((time_ns, row_id), Trade(instrument, str(trade_id), price, qty, side, time_ns, receive_ns))
        for trade_id, (row_id, price, qty, side, time_ns, receive_ns) in zip(rows["trade_id"], numbers, strict=True)
    ]


def _candles(instrument: Instrument, rows: Columns) -> list[Candle]:
    tick, lot = instrument.tick_size, instrument.data_lot_size
    open_ns, *amounts, trades = (integers(rows, name).tolist() for name in CANDLE_COLUMNS)
    steps = (tick, tick, tick, tick, lot, lot)
    exact = ([_EXACT.multiply(Decimal(each), step) for each in of] for of, step in zip(amounts, steps, strict=True))
    return list(map(Candle, open_ns, *exact, trades))


def _joined(earlier: Candle, later: Candle) -> Candle:
    """One candle of both, in whose time the tick or lot changed."""
    return Candle(
        earlier.open_ns,
        open=earlier.open,
        high=max(earlier.high, later.high),
        low=min(earlier.low, later.low),
        close=later.close,
        qty=_EXACT.add(earlier.qty, later.qty),
        buy_qty=_EXACT.add(earlier.buy_qty, later.buy_qty),
        trades=earlier.trades + later.trades,
    )
