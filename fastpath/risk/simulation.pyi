"""Monte-Carlo losses: normal and Student-t returns, drawn scenario by scenario and never stored."""

import numpy as np
from numpy.typing import NDArray

def simulate_losses(
    loadings: NDArray[np.float64], seed: int, first: int, freedom: float, losses: NDArray[np.float64]
) -> None:
    """losses[s] = - sum of loadings[a] * draw a of scenario `first` + s. `freedom`: of a Student-t, above 2; 0 is normal.

    Raises ValueError: no loadings, `freedom` neither 0 nor above 2.
    """

def simulated_draws(scenarios: NDArray[np.int64], seed: int, freedom: float, draws: NDArray[np.float64]) -> None:
    """The draws of these scenarios, one row each, as `simulate_losses` used them. Raises ValueError as it does."""
