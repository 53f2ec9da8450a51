"""Feeds end to end: real ccxt.pro and sockets, the replay exchange. Delivered is what was recorded, whatever fails."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from server.base.clock import SystemClock
from server.base.errors import ConfigError, Unavailable
from server.base.instruments import Instrument
from server.feeds.comparison import Fault
from server.feeds.venue import VenueFeed
from server.feeds.venue_config import VenueConfig, VenueStatus
from server.market.hub import MarketData
from server.market.metrics import FeedMetrics
from server.market.model import BookUpdate, FeedState, MarketUpdate, Trade
from server.market.subscription import Channel, Delivery, Subscription, Update
from server.replay import Pace, ReplayConfig, ReplayExchange, redirect
from tests.simulation import replay_truth as truth
from tests.support import feeds_recorded as recorded_messages
from tests.support.feeds import NaiveBook
from tests.support.feeds_recorded import BookSnapshot, Recording, exact
from tests.waiting import until

SYMBOLS = {
    "binance": ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"),
    "okx": ("BTC/USDT", "UNI/USD:UNI", "BTC/USD:BTC-220527"),
    "bybit": ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT"),
}
CHANNELS = 3
FAULTS = ("lose some", "books fall silent", "disconnect", "stall")
DEPTH = {"binance": 100, "okx": 400, "bybit": 200}


@functools.cache
def recorded(name: str) -> truth.Truth:
    """By instrument name."""
    return truth.of_instrument(name)


def recorded_trades(name: str) -> list[tuple[str, str, str, int]]:
    """(id, price, quantity, aggressor side) as the venue wrote them, canonical."""
    return truth.trades_of(name, recorded(name))


@dataclass
class Watch:
    """Everything that one venue's feed published, as a listener saw it."""

    exchange: ReplayExchange
    feed: VenueFeed
    hub: MarketData
    instruments: list[Instrument]
    registry: CollectorRegistry
    trades: dict[str, list[Trade]] = field(default_factory=dict)
    books: dict[str, NaiveBook] = field(default_factory=dict)
    states: list[tuple[str, FeedState]] = field(default_factory=list)
    statuses: list[VenueStatus] = field(default_factory=list)
    lost_at: dict[str, float] = field(default_factory=dict)
    longest_s: float = 0.0
    """The longest time that a book was not LIVE."""

    def see(self, update: MarketUpdate) -> None:
        name = update.instrument.name
        if isinstance(update, Trade):
            self.trades.setdefault(name, []).append(update)
        elif isinstance(update, BookUpdate):
            book = self.books.setdefault(name, NaiveBook())
            if update.state is not book.state:
                self.states.append((name, update.state))
                now = asyncio.get_running_loop().time()
                if update.state is FeedState.LIVE:
                    self.longest_s = max(self.longest_s, now - self.lost_at.pop(name, now))
                else:
                    self.lost_at.setdefault(name, now)
            book.apply(update)

    @property
    def live(self) -> bool:
        return all(self.hub.state(i.name) is FeedState.LIVE for i in self.instruments)

    def lost(self) -> set[str]:
        """Why books had to be taken anew."""
        samples = [each for metric in self.registry.collect() for each in metric.samples]
        return {each.labels["reason"] for each in samples if each.name == "tradewind_feed_books_lost_total"}

    def served(self, instrument: Instrument, depth: int) -> BookSnapshot:
        book = self.hub.book(instrument.name, depth)
        assert book is not None
        tick, lot = exact(instrument.tick_size), exact(instrument.data_lot_size)
        return [(p * tick, q * lot) for p, q in book.bids], [(p * tick, q * lot) for p, q in book.asks]


