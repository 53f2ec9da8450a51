"""Normalized market data: what every connector produces and every subscriber gets, in integers.

Prices are ticks of the instrument, quantities its data lots (`Instrument.data_lot_size`: finer than what orders are
counted in), times int64 nanoseconds since the epoch (UTC).
`venue_time_ns` is None where the venue sends no time (Binance spot bookTicker).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from server.instruments import Instrument

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


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask. A side that is empty has price 0 and quantity 0."""

    instrument: Instrument
    bid_price: int
    bid_qty: int
    ask_price: int
    ask_qty: int
    venue_time_ns: int | None
    receive_time_ns: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One public trade. `aggressor_side` is 1 BUY, 2 SELL (the taker's side)."""

    instrument: Instrument
    trade_id: str
    price: int
    qty: int
    aggressor_side: int
    venue_time_ns: int | None
    receive_time_ns: int


@dataclass(frozen=True, slots=True)
class BookUpdate:
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
