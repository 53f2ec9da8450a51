"""Market data between server processes: one publishes what its venues send, others serve the same streams from the bus.

Updates travel packed (a quote takes 57 bytes). Books are deltas between snapshots: a follower that missed a message says
GAP and is LIVE again with the next snapshot, which comes once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import replace

from server.base.errors import Unavailable
from server.base.instruments import Instrument
from server.market.model import BookUpdate, FeedState, Level, MarketUpdate, Quote, Trade
from server.market.recorder import tick_key
from server.storage.ports import Bus, MarketMessage
from server.storage.tick_tables import instrument_id

SNAPSHOT_S = 1.0
RETRY_S = 1.0

_QUOTE, _TRADE, _BOOK = b"Q", b"T", b"B"
_HEAD = struct.Struct("<cqqq")
"""Kind, instrument id, venue time (0: none), time of receipt."""
_QUOTE_BODY = struct.Struct("<4q")
_TRADE_BODY = struct.Struct("<qqB")
_BOOK_BODY = struct.Struct("<BBqII")
_LEVEL = struct.Struct("<qq")
_TOPICS = {_QUOTE: "quote", _TRADE: "trade", _BOOK: "book"}


class ForeignGrid(ValueError):
    """The message counts other ticks or lots than this process: its integers mean something else."""


def encode(update: MarketUpdate, grid: int) -> bytes:
    """The update as bytes; `grid` is the instrument's id in the tick store, which stands for name, tick and lot."""
    kind = _QUOTE if isinstance(update, Quote) else _TRADE if isinstance(update, Trade) else _BOOK
    head = _HEAD.pack(kind, grid, update.venue_time_ns or 0, update.receive_time_ns)
    if isinstance(update, Quote):
        return head + _QUOTE_BODY.pack(update.bid_price, update.bid_qty, update.ask_price, update.ask_qty)
    if isinstance(update, Trade):
        return head + _TRADE_BODY.pack(update.price, update.qty, update.aggressor_side) + update.trade_id.encode()
    body = _BOOK_BODY.pack(update.is_snapshot, update.state, update.venue_sequence, len(update.bids), len(update.asks))
    return head + body + b"".join(_LEVEL.pack(*level) for side in (update.bids, update.asks) for level in side)


def decode(payload: bytes, instrument: Instrument, grid: int) -> MarketUpdate:
    """The update that was encoded. Raises ForeignGrid, ValueError."""
    try:
        kind, sent_grid, venue_time, receive_time_ns = _HEAD.unpack_from(payload)
        if sent_grid != grid:
            raise ForeignGrid(f"{instrument.name}: the publisher counts other ticks or lots")
        venue_time_ns, at = venue_time or None, _HEAD.size
        if kind == _QUOTE:
            bid_price, bid_qty, ask_price, ask_qty = _QUOTE_BODY.unpack_from(payload, at)
            return Quote(instrument, bid_price, bid_qty, ask_price, ask_qty, venue_time_ns, receive_time_ns)
        if kind == _TRADE:
            price, qty, side = _TRADE_BODY.unpack_from(payload, at)
            trade_id = payload[at + _TRADE_BODY.size :].decode()
            return Trade(instrument, trade_id, price, qty, side, venue_time_ns, receive_time_ns)
        is_snapshot, state, venue_sequence, bids, asks = _BOOK_BODY.unpack_from(payload, at)
        levels: list[Level] = list(_LEVEL.iter_unpack(payload[at + _BOOK_BODY.size :]))
        if kind != _BOOK or len(levels) != bids + asks:
            raise ValueError("not a market data message")
        return BookUpdate(
            instrument, tuple(levels[:bids]), tuple(levels[bids:]), bool(is_snapshot), FeedState(state), venue_sequence,
            venue_time_ns, receive_time_ns,
        )  # fmt: skip
    except struct.error as error:
        raise ValueError("not a market data message") from error


