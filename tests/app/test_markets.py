"""Venues and symbols that cannot be followed: what is at fault is told by its name, and everything else is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import grpc
import orjson
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.app import markets
from server.feeds import snapshots
from server.feeds.market import Market
from server.feeds.snapshots import Snapshots
from server.replay import ReplayConfig, ReplayExchange
from server.replay.bybit import Bybit
from server.replay.venue import Reply
from tests.support.app import Running, place, running, settings
from tests.support.rpc import refused
from tests.waiting import until
from tradewind.v1 import market_data_pb2, orders_pb2, system_pb2

SERVING, NOT_SERVING = system_pb2.SERVICE_STATE_SERVING, system_pb2.SERVICE_STATE_NOT_SERVING


async def services(app: Running) -> dict[str, system_pb2.ServiceStatus]:
    listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
    return {each.name: each for each in listed.services}


async def state(app: Running, instrument: str) -> int:
    request = market_data_pb2.GetBookRequest(instrument=instrument)
    found: int = (await app.market.GetBook(request, metadata=app.admin)).book.state
    return found


def delist(monkeypatch: pytest.MonkeyPatch, venue_symbol: str) -> None:
    """From now on Bybit's list of markets is without this one."""
    answer = Bybit.rest

    def rest(self: Bybit, host: str, path: str, query: Mapping[str, str]) -> Reply:
        reply = answer(self, host, path, query)
        if not path.endswith("instruments-info"):
            return reply
        body = orjson.loads(reply.body)
        body["result"]["list"] = [each for each in body["result"]["list"] if each["symbol"] != venue_symbol]
        return Reply(reply.status, orjson.dumps(body))

    monkeypatch.setattr(Bybit, "rest", rest)


async def test_a_symbol_that_was_delisted_is_not_served_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(tmp_path, feeds={"mode": "replay", "venues": {"bybit": ["ETH/USDT", "BTC/USDT"]}})
    async with running(config) as app:
        assert {"feed/bybit"} == {name for name in await services(app) if name.startswith("feed/")}
    delist(monkeypatch, "ETHUSDT")
    async with running(config) as app:
        assert app.ready.instrument == "bybit:BTC/USDT"
        told = await services(app)
        assert told["feed/bybit"].state == SERVING
        assert told["feed/bybit:ETH/USDT"].state == NOT_SERVING
        assert "bybit has no market 'ETH/USDT'" in told["feed/bybit:ETH/USDT"].detail
        health = health_pb2_grpc.HealthStub(app.channel)
        for name, expected in (("feed/bybit", "SERVING"), ("feed/bybit:ETH/USDT", "NOT_SERVING"), ("", "SERVING")):
            checked = await health.Check(health_pb2.HealthCheckRequest(service=name), metadata=app.admin)
            assert health_pb2.HealthCheckResponse.ServingStatus.Name(checked.status) == expected
        market = orders_pb2.ORDER_TYPE_MARKET
        filled = await place(app, instrument="bybit:BTC/USDT", type=market, qty="0.01")
        assert filled.status == orders_pb2.ORDER_STATUS_FILLED
        # The instrument itself is known from the first start: it has no price.
        assert await state(app, "bybit:ETH/USDT") == market_data_pb2.FEED_STATE_STALE
        quote = market_data_pb2.GetQuoteRequest(instrument="bybit:ETH/USDT")
        refusal = await refused(app.market.GetQuote(quote, metadata=app.admin))
        assert refusal.reason == "STALE_MARKET_DATA"
        assert "bybit has no market 'ETH/USDT'" in refusal.message
        halted = await place(app, instrument="bybit:ETH/USDT", type=market, qty="0.01")
        assert halted.status == orders_pb2.ORDER_STATUS_REJECTED


async def test_a_misspelt_symbol_is_told_to_whoever_asks_for_it(tmp_path: Path) -> None:
    feeds = {"mode": "replay", "venues": {"bybit": ["BTC/USDT", "ETH/USTD"]}}
    async with running(settings(tmp_path, feeds=feeds)) as app:
        told = await services(app)
        assert (told["feed/bybit"].state, told["feed/bybit:ETH/USTD"].state) == (SERVING, NOT_SERVING)
        request = market_data_pb2.GetInstrumentRequest(instrument="bybit:ETH/USTD")
        refusal = await refused(app.market.GetInstrument(request, metadata=app.admin))
        assert refusal.reason == "INSTRUMENT_NOT_FOUND"
        assert "is not known yet: bybit has no market 'ETH/USTD'; there is ETH/" in refusal.message
        assert "ETH/USDT" in refusal.message


