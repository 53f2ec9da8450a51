"""Messages of RiskService to plain values, and arguments to messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from tradewind import convert
from tradewind.risk import (
    COVARIANCE_ESTIMATOR,
    HORIZON_SCALING,
    PRICE_SOURCE,
    VAR_METHOD,
    CovarianceScore,
    Exposure,
    ExposureTotal,
    Flattened,
    HistoryUsed,
    HistoryWindow,
    InstrumentHistory,
    KillSwitchResult,
    LikelihoodRatio,
    LiquidationCost,
    PositionExposure,
    RiskModel,
    Stress,
    StressLine,
    StressResult,
    SupposedOrder,
    Unpriced,
    ValueAtRisk,
    VarBacktest,
    VarContribution,
    VarEstimate,
    VarExceedance,
    VarRefusal,
    WhatIf,
)
from tradewind.v1 import risk_pb2


def _decimal(message: object, field: str) -> Decimal | None:
    return Decimal(getattr(message, field)) if message.HasField(field) else None  # type: ignore[attr-defined]


def exposure(wire: risk_pb2.Exposure) -> Exposure:
    return Exposure(
        account=wire.account,
        valuation_asset=wire.valuation_asset,
        time=convert.utc(wire.time),
        positions=tuple(map(_position, wire.positions)),
        by_asset=_totals(wire.by_asset),
        by_venue=_totals(wire.by_venue),
        gross=Decimal(wire.gross),
        net=Decimal(wire.net),
        worst_case_gross=Decimal(wire.worst_case_gross),
        equity=_decimal(wire, "equity"),
        leverage=wire.leverage if wire.HasField("leverage") else None,
        largest_share=wire.largest_share,
        concentration=wire.concentration,
        unpriced=tuple(Unpriced(each.name, each.reason) for each in wire.unpriced),
    )


def _totals(wire: Iterable[risk_pb2.ExposureTotal]) -> tuple[ExposureTotal, ...]:
    return tuple(
        ExposureTotal(each.name, Decimal(each.gross), Decimal(each.net), Decimal(each.worst_case_gross))
        for each in wire
    )


def _position(wire: risk_pb2.PositionExposure) -> PositionExposure:
    return PositionExposure(
        instrument=wire.instrument,
        qty=Decimal(wire.qty),
        open_buy_qty=Decimal(wire.open_buy_qty),
        open_sell_qty=Decimal(wire.open_sell_qty),
        price=_decimal(wire, "price"),
        price_source=PRICE_SOURCE.member(wire.price_source),
        price_age=wire.price_age.ToTimedelta() if wire.HasField("price_age") else None,
        value=_decimal(wire, "value"),
        worst_case_value=_decimal(wire, "worst_case_value"),
    )


def kill_switch_result(wire: risk_pb2.KillSwitchResponse) -> KillSwitchResult:
    return KillSwitchResult(
        wire.canceled_count,
        wire.pending_count,
        tuple(
            Flattened(
                each.account,
                each.instrument,
                Decimal(each.qty),
                Decimal(each.remaining_qty),
                each.order_id,
                each.problem,
            )
            for each in wire.flattened
        ),
    )


def model(of: RiskModel | None) -> risk_pb2.RiskModel | None:
    """None: the server's defaults."""
    if of is None:
        return None
    return risk_pb2.RiskModel(
        methods=[VAR_METHOD.number(each) for each in of.methods],
        confidences=of.confidences,
        horizons=of.horizons,
        covariance=COVARIANCE_ESTIMATOR.number(of.covariance) if of.covariance is not None else None,
        scaling=HORIZON_SCALING.number(of.scaling) if of.scaling is not None else None,
        scenarios=of.scenarios,
        seed=of.seed,
        degrees_of_freedom=of.degrees_of_freedom,
        decay=of.decay,
        incremental=of.incremental,
    )


def window(of: HistoryWindow | None) -> risk_pb2.HistoryWindow | None:
    """None: the server's default."""
    if of is None:
        return None
    end_time = None if of.end is None else convert.timestamp(of.end)
    return risk_pb2.HistoryWindow(interval=of.interval, observations=of.observations, end_time=end_time)


def custom_shocks(scenarios: Mapping[str, Mapping[str, float]]) -> list[risk_pb2.CustomShock]:
    """Of scenario names, each with its returns by instrument, base asset or OTHER."""
    return [
        risk_pb2.CustomShock(
            name=name, shocks=[risk_pb2.Shock(name=what, change=change) for what, change in changes.items()]
        )
        for name, changes in scenarios.items()
    ]


def supposed_position(instrument: str, qty: convert.Number) -> risk_pb2.SupposedPosition:
    return risk_pb2.SupposedPosition(instrument=instrument, qty=convert.decimal_text("qty", qty))


