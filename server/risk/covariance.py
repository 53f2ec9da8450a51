"""Covariance of returns, estimated three ways, and scored on returns that no estimate has seen.

Means are taken as zero: over hours and days they are small against volatility, and a mean estimated from the same window
adds more error than it removes (RiskMetrics 1996, section 5.2). Shrinkage and the sample covariance follow the same rule.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk.portfolio import Floats, Returns

MIN_OBSERVATIONS = 30
"""Below this no covariance is estimated."""
EWMA_DECAY = 0.94
"""RiskMetrics for daily returns."""
MAX_SCORED = 250
"""Periods an estimate is scored on: the newest, at most half of all."""
_SCORE_WORK = 2_000_000_000
"""Multiplications of one score; with many assets forecasts are renewed less often than each period."""
_NEGLIGIBLE = 1e-18
"""Rows of less weight than this, of the newest row's, are left out of an EWMA."""
_PIVOT = 1e-10
"""A variable of which less than this share of the variance is its own is a combination of those before it."""


class Covariance(enum.StrEnum):
    """How a covariance is estimated."""

    SAMPLE = "SAMPLE"
    """Mean of the products: every period counts the same."""
    EWMA = "EWMA"
    """Exponentially weighted: a period counts `decay` times the one after it."""
    SHRUNK = "SHRUNK"
    """Sample covariance pulled to equal variances and no correlation, as far as its error asks for."""


@dataclass(frozen=True, slots=True)
class CovarianceScore:
    """How good one-period forecasts were on returns after the data they were made of. Lower scores are better."""

    estimator: Covariance
    forecasts: int
    """Periods scored, all after the window of their forecast."""
    window: int
    """Periods each forecast was made of."""
    renewed_every: int
    """Periods that a forecast stood for."""
    log_score: float
    """Mean of (log det S + r' S^-1 r) / assets: the log score of a normal forecast without its constant."""
    qlike: float
    """The same for the portfolio's variance alone: mean of log v + p^2 / v, with returns p per unit of gross value."""
    variance_ratio: float
    """Mean of p^2 / v: 1 is right, 2 says that the forecast variance was half of what came."""


def sample_covariance(values: Floats) -> Floats:
    """Mean of the outer products of the rows."""
    return np.asarray(values.T @ values / len(values))


def ewma_covariance(values: Floats, decay: float = EWMA_DECAY) -> Floats:
    """S = sum of (1 - l) l^k r r' over the rows, newest first (k = 0), divided by the weights' sum.

    J.P. Morgan/Reuters (1996): RiskMetrics technical document, 4th ed., section 5.2.
    """
    values = values[-max(1, math.ceil(math.log(_NEGLIGIBLE) / math.log(decay))) :] if 0 < decay < 1 else values
    weights = age_weights(len(values), decay)
    return np.asarray((values * weights[:, None]).T @ values)


def age_weights(count: int, decay: float) -> Floats:
    """Weights that fall by `decay` a period into the past, oldest first; they sum to 1."""
    if not 0 < decay < 1:
        raise InvalidRequest.of("decay", f"is {decay}; it must be between 0 and 1, such as {EWMA_DECAY}")
    weights = decay ** np.arange(count - 1, -1, -1, dtype=np.float64)
    return np.asarray(weights / weights.sum())


def shrinkage_of(values: Floats, sample: Floats) -> tuple[float, float]:
    """(intensity, mean variance) of the shrinkage of a sample covariance to a multiple of the identity.

    Ledoit, O., Wolf, M. (2004): A well-conditioned estimator for large-dimensional covariance matrices. Journal of
    Multivariate Analysis 88, 365-411. With S the sample covariance of n rows and p columns and |A|^2 = tr(A A') / p:
    m = tr(S) / p, d^2 = |S - m I|^2, b^2 = min(d^2, sum |r r' - S|^2 / n^2), intensity b^2 / d^2.
    """
    rows, columns = values.shape
    mean = float(np.trace(sample)) / columns
    square = float((sample * sample).sum())
    distance = (square - columns * mean * mean) / columns
    # |r r'|^2 is (r r)^2 over p, and the products with S sum to n |S|^2.
    own = np.einsum("ij,ij->i", values, values)
    error = (float(own @ own) / rows - square) / rows / columns
    if distance <= 0:
        return 0.0, mean  # one asset, or equal variances without correlation: the sample is the target
    return max(0.0, min(error, distance) / distance), mean


