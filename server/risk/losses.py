"""What a method answers about the losses of a portfolio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from server.risk.portfolio import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Value at risk and expected shortfall with their derivatives by the value held of each asset.

    Both grow in proportion to the portfolio, so value times derivative, summed over assets, gives the total (Euler):
    Tasche, D. (1999): Risk contributions and performance measurement; Gourieroux, Laurent, Scaillet (2000).
    """

    value_at_risk: float
    expected_shortfall: float
    marginal_value_at_risk: Floats
    marginal_expected_shortfall: Floats
    observations: int
    note: str = ""


class Losses(Protocol):
    """The distribution of a portfolio's losses over a horizon, as a method sees it."""

    def at(self, confidence: float) -> Measured:
        """Its tail. Raises FailedPrecondition: this method has no number for this confidence."""
        ...
