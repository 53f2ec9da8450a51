"""Value at risk and expected shortfall of a portfolio: what is asked, what comes back, and the methods.

A loss is positive. Positions are held unchanged over the horizon and their value moves with the return of their asset
(linear: spot, perpetuals, futures; no options).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk import covariance as covariances
from server.risk import historical, parametric, simulated
from server.risk.covariance import EWMA_DECAY, Covariance, CovarianceScore
from server.risk.historical import HistoricalLosses
from server.risk.losses import Losses, Measured
from server.risk.portfolio import Floats, Portfolio, Position, Returns
from server.risk.tail import check_confidences, check_horizons

MAX_SCENARIOS = 1_000_000
MAX_INCREMENTAL_WORK = 1_000_000_000
"""Draws of one incremental estimate by Monte-Carlo: ten seconds or so."""
MAX_GRID = 64
"""Confidences times horizons of one request."""


class Method(enum.StrEnum):
    """How the distribution of losses is made."""

    HISTORICAL = "HISTORICAL"
    HISTORICAL_AGE_WEIGHTED = "HISTORICAL_AGE_WEIGHTED"
    HISTORICAL_FILTERED = "HISTORICAL_FILTERED"
    NORMAL = "NORMAL"
    CORNISH_FISHER = "CORNISH_FISHER"
    MONTE_CARLO_NORMAL = "MONTE_CARLO_NORMAL"
    MONTE_CARLO_STUDENT_T = "MONTE_CARLO_STUDENT_T"


HISTORICAL = frozenset({Method.HISTORICAL, Method.HISTORICAL_AGE_WEIGHTED, Method.HISTORICAL_FILTERED})


class Scaling(enum.StrEnum):
    """How historical methods come to a horizon of several periods. The others multiply the covariance by it."""

    SQUARE_ROOT = "SQUARE_ROOT"
    """Losses of one period times the square root of the horizon."""
    OVERLAPPING = "OVERLAPPING"
    """Compounded returns of overlapping windows; needs `horizon` times the observations."""


@dataclass(frozen=True, slots=True)
class ValueAtRiskRequest:
    """What to estimate: every method at every confidence and horizon."""

    methods: tuple[Method, ...] = (Method.HISTORICAL,)
    confidences: tuple[float, ...] = (0.95, 0.99)
    horizons: tuple[int, ...] = (1,)
    """In periods of the returns."""
    covariance: Covariance = Covariance.SHRUNK
    """For NORMAL, CORNISH_FISHER and the Monte-Carlo methods."""
    decay: float = EWMA_DECAY
    """Of the EWMA covariance and of the volatility filter."""
    age_decay: float = 0.995
    """Of HISTORICAL_AGE_WEIGHTED."""
    scaling: Scaling = Scaling.SQUARE_ROOT
    scenarios: int = 10_000
    """Of the Monte-Carlo methods."""
    seed: int = 1
    degrees_of_freedom: float | None = None
    """Of MONTE_CARLO_STUDENT_T, above 2; None: fitted to the kurtosis of the portfolio's returns."""
    threads: int = 1
    """For Monte-Carlo; the result does not depend on it."""
    incremental: bool = False
    """Also what each position adds: the estimate with it less the estimate without it."""

    def __post_init__(self) -> None:
        """Raises InvalidRequest and names the field."""
        if not self.methods:
            raise InvalidRequest.of("methods", "there are none")
        check_confidences(self.confidences)
        check_horizons(self.horizons)
        if (grid := len(self.confidences) * len(self.horizons)) > MAX_GRID:
            raise InvalidRequest.of("confidences", f"times horizons are {grid}; at most {MAX_GRID}")
        for name in ("decay", "age_decay"):
            if not 0 < getattr(self, name) < 1:
                raise InvalidRequest.of(name, f"is {getattr(self, name)}; it must be between 0 and 1")
        if not 1 <= self.scenarios <= MAX_SCENARIOS:
            raise InvalidRequest.of("scenarios", f"are {self.scenarios}; from 1 to {MAX_SCENARIOS}")
        if not 0 <= self.seed < 1 << 64:
            raise InvalidRequest.of("seed", f"is {self.seed}; from 0 to 2**64 - 1")
        if self.degrees_of_freedom is not None and not 2 < self.degrees_of_freedom < math.inf:
            raise InvalidRequest.of("degrees_of_freedom", f"are {self.degrees_of_freedom}; they must be above 2")
        if not 1 <= self.threads <= 64:
            raise InvalidRequest.of("threads", f"are {self.threads}; from 1 to 64")


