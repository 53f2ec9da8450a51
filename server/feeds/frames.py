"""Normalized venue messages: texts exactly as sent, sequence numbers made comparable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Concatenate, Literal, NamedTuple, ParamSpec

Rows = Sequence[Sequence[str]]
"""Levels as sent: price, quantity, and whatever else the venue adds."""


class DepthFrame(NamedTuple):
    """A book, or a change of one.

    A change connects to the state numbered `prev_sequence` and leads to the one numbered `sequence`. Both are 0
    where the venue sends none; then `checksum` alone tells whether the book is right after the change.
    """

    market: str
    is_snapshot: bool
    bids: Rows
    asks: Rows
    prev_sequence: int
    sequence: int
    venue_time_ns: int | None
    checksum: int | None = None
    position: int = 0
    """Numbers the states of a book alike on the stream and in fetched snapshots; 0: the venue has no such number."""
    max_levels: int = 0
    """Of a fetched snapshot: how many levels a side were asked for. A side with fewer is the whole side."""


class QuoteFrame(NamedTuple):
    """Best bid and ask as (price, quantity); an empty side is ("0", "0").

    `sequence` is the one the book has when these are its best levels; 0 where the venue does not tell.
    """

    market: str
    bid: Sequence[str]
    ask: Sequence[str]
    venue_time_ns: int | None
    sequence: int = 0


class TradeFrame(NamedTuple):
    """One public trade; `aggressor_side` is 1 BUY, 2 SELL.

    Where the venue numbers the trades of a market one after another, `number` is that of this one, or of the last of the
    `merged` that were put into it; otherwise 0. What is not `public` has a number and is no trade of the market.
    """

    market: str
    trade_id: str
    price: str
    qty: str
    aggressor_side: int
    venue_time_ns: int | None
    number: int = 0
    merged: int = 1
    public: bool = True


Channel = Literal["book", "quote", "trade"]


class BadFrame(NamedTuple):
    """What a venue sent for one market and cannot be read; `problem` says why."""

    market: str
    channel: Channel
    problem: str


Frame = DepthFrame | QuoteFrame | TradeFrame | BadFrame

BUY = 1
SELL = 2
EMPTY_SIDE = ("0", "0")

P = ParamSpec("P")


def read(
    channel: Channel, market: str, make: Callable[Concatenate[str, P], Frame], *args: P.args, **kwargs: P.kwargs
) -> Frame:
    """The frame that `make` reads for one market; a BadFrame if it cannot, so that nothing else of the message is lost."""
    try:
        return make(market, *args, **kwargs)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        return BadFrame(market, channel, f"{type(error).__name__}: {error}"[:200])
