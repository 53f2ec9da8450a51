"""Paper trading: orders on instruments of real venues fill against the mirrored market, as docs/orders.md tells.

The engine knows a venue's market only by MIRROR_* commands, which are journaled like all commands. So only what can
change something is sent: the book and the last price, when an order for it arrives; the book, when it reaches a resting
order's price or a trigger, and when quantity that paper orders took is no longer displayed; prints that reach a resting
order or a trigger; cancellations where orders rest. A book whose feed is not LIVE is announced as stale, once, and
the engine then refuses orders on it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from fastpath.model.enums import PaperModel, Side
from server.base.clock import Clock, Timer
from server.base.instruments import Instrument
from server.engine.engine import Engine
from server.engine.projection import Changes
from server.market.model import BookUpdate, FeedState, Level, MarketUpdate, Quote, Trade
from server.records.commands import mirror_canceled, mirror_snapshot, mirror_stale, mirror_trade
from server.venues.interest import NO_INTEREST, NOTHING, Interest, Range, Touches, best_prices
from server.venues.late_market import LateMarket
from server.venues.queue_watch import Place, QueueWatch

SNAPSHOT_LEVELS = 50
"""Levels a side of the venue's book that orders can trade with."""
WATCHED_LEVELS = 20
"""Levels a side, the best with paper orders, where cancellations at the venue are looked for."""
MARK_INTERVAL_NS = 50_000_000
"""How often the engine is told of the market for orders that wait."""
MAX_PENDING_TRADES = 10_000
"""Prints that wait for the engine. Beyond, the oldest are left out: a resting order then fills later than it could."""

_BUY, _SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)

MAX_QTY = 2**63 - 1

_log = logging.getLogger(__name__)


QUEUING = frozenset({int(PaperModel.PAPER_MODEL_UNSPECIFIED), int(PaperModel.PAPER_MODEL_QUEUE)})
"""The models in which an order has a place in a queue."""


