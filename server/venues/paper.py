"""Paper trading: orders on instruments of real venues fill against the mirrored market, as docs/orders.md tells.

The engine knows a venue's market only by MIRROR_* commands, which are journaled like all commands. So only what can
change something is sent: the book and the last price, when an order for it arrives; the book, when it reaches a resting
order's price or a trigger, and when quantity that paper orders took is no longer displayed; prints that reach a resting
order or a trigger; cancellations where orders rest. A book whose feed is not LIVE is announced as stale, once, and
the engine then refuses orders on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from fastpath.model import PaperModel, Side
from server.engine.blotter import Changes
from server.engine.commands import mirror_canceled, mirror_picture, mirror_stale, mirror_trade
from server.engine.engine import Engine
from server.feeds.model import BookUpdate, FeedState, Level, MarketUpdate, Quote, Trade
from server.venues.late_market import LateMarket
from server.venues.queue_watch import Place, QueueWatch

PICTURE_LEVELS = 50
"""Levels a side of the venue's book that orders can trade with."""
WATCHED_LEVELS = 20
"""Levels a side, the best with paper orders, where cancellations at the venue are looked for."""
MARK_INTERVAL_S = 0.05
"""How often the market is looked at for resting orders."""
MAX_PENDING_TRADES = 10_000
"""Prints that wait for the engine. Beyond, the oldest are left out: a resting order then fills later than it could."""

_BUY, _SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)

MAX_QTY = 2**63 - 1


class _Range(NamedTuple):
    """Prices that can change an order: `low` and below, `high` and above."""

    low: int
    high: int

    def reached(self, price: int) -> bool:
        return price <= self.low or price >= self.high


QUEUING = frozenset({int(PaperModel.PAPER_MODEL_UNSPECIFIED), int(PaperModel.PAPER_MODEL_QUEUE)})
"""The models in which an order has a place in a queue."""

NOTHING = _Range(-(2**63), 2**63 - 1)


