"""Whether value at risk kept its promise: losses that went past it, their number and whether they came in bunches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk.portfolio import Floats, Portfolio, Returns
from server.risk.tail import check_confidences
from server.risk.value_at_risk import Method, ValueAtRiskRequest, losses_of, moving_returns

MIN_FORECASTS = 100
"""Below this the tests cannot tell a right model from a wrong one."""
BASEL_FORECASTS, BASEL_CONFIDENCE = 250, 0.99
BASEL_MULTIPLIERS = (3.0, 3.0, 3.0, 3.0, 3.0, 3.4, 3.5, 3.65, 3.75, 3.85, 4.0)


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """A test: its statistic and the probability of one as great if the model is right."""

    statistic: float
    p_value: float

    def rejects(self, significance: float = 0.05) -> bool:
        """Whether the model is rejected."""
        return self.p_value < significance


@dataclass(frozen=True, slots=True)
class ExceedanceTests:
    """Tests of a series of exceedances."""

    forecasts: int
    exceedances: int
    expected: float
    kupiec: LikelihoodRatio
    """Right number. Kupiec, P. (1995): Techniques for verifying the accuracy of risk measurement models. JD 3(2), 73-84."""
    independence: LikelihoodRatio
    """No bunches. Christoffersen, P. (1998): Evaluating interval forecasts. International Economic Review 39, 841-862."""
    conditional_coverage: LikelihoodRatio
    """Both."""
    traffic_light: str
    """GREEN, YELLOW or RED: Basel Committee (1996): Supervisory framework for the use of backtesting."""
    multiplier: float | None
    """Basel's, defined for 250 forecasts at 99 % only."""


@dataclass(frozen=True, slots=True, eq=False)
class BacktestReport:
    """Forecasts of a method, one period ahead, against what came."""

    method: Method
    confidence: float
    window: int
    times_ns: NDArray[np.int64]
    losses: Floats
    forecasts: Floats
    """Value at risk, made of returns before the loss."""
    shortfalls: Floats
    """Expected shortfall, likewise."""
    tests: ExceedanceTests
    shortfall_ratio: float | None
    """Mean of loss over expected shortfall where value at risk was passed: 1 is right; None if it never was."""


def exceedance_tests(exceeded: NDArray[np.bool_], confidence: float) -> ExceedanceTests:
    """Run all tests. Raises InvalidRequest, and FailedPrecondition: fewer than 100 forecasts."""
    check_confidences((confidence,), "confidence")
    hits = np.asarray(exceeded, dtype=bool)
    if hits.ndim != 1:
        raise InvalidRequest.of("exceeded", "is no series")
    if len(hits) < MIN_FORECASTS:
        raise FailedPrecondition(
            f"{len(hits)} forecasts are too few for a back-test: it needs {MIN_FORECASTS}",
            reason="INSUFFICIENT_HISTORY",
        )
    count, rate = int(hits.sum()), 1 - confidence
    coverage = max(_log_likelihood(count, len(hits), count / len(hits)) - _log_likelihood(count, len(hits), rate), 0.0)
    before, after = hits[:-1], hits[1:]
    from_calm, from_hit = int((~before).sum()), int(before.sum())
    calm_hits, hit_hits = int((~before & after).sum()), int((before & after).sum())
    together = calm_hits + hit_hits
    apart = _log_likelihood(calm_hits, from_calm, calm_hits / from_calm if from_calm else 0.0)
    apart += _log_likelihood(hit_hits, from_hit, hit_hits / from_hit if from_hit else 0.0)
    bunches = max(apart - _log_likelihood(together, len(after), together / len(after)), 0.0)
    at_most = binomial_at_most(count, len(hits), rate)
    basel = len(hits) == BASEL_FORECASTS and confidence == BASEL_CONFIDENCE
    return ExceedanceTests(
        len(hits), count, len(hits) * rate,
        LikelihoodRatio(2 * coverage, math.erfc(math.sqrt(coverage))),
        LikelihoodRatio(2 * bunches, math.erfc(math.sqrt(bunches))),
        LikelihoodRatio(2 * (coverage + bunches), math.exp(-(coverage + bunches))),
        "GREEN" if at_most < 0.95 else "YELLOW" if at_most < 0.9999 else "RED",
        BASEL_MULTIPLIERS[min(count, 10)] if basel else None,
    )  # fmt: skip


def backtest(portfolio: Portfolio, returns: Returns, request: ValueAtRiskRequest, window: int,
             refit_every: int = 1) -> BacktestReport:  # fmt: skip
    """Forecast each period after the first `window` of the `window` before it, with the first method and confidence of
    the request. A forecast stands for `refit_every` periods.

    Raises InvalidRequest: a request of several methods or confidences, of a horizon other than 1; FailedPrecondition:
    fewer than 100 forecasts, a method that refuses.
    """
    if len(request.methods) != 1 or len(request.confidences) != 1 or request.horizons != (1,):
        raise InvalidRequest.of("request", "a back-test takes one method, one confidence and the horizon 1")
    if window < 1 or refit_every < 1:
        raise InvalidRequest.of("window" if window < 1 else "refit_every", "must be at least 1")
    used = moving_returns(portfolio, returns)
    values = portfolio.values_of(used.assets)
    if len(used) - window < MIN_FORECASTS:
        raise FailedPrecondition(
            f"{len(used)} observations leave {max(len(used) - window, 0)} forecasts after a window of {window}: a back-test "
            f"needs {MIN_FORECASTS}",
            reason="INSUFFICIENT_HISTORY",
        )
    losses = -(used.values[window:] @ values)
    forecasts, shortfalls = np.empty(len(losses)), np.empty(len(losses))
    for start in range(0, len(losses), refit_every):
        past = Returns(used.times_ns[start : start + window], used.assets, used.values[start : start + window])
        found = losses_of(past, values, request, request.methods[0], 1).at(request.confidences[0])
        forecasts[start : start + refit_every] = found.value_at_risk
        shortfalls[start : start + refit_every] = found.expected_shortfall
    exceeded = losses > forecasts
    ratio = float((losses[exceeded] / shortfalls[exceeded]).mean()) if exceeded.any() else None
    return BacktestReport(
        request.methods[0], request.confidences[0], window, used.times_ns[window:], losses, forecasts, shortfalls,
        exceedance_tests(exceeded, request.confidences[0]), ratio,
    )  # fmt: skip


def binomial_at_most(count: int, trials: int, rate: float) -> float:
    """Probability of at most so many successes."""
    total = 0.0
    for hits in range(count + 1):
        log = math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1)
        total += math.exp(log + hits * math.log(rate) + (trials - hits) * math.log1p(-rate))
    return min(total, 1.0)


def _log_likelihood(hits: int, trials: int, rate: float) -> float:
    """Of so many hits, 0 log 0 being 0."""
    found = hits * math.log(rate) if hits else 0.0
    return found + ((trials - hits) * math.log1p(-rate) if trials > hits else 0.0)
