"""What the venues' messages say, in one shape: texts exactly as sent, sequence numbers made comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Rows = Sequence[Sequence[str]]
"""Levels as sent: price, quantity, and whatever else the venue adds."""


class DepthFrame(NamedTuple):
    """A book, or a change of one.

    A change connects to the state numbered `prev_sequence` and leads to the one numbered `sequence`. Both are 0
    where the venue sends none; then `checksum` tells whether the book is right after the change.
    """

    market: str
    is_snapshot: bool
    bids: Rows
    asks: Rows
    prev_sequence: int
    sequence: int
    venue_time_ns: int | None
    checksum: int | None = None


class QuoteFrame(NamedTuple):
    """Best bid and ask as (price, quantity); an empty side is ("0", "0")."""

    market: str
    bid: Sequence[str]
    ask: Sequence[str]
    venue_time_ns: int | None


class TradeFrame(NamedTuple):
    """One public trade; `aggressor_side` is 1 BUY, 2 SELL."""

    market: str
    trade_id: str
    price: str
    qty: str
    aggressor_side: int
    venue_time_ns: int | None


Frame = DepthFrame | QuoteFrame | TradeFrame

BUY = 1
SELL = 2
EMPTY_SIDE = ("0", "0")


def ns(milliseconds: int | str) -> int:
    """Nanoseconds of a venue's milliseconds."""
    return int(milliseconds) * 1_000_000
