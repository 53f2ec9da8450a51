"""Portfolio risk: value at risk and expected shortfall of 1,000 positions over 10,000 scenarios, against numpy.

    python -m loadtest.bench.portfolio [--x10] [--rounds N]

Both do the same arithmetic in the same process, in turns, one thread each; the best round of each counts. `historical`:
losses of all scenarios, then the tail. `monte carlo`: as many normal draws, losses, then the tail; numpy draws with PCG64,
its fastest. `filter`: every return scaled to the volatility of today. The results must agree (draws: within their error):
exits 1 otherwise. Beside them the rate at which this machine reads the same array (a dot product of BLAS with itself). A
row with ten times the scenarios follows (--x10: that one alone). Writes var/bench/portfolio.json.

Times are CPU time of the thread: on an idle machine the same as elapsed time, on a busy one still about this program.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastpath.risk import portfolio, simulation
from loadtest.bench.matching import OUT, commit, cpu

POSITIONS = 1_000
SCENARIOS = 10_000
CONFIDENCE = 0.99
DECAY, BEGIN = 0.94, 30
SEED = 1
Floats = NDArray[np.float64]
Figures = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    scenarios: int
    ours_ms: float
    numpy_ms: float
    ratio: float
    gigabytes_per_s: float
    """Of returns, read once, or of draws that would be."""
    memory_gigabytes_per_s: float
    same: bool


def tail(losses: Floats, worst: NDArray[np.int64]) -> Figures:
    portfolio.worst(losses, worst)
    return float(losses[worst[-1]]), float(losses[worst[:-1]].mean())


def numpy_tail(losses: Floats, count: int) -> Figures:
    parted = np.partition(losses, len(losses) - count)
    return float(parted[len(losses) - count]), float(parted[len(losses) - count + 1 :].mean())


def best(functions: list[Callable[[], object]], rounds: int) -> list[float]:
    """The shortest CPU time of each, in seconds; they take turns."""
    times = [float("inf")] * len(functions)
    for _ in range(rounds):
        for at, function in enumerate(functions):
            start = time.thread_time()
            function()
            times[at] = min(times[at], time.thread_time() - start)
    return times


def measure(scenarios: int, rounds: int) -> list[Row]:
    rng = np.random.default_rng(SEED)
    returns = rng.standard_normal((scenarios, POSITIONS))
    returns *= 0.01
    values = rng.standard_normal(POSITIONS) * 1e4
    loadings = values * 0.01
    losses, worst = np.empty(scenarios), np.empty(round(scenarios * (1 - CONFIDENCE)) + 1, dtype=np.int64)
    flat = returns.reshape(-1)

    def historical() -> Figures:
        portfolio.scenario_losses(returns, values, losses)
        return tail(losses, worst)

    def numpy_historical() -> Figures:
        return numpy_tail(-(returns @ values), len(worst))

    def monte_carlo() -> Figures:
        simulation.simulate_losses(loadings, SEED, 0, 0.0, losses)
        return tail(losses, worst)

    def numpy_monte_carlo() -> Figures:
        found = np.empty(scenarios)
        for at in range(0, scenarios, SCENARIOS):
            found[at : at + SCENARIOS] = -(rng.standard_normal((SCENARIOS, POSITIONS)) @ loadings)
        return numpy_tail(found, len(worst))

    gigabytes = returns.nbytes / 1e9
    ours, theirs, reading = best([historical, numpy_historical, lambda: flat @ flat], rounds)
    memory = gigabytes / reading
    rows = [
        row("historical", scenarios, ours, theirs, gigabytes, memory, agree(historical(), numpy_historical(), 1e-9))
    ]
    ours, theirs = best([monte_carlo, numpy_monte_carlo], max(1, rounds // 2))
    # The standard error of a quantile at 99 % is some 4 sigma over the root of the scenarios.
    error = 5 * 4 / 2.3 / scenarios**0.5
    same = agree(monte_carlo(), numpy_monte_carlo(), error)
    rows.append(row("monte carlo", scenarios, ours, theirs, gigabytes, memory, same))
    if scenarios == SCENARIOS:
        rows.append(filtered(returns, rounds, memory))
    return rows


def filtered(returns: Floats, rounds: int, memory: float) -> Row:
    out, volatility = np.empty((len(returns) - BEGIN, POSITIONS)), np.empty(POSITIONS)
    forecasts = np.empty((len(returns) - BEGIN + 1, POSITIONS))

    def by_numpy() -> Floats:
        squares = returns * returns
        forecasts[0] = squares[:BEGIN].mean(axis=0)
        for at in range(BEGIN, len(returns)):
            forecasts[at - BEGIN + 1] = DECAY * forecasts[at - BEGIN] + (1 - DECAY) * squares[at]
        return np.asarray(returns[BEGIN:] * np.sqrt(forecasts[-1] / forecasts[:-1]))

    def by_us() -> None:
        portfolio.volatility_filter(returns, DECAY, BEGIN, out, volatility)

    ours, theirs = best([by_us, by_numpy], rounds)
    same = bool(np.allclose(out, by_numpy(), rtol=1e-9))
    return row("filter", len(returns), ours, theirs, returns.nbytes / 1e9, memory, same)


def agree(ours: Figures, theirs: Figures, tolerance: float) -> bool:
    return bool(np.allclose(ours, theirs, rtol=tolerance))


def row(name: str, scenarios: int, ours: float, theirs: float, gigabytes: float, memory: float, same: bool) -> Row:
    return Row(name, scenarios, round(ours * 1e3, 2), round(theirs * 1e3, 2), round(theirs / ours, 2),
               round(gigabytes / ours, 1), round(memory, 1), same)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--x10", action="store_true", help="ten times the scenarios alone")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(
        f"value at risk and expected shortfall, {POSITIONS:,} positions: ms, ms of numpy, ratio, GB/s (GB/s of memory)"
    )
    results: list[Row] = []
    for scenarios in (SCENARIOS * 10,) if arguments.x10 else (SCENARIOS, SCENARIOS * 10):
        with threadpool_limits(1):
            measured = measure(scenarios, arguments.rounds if scenarios == SCENARIOS else 3)
        for each in measured:
            results.append(each)
            print(
                f"  {each.name:12} {each.scenarios:8,} scenarios {each.ours_ms:9.2f} {each.numpy_ms:9.2f} {each.ratio:6.2f} "
                f"{each.gigabytes_per_s:6.1f} ({each.memory_gigabytes_per_s:.1f})   {'same' if each.same else 'DIFFERENT'}",
                flush=True,
            )
    OUT.mkdir(parents=True, exist_ok=True)
    facts = {"machine": cpu(), "python": platform.python_version(), "numpy": np.__version__, "commit": commit(),
             "positions": POSITIONS, "results": [asdict(each) for each in results]}  # fmt: skip
    (OUT / "portfolio.json").write_text(json.dumps(facts, indent=1) + "\n")
    return 0 if all(each.same for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
