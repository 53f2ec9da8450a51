"""The replay exchange on the wire: ids, times and checksums of every frame, late joiners, errors, faults."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.pro
import pytest

from server.base.clock import ManualClock
from server.replay import Pace, ReplayConfig, ReplayExchange, redirect
from server.replay.okx import checksum
from tests.simulation import replay_truth as truth
from tests.simulation.replay_clients import Wire, get, replay, wire
from tests.waiting import PATIENCE_S, until

SPOT = "/stream.binance.com/ws"
USDM = "/fstream.binance.com/public/ws"
BYBIT = "/stream.bybit.com/v5/public/"
OKX = "/ws.okx.com/ws/v5/public"
FLAT_OUT_TWICE = Pace(speed=None, passes=2)


@pytest.fixture(scope="module")
def short_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped data with the first 4,000 lines of each Binance file: a pass is over soon."""
    return truth.shortened(tmp_path_factory.mktemp("replay"), lines=4000)


async def played(exchange: ReplayExchange, client: Wire) -> AsyncIterator[Any]:
    """What the client gets until the recordings are over and nothing is left to read."""
    finished = asyncio.create_task(exchange.wait_finished())
    while True:
        was_finished = finished.done()
        try:
            async with asyncio.timeout(0.5):
                message = await client.read()
        except TimeoutError:
            if was_finished:
                break
            continue
        yield message
    await finished


# -- one continuous history ------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "product"), [(SPOT, "spot"), (USDM, "usdm")])
async def test_binance_ids_and_times_go_on_over_the_boundary(short_data: Path, path: str, product: str) -> None:
    config = ReplayConfig(("binance",), ("BTCUSDT",), Pace(speed=None, passes=3), 3, data=short_data)
    streams = ["btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker"]
    trades, quotes, depth, messages = [], [], [], []
    async with replay(config) as exchange, wire(exchange, "binance", path) as client:
        _, snapshot = await get(exchange, "binance", depth_path(product))
        await client.send({"method": "SUBSCRIBE", "params": streams, "id": 7})
        assert await client.read() == {"result": None, "id": 7}
        async for message in played(exchange, client):
            messages.append(message)
            kind = {"trade": trades, "depthUpdate": depth}.get(message.get("e"), quotes)
            kind.append(message)
        assert exchange.passes("binance") == 3

    increasing([trade["t"] for trade in trades])
    increasing([quote["u"] for quote in quotes])
    expected = snapshot["lastUpdateId"]
    for update in depth:
        assert (update["pu"] == expected) if product == "usdm" else (update["U"] == expected + 1)
        expected = update["u"]
    times = [message["E"] for message in depth]
    assert times == sorted(times)

    # Twice, the book returns to the recording's first one by an ordinary update.
    start = book_of_snapshot(snapshot).sides
    book, returns = book_of_snapshot(snapshot), 0
    for update in depth:
        book.apply(update, snapshot=False, bids="b", asks="a")
        returns += book.sides == start
    assert returns == 2


def depth_path(product: str, symbol: str = "BTCUSDT") -> str:
    base = "/api.binance.com/api/v3" if product == "spot" else "/fapi.binance.com/fapi/v1"
    return f"{base}/depth?symbol={symbol}&limit=1000"


def book_of_snapshot(snapshot: dict[str, Any]) -> truth.StringBook:
    book = truth.StringBook()
    book.apply(snapshot, snapshot=True)
    return book


def increasing(numbers: list[int]) -> None:
    assert numbers
    assert all(a < b for a, b in itertools.pairwise(numbers))


