"""What RiskService says, as plain values. Money that is exact is `Decimal`, statistics are `float`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from tradewind import convert
from tradewind.v1 import risk_pb2


class PriceSource(StrEnum):
    """MID: of a LIVE book. LAST_TRADE: where there is none. UNSPECIFIED: there is no price."""

    UNSPECIFIED = "UNSPECIFIED"
    MID = "MID"
    LAST_TRADE = "LAST_TRADE"


PRICE_SOURCE = convert.Names(PriceSource, risk_pb2.PriceSource)


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
