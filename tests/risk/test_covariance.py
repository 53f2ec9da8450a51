"""Covariances: what shrinking does, what decays, what is singular, and that the better forecast has the better score."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from server.base.errors import FailedPrecondition, InvalidRequest
from server.risk.covariance import (
    Covariance,
    age_weights,
    estimate,
    ewma_covariance,
    root_of,
    sample_covariance,
    score,
    shrinkage_of,
    shrunk_covariance,
)
from server.risk.portfolio import Floats, Returns


def returns_of(values: Floats) -> Returns:
    return Returns(np.arange(len(values)), tuple(f"A{at}" for at in range(values.shape[1])), values)


@pytest.mark.parametrize(("rows", "columns"), [(30, 1), (40, 5), (50, 100), (500, 20)])
def test_shrinkage_is_that_of_scikit_learn(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    values = rng.standard_normal((rows, columns)) * rng.uniform(0.5, 2, columns) + rng.standard_normal((rows, 1))
    matrix, intensity = ledoit_wolf(values, assume_centered=True)
    assert shrunk_covariance(values) == pytest.approx(matrix, rel=1e-9, abs=1e-12)
    if columns > 1:
        assert shrinkage_of(values, sample_covariance(values))[0] == pytest.approx(intensity, rel=1e-9)


def test_more_assets_than_observations_are_singular_unless_shrunk() -> None:
    values = np.random.default_rng(1).standard_normal((40, 60))
    assets = tuple(f"A{at}" for at in range(60))
    root = root_of(shrunk_covariance(values), assets)
    assert root @ root.T == pytest.approx(shrunk_covariance(values), abs=1e-12)
    for singular in (sample_covariance(values), ewma_covariance(values)):
        with pytest.raises(FailedPrecondition, match="Use a SHRUNK covariance"):
            root_of(singular, assets)


def test_an_asset_that_does_not_move_is_named() -> None:
    values = np.random.default_rng(1).standard_normal((40, 3))
    values[:, 1] = 0
    with pytest.raises(FailedPrecondition, match="A1 does not move"):
        root_of(sample_covariance(values), ("A0", "A1", "A2"))


def test_weights_decay_into_the_past() -> None:
    assert age_weights(3, 0.5) == pytest.approx(np.array([1, 2, 4]) / 7)
    values = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert ewma_covariance(values, 0.5) == pytest.approx(np.array([[1 / 3, 0], [0, 8 / 3]]))
    with pytest.raises(InvalidRequest):
        age_weights(3, 1.0)


def test_the_better_forecast_has_the_better_score() -> None:
    """Where volatility changes a forecast that forgets wins; where it stays the mean of all wins."""
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((4000, 2))
    changing = returns_of(noise * np.where(np.arange(4000) // 50 % 2, 0.03, 0.005)[:, None])
    steady = returns_of(noise * 0.01)
    held = np.array([1.0, 1.0])

    def qlike(returns: Returns, estimator: Covariance) -> float:
        return score(returns, held, estimator).qlike

    assert qlike(changing, Covariance.EWMA) < qlike(changing, Covariance.SAMPLE)
    assert qlike(steady, Covariance.SAMPLE) < qlike(steady, Covariance.EWMA)
    assert score(steady, held, Covariance.SAMPLE).variance_ratio == pytest.approx(1, abs=0.25)


def test_too_short_a_history_is_refused() -> None:
    values = np.random.default_rng(1).standard_normal((59, 2)) / 100
    with pytest.raises(FailedPrecondition, match="it needs 30"):
        estimate(values[:29], Covariance.SAMPLE)
    with pytest.raises(FailedPrecondition, match="it needs 60"):
        score(returns_of(values), np.ones(2), Covariance.SAMPLE)
    with pytest.raises(FailedPrecondition, match="nothing is held"):
        score(returns_of(np.vstack([values, values])), np.zeros(2), Covariance.SAMPLE)
