"""What things are worth now: a price with its source and age, or the reason why there is none to trust."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal

from server.base.clock import Clock
from server.base.instruments import Instrument, InstrumentKind, Registry, format_decimal
from server.market.hub import MarketData

EXACT = Context(prec=60)
DEFAULT_MAX_AGE_NS = 60_000_000_000


class PriceSource(enum.IntEnum):
    """The numbers are those of the wire contract."""

    NONE = 0
    MID = 1
    LAST_TRADE = 2


@dataclass(frozen=True, slots=True)
class Price:
    """Of an instrument, in its quote asset."""

    value: Decimal | None
    """None: there is none at all."""
    source: PriceSource = PriceSource.NONE
    age_ns: int = 0
    problem: str = ""
    """Why it must not be used; empty if it may."""

    @property
    def usable(self) -> Decimal | None:
        return None if self.problem else self.value


@dataclass(frozen=True, slots=True)
class Step:
    """One conversion of a value: times the price of an instrument, or divided by it."""

    instrument: Instrument
    inverse: bool


class Valuation:
    """Values in one asset, at one moment."""

    def __init__(
        self, market: MarketData, registry: Registry, clock: Clock, asset: str, max_age_ns: int = DEFAULT_MAX_AGE_NS
    ) -> None:
        self.asset = asset
        self.time_ns = clock.now_ns()
        self._market = market
        self._registry = registry
        self._max_age_ns = max_age_ns

    def price(self, instrument: Instrument) -> Price:
        """The middle of a LIVE book, else the last trade."""
        quote = self._market.quote(instrument.name)
        if quote is not None and quote.bid_price and quote.ask_price:
            ticks = Decimal(quote.bid_price + quote.ask_price) / 2
            age_ns = max(0, self.time_ns - quote.receive_time_ns)
            return Price(EXACT.multiply(ticks, instrument.tick_size), PriceSource.MID, age_ns)
        state = self._market.state(instrument.name).name
        why = f"its book is {state}" if quote is None else "its book has no bid or no ask"
        trades = self._market.trades(instrument.name, 1)
        if not trades:
            absent = self._registry.absent.get(instrument.name)
            return Price(None, problem=f"no price: {absent or why}, and no trade is known")
        (last,) = trades
        age_ns = max(0, self.time_ns - last.receive_time_ns)
        value = EXACT.multiply(Decimal(last.price), last.instrument.tick_size)
        stale = (
            f"stale price: {why}, and the last trade is {_seconds(age_ns)} old, more than {_seconds(self._max_age_ns)}"
        )
        return Price(value, PriceSource.LAST_TRADE, age_ns, stale if age_ns > self._max_age_ns else "")

    def steps(self, asset: str, venue: str = "") -> list[Step] | str:
        """How money in `asset` is valued; or why it cannot be. Instruments of `venue` come first."""
        if asset == self.asset:
            return []
        pairs = [
            (instrument.venue != venue, inverse, instrument.name, Step(instrument, bool(inverse)))
            for instrument in self._registry.instruments()
            if instrument.kind is InstrumentKind.SPOT
            for inverse, names in enumerate(((asset, self.asset), (self.asset, asset)))
            if (instrument.base, instrument.quote) == names
        ]
        ranked = sorted(pairs, key=lambda pair: pair[:3])
        for *_, step in ranked:
            if self.price(step.instrument).usable:
                return [step]
        if ranked:
            first = ranked[0][3].instrument
            return f"{asset} cannot be valued in {self.asset}: {first.name}: {self.price(first).problem}"
        return f"{asset} cannot be valued in {self.asset}: there is no instrument of the two"

    def rate(self, asset: str, venue: str = "") -> Decimal | str:
        """What one of `asset` is worth; or why that is not known."""
        steps = self.steps(asset, venue)
        return steps if isinstance(steps, str) else self._product(steps)

    def _product(self, steps: Iterable[Step]) -> Decimal:
        value = Decimal(1)
        for step in steps:
            price = self.price(step.instrument).usable
            assert price, "only steps with a price are given"
            value = EXACT.divide(value, price) if step.inverse else EXACT.multiply(value, price)
        return value


_GRID = Decimal(1).scaleb(-8)


def money_text(value: Decimal) -> str:
    """A value for people, rounded to 8 decimals."""
    return format_decimal(EXACT.quantize(value, _GRID))


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.0f} s"
