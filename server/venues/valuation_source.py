"""Valuation prices: what positions at mirrored venues are worth, told to the engine whether or not orders are open there.

The middle of the venue's quote, for instruments in which somebody has a position: when it has moved, at most once a
second, and again before it runs out while the feed is alive. A feed that falls silent tells nothing more: the price the
engine has runs out and is stale. The commands are journaled like all commands, so a replay values positions alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from server.base.clock import Clock, Timer
from server.engine.engine import Engine
from server.engine.projection import Changes
from server.market.model import BookUpdate, FeedState, MarketUpdate, Quote
from server.records.commands import set_valuation_price
from server.venues.late_market import LateMarket

INTERVAL_NS = 1_000_000_000
"""How often the engine is told prices: all that moved, in one batch."""
VALID_NS = 60_000_000_000
"""How long a price holds. It is told again when half of it is over."""


class ValuationSource:
    """A CommandSource of the runner. One asyncio thread. Everything it keeps is bounded by the number of instruments."""

    def __init__(self, engine: Engine, market: LateMarket, wake: Callable[[], None], clock: Clock) -> None:
        """`wake` tells the runner that something is due."""
        self._engine = engine
        self._market = market
        self._wake = wake
        self._clock = clock
        self._held: set[int] = set()
        """Mirrored instruments in which somebody has a position."""
        self._quotes: dict[int, Quote] = {}
        """The newest of each mirrored instrument whose feed is LIVE."""
        self._told: dict[int, tuple[int, int]] = {}
        """By instrument: the price that the engine has, and when it was told."""
        self._pending: set[int] = set()
        """Instruments whose price is to be told with the next round."""
        self._due = False
        self._next_ns = 0
        """The earliest time of the next round."""
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to follow quotes and positions, those that a recovery brought back as well."""
        self._positions_changed(each.number for each in self._engine.registry.numbered_instruments())
        self._engine.add_listener(self._engine_changed)
        self._market.add_listener(self._market_changed)

    def stop(self) -> None:
        """Tell nothing any more."""
        self._held.clear()
        self._pending.clear()
        self._due = False
        if self._timer is not None:
            self._timer.cancel()

    def take(self, entered: Mapping[int, bool]) -> bytes:
        """Valuation prices that are due. See CommandSource."""
        if not self._due:
            return b""
        self._due = False
        pending, self._pending = self._pending & self._held, set()
        now_ns = self._clock.now_ns()
        return b"".join([self._command(number, now_ns) for number in sorted(pending)])

    def withdraw(self) -> bytes:
        """The prices told hold no more. See CommandSource."""
        numbers, self._told = sorted(self._told), {}
        return b"".join([set_valuation_price(instrument=number, price=0, until_ns=0) for number in numbers])

    # -- inside --------------------------------------------------------------------------------------------

    def _command(self, number: int, now_ns: int) -> bytes:
        quote = self._quotes.get(number)
        instrument = self._engine.registry.find_instrument_by_number(number)
        if quote is None or instrument is None or not quote.instrument.same_units(instrument):
            return b""
        price = _middle(quote)
        self._told[number] = price, now_ns
        return set_valuation_price(instrument=number, price=price, until_ns=now_ns + VALID_NS)

    def _engine_changed(self, changes: Changes) -> None:
        if changes.fills or changes.instruments:
            self._positions_changed(changes.instruments)

    def _positions_changed(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if not self._engine.registry.instrument_by_number(number).mirrored:
                continue
            if self._engine.blotter.is_held(number):
                self._held.add(number)
                self._look(number)
            else:
                self._held.discard(number)

    def _market_changed(self, update: MarketUpdate) -> None:
        number = update.instrument.number
        if isinstance(update, Quote):
            if update.bid_price and update.ask_price:
                self._quotes[number] = update
            else:
                self._quotes.pop(number, None)
        elif isinstance(update, BookUpdate) and update.state is not FeedState.LIVE:
            self._quotes.pop(number, None)
        if number in self._held:
            self._look(number)

    def _look(self, number: int) -> None:
        """Tell the engine with the next round if the price has moved, or is to be confirmed."""
        quote = self._quotes.get(number)
        if quote is None or number in self._pending:
            return
        price, told_ns = self._told.get(number, (0, 0))
        if _middle(quote) != price or self._clock.now_ns() - told_ns >= VALID_NS // 2:
            self._pending.add(number)
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_at(max(self._next_ns, self._clock.now_ns()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._next_ns = self._clock.now_ns() + INTERVAL_NS
        self._due = True
        self._wake()


def _middle(quote: Quote) -> int:
    """Ticks, rounded down."""
    return (quote.bid_price + quote.ask_price) // 2
