"""What a venue says about an instrument: everything but the number, which is the engine's to give."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from server.instruments import INT64_MAX, Instrument, InstrumentKind

_KINDS = {
    "spot": InstrumentKind.SPOT,
    "swap": InstrumentKind.PERPETUAL,
    "future": InstrumentKind.FUTURE,
    "option": InstrumentKind.OPTION,
}


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """An instrument without its number. The fields are those of `server.instruments.Instrument`."""

    name: str
    base: str
    quote: str
    kind: InstrumentKind
    tick_size: Decimal
    lot_size: Decimal
    min_qty: int
    max_qty: int
    min_notional: Decimal
    maker_fee_bps: Decimal
    taker_fee_bps: Decimal
    tradable: bool
    contract_size: Decimal

    def instrument(self, number: int) -> Instrument:
        return Instrument(number=number, **asdict(self))


@dataclass(frozen=True, slots=True)
class Rules:
    """A venue's order rules of one market as texts, exactly as sent; "" where it sets none."""

    tick_size: str
    lot_size: str
    min_qty: str = ""
    max_qty: str = ""
    min_notional: str = ""


def spec(venue: str, market: dict[str, Any], rules: Rules) -> InstrumentSpec:
    """The spec of a ccxt market. `rules` come from the venue's own texts because ccxt holds them as floats."""
    kind = _KINDS[market["type"]]
    lot_size = Decimal(rules.lot_size)
    max_qty = _lots(rules.max_qty, lot_size, ROUND_FLOOR) if rules.max_qty else INT64_MAX
    return InstrumentSpec(
        name=f"{venue}:{market['symbol']}",
        base=market["base"],
        quote=market["quote"],
        kind=kind,
        tick_size=Decimal(rules.tick_size).normalize(),
        lot_size=lot_size.normalize(),
        min_qty=max(_lots(rules.min_qty, lot_size, ROUND_CEILING), 1) if rules.min_qty else 1,
        max_qty=min(max_qty, INT64_MAX) or INT64_MAX,
        min_notional=Decimal(rules.min_notional or "0"),
        maker_fee_bps=_bps(market.get("maker")),
        taker_fee_bps=_bps(market.get("taker")),
        tradable=kind is InstrumentKind.SPOT,
        contract_size=Decimal(str(market.get("contractSize") or 1)),
    )


def _lots(qty: str, lot_size: Decimal, rounding: str) -> int:
    return int((Decimal(qty) / lot_size).to_integral_value(rounding))


def _bps(rate: object) -> Decimal:
    """ccxt gives fees as floats; their shortest text is what the venue publishes."""
    return (Decimal(str(rate)) * 10_000).normalize() if rate is not None else Decimal(0)
