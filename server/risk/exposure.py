"""What is held: gross and net by asset, venue and strategy, and how concentrated it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from server.risk.portfolio import Portfolio, Position


@dataclass(frozen=True, slots=True)
class Exposure:
    """Values of the positions that share a name."""

    name: str
    long: float
    short: float
    """Never negative."""

    @property
    def gross(self) -> float:
        return self.long + self.short

    @property
    def net(self) -> float:
        return self.long - self.short


@dataclass(frozen=True, slots=True)
class ExposureReport:
    """Exposures, largest gross first. The portfolio's currency itself is none."""

    currency: str
    total: Exposure
    by_asset: tuple[Exposure, ...]
    by_venue: tuple[Exposure, ...]
    by_strategy: tuple[Exposure, ...]
    concentration: float
    """Herfindahl-Hirschman index of the assets' gross exposures: 1 is all in one, 1/n is evenly over n; 0 if flat."""
    venue_concentration: float
    """The same of what the venues owe, the currency included."""


def exposures(portfolio: Portfolio) -> ExposureReport:
    """Exposures of the portfolio. An asset's positions are netted within a venue and strategy only where they are one."""
    moving = [position for position in portfolio.positions if position.asset != portfolio.currency]
    by_asset = _grouped(moving, lambda position: position.asset)
    owed: dict[str, float] = {}
    for position in portfolio.positions:
        owed[position.venue] = owed.get(position.venue, 0.0) + position.owed_by_venue
    return ExposureReport(
        portfolio.currency,
        Exposure("", sum(each.long for each in by_asset), sum(each.short for each in by_asset)),
        by_asset,
        _grouped(moving, lambda position: position.venue),
        _grouped(moving, lambda position: position.strategy),
        herfindahl([each.gross for each in by_asset]),
        herfindahl(list(owed.values())),
    )


def herfindahl(sizes: list[float]) -> float:
    """Sum of the squared shares: Hirschman, A. (1964): The paternity of an index. American Economic Review 54, 761."""
    total = sum(sizes)
    return sum((size / total) ** 2 for size in sizes) if total > 0 else 0.0


def _grouped(positions: list[Position], name_of: Callable[[Position], str]) -> tuple[Exposure, ...]:
    found: dict[str, tuple[float, float]] = {}
    for position in positions:
        long, short = found.get(name_of(position), (0.0, 0.0))
        found[name_of(position)] = (long + max(position.value, 0.0), short + max(-position.value, 0.0))
    rows = [Exposure(name, long, short) for name, (long, short) in found.items()]
    return tuple(sorted(rows, key=lambda each: (-each.gross, each.name)))
