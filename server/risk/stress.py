"""What the portfolio loses when something happens: past shocks, own shocks, correlations, thin books, a venue's default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from server.base.errors import FailedPrecondition, InvalidRequest, NotFound
from server.risk import covariance as covariances
from server.risk.covariance import EWMA_DECAY, Covariance
from server.risk.liquidation import Book, cost_to_liquidate
from server.risk.portfolio import Floats, Portfolio, Returns
from server.risk.shocks import NAMED_SHOCKS, OTHER, coin_of
from server.risk.tail import check_confidences, check_horizons

MAX_SHOCKS = 100


@dataclass(frozen=True, slots=True)
class CustomShock:
    """Returns per asset: its name as the positions have it, its coin, or OTHER for all that are not named."""

    name: str
    returns: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Holding:
    """A position to be closed on a book: its quantity, long above 0."""

    name: str
    qty: float
    book: Book
    quote_value: float = 1.0
    """What a unit of the book's quote money is worth in the portfolio's currency."""


@dataclass(frozen=True, slots=True)
class StressRequest:
    """What to try. All parts that are given are tried."""

    named: tuple[str, ...] = tuple(NAMED_SHOCKS)
    custom: tuple[CustomShock, ...] = ()
    correlations_to_one: bool = False
    """Needs returns."""
    confidence: float = 0.99
    horizon: int = 1
    covariance: Covariance = Covariance.SHRUNK
    spread_times: float = 5.0
    depth_divided_by: float = 5.0
    """With `holdings`: how much wider and thinner their books get."""
    holdings: tuple[Holding, ...] = ()
    fee_rate: float = 0.0
    venue_defaults: tuple[str, ...] = ()
    recovery: float = 0.0
    """The share of its debts that a defaulting venue pays."""

    def __post_init__(self) -> None:
        """Raises InvalidRequest, NotFound for a name that no shock has."""
        for name in self.named:
            if name not in NAMED_SHOCKS:
                raise NotFound("shock", name, hint=f"there are {', '.join(NAMED_SHOCKS)}")
        if len(self.custom) > MAX_SHOCKS:
            raise InvalidRequest.of("custom", f"{len(self.custom)} shocks; at most {MAX_SHOCKS}")
        for shock in self.custom:
            for asset, change in shock.returns.items():
                if not -1 <= change < math.inf:
                    raise InvalidRequest.of(
                        f"custom.{shock.name}.{asset}", f"is {change}; a return is finite and >= -1"
                    )
        check_confidences((self.confidence,), "confidence")
        check_horizons((self.horizon,), "horizon")
        if not 0 <= self.recovery <= 1:
            raise InvalidRequest.of("recovery", f"is {self.recovery}; from 0 to 1")


@dataclass(frozen=True, slots=True)
class StressLine:
    """A part of a result: an asset, or a holding."""

    name: str
    loss: float
    shock: float
    """The return applied; 0 where the loss is no return of an asset."""


@dataclass(frozen=True, slots=True)
class StressResult:
    """One scenario. A loss is positive."""

    name: str
    kind: str
    """NAMED, CUSTOM, CORRELATION, LIQUIDITY or VENUE_DEFAULT."""
    description: str
    loss: float
    lines: tuple[StressLine, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class StressReport:
    """Results, greatest loss first."""

    currency: str
    net: float
    gross: float
    results: tuple[StressResult, ...]


def run_stress(portfolio: Portfolio, request: StressRequest, returns: Returns | None = None) -> StressReport:
    """Try all scenarios. Raises FailedPrecondition: correlations without returns of all assets, a book without a side."""
    results = [_named(portfolio, name) for name in request.named]
    results += [_custom(portfolio, shock) for shock in request.custom]
    if request.correlations_to_one:
        if returns is None:
            raise FailedPrecondition("correlations need the returns of the assets", reason="INSUFFICIENT_HISTORY")
        results += _correlations(portfolio, returns, request)
    if request.holdings:
        results.append(_liquidity(request))
    results += [_venue_default(portfolio, venue, request.recovery) for venue in request.venue_defaults]
    ordered = sorted(results, key=lambda each: -each.loss)
    return StressReport(portfolio.currency, portfolio.net, portfolio.gross, tuple(ordered))


def _named(portfolio: Portfolio, name: str) -> StressResult:
    shock = NAMED_SHOCKS[name]
    changes = {asset: shock.return_of(asset) for asset in portfolio.risky_assets}
    description = f"{shock.title}, {shock.start} to {shock.end} UTC ({shock.source})"
    return _shocked(portfolio, name, "NAMED", description, changes)


def _custom(portfolio: Portfolio, shock: CustomShock) -> StressResult:
    rest = shock.returns.get(OTHER, 0.0)
    changes = {
        asset: shock.returns.get(asset, shock.returns.get(coin_of(asset), rest)) for asset in portfolio.risky_assets
    }
    return _shocked(portfolio, shock.name, "CUSTOM", "", changes)


def _shocked(
    portfolio: Portfolio, name: str, kind: str, description: str, changes: Mapping[str, float]
) -> StressResult:
    values = portfolio.values_of(list(changes))
    lines = tuple(
        StressLine(asset, -float(value) * change, change)
        for (asset, change), value in zip(changes.items(), values, strict=True)
    )
    return StressResult(name, kind, description, math.fsum(line.loss for line in lines), lines)


def _correlations(portfolio: Portfolio, returns: Returns, request: StressRequest) -> list[StressResult]:
    """Volatilities of today with all correlations 1, and with every position going against its holder.

    With correlations of 1 longs and shorts still hedge one another; without hedges the deviations add up.
    """
    used = returns.of(portfolio.risky_assets)
    values = portfolio.values_of(used.assets)
    matrix = covariances.estimate(used.values, request.covariance, EWMA_DECAY)
    deviations = np.sqrt(np.diag(matrix) * request.horizon) * NormalDist().inv_cdf(request.confidence)
    sign = 1.0 if float(values @ deviations) >= 0 else -1.0
    what = f"normal, confidence {request.confidence:g}, horizon {request.horizon}"
    return [
        _lines("correlations-to-one", f"all correlations 1; {what}", used, sign * values * deviations),
        _lines("hedges-fail", f"every position moves against its holder; {what}", used, np.abs(values) * deviations),
    ]


def _lines(name: str, description: str, returns: Returns, losses: Floats) -> StressResult:
    lines = tuple(StressLine(asset, float(loss), 0.0) for asset, loss in zip(returns.assets, losses, strict=True))
    return StressResult(name, "CORRELATION", description, math.fsum(line.loss for line in lines), lines)


def _liquidity(request: StressRequest) -> StressResult:
    """Cost of closing everything on the stressed books. What they do not take is said, not priced."""
    lines, unfilled = [], []
    for holding in request.holdings:
        book = holding.book.stressed(request.spread_times, request.depth_divided_by)
        cost = cost_to_liquidate(holding.qty, book, request.fee_rate)
        lines.append(StressLine(holding.name, cost.cost * holding.quote_value, 0.0))
        if cost.unfilled > 0:
            unfilled.append(f"{cost.unfilled:g} of {abs(holding.qty):g} {holding.name}")
    description = f"spreads {request.spread_times:g} times as wide, books {request.depth_divided_by:g} times as thin"
    if unfilled:
        description += "; not taken by the levels given and not in the loss: " + ", ".join(unfilled)
    return StressResult("liquidity", "LIQUIDITY", description, math.fsum(line.loss for line in lines), tuple(lines))


def _venue_default(portfolio: Portfolio, venue: str, recovery: float) -> StressResult:
    """All that the venue owes, less what it pays. What is owed to it stays owed."""
    lines = tuple(
        StressLine(position.asset, position.owed_by_venue * (1 - recovery), 0.0)
        for position in portfolio.positions
        if position.venue == venue
    )
    if not lines:
        raise NotFound("venue", venue, hint="the portfolio holds nothing there")
    loss = math.fsum(line.loss for line in lines)
    return StressResult(f"default:{venue}", "VENUE_DEFAULT", f"recovery {recovery:g}", loss, lines)
