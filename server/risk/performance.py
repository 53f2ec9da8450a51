"""Volatility, ratios and drawdowns of a series of returns. Simple returns, one a period; no method fills in a number
that is undefined: it is None, such as a Sharpe ratio without volatility.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk.covariance import EWMA_DECAY, age_weights
from server.risk.portfolio import Floats, Returns

MIN_RETURNS = 2
YEAR_NS = 365 * 86_400 * 10**9
"""Crypto trades every day."""


@dataclass(frozen=True, slots=True)
class Drawdown:
    """Falls from the highest value so far, as shares of it: 0.2 is a fall by 20 %."""

    maximum: float
    current: float
    average: float
    """Mean of the deepest points of all drawdowns; 0 if there was none."""
    longest: int
    """Periods from a peak until it was reached again, or until the end."""
    ulcer: float
    """Root of the mean squared drawdown: Martin, P., McCann, B. (1989): The investor's guide to Fidelity funds."""


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """Ratios are yearly. `None`: undefined for this series."""

    observations: int
    periods_per_year: float
    total_return: float
    yearly_return: float
    """Compound."""
    volatility: float
    """Realised: standard deviation (divisor n - 1) times the root of the periods of a year."""
    ewma_volatility: float
    sharpe: float | None
    """Sharpe, W. (1994): The Sharpe ratio. Journal of Portfolio Management 21(1), 49-58."""
    sortino: float | None
    """Over the root of the mean squared shortfall: Sortino, F., van der Meer, R. (1991), JPM 17(4), 27-31."""
    calmar: float | None
    """Yearly return over the maximum drawdown: Young, T. (1991): Calmar ratio. Futures 20(1), 40."""
    omega: float | None
    """Gains over losses: Keating, C., Shadwick, W. (2002): A universal performance measure. JPM 6(3), 59-84."""
    drawdown: Drawdown
    beta: float | None
    """To the benchmark, covariance over its variance; None without one."""
    correlation: float | None


def performance(returns: Floats, periods_per_year: float, required_return: float = 0.0,
                benchmark: Floats | None = None, decay: float = EWMA_DECAY) -> PerformanceReport:  # fmt: skip
    """All measures. `required_return` a period is subtracted first (the risk-free rate of Sharpe, the target of Sortino).

    Raises InvalidRequest: not finite, below -1, lengths that differ; FailedPrecondition: fewer than two returns.
    """
    series = checked(returns, "returns")
    if not 0 < periods_per_year < math.inf:
        raise InvalidRequest.of("periods_per_year", f"is {periods_per_year}; it must be above 0")
    if not math.isfinite(required_return):
        raise InvalidRequest.of("required_return", f"is {required_return}; it must be a finite number")
    excess = series - required_return
    root = math.sqrt(periods_per_year)
    deviation = float(series.std(ddof=1))
    shortfall = math.sqrt(float((np.minimum(excess, 0.0) ** 2).mean()))
    losses = float(-np.minimum(excess, 0.0).sum())
    total = float(np.prod(1 + series)) - 1
    yearly = float((1 + total) ** (periods_per_year / len(series))) - 1 if total > -1 else -1.0
    fall = drawdown(series)
    slope = correlation = None
    if benchmark is not None:
        slope, correlation = beta_and_correlation(series, benchmark)
    mean = float(excess.mean())
    moves = deviation > 1e-15
    return PerformanceReport(
        len(series), periods_per_year, total, yearly, deviation * root, ewma_volatility(series, decay) * root,
        mean / deviation * root if moves else None,
        mean / shortfall * root if shortfall > 0 else None,
        yearly / fall.maximum if fall.maximum > 0 else None,
        float(np.maximum(excess, 0.0).sum()) / losses if losses > 0 else None,
        fall, slope, correlation,
    )  # fmt: skip


def ewma_volatility(returns: Floats, decay: float = EWMA_DECAY) -> float:
    """Root of the exponentially weighted mean square of one period (RiskMetrics 1996, section 5.2)."""
    return math.sqrt(float(age_weights(len(returns), decay) @ (returns * returns)))


def drawdown(returns: Floats) -> Drawdown:
    """Of the value that the returns compound to, begun at 1."""
    value = np.concatenate([[1.0], np.cumprod(1 + checked(returns, "returns"))])
    peak = np.maximum.accumulate(value)
    depth = 1 - value / peak
    below = depth > 0
    edges = np.diff(np.concatenate([[False], below, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    deepest = [float(depth[start:end].max()) for start, end in zip(starts, ends, strict=True)]
    # A drawdown begins at its peak, one before the first value below it; one that goes on ends with the series.
    lengths = np.minimum(ends, len(value) - 1) - (starts - 1)
    return Drawdown(
        float(depth.max()), float(depth[-1]), sum(deepest) / len(deepest) if deepest else 0.0,
        int(lengths.max()) if len(lengths) else 0, math.sqrt(float((depth[1:] ** 2).mean())),
    )  # fmt: skip


def beta_and_correlation(returns: Floats, benchmark: Floats) -> tuple[float | None, float | None]:
    """(beta, correlation) to a benchmark. Raises InvalidRequest if the lengths differ."""
    own, other = checked(returns, "returns"), checked(benchmark, "benchmark")
    if len(own) != len(other):
        raise InvalidRequest.of("benchmark", f"has {len(other)} returns, the portfolio {len(own)}")
    own, other = own - own.mean(), other - other.mean()
    product, own_square, other_square = float(own @ other), float(own @ own), float(other @ other)
    if not other_square > 1e-30:
        return None, None
    return product / other_square, product / math.sqrt(own_square * other_square) if own_square > 1e-30 else None


def correlation_matrix(returns: Returns) -> Floats:
    """Correlations of all assets. Raises FailedPrecondition: an asset that does not move, fewer than two rows."""
    if len(returns) < MIN_RETURNS:
        raise FailedPrecondition(f"{len(returns)} observations; it needs {MIN_RETURNS}", reason="INSUFFICIENT_HISTORY")
    centred = returns.values - returns.values.mean(axis=0)
    deviations = np.sqrt((centred * centred).sum(axis=0))
    if (still := np.flatnonzero(~(deviations > 1e-15))).size:
        raise FailedPrecondition(
            f"{returns.assets[still[0]]} does not move in this history: it has no correlation",
            reason="SINGULAR_COVARIANCE",
        )
    matrix = np.clip(centred.T @ centred / np.outer(deviations, deviations), -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray(matrix)


def returns_of_equity(equity: Floats) -> Floats:
    """Simple returns of a series of equity. Raises InvalidRequest: not above 0, fewer than two values."""
    values = np.asarray(equity, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise InvalidRequest.of("equity", "is no series of at least two values")
    if not (np.isfinite(values) & (values > 0)).all():
        raise InvalidRequest.of("equity", "holds a value that is not finite and above 0; no return can be made of it")
    return np.asarray(values[1:] / values[:-1] - 1)


def checked(returns: Floats, field: str) -> Floats:
    """The series as float64. Raises InvalidRequest, and FailedPrecondition if it is too short."""
    series = np.ascontiguousarray(returns, dtype=np.float64)
    if series.ndim != 1:
        raise InvalidRequest.of(field, f"have {series.ndim} dimensions; a series has one")
    if not (np.isfinite(series) & (series >= -1)).all():
        raise InvalidRequest.of(field, "hold a number that is no return: returns are finite and at least -1")
    if len(series) < MIN_RETURNS:
        raise FailedPrecondition(f"{len(series)} returns; it needs {MIN_RETURNS}", reason="INSUFFICIENT_HISTORY")
    return series