@contextlib.asynccontextmanager
async def watching(
    venue: str, pace: Pace, symbols: tuple[str, ...] = (), *, gate: bool = False, **config: float
) -> AsyncIterator[Watch]:
    """A feed on a replay of one venue; `gate` holds the recording back until everything is subscribed."""
    symbols = symbols or SYMBOLS[venue]
    # Binance's recordings are large: play no more than is watched.
    recordings = tuple({s.partition(":")[0].replace("/", "") for s in symbols}) if venue == "binance" else None
    exchange = ReplayExchange(
        ReplayConfig(venues=(venue,), symbols=recordings, pace=pace, start_after=CHANNELS * len(symbols) if gate else 0)
    )
    await exchange.start()
    hub = MarketData("epoch-1", SystemClock())
    statuses: list[VenueStatus] = []
    registry = CollectorRegistry()
    settings = VenueConfig(
        venue,
        symbols,
        redirect=lambda client: redirect(client, exchange.base_url(venue)),
        ccxt={"enableRateLimit": False},
        **config,  # type: ignore[arg-type]
    )
    feed = VenueFeed(
        settings,
        hub,
        SystemClock(),
        random.Random(1).random,
        FeedMetrics(registry),
        lambda status: statuses.append(replace(status)),
    )
    try:
        loaded = (await feed.load()).instruments
        watch = Watch(exchange, feed, hub, [replace(each, number=n) for n, each in enumerate(loaded, 1)], registry)
        watch.statuses = statuses
        hub.add_listener(watch.see)
        await feed.start(watch.instruments)
        yield watch
    finally:
        await feed.stop()
        await exchange.stop()


@pytest.mark.parametrize(
    ("venue", "symbols", "speed"),
    [
        ("binance", ("ETH/USDT",), 120.0),
        ("okx", SYMBOLS["okx"], 4.0),
        ("bybit", SYMBOLS["bybit"], 20.0),
        ("binance", ("BTC/USDT:USDT",), None),
        ("okx", SYMBOLS["okx"], None),
        ("bybit", SYMBOLS["bybit"], None),
    ],
)
async def test_what_is_delivered_is_what_was_recorded(
    venue: str, symbols: tuple[str, ...], speed: float | None
) -> None:
    async with watching(venue, Pace(speed=speed, passes=1), symbols, gate=True) as watch:
        stream = watch.hub.subscribe([Subscription(i.name, i, Channel.TRADE, Delivery.ALL) for i in watch.instruments])
        streamed: dict[str, int] = {}

        async def read() -> None:
            async for item in stream:
                if isinstance(item.event, Update):
                    streamed[item.subscription_id] = streamed.get(item.subscription_id, 0) + 1

        reading = asyncio.ensure_future(read())
        await asyncio.wait_for(watch.exchange.wait_finished(), 60)
        expected = {i.name: recorded_trades(i.name) for i in watch.instruments}

        def complete() -> bool:
            counted = {name: len(trades) for name, trades in expected.items()}
            return (
                streamed == counted
                and watch.live
                and all(watch.served(i, 5) == book_snapshot(i, 5) for i in watch.instruments)
            )

        await until(complete, "everything delivered")
        for instrument in watch.instruments:
            name = instrument.name
            delivered = [
                (t.trade_id, instrument.price_text(t.price), instrument.data_qty_text(t.qty), t.aggressor_side)
                for t in watch.trades[name]
            ]
            assert delivered == expected[name]
            assert watch.served(instrument, DEPTH[venue]) == book_snapshot(instrument, DEPTH[venue])
            quote = watch.hub.quote(name)
            assert quote is not None
            assert 0 < quote.bid_price < quote.ask_price
        # Played so fast, the price may leave the levels of Binance's last snapshot before the next one is fetched.
        assert watch.lost() <= {Fault.DEPTH}
        reading.cancel()
        stream.close()


def book_snapshot(instrument: Instrument, depth: int) -> BookSnapshot:
    """The recording's last book."""
    bids, asks = recorded(instrument.name).top(depth)
    # The truth is kept in floats: their shortest text is what was recorded.
    return exact_side(bids), exact_side(asks)


def exact_side(rows: Sequence[Sequence[object]]) -> list[tuple[int, int]]:
    return [(exact(Decimal(str(row[0]))), exact(Decimal(str(row[1])))) for row in rows]


