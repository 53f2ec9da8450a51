"""Answers of RiskService: what server/risk found, as messages."""

from __future__ import annotations

from typing import Any

from server.base.instruments import format_decimal
from server.risk.backtest import LikelihoodRatio
from server.risk.covariance import Covariance
from server.risk.exposures import Exposure, Position, Total
from server.risk.history import SOURCE, HistoryUsed
from server.risk.kill_switch import Flattened
from server.risk.service import Backtested, Measured, StressAnswer
from server.risk.valuation import money_text
from server.risk.value_at_risk import Estimate, Method, Refusal
from server.rpc import convert
from tradewind.v1 import risk_pb2 as pb

_MAX_EXCEEDANCES = 100


def _wire(number: int) -> Any:
    """A value of an enumeration: the same number inside and on the wire, where the stubs want their own type."""
    return number


def exposure(of: Exposure) -> pb.Exposure:
    shares = of.shares
    return pb.Exposure(
        account=of.account,
        valuation_asset=of.asset,
        time=convert.timestamp(of.time_ns),
        positions=map(_position, of.positions),
        by_asset=[_total(name, total) for name, total in sorted(of.by_asset.items())],
        by_venue=[_total(name, total) for name, total in sorted(of.by_venue.items())],
        gross=money_text(of.total.gross),
        net=money_text(of.total.net),
        worst_case_gross=money_text(of.total.worst_gross),
        equity=money_text(of.equity) if of.equity is not None else None,
        leverage=of.leverage,
        largest_share=max(shares, default=0.0),
        concentration=sum(share * share for share in shares),
        unpriced=[pb.Unpriced(name=name, reason=reason) for name, reason in sorted(of.unpriced.items())],
    )


def _position(of: Position) -> pb.PositionExposure:
    held, price = of.held, of.price
    told = pb.PositionExposure(
        instrument=held.instrument.name,
        qty=format_decimal(held.qty),
        open_buy_qty=format_decimal(held.buys),
        open_sell_qty=format_decimal(held.sells),
        price=format_decimal(price.value) if price.value is not None else None,
        price_source=_wire(price.source),
        value=money_text(of.value) if of.value is not None else None,
        worst_case_value=money_text(of.worst_value) if of.worst_value is not None else None,
    )
    if price.value is not None:
        told.price_age.FromNanoseconds(price.age_ns)
    return told


def _total(name: str, total: Total) -> pb.ExposureTotal:
    return pb.ExposureTotal(
        name=name,
        gross=money_text(total.gross),
        net=money_text(total.net),
        worst_case_gross=money_text(total.worst_gross),
    )


def flattened(of: Flattened) -> pb.Flattened:
    return pb.Flattened(
        account=of.account,
        instrument=of.instrument.name,
        qty=format_decimal(of.qty),
        remaining_qty=format_decimal(of.remaining),
        order_id=str(of.order_id) if of.order_id else "",
        problem=of.problem,
    )


def history(of: HistoryUsed) -> pb.HistoryUsed:
    told = pb.HistoryUsed(
        source=SOURCE,
        start_time=convert.timestamp(of.start_ns),
        end_time=convert.timestamp(of.end_ns),
        observations=of.observations,
        instruments=[
            pb.InstrumentHistory(
                instrument=each.instrument,
                candle_count=each.candles,
                missing_count=each.missing,
                first_open_time=convert.timestamp(each.first_ns) if each.candles else None,
                last_open_time=convert.timestamp(each.last_ns) if each.candles else None,
            )
            for each in of.instruments
        ],
    )
    told.interval.FromNanoseconds(of.interval_ns)
    return told


def _method(method: Method) -> Any:
    return pb.VarMethod.Value(f"VAR_METHOD_{method.name}")


def _estimator(estimator: Covariance | None) -> Any:
    return pb.CovarianceEstimator.Value(f"COVARIANCE_ESTIMATOR_{estimator.name}") if estimator is not None else 0


