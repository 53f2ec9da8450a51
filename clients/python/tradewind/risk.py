"""What RiskService says, as plain values. Money that is exact is `Decimal`, statistics are `float`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from tradewind import convert, models
from tradewind.v1 import risk_pb2


class PriceSource(StrEnum):
    """MID: of a LIVE book. LAST_TRADE: where there is none. UNSPECIFIED: there is no price."""

    UNSPECIFIED = "UNSPECIFIED"
    MID = "MID"
    LAST_TRADE = "LAST_TRADE"


PRICE_SOURCE = convert.Names(PriceSource, risk_pb2.PriceSource)


class VarMethod(StrEnum):
    """How a distribution of losses is made."""

    UNSPECIFIED = "UNSPECIFIED"
    HISTORICAL = "HISTORICAL"
    HISTORICAL_AGE_WEIGHTED = "HISTORICAL_AGE_WEIGHTED"
    HISTORICAL_FILTERED = "HISTORICAL_FILTERED"
    NORMAL = "NORMAL"
    CORNISH_FISHER = "CORNISH_FISHER"
    MONTE_CARLO_NORMAL = "MONTE_CARLO_NORMAL"
    MONTE_CARLO_STUDENT_T = "MONTE_CARLO_STUDENT_T"


class CovarianceEstimator(StrEnum):
    """How the covariance of returns is estimated."""

    UNSPECIFIED = "UNSPECIFIED"
    SAMPLE = "SAMPLE"
    EWMA = "EWMA"
    SHRUNK = "SHRUNK"


class HorizonScaling(StrEnum):
    """How historical methods come to a horizon of several periods."""

    UNSPECIFIED = "UNSPECIFIED"
    SQUARE_ROOT = "SQUARE_ROOT"
    OVERLAPPING = "OVERLAPPING"


VAR_METHOD = convert.Names(VarMethod, risk_pb2.VarMethod)
COVARIANCE_ESTIMATOR = convert.Names(CovarianceEstimator, risk_pb2.CovarianceEstimator)
HORIZON_SCALING = convert.Names(HorizonScaling, risk_pb2.HorizonScaling)


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """Which past returns to measure with: so many periods up to `end` (None: now)."""

    interval: timedelta = timedelta(hours=1)
    observations: int = 500
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class RiskModel:
    """What to estimate: every method at every confidence and horizon (in periods). Empty and None: the server's defaults."""

    methods: tuple[VarMethod | str, ...] = ()
    confidences: tuple[float, ...] = ()
    horizons: tuple[int, ...] = ()
    covariance: CovarianceEstimator | str | None = None
    scaling: HorizonScaling | str | None = None
    scenarios: int = 0
    seed: int = 0
    degrees_of_freedom: float | None = None
    decay: float | None = None
    incremental: bool = False


@dataclass(frozen=True, slots=True)
class InstrumentHistory:
    """Candles that were found of one instrument."""

    instrument: str
    candle_count: int
    missing_count: int
    first_open_time: datetime | None
    last_open_time: datetime | None


@dataclass(frozen=True, slots=True)
class HistoryUsed:
    """The returns that were used."""

    source: str
    interval: timedelta
    start_time: datetime
    end_time: datetime
    observations: int
    instruments: tuple[InstrumentHistory, ...]


@dataclass(frozen=True, slots=True)
class VarContribution:
    """One position's part; the components of all sum to the total."""

    instrument: str
    component_value_at_risk: float
    component_expected_shortfall: float
    marginal_value_at_risk: float
    incremental_value_at_risk: float | None


@dataclass(frozen=True, slots=True)
class VarEstimate:
    """One method at one confidence and horizon. Losses are positive."""

    method: VarMethod
    covariance: CovarianceEstimator
    confidence: float
    horizon: int
    value_at_risk: float
    expected_shortfall: float
    observations: int
    note: str
    contributions: tuple[VarContribution, ...]


@dataclass(frozen=True, slots=True)
class VarRefusal:
    """A method that gives no number, and why."""

    method: VarMethod
    confidence: float
    horizon: int
    reason: str
    description: str


@dataclass(frozen=True, slots=True)
class CovarianceScore:
    """How good a covariance forecast was on returns it had not seen; `variance_ratio` 1 is right."""

    estimator: CovarianceEstimator
    forecasts: int
    log_score: float
    qlike: float
    variance_ratio: float


