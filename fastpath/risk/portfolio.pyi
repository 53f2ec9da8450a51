"""Losses of a portfolio over scenarios, their worst, and returns rescaled to the volatility of today."""

import numpy as np
from numpy.typing import NDArray

def scenario_losses(returns: NDArray[np.float64], values: NDArray[np.float64], losses: NDArray[np.float64]) -> None:
    """losses[s] = - sum of returns[s, a] * values[a]. Raises ValueError: lengths that do not fit."""

def worst(losses: NDArray[np.float64], scenarios: NDArray[np.int64]) -> None:
    """Fill `scenarios` with the indices of the greatest losses, worst first; of equal losses the first goes first."""

def volatility_filter(
    returns: NDArray[np.float64],
    decay: float,
    begin: int,
    filtered: NDArray[np.float64],
    volatility: NDArray[np.float64],
) -> None:
    """Returns after the first `begin`, each times today's volatility over the one forecast for its time."""
