"""RiskService: measures of portfolios, and the kill switch."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration

from server.base.clock import Clock
from server.base.instruments import format_decimal
from server.risk.exposures import Exposure, Position, Total
from server.risk.kill_switch import Flattened, KillSwitch
from server.risk.metrics import RiskMetrics
from server.risk.service import Risk
from server.risk.valuation import DEFAULT_MAX_AGE_NS, money_text
from server.rpc import convert
from server.rpc.boundary import Call
from server.rpc.fields import Fields
from tradewind.v1 import risk_pb2 as pb

DEFAULT_VALUATION_ASSET = "USDT"
_MAX_AGE_S = 86_400
_MAX_REASON_CHARS = 200


class RiskService:
    def __init__(self, risk: Risk, kill_switch: KillSwitch, metrics: RiskMetrics, clock: Clock) -> None:
        self._risk = risk
        self._kill_switch = kill_switch
        self._metrics = metrics
        self._clock = clock

    async def GetExposure(self, request: pb.GetExposureRequest, call: Call) -> pb.GetExposureResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        asset = fields.text("valuation_asset", request.valuation_asset or DEFAULT_VALUATION_ASSET, 64)
        age_ns = DEFAULT_MAX_AGE_NS
        if request.HasField("max_price_age"):
            age_ns = _duration_ns(fields, "max_price_age", request.max_price_age, 1, _MAX_AGE_S)
        fields.check()
        return pb.GetExposureResponse(
            exposure=exposure(self._risk.exposure(account, self._risk.valuation(asset, age_ns)))
        )

    async def KillSwitch(self, request: pb.KillSwitchRequest, call: Call) -> pb.KillSwitchResponse:
        fields = Fields()
        reason = fields.text("reason", request.reason, _MAX_REASON_CHARS)
        if request.instrument:
            fields.text("instrument", request.instrument, 64)
        fields.check()
        killed = await self._kill_switch.pull(
            request.instrument, flatten=request.flatten, reason=reason, principal=call.caller.token_id
        )
        self._metrics.killed("instrument" if request.instrument else "all")
        return pb.KillSwitchResponse(
            canceled_count=killed.canceled,
            pending_count=killed.pending,
            flattened=[_flattened(each) for each in killed.flattened],
        )


def _duration_ns(fields: Fields, field: str, value: Duration, low_s: int, high_s: int) -> int:
    """Whole seconds."""
    if value.nanos:
        fields.wrong(field, "must be whole seconds", "OUT_OF_RANGE")
    return fields.between(field, value.seconds, low_s, high_s) * 1_000_000_000


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


def _flattened(of: Flattened) -> pb.Flattened:
    return pb.Flattened(
        account=of.account,
        instrument=of.instrument.name,
        qty=format_decimal(of.qty),
        remaining_qty=format_decimal(of.remaining),
        order_id=str(of.order_id) if of.order_id else "",
        problem=of.problem,
    )
