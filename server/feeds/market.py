"""One watched market of a venue: frames in, normalized updates out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from server.base.instruments import Instrument
from server.feeds.best_prices import BestPrices, Moment, Top
from server.feeds.frames import DepthFrame, QuoteFrame, TradeFrame
from server.feeds.grid import Grid
from server.feeds.guard import BookGuard
from server.feeds.seen_trades import SeenTrades
from server.market.hub import MarketData
from server.market.model import BookUpdate, FeedState, Quote, Trade

_log = logging.getLogger(__name__)


class Market:
    """Publishes an instrument's book, quotes and trades into the hub. Quotes only while the book is LIVE."""

    def __init__(
        self,
        instrument: Instrument,
        hub: MarketData,
        ccxt_market: dict[str, Any],
        make_guard: Callable[[Instrument], BookGuard],
    ) -> None:
        """`make_guard` is called again when the tick or lot has changed."""
        self.symbol = instrument.symbol
        self.ccxt_market = ccxt_market
        self._make_guard = make_guard
        self._set_grid(instrument)
        self.book_client: Any = None
        """The ccxt connection its book came over last."""
        self.lost_s: float | None = asyncio.get_running_loop().time()
        """Loop time since when the book has not been LIVE; None while it is."""
        self.live = asyncio.Event()
        """Set while the book is LIVE."""
        self.snapshot_came = asyncio.Event()
        """Set when the stream sends a snapshot, of whatever kind; cleared by who waits for the next."""
        self._hub = hub
        self.trades = SeenTrades()

    def _set_grid(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.guard = self._make_guard(instrument)
        self._price = Grid(instrument.tick_size)
        self._qty = Grid(instrument.data_lot_size)
        self._state = self.guard.state
        self.best = BestPrices()

    def change(self, instrument: Instrument, ccxt_market: dict[str, Any], now_ns: int) -> None:
        """The venue has other rules for it now. With another tick or lot the book begins anew, and needs a snapshot."""
        self.ccxt_market = ccxt_market
        if instrument.number == self.instrument.number:
            self.instrument = instrument
            return
        gaps = self.guard.gaps
        self._set_grid(instrument)
        self.guard.gaps = gaps
        self.disconnected("its tick or lot has changed", now_ns)

    def depth(self, frame: DepthFrame, receive_time_ns: int) -> bool:
        """Take a depth frame. True if the state of the book changed."""
        if frame.is_snapshot:
            self.snapshot_came.set()
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
        """Raises ValueError if the price or quantity is none of this instrument, or the quote is crossed."""
        if self.guard.state is not FeedState.LIVE:
            return
        price, qty = self._price.units, self._qty.units
        bid, ask = (price(frame.bid[0]), qty(frame.bid[1])), (price(frame.ask[0]), qty(frame.ask[1]))
        if (not bid[0]) != (not bid[1]) or (not ask[0]) != (not ask[1]):
            raise ValueError(f"a quote has a price without a quantity, or the reverse: {frame.bid} {frame.ask}"[:200])
        if bid[0] and ask[0] and bid[0] >= ask[0]:
            raise ValueError(f"a quote is crossed: bid {frame.bid[0]}, ask {frame.ask[0]}")
        moment = Moment(frame.sequence, frame.venue_time_ns, receive_time_ns)
        if self.best.quoted((bid, ask), moment, asyncio.get_running_loop().time()):
            self._publish_quote((bid, ask), frame.venue_time_ns, receive_time_ns)

    def quotes_lost(self, now_ns: int) -> None:
        """Quotes stopped coming: the best prices of the book are the quote until they come again."""
        if self.guard.state is FeedState.LIVE and self.best.quotes_lost():
            self._publish_quote(self.best.published, None, now_ns)

    def quote_ahead_s(self, now_s: float) -> float:
        """Seconds for which the book has been behind a newer quote."""
        since_s = self.best.ahead_since_s
        return now_s - since_s if since_s is not None else 0.0

    def trade(self, frame: TradeFrame, receive_time_ns: int) -> None:
        """Raises ValueError if the price or quantity is none of this instrument."""
        if not self.trades.add(frame) or not frame.public:
            return
        price, qty = self._price.units(frame.price), self._qty.units(frame.qty)
        if not price or not qty:
            raise ValueError(f"a trade has no price or no quantity: {frame.price} {frame.qty}")
        self._hub.publish(
            Trade(
                self.instrument,
                frame.trade_id,
                price,
                qty,
                frame.aggressor_side,
                frame.venue_time_ns,
                receive_time_ns,
            )
        )

    def log_state(self) -> None:
        """Tell how far its book can be trusted now."""
        level = logging.INFO if self.guard.state is FeedState.LIVE else logging.WARNING
        reason = f": {self.guard.reason}" if self.guard.reason else ""
        _log.log(level, "%s is %s%s", self.instrument.name, self.guard.state.name, reason)

    def _publish(self, update: BookUpdate | None) -> bool:
        if update is None:
            return False
        self._hub.publish(update)
        changed = update.state is not self._state
        self._state = update.state
        if update.state is FeedState.LIVE:
            self._take_best(update, became_live=changed)
            self.live.set()
            self.lost_s = None
        else:
            self.live.clear()
            self.lost_s = self.lost_s or asyncio.get_running_loop().time()
        return changed

    def _take_best(self, update: BookUpdate, *, became_live: bool) -> None:
        top = self.guard.best
        moment = Moment(update.venue_sequence, update.venue_time_ns, update.receive_time_ns)
        if became_live:  # the hub made a quote of it
            self.best.start(top, moment)
        elif self.best.book_changed(top, moment, asyncio.get_running_loop().time()):
            self._publish_quote(top, update.venue_time_ns, update.receive_time_ns)

    def _publish_quote(self, top: Top, venue_time_ns: int | None, receive_time_ns: int) -> None:
        self._hub.publish(Quote(self.instrument, *top[0], *top[1], venue_time_ns, receive_time_ns))
