"""Stream state without I/O: requests to open or resume a stream, and decoding of its messages.

A feed takes the messages of one kind of stream in the order they arrive. It keeps the position to resume from, checks
that nothing is missing, and turns snapshots and changes into plain values. The sync and the async client share it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

from tradewind import convert
from tradewind.errors import TradewindError
from tradewind.models import Balance, Book, Level, MarketData, Order, OrderUpdate, Position, Quote, Trade
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2

Item = TypeVar("Item", covariant=True)
Request = TypeVar("Request", covariant=True)
Message = TypeVar("Message", contravariant=True)


class MessageLost(TradewindError):
    """A message of the stream is missing. The stream is opened again from the last position: users do not see this."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"expected the message after {expected}, got the one after {got}", reason="MESSAGE_LOST")


class Feed(Protocol[Request, Message, Item]):
    """One kind of stream."""

    gaps: int
    """How often the server could not deliver something and sent a fresh snapshot instead."""

    def request(self) -> Request:
        """The request that opens the stream, or continues it where it broke off."""
        ...

    def accept(self, message: Message, /) -> Iterable[Item]:
        """Decode one message into values for the user. Raises MessageLost."""
        ...


def is_only_acks(message: Any) -> bool:
    """Whether a stream message contains only acknowledgements."""
    return all(event.WhichOneof("event") == "ack" for event in message.events)


class _Place:
    """A resume position: the last message up to which the stream is complete."""

    def __init__(self) -> None:
        self._position: common_pb2.StreamPosition | None = None
        self._in_snapshot = False
        self._lost_at = -1

    def reopen(self) -> common_pb2.StreamPosition | None:
        """Where to continue; None to begin with a snapshot."""
        self._in_snapshot = False
        return self._position

    def snapshot(self, epoch: str, sequence: int, is_last: bool) -> bool:
        """Take a part of a snapshot. Returns whether it is the first. The stream cannot be resumed before the last
        part."""
        is_first = not self._in_snapshot
        self._in_snapshot = not is_last
        self._position = common_pb2.StreamPosition(epoch=epoch, sequence=sequence) if is_last else None
        return is_first

    def follow(self, epoch: str, sequence: int, prev_sequence: int) -> None:
        """Move to the next message. Raises MessageLost if it does not follow the last one."""
        last = self._position.sequence if self._position is not None else prev_sequence
        if prev_sequence != last:
            if last == self._lost_at:  # resuming here has failed before: begin again with a snapshot
                self._position = None
            self._lost_at = last
            raise MessageLost(last, prev_sequence)
        self._position = common_pb2.StreamPosition(epoch=epoch, sequence=sequence)


class _BookBuilder:
    """A book made of a snapshot and the levels that change."""

    def __init__(self, depth: int) -> None:
        self._bids = _BookSide(-1, depth)
        self._asks = _BookSide(1, depth)

    def clear(self) -> None:
        self._bids.clear()
        self._asks.clear()

    def apply(self, changes: market_data_pb2.Book) -> Book:
        """Apply levels. Returns the whole book."""
        self._bids.apply(changes.bids)
        self._asks.apply(changes.asks)
        return convert.book(changes, self._bids.levels(), self._asks.levels())


class _BookSide:
    """One side of a book, best price first."""

    def __init__(self, sign: int, depth: int) -> None:
        self._sign = sign
        self._depth = depth
        self._keys: list[Decimal] = []
        self._levels: list[Level] = []

    def clear(self) -> None:
        self._keys.clear()
        self._levels.clear()

    def apply(self, changes: Iterable[market_data_pb2.BookLevel]) -> None:
        for change in changes:
            level = Level(Decimal(change.price), Decimal(change.qty))
            key = level.price * self._sign
            at = bisect_left(self._keys, key)
            known = at < len(self._keys) and self._keys[at] == key
            if not level.qty:
                if known:
                    del self._keys[at], self._levels[at]
            elif known:
                self._levels[at] = level
            else:
                self._keys.insert(at, key)
                self._levels.insert(at, level)
        del self._keys[self._depth :], self._levels[self._depth :]  # a bound, whatever the server sends

    def levels(self) -> tuple[Level, ...]:
        return tuple(self._levels)


