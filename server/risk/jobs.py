"""What a worker computes: a function each, from values to values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from server.risk.backtest import backtest
from server.risk.liquidation import LiquidationCost, cost_to_liquidate
from server.risk.portfolio import Portfolio, Returns
from server.risk.stress import StressReport, StressRequest, run_stress
from server.risk.value_at_risk import ValueAtRiskReport, ValueAtRiskRequest, value_at_risk


@dataclasses.dataclass(frozen=True, slots=True)
class Stressed:
    report: StressReport
    costs: tuple[tuple[str, float, LiquidationCost], ...]
    """Name, what a unit of its quote money is worth, and the cost in that, of each holding on its book as it is."""


def _stress(
    portfolio: Portfolio, request: StressRequest, returns: Returns | None, fee_rates: tuple[float, ...]
) -> Stressed:
    costs = tuple(
        (holding.name, holding.quote_value, cost_to_liquidate(holding.qty, holding.book, rate))
        for holding, rate in zip(request.holdings, fee_rates, strict=True)
    )
    return Stressed(run_stress(portfolio, request, returns), costs)


def _compare(
    before: Portfolio | None, after: Portfolio | None, returns: Returns, request: ValueAtRiskRequest
) -> tuple[ValueAtRiskReport | None, ValueAtRiskReport | None]:
    reports = [value_at_risk(each, returns, request) if each is not None else None for each in (before, after)]
    return reports[0], reports[1]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "value_at_risk": value_at_risk,
    "backtest": backtest,
    "stress": _stress,
    "compare": _compare,
}