class Judge:
    """Compares every book that is published as LIVE with the recording, by the venue's own sequence number."""

    def __init__(self, watch: Watch, venue: str) -> None:
        recordings: dict[str, dict[int, BookSnapshot | None]] = {}
        for each in _recordings(venue):
            # The replay numbers OKX's messages from 2 on: those recorded have no numbers.
            numbers = range(2, len(each.frames) + 2) if venue == "okx" else [frame.sequence for frame in each.frames]
            recordings[each.instrument.name] = dict(zip(numbers, each.snapshots, strict=True))
        self._passes_matter = venue != "binance"
        """Binance's recording is longer than a test."""
        self._recordings = recordings
        self._watch = watch
        self._books: dict[str, NaiveBook] = {}
        self.judged = 0
        self.wrong: list[str] = []
        watch.hub.add_listener(self._judge)

    def _judge(self, update: MarketUpdate) -> None:
        name = update.instrument.name
        if not isinstance(update, BookUpdate) or name not in self._recordings:
            return
        book = self._books.setdefault(name, NaiveBook())
        book.apply(update)
        snapshots = self._recordings[name]
        sequence = update.venue_sequence
        if self._passes_matter:  # numbers go on pass after pass, without a hole
            first = next(iter(snapshots))
            sequence = (sequence - first) % len(snapshots) + first
        truth = snapshots.get(sequence)
        if update.state is FeedState.LIVE and truth is not None:
            self.judged += 1
            tick, lot = exact(update.instrument.tick_size), exact(update.instrument.data_lot_size)
            bids, asks = book.top(recorded_messages.DEPTH)
            if ([(p * tick, q * lot) for p, q in bids], [(p * tick, q * lot) for p, q in asks]) != truth:
                self.wrong.append(f"{name} at {update.venue_sequence}")


def _recordings(venue: str) -> list[Recording]:
    if venue == "binance":
        return [recorded_messages.binance("spot"), recorded_messages.binance("linear", 900)]
    if venue == "bybit":
        return [recorded_messages.bybit("spot"), recorded_messages.bybit("linear")]
    return [recorded_messages.okx(True)]


@pytest.mark.parametrize(
    ("venue", "fault"),
    [(venue, fault) for venue in SYMBOLS for fault in FAULTS] + [("binance", "refuse REST")],
)
async def test_after_a_fault_the_book_is_right_again_and_was_never_wrong(venue: str, fault: str) -> None:
    _recordings(venue)  # read before the clock of the replay runs
    silence = {"stale_after_s": 1.0} if fault == "stall" else {}
    async with watching(venue, Pace(speed=4.0), **silence) as watch:
        judge = Judge(watch, venue)
        await until(lambda: watch.live, "all books LIVE")
        watch.states.clear()
        lost = _inject(watch.exchange, venue, fault)
        await until(lambda: lost in {state for _, state in watch.states}, f"a book that is {lost.name}")
        _end(watch.exchange, venue, fault)
        await until(lambda: watch.live, "all books LIVE again")
        judged = judge.judged
        await until(lambda: judge.judged > judged + 20, "books compared after the fault")
        assert judge.wrong == []
        await settle_and_compare(watch, venue)
        print(f"{venue}, {fault}: no book was lost for longer than {watch.longest_s:.3f} s")
        assert all(status.detail for status in watch.statuses if status.state is not FeedState.LIVE)
        assert {status.state for status in watch.statuses} >= {lost, FeedState.LIVE}


def _inject(exchange: ReplayExchange, venue: str, fault: str) -> FeedState:
    """Returns the state that books must fall into."""
    if fault == "disconnect":
        exchange.disconnect(venue)
        return FeedState.STALE
    if fault == "stall":
        exchange.stall(venue)
        return FeedState.STALE
    if fault == "refuse REST":
        exchange.refuse_rest(3)
    exchange.drop_depth(venue, 1_000_000 if fault == "books fall silent" else 40)
    return FeedState.STALE if fault == "books fall silent" else FeedState.GAP


def _end(exchange: ReplayExchange, venue: str, fault: str) -> None:
    if fault == "stall":
        exchange.end_stall(venue)
    exchange.drop_depth(venue, 0)


