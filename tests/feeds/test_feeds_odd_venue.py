"""A venue that sends what no venue should: absurd numbers, crossed quotes, trades twice, one channel silent. The whole
server on a loopback exchange; each fault stays with its own market, and what is served is right or said to be stale."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from server.feeds import rules_watch
from tests.support.app import running
from tests.support.hand_exchange import BybitMarket, HandExchange, fed_by, hand_exchange, now_ms
from tests.waiting import until
from tradewind import AsyncClient, Book, OrderRequest

BTC, DOGE = "bybit:BTC/USDT", "bybit:DOGE/USDT"


@dataclass
class House:
    exchange: HandExchange
    client: AsyncClient
    btc: BybitMarket
    doge: BybitMarket
    metrics_url: str

    async def top(self, instrument: str = BTC) -> tuple[str, Decimal | None, Decimal | None]:
        return top(await self.client.get_book(instrument))

    async def quote(self, instrument: str = BTC) -> tuple[Decimal | None, Decimal | None]:
        found = await self.client.get_quote(instrument)
        return found.bid_price, found.ask_price

    async def counted(self, metric: str, venue: str = "bybit") -> float:
        """The value of a counter of a venue's feed."""

        def scraped() -> bytes:
            with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
                return bytes(answer.read())

        page = (await asyncio.to_thread(scraped)).decode()
        name = f'{metric}{{venue="{venue}"}} '
        return sum(float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name))


def top(book: Book) -> tuple[str, Decimal | None, Decimal | None]:
    bid = book.bids[0].price if book.bids else None
    return str(book.state), bid, book.asks[0].price if book.asks else None


@contextlib.asynccontextmanager
async def house(tmp_path: Path, **venues: list[str]) -> AsyncIterator[House]:
    venues = venues or {"bybit": ["BTC/USDT", "DOGE/USDT"]}
    async with hand_exchange() as exchange:
        btc, doge = BybitMarket(exchange, "BTCUSDT"), BybitMarket(exchange, "DOGEUSDT")
        if "bybit" in venues:
            btc.set_snapshot([("59999", "5")], [("60001", "5")])
            doge.set_snapshot([("0.11", "100000")], [("0.12", "100000")])
        named, data = {"channel": "books", "instId": "BTC-USDT"}, {"bids": [["59999", "5"]], "asks": [["60001", "5"]]}
        data |= {"ts": str(now_ms()), "seqId": 10, "prevSeqId": -1}
        exchange.first["okx", "books:BTC-USDT"] = {"arg": named, "action": "snapshot", "data": [data]}
        ticks = {"ticks_url": f"duckdb:///{tmp_path}/ticks.duckdb"}
        config = fed_by(exchange, tmp_path, venues, storage=ticks, metrics={"enabled": True})
        async with running(config) as app:
            token = app.ready.admin_token_path.read_text().strip()
            async with AsyncClient(app.ready.address, token=token, account="demo") as client:
                yield House(exchange, client, btc, doge, str(app.ready.metrics_url))


ABSURD_LEVELS: list[Any] = [
    ["59998", "10000000000000000000"],
    ["59998", "1" + "0" * 25],
    ["59998", "1e30"],
    ["922337203685477580.8", "1"],
    ["99999999999999999999999", "1"],
    ["0", "1"],
    ["-5", "1"],
    ["59998", 5],
    ["59998", None],
    ["59998"],
    [["59998"], "1"],
    "59998",
    7,
]