@dataclass(frozen=True, slots=True)
class ValueAtRisk:
    """Estimates for a portfolio, and what they were made of."""

    valuation_asset: str
    time: datetime
    net: float
    gross: float
    history: HistoryUsed
    estimates: tuple[VarEstimate, ...]
    refusals: tuple[VarRefusal, ...]
    scores: tuple[CovarianceScore, ...]


@dataclass(frozen=True, slots=True)
class StressLine:
    """A part of a stress result; `change` is the return that was applied."""

    name: str
    loss: float
    change: float


@dataclass(frozen=True, slots=True)
class StressResult:
    """One scenario. Positive is a loss."""

    name: str
    kind: str
    description: str
    loss: float
    lines: tuple[StressLine, ...]


@dataclass(frozen=True, slots=True)
class LiquidationCost:
    """What it costs to close a position on the book as it is now."""

    instrument: str
    qty: float
    unfilled_qty: float
    spread_cost: float
    impact_cost: float
    fees: float
    cost_bps: float


@dataclass(frozen=True, slots=True)
class Stress:
    """Results, greatest loss first."""

    valuation_asset: str
    net: float
    gross: float
    results: tuple[StressResult, ...]
    liquidation: tuple[LiquidationCost, ...]
    not_liquidated: tuple[Unpriced, ...]
    history: HistoryUsed | None


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """A test; a p-value below 0.05 usually rejects the model."""

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class VarExceedance:
    """One loss beyond its forecast."""

    time: datetime
    loss: float
    value_at_risk: float
    expected_shortfall: float


@dataclass(frozen=True, slots=True)
class VarBacktest:
    """Whether value at risk kept its promise."""

    valuation_asset: str
    method: VarMethod
    confidence: float
    window: int
    forecasts: int
    exceedances: int
    expected: float
    kupiec: LikelihoodRatio
    independence: LikelihoodRatio
    conditional_coverage: LikelihoodRatio
    traffic_light: str
    multiplier: float | None
    shortfall_ratio: float | None
    losses: tuple[VarExceedance, ...]
    history: HistoryUsed


@dataclass(frozen=True, slots=True)
class SupposedOrder:
    """An order that is only supposed. Value at risk takes it as filled, exposure as open."""

    instrument: str
    side: models.Side | str
    qty: convert.Number


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Risk as it is, and with what is supposed; value at risk is None where nothing is held."""

    exposure_before: Exposure
    exposure_after: Exposure
    value_at_risk_before: ValueAtRisk | None
    value_at_risk_after: ValueAtRisk | None


@dataclass(frozen=True, slots=True)
class PositionExposure:
    """A position with the open orders of its instrument. Values are None where there is no price to trust."""

    instrument: str
    qty: Decimal
    open_buy_qty: Decimal
    open_sell_qty: Decimal
    price: Decimal | None
    price_source: PriceSource
    price_age: timedelta | None
    value: Decimal | None
    worst_case_value: Decimal | None


@dataclass(frozen=True, slots=True)
class ExposureTotal:
    """Positions of one asset or venue, summed up."""

    name: str
    gross: Decimal
    net: Decimal
    worst_case_gross: Decimal


@dataclass(frozen=True, slots=True)
class Unpriced:
    """What is in no total, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """What an account is exposed to, in the valuation asset."""

    account: str
    valuation_asset: str
    time: datetime
    positions: tuple[PositionExposure, ...]
    by_asset: tuple[ExposureTotal, ...]
    by_venue: tuple[ExposureTotal, ...]
    gross: Decimal
    net: Decimal
    worst_case_gross: Decimal
    equity: Decimal | None
    leverage: float | None
    largest_share: float
    concentration: float
    unpriced: tuple[Unpriced, ...]


@dataclass(frozen=True, slots=True)
class Flattened:
    """What became of one position; `problem` is empty if nothing is left of it."""

    account: str
    instrument: str
    qty: Decimal
    remaining_qty: Decimal
    order_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class KillSwitchResult:
    """What the kill switch did. `pending_count` cancels are on their way to a mirrored venue."""

    canceled_count: int
    pending_count: int
    flattened: tuple[Flattened, ...]
