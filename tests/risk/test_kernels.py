"""The compiled risk functions and their naive twins: both obey the same rules and give the same numbers."""

from __future__ import annotations

from statistics import NormalDist
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fastpath.risk import portfolio, simulation
from tests.reference import risk_twin

LOSSES = pytest.mark.parametrize("code", [portfolio, risk_twin], ids=["compiled", "twin"])
DRAWS = pytest.mark.parametrize("code", [simulation, risk_twin], ids=["compiled", "twin"])


def drawn(code: ModuleType, scenarios: int, assets: int, freedom: float = 0.0, seed: int = 3) -> Any:
    draws = np.empty((scenarios, assets))
    code.simulated_draws(np.arange(scenarios), seed, freedom, draws)
    return draws


@LOSSES
@pytest.mark.parametrize("assets", [1, 7, 8, 9, 40])
def test_losses_are_the_returns_times_the_values(code: ModuleType, assets: int) -> None:
    rng = np.random.default_rng(assets)
    returns, values, losses = rng.standard_normal((50, assets)), rng.standard_normal(assets), np.empty(50)
    code.scenario_losses(returns, values, losses)
    assert losses == pytest.approx(np.array([-sum(r * v for r, v in zip(row, values, strict=True)) for row in returns]))


@LOSSES
def test_the_worst_come_in_order_and_of_equal_losses_the_first_goes_first(code: ModuleType) -> None:
    losses = np.array([1.0, 5.0, 5.0, -2.0, 7.0, 5.0, 1.0])
    for count in range(1, 8):
        scenarios = np.empty(count, dtype=np.int64)
        code.worst(losses, scenarios)
        assert scenarios.tolist() == [4, 1, 2, 5, 0, 6, 3][:count]


@LOSSES
def test_a_filtered_return_is_scaled_to_the_volatility_of_today(code: ModuleType) -> None:
    returns = np.array([[0.1], [-0.1], [0.2], [0.05]])
    filtered, volatility = np.empty((2, 1)), np.empty(1)
    code.volatility_filter(returns, 0.5, 2, filtered, volatility)
    # 0.01 from the first two; then 0.5 * 0.01 + 0.5 * 0.04 = 0.025; then 0.5 * 0.025 + 0.5 * 0.0025 = 0.01375.
    assert volatility == pytest.approx([0.01375**0.5])
    assert filtered[:, 0] == pytest.approx([0.2 * (0.01375 / 0.01) ** 0.5, 0.05 * (0.01375 / 0.025) ** 0.5])


@DRAWS
def test_draws_are_standard_normal(code: ModuleType) -> None:
    draws = drawn(code, 2000, 10).ravel()
    assert stats.kstest(draws, "norm").pvalue > 0.01


@DRAWS
def test_student_draws_share_a_factor_and_have_variance_1(code: ModuleType) -> None:
    draws = drawn(code, 4000, 2, freedom=6.0)
    scaled = draws[:, 0] / np.sqrt(4 / 6)
    assert stats.kstest(scaled, stats.t(6).cdf).pvalue > 0.01
    assert np.var(draws) == pytest.approx(1, abs=0.1)
    assert np.corrcoef(draws[:, 0] ** 2, draws[:, 1] ** 2)[0, 1] > 0.1, "tails must come together"


@DRAWS
def test_losses_of_a_scenario_do_not_depend_on_which_others_are_drawn(code: ModuleType) -> None:
    loadings = np.array([2.0, -1.0, 0.5])
    together, apart = np.empty(100), np.empty(100)
    code.simulate_losses(loadings, 9, 0, 5.0, together)
    for first, last in ((0, 1), (1, 60), (60, 100)):
        code.simulate_losses(loadings, 9, first, 5.0, apart[first:last])
    assert (together == apart).all()
    assert together == pytest.approx(-(drawn(code, 100, 3, 5.0, seed=9) @ loadings))


def test_compiled_code_and_twins_agree() -> None:
    rng = np.random.default_rng(11)
    for seed in (0, 1, 2**64 - 1):
        for freedom in (0.0, 2.5, 30.0):
            ours, twin = drawn(simulation, 300, 20, freedom, seed), drawn(risk_twin, 300, 20, freedom, seed)
            assert ours == pytest.approx(twin, rel=1e-12, abs=1e-300)
    for _ in range(20):
        rows, assets = int(rng.integers(40, 200)), int(rng.integers(1, 30))
        returns, values = rng.standard_normal((rows, assets)) * 0.05, rng.standard_normal(assets)
        results = []
        for code in (portfolio, risk_twin):
            losses, filtered, volatility = np.empty(rows), np.empty((rows - 20, assets)), np.empty(assets)
            scenarios = np.empty(rows // 3, dtype=np.int64)
            code.scenario_losses(returns, values, losses)
            code.worst(np.round(losses, 1), scenarios)
            code.volatility_filter(returns, 0.94, 20, filtered, volatility)
            results.append((losses, filtered, volatility, scenarios))
        for ours, twin in zip(*results, strict=True):
            assert ours == pytest.approx(twin, rel=1e-9, abs=1e-12)


def test_the_far_tail_of_the_compiled_normals_is_as_long_as_it_should_be() -> None:
    """The ziggurat draws what lies beyond its layers by another formula: compare counts far out."""
    draws = np.abs(drawn(simulation, 10_000, 300))
    for edge in (3.0, 3.6541528853610088, 4.0, 4.5):
        expected = draws.size * 2 * (1 - NormalDist().cdf(edge))
        assert abs((draws > edge).sum() - expected) < 4 * expected**0.5


def test_bad_shapes_are_refused() -> None:
    two = np.zeros(2)
    with pytest.raises(ValueError, match="returns of 3 x 4 need 4 values and 3 losses, not 2 and 2"):
        portfolio.scenario_losses(np.zeros((3, 4)), two, two)
    with pytest.raises(ValueError, match="no returns"):
        portfolio.scenario_losses(np.zeros((0, 2)), two, np.zeros(0))
    with pytest.raises(ValueError, match="3 of 2 losses"):
        portfolio.worst(two, np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="begin is 3"):
        portfolio.volatility_filter(np.zeros((3, 2)), 0.5, 3, np.zeros((0, 2)), two)
    with pytest.raises(ValueError, match="decay is 1"):
        portfolio.volatility_filter(np.zeros((3, 2)), 1.0, 1, np.zeros((2, 2)), two)
    with pytest.raises(ValueError, match="above 2"):
        simulation.simulate_losses(two, 1, 0, 2.0, two)
    with pytest.raises(ValueError, match="no assets"):
        simulation.simulate_losses(np.zeros(0), 1, 0, 0.0, two)
    with pytest.raises(ValueError, match="as many rows"):
        simulation.simulated_draws(np.zeros(3, dtype=np.int64), 1, 0.0, np.zeros((2, 2)))