class _Shown:
    """The last book snapshot sent to the engine; empty if the book was announced as stale."""

    __slots__ = ("taken", "top", "version")

    def __init__(self, version: tuple[int, int] | None, top: tuple[int, int], taken: dict[Place, int]) -> None:
        self.version = version
        """Venue sequence and receive time of the snapshot; None: stale."""
        self.top = top
        """Best bid and ask, 0 for none."""
        self.taken = taken
        """Lots that paper orders took, by level. The engine gives such quantity back when it sees it gone."""

    @property
    def live(self) -> bool:
        return self.version is not None

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
    """Turns market data into the engine's mirror commands, a CommandSource of the runner. One asyncio thread."""

    def __init__(self, engine: Engine, market: LateMarket, wake: Callable[[], None], clock: Clock) -> None:
        """`wake` tells the runner that something is due."""
        self._engine = engine
        self._market = market
        self._wake = wake
        self._clock = clock
        self._interest: dict[int, Interest] = {}
        """By instrument with open orders."""
        self._shown: dict[int, _Shown] = {}
        """By instrument; those that the engine was shown nothing of since the start are missing."""
        self._last_price: dict[int, int] = {}
        """By instrument: what the engine was last told, since its book is LIVE."""
        self._due: set[int] = set()
        self._touches: dict[int, Touches] = {}
        """By instrument that is due."""
        self._failed: set[int] = set()
        """Instruments whose commands could not be made; told once."""
        self._queues: dict[int, QueueWatch] = {}
        """By instrument in which orders have a place in a queue."""
        self._canceled: list[bytes] = []
        self._trades: deque[bytes] = deque(maxlen=MAX_PENDING_TRADES)
        self._timer: Timer | None = None

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
        """Stop sending unsolicited commands."""
        self._interest.clear()
        self._queues.clear()
        self._trades.clear()
        self._due.clear()
        self._touches.clear()
        if self._timer is not None:
            self._timer.cancel()

    def take(self, entered: Mapping[int, bool]) -> bytes:
        """Commands that are due, and what brings the mirrors of `entered` up to date. See CommandSource.

        Books come first, as they were one after the other: an order that a print triggers trades with the book as it is now.
        """
        books = self._due.union(entered)
        if 0 in books:
            books |= self._interest.keys()
        prices = [number for number in sorted(books) if entered.get(number) or self._has_last_triggers(number)]
        snapshots = [self._guarded(self._snapshot, number) for number in sorted(books)]
        newest = [self._guarded(self._newest_price, number) for number in prices]
        commands = [*snapshots, *self._trades, *self._canceled, *newest]
        self._trades.clear()
        self._canceled.clear()
        self._due.clear()
        self._touches.clear()
        return b"".join(commands)

    def withdraw(self) -> bytes:
        """The books of all venues are stale until they can be taken again. See CommandSource."""
        self._last_price.clear()
        for number in self._shown:
            self._shown[number] = _Shown(None, (0, 0), {})
        for number in self._interest:
            self._is_due(number)
        instruments = self._engine.registry.numbered_instruments()
        return b"".join(mirror_stale(each.number) for each in instruments if each.mirrored)

    # -- inside --------------------------------------------------------------------------------------------

    def _guarded(self, make: Callable[[int], bytes], number: int) -> bytes:
        """Commands about one instrument; if they cannot be made its book is stale, and no other."""
        try:
            commands = make(number)
        except Exception:
            if number not in self._failed:
                self._failed.add(number)
                _log.exception("%s: its market cannot be told to the engine", self._name(number))
            return self._stale(number)
        return commands

    def _name(self, number: int) -> str:
        instrument = self._engine.registry.find_instrument_by_number(number)
        return instrument.name if instrument is not None else f"instrument {number}"

    def _snapshot(self, number: int) -> bytes:
        """Mirror commands of an instrument: the snapshots that touched orders, then the current one; empty if nothing
        changed."""
        instrument = self._engine.registry.find_instrument_by_number(number)
        if instrument is None or not instrument.mirrored:
            return b""
        touches = self._touches.get(number)
        seen = touches.snapshots if touches is not None else []
        commands = [self._show(instrument, each) for each in seen if each.instrument.same_units(instrument)]
        book = self._market.book(instrument.name, SNAPSHOT_LEVELS)
        if book is None or book.state is not FeedState.LIVE or not book.instrument.same_units(instrument):
            commands.append(self._stale(number))
        else:
            commands.append(self._show(instrument, book))
        return b"".join(commands)

    def _show(self, instrument: Instrument, book: BookUpdate) -> bytes:
        number = instrument.number
        version = book.venue_sequence, book.receive_time_ns
        known = self._shown.get(number)
        if known is not None and known.version == version:
            return b""
        per_lot = instrument.data_lots_per_lot
        bids, asks = _whole_lots(book.bids, per_lot), _whole_lots(book.asks, per_lot)
        displayed = {(_BUY, price): lots for price, lots in bids} | {(_SELL, price): lots for price, lots in asks}
        taken = {place: min(lots, displayed.get(place, 0)) for place, lots in self._taken(number).items()}
        self._shown[number] = _Shown(version, best_prices(book), {place: lots for place, lots in taken.items() if lots})
        return mirror_snapshot(number, bids, asks)

    def _taken(self, number: int) -> dict[Place, int]:
        return {(side, price): lots for side, price, lots in self._engine.exchange.taken(number)}

    def _stale(self, number: int) -> bytes:
        known = self._shown.get(number)
        if known is not None and not known.live:
            return b""
        self._shown[number] = _Shown(None, (0, 0), {})
        self._last_price.pop(number, None)
        return mirror_stale(number)

    def _has_last_triggers(self, number: int) -> bool:
        return self._interest.get(number, NO_INTEREST).last != NOTHING

    def _newest_price(self, number: int) -> bytes:
        """The last price, for triggers; nothing if the engine knows it, or would not trust it."""
        shown = self._shown.get(number)
        if shown is None or not shown.live:
            return b""
        newest = self._market.trades(self._engine.registry.instrument_by_number(number).name, 1)
        if not newest or newest[0].instrument.number != number or newest[0].price == self._last_price.get(number):
            return b""
        self._last_price[number] = newest[0].price
        return mirror_trade(instrument=number, aggressor_side=newest[0].aggressor_side, price=newest[0].price, qty=0)

    def _engine_changed(self, changes: Changes) -> None:
        for number in changes.instruments & self._shown.keys():
            self._shown[number].taken = self._taken(number)
        self._orders_changed(changes.instruments)

    def _orders_changed(self, numbers: Iterable[int]) -> None:
        """Called when the exchange is exactly what is durable."""
        for number in numbers:
            if self._engine.registry.instrument_by_number(number).mirrored:
                self._follow(number)

    def _follow(self, number: int) -> None:
        """Look for what can change the orders of an instrument from now on."""
        engine = self._engine
        buys, sells = engine.exchange.depth(number, WATCHED_LEVELS)
        self._watch_queues(number, {(_BUY, price) for price, *_ in buys} | {(_SELL, price) for price, *_ in sells})
        resting = Range(buys[0][0] if buys else NOTHING.low, sells[0][0] if sells else NOTHING.high)
        last, bid, ask, middle, _mark, _index = (Range(*each) for each in engine.exchange.watched(number))
        interest = Interest(resting, last, bid, ask, middle)
        if interest == NO_INTEREST:
            self._interest.pop(number, None)
        else:
            self._interest[number] = interest

    def _watch_queues(self, number: int, places: set[Place]) -> None:
        instrument = self._engine.registry.instrument_by_number(number)
        if not places or instrument.paper_model not in QUEUING:
            self._queues.pop(number, None)
            return
        book = self._market.book(instrument.name, SNAPSHOT_LEVELS)
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
            self._book_changed(update, interest)
        elif isinstance(update, Trade):
            self._printed(update, interest)
        elif interest.in_top(update.bid_price, update.ask_price):
            self._is_due(number)

    def _book_changed(self, update: BookUpdate, interest: Interest) -> None:
        number = update.instrument.number
        if update.state is FeedState.LIVE and interest is not NO_INTEREST:
            self._look(number, update.instrument.name, interest)
        if number not in self._due and self._is_relevant(update, interest):
            self._is_due(number)

    def _look(self, number: int, name: str, interest: Interest) -> None:
        """Keep the book as it is now if its best prices reach an order."""
        book = self._market.book(name, 1)
        if book is None:
            return
        top, shown = best_prices(book), self._shown.get(number)
        known = shown.top if shown is not None and shown.live else None
        touches = self._touches.get(number)
        if touches is None and not interest.in_top(*top) and (top == known or not interest.in_triggers(*top)):
            return
        snapshot = self._market.book(name, SNAPSHOT_LEVELS)
        if snapshot is not None:
            if touches is None:
                touches = self._touches[number] = Touches(known)
            touches.add(snapshot)
            self._is_due(number)

    def _is_relevant(self, update: BookUpdate, interest: Interest) -> bool:
        """Whether a change of a book, whatever its best prices, can change something in the engine."""
        shown = self._shown.get(update.instrument.number)
        shown_live = shown is not None and shown.live
        if update.state is not FeedState.LIVE:
            return shown_live
        if shown is not None and shown.taken and shown.is_outdated(update):
            return True
        return interest is not NO_INTEREST and not shown_live

    def _printed(self, trade: Trade, interest: Interest) -> None:
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
            self._timer = self._clock.call_at(self._clock.now_ns() + MARK_INTERVAL_NS, self._fire)

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


def _whole_lots(levels: tuple[Level, ...], data_lots_per_lot: int) -> tuple[Level, ...]:
    """Levels in lots; a part of a lot cannot be traded."""
    return tuple([(price, lots) for price, qty in levels if (lots := qty // data_lots_per_lot)])
