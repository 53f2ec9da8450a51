"""An engine with its venues and a scripted market, for tests of paper trading."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from server.base.clock import Clock, ManualClock, SystemClock
from server.base.instruments import Instrument, InstrumentKind
from server.engine.orders import NewOrder
from server.engine.setup import Setup, internal_spot
from server.market.hub import MarketData
from server.market.model import BookUpdate, FeedState, Level, Quote, Trade
from server.venues.internal import InternalVenue
from server.venues.late_market import LateMarket
from server.venues.paper import MARK_INTERVAL_NS, PaperVenue
from server.venues.valuation_source import ValuationSource
from tests.support.engine import GTC, LIMIT, MARKET, SETUP, House, house, pass_time

MIRRORED = Instrument(
    0,
    "binance:BTC/USDT",
    "BTC",
    "USDT",
    InstrumentKind.SPOT,
    Decimal("0.01"),
    Decimal("0.00001"),
    taker_fee_bps=Decimal(10),
    tradable=True,
)


@dataclass
class Market:
    """The engine with its venues and a scripted market."""

    house: House
    hub: MarketData
    paper: PaperVenue
    internal: InternalVenue
    late: LateMarket
    """The hub as the paper venue hears of it."""
    instrument: Instrument
    valuations: ValuationSource
    clock: Clock
    sequence: int = 0

    def quote(self, bid: int, ask: int) -> None:
        """The venue's best prices, in whole USDT."""
        self.sequence += 1
        self.hub.publish(Quote(self.instrument, bid * 100, 1, ask * 100, 1, None, self.sequence))

    def book(self, bids: list[Level], asks: list[Level], state: FeedState = FeedState.LIVE) -> None:
        """The venue's whole book: prices in whole USDT, quantities in lots."""
        self.sequence += 1
        per_lot = self.instrument.data_lots_per_lot

        def scaled(levels: list[Level]) -> tuple[Level, ...]:
            return tuple((price * 100, qty * per_lot) for price, qty in levels)

        self.hub.publish(
            BookUpdate(self.instrument, scaled(bids), scaled(asks), True, state, self.sequence, None, self.sequence)
        )

    def trade(self, price: int, qty: int, aggressor_side: int) -> None:
        self.sequence += 1
        scaled = qty * self.instrument.data_lots_per_lot
        self.hub.publish(
            Trade(self.instrument, str(self.sequence), price * 100, scaled, aggressor_side, None, self.sequence)
        )

    async def pass_time(self, delta_ns: int) -> None:
        """Move the clock, which is a manual one, and have everybody do what is due."""
        assert isinstance(self.clock, ManualClock)
        await pass_time(self.clock, self.house, delta_ns)

    async def settle(self) -> None:
        """So much time passes that the engine was told all of the market that it is ever told."""
        await self.pass_time(5 * MARK_INTERVAL_NS)

    def order(self, side: int, price: int, qty: int, tif: int = GTC) -> NewOrder:
        return NewOrder("alice", self.instrument, side, LIMIT if price else MARKET, tif, qty, price * 100)


@contextlib.asynccontextmanager
async def market(
    directory: Path, *, paper_model: int = 0, latency_in_ns: int = 0, latency_out_ns: int = 0, clock: Clock | None = None
) -> AsyncIterator[Market]:
    mirrored = replace(
        MIRRORED, paper_model=paper_model, latency_in_ns=latency_in_ns, latency_out_ns=latency_out_ns
    )
    setup = Setup((internal_spot("BTC/USDT", "0.01", "0.00001"), mirrored), SETUP.accounts)
    clock = clock or SystemClock()
    async with house(directory, setup=setup, clock=clock) as it:
        hub = MarketData("hub", clock)
        internal = InternalVenue(it.engine, hub, it.runner, clock)
        internal.start()
        late = LateMarket(hub, clock)
        late.start()
        paper = PaperVenue(it.engine, late, it.runner.wake, clock)
        it.runner.sources.add(paper)
        paper.start()
        valuations = ValuationSource(it.engine, late, it.runner.wake, clock)
        it.runner.sources.add(valuations)
        valuations.start()
        instrument = it.trading.registry.instrument("binance:BTC/USDT")
        yield Market(it, hub, paper, internal, late, instrument, valuations, clock)
        valuations.stop()
        paper.stop()
        late.stop()
        internal.stop()
