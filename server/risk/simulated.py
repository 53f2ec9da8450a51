"""Losses drawn at random from a fitted distribution, the same for the same seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from server.base.errors import FailedPrecondition
from server.risk.covariance import root_of
from server.risk.losses import Measured
from server.risk.portfolio import Floats, Returns
from server.risk.tail import check_tail_history, tail_of

MIN_FOR_KURTOSIS = 250
MIN_FREEDOM, MAX_FREEDOM = 4.05, 1000.0


def fitted_degrees_of_freedom(gains: Floats) -> float:
    """4 + 6 / excess kurtosis, from which a Student-t has that kurtosis; 1000, almost a normal, if there is none.

    Raises FailedPrecondition: fewer than 250 observations, or none that moves.
    """
    if len(gains) < MIN_FOR_KURTOSIS:
        raise FailedPrecondition(
            f"{len(gains)} observations are too few to fit degrees of freedom: it needs {MIN_FOR_KURTOSIS}, or give them",
            reason="INSUFFICIENT_HISTORY",
        )
    centred = gains - gains.mean()
    variance = float((centred**2).mean())
    if not variance > 0:
        raise FailedPrecondition("the portfolio does not move in this history", reason="SINGULAR_COVARIANCE")
    excess = float((centred**4).mean()) / variance**2 - 3
    return MAX_FREEDOM if excess <= 0 else min(max(4 + 6 / excess, MIN_FREEDOM), MAX_FREEDOM)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedLosses:
    """Draws, one row a scenario, and what the portfolio loses in each."""

    root: Floats
    draws: Floats
    losses: Floats
    note: str

    def at(self, confidence: float) -> Measured:
        """Raises FailedPrecondition: too few scenarios for the confidence."""
        check_tail_history(len(self.losses), confidence)
        tail = tail_of(self.losses, confidence)
        return Measured(
            tail.value_at_risk,
            tail.expected_shortfall,
            -(self.root @ self.draws[tail.boundary]),
            -(self.root @ (tail.weights @ self.draws[tail.scenarios])),
            len(self.losses),
            self.note,
        )


def losses_of(returns: Returns, values: Floats, covariance: Floats, horizon: int, scenarios: int, seed: int,
              freedom: float | None, threads: int) -> SimulatedLosses:  # fmt: skip
    """Losses of simulated returns L z, with L L' = covariance times the horizon.

    Student-t: all assets share one chi-square factor, and the covariance is kept: L z sqrt((n - 2) / chi2(n)).
    Glasserman, P. (2003): Monte Carlo methods in financial engineering, sections 2.3 and 9.3.
    Raises FailedPrecondition: a singular covariance.
    """
    root = root_of(covariance, returns.assets) * math.sqrt(horizon)
    rng = np.random.Generator(np.random.Philox(seed))
    draws = rng.standard_normal((scenarios, len(values)))
    if freedom is not None:
        draws *= np.sqrt((freedom - 2) / rng.chisquare(freedom, scenarios))[:, None]
    note = "" if freedom is None else f"{freedom:.3g} degrees of freedom"
    return SimulatedLosses(root, draws, -(draws @ (root.T @ values)), note)
