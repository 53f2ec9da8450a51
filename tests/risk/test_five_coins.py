"""Risk of a portfolio of five coins, on three years of hourly candles, against numpy, scipy, scikit-learn and empyrical."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import empyrical
import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import ledoit_wolf

from server.risk.backtest import backtest
from server.risk.covariance import Covariance, shrunk_covariance
from server.risk.portfolio import Portfolio, Position, Returns
from server.risk.shocks import NAMED_SHOCKS
from server.risk.value_at_risk import Method, ValueAtRiskRequest, value_at_risk
from tests.risk.coins import COINS, HOUR_NS, closes, five_coins

VALUES = np.array([50_000.0, 20_000.0, -10_000.0, 8_000.0, 12_000.0])
PORTFOLIO = Portfolio(tuple(Position(coin, float(value)) for coin, value in zip(COINS, VALUES, strict=True)))


@pytest.fixture(scope="module")
def coins(shared: Path) -> Returns:
    return five_coins(shared)


def test_the_hours_of_five_coins_are_aligned(coins: Returns) -> None:
    assert len(coins) > 28_000
    assert coins.period_ns == HOUR_NS


def test_historical_losses_equal_an_independent_computation(coins: Returns) -> None:
    report = value_at_risk(PORTFOLIO, coins, ValueAtRiskRequest(confidences=(0.95, 0.975, 0.99, 0.999)))
    gains = coins.values @ VALUES
    for each in report.estimates:
        expected = -np.quantile(gains, 1 - each.confidence, method="inverted_cdf")
        assert each.value_at_risk == pytest.approx(expected, rel=1e-9)
        # The integral of the quantile function over the tail; between samples it is a staircase, so its sum is exact.
        worst = np.sort(gains)
        mass = len(worst) * (1 - each.confidence)
        whole = int(mass + 1e-9)
        shortfall = -(worst[:whole].sum() + (mass - whole) * worst[whole]) / mass
        assert each.expected_shortfall == pytest.approx(shortfall, rel=1e-9)
        score = stats.percentileofscore(-gains, each.value_at_risk, "weak") / 100
        assert score == pytest.approx(each.confidence, abs=2 / len(gains))


def test_historical_losses_equal_those_of_empyrical(coins: Returns) -> None:
    """empyrical interpolates between two losses of 28,000, and takes the mean of those at least as great as the cut-off."""
    gains = coins.values @ VALUES / np.abs(VALUES).sum()
    unit = Portfolio(
        tuple(Position(coin, float(v / np.abs(VALUES).sum())) for coin, v in zip(COINS, VALUES, strict=True))
    )
    (found,) = value_at_risk(unit, coins, ValueAtRiskRequest(confidences=(0.95,))).estimates
    assert found.value_at_risk == pytest.approx(-empyrical.value_at_risk(gains, 0.05), rel=1e-3)
    assert found.expected_shortfall == pytest.approx(-empyrical.conditional_value_at_risk(gains, 0.05), rel=1e-3)


def test_parametric_losses_equal_scipy_and_the_covariances_scikit_learn(coins: Returns) -> None:
    recent = coins.last(2000)
    for covariance, matrix in (
        (Covariance.SAMPLE, recent.values.T @ recent.values / 2000),
        (Covariance.SHRUNK, ledoit_wolf(recent.values, assume_centered=True)[0]),
    ):
        request = ValueAtRiskRequest((Method.NORMAL,), (0.99,), covariance=covariance)
        (found,) = value_at_risk(PORTFOLIO, recent, request).estimates
        sigma = np.sqrt(VALUES @ matrix @ VALUES)
        assert found.value_at_risk == pytest.approx(stats.norm.ppf(0.99) * sigma, rel=1e-9)
        tail = stats.norm.expect(lambda x: x, lb=stats.norm.ppf(0.99), conditional=True)
        assert found.expected_shortfall == pytest.approx(tail * sigma, rel=1e-6)
    assert shrunk_covariance(recent.values) == pytest.approx(
        ledoit_wolf(recent.values, assume_centered=True)[0], rel=1e-9
    )


def test_hourly_kurtosis_is_outside_of_the_cornish_fisher_domain_and_a_week_is_within(coins: Returns) -> None:
    request = ValueAtRiskRequest((Method.CORNISH_FISHER,), (0.99,), (1, 168))
    report = value_at_risk(PORTFOLIO, coins, request)
    assert [(refusal.horizon, refusal.reason) for refusal in report.refusals] == [(1, "OUTSIDE_DOMAIN")]
    gains = coins.values @ VALUES
    skew, excess = -stats.skew(gains) / 168**0.5, stats.kurtosis(gains) / 168
    assert report.estimates[0].note == f"skewness {skew:.4g} and excess kurtosis {excess:.4g} of losses"


def test_the_covariance_forecast_is_scored_out_of_sample(coins: Returns) -> None:
    """Volatility comes in bunches: a forecast that forgets does better on hours than one that weighs half a year alike."""
    recent = coins.last(4000)
    scores = value_at_risk(PORTFOLIO, recent, ValueAtRiskRequest()).scores
    assert {score.estimator for score in scores} == set(Covariance)
    assert [score.qlike for score in scores] == sorted(score.qlike for score in scores)
    for score in scores:
        assert (score.forecasts, score.window) == (250, 3750)
        assert 0.2 < score.variance_ratio < 5


def test_filtered_value_at_risk_holds_where_the_normal_one_fails(coins: Returns) -> None:
    """Hourly losses at 99 %: fat tails break the normal model in number, plain history in bunches."""
    recent = coins.last(3500)

    def tested(method: Method) -> tuple[float, float, int]:
        request = ValueAtRiskRequest((method,), (0.99,), covariance=Covariance.SAMPLE)
        tests = backtest(PORTFOLIO, recent, request, window=1000, refit_every=5).tests
        return tests.kupiec.p_value, tests.conditional_coverage.p_value, tests.exceedances

    normal, filtered = tested(Method.NORMAL), tested(Method.HISTORICAL_FILTERED)
    assert normal[2] > filtered[2]
    assert normal[0] < 0.05


@pytest.mark.parametrize("name", NAMED_SHOCKS)
def test_named_shocks_are_what_the_candles_say(shared: Path, name: str) -> None:
    """From the last close before the window to the lowest close within it."""
    shock = NAMED_SHOCKS[name]
    start, end = (
        int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()) * 10**9 for at in (shock.start, shock.end)
    )
    measured = {}
    for coin in COINS:
        times, prices = closes(shared, coin)
        if times[0] <= start:
            within = prices[(times > start) & (times <= end)]
            measured[coin] = within.min() / prices[np.searchsorted(times, start)] - 1
    assert set(measured) == set(COINS) & set(shock.returns)
    for coin, change in measured.items():
        assert shock.returns[coin] == pytest.approx(change, abs=6e-5)
    causes = {"SOL"} if name == "2022-11-ftx" else set()
    others = [change for coin, change in measured.items() if coin not in {"BTC", "ETH", *causes}]
    assert shock.returns["OTHER"] == pytest.approx(min(others), abs=6e-5)
