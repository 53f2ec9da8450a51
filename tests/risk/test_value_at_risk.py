"""Value at risk and expected shortfall: closed forms, the laws they obey, and what has no answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk import parametric
from server.risk.covariance import Covariance
from server.risk.parametric import CornishFisherLosses
from server.risk.portfolio import Floats, Portfolio, Position, Returns
from server.risk.tail import tail_of
from server.risk.value_at_risk import (
    Contribution,
    Estimate,
    Method,
    Scaling,
    ValueAtRiskReport,
    ValueAtRiskRequest,
    value_at_risk,
    what_if,
)
from tests.conftest import SOAK_FACTOR

HOUR_NS = 3600 * 10**9
ALL = tuple(Method)


def returns_of(values: Floats, assets: tuple[str, ...] = ("BTC", "ETH", "SOL")) -> Returns:
    return Returns(np.arange(1, len(values) + 1) * HOUR_NS, assets[: values.shape[1]], values)


def moves(rows: int = 1500, seed: int = 7) -> Returns:
    """Three correlated assets; mildly fat tails, so that the Cornish-Fisher expansion holds."""
    rng = np.random.default_rng(seed)
    root = np.array([[0.010, 0, 0], [0.012, 0.009, 0], [0.014, 0.004, 0.016]])
    return returns_of(rng.standard_t(9, (rows, 3)) @ root.T)


PORTFOLIO = Portfolio(
    (
        Position("BTC", 40_000.0, "binance", "trend"),
        Position("ETH", -15_000.0, "okx", "pairs"),
        Position("SOL", 8_000.0, "okx"),
        Position("BTC", 5_000.0, "bybit", "pairs"),
        Position("USDT", 20_000.0, "binance"),
    )
)


def only(report: ValueAtRiskReport) -> tuple[float, float]:
    (estimate,) = report.estimates
    return estimate.value_at_risk, estimate.expected_shortfall


def test_normal_losses_have_their_closed_forms() -> None:
    losses = parametric.normal(moves(), np.array([1.0, 0, 0]), np.diag([1.0, 1.0, 1.0]))
    assert losses.at(0.99).value_at_risk == pytest.approx(2.3263478740408408, rel=1e-12)
    assert losses.at(0.975).expected_shortfall == pytest.approx(2.3378027922014142, rel=1e-12)


@pytest.mark.parametrize("method", ALL)
def test_components_sum_to_the_total_and_cash_adds_nothing(method: Method) -> None:
    report = value_at_risk(PORTFOLIO, moves(), ValueAtRiskRequest((method,), (0.95, 0.99), (1, 4)))
    assert not report.refusals
    assert len(report.estimates) == 4
    for each in report.estimates:
        parts = each.contributions
        assert sum(part.component_value_at_risk for part in parts) == pytest.approx(each.value_at_risk, rel=1e-9)
        assert sum(part.component_expected_shortfall for part in parts) == pytest.approx(
            each.expected_shortfall, rel=1e-9
        )
        assert parts[4] == Contribution(4, "USDT", 0.0, 0.0, 0.0, None)
        assert each.expected_shortfall > each.value_at_risk > 0


@pytest.mark.parametrize("method", ALL)
def test_a_marginal_is_the_slope_of_the_total(method: Method) -> None:
    """Compared with the difference that a small change makes; expected shortfall is smooth for every method."""
    returns, step = moves(), 1e-3
    request = ValueAtRiskRequest((method,), (0.975,), degrees_of_freedom=6.0)
    found = value_at_risk(PORTFOLIO, returns, request).estimates[0]
    for at in (0, 1, 2):
        more = PORTFOLIO.with_position(Position(PORTFOLIO.positions[at].asset, step))
        slope = (only(value_at_risk(more, returns, request))[1] - found.expected_shortfall) / step
        part = found.contributions[at]
        assert part.component_expected_shortfall == pytest.approx(PORTFOLIO.positions[at].value * slope, rel=1e-5)
        if method in (Method.NORMAL, Method.CORNISH_FISHER):
            slope = (only(value_at_risk(more, returns, request))[0] - found.value_at_risk) / step
            assert part.marginal_value_at_risk == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("method", ALL)
def test_incremental_is_the_total_with_less_the_total_without(method: Method) -> None:
    returns = moves()
    request = ValueAtRiskRequest((method,), (0.95,), incremental=True, degrees_of_freedom=6.0)
    found = value_at_risk(PORTFOLIO, returns, request).estimates[0]
    for at in range(len(PORTFOLIO.positions)):
        without = only(value_at_risk(PORTFOLIO.without(at), returns, request))[0]
        added = found.contributions[at].incremental_value_at_risk
        assert added == pytest.approx(found.value_at_risk - without, abs=1e-6)
    alone = Portfolio((Position("SOL", 100.0),))
    found = value_at_risk(alone, returns, request).estimates[0]
    assert found.contributions[0].incremental_value_at_risk == pytest.approx(found.value_at_risk)


def test_expected_shortfall_is_subadditive_where_value_at_risk_is_not() -> None:
    """Two loans that default with 4 %, apart: at 95 % each alone shows no loss, both together do."""
    first, second = np.zeros(10_000), np.zeros(10_000)
    first[:400] = 100.0
    second[384:784] = 100.0  # 16 of 10,000 together, as if independent
    alone, together = [tail_of(loss, 0.95) for loss in (first, second)], tail_of(first + second, 0.95)
    assert together.value_at_risk > sum(tail.value_at_risk for tail in alone)
    assert together.expected_shortfall <= sum(tail.expected_shortfall for tail in alone)


def test_expected_shortfall_is_subadditive_on_any_losses(tally: Callable[[str, int], None]) -> None:
    rng = np.random.default_rng(5)
    rounds = 300 * SOAK_FACTOR
    for _ in range(rounds):
        count, confidence = int(rng.integers(5, 400)), float(rng.uniform(0.51, 0.999))
        # Few distinct values, so that ties and boundaries inside of a loss are common.
        a, b = np.round(rng.standard_t(3, (2, count)), int(rng.integers(0, 3)))
        weights = rng.random(count) if rng.random() < 0.5 else None
        if weights is not None:
            weights /= weights.sum()
        one, other, both = (tail_of(losses, confidence, weights).expected_shortfall for losses in (a, b, a + b))
        assert both <= one + other + 1e-9
        assert tail_of(3 * a, confidence, weights).expected_shortfall == pytest.approx(3 * one)
        assert tail_of(a, confidence, weights).value_at_risk <= one + 1e-12
    tally("portfolios tested for subadditivity", rounds)


def test_equal_weights_say_the_same_as_none() -> None:
    losses = np.random.default_rng(2).standard_normal(1000)
    for confidence in (0.51, 0.9, 0.95, 0.975, 0.99, 0.9973):
        plain, weighted = tail_of(losses, confidence), tail_of(losses, confidence, np.full(1000, 1e-3))
        assert plain.value_at_risk == weighted.value_at_risk == np.quantile(losses, confidence, method="inverted_cdf")
        assert plain.expected_shortfall == pytest.approx(weighted.expected_shortfall, rel=1e-9)


@pytest.mark.parametrize("method", [Method.MONTE_CARLO_NORMAL, Method.MONTE_CARLO_STUDENT_T])
def test_a_seed_gives_the_same_losses_on_any_number_of_threads(method: Method) -> None:
    def run(seed: int, threads: int) -> tuple[Estimate, ...]:
        request = ValueAtRiskRequest((method,), seed=seed, threads=threads, scenarios=5003)
        return value_at_risk(PORTFOLIO, moves(), request).estimates

    assert run(1, 1) == run(1, 1) == run(1, 2) == run(1, 7)
    assert run(1, 1) != run(2, 1)


def test_monte_carlo_comes_to_the_closed_form() -> None:
    """Normal, and Student-t with 6 degrees of freedom whose quantiles scipy knows; errors of 200,000 scenarios."""
    returns = moves()
    by_formula = value_at_risk(PORTFOLIO, returns, ValueAtRiskRequest((Method.NORMAL,), (0.99,), (10,)))
    request = ValueAtRiskRequest((Method.MONTE_CARLO_NORMAL,), (0.99,), (10,), scenarios=200_000)
    assert only(value_at_risk(PORTFOLIO, returns, request)) == pytest.approx(only(by_formula), rel=0.015)
    sigma = only(by_formula)[0] / stats.norm.ppf(0.99)
    request = replace(request, methods=(Method.MONTE_CARLO_STUDENT_T,), degrees_of_freedom=6.0)
    quantile, scale = stats.t.ppf(0.99, 6), math.sqrt(4 / 6)
    shortfall = stats.t.pdf(quantile, 6) / 0.01 * (6 + quantile**2) / 5
    expected = (sigma * scale * quantile, sigma * scale * shortfall)
    assert only(value_at_risk(PORTFOLIO, returns, request)) == pytest.approx(expected, rel=0.02)


def test_cornish_fisher_is_normal_without_skewness_and_kurtosis_and_its_shortfall_is_the_mean_beyond() -> None:
    zero = np.zeros(1)
    assert CornishFisherLosses(1.0, zero, 0.0, zero, 0.0, zero, 500).at(0.99).value_at_risk == pytest.approx(
        2.32634787404
    )
    losses = CornishFisherLosses(1.0, zero, 0.4, zero, 1.5, zero, 500)
    levels = 1 - 0.025 * (np.arange(4000) + 0.5) / 4000
    mean = np.mean([losses.at(float(level)).value_at_risk for level in levels])
    assert losses.at(0.975).expected_shortfall == pytest.approx(mean, rel=1e-3)


def test_cornish_fisher_refuses_what_is_outside_of_its_domain_and_the_others_still_answer() -> None:
    rng = np.random.default_rng(3)
    wild = returns_of(rng.standard_t(2.2, (2000, 1)) * 0.01, ("BTC",))
    request = ValueAtRiskRequest((Method.CORNISH_FISHER, Method.HISTORICAL), (0.99,))
    report = value_at_risk(Portfolio((Position("BTC", 1.0),)), wild, request)
    assert [refusal.reason for refusal in report.refusals] == ["OUTSIDE_DOMAIN"]
    assert [estimate.method for estimate in report.estimates] == [Method.HISTORICAL]
    assert parametric.in_domain(0, 0)
    assert parametric.in_domain(0, 7.9)
    assert not parametric.in_domain(0, 8.1)
    assert not parametric.in_domain(3.2, 5)


def test_a_longer_horizon_by_windows_is_the_compounded_return() -> None:
    returns = returns_of(np.tile([[0.10], [-0.05]], (600, 1)), ("BTC",))
    portfolio = Portfolio((Position("BTC", -100.0),))
    request = ValueAtRiskRequest(confidences=(0.95,), horizons=(2,), scaling=Scaling.OVERLAPPING)
    assert only(value_at_risk(portfolio, returns, request))[0] == pytest.approx(100 * (1.10 * 0.95 - 1))
    root = replace(request, scaling=Scaling.SQUARE_ROOT)
    assert only(value_at_risk(portfolio, returns, root))[0] == pytest.approx(10 * math.sqrt(2))


def test_recent_losses_weigh_more_and_calm_markets_are_scaled_up() -> None:
    rng = np.random.default_rng(4)
    calm, storm = rng.standard_normal((1000, 1)) * 0.005, rng.standard_normal((200, 1)) * 0.03
    returns = returns_of(np.vstack([calm, storm]), ("BTC",))
    portfolio = Portfolio((Position("BTC", 1000.0),))

    def at(method: Method) -> float:
        return only(value_at_risk(portfolio, returns, ValueAtRiskRequest((method,), (0.95,))))[0]

    today = 1000 * 0.03 * 1.645
    assert at(Method.HISTORICAL) < 0.7 * today
    assert at(Method.HISTORICAL) < at(Method.HISTORICAL_AGE_WEIGHTED) < 1.3 * today
    assert at(Method.HISTORICAL_FILTERED) == pytest.approx(today, rel=0.4)


def test_a_position_is_tried_before_it_is_taken() -> None:
    request = ValueAtRiskRequest((Method.NORMAL,), (0.99,))
    tried = what_if(PORTFOLIO, Position("BTC", -45_000.0), moves(), request)
    assert tried.before is not None
    assert only(tried.after)[0] < only(tried.before)[0]
    assert what_if(None, Position("BTC", 1.0), moves(), request).before is None
    assert what_if(Portfolio((Position("USDT", 1.0),)), Position("BTC", 1.0), moves(), request).before is None


def test_what_has_no_answer_is_refused_with_its_reason() -> None:
    def reason(portfolio: Portfolio, returns: Returns, **request: Any) -> str | None:
        with pytest.raises(FailedPrecondition) as caught:
            value_at_risk(portfolio, returns, ValueAtRiskRequest(**request))
        return caught.value.specific_reason

    returns, btc = moves(), Portfolio((Position("BTC", 1.0),))
    short = "INSUFFICIENT_HISTORY"
    assert reason(btc, returns.last(249), confidences=(0.99,)) == short
    value_at_risk(btc, returns.last(250), ValueAtRiskRequest(confidences=(0.99,)))
    assert reason(btc, returns.last(1)) == short
    assert reason(btc, returns.last(29), methods=(Method.NORMAL,)) == short
    assert reason(btc, returns.last(249), methods=(Method.CORNISH_FISHER,)) == short
    assert reason(btc, returns.last(249), methods=(Method.MONTE_CARLO_STUDENT_T,)) == short
    assert reason(btc, returns.last(59), methods=(Method.HISTORICAL_FILTERED,)) == short
    assert reason(btc, returns, methods=(Method.MONTE_CARLO_NORMAL,), scenarios=100, confidences=(0.99,)) == short
    assert reason(btc, returns, horizons=(24,), scaling=Scaling.OVERLAPPING, confidences=(0.99,)) == short
    assert reason(btc, returns, methods=(Method.HISTORICAL_AGE_WEIGHTED,), age_decay=0.9, confidences=(0.99,)) == short
    assert reason(Portfolio((Position("DOGE", 1.0),)), returns) == short
    assert reason(Portfolio((Position("USDT", 1.0),)), returns) == "NO_EXPOSURE"
    same = returns_of(returns.values[:, [0, 0]], ("BTC", "ETH"))
    both = Portfolio((Position("BTC", 1.0), Position("ETH", 1.0)))
    assert (
        reason(both, same, methods=(Method.MONTE_CARLO_NORMAL,), covariance=Covariance.SAMPLE) == "SINGULAR_COVARIANCE"
    )
    hedged = Portfolio((Position("BTC", 1.0), Position("ETH", -1.0)))
    assert reason(hedged, same, methods=(Method.NORMAL,), covariance=Covariance.SAMPLE) == "SINGULAR_COVARIANCE"
    still = returns_of(np.zeros((300, 1)), ("BTC",))
    for method in (Method.NORMAL, Method.CORNISH_FISHER, Method.MONTE_CARLO_STUDENT_T, Method.HISTORICAL_FILTERED):
        assert reason(btc, still, methods=(method,)) == "SINGULAR_COVARIANCE"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("methods", ()), ("confidences", ()), ("confidences", (0.5,)), ("confidences", (1.0,)), ("confidences", (99.0,)),
        ("confidences", (math.nan,)), ("horizons", ()), ("horizons", (0,)), ("horizons", (-1,)), ("horizons", (1.5,)),
        ("horizons", (math.nan,)), ("decay", 1.0), ("age_decay", 0.0), ("decay", math.nan), ("scenarios", 0),
        ("scenarios", 10**9), ("seed", -1), ("degrees_of_freedom", 2.0), ("degrees_of_freedom", math.nan), ("threads", 0),
    ],
)  # fmt: skip
def test_a_malformed_request_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ValueAtRiskRequest(**{field: value})
    assert caught.value.violations[0].field == field


def test_malformed_returns_and_positions_are_refused() -> None:
    good = np.zeros((3, 2))
    for values in (good[:2], good[:, :1], good[0], np.full((3, 2), np.nan), np.full((3, 2), np.inf), good - 1.1):
        with pytest.raises(InvalidRequest):
            Returns(np.arange(3), ("A", "B"), values)
    for times, assets in ((np.array([0, 2, 1]), ("A", "B")), (np.arange(3), ("A", "A"))):
        with pytest.raises(InvalidRequest):
            Returns(times, assets, good)
    with pytest.raises(InvalidRequest):
        Returns(np.arange(0), ("A",), np.zeros((0, 1)))
    for positions in ((), (Position("BTC", math.nan),), (Position("", 1.0),), (Position("BTC", 1.0, claim=math.inf),)):
        with pytest.raises(InvalidRequest):
            Portfolio(positions)
    for prices in ([[1.0], [0.0]], [[1.0]], [[1.0], [math.nan]], [[1.0, 2.0], [1.0, 2.0]]):
        with pytest.raises(InvalidRequest):
            Returns.from_prices(np.arange(len(prices)), ("A",), np.array(prices))


def test_a_return_over_a_hole_in_the_candles_is_left_out() -> None:
    hours = np.array([1, 2, 3, 5, 6]) * HOUR_NS
    series = {
        "BTC": (hours, np.array([100.0, 110.0, 99.0, 50.0, 55.0])),
        "ETH": (hours[1:], np.array([10.0, 11.0, 12.0, 15.0])),
    }
    aligned = Returns.aligned(series, HOUR_NS)
    assert (aligned.times_ns // HOUR_NS).tolist() == [3, 6]
    assert aligned.values == pytest.approx(np.array([[-0.1, 0.1], [0.1, 0.25]]))
    with pytest.raises(FailedPrecondition, match="no two times in common"):
        Returns.aligned({"BTC": series["BTC"], "ETH": (hours + 1, series["BTC"][1])}, HOUR_NS)