def value_at_risk(of: Measured) -> pb.ValueAtRisk:
    report = of.report
    return pb.ValueAtRisk(
        valuation_asset=report.currency,
        time=convert.timestamp(of.time_ns),
        net=report.net,
        gross=report.gross,
        history=history(of.history),
        estimates=[_estimate(each, of.names) for each in report.estimates],
        refusals=map(_refusal, report.refusals),
        scores=[
            pb.CovarianceScore(
                estimator=_estimator(score.estimator),
                forecasts=score.forecasts,
                log_score=score.log_score,
                qlike=score.qlike,
                variance_ratio=score.variance_ratio,
            )
            for score in report.scores
        ],
    )


def _estimate(of: Estimate, names: tuple[str, ...]) -> pb.VarEstimate:
    return pb.VarEstimate(
        method=_method(of.method),
        covariance=_estimator(of.covariance),
        confidence=of.confidence,
        horizon=of.horizon,
        value_at_risk=of.value_at_risk,
        expected_shortfall=of.expected_shortfall,
        observations=of.observations,
        note=of.note,
        contributions=[
            pb.VarContribution(
                instrument=names[each.position],
                component_value_at_risk=each.component_value_at_risk,
                component_expected_shortfall=each.component_expected_shortfall,
                marginal_value_at_risk=each.marginal_value_at_risk,
                incremental_value_at_risk=each.incremental_value_at_risk,
            )
            for each in of.contributions
        ],
    )


def _refusal(of: Refusal) -> pb.VarRefusal:
    return pb.VarRefusal(
        method=_method(of.method),
        confidence=of.confidence,
        horizon=of.horizon,
        reason=of.reason,
        description=of.description,
    )


def stress(of: StressAnswer) -> pb.RunStressResponse:
    report = of.stressed.report
    return pb.RunStressResponse(
        valuation_asset=report.currency,
        net=report.net,
        gross=report.gross,
        results=[
            pb.StressResult(
                name=each.name,
                kind=each.kind,
                description=each.description,
                loss=each.loss,
                lines=[pb.StressLine(name=line.name, loss=line.loss, change=line.shock) for line in each.lines],
            )
            for each in report.results
        ],
        liquidation=[
            pb.LiquidationCost(
                instrument=name,
                qty=cost.qty,
                unfilled_qty=cost.unfilled,
                spread_cost=cost.spread_cost * worth,
                impact_cost=cost.impact_cost * worth,
                fees=cost.fees * worth,
                cost_bps=cost.cost_bps,
            )
            for name, worth, cost in of.stressed.costs
        ],
        not_liquidated=[pb.Unpriced(name=name, reason=reason) for name, reason in sorted(of.not_liquidated.items())],
        history=history(of.history) if of.history is not None else None,
    )


def backtest(of: Backtested) -> pb.BacktestVarResponse:
    report, tests = of.report, of.report.tests
    passed = [at for at in range(len(report.losses)) if report.losses[at] > report.forecasts[at]]
    return pb.BacktestVarResponse(
        valuation_asset=of.asset,
        method=_method(report.method),
        confidence=report.confidence,
        window=report.window,
        forecasts=tests.forecasts,
        exceedances=tests.exceedances,
        expected=tests.expected,
        kupiec=_ratio(tests.kupiec),
        independence=_ratio(tests.independence),
        conditional_coverage=_ratio(tests.conditional_coverage),
        traffic_light=tests.traffic_light,
        multiplier=tests.multiplier,
        shortfall_ratio=report.shortfall_ratio,
        losses=[
            pb.VarExceedance(
                time=convert.timestamp(int(report.times_ns[at])),
                loss=float(report.losses[at]),
                value_at_risk=float(report.forecasts[at]),
                expected_shortfall=float(report.shortfalls[at]),
            )
            for at in passed[-_MAX_EXCEEDANCES:]
        ],
        history=history(of.history),
    )


def _ratio(of: LikelihoodRatio) -> pb.LikelihoodRatio:
    return pb.LikelihoodRatio(statistic=of.statistic, p_value=of.p_value)
