"""From what a venue says about a market to an instrument."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from server.base.instruments import INT64_MAX, Instrument, InstrumentKind
from server.feeds.numbers import integer

_LEAST_STEP = Decimal("1E-18")
_MOST_STEP = Decimal("1E+18")
_MOST_NOTIONAL = 10**9
"""Of a venue's minimum: more could not be counted in the quote asset's smallest units."""

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

    `rules` come from the venue's own texts because ccxt holds them as floats. Raises ValueError, LookupError, TypeError
    or ArithmeticError if they are none, or out of range.
    """
    kind = _KINDS[market["type"]]
    lot_size = _between(rules.lot_size, _LEAST_STEP, _MOST_STEP, "lot size")
    min_qty = _lots(rules.min_qty or "0", lot_size, ROUND_CEILING)
    max_qty = _lots(rules.max_qty or "0", lot_size, ROUND_FLOOR)
    return Instrument(
        number=0,
        name=f"{venue}:{market['symbol']}",
        base=market["base"],
        quote=market["quote"],
        kind=kind,
        tick_size=_between(rules.tick_size, _LEAST_STEP, _MOST_STEP, "tick size"),
        lot_size=lot_size,
        min_qty=max(integer(min_qty, 0, INT64_MAX, "the minimum quantity in lots"), 1),
        max_qty=min(max(max_qty, 0), INT64_MAX) or INT64_MAX,
        min_notional=_between(rules.min_notional or "0", 0, _MOST_NOTIONAL, "minimum notional"),
        maker_fee_bps=_bps(market.get("maker")),
        taker_fee_bps=_bps(market.get("taker")),
        tradable=kind is InstrumentKind.SPOT,
        contract_size=_between(str(market.get("contractSize") or 1), _LEAST_STEP, _MOST_STEP, "contract size"),
    )


def _between(text: str, least: Decimal | int, most: Decimal | int, what: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite() or not least <= value <= most:
        raise ValueError(f"the {what} {text[:40]!r} is not a number from {least} to {most}")
    return value.normalize()


def _lots(qty: str, lot_size: Decimal, rounding: str) -> int:
    return int((Decimal(qty) / lot_size).to_integral_value(rounding))


def _bps(rate: object) -> Decimal:
    """ccxt gives fees as floats; their shortest text is what the venue publishes."""
    return (Decimal(str(rate)) * 10_000).normalize() if rate is not None else Decimal(0)
