"""Normalized market data: what every connector produces and every subscriber gets, in integers.

Prices are ticks of the instrument, quantities its data lots (`Instrument.data_lot_size`: finer than what orders are
counted in), times int64 nanoseconds since the epoch (UTC).
`venue_time_ns` is None where the venue sends no time (Binance spot bookTicker).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from server.base.instruments import Instrument

Level = tuple[int, int]
"""(price in ticks, quantity in data lots); quantity 0 in an update removes the level."""


class FeedState(enum.IntEnum):
    """How far a book can be trusted; the numbers are those of the wire contract."""

    SYNCING = 1
    """Waiting for a snapshot and the deltas that connect to it."""
    LIVE = 2
    """Contiguous and fresh."""
    GAP = 3
    """A message is missing; a new snapshot is being fetched."""
    STALE = 4
    """Nothing came for too long, or the connection is down."""


class _Shared:
    """Room beside an update for its encoded form: made for the first subscriber that is sent it, shared by all others."""

    __slots__ = ("_encoded",)
    _encoded: bytes

    def encoded(self, encode: Callable[[Self], bytes]) -> bytes:
        """What `encode` makes of this update, the same bytes for all who ask. All must ask with the same `encode`."""
        try:
            return self._encoded
        except AttributeError:
            object.__setattr__(self, "_encoded", encode(self))
            return self._encoded


@dataclass(frozen=True, slots=True)
class Quote(_Shared):
    """Best bid and ask. A side that is empty has price 0 and quantity 0."""

    instrument: Instrument
    bid_price: int
    bid_qty: int
    ask_price: int
    ask_qty: int
    venue_time_ns: int | None
    receive_time_ns: int


@dataclass(frozen=True, slots=True)
class Trade(_Shared):
    """One public trade. `aggressor_side` is 1 BUY, 2 SELL (the taker's side)."""

    instrument: Instrument
    trade_id: str
    price: int
    qty: int
    aggressor_side: int
    venue_time_ns: int | None
    receive_time_ns: int


@dataclass(frozen=True, slots=True)
class BookUpdate(_Shared):
    """A snapshot (all levels, best first) or a delta (changed levels, any order) of an instrument's book."""

    instrument: Instrument
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    is_snapshot: bool
    state: FeedState
    venue_sequence: int
    venue_time_ns: int | None
    receive_time_ns: int


MarketUpdate = Quote | Trade | BookUpdate