M = TypeVar("M", bound=MarketData)


class MarketDataFeed(Generic[M]):
    """Market data of some instruments on one channel: a subscription for each, named as the instrument."""

    def __init__(self, template: market_data_pb2.MarketDataSubscription, instruments: Sequence[str]) -> None:
        if not instruments:
            raise ValueError("name at least one instrument, such as binance:BTC/USDT")
        self.gaps = 0
        self.conflated = 0
        """Updates that were merged into later ones, because this reader or its interval was slower than the market."""
        self._template = template
        self._places = {name: _Place() for name in instruments}

    def request(self) -> market_data_pb2.SubscribeMarketDataRequest:
        request = market_data_pb2.SubscribeMarketDataRequest()
        for name, place in self._places.items():
            added = request.subscriptions.add(subscription_id=name, instrument=name, resume_from=place.reopen())
            added.MergeFrom(self._template)
        return request

    def accept(self, message: market_data_pb2.SubscribeMarketDataResponse, /) -> Iterator[M]:
        for event in message.events:
            value = self._accept(message.stream_epoch, event)
            if value is not None:
                yield value

    def _accept(self, epoch: str, event: market_data_pb2.MarketDataEvent) -> M | None:
        kind = event.WhichOneof("event")
        place = self._places.get(event.subscription_id)
        if place is None:  # heartbeats and notices belong to no subscription
            return None
        if kind == "gap":
            self.gaps += 1
        elif kind == "snapshot":
            is_first = place.snapshot(epoch, event.sequence, event.snapshot.is_last)
            return self._snapshot(event.subscription_id, event.snapshot, is_first)
        elif kind == "update":
            place.follow(epoch, event.sequence, event.prev_sequence)
            self.conflated += event.conflated_count
            return self._update(event.subscription_id, event.update)
        return None

    def _snapshot(self, instrument: str, snapshot: market_data_pb2.MarketDataSnapshot, is_first: bool) -> M | None:
        raise AssertionError("a subclass says what its snapshots mean")

    def _update(self, instrument: str, update: market_data_pb2.MarketDataUpdate) -> M | None:
        raise AssertionError("a subclass says what its updates mean")


def _delivery(interval_ms: int | None) -> market_data_pb2.MarketDataSubscription:
    if interval_ms is None:
        return market_data_pb2.MarketDataSubscription(delivery=market_data_pb2.DELIVERY_LATEST)
    return market_data_pb2.MarketDataSubscription(delivery=market_data_pb2.DELIVERY_INTERVAL, interval_ms=interval_ms)


class QuoteFeed(MarketDataFeed[Quote]):
    """Best bid and ask: the present ones first, then each change, or the newest every `interval_ms`."""

    def __init__(self, instruments: Sequence[str], interval_ms: int | None) -> None:
        template = _delivery(interval_ms)
        template.channel = market_data_pb2.CHANNEL_QUOTE
        super().__init__(template, instruments)

    def _snapshot(self, instrument: str, snapshot: market_data_pb2.MarketDataSnapshot, is_first: bool) -> Quote | None:
        return convert.quote(snapshot.quote) if snapshot.HasField("quote") else None

    def _update(self, instrument: str, update: market_data_pb2.MarketDataUpdate) -> Quote | None:
        return convert.quote(update.quote)


class TradeFeed(MarketDataFeed[Trade]):
    """Every public trade from now on."""

    def __init__(self, instruments: Sequence[str]) -> None:
        template = market_data_pb2.MarketDataSubscription(
            channel=market_data_pb2.CHANNEL_TRADE, delivery=market_data_pb2.DELIVERY_ALL
        )
        super().__init__(template, instruments)

    def _snapshot(self, instrument: str, snapshot: market_data_pb2.MarketDataSnapshot, is_first: bool) -> Trade | None:
        return None  # it happened before the stream began: no news

    def _update(self, instrument: str, update: market_data_pb2.MarketDataUpdate) -> Trade | None:
        return convert.trade(update.trade)


