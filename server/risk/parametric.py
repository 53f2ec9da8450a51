"""Losses by formula: normal, and normal corrected for skewness and kurtosis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from server.base.errors import FailedPrecondition
from server.risk.losses import Measured
from server.risk.portfolio import Floats, Returns

_NORMAL = NormalDist()
_FARTHEST = 6.0
MIN_FOR_MOMENTS = 250
"""Observations below which skewness and kurtosis are mostly error."""


@dataclass(frozen=True, slots=True, eq=False)
class NormalLosses:
    """Losses that are normal around zero."""

    sigma: float
    slope: Floats
    """Derivatives of sigma by the values held."""
    observations: int

    def at(self, confidence: float) -> Measured:
        """z sigma and phi(z) / (1 - c) sigma."""
        z = _NORMAL.inv_cdf(confidence)
        shortfall = _NORMAL.pdf(z) / (1 - confidence)
        return Measured(
            z * self.sigma, shortfall * self.sigma, z * self.slope, shortfall * self.slope, self.observations
        )


def normal(returns: Returns, values: Floats, covariance: Floats, horizon: int = 1) -> NormalLosses:
    """sigma^2 = w' S w times the horizon.

    McNeil, A., Frey, R., Embrechts, P. (2015): Quantitative risk management, 2nd ed., section 2.3.
    Raises FailedPrecondition: the portfolio does not move.
    """
    return NormalLosses(*deviation(values, covariance, horizon), len(returns))


def deviation(values: Floats, covariance: Floats, horizon: int) -> tuple[float, Floats]:
    """Standard deviation of the portfolio's value over the horizon, and its derivatives by the values held."""
    product = covariance @ values
    variance = float(values @ product)
    # Of a hedge that is exact nothing is left but rounding.
    if not variance > 1e-14 * float(np.abs(values) @ np.sqrt(np.diag(covariance))) ** 2:
        raise FailedPrecondition(
            "the portfolio's variance is 0: its positions cancel exactly, or the covariance is singular",
            reason="SINGULAR_COVARIANCE",
        )
    sigma = math.sqrt(variance * horizon)
    return sigma, np.asarray(product * (horizon / sigma))


@dataclass(frozen=True, slots=True, eq=False)
class CornishFisherLosses:
    """Losses whose quantiles are the expansion q(z) in skewness and excess kurtosis."""

    sigma: float
    slope: Floats
    skew: float
    skew_slope: Floats
    excess: float
    excess_slope: Floats
    observations: int

    def at(self, confidence: float) -> Measured:
        """q(z) sigma, and the mean of q beyond z times sigma."""
        z = _NORMAL.inv_cdf(confidence)
        beyond = _NORMAL.pdf(z) / (1 - confidence)  # mean of a normal beyond z; its second and third moments follow
        quantile, quantile_slope = self._scaled(z, z * z, z**3)
        shortfall, shortfall_slope = self._scaled(beyond, 1 + z * beyond, beyond * (z * z + 2))
        note = f"skewness {self.skew:.4g} and excess kurtosis {self.excess:.4g} of losses"
        return Measured(quantile, shortfall, quantile_slope, shortfall_slope, self.observations, note)

    def _scaled(self, first: float, second: float, third: float) -> tuple[float, Floats]:
        """q with z, z^2, z^3 as given, times sigma; and its derivatives by the values held."""
        by_excess = (third - 3 * first) / 24
        square = (2 * third - 5 * first) / 36
        factor = first + (second - 1) * self.skew / 6 + by_excess * self.excess - square * self.skew * self.skew
        by_skew = (second - 1) / 6 - 2 * square * self.skew
        slope = factor * self.slope + self.sigma * (by_skew * self.skew_slope + by_excess * self.excess_slope)
        return factor * self.sigma, np.asarray(slope)


def cornish_fisher(returns: Returns, values: Floats, covariance: Floats, horizon: int = 1) -> CornishFisherLosses:
    """The normal quantile z replaced by its expansion in skewness s and excess kurtosis k of the portfolio's losses:

    q(z) = z + (z^2 - 1) s / 6 + (z^3 - 3 z) k / 24 - (2 z^3 - 5 z) s^2 / 36.

    Cornish, E., Fisher, R. (1938), Revue de l'Institut International de Statistique 5, 307-320. It is a quantile only
    where q rises: Maillard, D. (2012): A user's guide to the Cornish Fisher expansion. Expected shortfall is
    the mean of q beyond z; derivatives as in Boudt, K., Peterson, B., Croux, C. (2008), Journal of Risk 11(2), 79-103.
    Over h periods skewness falls by the root of h and kurtosis by h. Raises FailedPrecondition outside of that domain,
    and with fewer than 250 observations.
    """
    if len(returns) < MIN_FOR_MOMENTS:
        raise FailedPrecondition(
            f"{len(returns)} observations are too few for skewness and kurtosis: it needs {MIN_FOR_MOMENTS}",
            reason="INSUFFICIENT_HISTORY",
        )
    sigma, slope = deviation(values, covariance, horizon)
    (skew, skew_slope), (excess, excess_slope) = moments(-returns.values, values)
    root = math.sqrt(horizon)
    if not in_domain(skew / root, excess / horizon):
        raise FailedPrecondition(
            f"skewness {skew / root:.2f} and excess kurtosis {excess / horizon:.2f} are outside of the domain of the "
            "Cornish-Fisher expansion. Use a historical method, a Student-t distribution, or a longer horizon",
            reason="OUTSIDE_DOMAIN",
        )
    return CornishFisherLosses(
        sigma, slope, skew / root, skew_slope / root, excess / horizon, excess_slope / horizon, len(returns)
    )


def in_domain(skew: float, excess: float) -> bool:
    """Whether q(z) rises over all |z| <= 6, beyond which lies a billionth: its derivative a z^2 + b z + c is positive."""
    a = excess / 8 - skew * skew / 6
    b = skew / 3
    c = 1 - excess / 8 + 5 * skew * skew / 36
    lowest = max(-_FARTHEST, min(_FARTHEST, -b / (2 * a))) if a > 0 else _FARTHEST
    return all(a * z * z + b * z + c > 0 for z in (-_FARTHEST, lowest, _FARTHEST))


def moments(losses: Floats, values: Floats) -> tuple[tuple[float, Floats], tuple[float, Floats]]:
    """Skewness and excess kurtosis of the portfolio's losses about their mean, with derivatives by the values held."""
    centred = losses - losses.mean(axis=0)
    total = centred @ values
    square = total * total
    rows = len(total)
    second, third, fourth = float(square.mean()), float((square * total).mean()), float((square * square).mean())
    if not second > 0:
        raise FailedPrecondition("the portfolio does not move in this history", reason="SINGULAR_COVARIANCE")
    by_second = 2 * (total @ centred) / rows
    by_third = 3 * (square @ centred) / rows
    by_fourth = 4 * ((square * total) @ centred) / rows
    skew, kurtosis = third / second**1.5, fourth / second**2
    skew_slope = by_third / second**1.5 - 1.5 * skew * by_second / second
    kurtosis_slope = by_fourth / second**2 - 2 * kurtosis * by_second / second
    return (skew, np.asarray(skew_slope)), (kurtosis - 3, np.asarray(kurtosis_slope))