@pytest.mark.parametrize("product", ["spot", "linear"])
async def test_bybit_ids_go_on_and_shallower_books_follow(product: str) -> None:
    config = ReplayConfig(("bybit",), ("BTCUSDT",), FLAT_OUT_TWICE, start_after=4)
    topics = [f"orderbook.{depth}.BTCUSDT" for depth in (1, 50, 200)]
    books = {topic: truth.StringBook() for topic in topics}
    last: dict[str, int] = {}
    snapshots, trades = 0, []
    async with replay(config) as exchange, wire(exchange, "bybit", BYBIT + product) as client:
        await client.send({"op": "subscribe", "args": [*topics, "publicTrade.BTCUSDT"], "req_id": "9"})
        ack = await client.read()
        assert (ack["success"], ack["op"], ack["req_id"]) == (True, "subscribe", "9")
        async for message in played(exchange, client):
            topic, data = message["topic"], message["data"]
            if topic.startswith("publicTrade"):
                trades += data
                continue
            restart = message["type"] == "snapshot"
            snapshots += restart and topic == topics[2]
            assert restart or data["u"] == last[topic] + 1
            assert data["u"] > last.get(topic, 0)
            last[topic] = data["u"]
            books[topic].apply(data, snapshot=restart, bids="b", asks="a")
    raw = truth.bybit(product, "BTCUSDT")
    assert snapshots == 2
    for topic, depth in zip(topics, (1, 50, 200), strict=True):
        assert books[topic].top(200) == raw.top(depth)
    assert len(trades) == 2 * len(raw.trades)
    assert len({trade["i"] for trade in trades}) == len(trades)


async def test_okx_checksums_and_sequence_ids_hold_over_the_boundary() -> None:
    config = ReplayConfig(("okx",), None, FLAT_OUT_TWICE, start_after=6)
    names = ("BTC-USDT", "BTC-USD-220527", "UNI-USD-SWAP")
    books = {name: truth.StringBook() for name in names}
    tops: dict[str, Any] = {}
    last: dict[str, int] = {}
    seen = 0
    async with replay(config) as exchange, wire(exchange, "okx", OKX) as client:
        wanted = [{"channel": channel, "instId": name} for channel in ("books", "bbo-tbt") for name in names]
        await client.send({"op": "subscribe", "args": wanted})
        for arg in wanted:
            ack = await client.read()
            assert (ack["event"], ack["arg"]) == ("subscribe", arg)
        async for message in played(exchange, client):
            name, data = message["arg"]["instId"], message["data"][0]
            if message["arg"]["channel"] == "bbo-tbt":
                tops[name] = [[row[:2] for row in data[side]] for side in ("bids", "asks")]
                continue
            restart = message["action"] == "snapshot"
            books[name].apply(data, snapshot=restart)
            assert books[name].okx_checksum() == data["checksum"]
            assert data["prevSeqId"] == (-1 if restart else last[name])
            last[name] = data["seqId"]
            seen += 1
    assert seen == 2 * sum(truth.okx(name).book_updates for name in names)
    for name in names:
        assert books[name].top(25) == truth.okx(name).top(25)
        assert tops[name] == [[row[:2] for row in books[name].rows(side)[:1]] for side in ("bids", "asks")]


async def test_bybit_candles_hold_every_trade_of_their_minute() -> None:
    config = ReplayConfig(("bybit",), ("BTCUSDT",), Pace(None, passes=4, times="recorded"), start_after=1)
    candles: dict[int, dict[str, Any]] = {}
    async with replay(config) as exchange, wire(exchange, "bybit", BYBIT + "linear") as client:
        await client.send({"op": "subscribe", "args": ["kline.1.BTCUSDT"]})
        await client.read()
        async for message in played(exchange, client):
            (candle,) = message["data"]
            assert not candles.get(candle["start"], {}).get("confirm"), "a closed candle changes no more"
            candles[candle["start"]] = candle
    starts = sorted(candles)
    assert len(starts) >= 3
    assert all(start % 60_000 == 0 for start in starts)
    assert all(candles[start]["confirm"] for start in starts[:-1])
    traded = 4 * sum(Decimal(trade["v"]) for trade in truth.bybit("linear", "BTCUSDT").trades)
    assert sum(Decimal(candle["volume"]) for candle in candles.values()) == traded


def test_the_okx_checksum_is_the_recorded_one() -> None:
    books: dict[str, truth.StringBook] = {}
    recorded = []
    for _, frame in truth.received("OKX"):
        if frame.get("action"):
            book = books.setdefault(frame["arg"]["instId"], truth.StringBook())
            book.apply(frame["data"][0], snapshot=frame["action"] == "snapshot")
            recorded.append(frame["data"][0]["checksum"])
            assert checksum(book.rows("bids"), book.rows("asks")) == recorded[-1]
    assert len(recorded) == 290
    assert min(recorded) < 0 < max(recorded)