class BookFeed(MarketDataFeed[Book]):
    """Books kept up to date, to `depth` levels a side."""

    def __init__(self, instruments: Sequence[str], depth: int, interval_ms: int | None) -> None:
        template = _delivery(interval_ms)
        template.channel, template.depth = market_data_pb2.CHANNEL_BOOK, depth
        super().__init__(template, instruments)
        self._books = {name: _BookBuilder(depth) for name in instruments}

    def _snapshot(self, instrument: str, snapshot: market_data_pb2.MarketDataSnapshot, is_first: bool) -> Book | None:
        if not snapshot.HasField("book"):
            return None
        builder = self._books[instrument]
        if is_first:
            builder.clear()
        book = builder.apply(snapshot.book)
        return book if snapshot.is_last else None

    def _update(self, instrument: str, update: market_data_pb2.MarketDataUpdate) -> Book | None:
        return self._books[instrument].apply(update.book)


class OrdersFeed:
    """Orders of an account as they change."""

    def __init__(self, account: str) -> None:
        self.gaps = 0
        self.unknown: list[Order] = []
        """Orders that closed in a gap, as last seen. Whoever reads the feed looks them up, and empties this."""
        self._account = account
        self._place = _Place()
        self._open: dict[str, Order] = {}
        self._snapshot: dict[str, Order] = {}

    def request(self) -> orders_pb2.SubscribeOrdersRequest:
        return orders_pb2.SubscribeOrdersRequest(account=self._account, resume_from=self._place.reopen())

    def accept(self, message: orders_pb2.SubscribeOrdersResponse, /) -> Iterator[OrderUpdate]:
        for event in message.events:
            yield from self._accept(message.stream_epoch, event)

    def _accept(self, epoch: str, event: orders_pb2.OrdersEvent) -> Iterator[OrderUpdate]:
        kind = event.WhichOneof("event")
        if kind == "gap":
            self.gaps += 1
        elif kind == "snapshot":
            if self._place.snapshot(epoch, event.sequence, event.snapshot.is_last):
                self._snapshot.clear()
            yield from self._take_snapshot(event.snapshot)
        elif kind == "update":
            self._place.follow(epoch, event.sequence, event.prev_sequence)
            update = event.update
            order = convert.order(update.order)
            self._remember(order)
            yield OrderUpdate(order, convert.fill(update.fill) if update.HasField("fill") else None)

    def _take_snapshot(self, snapshot: orders_pb2.OrdersSnapshot) -> Iterator[OrderUpdate]:
        for wire in snapshot.orders:
            order = convert.order(wire)
            self._snapshot[order.order_id] = order
            yield OrderUpdate(order, is_snapshot=True)
        if snapshot.is_last:
            self.unknown += [order for order_id, order in self._open.items() if order_id not in self._snapshot]
            self._open, self._snapshot = self._snapshot, {}

    def _remember(self, order: Order) -> None:
        if order.is_open:
            self._open[order.order_id] = order
        else:
            self._open.pop(order.order_id, None)


class AccountFeed:
    """Balances and positions of an account: all of them first, then each as it changes."""

    def __init__(self, account: str) -> None:
        self.gaps = 0
        self._account = account
        self._place = _Place()

    def request(self) -> accounts_pb2.SubscribeAccountRequest:
        return accounts_pb2.SubscribeAccountRequest(account=self._account, resume_from=self._place.reopen())

    def accept(self, message: accounts_pb2.SubscribeAccountResponse, /) -> Iterator[Balance | Position]:
        for event in message.events:
            yield from self._accept(message.stream_epoch, event)

    def _accept(self, epoch: str, event: accounts_pb2.AccountEvent) -> Iterator[Balance | Position]:
        kind = event.WhichOneof("event")
        if kind == "gap":
            self.gaps += 1
        elif kind == "snapshot":
            self._place.snapshot(epoch, event.sequence, event.snapshot.is_last)
            yield from map(convert.balance, event.snapshot.balances)
            yield from map(convert.position, event.snapshot.positions)
        elif kind == "update":
            self._place.follow(epoch, event.sequence, event.prev_sequence)
            if event.update.HasField("balance"):
                yield convert.balance(event.update.balance)
            elif event.update.HasField("position"):
                yield convert.position(event.update.position)