class _Interest(NamedTuple):
    """What of an instrument's market can change its orders."""

    resting: _Range
    """`low` is the highest resting buy, `high` the lowest resting sell."""
    last: _Range
    bid: _Range
    ask: _Range
    middle: _Range
    """These four as triggers watch them."""

    def in_top(self, bid: int, ask: int) -> bool:
        """Whether best prices (0: none) reach a resting order."""
        return 0 < ask <= self.resting.low or bid >= self.resting.high

    def in_triggers(self, bid: int, ask: int) -> bool:
        """Whether best prices (0: none) reach a trigger."""
        return (
            (bid > 0 and self.bid.reached(bid))
            or (ask > 0 and self.ask.reached(ask))
            or (bid > 0 and ask > 0 and self.middle.reached((bid + ask) // 2))
        )


NO_INTEREST = _Interest(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)


class _Shown:
    """What the engine was last shown of a venue's book; nothing: that it is stale."""

    __slots__ = ("taken", "top", "version")

    def __init__(self, version: tuple[int, int] | None, top: tuple[int, int], taken: dict[Place, int]) -> None:
        self.version = version
        """Venue sequence and receive time of the picture; None: stale."""
        self.top = top
        """Best bid and ask, 0 for none."""
        self.taken = taken
        """Lots that paper orders took, by level. The engine gives such quantity back when it sees it gone."""

    def is_outdated(self, update: BookUpdate) -> bool:
        """Whether less is displayed somewhere than was taken."""
        per_lot = update.instrument.data_lots_per_lot
        now = {
            (side, price): qty // per_lot
            for side, levels in ((_BUY, update.bids), (_SELL, update.asks))
            for price, qty in levels
            if update.is_snapshot or (side, price) in self.taken
        }
        absent = 0 if update.is_snapshot else MAX_QTY
        return any(now.get(level, absent) < lots for level, lots in self.taken.items())


class PaperVenue:
    """Turns market data into the engine's mirror commands; the runner's MirrorSource. One asyncio thread."""

    def __init__(self, engine: Engine, market: LateMarket, wake: Callable[[], None]) -> None:
        """`wake` tells the runner that something is due."""
        self._engine = engine
        self._market = market
        self._wake = wake
        self._interest: dict[int, _Interest] = {}
        """By instrument with open orders."""
        self._shown: dict[int, _Shown] = {}
        """By instrument; those that the engine was shown nothing of since the start are missing."""
        self._last_price: dict[int, int] = {}
        """By instrument: what the engine was last told, since its book is LIVE."""
        self._due: set[int] = set()
        self._queues: dict[int, QueueWatch] = {}
        """By instrument in which orders have a place in a queue."""
        self._canceled: list[bytes] = []
        self._trades: deque[bytes] = deque(maxlen=MAX_PENDING_TRADES)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to follow the market, for orders that a recovery brought back as well.

        What the engine was shown before the recovery is old: it is corrected first.
        """
        self._orders_changed(instrument.number for instrument in self._engine.registry.numbered_instruments())
        self._engine.add_listener(self._engine_changed)
        self._market.add_listener(self._market_changed)
        for number in self._interest:
            self._is_due(number)

    def stop(self) -> None:
        """Send nothing any more that was not asked for."""
        self._interest.clear()
        self._queues.clear()
        self._trades.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def take(self, entered: Mapping[int, bool]) -> bytes:
        """Commands that are due, and what brings the mirrors of `entered` up to date. See runner.MirrorSource.

        Books come first: an order that a print triggers trades with the book as it is now.
        """
        books = self._due.union(entered)
        if 0 in books:
            books |= self._interest.keys()
        prices = [number for number in sorted(books) if entered.get(number) or self._watches_last(number)]
        pictures = [self._picture(number) for number in sorted(books)]
        commands = [*pictures, *self._trades, *self._canceled, *map(self._newest_price, prices)]
        self._trades.clear()
        self._canceled.clear()
        self._due.clear()
        return b"".join(commands)

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
        displayed = {(_BUY, price): lots for price, lots in bids} | {(_SELL, price): lots for price, lots in asks}
        taken = {place: min(lots, displayed.get(place, 0)) for place, lots in self._taken(number).items()}
        self._shown[number] = _Shown(version, _top(book), {place: lots for place, lots in taken.items() if lots})
        return mirror_picture(number, bids, asks)

    def _taken(self, number: int) -> dict[Place, int]:
        return {(side, price): lots for side, price, lots in self._engine.exchange.taken(number)}

    def _stale(self, number: int) -> bytes:
        known = self._shown.get(number)
        if known is not None and known.version is None:
            return b""
        self._shown[number] = _Shown(None, (0, 0), {})
        self._last_price.pop(number, None)
        return mirror_stale(number)

    def _watches_last(self, number: int) -> bool:
        return self._interest.get(number, NO_INTEREST).last != NOTHING

    def _newest_price(self, number: int) -> bytes:
        """The last price, for triggers; nothing if the engine knows it, or would not trust it."""
        shown = self._shown.get(number)
        if shown is None or shown.version is None:
            return b""
        newest = self._market.trades(self._engine.registry.instrument_by_number(number).name, 1)
        if not newest or newest[0].price == self._last_price.get(number):
            return b""
        self._last_price[number] = newest[0].price
        return mirror_trade(
            instrument=number, aggressor_side=newest[0].aggressor_side, price=newest[0].price, qty=0
        )

    def _engine_changed(self, changes: Changes) -> None:
        for number in changes.instruments & self._shown.keys():
            self._shown[number].taken = self._taken(number)
        self._orders_changed(changes.instruments)

    def _orders_changed(self, numbers: Iterable[int]) -> None:
        """Called when the exchange is exactly what is durable."""
        engine = self._engine
        for number in numbers:
            if not engine.registry.instrument_by_number(number).mirrored:
                continue
            buys, sells = engine.exchange.depth(number, WATCHED_LEVELS)
            self._watch_queues(number, {(_BUY, price) for price, *_ in buys} | {(_SELL, price) for price, *_ in sells})
            resting = _Range(buys[0][0] if buys else NOTHING.low, sells[0][0] if sells else NOTHING.high)
            last, bid, ask, middle, _mark, _index = (_Range(*each) for each in engine.exchange.watched(number))
            interest = _Interest(resting, last, bid, ask, middle)
            if interest == NO_INTEREST:
                self._interest.pop(number, None)
            else:
                self._interest[number] = interest

    def _watch_queues(self, number: int, places: set[Place]) -> None:
        instrument = self._engine.registry.instrument_by_number(number)
        if not places or instrument.paper_model not in QUEUING:
            self._queues.pop(number, None)
            return
        book = self._market.book(instrument.name, PICTURE_LEVELS)
        live = book is not None and book.state is FeedState.LIVE
        self._queues.setdefault(number, QueueWatch()).watch(places, book if live else None)

    def _queue_changed(self, queue: QueueWatch, update: BookUpdate | Trade) -> None:
        if isinstance(update, Trade):
            queue.trade(update)
        else:
            queue.book(update)
        if queue.unsettled:
            self._schedule()

    def _market_changed(self, update: MarketUpdate) -> None:
        number = update.instrument.number
        interest = self._interest.get(number, NO_INTEREST)
        queue = self._queues.get(number)
        if queue is not None and not isinstance(update, Quote):
            self._queue_changed(queue, update)
        if isinstance(update, BookUpdate):
            if number not in self._due and self._is_news(update, interest):
                self._is_due(number)
        elif isinstance(update, Trade):
            self._printed(update, interest)
        elif interest.in_top(update.bid_price, update.ask_price):
            self._is_due(number)

    def _is_news(self, update: BookUpdate, interest: _Interest) -> bool:
        """Whether a change of a book can change something in the engine."""
        number = update.instrument.number
        shown = self._shown.get(number)
        shown_live = shown is not None and shown.version is not None
        if update.state is not FeedState.LIVE:
            return shown_live
        if shown is not None and shown.taken and shown.is_outdated(update):
            return True
        if interest is NO_INTEREST:
            return False
        if shown is None or not shown_live:
            return True
        book = self._market.book(update.instrument.name, 1)
        top = _top(book) if book is not None else (0, 0)
        return interest.in_top(*top) or (top != shown.top and interest.in_triggers(*top))

    def _printed(self, trade: Trade, interest: _Interest) -> None:
        number, lots = trade.instrument.number, trade.qty // trade.instrument.data_lots_per_lot
        fills = lots > 0 and interest.resting.reached(trade.price)
        triggers = interest.last.reached(trade.price) and trade.price != self._last_price.get(number)
        if fills or triggers:
            self._last_price[number] = trade.price
            self._trades.append(
                mirror_trade(
                    instrument=number,
                    aggressor_side=trade.aggressor_side,
                    price=trade.price,
                    qty=lots if fills else 0,
                )
            )
            self._schedule()
        if triggers:
            self._is_due(number)

    def _is_due(self, number: int) -> None:
        self._due.add(number)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MARK_INTERVAL_S, self._fire)

    def _fire(self) -> None:
        self._timer = None
        for number, queue in self._queues.items():
            self._canceled += [
                mirror_canceled(instrument=number, side=side, price=price, qty=qty, displayed=displayed)
                for side, price, qty, displayed in queue.tick()
                if displayed <= MAX_QTY
            ]
        if any(queue.unsettled for queue in self._queues.values()):
            self._schedule()
        self._wake()


def _top(book: BookUpdate) -> tuple[int, int]:
    """Best bid and ask, 0 for none."""
    return book.bids[0][0] if book.bids else 0, book.asks[0][0] if book.asks else 0


def _whole_lots(levels: tuple[Level, ...], data_lots_per_lot: int) -> tuple[Level, ...]:
    """Levels in lots; a part of a lot cannot be traded."""
    return tuple([(price, lots) for price, qty in levels if (lots := qty // data_lots_per_lot)])