class MarketPublisher:
    """Passes market data on to the bus: `publish` is a listener of the market data hub."""

    def __init__(self, bus: Bus, snapshot: Callable[[str], BookUpdate | None], *, snapshot_s: float = SNAPSHOT_S) -> None:
        """`snapshot` gives the whole book of an instrument, as it is after all that was published."""
        self._bus = bus
        self._snapshot = snapshot
        self._snapshot_s = snapshot_s
        self._grids: dict[str, tuple[Instrument, int]] = {}
        self._books: set[str] = set()

    def publish(self, update: MarketUpdate) -> None:
        if isinstance(update, BookUpdate):
            self._books.add(update.instrument.name)
        self._send(update)

    async def run(self) -> None:
        """Publish snapshots of the books until it is cancelled."""
        while True:
            await asyncio.sleep(self._snapshot_s)
            for name in self._books:
                snapshot = self._snapshot(name)
                if snapshot is not None:
                    self._send(snapshot)

    def _send(self, update: MarketUpdate) -> None:
        payload = encode(update, _grid(self._grids, update.instrument))
        self._bus.publish_market(f"{_TOPICS[payload[:1]]}:{update.instrument.name}", payload)


class MarketFollower:
    """Takes market data from the bus as if its venues were connected here."""

    def __init__(
        self,
        bus: Bus,
        find_instrument: Callable[[str], Instrument | None],
        publish: Callable[[MarketUpdate], None],
        *,
        snapshot_s: float = SNAPSHOT_S,
    ) -> None:
        """`publish` takes each update, for instance the market data hub's. A book that nothing is heard of for five
        snapshots is STALE."""
        self._bus = bus
        self._find_instrument = find_instrument
        self._publish = publish
        self._silence_s = 5 * snapshot_s
        self._grids: dict[str, tuple[Instrument, int]] = {}
        self._sequences: dict[str, int] = {}
        self._following: dict[str, BookUpdate] = {}
        """The last update of each book that is contiguous since its last snapshot."""
        self._heard: dict[str, float] = {}
        self.messages_lost = 0
        self.messages_refused = 0
        """Of unknown instruments, of another grid, or not understood."""

    async def run(self, patterns: tuple[str, ...] = ("quote:*", "trade:*", "book:*")) -> None:
        """Follow until it is cancelled or the bus is closed."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            while True:
                with contextlib.suppress(Unavailable):
                    messages = await self._bus.subscribe(patterns)
                    break
                await asyncio.sleep(RETRY_S)
            async with contextlib.aclosing(messages):
                async for message in messages:
                    self._take(message)
            watching.cancel()

    def _take(self, message: MarketMessage) -> None:
        instrument = self._find_instrument(message.topic.partition(":")[2])
        try:
            if instrument is None:
                raise ValueError("unknown instrument")
            update = decode(message.payload, instrument, _grid(self._grids, instrument))
        except ValueError:
            self.messages_refused += 1
            return
        before = self._sequences.get(message.topic)
        self._sequences[message.topic] = message.sequence
        lost = message.sequence - before - 1 if before is not None else 0
        self.messages_lost += lost
        if isinstance(update, BookUpdate):
            self._take_book(update, contiguous=not lost)
        else:
            self._publish(update)

    def _take_book(self, update: BookUpdate, *, contiguous: bool) -> None:
        name = update.instrument.name
        self._heard[name] = asyncio.get_running_loop().time()
        last = self._following.get(name)
        if last is not None and last.instrument.number != update.instrument.number:  # its tick or lot changed
            self._withdraw(name, FeedState.GAP)
            last = None
        if update.is_snapshot:
            self._following[name] = update
            # A snapshot of what is known anyway would only restart all subscribers.
            if last is None or not contiguous or update.state is not last.state:
                self._publish(update)
        elif last is not None and contiguous:
            self._following[name] = update
            self._publish(update)
        elif last is not None:
            self._withdraw(name, FeedState.GAP)

    async def _watch(self) -> None:
        """Books of a publisher that fell silent are no prices."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._silence_s / 5)
            for name in list(self._following):
                if loop.time() - self._heard[name] > self._silence_s:
                    self._withdraw(name, FeedState.STALE)

    def _withdraw(self, name: str, state: FeedState) -> None:
        last = self._following.pop(name)
        self._publish(replace(last, bids=(), asks=(), is_snapshot=False, state=state))


def _grid(known: dict[str, tuple[Instrument, int]], instrument: Instrument) -> int:
    """The instrument's id in the tick store, remembered."""
    found = known.get(instrument.name)
    if found is None or found[0] != instrument:
        found = known[instrument.name] = (instrument, instrument_id(tick_key(instrument)))
    return found[1]