@dataclass(frozen=True, slots=True)
class Contribution:
    """One position's part in an estimate. Over all positions the components sum to the total (Euler)."""

    position: int
    """Its index in the portfolio."""
    asset: str
    component_value_at_risk: float
    component_expected_shortfall: float
    marginal_value_at_risk: float
    """How value at risk grows with each unit of value added to the position."""
    incremental_value_at_risk: float | None
    """Value at risk with the position less value at risk without it; None if it was not asked for."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One method at one confidence and horizon. Losses are positive, in the portfolio's currency."""

    method: Method
    covariance: Covariance | None
    confidence: float
    horizon: int
    value_at_risk: float
    expected_shortfall: float
    observations: int
    """Periods of history, or scenarios."""
    note: str
    """What else was fitted or assumed, such as the degrees of freedom; empty if nothing."""
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A method that gives no number here, and why."""

    method: Method
    confidence: float
    horizon: int
    reason: str
    """Stable name, such as INSUFFICIENT_HISTORY."""
    description: str


@dataclass(frozen=True, slots=True)
class ValueAtRiskReport:
    """All estimates of a request, and how far the covariance behind them can be trusted."""

    currency: str
    net: float
    gross: float
    first_ns: int
    last_ns: int
    period_ns: int
    observations: int
    estimates: tuple[Estimate, ...]
    refusals: tuple[Refusal, ...]
    scores: tuple[CovarianceScore, ...]
    """Out of sample, of each estimator that can be scored, best portfolio forecast first."""


def value_at_risk(portfolio: Portfolio, returns: Returns, request: ValueAtRiskRequest) -> ValueAtRiskReport:
    """Estimate. What one method cannot answer is among the refusals.

    Raises FailedPrecondition: an asset has no returns, the portfolio holds nothing that moves, or every method refuses.
    """
    used = moving_returns(portfolio, returns)
    values = portfolio.values_of(used.assets)
    matrix = _covariance_of(used, request)
    answers = [
        answer
        for method in request.methods
        for horizon in request.horizons
        for answer in _at_all_confidences(portfolio, used, values, request, method, horizon, matrix)
    ]
    estimates = tuple(answer for answer in answers if isinstance(answer, Estimate))
    refusals = tuple(answer for answer in answers if isinstance(answer, Refusal))
    if not estimates:
        raise FailedPrecondition(refusals[0].description, reason=refusals[0].reason)
    return ValueAtRiskReport(
        portfolio.currency, portfolio.net, portfolio.gross, int(used.times_ns[0]), int(used.times_ns[-1]),
        used.period_ns, len(used), estimates, refusals, scores_of(used, values, request.decay),
    )  # fmt: skip


def _at_all_confidences(portfolio: Portfolio, returns: Returns, values: Floats, request: ValueAtRiskRequest,
                        method: Method, horizon: int, matrix: Floats | None) -> Iterator[Estimate | Refusal]:  # fmt: skip
    """What one method says over one horizon."""
    losses: Losses | None = None
    for confidence in request.confidences:
        try:
            if losses is None:
                losses = losses_of(returns, values, request, method, horizon, matrix)
            measured = losses.at(confidence)
            rests = _without_each(portfolio, returns, losses, request, method, horizon, matrix)
            added = [
                measured.value_at_risk - (rest.at(confidence).value_at_risk if rest else 0.0)
                for rest in (rests if request.incremental else ())
            ]
        except FailedPrecondition as error:
            reason = error.specific_reason or error.reason
            yield Refusal(method, confidence, horizon, reason, error.message)
            continue
        yield Estimate(
            method, None if method in HISTORICAL else request.covariance, confidence, horizon, measured.value_at_risk,
            measured.expected_shortfall, measured.observations, measured.note,
            contributions(portfolio, returns.assets, measured, added),
        )  # fmt: skip


def contributions(portfolio: Portfolio, assets: Sequence[str], measured: Measured, added: Sequence[float] = ()
                  ) -> tuple[Contribution, ...]:  # fmt: skip
    """Each position's part; `added` are the incremental values at risk, one a position, if they are known."""
    column = {asset: at for at, asset in enumerate(assets)}
    parts = []
    for at, position in enumerate(portfolio.positions):
        marginal = shortfall = 0.0
        if position.asset in column:
            marginal = float(measured.marginal_value_at_risk[column[position.asset]])
            shortfall = float(measured.marginal_expected_shortfall[column[position.asset]])
        parts.append(
            Contribution(
                at, position.asset, position.value * marginal, position.value * shortfall, marginal,
                added[at] if added else None,
            )
        )  # fmt: skip
    return tuple(parts)