async def freeze_in_step(watch: Watch, venue: str) -> None:
    """Freeze a venue while no quote is ahead of its book: a venue would still send the update that follows the quote."""
    age = functools.partial(watch.registry.get_sample_value, "tradewind_feed_last_message_age_seconds")
    while True:
        watch.exchange.freeze(venue)
        await until(lambda: (age({"venue": venue}) or 0) > 0.3, "what was sent before has arrived")
        if all(market.best.ahead_since_s is None for market in watch.feed._markets.values()):
            return
        watch.exchange.thaw(venue)
        wanted = watch.exchange.frames_played(venue) + 5
        await until(functools.partial(_played, watch, venue, wanted), "the market goes on")


def _played(watch: Watch, venue: str, wanted: int) -> bool:
    return watch.exchange.frames_played(venue) > wanted


@pytest.mark.parametrize("venue", list(SYMBOLS))
async def test_a_market_in_which_nothing_happens_stays_live_and_its_connection_is_kept(venue: str) -> None:
    async with watching(venue, Pace(speed=4.0), stale_after_s=1.0) as watch:
        await until(lambda: watch.live, "all books LIVE")
        age = functools.partial(watch.registry.get_sample_value, "tradewind_feed_last_message_age_seconds")
        await freeze_in_step(watch, venue)
        await until(lambda: (age({"venue": venue}) or 0) > 3.0, "no frame for thrice as long as a dead connection is given")
        assert watch.live
        assert watch.feed.status.reconnects == 0
        watch.exchange.thaw(venue)
        played = watch.exchange.frames_played(venue)
        await until(lambda: watch.exchange.frames_played(venue) > played + 20, "the market goes on")
        await settle_and_compare(watch, venue)
        assert watch.feed.status.reconnects == 0