async def test_an_absurd_level_stops_its_own_book_and_nothing_else(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        resting = await it.client.buy(BTC, "0.001", "59990")  # the engine follows this book
        for number, level in enumerate(ABSURD_LEVELS, 1):
            # The book is taken anew, with other prices each time.
            it.btc.set_snapshot([(str(59_000 + number), "5")], [("60001", "5")])
            await it.btc.delta(b=[level])
            await until(lambda n=number: taken_anew(it, n), f"the book after {level}")  # type: ignore[misc]
            assert (await it.client.buy("internal:SOL/USDT", "1", "1")).status == "NEW"
            assert (await it.client.buy(BTC, "0.001")).status == "FILLED"
            assert (await it.top(DOGE))[0] == "LIVE"
        assert (await it.client.get_order(resting.order_id)).status == "NEW"
        assert await it.counted("tradewind_feed_gaps_total") == len(ABSURD_LEVELS)


async def taken_anew(it: House, number: int) -> bool:
    return await it.top() == ("LIVE", Decimal(59_000 + number), Decimal(60_001))


async def test_an_absurd_sequence_id_reaches_no_caller(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        for number, odd in enumerate((10**20, 2**63, -7, 1.5, "x", None), 1):
            it.btc.set_snapshot([(str(59_000 + number), "5")], [("60001", "5")])
            await it.btc.delta(b=[["59998", "1"]], u=odd)
            await until(lambda n=number: taken_anew(it, n), f"the book after {odd}")  # type: ignore[misc]
            async with it.client.watch_book(BTC) as books:
                assert (await anext(books)).bids[0].price == 59_000 + number
        assert await it.counted("tradewind_feed_refused_total") == 0


async def test_an_absurd_trade_takes_no_other_with_it(tmp_path: Path) -> None:
    """Neither of its own message nor of other markets, nor from the tick store."""
    damages: list[dict[str, Any]] = [
        {"v": "1" + "0" * 25}, {"p": "1e30"}, {"T": 10**20}, {"T": 1.5}, {"T": -1}, {"i": "x" * 100}, {"i": ""},
        {"v": "0"}, {"p": "0"}, {"v": None}, {"p": 5}, {"S": None, "p": "-1"},
    ]  # fmt: skip
    begin = datetime.now(UTC) - timedelta(seconds=1)
    async with house(tmp_path) as it:
        for damage in damages:
            await it.doge.trade({"p": "0.12"})
            await it.btc.trade({"p": "60000"}, {"p": "60000"} | damage, {"p": "60000"})
        for instrument, count in ((DOGE, len(damages)), (BTC, 2 * len(damages))):

            async def recorded(name: str = instrument, wanted: int = count) -> bool:
                return len(await it.client.list_trades(name, 1_000, start=begin)) == wanted

            await until(recorded, f"{count} trades of {instrument} in the tick store")
            hour = await it.client.list_candles(instrument, timedelta(hours=1), begin - timedelta(hours=1))
            assert sum(candle.trade_count for candle in hour) == count
        assert await it.counted("tradewind_feed_refused_total") == len(damages)
        stores = [each for each in await it.client.list_services() if each.name == "store/ticks"]
        assert [str(each.state) for each in stores] == ["SERVING"]


async def test_a_message_that_is_no_json_leaves_the_connection(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        await it.btc.trade({"p": "60000"})
        connections = len(it.exchange.subscribed)
        odd = [
            '{"topic": ',
            '{"topic":"publicTrade.BTCUSDT","data":7}',
            '{"topic":7}',
            '{"i":"\\ud800"}',
            "[]",
            "7",
            "{}",
        ]
        await it.exchange.send("bybit", "publicTrade.BTCUSDT", *odd)
        await it.btc.trade({"p": "60001"})

        async def came() -> bool:
            return len(await it.client.list_trades(BTC)) == 2

        await until(came)
        assert len(it.exchange.subscribed) == connections, "nothing was subscribed again"
        assert await it.counted("tradewind_feed_refused_total") == 4


async def test_a_quote_that_cannot_be_right_is_left_out(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        await it.btc.quote(("60000", "1"), ("60001", "1"))
        await until(lambda: quoted(it, 60_000, 60_001))
        odd: list[Any] = [
            (("99999", "1"), ("61714", "1")),
            (("60000", "1"), ("60000", "1")),
            (("60000", "0"), ("60001", "1")),
            (("60000", "1"), ("60001", "1" + "0" * 25)),
            (("60000.05", "1"), ("60001", "1")),
        ]
        async with it.client.watch_quotes(BTC) as quotes:
            await anext(quotes)
            for bid, ask in odd:
                await it.btc.quote(bid, ask)
            await it.btc.quote(("60000.5", "1"), ("60001", "1"))
            assert (await anext(quotes)).bid_price == Decimal("60000.5")
        assert await it.counted("tradewind_feed_refused_total") == len(odd)


async def quoted(it: House, bid: int, ask: int) -> bool:
    return await it.quote() == (Decimal(bid), Decimal(ask))


async def test_a_silent_quote_channel_beside_a_live_book(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        await it.btc.quote(("59999", "1"), ("60001", "1"))
        await until(lambda: quoted(it, 59_999, 60_001))
        for n in range(1, 16):
            moved = {"b": [[str(59_999 + 100 * n), "5"]], "a": [[str(60_001 + 100 * (n - 1)), "0"]]}
            moved["a"].append([str(60_001 + 100 * n), "5"])
            await it.btc.delta(**moved)
        await until(lambda: quoted(it, 61_499, 61_501), "the quote follows the book")
        assert await it.top() == ("LIVE", Decimal(61_499), Decimal(61_501))
        async with it.client.watch_quotes(BTC) as quotes:
            assert (await anext(quotes)).bid_price == 61_499
            await it.btc.delta(b=[["61500", "2"]])
            assert (await anext(quotes)).bid_price == 61_500
            # A quote from before that is overtaken; one from after it counts.
            await it.btc.quote(("59999", "1"), ("60001", "1"), cts=now_ms() - 15_000)
            await it.btc.quote(("61500.5", "1"), ("61501", "1"), cts=now_ms() + 1)
            assert (await anext(quotes)).bid_price == Decimal("61500.5")


async def test_a_book_that_does_not_follow_its_quote_is_taken_anew(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        await it.btc.quote(("59999", "1"), ("60001", "1"))
        await until(lambda: quoted(it, 59_999, 60_001))
        subscriptions = it.exchange.subscribed.count(("bybit", "orderbook.200.BTCUSDT"))
        it.btc.set_snapshot([("61499", "5")], [("61501", "5")])
        await it.btc.quote(("61499", "1"), ("61501", "1"), cts=now_ms() + 1)  # and nothing on the book's channel
        await until(lambda: quoted(it, 61_499, 61_501))

        async def followed() -> bool:
            return await it.top() == ("LIVE", Decimal(61_499), Decimal(61_501))

        await until(followed, "the book is fetched again")
        assert it.exchange.subscribed.count(("bybit", "orderbook.200.BTCUSDT")) == subscriptions + 1
        assert (await it.top(DOGE))[0] == "LIVE"


async def test_an_empty_market_is_asked_for_again_and_its_connection_is_kept(tmp_path: Path) -> None:
    async with house(tmp_path, bybit=["DOGE/USDT"]) as it:
        it.doge.set_snapshot([], [])
        await it.doge.delta(b=[["0.11", "0"]], u=10**20)
        trades, books = ("bybit", "publicTrade.DOGEUSDT"), ("bybit", "orderbook.200.DOGEUSDT")
        await until(lambda: it.exchange.subscribed.count(books) > 3, "the book asked for again and again")
        assert it.exchange.subscribed.count(trades) == 1
        it.doge.set_snapshot([("0.11", "5")], [("0.12", "5")])

        async def is_there() -> bool:
            return await it.top(DOGE) == ("LIVE", Decimal("0.11"), Decimal("0.12"))

        await until(is_there, "the book, now that somebody is in the market")
        assert it.exchange.subscribed.count(trades) == 1


async def test_trades_that_a_venue_repeats_count_once(tmp_path: Path) -> None:
    """In candles, the tick store, and for paper orders, whichever of the newest it repeats."""
    begin = datetime.now(UTC) - timedelta(seconds=1)
    async with house(tmp_path) as it:
        resting = await it.client.buy(BTC, "0.8", "59990")
        trades = [{"p": "60000", "v": "1", "i": f"t{n}", "T": now_ms()} for n in range(5)]
        through = {"p": "59980", "v": "0.4", "S": "Sell", "i": "through", "T": now_ms()}
        await it.btc.trade(*trades, through)
        await until(lambda: filled(it, resting.order_id), "the print fills what it can")
        await it.btc.trade(trades[-1], through, through)
        await it.exchange.cut("bybit")
        await it.btc.trade(*trades[2:], through, {"p": "60000", "i": "last", "T": now_ms()})

        async def recorded() -> bool:
            return "last" in [trade.trade_id for trade in await it.client.list_trades(BTC, 1_000, start=begin)]

        await until(recorded)
        ids = [trade.trade_id for trade in await it.client.list_trades(BTC, 1_000, start=begin)]
        assert ids == ["t0", "t1", "t2", "t3", "t4", "through", "last"]
        assert [trade.trade_id for trade in await it.client.list_trades(BTC)] == ids[::-1]
        hour = await it.client.list_candles(BTC, timedelta(hours=1), begin - timedelta(hours=1))
        assert sum(candle.trade_count for candle in hour) == len(ids)
        assert (await it.client.get_order(resting.order_id)).cum_qty == Decimal("0.4")


async def test_trades_that_a_venue_repeats_after_a_restart_count_once(tmp_path: Path) -> None:
    begin = datetime.now(UTC) - timedelta(seconds=1)
    trades = [{"p": "59995", "v": "0.4", "S": "Sell", "i": f"t{n}", "T": now_ms()} for n in range(3)]
    async with house(tmp_path) as it:
        await it.btc.trade(*trades[:2])

        async def came() -> bool:
            return len(await it.client.list_trades(BTC)) == 2

        await until(came)
    async with house(tmp_path) as it:
        resting = await it.client.buy(BTC, "0.8", "59996")
        await it.btc.trade(*trades)
        await until(lambda: filled(it, resting.order_id), "the one print that is new fills its own quantity")

        async def recorded() -> list[str]:
            return [trade.trade_id for trade in await it.client.list_trades(BTC, 1_000, start=begin)]

        async def all_recorded() -> bool:
            return "t2" in await recorded()

        await until(all_recorded)
        assert await recorded() == ["t0", "t1", "t2"]
        assert [trade.trade_id for trade in await it.client.list_trades(BTC)] == ["t2"]
        assert await filled(it, resting.order_id)


async def filled(it: House, order_id: str) -> bool:
    return (await it.client.get_order(order_id)).cum_qty == Decimal("0.4")


async def test_trades_that_never_came_are_counted_where_they_are_numbered(tmp_path: Path) -> None:
    async with house(tmp_path, okx=["BTC/USDT"]) as it:
        named = {"channel": "trades", "instId": "BTC-USDT"}

        async def trade(number: int, **more: str) -> None:
            ms = str(now_ms())
            data = {"instId": "BTC-USDT", "tradeId": str(number), "px": "60000", "sz": "1", "side": "buy", "ts": ms}
            await it.exchange.send("okx", "trades:BTC-USDT", {"arg": named, "data": [data | more]})

        for number in (50_100, 50_101, 50_105, 50_106):
            await trade(number)
        await trade(50_110, count="4")  # 50,107 to 50,110 in one
        await trade(50_108)  # late
        await trade(50_113)

        async def came() -> bool:
            return len(await it.client.list_trades("okx:BTC/USDT")) == 7

        await until(came)
        assert await it.counted("tradewind_feed_lost_trades_total", "okx") == 3 + 2
        await trade(7)  # the venue numbers anew
        await trade(8)
        await trade(10)
        await until(lambda: count_is(it, 10))
        assert await it.counted("tradewind_feed_lost_trades_total", "okx") == 3 + 2 + 1


async def count_is(it: House, count: int) -> bool:
    return len(await it.client.list_trades("okx:BTC/USDT")) == count


async def test_a_venue_that_changes_its_tick_while_it_is_followed(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        await until(lambda: is_live(it, "59999"), "the book")
        bought = await it.client.buy(BTC, "0.001")
        resting = await it.client.buy(BTC, "0.001", "59000")
        stop = await it.client.place(OrderRequest(BTC, "SELL", "0.001", type="STOP", trigger_price="58000"))
        it.exchange.ticks["BTCUSDT"] = "0.001"
        it.btc.set_snapshot([("59999.555", "5")], [("60001", "5")])
        await it.btc.delta(b=[["59999.555", "5"]])
        await until(lambda: is_live(it, "59999.555"), "the book on the finer tick")
        assert (await it.client.get_instrument(BTC)).tick_size == Decimal("0.001")
        for order in (resting, stop):
            after = await it.client.get_order(order.order_id)
            assert (after.status, after.cancel_reason) == ("CANCELED", "INSTRUMENT_CHANGED")
        (position,) = await it.client.list_positions()
        assert (position.instrument, position.qty, position.avg_price) == (BTC, Decimal("0.001"), bought.avg_price)
        assert (await it.client.buy(BTC, "0.001", "59999.554")).status == "NEW"
        closed = await it.client.place(OrderRequest(BTC, "SELL", type="MARKET", close_position=True))
        assert (closed.status, closed.avg_price) == ("FILLED", Decimal("59999.555"))
        assert (await it.top(DOGE))[0] == "LIVE"


async def test_a_symbol_that_is_delisted_while_it_is_followed_is_no_price_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules_watch, "EVERY_S", 0.2)
    monkeypatch.setattr(rules_watch, "PAUSE_S", 0.05)
    async with house(tmp_path) as it:
        await until(lambda: is_live(it, "59999"), "the book")
        assert (await it.top(DOGE))[0] == "LIVE"
        it.exchange.unlisted.add("DOGEUSDT")

        async def is_stale() -> bool:
            return bool((await it.top(DOGE))[0] == "STALE")

        await until(is_stale, "the book of DOGE/USDT, which rests on a healthy connection, is no price")
        (feed,) = [each for each in await it.client.list_services() if each.name == "feed/bybit"]
        assert feed.state == "DEGRADED"
        assert "bybit has no market 'DOGE/USDT'" in feed.detail
        assert await is_live(it, "59999")


async def is_live(it: House, bid: str) -> bool:
    state, best, _ = await it.top()
    return (state, best) == ("LIVE", Decimal(bid))