# -- times -----------------------------------------------------------------------------------------------


async def test_times_are_moved_to_now_by_one_constant(short_data: Path) -> None:
    clock = ManualClock(1_800_000_000 * 10**9)
    exchange = ReplayExchange(ReplayConfig(("binance",), ("ETHUSDT",), Pace(1.0), 1, data=short_data), clock)
    raw = truth.binance("spot", "ethusdt").trades
    await exchange.start()
    try:
        async with wire(exchange, "binance", SPOT) as client:
            await client.send({"method": "SUBSCRIBE", "params": ["ethusdt@trade"], "id": 1})
            await client.read()
            got = [await client.read() for _ in range(5)]
    finally:
        await exchange.stop()
    shifts = {trade[key] - was[key] for trade, was in zip(got, raw, strict=False) for key in ("E", "T")}
    assert len(shifts) <= 2, "rounding to the millisecond aside, one shift"
    assert 0 <= got[0]["E"] - 1_800_000_000_000 < 1000


# -- joining late ----------------------------------------------------------------------------------------


async def test_a_late_bybit_subscriber_starts_with_the_current_book() -> None:
    raw = truth.bybit("spot", "ETHUSDT")
    config = ReplayConfig(("bybit",), ("ETHUSDT",), Pace(40.0, passes=1))
    async with replay(config) as exchange, wire(exchange, "bybit", BYBIT + "spot") as client:
        await until(lambda: exchange.frames_played("bybit") > 300, "the middle of the recording")
        await client.send({"op": "subscribe", "args": ["orderbook.200.ETHUSDT", "orderbook.50.ETHUSDT"]})
        await client.read()
        books, last = {}, {}
        async for message in played(exchange, client):
            topic, data = message["topic"], message["data"]
            first = topic not in books
            assert message["type"] == ("snapshot" if first else "delta")
            assert first or data["u"] == last[topic] + 1
            books.setdefault(topic, truth.StringBook()).apply(data, snapshot=first, bids="b", asks="a")
            last[topic] = data["u"]
    assert books["orderbook.200.ETHUSDT"].top(200) == raw.top(200)
    assert books["orderbook.50.ETHUSDT"].top(200) == raw.top(50)


