"""Value at risk and expected shortfall of a set of weighted losses: the one definition that all methods share.

Value at risk at confidence c is the smallest loss l with P(loss <= l) >= c. Expected shortfall is the mean of the worst
1 - c of the probability; the loss at the boundary counts with the part that is needed to fill it. So it is subadditive
also where losses are few or equal.

Acerbi, C., Tasche, D. (2002): On the coherence of expected shortfall. Journal of Banking and Finance 26, 1487-1503.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastpath.risk import portfolio
from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk.portfolio import Floats

TAIL_OBSERVATIONS = 2.5
"""Losses beyond value at risk that an estimate needs: 250 observations at 99 %, the year that Basel asks for."""
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Tail:
    """The worst losses: which scenarios, with what weight in expected shortfall."""

    value_at_risk: float
    expected_shortfall: float
    boundary: int
    """The scenario whose loss is value at risk."""
    scenarios: NDArray[np.int64]
    """The scenarios in the tail, worst first; the last is the boundary."""
    weights: Floats
    """Their weights in expected shortfall; they sum to 1."""


def check_confidences(confidences: Sequence[float], field: str = "confidences") -> None:
    """Raises InvalidRequest unless each is a number above 0.5 and below 1."""
    if not len(confidences):
        raise InvalidRequest.of(field, "there are none; an example is 0.99")
    for confidence in confidences:
        if not 0.5 < confidence < 1:  # NaN compares false
            raise InvalidRequest.of(field, f"{confidence} is not between 0.5 and 1, such as 0.99")


def check_horizons(horizons: Sequence[int], field: str = "horizons") -> None:
    """Raises InvalidRequest unless each is a whole number of periods, at least 1."""
    if not len(horizons):
        raise InvalidRequest.of(field, "there are none; an example is 1")
    for horizon in horizons:
        if isinstance(horizon, bool) or horizon != horizon or int(horizon) != horizon or horizon < 1:
            raise InvalidRequest.of(field, f"{horizon} is no whole number of periods, at least 1")


def needed_for(confidence: float) -> int:
    """How many observations an empirical tail of this confidence needs."""
    return math.ceil(TAIL_OBSERVATIONS / (1 - confidence) - _ROUNDING * 1e3)


def check_tail_history(observations: int, confidence: float) -> None:
    """Raises FailedPrecondition if an empirical tail of so many observations says nothing."""
    if observations < (needed := needed_for(confidence)):
        raise FailedPrecondition(
            f"{observations} observations are too few for {confidence:g}: it needs {needed}. "
            "Take a longer history, shorter periods, or a lower confidence",
            reason="INSUFFICIENT_HISTORY",
        )


def tail_of(losses: Floats, confidence: float, weights: Floats | None = None) -> Tail:
    """The tail of losses, equally likely or with weights that sum to 1."""
    beyond = 1 - confidence
    if weights is None:
        inside = beyond * len(losses) + _ROUNDING * len(losses)
        worst = np.empty(min(int(inside) + 1, len(losses)), dtype=np.int64)
        portfolio.worst(losses, worst)
        share = np.full(len(worst), 1 / len(losses))
    else:
        order = np.argsort(-losses, kind="stable")
        passed = np.cumsum(weights[order])  # probability of the losses down to this one
        worst = order[: min(int(np.searchsorted(passed, beyond + _ROUNDING, side="right")) + 1, len(losses))]
        share = weights[worst]
    share[-1] = max(beyond - float(share[:-1].sum()), 0.0)  # the boundary fills what the losses beyond it leave
    share /= share.sum()
    return Tail(
        value_at_risk=float(losses[worst[-1]]),
        expected_shortfall=float(share @ losses[worst]),
        boundary=int(worst[-1]),
        scenarios=worst,
        weights=share,
    )
