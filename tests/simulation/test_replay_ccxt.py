"""Unmodified ccxt.pro against the replay exchange: what it is delivered is what was recorded."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ccxt
import pytest

from server.replay import Pace, ReplayConfig
from server.replay.server import SHIPPED_DATA
from tests.simulation import replay_truth as truth
from tests.simulation.replay_clients import ccxt_client, replay
from tests.waiting import PATIENCE_S, until

# ccxt keeps 1,000 (Binance) or as many levels as asked for; the best ones must be exact.
DEPTH = 50


@dataclass
class Case:
    """One instrument: what ccxt calls it, what the venue calls it, and what makes two of its trades equal."""

    venue: str
    symbol: str
    name: str
    read: Callable[[], truth.Truth]
    trade_keys: tuple[str, ...]

    @functools.cached_property
    def raw(self) -> truth.Truth:
        return self.read()


BINANCE_KEYS = ("t", "p", "q", "m", "T")
BYBIT_KEYS = ("i", "p", "v", "S", "T", "seq")
OKX_KEYS = ("tradeId", "px", "sz", "side", "ts")


def _okx(symbol: str, name: str) -> Case:
    return Case("okx", symbol, name, lambda: truth.okx(name), OKX_KEYS)


def _bybit(symbol: str, name: str, product: str) -> Case:
    return Case("bybit", symbol, name, lambda: truth.bybit(product, name), BYBIT_KEYS)


CASES = {
    "binance spot": Case("binance", "ETH/USDT", "ETHUSDT", lambda: truth.binance("spot", "ethusdt"), BINANCE_KEYS),
    "okx spot": _okx("BTC/USDT", "BTC-USDT"),
    "okx future": _okx("BTC/USD:BTC-220527", "BTC-USD-220527"),
    "okx swap": _okx("UNI/USD:UNI", "UNI-USD-SWAP"),
    "bybit spot": _bybit("BTC/USDT", "BTCUSDT", "spot"),
    "bybit linear": _bybit("ETH/USDT:USDT", "ETHUSDT", "linear"),
}
USDM = Case("binance", "BTC/USDT:USDT", "BTCUSDT", lambda: truth.binance("usdm", "btcusdt"), BINANCE_KEYS)


def shortened(this: Case, root: Path, lines: int = 10_000) -> tuple[Case, Path]:
    """A Binance case, and the data for it, of only the first `lines` recorded lines."""
    data = truth.shortened(root, lines=lines)
    product = "spot" if this is not USDM else "usdm"
    read = functools.partial(truth.binance, product, this.name.lower(), data / "frames")
    return Case(this.venue, this.symbol, this.name, read, this.trade_keys), data


async def watch(client: Any, this: Case) -> None:
    """Subscribe trades and book; the caches of ccxt go on filling when nobody waits."""
    limit = 200 if this.venue == "bybit" else None
    tasks = [
        asyncio.create_task(client.watch_trades(this.symbol)),
        asyncio.create_task(client.watch_order_book(this.symbol, limit)),
    ]
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)


async def watch_book_for_ever(client: Any, symbol: str) -> None:
    while True:
        await asyncio.wait_for(client.watch_order_book(symbol), PATIENCE_S)


def keyed(trades: list[dict[str, Any]], keys: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [tuple(trade[key] for key in keys) for trade in trades]


def book_of(client: Any, symbol: str) -> tuple[list[Any], list[Any]]:
    book = client.orderbooks[symbol]
    return [list(row[:2]) for row in book["bids"][:DEPTH]], [list(row[:2]) for row in book["asks"][:DEPTH]]


async def delivers_what_was_recorded(this: Case, speed: float | None, data: Path = SHIPPED_DATA) -> None:
    pace = Pace(speed, passes=1, times="recorded")
    config = ReplayConfig((this.venue,), (this.name,), pace, start_after=2, data=data)
    async with replay(config) as exchange, ccxt_client(this.venue, exchange) as client:
        await client.load_markets()
        await watch(client, this)
        await exchange.wait_finished()
        await until(lambda: len(client.trades[this.symbol]) >= len(this.raw.trades), "every trade")
        await until(lambda: book_of(client, this.symbol) == this.raw.top(DEPTH), "the final book")
        delivered = [trade["info"] for trade in client.trades[this.symbol]]
    assert keyed(delivered, this.trade_keys) == keyed(this.raw.trades, this.trade_keys)


@pytest.mark.parametrize("this", CASES.values(), ids=CASES)
async def test_flat_out_delivers_exactly_what_was_recorded(this: Case) -> None:
    await delivers_what_was_recorded(this, speed=None)


async def test_flat_out_delivers_binance_futures_too(tmp_path: Path) -> None:
    this, data = shortened(USDM, tmp_path)  # ccxt takes its time over all of the 94,000 frames
    await delivers_what_was_recorded(this, speed=None, data=data)


async def test_at_real_pace_and_faster_nothing_is_lost_either() -> None:
    """OKX at real pace; beside it, as they fit into its 12 s, the others faster."""
    speeds = {"okx spot": 1.0, "bybit spot": 5.0, "bybit linear": 5.0, "binance spot": 40.0}
    await asyncio.gather(*(delivers_what_was_recorded(CASES[name], speed) for name, speed in speeds.items()))


@pytest.mark.parametrize("name", ["binance spot", "okx spot", "bybit spot", "bybit linear"])
async def test_two_passes_are_one_history(name: str, tmp_path: Path) -> None:
    this, data = CASES[name], SHIPPED_DATA
    if this.venue == "binance":
        this, data = shortened(this, tmp_path)
    config = ReplayConfig((this.venue,), (this.name,), Pace(speed=None, passes=2), start_after=2, data=data)
    async with replay(config) as exchange, ccxt_client(this.venue, exchange) as client:
        await client.load_markets()
        await watch(client, this)
        await exchange.wait_finished()
        # What a venue answers a subscription with (an older last trade) does not come again.
        again = [t for t in this.raw.trades if this.venue != "okx" or t is not this.raw.trades[0]]
        expected = len(this.raw.trades) + len(again)
        await until(lambda: len(client.trades[this.symbol]) >= expected, "the trades of both passes")
        await until(lambda: book_of(client, this.symbol) == this.raw.top(DEPTH), "the final book")
        trades = list(client.trades[this.symbol])
        assert len(trades) == expected
        assert len({trade["id"] for trade in trades}) == expected
        times = [trade["timestamp"] for trade in trades]
        assert times[1:] == sorted(times[1:])


@pytest.mark.parametrize("this", [*CASES.values(), USDM], ids=[*CASES, "binance usdm"])
async def test_markets_tickers_and_best_quotes(this: Case) -> None:
    config = ReplayConfig((this.venue,), (this.name,), Pace(speed=20.0))
    async with replay(config) as exchange, ccxt_client(this.venue, exchange) as client:
        markets = await client.load_markets()
        assert markets[this.symbol]["precision"]["price"] > 0
        ticker = await asyncio.wait_for(client.watch_ticker(this.symbol, {"name": "ticker"}), PATIENCE_S)
        assert ticker["last"] > 0
        quotes = await asyncio.wait_for(client.watch_bids_asks([this.symbol]), PATIENCE_S)
        assert 0 < quotes[this.symbol]["bid"] < quotes[this.symbol]["ask"]


async def test_binance_resynchronizes_after_a_gap_by_rest() -> None:
    this = CASES["binance spot"]
    async with (
        replay(ReplayConfig(("binance",), (this.name,), Pace(speed=10.0))) as exchange,
        ccxt_client("binance", exchange) as client,
    ):
        await client.watch_order_book(this.symbol)
        exchange.drop_depth("binance", 2)
        with pytest.raises(ccxt.ChecksumError):
            await watch_book_for_ever(client, this.symbol)
        books = []

        async def has_a_book() -> bool:
            # What was on its way when the gap was noticed may not fit either. ccxt raises again without waiting, so it
            # must be asked by somebody who waits.
            with contextlib.suppress(ccxt.ChecksumError):
                books.append(await client.watch_order_book(this.symbol))
            return bool(books)

        await until(has_a_book, "a book after the gap")
        before = books[0]["nonce"]
        await until(lambda: client.orderbooks[this.symbol]["nonce"] > before, "updates after the gap")


async def test_clients_see_a_broken_connection_and_come_back() -> None:
    config = ReplayConfig(("bybit",), ("BTCUSDT",), Pace(speed=5.0))
    async with replay(config) as exchange, ccxt_client("bybit", exchange) as client:
        await client.watch_order_book("BTC/USDT")
        exchange.disconnect("bybit")
        with pytest.raises(ccxt.NetworkError):
            await watch_book_for_ever(client, "BTC/USDT")
        book = await asyncio.wait_for(client.watch_order_book("BTC/USDT"), PATIENCE_S)
        assert book["bids"][0][0] < book["asks"][0][0]


async def test_rest_can_be_refused() -> None:
    async with replay(ReplayConfig(("okx",))) as exchange, ccxt_client("okx", exchange) as client:
        exchange.refuse_rest(1)
        with pytest.raises(ccxt.RateLimitExceeded):
            await client.fetch_time()
        assert await client.fetch_time() > 0
