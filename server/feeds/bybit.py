"""Bybit v5: spot, linear and inverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.feeds.dialect import Dialect, Message
from server.feeds.frames import BUY, EMPTY_SIDE, SELL, DepthFrame, Frame, QuoteFrame, TradeFrame, read
from server.feeds.numbers import ns, sequence, trade_id
from server.feeds.specs import Rules

_DEPTH = 200


class Bybit(Dialect):
    """The update id `u` of a book grows by one a message; after a restart of the venue it is 1, with a whole book."""

    ccxt_id = "bybit"
    snapshot_by_rest = False
    exact_snapshots = False
    # A request is refused whole for one market that is not traded any more.
    subscriptions_per_request = 1

    def options(self, symbols: Sequence[str]) -> dict[str, Any]:
        return {"fetchMarkets": {"types": sorted({_category(symbol) for symbol in symbols})}}

    def product(self, url: str) -> str:
        return url.rpartition("/")[2]

    def key(self, market: dict[str, Any]) -> str:
        return f"{_category_of(market)}:{market['id']}"

    def rules(self, market: dict[str, Any]) -> Rules:
        info = market["info"]
        lot = info["lotSizeFilter"]
        return Rules(
            tick_size=info["priceFilter"]["tickSize"],
            lot_size=lot.get("basePrecision") or lot["qtyStep"],
            min_qty=lot["minOrderQty"],
            max_qty=lot.get("maxLimitOrderQty") or lot["maxOrderQty"],
            min_notional=lot.get("minOrderAmt") or lot.get("minNotionalValue") or "",
        )

    def parse(self, message: Message, product: str) -> Sequence[Frame] | None:
        topic = message.get("topic")
        if topic is None:
            return None
        channel, _, symbol = topic.rpartition(".")
        market = f"{product}:{symbol}"
        if channel == "orderbook.1":
            return (read("quote", market, _quote, message),)
        if channel.startswith("orderbook."):
            return (read("book", market, _depth, message),)
        if channel == "publicTrade":
            return [read("trade", market, _trade, trade) for trade in message["data"]]
        return ()

    def refused(self, message: Message) -> str | None:
        if message.get("op") in ("subscribe", "unsubscribe") and message.get("success") is False:
            return str(message.get("ret_msg", ""))
        return None

    def book_params(self) -> dict[str, Any]:
        return {"limit": _DEPTH}

    def unwatch_params(self) -> dict[str, Any]:
        return {"limit": _DEPTH}

    async def fetch_snapshot(self, exchange: Any, market: dict[str, Any]) -> DepthFrame:
        wanted = {"category": _category_of(market), "symbol": market["id"], "limit": _DEPTH}
        book = (await exchange.publicGetV5MarketOrderbook(wanted))["result"]
        # Its update ids are those of another depth; `seq` is the same for all.
        update_id = sequence(book["u"])
        return DepthFrame(
            market=self.key(market),
            is_snapshot=True,
            bids=book["b"],
            asks=book["a"],
            prev_sequence=update_id,
            sequence=update_id,
            venue_time_ns=ns(book.get("cts") or book["ts"]),
            position=sequence(book["seq"]),
            max_levels=_DEPTH,
        )


def _category_of(market: dict[str, Any]) -> str:
    return "spot" if market["spot"] else "linear" if market["linear"] else "inverse"


def _category(symbol: str) -> str:
    settled = symbol.partition(":")[2]
    if not settled:
        return "spot"
    return "linear" if settled.partition("-")[0] in ("USDT", "USDC") else "inverse"


def _depth(market: str, message: Message) -> DepthFrame:
    book = message["data"]
    update_id = sequence(book["u"])
    return DepthFrame(
        market=market,
        is_snapshot=message["type"] == "snapshot" or update_id == 1,
        bids=book["b"],
        asks=book["a"],
        prev_sequence=update_id - 1,
        sequence=update_id,
        venue_time_ns=ns(message.get("cts") or message["ts"]),
        position=sequence(book.get("seq", 0)),
    )


def _quote(market: str, message: Message) -> QuoteFrame:
    top = message["data"]
    bid = top["b"][0] if top["b"] else EMPTY_SIDE
    ask = top["a"][0] if top["a"] else EMPTY_SIDE
    return QuoteFrame(market, bid, ask, ns(message.get("cts") or message["ts"]))


def _trade(market: str, trade: Message) -> TradeFrame:
    side = BUY if trade["S"] == "Buy" else SELL
    return TradeFrame(market, trade_id(trade["i"]), trade["p"], trade["v"], side, ns(trade["T"]))
