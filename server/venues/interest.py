"""Price ranges that can change orders of an instrument, and the book snapshots that reached them."""

from __future__ import annotations

from typing import NamedTuple

from server.market.model import BookUpdate

MAX_TOUCHES = 20
"""Turns of the best prices of a book that are kept between two times. Beyond, the newest takes the place of the last."""


class Range(NamedTuple):
    """Prices that can change an order: `low` and below, `high` and above."""

    low: int
    high: int

    def reached(self, price: int) -> bool:
        return price <= self.low or price >= self.high


NOTHING = Range(-(2**63), 2**63 - 1)


class Interest(NamedTuple):
    """What of an instrument's market can change its orders."""

    resting: Range
    """`low` is the highest resting buy, `high` the lowest resting sell."""
    last: Range
    bid: Range
    ask: Range
    middle: Range
    """These four as triggers watch them."""

    def in_top(self, bid: int, ask: int) -> bool:
        """Whether best prices (0: none) reach a resting order."""
        return 0 < ask <= self.resting.low or bid >= self.resting.high

    def in_triggers(self, bid: int, ask: int) -> bool:
        """Whether best prices (0: none) reach a trigger."""
        return (
            (bid > 0 and self.bid.reached(bid))
            or (ask > 0 and self.ask.reached(ask))
            or (bid > 0 and ask > 0 and self.middle.reached((bid + ask) // 2))
        )


NO_INTEREST = Interest(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)


class Touches:
    """What a book showed since the engine was shown it last, as far as it can change an order: its turns.

    A touch may be shorter than the time between two commits. What lies between its neighbours in bid, ask and middle is
    left out: whatever it reaches, one of them reaches.
    """

    __slots__ = ("snapshots", "tops")

    def __init__(self, shown: tuple[int, int] | None) -> None:
        """`shown`: best bid and ask of what the engine was shown last, if it trusts that."""
        self.snapshots: list[BookUpdate] = []
        self.tops = [shown] if shown is not None else []

    def add(self, snapshot: BookUpdate) -> None:
        top, tops = best_prices(snapshot), self.tops
        passing = len(tops) > 1 and _is_between(tops[-2], tops[-1], top)
        if self.snapshots and (passing or len(self.snapshots) == MAX_TOUCHES):
            self.snapshots[-1], tops[-1] = snapshot, top
        else:
            self.snapshots.append(snapshot)
            tops.append(top)


def best_prices(book: BookUpdate) -> tuple[int, int]:
    """Best bid and ask, 0 for none."""
    return book.bids[0][0] if book.bids else 0, book.asks[0][0] if book.asks else 0


def _is_between(before: tuple[int, int], top: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether best bid, best ask and their middle lie between those before and after."""
    if 0 in (*before, *top, *after):
        return False  # a side that is empty lies nowhere
    watched = [(bid, ask, bid + ask) for bid, ask in (before, top, after)]
    return all(min(first, last) <= middle <= max(first, last) for first, middle, last in zip(*watched, strict=True))
