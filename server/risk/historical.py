"""Losses as they would have been in the past: plain, weighted by age, or rescaled to the volatility of today."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fastpath.risk import portfolio
from server.base.errors import FailedPrecondition
from server.risk.covariance import MIN_OBSERVATIONS, age_weights
from server.risk.losses import Measured
from server.risk.portfolio import Floats, Returns
from server.risk.tail import check_tail_history, tail_of


@dataclass(frozen=True, slots=True, eq=False)
class HistoricalLosses:
    """Past returns, one row an outcome, and what the portfolio would have lost in each."""

    rows: Floats
    losses: Floats
    horizon: int
    stretch: float
    """What outcomes are multiplied by to come to the horizon."""
    overlapping: bool
    age_decay: float | None

    def at(self, confidence: float) -> Measured:
        """Raises FailedPrecondition: too few observations for the confidence."""
        independent = len(self.rows) / (self.horizon if self.overlapping else 1)
        check_tail_history(int(independent), confidence)
        weights = None
        if self.age_decay is not None:
            weights = age_weights(len(self.rows), self.age_decay)
            _check_weights(weights, confidence, self.age_decay)
        tail = tail_of(self.losses, confidence, weights)
        return Measured(
            tail.value_at_risk * self.stretch,
            tail.expected_shortfall * self.stretch,
            -self.rows[tail.boundary] * self.stretch,
            -(tail.weights @ self.rows[tail.scenarios]) * self.stretch,
            len(self.rows),
            "" if self.stretch == 1.0 else "one period times the square root of the horizon",
        )

    def with_less(self, column: int, value: float) -> HistoricalLosses:
        """The same outcomes with so much less held of one asset."""
        return replace(self, losses=self.losses + value * self.rows[:, column])


def losses_of(returns: Returns, values: Floats, horizon: int = 1, overlapping: bool = False,
              age_decay: float | None = None, filter_decay: float | None = None) -> HistoricalLosses:  # fmt: skip
    """Losses of past returns, plain if neither decay is given.

    Weighted by age: Boudoukh, J., Richardson, M., Whitelaw, R. (1998): The best of both worlds. Risk 11(5), 64-67.
    Filtered: each return is multiplied by today's volatility over that of its time, asset by asset, both EWMA forecasts
    made before the return: Hull, J., White, A. (1998): Incorporating volatility updating into the historical simulation
    method. Journal of Risk 1(1), 5-19; Barone-Adesi, G. et al. (1999): VaR without correlations. Journal of Futures
    Markets 19, 583-602.

    Raises FailedPrecondition: fewer observations than the horizon or the filter needs.
    """
    rows = returns.values if filter_decay is None else filtered(returns.values, filter_decay)
    overlapping = overlapping and horizon > 1
    if overlapping:
        if len(rows) <= horizon:
            raise FailedPrecondition(
                f"{len(rows)} observations have no window of {horizon} periods", reason="INSUFFICIENT_HISTORY"
            )
        rows = compounded(rows, horizon)
    stretch = 1.0 if overlapping else math.sqrt(horizon)
    losses = np.empty(len(rows))
    portfolio.scenario_losses(rows, values, losses)
    return HistoricalLosses(rows, losses, horizon, stretch, overlapping, age_decay)


def _check_weights(weights: Floats, confidence: float, decay: float) -> None:
    """The weights must leave as many effective observations (1 / sum of squares, Kish 1965) as the tail needs."""
    effective = 1 / float(weights @ weights)
    if effective * (1 - confidence) < 1:
        raise FailedPrecondition(
            f"a decay of {decay:g} leaves {effective:.0f} effective observations, too few for {confidence:g}: it needs "
            f"{math.ceil(1 / (1 - confidence))}. Take a decay nearer to 1",
            reason="INSUFFICIENT_HISTORY",
        )


def compounded(rows: Floats, horizon: int) -> Floats:
    """Returns over every window of so many rows, overlapping."""
    grown = np.vstack([np.zeros((1, rows.shape[1])), np.cumsum(np.log1p(np.maximum(rows, -1 + 1e-12)), axis=0)])
    return np.asarray(np.expm1(grown[horizon:] - grown[:-horizon]))


def filtered(rows: Floats, decay: float) -> Floats:
    """Each column's returns as they would be at the volatility forecast for the next period.

    v(t) = decay v(t-1) + (1 - decay) r(t-1)^2, begun with the mean square of the first 30 rows, which are then left out.
    """
    if len(rows) < 2 * MIN_OBSERVATIONS:
        raise FailedPrecondition(
            f"{len(rows)} observations are too few to filter by volatility: it needs {2 * MIN_OBSERVATIONS}",
            reason="INSUFFICIENT_HISTORY",
        )
    rescaled = np.empty((len(rows) - MIN_OBSERVATIONS, rows.shape[1]))
    portfolio.volatility_filter(rows, decay, MIN_OBSERVATIONS, rescaled, np.empty(rows.shape[1]))
    if not np.isfinite(rescaled).all():
        raise FailedPrecondition(
            "an asset does not move in its first periods: its volatility is 0 and nothing can be scaled by it",
            reason="SINGULAR_COVARIANCE",
        )
    return rescaled
