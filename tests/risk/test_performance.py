"""Volatility, ratios, drawdowns, beta: against empyrical, and by hand where it has none."""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pytest

from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk.performance import (
    beta_and_correlation,
    correlation_matrix,
    drawdown,
    ewma_volatility,
    performance,
    returns_of_equity,
)
from server.risk.portfolio import Returns

YEAR = 365


@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_those_of_empyrical(seed: int) -> None:
    rng = np.random.default_rng(seed)
    market = rng.standard_t(4, 700) * 0.02
    returns = 0.7 * market + rng.standard_normal(700) * 0.01 + 0.001
    report = performance(returns, YEAR, benchmark=market)
    same = pytest.approx
    assert report.total_return == same(empyrical.cum_returns_final(returns))
    assert report.yearly_return == same(empyrical.annual_return(returns, annualization=YEAR))
    assert report.volatility == same(empyrical.annual_volatility(returns, annualization=YEAR))
    assert report.sharpe == same(empyrical.sharpe_ratio(returns, annualization=YEAR))
    assert report.sortino == same(empyrical.sortino_ratio(returns, annualization=YEAR))
    assert report.calmar == same(empyrical.calmar_ratio(returns, annualization=YEAR))
    assert report.omega == same(empyrical.omega_ratio(returns))
    assert report.drawdown.maximum == same(-empyrical.max_drawdown(returns))
    assert report.beta == same(empyrical.beta(returns, market))
    assert report.correlation == same(np.corrcoef(returns, market)[0, 1])
    required = performance(returns, YEAR, required_return=0.0005)
    assert required.sharpe == same(empyrical.sharpe_ratio(returns, risk_free=0.0005, annualization=YEAR))
    assert required.sortino == same(empyrical.sortino_ratio(returns, required_return=0.0005, annualization=YEAR))


def test_drawdowns_by_hand() -> None:
    equity = np.array([100.0, 90.0, 95.0, 100.0, 120.0, 60.0, 90.0])
    found = drawdown(returns_of_equity(equity))
    assert found.maximum == pytest.approx(0.5)
    assert found.current == pytest.approx(0.25)
    assert found.average == pytest.approx((0.1 + 0.5) / 2)
    assert found.longest == 3, "from 100 until it is 100 again"
    depths = np.array([0.1, 0.05, 0, 0, 0.5, 0.25])
    assert found.ulcer == pytest.approx(math.sqrt((depths**2).mean()))
    never = drawdown(np.array([0.1, 0.0, 0.2]))
    assert (never.maximum, never.average, never.longest, never.ulcer) == (0, 0, 0, 0)


def test_recent_moves_weigh_more_in_ewma_volatility() -> None:
    assert ewma_volatility(np.array([0.0, 0.2]), 0.5) == pytest.approx(math.sqrt(2 / 3 * 0.04))


def test_what_is_undefined_is_none_and_never_a_number() -> None:
    flat = performance(np.zeros(10), YEAR, benchmark=np.zeros(10))
    assert (flat.sharpe, flat.sortino, flat.calmar, flat.omega, flat.beta, flat.correlation) == (None,) * 6
    rising = performance(np.array([0.01, 0.02]), YEAR)
    assert (rising.sortino, rising.calmar, rising.omega) == (None, None, None)
    assert rising.sharpe is not None
    assert performance(np.array([0.1, -1.0]), YEAR).yearly_return == -1


def test_bad_series_are_refused() -> None:
    good = np.array([0.01, -0.01])
    for bad in (np.array([0.1, math.nan]), np.array([0.1, -1.5]), np.zeros((2, 2)), np.array([math.inf, 0])):
        with pytest.raises(InvalidRequest):
            performance(bad, YEAR)
    for few in (np.array([]), np.array([0.1])):
        with pytest.raises(FailedPrecondition, match="it needs 2"):
            performance(few, YEAR)
    with pytest.raises(InvalidRequest, match="has 3 returns, the portfolio 2"):
        beta_and_correlation(good, np.zeros(3))
    for periods, required in ((0.0, 0.0), (math.nan, 0.0), (YEAR, math.nan)):
        with pytest.raises(InvalidRequest):
            performance(good, periods, required)
    for equity in ([1.0], [1.0, 0.0], [1.0, -1.0], [1.0, math.nan]):
        with pytest.raises(InvalidRequest):
            returns_of_equity(np.array(equity))


def test_the_correlation_matrix_is_that_of_numpy_and_names_what_does_not_move() -> None:
    values = np.random.default_rng(1).standard_normal((100, 3)) / 100
    assets = ("BTC", "ETH", "SOL")
    assert correlation_matrix(Returns(np.arange(100), assets, values)) == pytest.approx(np.corrcoef(values.T))
    values[:, 1] = 0.001
    with pytest.raises(FailedPrecondition, match="ETH does not move"):
        correlation_matrix(Returns(np.arange(100), assets, values))