async def test_a_server_that_was_held_up_reads_what_came_meanwhile_and_keeps_its_connections() -> None:
    def hold_up(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    async with watching("bybit", Pace(speed=4.0), stale_after_s=0.8) as watch:
        for _ in range(3):
            await until(lambda: watch.live, "all books LIVE")
            messages = watch.feed.status.messages
            hold_up(1.0)
            await until(lambda seen=messages: watch.feed.status.messages > seen + 20, "messages")  # type: ignore[misc]
        assert watch.feed.status.reconnects == 0


@pytest.mark.parametrize("venue", list(SYMBOLS))
async def test_wrong_quantities_with_right_numbers_are_found_by_comparing_and_nothing_else_is(venue: str) -> None:
    _recordings(venue)
    async with watching(venue, Pace(speed=4.0), compare_every_s=0.2, compare_per_minute=6_000) as watch:
        await until(lambda: watch.live, "all books LIVE")

        def count(metric: str, **labels: str) -> float:
            return watch.registry.get_sample_value(f"tradewind_feed_{metric}_total", {"venue": venue, **labels}) or 0

        await until(lambda: count("comparisons", result="same") > 20, "books compared")
        assert (count("comparisons", result="different"), watch.feed.status.gaps) == (0, 0)
        watch.exchange.corrupt_depth(venue, 4)
        found = [("checksum",), ("different", "crossed")][venue != "okx"]
        await until(lambda: any(count("books_lost", reason=reason) for reason in found), "the damage found")
        await until(lambda: watch.live, "all books LIVE again")
        same = count("comparisons", result="same")
        await until(lambda: watch.live and count("comparisons", result="same") > same + 20, "books compared again")
        await settle_and_compare(watch, venue)


async def settle_and_compare(watch: Watch, venue: str) -> None:
    """With the market held still, every book is the exchange's own, as its REST interface tells it."""
    await freeze_in_step(watch, venue)
    async with aiohttp.ClientSession() as session:
        for instrument in watch.instruments:
            async with session.get(watch.exchange.base_url(venue) + _depth_path(instrument)) as response:
                book = await response.json()
            if venue == "okx":
                book = book["data"][0]
            elif venue == "bybit":
                book = {"bids": book["result"]["b"], "asks": book["result"]["a"]}
            own = exact_side(book["bids"]), exact_side(book["asks"])
            await until(partial(_same, watch, instrument, own), f"{instrument.name} equal to the exchange's book")


def _same(watch: Watch, instrument: Instrument, own: BookSnapshot) -> bool:
    return watch.served(instrument, 50) == own


def _depth_path(instrument: Instrument) -> str:
    symbol, derivative = instrument.symbol.partition(":")[0].replace("/", ""), ":" in instrument.symbol
    match instrument.venue:
        case "binance":
            base = "/fapi.binance.com/fapi/v1" if derivative else "/api.binance.com/api/v3"
            return f"{base}/depth?symbol={symbol}&limit=50"
        case "bybit":
            category = "linear" if derivative else "spot"
            return f"/api.bybit.com/v5/market/orderbook?category={category}&symbol={symbol}&limit=50"
    return f"/www.okx.com/api/v5/market/books?instId={truth.OKX_IDS[instrument.symbol]}&sz=50"


async def test_an_unknown_symbol_is_told_with_its_likes_and_the_others_are_listed() -> None:
    exchange = ReplayExchange(ReplayConfig(venues=("bybit",)))
    await exchange.start()
    symbols = ("BTC/USDX", "ETH/USDT", "btc/usdt")
    config = VenueConfig("bybit", symbols, redirect=lambda client: redirect(client, exchange.base_url("bybit")))
    feed = _feed(config)
    try:
        listing = await feed.load()
        assert [instrument.symbol for instrument in listing.instruments] == ["ETH/USDT"]
        assert re.search(r"no market 'BTC/USDX'; there is .*BTC/USD", listing.refused["BTC/USDX"])
        assert listing.refused["btc/usdt"] == "bybit has no market 'btc/usdt'; there is BTC/USDT"
    finally:
        await feed.stop()
        await exchange.stop()


async def test_a_venue_that_does_not_answer_is_unavailable() -> None:
    exchange = ReplayExchange(ReplayConfig(venues=("okx",)))
    await exchange.start()
    url = exchange.base_url("okx")
    await exchange.stop()
    feed = _feed(VenueConfig("okx", ("BTC/USDT",), redirect=lambda client: redirect(client, url)))
    with pytest.raises(Unavailable, match="okx cannot be reached"):
        await feed.load()
    await feed.stop()


@pytest.mark.parametrize(
    ("venue", "symbols", "problem"),
    [
        ("kraken", ("BTC/USD",), "there are binance, okx, bybit"),
        ("okx", (), "no symbols"),
        ("binance", ("BTC/USDT", "BTC/USD:BTC"), "COIN-M"),
        ("okx", ("BTC/USD:BTC-270326-100000-C",), "options are not followed"),
        ("bybit", ("BTCUSDT",), "'BTCUSDT' is no symbol"),
        ("bybit", ("BTC/USDT", "BTC/USDT"), "named twice"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(venue: str, symbols: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        VenueConfig(venue, symbols)


def _feed(config: VenueConfig) -> VenueFeed:
    clock = SystemClock()
    return VenueFeed(config, MarketData("e", clock), clock, random.Random(1).random, FeedMetrics(CollectorRegistry()))


async def test_status_and_metrics_tell_what_happened() -> None:
    async with watching("bybit", Pace(speed=4.0)) as watch:
        await until(lambda: watch.live and watch.feed.status.messages > 50, "messages")
        assert watch.feed.status.state is FeedState.LIVE
        assert watch.feed.status.detail == ""
        sample = watch.registry.get_sample_value
        assert sample("tradewind_feed_messages_total", {"venue": "bybit", "channel": "book"})
        assert sample("tradewind_feed_lag_seconds_count", {"venue": "bybit"})
        assert sample("tradewind_feed_state", {"venue": "bybit", "instrument": "bybit:BTC/USDT"}) == FeedState.LIVE
        assert sample("tradewind_feed_gaps_total", {"venue": "bybit"}) == 0
        watch.exchange.drop_depth("bybit", 30)
        await until(lambda: watch.feed.status.gaps > 0, "a gap")
        assert sample("tradewind_feed_gaps_total", {"venue": "bybit"}) == watch.feed.status.gaps
        await watch.feed.stop()
        assert watch.feed.status.state is FeedState.STALE
        assert "stopped" in watch.feed.status.detail
        assert not any(watch.hub.quote(i.name) for i in watch.instruments)
