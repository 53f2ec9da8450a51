"""One watched market of a venue: frames in, normalized updates out."""

from __future__ import annotations

import asyncio
from typing import Any

from server.feeds.frames import DepthFrame, QuoteFrame, TradeFrame
from server.feeds.grid import Grid
from server.feeds.guard import BookGuard
from server.feeds.hub import MarketData
from server.feeds.model import BookUpdate, FeedState, Quote, Trade
from server.instruments import Instrument


class Market:
    """Publishes an instrument's book, quotes and trades into the hub. Quotes only while the book is LIVE."""

    def __init__(self, instrument: Instrument, hub: MarketData, ccxt_market: dict[str, Any], *, buffers: bool) -> None:
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.ccxt_market = ccxt_market
        self.guard = BookGuard(instrument, buffers=buffers)
        self.book_client: Any = None
        """The ccxt connection its book came over last."""
        self.contradicted_s: float | None = None
        """Loop time since when quotes have told another touch than the book, which did not change meanwhile."""
        self.lost_s: float | None = asyncio.get_running_loop().time()
        """Loop time since when the book has not been LIVE; None while it is."""
        self.live = asyncio.Event()
        """Set while the book is LIVE."""
        self._hub = hub
        self._price = Grid(instrument.tick_size)
        self._qty = Grid(instrument.data_lot_size)
        self._state = self.guard.state
        self._has_quote = False
        self._last_trade_id = ""

    def depth(self, frame: DepthFrame, receive_time_ns: int) -> bool:
        """Take a depth frame. True if the state of the book changed."""
        return self._publish(self.guard.depth(frame, receive_time_ns))

    def snapshot(self, frame: DepthFrame, receive_time_ns: int) -> bool:
        """Take a snapshot that was fetched. True if the state of the book changed."""
        return self._publish(self.guard.snapshot(frame, receive_time_ns))

    def unreadable(self, problem: str, receive_time_ns: int) -> bool:
        """A depth frame cannot be read. True if the state of the book changed."""
        return self._publish(self.guard.unreadable(problem, receive_time_ns))

    def disconnected(self, reason: str, now_ns: int) -> bool:
        """Nothing connects to the book any more. True if its state changed."""
        return self._publish(self.guard.disconnected(reason, now_ns))

    def quote(self, frame: QuoteFrame, receive_time_ns: int) -> None:
        """Raises ValueError if the price or quantity is none of this instrument."""
        if self.guard.state is not FeedState.LIVE:
            return
        price, qty = self._price.units, self._qty.units
        bid, ask = frame.bid, frame.ask
        if (price(bid[0]), price(ask[0])) == self.guard.touch:
            self.contradicted_s = None
        elif self.contradicted_s is None:
            self.contradicted_s = asyncio.get_running_loop().time()
        self._has_quote = True
        self._hub.publish(
            Quote(
                self.instrument,
                price(bid[0]),
                qty(bid[1]),
                price(ask[0]),
                qty(ask[1]),
                frame.venue_time_ns,
                receive_time_ns,
            )
        )

    def withdraw_quote(self, now_ns: int) -> None:
        """Quotes stopped coming: publish that there is none, if there was one."""
        if self._has_quote and self.guard.state is FeedState.LIVE:
            self._hub.publish(Quote(self.instrument, 0, 0, 0, 0, None, now_ns))
        self._has_quote = False

    def trade(self, frame: TradeFrame, receive_time_ns: int) -> None:
        """Raises ValueError if the price or quantity is none of this instrument."""
        if frame.trade_id == self._last_trade_id:  # some venues answer a new subscription with their last trade
            return
        self._last_trade_id = frame.trade_id
        self._hub.publish(
            Trade(
                self.instrument,
                frame.trade_id,
                self._price.units(frame.price),
                self._qty.units(frame.qty),
                frame.aggressor_side,
                frame.venue_time_ns,
                receive_time_ns,
            )
        )

    def _publish(self, update: BookUpdate | None) -> bool:
        if update is None:
            return False
        self.contradicted_s = None
        self._hub.publish(update)
        if update.state is self._state:
            return False
        self._state = update.state
        if update.state is FeedState.LIVE:
            self.live.set()
            self.lost_s = None
        else:
            self.live.clear()
            self.lost_s = self.lost_s or asyncio.get_running_loop().time()
        return True
