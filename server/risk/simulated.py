"""Losses drawn at random from a fitted distribution, the same for the same seed."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fastpath.risk import simulation
from server.base.errors import FailedPrecondition
from server.risk.covariance import root_of
from server.risk.losses import Measured
from server.risk.portfolio import Floats, Returns
from server.risk.tail import check_tail_history, tail_of

MIN_FOR_KURTOSIS = 250
_DRAWN_AT_ONCE = 4096
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
    """What the portfolio loses in each scenario. The draws behind it are made again where they are needed."""

    root: Floats
    losses: Floats
    seed: int
    freedom: float
    """Degrees of freedom; 0 is normal."""

    def at(self, confidence: float) -> Measured:
        """Raises FailedPrecondition: too few scenarios for the confidence."""
        check_tail_history(len(self.losses), confidence)
        tail = tail_of(self.losses, confidence)
        mean = np.zeros(len(self.root))
        at_boundary = np.zeros((1, len(self.root)))
        for start in range(0, len(tail.scenarios), _DRAWN_AT_ONCE):
            some = slice(start, start + _DRAWN_AT_ONCE)
            draws = np.empty((len(tail.scenarios[some]), len(self.root)))
            simulation.simulated_draws(tail.scenarios[some], self.seed, self.freedom, draws)
            mean += tail.weights[some] @ draws
            at_boundary = draws[-1:]
        return Measured(
            tail.value_at_risk,
            tail.expected_shortfall,
            -(self.root @ at_boundary[0]),
            -(self.root @ mean),
            len(self.losses),
            f"{self.freedom:.3g} degrees of freedom" if self.freedom else "",
        )


def losses_of(returns: Returns, values: Floats, covariance: Floats, horizon: int, scenarios: int, seed: int,
              freedom: float | None, threads: int) -> SimulatedLosses:  # fmt: skip
    """Losses of simulated returns L z, with L L' = covariance times the horizon.

    Student-t: all assets share one chi-square factor, and the covariance is kept: L z sqrt((n - 2) / chi2(n)).
    Glasserman, P. (2003): Monte Carlo methods in financial engineering, sections 2.3 and 9.3. Each scenario is drawn from
    its own number and the seed, so the threads change nothing but the time. Raises FailedPrecondition: a singular covariance.
    """
    root = root_of(covariance, returns.assets) * math.sqrt(horizon)
    loadings = np.ascontiguousarray(root.T @ values)
    losses = np.empty(scenarios)
    bounds = [scenarios * at // threads for at in range(threads + 1)]

    def simulate(first: int, last: int) -> None:
        simulation.simulate_losses(loadings, seed, first, freedom or 0.0, losses[first:last])

    if threads == 1:
        simulate(0, scenarios)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(simulate, bounds[:-1], bounds[1:]))
    return SimulatedLosses(root, losses, seed, freedom or 0.0)
