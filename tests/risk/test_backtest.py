"""Back-tests: the published values of the tests, and that they tell a right model from a wrong one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk.backtest import backtest, binomial_at_most, exceedance_tests
from server.risk.portfolio import Portfolio, Position, Returns
from server.risk.value_at_risk import Method, ValueAtRiskRequest

BTC = Portfolio((Position("BTC", 1000.0),))


def hits(count: int, forecasts: int) -> NDArray[np.bool_]:
    """So many exceedances, evenly spread."""
    found = np.zeros(forecasts, dtype=bool)
    found[np.linspace(0, forecasts - 1, count, dtype=int)] = True
    return found


def test_kupiec_is_the_likelihood_ratio_of_the_paper() -> None:
    """Kupiec (1995), table 3: with 255 days at 99 % up to 6 exceedances are not rejected at 5 %, 7 are."""
    assert not exceedance_tests(hits(6, 255), 0.99).kupiec.rejects()
    assert exceedance_tests(hits(7, 255), 0.99).kupiec.rejects()
    tests = exceedance_tests(hits(12, 500), 0.99)
    ratio = 2 * (stats.binom.logpmf(12, 500, 12 / 500) - stats.binom.logpmf(12, 500, 0.01))
    assert tests.kupiec.statistic == pytest.approx(ratio)
    assert tests.kupiec.p_value == pytest.approx(stats.chi2(1).sf(ratio))
    together = tests.kupiec.statistic + tests.independence.statistic
    assert tests.conditional_coverage.statistic == pytest.approx(together)
    assert tests.conditional_coverage.p_value == pytest.approx(stats.chi2(2).sf(together))


@pytest.mark.parametrize(
    ("count", "light", "multiplier"),
    [(0, "GREEN", 3.0), (4, "GREEN", 3.0), (5, "YELLOW", 3.4), (7, "YELLOW", 3.65), (9, "YELLOW", 3.85), (10, "RED", 4.0),
     (40, "RED", 4.0)],
)  # fmt: skip
def test_the_traffic_light_is_that_of_basel(count: int, light: str, multiplier: float) -> None:
    tests = exceedance_tests(hits(count, 250), 0.99)
    assert (tests.traffic_light, tests.multiplier) == (light, multiplier)


def test_the_multiplier_is_for_250_days_at_99_percent_only() -> None:
    assert exceedance_tests(hits(5, 500), 0.99).multiplier is None
    assert exceedance_tests(hits(5, 250), 0.975).multiplier is None


def test_bunches_are_found_though_their_number_is_right() -> None:
    spread, bunched = hits(10, 1000), np.zeros(1000, dtype=bool)
    bunched[500:510] = True
    for exceeded, rejected in ((spread, False), (bunched, True)):
        tests = exceedance_tests(exceeded, 0.99)
        assert not tests.kupiec.rejects()
        assert tests.independence.rejects() == tests.conditional_coverage.rejects() == rejected


@pytest.mark.parametrize("count", [0, 100])
def test_all_or_none_exceeded_has_no_logarithm_of_zero(count: int) -> None:
    tests = exceedance_tests(np.full(100, count > 0), 0.95)
    assert tests.exceedances == count
    assert tests.kupiec.rejects()
    assert tests.independence.p_value == 1


def test_binomial_is_that_of_scipy() -> None:
    for count in (-1, 0, 3, 10, 250):
        assert binomial_at_most(count, 250, 0.01) == pytest.approx(stats.binom.cdf(count, 250, 0.01))


def test_the_right_model_is_accepted_and_a_wrong_one_rejected() -> None:
    """Normal losses, forecast by the normal method; then the same with Student-t losses of 3 degrees of freedom."""
    rng = np.random.default_rng(12)
    normal = rng.standard_normal((3000, 1)) * 0.01
    wild = rng.standard_t(3, (3000, 1)) * 0.005
    request = ValueAtRiskRequest((Method.NORMAL,), (0.99,))
    for values, rejected in ((normal, False), (wild, True)):
        returns = Returns(np.arange(3000), ("BTC",), values)
        report = backtest(BTC, returns, request, window=500, refit_every=10)
        assert report.tests.forecasts == 2500 == len(report.losses) == len(report.forecasts)
        assert report.tests.kupiec.rejects() == rejected
        assert report.shortfall_ratio is not None
        assert (report.shortfall_ratio > 1.15) == rejected


def test_a_forecast_knows_nothing_of_its_loss() -> None:
    """A crash in the last period does not change any forecast."""
    calm = np.random.default_rng(1).standard_normal((300, 1)) * 0.01
    crash = calm.copy()
    crash[-1] = -0.9
    request = ValueAtRiskRequest(confidences=(0.95,))
    before, after = (
        backtest(BTC, Returns(np.arange(300), ("BTC",), rows), request, window=150) for rows in (calm, crash)
    )
    assert (before.forecasts == after.forecasts).all()
    assert after.losses[-1] == 900
    assert before.times_ns[0] == 150


def test_what_cannot_be_tested_is_refused() -> None:
    returns = Returns(np.arange(300), ("BTC",), np.random.default_rng(1).standard_normal((300, 1)) * 0.01)
    with pytest.raises(FailedPrecondition, match="99 forecasts after a window of 201"):
        backtest(BTC, returns, ValueAtRiskRequest(confidences=(0.95,)), window=201)
    with pytest.raises(FailedPrecondition, match=r"too few for 0\.99"):
        backtest(BTC, returns, ValueAtRiskRequest(confidences=(0.99,)), window=100)
    with pytest.raises(FailedPrecondition, match="needs 100"):
        exceedance_tests(np.zeros(99, dtype=bool), 0.99)
    for request in (ValueAtRiskRequest(), ValueAtRiskRequest(confidences=(0.9,), horizons=(2,))):
        with pytest.raises(InvalidRequest):
            backtest(BTC, returns, request, window=100)
    with pytest.raises(InvalidRequest):
        backtest(BTC, returns, ValueAtRiskRequest(confidences=(0.9,)), window=0)
    with pytest.raises(InvalidRequest):
        exceedance_tests(np.zeros(100, dtype=bool), 1.0)
