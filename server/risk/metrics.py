"""Of risk: whether everything is halted, how often the kill switch was pulled, how long measures take."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class RiskMetrics:
    def __init__(self, registry: CollectorRegistry, is_halted: Callable[[], bool]) -> None:
        halted = Gauge("tradewind_trading_halted", "1 while all trading is halted, else 0.", registry=registry)
        halted.set_function(lambda: int(is_halted()))
        self._kills = Counter(
            "tradewind_kill_switch_pulled", "Kill switches pulled, by what they halt.", ("scope",), registry=registry
        )

        self._seconds = Histogram(
            "tradewind_risk_computation_seconds", "How long computations of risk took, without their wait.", ("kind",),
            buckets=(0.25, 0.5, 1, 2, 4, 8, 16, 60), registry=registry,
        )  # fmt: skip
        self._waiting = Gauge("tradewind_risk_computations", "Computations of risk that wait or run.", registry=registry)

    def computed(self, kind: str, seconds: float) -> None:
        self._seconds.labels(kind).observe(seconds)

    def watch(self, waiting: Callable[[], int]) -> None:
        self._waiting.set_function(waiting)

    def killed(self, scope: str) -> None:
        """`scope`: `all` or `instrument`."""
        self._kills.labels(scope).inc()
