"""A mirrored order book of one instrument, in integers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from server.market.model import Level

MAX_LEVELS = 5_000
"""Levels a side that are kept. A diff stream adds distant levels for ever; the worst ones go first."""


class BookSide:
    """One side. A level's key grows from the best level to the worst: the price for asks, its negative for bids."""

    __slots__ = ("keys", "limit", "qty", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        """1 for asks, -1 for bids: key = sign * price."""
        self.keys: list[int] = []
        """Sorted, best first."""
        self.qty: dict[int, int] = {}
        """Quantity by key."""
        self.limit: int | None = None
        """The worst key up to which the side is known; None if it is known whole. `apply` does not look at it."""

    def apply(self, levels: Iterable[Level]) -> list[int]:
        """Set levels; quantity 0 removes one. Returns the keys whose quantity is another one now."""
        sign, keys, qty = self.sign, self.keys, self.qty
        changed = []
        for price, new in levels:
            key = sign * price
            old = qty.get(key, 0)
            if old == new:
                continue
            changed.append(key)
            if not new:
                del qty[key]
                del keys[bisect_left(keys, key)]
                continue
            qty[key] = new
            if not old:
                insort(keys, key)
        if len(keys) > MAX_LEVELS:
            for key in keys[MAX_LEVELS:]:
                del qty[key]
            del keys[MAX_LEVELS:]
        return changed

    @property
    def name(self) -> str:
        """bid or ask."""
        return "ask" if self.sign > 0 else "bid"

    def within(self, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        """Those of `levels` that are not beyond the limit."""
        sign, limit = self.sign, self.limit
        return levels if limit is None else tuple([level for level in levels if sign * level[0] <= limit])

    def beyond(self, limit: int) -> tuple[Level, ...]:
        """The levels worse than the key `limit`, best first."""
        sign, qty, keys = self.sign, self.qty, self.keys
        return tuple([(sign * key, qty[key]) for key in keys[bisect_right(keys, limit) :]])

    def top(self, depth: int) -> tuple[Level, ...]:
        """At most `depth` levels, best first."""
        sign, qty = self.sign, self.qty
        return tuple([(sign * key, qty[key]) for key in self.keys[:depth]])

    def best(self) -> Level:
        """The best level; (0, 0) if the side is empty."""
        if not self.keys:
            return (0, 0)
        key = self.keys[0]
        return (self.sign * key, self.qty[key])

    def clear(self) -> None:
        self.keys.clear()
        self.qty.clear()
        self.limit = None


class Book:
    """Bids and asks of one instrument. Prices in ticks, quantities in data lots."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(-1)
        self.asks = BookSide(1)

    @property
    def sides(self) -> tuple[BookSide, BookSide]:
        """Bids, asks."""
        return self.bids, self.asks

    def reset(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace everything by a snapshot. Nothing limits the sides then."""
        self.bids.clear()
        self.asks.clear()
        self.bids.apply(bids)
        self.asks.apply(asks)

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask, which no sane venue shows."""
        bids, asks = self.bids.keys, self.asks.keys
        return bool(bids and asks and -bids[0] >= asks[0])