def shrunk_covariance(values: Floats) -> Floats:
    """The sample covariance, shrunk by the intensity of `shrinkage_of`."""
    sample = sample_covariance(values)
    intensity, mean = shrinkage_of(values, sample)
    shrunk = (1 - intensity) * sample
    shrunk[np.diag_indices_from(shrunk)] += intensity * mean
    return np.asarray(shrunk)


def estimate(values: Floats, estimator: Covariance, decay: float = EWMA_DECAY) -> Floats:
    """The covariance of one period. Raises FailedPrecondition: fewer than 30 rows."""
    if len(values) < MIN_OBSERVATIONS:
        raise FailedPrecondition(
            f"{len(values)} observations are too few for a covariance: it needs {MIN_OBSERVATIONS}",
            reason="INSUFFICIENT_HISTORY",
        )
    if estimator is Covariance.EWMA:
        return ewma_covariance(values, decay)
    return shrunk_covariance(values) if estimator is Covariance.SHRUNK else sample_covariance(values)


def root_of(covariance: Floats, assets: Sequence[str]) -> Floats:
    """Lower triangular L with L L' = covariance. Raises FailedPrecondition if it is singular, and names the asset."""
    deviations = np.sqrt(np.diag(covariance))
    if (still := np.flatnonzero(~(deviations > 0))).size:
        raise FailedPrecondition(
            f"{assets[still[0]]} does not move in this history: the covariance is singular. Leave it out",
            reason="SINGULAR_COVARIANCE",
        )
    correlation = covariance / np.outer(deviations, deviations)
    try:
        root = np.linalg.cholesky(correlation)
    except np.linalg.LinAlgError:
        root = None
    if root is None or (np.diag(root) ** 2 < _PIVOT).any():
        raise FailedPrecondition(
            f"the covariance of {len(assets)} assets is singular: one moves exactly as a mix of others, or there are fewer "
            "observations than assets. Use a SHRUNK covariance, or give what moves together one asset name",
            reason="SINGULAR_COVARIANCE",
        )
    return np.asarray(root * deviations[:, None])


def score(returns: Returns, values: Floats, estimator: Covariance, decay: float = EWMA_DECAY) -> CovarianceScore:
    """Score of the estimator on the newest periods, each forecast made of the rows before it.

    Patton, A. (2011): Volatility forecast comparison using imperfect volatility proxies. Journal of Econometrics 160,
    246-256. `values` are what the portfolio holds of each asset. Raises FailedPrecondition: fewer than 60 rows, or an
    estimate that is singular.
    """
    rows, columns = returns.values.shape
    count = min(rows // 2, MAX_SCORED)
    window = rows - count
    if rows < 2 * MIN_OBSERVATIONS:
        raise FailedPrecondition(
            f"{rows} observations are too few to score a covariance: it needs {2 * MIN_OBSERVATIONS}",
            reason="INSUFFICIENT_HISTORY",
        )
    gross = float(np.abs(values).sum())
    if not gross > 0:
        raise FailedPrecondition("nothing is held, so there is no variance to score", reason="NO_EXPOSURE")
    shares = values / gross
    # A hundredth of new rows changes little where all weigh the same; what forgets is renewed each period.
    lasts = 1 if estimator is Covariance.EWMA else max(1, window // 100)
    step = min(count, max(lasts, math.ceil(count * (columns + window) * columns**2 / _SCORE_WORK)))
    logs = likes = ratios = 0.0
    for start in range(window, rows, step):
        covariance = estimate(returns.values[start - window : start], estimator, decay)
        root = root_of(covariance, returns.assets)
        seen = returns.values[start : start + step]
        whitened = np.linalg.solve(root, seen.T)
        logs += 2 * len(seen) * float(np.log(np.diag(root)).sum()) + float(np.vdot(whitened, whitened))
        variance = float(shares @ covariance @ shares)
        squares = (seen @ shares) ** 2
        ratio = float(squares.sum()) / variance
        likes += len(seen) * math.log(variance) + ratio
        ratios += ratio
    return CovarianceScore(estimator, count, window, step, logs / count / columns, likes / count, ratios / count)