async def test_a_late_okx_subscriber_starts_with_the_current_book() -> None:
    config = ReplayConfig(("okx",), ("BTC-USDT",), Pace(8.0, passes=1))
    book, first, last = truth.StringBook(), True, -1
    async with replay(config) as exchange, wire(exchange, "okx", OKX) as client:
        await until(lambda: exchange.frames_played("okx") > 60, "the middle of the recording")
        await client.send({"op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}]})
        await client.read()
        async for message in played(exchange, client):
            data = message["data"][0]
            assert message["action"] == ("snapshot" if first else "update")
            assert data["prevSeqId"] == last
            book.apply(data, snapshot=first)
            assert book.okx_checksum() == data["checksum"]
            first, last = False, data["seqId"]
    assert not first
    assert book.top(25) == truth.okx("BTC-USDT").top(25)


@pytest.mark.parametrize(("path", "product"), [(SPOT, "spot"), (USDM, "usdm")])
async def test_binance_rest_depth_fits_the_stream(short_data: Path, path: str, product: str) -> None:
    config = ReplayConfig(("binance",), ("BTCUSDT",), Pace(40.0, passes=1), data=short_data)
    async with replay(config) as exchange, wire(exchange, "binance", path) as client:
        await client.send({"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1})
        await client.read()
        await until(lambda: exchange.frames_played("binance") > 1500, "some way into the recording")
        _, snapshot = await get(exchange, "binance", depth_path(product))
        last = snapshot["lastUpdateId"]
        updates = [update async for update in played(exchange, client) if update["u"] > last]
        _, final = await get(exchange, "binance", depth_path(product))
    assert updates[0]["pu"] == last if product == "usdm" else updates[0]["U"] == last + 1
    book = book_of_snapshot(snapshot)
    for update in updates:
        book.apply(update, snapshot=False, bids="b", asks="a")
    assert book.top(100) == book_of_snapshot(final).top(100)
    assert updates[-1]["u"] == final["lastUpdateId"]


# -- manners ---------------------------------------------------------------------------------------------


async def test_binance_connections_combined_named_in_the_url_and_unsubscribed(short_data: Path) -> None:
    config = ReplayConfig(("binance",), ("BTCUSDT",), Pace(50.0), data=short_data)
    async with replay(config) as exchange:
        async with wire(exchange, "binance", "/stream.binance.com/stream?streams=btcusdt@trade") as client:
            message = await client.read()
            assert (message["stream"], message["data"]["e"]) == ("btcusdt@trade", "trade")
            await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 3})
            while (message := await client.read()).get("id") != 3:
                pass
            assert message["result"] == ["btcusdt@trade"]
        async with wire(exchange, "binance", SPOT + "/btcusdt@bookTicker") as client:
            assert set(await client.read()) == {"u", "s", "b", "B", "a", "A"}
            await client.send({"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 4})
            while (await client.read()).get("id") != 4:
                pass
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.read(), 0.3)


async def test_what_is_not_recorded_is_refused_in_the_words_of_the_venue() -> None:
    async with replay(ReplayConfig()) as exchange:
        async with wire(exchange, "binance", SPOT) as client:
            await client.send({"method": "SUBSCRIBE", "params": ["dogeusdt@trade"], "id": 5})
            assert await client.read() == {"result": None, "id": 5}, "Binance takes it, and sends nothing"
            await client.send("{nonsense")
            assert (await client.read())["error"]["code"] == 3
            for request in ("[1]", {"method": "SUBSCRIBE", "params": [{}], "id": 1}, {"method": "X"}):
                await client.send(request)
                assert (await client.read())["error"]["code"] == 2
            await client.send("[1]")
            assert (await client.read())["error"]["code"] == 2
        async with wire(exchange, "bybit", BYBIT + "spot") as client:
            for request in ({"op": "subscribe", "args": ["orderbook.1000.BTCUSDT"], "req_id": "a"}, [], "{"):
                await client.send(request)
                assert (await client.read())["success"] is False
        async with wire(exchange, "okx", OKX) as client:
            await client.send({"op": "subscribe", "args": [{"channel": "books", "instId": "DOGE-USDT"}]})
            assert (await client.read())["code"] == "60018"
            for request in ("{", {"op": "order"}, {"op": "subscribe", "args": [3]}, {"op": "subscribe"}):
                await client.send(request)
                assert (await client.read())["event"] == "error"


async def test_pings_are_answered_as_each_venue_does() -> None:
    async with replay(ReplayConfig()) as exchange:
        async with wire(exchange, "okx", OKX) as client:
            await client.send("ping")
            assert await client.text() == "pong"
        async with wire(exchange, "bybit", BYBIT + "linear") as client:
            await client.send({"op": "ping", "req_id": "1"})
            assert (await client.read())["ret_msg"] == "pong"


@pytest.mark.parametrize(
    ("venue", "path", "status", "code"),
    [
        ("binance", "/api.binance.com/api/v3/depth?symbol=NOPE", 400, -1121),
        ("binance", "/api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=-1", 400, -1100),
        ("binance", "/api.binance.com/api/v3/account", 404, -1000),
        ("bybit", "/api.bybit.com/v5/market/orderbook?category=spot&symbol=NOPE", 200, 10001),
        ("bybit", "/api.bybit.com/v5/market/orderbook?category=nope&symbol=BTCUSDT", 200, 10001),
        ("okx", "/www.okx.com/api/v5/market/books?instId=NOPE", 200, "51001"),
        ("okx", "/www.okx.com/api/v5/public/instruments?instType=NOPE", 200, "51000"),
        ("okx", "/www.okx.com/api/v5/public/instruments?instType=OPTION&uly=../x", 200, "0"),
        ("okx", "/www.okx.com/api/v5/trade/order", 404, "404"),
    ],
)
async def test_rest_refusals(venue: str, path: str, status: int, code: object) -> None:
    async with replay(ReplayConfig(venues=(venue,))) as exchange:
        got, body = await get(exchange, venue, path)
    assert (got, body.get("code", body.get("retCode"))) == (status, code)


async def test_freeze_and_thaw() -> None:
    async with replay(ReplayConfig(("binance", "bybit"), ("BTCUSDT",), Pace(50.0, passes=1))) as exchange:
        await until(lambda: exchange.frames_played("bybit") > 50, "a moving replay")
        exchange.freeze("bybit")
        at, elsewhere = exchange.frames_played("bybit"), exchange.frames_played("binance")
        await until(lambda: exchange.frames_played("binance") > elsewhere + 500, "the other venue goes on")
        assert exchange.frames_played("bybit") == at
        exchange.thaw("bybit")
        await asyncio.wait_for(exchange.wait_finished(), PATIENCE_S)


# -- slow readers ----------------------------------------------------------------------------------------


async def test_flat_out_waits_for_a_slow_reader() -> None:
    config = ReplayConfig(("binance",), ("BTCUSDT",), Pace(None, passes=1), 2, outbox_limit=64)
    async with replay(config) as exchange, wire(exchange, "binance", USDM) as client:
        await client.send({"method": "SUBSCRIBE", "params": ["btcusdt@depth", "btcusdt@trade"], "id": 1})
        await client.read()
        (session,) = exchange._venues["binance"].sessions
        await until(lambda: session.full, "it waits for the reader")
        depth = [message async for message in played(exchange, client) if message["e"] == "depthUpdate"]
    assert all(b["pu"] == a["u"] for a, b in itertools.pairwise(depth))


async def test_a_reader_which_falls_behind_is_cut_off_and_others_are_not(short_data: Path) -> None:
    config = ReplayConfig(("binance",), ("BTCUSDT",), Pace(400.0), outbox_limit=200, data=short_data)
    subscribe = {"method": "SUBSCRIBE", "params": ["btcusdt@depth", "btcusdt@bookTicker"], "id": 1}
    async with replay(config) as exchange, aiohttp.ClientSession() as session:
        url = exchange.base_url("binance") + USDM
        async with session.ws_connect(url, max_msg_size=0) as slow, wire(exchange, "binance", USDM) as client:
            await slow.send_json(subscribe)
            await client.send(subscribe)
            async with asyncio.timeout(PATIENCE_S):
                while exchange.sessions("binance") == 2:
                    await client.read()
            for _ in range(100):
                await client.read()


# -- from outside ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", ["binance", "okx", "bybit"])
def test_redirect_reaches_every_url(venue: str) -> None:
    client = getattr(ccxt.pro, venue)()
    redirect(client, f"http://127.0.0.1:1/{venue}")

    def leaves(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else [leaf for each in node.values() for leaf in leaves(each)]

    urls = leaves(client.urls["api"])
    assert len(urls) > 1
    assert all(url.startswith((f"http://127.0.0.1:1/{venue}/", f"ws://127.0.0.1:1/{venue}/")) for url in urls)


def test_redirect_needs_a_base_url() -> None:
    with pytest.raises(ValueError, match="base_url"):
        redirect(ccxt.pro.okx(), "127.0.0.1:80")


@pytest.mark.parametrize("bad", [{"speed": 0.0}, {"speed": -1.0}, {"passes": 0}])
def test_a_senseless_pace_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Pace(**bad)


async def test_unknown_symbols_and_venues_are_refused() -> None:
    with pytest.raises(ValueError, match="venues"):
        ReplayConfig(venues=("kraken",))
    for venue in ("binance", "okx", "bybit"):
        with pytest.raises(ValueError, match="NOPE"):
            await ReplayExchange(ReplayConfig((venue,), ("NOPE",))).start()


async def test_the_command_serves_and_stops_on_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.replay", "--port", "0", "--venue", "okx",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while b"http://127.0.0.1" not in (line := await process.stdout.readline()):
            assert line, "the command ended before it served"
        url = line.split()[1].decode()
        async with aiohttp.ClientSession() as session, session.get(url + "/x/api/v5/public/time") as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
