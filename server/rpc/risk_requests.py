"""Requests of RiskService, checked: what the models of server/risk want."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration

from server.base.errors import FieldViolation, InvalidRequest
from server.base.instruments import Instrument, Registry
from server.risk.covariance import Covariance
from server.risk.exposures import Held
from server.risk.history import DEFAULT_OBSERVATIONS, MAX_OBSERVATIONS, Window
from server.risk.service import Supposed
from server.risk.shocks import NAMED_SHOCKS
from server.risk.stress import CustomShock, StressRequest
from server.risk.valuation import EXACT
from server.risk.value_at_risk import Method, Scaling, ValueAtRiskRequest
from server.rpc.fields import Fields
from tradewind.v1 import common_pb2
from tradewind.v1 import risk_pb2 as pb

T = TypeVar("T")

DEFAULT_VALUATION_ASSET = "USDT"
ALL_SHOCKS = "all"
MAX_VENUES = 20
MAX_SUPPOSED = 100
_MAX_SHOCKS = 100
_MAX_INTERVAL_S = 86_400
_MAX_NAME_CHARS = 64
_DEFAULT_STRESS = 5.0
_BACKTEST = pb.HistoryWindow(observations=1_000)
_ZERO = Decimal(0)


def valuation_asset(fields: Fields, text: str) -> str:
    return fields.text("valuation_asset", text or DEFAULT_VALUATION_ASSET, _MAX_NAME_CHARS)


def duration_ns(fields: Fields, field: str, value: Duration, low_s: int, high_s: int) -> int:
    """Whole seconds, in nanoseconds."""
    if value.nanos:
        fields.wrong(field, "must be whole seconds", "OUT_OF_RANGE")
    return fields.between(field, value.seconds, low_s, high_s) * 1_000_000_000


def window(fields: Fields, message: pb.HistoryWindow) -> Window:
    known = Window()
    interval_ns = known.interval_ns
    if message.HasField("interval"):
        interval_ns = duration_ns(fields, "history.interval", message.interval, 1, _MAX_INTERVAL_S)
    count = message.observations or DEFAULT_OBSERVATIONS
    count = fields.between("history.observations", count, 2, MAX_OBSERVATIONS)
    end_ns = fields.time_ns("history.end_time", message.end_time) if message.HasField("end_time") else 0
    return Window(interval_ns, count, end_ns)


def backtest_window(fields: Fields, request: pb.BacktestVarRequest) -> Window:
    return window(fields, request.history if request.HasField("history") else _BACKTEST)


def model(
    fields: Fields, message: pb.RiskModel, methods: Sequence[Method], confidences: Sequence[float]
) -> ValueAtRiskRequest:
    """With these methods and confidences where the message names none. Raises InvalidRequest with all that is wrong."""
    given: dict[str, Any] = {"methods": tuple(methods), "confidences": tuple(confidences)}
    if message.methods:
        given["methods"] = tuple(_methods(fields, message.methods))
    for name in ("confidences", "horizons"):
        if values := getattr(message, name):
            given[name] = tuple(values)
    for name, kind, enum in (
        ("covariance", Covariance, pb.CovarianceEstimator), ("scaling", Scaling, pb.HorizonScaling),
    ):  # fmt: skip
        number = fields.choice(f"model.{name}", getattr(message, name), enum, required=False)
        if number in enum.values()[1:]:
            given[name] = next(each for each in kind if enum.Name(number).endswith(f"_{each.name}"))
    for name in ("scenarios", "seed"):
        if value := getattr(message, name):
            given[name] = value
    for name in ("degrees_of_freedom", "decay"):
        if message.HasField(name):
            given[name] = getattr(message, name)
    fields.check()
    return _checked("model", lambda: ValueAtRiskRequest(**given, incremental=message.incremental))


def _methods(fields: Fields, numbers: Sequence[int]) -> list[Method]:
    if len(numbers) > len(Method) or len(set(numbers)) != len(numbers):
        fields.wrong("model.methods", f"must be at most {len(Method)}, each once", "OUT_OF_RANGE")
        return []
    found = []
    for index, number in enumerate(numbers):
        if fields.choice(f"model.methods[{index}]", number, pb.VarMethod) in pb.VarMethod.values()[1:]:
            found.append(Method[pb.VarMethod.Name(pb.VarMethod.ValueType(number)).removeprefix("VAR_METHOD_")])
    return found


def _checked(path: str, make: Callable[[], T]) -> T:
    """What `make` gives; the fields that it finds wrong get the path."""
    try:
        return make()
    except InvalidRequest as error:
        moved = [
            FieldViolation(f"{path}.{each.field}" if path else each.field, each.description, each.reason or "OUT_OF_RANGE")
            for each in error.violations
        ]
        raise InvalidRequest(moved) from None


def stress(fields: Fields, request: pb.RunStressRequest) -> tuple[StressRequest, bool]:
    """The request without its holdings, and whether to liquidate. Raises InvalidRequest, NotFound."""
    asked = bool(
        request.named or request.custom or request.correlations_to_one or request.venue_defaults or request.liquidate
    )
    named = tuple(dict.fromkeys(request.named))
    if not asked or ALL_SHOCKS in named:
        named = tuple(NAMED_SHOCKS)
    if len(request.named) > _MAX_SHOCKS:
        fields.wrong("named", f"at most {_MAX_SHOCKS}", "OUT_OF_RANGE")
    for index, name in enumerate(request.named[:_MAX_SHOCKS]):
        fields.text(f"named[{index}]", name, _MAX_NAME_CHARS)
    if len(request.venue_defaults) > MAX_VENUES:
        fields.wrong("venue_defaults", f"at most {MAX_VENUES}", "OUT_OF_RANGE")
    for index, venue in enumerate(request.venue_defaults[:MAX_VENUES]):
        fields.text(f"venue_defaults[{index}]", venue, _MAX_NAME_CHARS)
    for name in ("spread_times", "depth_divided_by"):
        value = getattr(request, name)
        if value and not 1 <= value < math.inf:
            fields.wrong(name, "must be a number of at least 1", "OUT_OF_RANGE")
    custom = _custom(fields, request)
    fields.check()
    found: StressRequest = _checked(
        "",
        lambda: StressRequest(
            named=named,
            custom=custom,
            correlations_to_one=request.correlations_to_one,
            spread_times=request.spread_times or _DEFAULT_STRESS,
            depth_divided_by=request.depth_divided_by or _DEFAULT_STRESS,
            venue_defaults=tuple(dict.fromkeys(request.venue_defaults)),
            recovery=request.recovery,
        ),
    )
    return found, request.liquidate or not asked


def _custom(fields: Fields, request: pb.RunStressRequest) -> tuple[CustomShock, ...]:
    if len(request.custom) > _MAX_SHOCKS:
        fields.wrong("custom", f"at most {_MAX_SHOCKS}", "OUT_OF_RANGE")
        return ()
    found = []
    for index, scenario in enumerate(request.custom):
        path = f"custom[{index}]"
        fields.name(f"{path}.name", scenario.name)
        if not 1 <= len(scenario.shocks) <= _MAX_SHOCKS:
            fields.wrong(f"{path}.shocks", f"must be 1 to {_MAX_SHOCKS}", "OUT_OF_RANGE")
            continue
        changes = {}
        for at, shock in enumerate(scenario.shocks):
            fields.text(f"{path}.shocks[{at}].name", shock.name, _MAX_NAME_CHARS)
            if not -1 <= shock.change < math.inf:
                fields.wrong(f"{path}.shocks[{at}].change", "must be a return of at least -1", "OUT_OF_RANGE")
            changes[shock.name] = shock.change
        found.append(CustomShock(scenario.name, changes))
    return tuple(found)


def supposed(fields: Fields, request: pb.WhatIfRequest, registry: Registry) -> Supposed:
    """Raises InvalidRequest, NotFound."""
    count = len(request.added_positions) + len(request.added_orders)
    if not 1 <= count <= MAX_SUPPOSED:
        fields.wrong("added_positions", f"with added_orders must be 1 to {MAX_SUPPOSED}, not {count}", "OUT_OF_RANGE")
        fields.check()
    held: list[tuple[str, Decimal]] = []
    ordered: list[tuple[str, bool, Decimal]] = []
    for index, position in enumerate(request.added_positions):
        path = f"added_positions[{index}]"
        instrument = fields.instrument(f"{path}.instrument", position.instrument, registry)
        size = _quantity(fields, f"{path}.qty", position.qty.removeprefix("-"), instrument)
        held.append((position.instrument, -size if position.qty.startswith("-") else size))
    for index, order in enumerate(request.added_orders):
        path = f"added_orders[{index}]"
        instrument = fields.instrument(f"{path}.instrument", order.instrument, registry)
        side = fields.choice(f"{path}.side", order.side, common_pb2.Side)
        qty = _quantity(fields, f"{path}.qty", order.qty, instrument)
        ordered.append((order.instrument, side == common_pb2.SIDE_BUY, qty))
    fields.check()
    return Supposed(
        tuple(Held(registry.instrument(name), qty) for name, qty in held),
        tuple(
            Held(registry.instrument(name), _ZERO, buys=qty if buys else _ZERO, sells=_ZERO if buys else qty)
            for name, buys, qty in ordered
        ),
    )


def _quantity(fields: Fields, field: str, text: str, instrument: Instrument | None) -> Decimal:
    """Base quantity, positive."""
    lots = fields.qty(field, text, instrument)
    return EXACT.multiply(Decimal(lots), instrument.lot_size) if instrument is not None else _ZERO
