"""What it costs to close a position now, taking the levels of a book."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from server.base.errors import FailedPrecondition, InvalidRequest

Level: TypeAlias = tuple[float, float]
"""Price and quantity."""


@dataclass(frozen=True, slots=True)
class Book:
    """The levels of an instrument, best first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    def __post_init__(self) -> None:
        """Raises InvalidRequest: a level that is no price and quantity above 0, out of order, or crossed."""
        for name, levels, sign in (("bids", self.bids, -1), ("asks", self.asks, 1)):
            for at, (price, qty) in enumerate(levels):
                if not (math.isfinite(price) and math.isfinite(qty) and price > 0 and qty > 0):
                    raise InvalidRequest.of(f"{name}[{at}]", f"is {qty} at {price}; both must be above 0")
                if at and (price - levels[at - 1][0]) * sign <= 0:
                    raise InvalidRequest.of(f"{name}[{at}]", "is not worse than the level before it")
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise InvalidRequest.of("bids[0]", f"is {self.bids[0][0]}, not below the best ask {self.asks[0][0]}")

    @property
    def mid(self) -> float:
        """Raises FailedPrecondition if a side is empty."""
        if not self.bids or not self.asks:
            raise FailedPrecondition("the book has a side without orders, so no mid price", reason="NO_LIQUIDITY")
        return (self.bids[0][0] + self.asks[0][0]) / 2

    def stressed(self, spread_times: float, depth_divided_by: float) -> Book:
        """Every price so many times as far from the mid, every quantity that much smaller. Prices stay above 0."""
        for name, factor in (("spread_times", spread_times), ("depth_divided_by", depth_divided_by)):
            if not 1 <= factor < math.inf:
                raise InvalidRequest.of(name, f"is {factor}; it must be at least 1")
        mid = self.mid
        moved = [
            tuple((mid + (price - mid) * spread_times, qty / depth_divided_by) for price, qty in levels)
            for levels in (self.bids, self.asks)
        ]
        return Book(tuple(level for level in moved[0] if level[0] > 0), moved[1])


@dataclass(frozen=True, slots=True)
class LiquidationCost:
    """What closing takes, in the quote money of the book."""

    qty: float
    filled: float
    unfilled: float
    """What the levels given do not take; nothing is assumed about its price."""
    mid: float
    average_price: float
    """Of what is filled; 0 if nothing is."""
    spread_cost: float
    """From the mid to the best price, of what is filled."""
    impact_cost: float
    """From the best price to the price paid."""
    fees: float

    @property
    def cost(self) -> float:
        """Of what is filled, against the mid price."""
        return self.spread_cost + self.impact_cost + self.fees

    @property
    def cost_bps(self) -> float:
        """In hundredths of a percent of the value filled, at the mid price; 0 if nothing is filled."""
        return 1e4 * self.cost / (self.filled * self.mid) if self.filled else 0.0


def cost_to_liquidate(qty: float, book: Book, fee_rate: float = 0.0) -> LiquidationCost:
    """Close `qty` (long above 0: sells to the bids; short below 0: buys from the asks). `fee_rate` is of the value traded.

    Perold, A. (1988): The implementation shortfall. Journal of Portfolio Management 14(3), 4-9, against the mid price.
    Raises InvalidRequest: not a finite number; FailedPrecondition: a side is empty, so that there is no mid price.
    """
    if not math.isfinite(qty):
        raise InvalidRequest.of("qty", f"is {qty}; it must be a finite number")
    if not 0 <= fee_rate < 1:
        raise InvalidRequest.of("fee_rate", f"is {fee_rate}; it must be at least 0 and below 1")
    mid = book.mid
    levels: Sequence[Level] = book.bids if qty > 0 else book.asks
    left, traded, notional = abs(qty), 0.0, 0.0
    for price, offered in levels:
        taken = min(left, offered)
        traded, notional, left = traded + taken, notional + taken * price, left - taken
        if left <= 0:
            break
    sign = 1 if qty > 0 else -1
    best = levels[0][0]
    return LiquidationCost(
        qty, traded, max(left, 0.0), mid, notional / traded if traded else 0.0, sign * (mid - best) * traded,
        sign * (best * traded - notional), notional * fee_rate,
    )  # fmt: skip