def _covariance_of(returns: Returns, request: ValueAtRiskRequest) -> Floats | None:
    """The covariance of the request, once for all its answers; None if there is none or no method asks for it."""
    if HISTORICAL.issuperset(request.methods) or len(returns) < covariances.MIN_OBSERVATIONS:
        return None
    return covariances.estimate(returns.values, request.covariance, request.decay)


def _without_each(portfolio: Portfolio, returns: Returns, losses: Losses, request: ValueAtRiskRequest, method: Method,
                  horizon: int, matrix: Floats | None) -> Iterator[Losses | None]:  # fmt: skip
    """The losses of the portfolio without each of its positions; None if nothing else moves."""
    if method in (Method.MONTE_CARLO_NORMAL, Method.MONTE_CARLO_STUDENT_T, Method.CORNISH_FISHER):
        rows = len(returns) if method is Method.CORNISH_FISHER else request.scenarios
        if (work := len(portfolio.positions) * rows * len(returns.assets)) > MAX_INCREMENTAL_WORK:
            raise FailedPrecondition(
                f"positions x scenarios x assets are {work:.3g}; at most {MAX_INCREMENTAL_WORK:.3g} for the incremental "
                f"value at risk of {method}. Take fewer scenarios, a historical method or NORMAL, or leave `incremental` out",
                reason="TOO_MUCH_WORK",
            )
    column = {asset: at for at, asset in enumerate(returns.assets)}
    for at, position in enumerate(portfolio.positions):
        rest = portfolio.without(at).values_of(returns.assets)
        if not rest.any():
            yield None
        elif position.asset not in column:
            yield losses
        elif isinstance(losses, HistoricalLosses):
            yield losses.with_less(column[position.asset], position.value)
        else:
            yield losses_of(returns, rest, request, method, horizon, matrix)


def scores_of(returns: Returns, values: Floats, decay: float = EWMA_DECAY) -> tuple[CovarianceScore, ...]:
    """Out-of-sample scores of the estimators that can be scored on these returns, lowest QLIKE first."""
    scores = []
    for estimator in Covariance:
        try:
            scores.append(covariances.score(returns, values, estimator, decay))
        except FailedPrecondition:  # too short a history, or singular: it is not among the scores
            continue
    return tuple(sorted(scores, key=lambda each: each.qlike))


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Two reports of the same request."""

    before: ValueAtRiskReport | None
    """None if nothing that moves was held."""
    after: ValueAtRiskReport


def what_if(portfolio: Portfolio | None, added: Position, returns: Returns, request: ValueAtRiskRequest) -> WhatIf:
    """The risk before and after a position is added. Raises FailedPrecondition as `value_at_risk` does."""
    after = Portfolio((added,)) if portfolio is None else portfolio.with_position(added)
    holds = portfolio is not None and bool(portfolio.risky_assets)
    before = value_at_risk(portfolio, returns, request) if portfolio is not None and holds else None
    return WhatIf(before, value_at_risk(after, returns, request))


def moving_returns(portfolio: Portfolio, returns: Returns) -> Returns:
    """The returns of what the portfolio holds. Raises FailedPrecondition: nothing that moves, or an asset without returns."""
    assets = portfolio.risky_assets
    if not assets:
        raise FailedPrecondition(
            f"the portfolio holds nothing but {portfolio.currency}: there is no market risk to estimate",
            reason="NO_EXPOSURE",
        )
    return returns.of(assets)


def losses_of(returns: Returns, values: Floats, request: ValueAtRiskRequest, method: Method, horizon: int,
              matrix: Floats | None = None) -> Losses:  # fmt: skip
    """The distribution of losses by one method; `matrix` is the covariance, if it is known already.

    Raises FailedPrecondition if the method has none.
    """
    if method in HISTORICAL:
        return historical.losses_of(
            returns, values, horizon, request.scaling is Scaling.OVERLAPPING,
            request.age_decay if method is Method.HISTORICAL_AGE_WEIGHTED else None,
            request.decay if method is Method.HISTORICAL_FILTERED else None,
        )  # fmt: skip
    if matrix is None:
        matrix = covariances.estimate(returns.values, request.covariance, request.decay)
    if method is Method.NORMAL:
        return parametric.normal(returns, values, matrix, horizon)
    if method is Method.CORNISH_FISHER:
        return parametric.cornish_fisher(returns, values, matrix, horizon)
    freedom: float | None = None
    if method is Method.MONTE_CARLO_STUDENT_T:
        freedom = request.degrees_of_freedom or simulated.fitted_degrees_of_freedom(returns.values @ values)
    return simulated.losses_of(
        returns, values, matrix, horizon, request.scenarios, request.seed, freedom, request.threads
    )
