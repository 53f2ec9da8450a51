"""Naive twins of the compiled risk functions: the same answers by the shortest way, in numpy and plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
LAYERS = 256
TAIL_FROM, LAYER_AREA = 3.6541528853610088, 0.00492867323399


def scenario_losses(returns: Floats, values: Floats, losses: Floats) -> None:
    losses[:] = -(returns @ values)


def worst(losses: Floats, scenarios: NDArray[np.int64]) -> None:
    scenarios[:] = sorted(range(len(losses)), key=lambda at: (-losses[at], at))[: len(scenarios)]


def volatility_filter(returns: Floats, decay: float, begin: int, filtered: Floats, volatility: Floats) -> None:
    forecasts = [np.mean(returns[:begin] ** 2, axis=0)]
    for row in returns[begin:]:
        forecasts.append(decay * forecasts[-1] + (1 - decay) * row**2)
    volatility[:] = np.sqrt(forecasts[-1])
    filtered[:] = np.maximum(returns[begin:] * np.sqrt(forecasts[-1] / np.array(forecasts[:-1])), -1)


def mixed(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def _edges() -> list[float]:
    density = math.exp(-0.5 * TAIL_FROM**2)
    edges = [LAYER_AREA / density, TAIL_FROM]
    while len(edges) < LAYERS:
        edges.append(math.sqrt(-2 * math.log(LAYER_AREA / edges[-1] + density)))
        density = math.exp(-0.5 * edges[-1] ** 2)
    return [*edges, 0.0]


EDGES = _edges()


def bits_of(seed: int, scenario: int) -> Iterator[int]:
    state = mixed(mixed((seed + GOLDEN) & MASK) ^ (scenario * GOLDEN & MASK))
    while True:
        state = (state + GOLDEN) & MASK
        yield mixed(state)


def uniform(bits: Iterator[int]) -> float:
    return ((next(bits) >> 12) + 0.5) / 2.0**52


def normal(bits: Iterator[int]) -> float:
    while True:
        drawn = next(bits)
        layer = drawn % LAYERS
        share = (((drawn - (1 << 64) if drawn >> 63 else drawn) >> 11) + 0.5) / 2.0**52
        x = share * EDGES[layer]
        if abs(share) < EDGES[layer + 1] / EDGES[layer]:
            return x
        if layer == 0:
            while True:
                x, y = math.log(uniform(bits)) / TAIL_FROM, math.log(uniform(bits))
                if -2 * y >= x * x:
                    return x - TAIL_FROM if share < 0 else TAIL_FROM - x
        above, below = (math.exp(-0.5 * (EDGES[at] ** 2 - x * x)) for at in (layer, layer + 1))
        if below + uniform(bits) * (above - below) < 1:
            return x


def chi_square(bits: Iterator[int], freedom: float) -> float:
    d = freedom / 2 - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = normal(bits)
        v = (1 + c * x) ** 3
        if v > 0 and math.log(uniform(bits)) < 0.5 * x * x + d - d * v + d * math.log(v):
            return 2 * d * v


def simulated_draws(scenarios: NDArray[np.int64], seed: int, freedom: float, draws: Floats) -> None:
    for row, scenario in zip(draws, scenarios, strict=True):
        bits = bits_of(seed, int(scenario))
        factor = math.sqrt((freedom - 2) / chi_square(bits, freedom)) if freedom else 1.0
        row[:] = [factor * normal(bits) for _ in row]


def simulate_losses(loadings: Floats, seed: int, first: int, freedom: float, losses: Floats) -> None:
    draws = np.empty((len(losses), len(loadings)))
    simulated_draws(np.arange(first, first + len(losses)), seed, freedom, draws)
    losses[:] = -(draws @ loadings)
