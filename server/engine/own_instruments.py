"""Instruments of the internal venue that the settings define, checked before anything starts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.base.instruments import INTERNAL_VENUE, Instrument, InstrumentKind, OffGrid, OutOfRange, to_units

MAX_DECIMALS = 18
"""Of a tick times a lot: the smallest unit that money is counted in."""
_MAX_NAME = 48
_DEFAULT_TAKER_FEE_BPS = Decimal(5)

Size = Annotated[Decimal, Field(gt=0, max_digits=20, decimal_places=MAX_DECIMALS)]
Fee = Annotated[Decimal, Field(ge=-10_000, le=10_000, decimal_places=2)]


class OwnInstrument(BaseModel):
    """A spot instrument with a book of our own. Numbers are decimal texts, or numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: str = Field(pattern=r"^[A-Z0-9]{1,20}/[A-Z0-9]{1,20}$")
    tick_size: Size
    lot_size: Size
    min_qty: Size | None = None
    max_qty: Size | None = None
    min_notional: Annotated[Decimal, Field(ge=0, max_digits=20, decimal_places=MAX_DECIMALS)] = Decimal(0)
    maker_fee_bps: Fee = Decimal(0)
    taker_fee_bps: Fee = _DEFAULT_TAKER_FEE_BPS

    @model_validator(mode="after")
    def _check_consistent(self) -> OwnInstrument:
        self.instrument()
        return self

    def instrument(self) -> Instrument:
        """Not numbered yet. Raises ValueError that says what does not go together."""
        base, quote = self.symbol.split("/")
        name = f"{INTERNAL_VENUE}:{self.symbol}"
        if base == quote:
            raise ValueError(f"{self.symbol} trades an asset for itself")
        if len(name) > _MAX_NAME:
            raise ValueError(f"{name} is longer than {_MAX_NAME} characters")
        smallest = self.tick_size.normalize().as_tuple().exponent, self.lot_size.normalize().as_tuple().exponent
        if -sum(min(0, int(exponent)) for exponent in smallest) > MAX_DECIMALS:
            sizes = f"a tick of {self.tick_size} times a lot of {self.lot_size}"
            raise ValueError(f"{sizes} has more than {MAX_DECIMALS} decimals")
        min_qty = self._lots("min_qty", self.min_qty or self.lot_size)
        max_qty = self._lots("max_qty", self.max_qty) if self.max_qty is not None else None
        if max_qty is not None and max_qty < min_qty:
            raise ValueError(f"max_qty {self.max_qty} is less than min_qty {self.min_qty or self.lot_size}")
        if not self.taker_fee_bps >= 0 or self.maker_fee_bps < -self.taker_fee_bps:
            raise ValueError("taker_fee_bps must not be negative, and a maker's rebate not exceed it")
        instrument = Instrument(
            number=0,
            name=name,
            base=base,
            quote=quote,
            kind=InstrumentKind.SPOT,
            tick_size=self.tick_size.normalize(),
            lot_size=self.lot_size.normalize(),
            min_qty=min_qty,
            min_notional=self.min_notional.normalize(),
            maker_fee_bps=self.maker_fee_bps.normalize(),
            taker_fee_bps=self.taker_fee_bps.normalize(),
            tradable=True,
        )
        return instrument if max_qty is None else replace(instrument, max_qty=max_qty)

    def _lots(self, name: str, qty: Decimal) -> int:
        try:
            return to_units(qty, self.lot_size)
        except (OffGrid, OutOfRange) as error:
            raise ValueError(f"{name}: {error}") from None
