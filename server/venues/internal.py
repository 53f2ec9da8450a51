"""Our own books as market data: depth, quotes and trades of `internal:*` are published like those of any venue."""

from __future__ import annotations

from fastpath.model.enums import Liquidity
from server.base.clock import Clock, Timer
from server.base.instruments import Instrument
from server.engine.engine import Engine
from server.engine.projection import Changes
from server.engine.runner import Runner, RunnerState
from server.market.hub import MarketData
from server.market.internal_book import BookPublisher
from server.market.model import Trade
from server.records.events import Event, decode

_TAKER = int(Liquidity.LIQUIDITY_TAKER)

BOOK_INTERVAL_NS = 10_000_000
"""Books are published at most so often: they change with every order, and a snapshot of one costs more than an order."""
BOOK_LEVELS = 1_000
"""Levels a side that are published."""


class InternalVenue:
    """Publishes trades after each batch, and the books that changed at most every BOOK_INTERVAL_NS."""

    def __init__(self, engine: Engine, market: MarketData, runner: Runner, clock: Clock) -> None:
        self._engine = engine
        self._market = market
        self._runner = runner
        self._clock = clock
        self._publishers: dict[str, tuple[int, BookPublisher]] = {}
        """By the instrument's name, with its number."""
        self._changed: set[int] = set()
        self._timer: Timer | None = None

    def start(self) -> None:
        """Publish the books as they are, and every change from now on."""
        for instrument in self._engine.registry.instruments():
            if not instrument.mirrored:
                self._publish_book(instrument)
        self._engine.add_listener(self._engine_changed)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # -- inside --------------------------------------------------------------------------------------------

    def _engine_changed(self, changes: Changes) -> None:
        registry = self._engine.registry
        for record in changes.fills:
            event = decode(record)
            if event.liquidity != _TAKER:
                continue
            instrument = registry.instrument_by_number(event.instrument)
            if not instrument.mirrored:
                self._market.publish(_trade(event, instrument))
        self._changed |= changes.instruments
        if self._timer is None and self._changed:
            self._publish_books()
            self._timer = self._clock.call_at(self._clock.now_ns() + BOOK_INTERVAL_NS, self._interval_over)

    def _interval_over(self) -> None:
        """What changed in the meantime is published when the books are exactly what is durable, not before."""
        self._timer = None
        if self._changed and self._runner.state is RunnerState.RUNNING:
            self._runner.read(self._publish_books)

    def _publish_books(self) -> None:
        registry = self._engine.registry
        names = {registry.instrument_by_number(number).name for number in self._changed}
        for name in sorted(names):
            instrument = registry.instrument(name)  # the one of its name that has the orders
            if not instrument.mirrored:
                self._publish_book(instrument)
        self._changed.clear()

    def _publish_book(self, instrument: Instrument) -> None:
        engine = self._engine
        number, publisher = self._publishers.get(instrument.name, (0, None))
        if publisher is None or number != instrument.number:
            publisher = BookPublisher(self._market, instrument)
            self._publishers[instrument.name] = instrument.number, publisher
        bids, asks = engine.exchange.depth(instrument.number, BOOK_LEVELS)
        publisher.publish(
            [(price, qty) for price, qty, _ in bids],
            [(price, qty) for price, qty, _ in asks],
            engine.command_sequence,
            engine.time_ns,
        )


def _trade(event: Event, instrument: Instrument) -> Trade:
    """The public trade of a taker's fill."""
    return Trade(
        instrument=instrument,
        trade_id=str(event.trade_id),
        price=event.last_price,
        qty=event.last_qty,
        aggressor_side=event.side,
        venue_time_ns=event.ts_ns,
        receive_time_ns=event.ts_ns,
    )
