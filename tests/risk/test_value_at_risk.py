"""Value at risk and expected shortfall: closed forms, the laws they obey, and what has no answer."""

from __future__ import annotations

import numpy as np
import pytest

from server.risk import parametric
from server.risk.portfolio import Floats, Portfolio, Position, Returns
from server.risk.value_at_risk import (
    Contribution,
    Method,
    ValueAtRiskReport,
    ValueAtRiskRequest,
    value_at_risk,
)

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
