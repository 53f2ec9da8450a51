"""From what a venue says about a market to an instrument."""

from __future__ import annotations

from dataclasses import dataclass
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
class Rules:
    """A venue's order rules of one market as texts, exactly as sent; "" where it sets none."""

    tick_size: str
    lot_size: str
    min_qty: str = ""
    max_qty: str = ""
    min_notional: str = ""


def describe(venue: str, market: dict[str, Any], rules: Rules) -> Instrument:
    """The instrument of a ccxt market, with number 0: numbers are the engine's to give.

    `rules` come from the venue's own texts because ccxt holds them as floats.
    """
    kind = _KINDS[market["type"]]
    lot_size = Decimal(rules.lot_size).normalize()
    max_qty = _lots(rules.max_qty or "0", lot_size, ROUND_FLOOR)
    return Instrument(
        number=0,
        name=f"{venue}:{market['symbol']}",
        base=market["base"],
        quote=market["quote"],
        kind=kind,
        tick_size=Decimal(rules.tick_size).normalize(),
        lot_size=lot_size,
        min_qty=max(_lots(rules.min_qty or "0", lot_size, ROUND_CEILING), 1),
        max_qty=min(max_qty, INT64_MAX) or INT64_MAX,
        min_notional=Decimal(rules.min_notional or "0").normalize(),
        maker_fee_bps=_bps(market.get("maker")),
        taker_fee_bps=_bps(market.get("taker")),
        tradable=kind is InstrumentKind.SPOT,
        contract_size=Decimal(str(market.get("contractSize") or 1)).normalize(),
    )


def _lots(qty: str, lot_size: Decimal, rounding: str) -> int:
    return int((Decimal(qty) / lot_size).to_integral_value(rounding))


def _bps(rate: object) -> Decimal:
    """ccxt gives fees as floats; their shortest text is what the venue publishes."""
    return (Decimal(str(rate)) * 10_000).normalize() if rate is not None else Decimal(0)
