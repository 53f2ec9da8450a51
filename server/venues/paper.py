"""Paper trading: orders on instruments of real venues fill against the mirrored market, as docs/orders.md tells.

The engine knows a venue's market only by MIRROR_* commands, which are journaled like all commands. So only what can
change something is sent: the book, when an order for it arrives, when it reaches the price of a resting order, and when
quantity that paper orders took is no longer displayed; and prints at the price of a resting order or through it. A book
whose feed is not LIVE is announced as stale, once, and the engine then refuses orders on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from fastpath.model import Side

from server.engine.blotter import Changes
from server.engine.commands import mirror_picture, mirror_stale, mirror_trade
from server.engine.engine import Engine
from server.engine.events import decode
from server.feeds.hub import MarketData
from server.feeds.model import BookUpdate, FeedState, Level, MarketUpdate, Trade
from server.instruments import Instrument

PICTURE_LEVELS = 50
"""Levels a side of the venue's book that orders can trade with."""
MARK_INTERVAL_S = 0.05
"""How often the market is looked at for resting orders."""
MAX_PENDING_TRADES = 10_000
"""Prints that wait for the engine. Beyond, the oldest are left out: a resting order then fills later than it could."""

_BUY, _SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)

NO_BUY = 0
NO_SELL = MAX_LOTS = 2**63 - 1


class _Shown:
    """What the engine was last shown of a venue's book; nothing: that it is stale."""

    __slots__ = ("levels", "taken", "version")

    def __init__(self, version: tuple[int, int] | None, levels: dict[tuple[int, int], int]) -> None:
        self.version = version
        """Venue sequence and receive time of the picture; None: stale."""
        self.levels = levels
        """Lots displayed by (side, price)."""
        self.taken: dict[tuple[int, int], int] = {}
        """Of them, the levels that paper orders took from. The engine gives such quantity back when it sees it gone."""

    def take(self, order_side: int, price: int) -> None:
        """An order filled at `price`: it took from levels of the other side up to there."""
        for level, lots in self.levels.items():
            if level[0] != order_side and (level[1] <= price if order_side == _BUY else level[1] >= price):
                self.taken[level] = lots

    def replaced_by(self, other: _Shown) -> None:
        """What was taken and is displayed in the new picture counts on, as far as it is displayed."""
        other.taken = {
            level: min(lots, other.levels[level]) for level, lots in self.taken.items() if level in other.levels
        }

    def is_outdated(self, update: BookUpdate) -> bool:
        """Whether less is displayed somewhere than was taken."""
        per_lot = update.instrument.data_lots_per_lot
        now = {
            (side, price): qty // per_lot
            for side, levels in ((_BUY, update.bids), (_SELL, update.asks))
            for price, qty in levels
            if update.is_snapshot or (side, price) in self.taken
        }
        absent = 0 if update.is_snapshot else MAX_LOTS
        return any(now.get(level, absent) < lots for level, lots in self.taken.items())


