"""Of risk: whether everything is halted, how often the kill switch was pulled, how long measures take."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class RiskMetrics:
    def __init__(self, registry: CollectorRegistry, is_halted: Callable[[], bool]) -> None:
        halted = Gauge("tradewind_trading_halted", "1 while all trading is halted, else 0.", registry=registry)
        halted.set_function(lambda: int(is_halted()))
        self._kills = Counter(
            "tradewind_kill_switch_pulled", "Kill switches pulled, by what they halt.", ("scope",), registry=registry
        )

    def killed(self, scope: str) -> None:
        """`scope`: `all` or `instrument`."""
        self._kills.labels(scope).inc()
