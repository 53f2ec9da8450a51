"""The replayed order book: strings exactly as recorded, for snapshots, late joiners and loop boundaries."""

from __future__ import annotations

from collections.abc import Iterable

Row = list[str]
"""One level as the venue writes it: price, quantity and whatever the venue adds."""


def _price(row: Row) -> float:
    return float(row[0])


def is_removal(row: Row) -> bool:
    return not row[1].strip("0.")


class Book:
    """Both sides of one instrument, keyed by the price string (a venue writes a price in one way only)."""

    def __init__(self, bids: Iterable[Row] = (), asks: Iterable[Row] = ()) -> None:
        self._bids = {row[0]: row for row in bids}
        self._asks = {row[0]: row for row in asks}

    def apply(self, bids: Iterable[Row], asks: Iterable[Row]) -> None:
        """Set the levels given; a quantity of zero removes one."""
        for side, rows in ((self._bids, bids), (self._asks, asks)):
            for row in rows:
                if is_removal(row):
                    side.pop(row[0], None)
                else:
                    side[row[0]] = row

    def bids(self, depth: int | None = None) -> list[Row]:
        """Best (highest) first, at most `depth` levels."""
        return sorted(self._bids.values(), key=_price, reverse=True)[:depth]

    def asks(self, depth: int | None = None) -> list[Row]:
        """Best (lowest) first, at most `depth` levels."""
        return sorted(self._asks.values(), key=_price)[:depth]

    def top(self, depth: int) -> Book:
        """A copy with the best `depth` levels of each side."""
        return Book(self.bids(depth), self.asks(depth))

    def changes_to(self, other: Book, zero: str | None = None) -> tuple[list[Row], list[Row]]:
        """The (bids, asks) rows which turn this book into `other`, removals first.

        `zero` is how the venue writes the quantity of a removed level; None: with as many decimals as before.
        """
        return _changes(self._bids, other._bids, zero), _changes(self._asks, other._asks, zero)


def _changes(old: dict[str, Row], new: dict[str, Row], zero: str | None) -> list[Row]:
    removed = [[price, zero or _zero_like(row[1])] for price, row in old.items() if price not in new]
    return removed + [row for price, row in new.items() if old.get(price) != row]


def _zero_like(qty: str) -> str:
    _, point, decimals = qty.partition(".")
    return "0" + point + "0" * len(decimals)
