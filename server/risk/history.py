"""Past returns of instruments, valued in one asset: closes of candles of the tick store, aligned, gaps named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.base.clock import Clock
from server.base.errors import FailedPrecondition, InvalidRequest
from server.base.instruments import Instrument, Registry
from server.market.history import TickHistory
from server.risk.portfolio import Floats, Returns, Times
from server.risk.valuation import Step, Valuation

SOURCE = "closes of candles of the tick store"
DEFAULT_INTERVAL_NS = 3_600_000_000_000
DEFAULT_OBSERVATIONS, MAX_OBSERVATIONS = 500, 10_000
MAX_CANDLES = 200_000
"""Of one request, of all its instruments."""
INSUFFICIENT = "INSUFFICIENT_HISTORY"

Series = tuple[Times, Floats]
"""Times, and prices at them."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which periods to look at."""

    interval_ns: int = DEFAULT_INTERVAL_NS
    observations: int = DEFAULT_OBSERVATIONS
    end_ns: int = 0
    """0: now."""


@dataclass(frozen=True, slots=True)
class InstrumentHistory:
    """What was found of one instrument in the window."""

    instrument: str
    candles: int
    missing: int
    first_ns: int
    last_ns: int
    """Opening times; 0 without candles."""


@dataclass(frozen=True, slots=True)
class HistoryUsed:
    interval_ns: int
    start_ns: int
    end_ns: int
    observations: int
    instruments: tuple[InstrumentHistory, ...]

    def described(self) -> str:
        """For people, in an error."""
        found = ", ".join(
            f"{each.instrument} has {each.candles} candles of {each.candles + each.missing}" for each in self.instruments
        )
        return f"{self.observations} observations of {self.interval_ns / 1e9:g} s were found: {found}"


class ReturnHistory:
    """Returns of instruments. Reads in threads of the tick history."""

    def __init__(self, ticks: TickHistory, registry: Registry, clock: Clock) -> None:
        self._ticks = ticks
        self._registry = registry
        self._clock = clock

    async def returns(
        self, instruments: Sequence[Instrument], valuation: Valuation, window: Window
    ) -> tuple[Returns, HistoryUsed]:
        """A column an instrument, by name. Raises InvalidRequest (too many candles), FailedPrecondition
        (INSUFFICIENT_HISTORY, NOT_RECORDED, PRICE_MISSING), Unavailable."""
        conversions = {each.name: self._steps(each, valuation) for each in instruments}
        wanted = {each.name: each for each in instruments}
        wanted |= {step.instrument.name: step.instrument for steps in conversions.values() for step in steps}
        if (count := len(wanted) * (window.observations + 1)) > MAX_CANDLES:
            raise InvalidRequest.of(
                "history.observations",
                f"{len(wanted)} instruments need {count} candles; at most {MAX_CANDLES} are read: ask for fewer",
                reason="OUT_OF_RANGE",
            )
        end_ns = (window.end_ns or self._clock.now_ns()) // window.interval_ns * window.interval_ns
        start_ns = max(0, end_ns - (window.observations + 1) * window.interval_ns)
        closes: dict[str, Series] = {}
        found = []
        for name in sorted(wanted):
            times, prices = closes[name] = await self._closes(name, window.interval_ns, start_ns, end_ns)
            missing = window.observations + 1 - len(times)
            first, last = (int(times[0]), int(times[-1])) if len(times) else (0, 0)
            found.append(InstrumentHistory(name, len(prices), missing, first, last))
        used = HistoryUsed(window.interval_ns, start_ns, end_ns, 0, tuple(found))
        valued = {each.name: _converted(each.name, conversions[each.name], closes) for each in instruments}
        try:
            if not all(len(times) for times, _ in valued.values()):
                raise FailedPrecondition("an instrument has no candles in the window", reason=INSUFFICIENT)
            # A candle's close is the price at its end.
            ends = {name: (times + window.interval_ns, prices) for name, (times, prices) in valued.items()}
            returns = Returns.aligned(ends, window.interval_ns)
        except FailedPrecondition as error:
            raise with_history(error, used) from None
        return returns, HistoryUsed(window.interval_ns, start_ns, end_ns, len(returns), tuple(found))

    def _steps(self, instrument: Instrument, valuation: Valuation) -> list[Step]:
        steps = valuation.steps(instrument.quote, instrument.venue)
        if isinstance(steps, str):
            raise FailedPrecondition(steps, reason="PRICE_MISSING")
        return steps

    async def _closes(self, name: str, interval_ns: int, start_ns: int, end_ns: int) -> Series:
        candles = await self._ticks.candles(self._registry.grids(name), interval_ns, start_ns, end_ns)
        return (
            np.array([candle.open_ns for candle in candles], dtype=np.int64),
            np.array([float(candle.close) for candle in candles], dtype=np.float64),
        )


def with_history(error: FailedPrecondition, used: HistoryUsed) -> FailedPrecondition:
    """The error with what was found, if it is about too little history."""
    if error.specific_reason != INSUFFICIENT:
        return error
    metadata = error.metadata | {"observations": str(used.observations)}
    return FailedPrecondition(f"{error.message}; {used.described()}", reason=INSUFFICIENT, metadata=metadata)


def _converted(name: str, steps: Sequence[Step], closes: dict[str, Series]) -> Series:
    """Prices in the valuation asset, at times at which all of them are known."""
    times, prices = closes[name]
    for step in steps:
        other_times, rates = closes[step.instrument.name]
        common, mine, theirs = np.intersect1d(times, other_times, assume_unique=True, return_indices=True)
        rate = rates[theirs]
        times, prices = common, prices[mine] / rate if step.inverse else prices[mine] * rate
    return times, prices