async def test_a_venue_that_cannot_be_reached_is_named_as_the_reason(tmp_path: Path) -> None:
    gone = ReplayExchange(ReplayConfig(venues=("okx",)))
    await gone.start()
    url = gone.url
    await gone.stop()
    feeds = {"mode": "replay", "replay_url": url, "venues": {"okx": ["BTC/USDT"]}}
    async with running(settings(tmp_path, feeds=feeds)) as app:
        assert (await services(app))["feed/okx"].state == NOT_SERVING
        request = market_data_pb2.GetQuoteRequest(instrument="okx:BTC/USDT")
        refusal = await refused(app.market.GetQuote(request, metadata=app.admin))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "INSTRUMENT_NOT_FOUND")
        assert "instrument 'okx:BTC/USDT' is not known yet: okx cannot be reached" in refusal.message


@pytest.mark.parametrize("wanted", ["binance:btc/usdt", "binance:BTCUSDT", "okx:BTC-USDT", "internal:BTC/USTD"])
async def test_an_unknown_instrument_is_told_with_its_likes(tmp_path: Path, wanted: str) -> None:
    async with running(settings(tmp_path)) as app:
        request = market_data_pb2.GetInstrumentRequest(instrument=wanted)
        refusal = await refused(app.market.GetInstrument(request, metadata=app.admin))
        assert refusal.reason == "INSTRUMENT_NOT_FOUND"
        assert "there is internal:BTC/USDT" in refusal.message


@pytest.mark.parametrize("wanted", ["btc/usdt", "BTCUSDT", "BTC/USDT"])
async def test_a_name_without_venue_is_refused_with_the_venues_that_have_it(tmp_path: Path, wanted: str) -> None:
    async with running(settings(tmp_path)) as app:
        request = market_data_pb2.GetInstrumentRequest(instrument=wanted)
        refusal = await refused(app.market.GetInstrument(request, metadata=app.admin))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "must be venue:SYMBOL, such as internal:BTC/USDT" in refusal.message


@pytest.mark.parametrize("venue", ["binance", "okx", "bybit"])
async def test_a_listed_symbol_whose_book_never_comes_is_named_and_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: str
) -> None:
    monkeypatch.setattr(markets, "STARTING_LIMIT_S", 1.0)
    monkeypatch.setattr(snapshots, "_RESUBSCRIBE_TIMEOUT_S", 0.2)
    asked: list[str] = []
    ask = Snapshots._resubscribe

    async def resubscribe(fetched: Snapshots, market: Market) -> None:
        asked.append(market.symbol)
        await ask(fetched, market)

    monkeypatch.setattr(Snapshots, "_resubscribe", resubscribe)
    # Listed by the venue, and not recorded: the replay answers the subscription as the venue does, by a refusal or by
    # nothing.
    feeds = {"mode": "replay", "stale_after_s": 3.0, "venues": {venue: ["LTC/USDT", "BTC/USDT"]}}
    async with running(settings(tmp_path, feeds=feeds)) as app:
        told = (await services(app))[f"feed/{venue}"]
        assert told.state == system_pb2.SERVICE_STATE_DEGRADED
        assert "1 of 2 books are LIVE" in told.detail
        assert "LTC/USDT" in told.detail
        traded = market_data_pb2.ListTradesRequest(instrument=f"{venue}:BTC/USDT", page_size=1)

        async def trades() -> bool:
            return bool((await app.market.ListTrades(traded, metadata=app.admin)).trades)

        await until(trades, "a trade of BTC/USDT")
        seen = len(app.states)
        if venue != "binance":  # whose books are asked for when they move
            await until(lambda: len(asked) >= 4, "the book was asked for again")
            assert set(asked) == {"LTC/USDT"}
        assert {status.state.name for status in app.states[seen:] if status.name == f"feed/{venue}"} <= {"DEGRADED"}
        assert await state(app, f"{venue}:BTC/USDT") == market_data_pb2.FEED_STATE_LIVE
        assert await state(app, f"{venue}:LTC/USDT") != market_data_pb2.FEED_STATE_LIVE