def supposed_order(of: SupposedOrder) -> risk_pb2.SupposedOrder:
    return risk_pb2.SupposedOrder(
        instrument=of.instrument, side=convert.SIDE.number(of.side), qty=convert.decimal_text("qty", of.qty)
    )


def history(wire: risk_pb2.HistoryUsed) -> HistoryUsed:
    return HistoryUsed(
        source=wire.source,
        interval=wire.interval.ToTimedelta(),
        start_time=convert.utc(wire.start_time),
        end_time=convert.utc(wire.end_time),
        observations=wire.observations,
        instruments=tuple(
            InstrumentHistory(
                each.instrument,
                each.candle_count,
                each.missing_count,
                convert.utc(each.first_open_time) if each.HasField("first_open_time") else None,
                convert.utc(each.last_open_time) if each.HasField("last_open_time") else None,
            )
            for each in wire.instruments
        ),
    )


def value_at_risk(wire: risk_pb2.ValueAtRisk) -> ValueAtRisk:
    return ValueAtRisk(
        valuation_asset=wire.valuation_asset,
        time=convert.utc(wire.time),
        net=wire.net,
        gross=wire.gross,
        history=history(wire.history),
        estimates=tuple(map(_estimate, wire.estimates)),
        refusals=tuple(
            VarRefusal(VAR_METHOD.member(each.method), each.confidence, each.horizon, each.reason, each.description)
            for each in wire.refusals
        ),
        scores=tuple(
            CovarianceScore(
                COVARIANCE_ESTIMATOR.member(each.estimator), each.forecasts, each.log_score, each.qlike, each.variance_ratio
            )
            for each in wire.scores
        ),
    )


def _estimate(wire: risk_pb2.VarEstimate) -> VarEstimate:
    return VarEstimate(
        method=VAR_METHOD.member(wire.method),
        covariance=COVARIANCE_ESTIMATOR.member(wire.covariance),
        confidence=wire.confidence,
        horizon=wire.horizon,
        value_at_risk=wire.value_at_risk,
        expected_shortfall=wire.expected_shortfall,
        observations=wire.observations,
        note=wire.note,
        contributions=tuple(
            VarContribution(
                each.instrument,
                each.component_value_at_risk,
                each.component_expected_shortfall,
                each.marginal_value_at_risk,
                each.incremental_value_at_risk if each.HasField("incremental_value_at_risk") else None,
            )
            for each in wire.contributions
        ),
    )


def stress(wire: risk_pb2.RunStressResponse) -> Stress:
    return Stress(
        valuation_asset=wire.valuation_asset,
        net=wire.net,
        gross=wire.gross,
        results=tuple(
            StressResult(
                each.name,
                each.kind,
                each.description,
                each.loss,
                tuple(StressLine(line.name, line.loss, line.change) for line in each.lines),
            )
            for each in wire.results
        ),
        liquidation=tuple(
            LiquidationCost(
                each.instrument,
                each.qty,
                each.unfilled_qty,
                each.spread_cost,
                each.impact_cost,
                each.fees,
                each.cost_bps,
            )
            for each in wire.liquidation
        ),
        not_liquidated=tuple(Unpriced(each.name, each.reason) for each in wire.not_liquidated),
        history=history(wire.history) if wire.HasField("history") else None,
    )


def backtest(wire: risk_pb2.BacktestVarResponse) -> VarBacktest:
    return VarBacktest(
        valuation_asset=wire.valuation_asset,
        method=VAR_METHOD.member(wire.method),
        confidence=wire.confidence,
        window=wire.window,
        forecasts=wire.forecasts,
        exceedances=wire.exceedances,
        expected=wire.expected,
        kupiec=_ratio(wire.kupiec),
        independence=_ratio(wire.independence),
        conditional_coverage=_ratio(wire.conditional_coverage),
        traffic_light=wire.traffic_light,
        multiplier=wire.multiplier if wire.HasField("multiplier") else None,
        shortfall_ratio=wire.shortfall_ratio if wire.HasField("shortfall_ratio") else None,
        losses=tuple(
            VarExceedance(convert.utc(each.time), each.loss, each.value_at_risk, each.expected_shortfall)
            for each in wire.losses
        ),
        history=history(wire.history),
    )


def _ratio(wire: risk_pb2.LikelihoodRatio) -> LikelihoodRatio:
    return LikelihoodRatio(wire.statistic, wire.p_value)


def what_if(wire: risk_pb2.WhatIfResponse) -> WhatIf:
    return WhatIf(
        exposure(wire.exposure_before),
        exposure(wire.exposure_after),
        value_at_risk(wire.value_at_risk_before) if wire.HasField("value_at_risk_before") else None,
        value_at_risk(wire.value_at_risk_after) if wire.HasField("value_at_risk_after") else None,
    )
