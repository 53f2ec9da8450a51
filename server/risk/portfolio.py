"""What risk is measured of: positions, and the returns of what they hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from server.base.errors import FailedPrecondition, InvalidRequest

Floats: TypeAlias = NDArray[np.float64]
Times: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Position:
    """One position, valued in the portfolio's currency."""

    asset: str
    """What moves its value: the name of a column of `Returns`, or the portfolio's currency (which does not move)."""
    value: float
    """Market value in the portfolio's currency, negative when short."""
    venue: str = ""
    strategy: str = ""
    claim: float | None = None
    """What the venue owes for it: a spot balance's value, a derivative's margin and unrealized profit.
    None: the value if it is positive."""

    @property
    def owed_by_venue(self) -> float:
        """What is lost when the venue pays nothing; never negative."""
        return max(self.value if self.claim is None else self.claim, 0.0)


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Positions and the currency they are valued in."""

    positions: tuple[Position, ...]
    currency: str = "USDT"

    def __post_init__(self) -> None:
        """Raises InvalidRequest for a value that is no finite number or an asset without a name."""
        if not self.positions:
            raise InvalidRequest.of("positions", "there are none; risk needs at least one position")
        for at, position in enumerate(self.positions):
            if not position.asset:
                raise InvalidRequest.of(f"positions[{at}].asset", "has no name")
            for name in ("value", "claim"):
                number = getattr(position, name)
                if number is not None and not math.isfinite(number):
                    raise InvalidRequest.of(f"positions[{at}].{name}", f"is {number}; it must be a finite number")

    @property
    def net(self) -> float:
        """Sum of the values."""
        return math.fsum(position.value for position in self.positions)

    @property
    def gross(self) -> float:
        """Sum of the values without their signs."""
        return math.fsum(abs(position.value) for position in self.positions)

    @property
    def risky_assets(self) -> tuple[str, ...]:
        """Assets whose price moves against the currency, each once, in order of first appearance."""
        return tuple(dict.fromkeys(p.asset for p in self.positions if p.asset != self.currency))

    def values_of(self, assets: Sequence[str]) -> Floats:
        """The value held of each asset, all its positions together."""
        index = {asset: at for at, asset in enumerate(assets)}
        values = np.zeros(len(assets))
        for position in self.positions:
            if position.asset in index:
                values[index[position.asset]] += position.value
        return values

    def with_position(self, position: Position) -> Portfolio:
        """The portfolio with one position more."""
        return Portfolio((*self.positions, position), self.currency)

    def without(self, at: int) -> Portfolio:
        """The portfolio with the position at this index closed: its value is 0, the indexes of the others stay."""
        closed = Position(self.positions[at].asset, 0.0, self.positions[at].venue, self.positions[at].strategy)
        return Portfolio((*self.positions[:at], closed, *self.positions[at + 1 :]), self.currency)


@dataclass(frozen=True, slots=True, eq=False)
class Returns:
    """Simple returns, price(t) / price(t-1) - 1: one row a period, oldest first, one column an asset."""

    times_ns: Times
    """End of each period, ns since 1970, rising."""
    assets: tuple[str, ...]
    values: Floats

    def __post_init__(self) -> None:
        """Raises InvalidRequest: shapes that do not fit, values not finite or below -1, times not rising."""
        values = np.ascontiguousarray(self.values, dtype=np.float64)
        times = np.ascontiguousarray(self.times_ns, dtype=np.int64)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "times_ns", times)
        object.__setattr__(self, "assets", tuple(self.assets))
        if values.ndim != 2 or values.shape != (len(times), len(self.assets)):
            raise InvalidRequest.of(
                "returns",
                f"have the shape {values.shape}; {len(times)} times and {len(self.assets)} assets need "
                f"({len(times)}, {len(self.assets)})",
            )
        if values.size == 0:
            raise InvalidRequest.of("returns", "are empty")
        if len(set(self.assets)) != len(self.assets):
            raise InvalidRequest.of("returns.assets", "name an asset twice")
        bad = ~np.isfinite(values) | (values < -1.0)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InvalidRequest.of(
                "returns", f"{self.assets[column]} at row {row} is {values[row, column]}; a return is finite and >= -1"
            )
        if (np.diff(times) <= 0).any():
            raise InvalidRequest.of("returns.times_ns", "do not rise")

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def period_ns(self) -> int:
        """The usual time from one row to the next; 0 with one row."""
        return int(np.median(np.diff(self.times_ns))) if len(self) > 1 else 0

    def of(self, assets: Sequence[str]) -> Returns:
        """The columns of these assets in this order. Raises FailedPrecondition: there are none of an asset."""
        if tuple(assets) == self.assets:
            return self
        index = {asset: at for at, asset in enumerate(self.assets)}
        if missing := [asset for asset in assets if asset not in index]:
            raise FailedPrecondition(
                f"there are no returns of {', '.join(missing)}; load their candles or leave the positions out",
                reason="INSUFFICIENT_HISTORY",
            )
        return Returns(self.times_ns, tuple(assets), self.values[:, [index[asset] for asset in assets]])

    def last(self, rows: int) -> Returns:
        """The newest rows; all of them if there are fewer."""
        return Returns(self.times_ns[-rows:], self.assets, self.values[-rows:])

    @classmethod
    def from_prices(cls, times_ns: Times, assets: Sequence[str], prices: Floats) -> Returns:
        """Of prices, one row a time, one column an asset. Raises InvalidRequest: a price not above 0, fewer than two."""
        prices = np.asarray(prices, dtype=np.float64)
        if prices.ndim != 2 or prices.shape != (len(times_ns), len(assets)):
            raise InvalidRequest.of(
                "prices", f"have the shape {prices.shape} for {len(times_ns)} times, {len(assets)} assets"
            )
        if len(prices) < 2:
            raise InvalidRequest.of("prices", f"{len(prices)} a column; a return needs two")
        if not (np.isfinite(prices) & (prices > 0)).all():
            raise InvalidRequest.of("prices", "hold a number that is not a price: prices are finite and above 0")
        return cls(np.asarray(times_ns, dtype=np.int64)[1:], tuple(assets), prices[1:] / prices[:-1] - 1.0)

    @classmethod
    def aligned(cls, series: Mapping[str, tuple[Times, Floats]], period_ns: int) -> Returns:
        """Of (times, prices) per asset, such as closes of candles: where all have two prices exactly one period apart.

        A return over a hole in the data is left out: it is none of one period. Raises InvalidRequest, and
        FailedPrecondition if no period is common to all.
        """
        if not series:
            raise InvalidRequest.of("prices", "there are none")
        if period_ns <= 0:
            raise InvalidRequest.of("period", f"is {period_ns} ns; it must be above 0")
        for asset, (times, prices) in series.items():
            if len(times) != len(prices):
                raise InvalidRequest.of(f"prices.{asset}", f"{len(prices)} prices have {len(times)} times")
            if (np.diff(times) <= 0).any():
                raise InvalidRequest.of(f"prices.{asset}", "times do not rise")
        common: Times | None = None
        for times, _ in series.values():
            own = np.asarray(times, dtype=np.int64)
            common = own if common is None else np.intersect1d(common, own, assume_unique=True)
        assert common is not None
        ends = np.flatnonzero(np.diff(common) == period_ns) + 1
        if not len(ends):
            raise FailedPrecondition(
                f"the prices of {', '.join(series)} have no two times in common that are one period apart",
                reason="INSUFFICIENT_HISTORY",
            )
        columns = [np.asarray(p, dtype=np.float64)[np.searchsorted(t, common)] for t, p in series.values()]
        prices = np.column_stack(columns)
        if not (np.isfinite(prices) & (prices > 0)).all():
            raise InvalidRequest.of("prices", "hold a number that is not a price: prices are finite and above 0")
        return cls(common[ends], tuple(series), prices[ends] / prices[ends - 1] - 1.0)