class PaperVenue:
    """Turns market data into the engine's mirror commands; the runner's MirrorSource. One asyncio thread."""

    def __init__(self, engine: Engine, market: MarketData, wake: Callable[[], None]) -> None:
        """`wake` tells the runner that something is due."""
        self._engine = engine
        self._market = market
        self._wake = wake
        self._limits: dict[int, tuple[int, int]] = {}
        """By instrument with resting orders: highest price of a buy (or NO_BUY), lowest of a sell (or NO_SELL)."""
        self._shown: dict[int, _Shown] = {}
        """By instrument; those that the engine was shown nothing of since the start are missing."""
        self._due: set[int] = set()
        self._trades: deque[bytes] = deque(maxlen=MAX_PENDING_TRADES)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to follow the market, for orders that a recovery brought back as well.

        What the engine was shown before the recovery is old: it is corrected first.
        """
        self._orders_changed(instrument.number for instrument in self._engine.registry.numbered_instruments())
        self._engine.add_listener(self._engine_changed)
        self._market.add_listener(self._market_changed)
        for number in self._limits:
            self._is_due(number)

    def stop(self) -> None:
        """Send nothing any more that was not asked for."""
        self._limits.clear()
        self._trades.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def take(self, instruments: Iterable[int]) -> bytes:
        """Commands that are due, among them what brings the mirrors of `instruments` up to date."""
        trades = b"".join(self._trades)
        self._trades.clear()
        pictures = b"".join([self._picture(number) for number in sorted(self._due.union(instruments))])
        self._due.clear()
        return trades + pictures

    # -- inside --------------------------------------------------------------------------------------------

    def _picture(self, number: int) -> bytes:
        """What the engine has to be shown of an instrument now; nothing if it knows."""
        instrument = self._engine.registry.find_instrument_by_number(number)
        if instrument is None or not instrument.mirrored:
            return b""
        book = self._market.book(instrument.name, PICTURE_LEVELS)
        if book is None or book.state is not FeedState.LIVE or not book.instrument.same_units(instrument):
            return self._stale(number)
        version = book.venue_sequence, book.receive_time_ns
        known = self._shown.get(number)
        if known is not None and known.version == version:
            return b""
        per_lot = instrument.data_lots_per_lot
        bids, asks = _whole_lots(book.bids, per_lot), _whole_lots(book.asks, per_lot)
        levels = {(_BUY, price): lots for price, lots in bids} | {(_SELL, price): lots for price, lots in asks}
        shown = self._shown[number] = _Shown(version, levels)
        if known is not None:
            known.replaced_by(shown)
        return mirror_picture(number, bids, asks)

    def _stale(self, number: int) -> bytes:
        known = self._shown.get(number)
        if known is not None and known.version is None:
            return b""
        self._shown[number] = _Shown(None, {})
        return mirror_stale(number)

    def _engine_changed(self, changes: Changes) -> None:
        for record in changes.fills:
            event = decode(record)
            shown = self._shown.get(event.instrument)
            if shown is not None:
                shown.take(event.side, event.last_price)
        self._orders_changed(changes.instruments)

    def _orders_changed(self, numbers: Iterable[int]) -> None:
        """Called when the exchange is exactly what is durable."""
        engine = self._engine
        for number in numbers:
            if not engine.registry.instrument_by_number(number).mirrored:
                continue
            buys, sells = engine.exchange.depth(number, 1)
            if buys or sells:
                self._limits[number] = buys[0][0] if buys else NO_BUY, sells[0][0] if sells else NO_SELL
            else:
                self._limits.pop(number, None)

    def _market_changed(self, update: MarketUpdate) -> None:
        number = update.instrument.number
        buy, sell = self._limits.get(number, (NO_BUY, NO_SELL))
        if isinstance(update, BookUpdate):
            if number not in self._due and self._is_news(update, buy, sell):
                self._is_due(number)
        elif isinstance(update, Trade):
            if update.price <= buy or update.price >= sell:
                self._printed(update)
        elif _reaches(update.bid_price, update.ask_price, buy, sell):
            self._is_due(number)

    def _is_news(self, update: BookUpdate, buy: int, sell: int) -> bool:
        """Whether a change of a book can change something in the engine."""
        number = update.instrument.number
        shown = self._shown.get(number)
        shown_live = shown is not None and shown.version is not None
        if update.state is not FeedState.LIVE:
            return shown_live
        if shown is not None and shown.taken and shown.is_outdated(update):
            return True
        return number in self._limits and (not shown_live or self._book_reaches(update.instrument, buy, sell))

    def _book_reaches(self, instrument: Instrument, buy: int, sell: int) -> bool:
        top = self._market.book(instrument.name, 1)
        if top is None:
            return False
        return _reaches(top.bids[0][0] if top.bids else 0, top.asks[0][0] if top.asks else 0, buy, sell)

    def _printed(self, trade: Trade) -> None:
        lots = trade.qty // trade.instrument.data_lots_per_lot
        if lots:
            number, side = trade.instrument.number, trade.aggressor_side
            self._trades.append(mirror_trade(instrument=number, aggressor_side=side, price=trade.price, qty=lots))
            self._schedule()

    def _is_due(self, number: int) -> None:
        self._due.add(number)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MARK_INTERVAL_S, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._wake()


def _reaches(bid: int, ask: int, buy: int, sell: int) -> bool:
    """Whether the best prices (0: none) reach a resting order's."""
    return 0 < ask <= buy or bid >= sell


def _whole_lots(levels: tuple[Level, ...], data_lots_per_lot: int) -> tuple[Level, ...]:
    """Levels in lots; a part of a lot cannot be traded."""
    return tuple([(price, lots) for price, qty in levels if (lots := qty // data_lots_per_lot)])
