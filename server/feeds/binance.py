"""Binance: spot and USD-margined futures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.feeds.dialect import Dialect, Message
from server.feeds.frames import BUY, SELL, DepthFrame, Frame, QuoteFrame, TradeFrame, read
from server.feeds.numbers import ns, sequence, trade_id
from server.feeds.specs import Rules

_SNAPSHOT_DEPTH = 1_000


class Binance(Dialect):
    """A spot delta covers the update ids `U` to `u` and follows `U - 1`; a futures delta says that it follows `pu`."""

    ccxt_id = "binance"
    snapshot_by_rest = True
    exact_snapshots = True
    subscriptions_per_request = 100

    def refusal(self, symbol: str) -> str:
        pair, _, settled = symbol.partition(":")
        if settled and pair.endswith("/USD"):
            return "COIN-M futures are not followed, only those with margin in dollar coins, such as BTC/USDT:USDT"
        return super().refusal(symbol)

    def options(self, symbols: Sequence[str]) -> dict[str, Any]:
        products = sorted({"linear" if ":" in symbol else "spot" for symbol in symbols})
        return {"fetchMarkets": {"types": products}}

    def product(self, url: str) -> str:
        return "linear" if "fstream" in url else "spot"

    def key(self, market: dict[str, Any]) -> str:
        return f"{'linear' if market['contract'] else 'spot'}:{market['id']}"

    def rules(self, market: dict[str, Any]) -> Rules:
        filters = {each["filterType"]: each for each in market["info"]["filters"]}
        lot = filters["LOT_SIZE"]
        notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
        return Rules(
            tick_size=filters["PRICE_FILTER"]["tickSize"],
            lot_size=lot["stepSize"],
            min_qty=lot["minQty"],
            max_qty=lot["maxQty"],
            min_notional=notional.get("minNotional") or notional.get("notional") or "",
        )

    def parse(self, message: Message, product: str) -> Sequence[Frame] | None:
        if "stream" in message:
            message = message["data"]
        event = message.get("e")
        market = f"{product}:{message.get('s')}"
        if event == "depthUpdate":
            return (read("book", market, _depth, message),)
        if event == "trade":
            return (read("trade", market, _trade, message),)
        if event == "bookTicker" or (event is None and "B" in message and "A" in message):
            return (read("quote", market, _quote, message),)
        return None

    async def fetch_snapshot(self, exchange: Any, market: dict[str, Any]) -> DepthFrame:
        # The raw answer: ccxt's own book holds floats.
        endpoint = exchange.fapiPublicGetDepth if market["contract"] else exchange.publicGetDepth
        book = await endpoint({"symbol": market["id"], "limit": _SNAPSHOT_DEPTH})
        venue_time_ns = ns(book["T"]) if "T" in book else None
        last = sequence(book["lastUpdateId"])
        return DepthFrame(
            market=self.key(market),
            is_snapshot=True,
            bids=book["bids"],
            asks=book["asks"],
            prev_sequence=last,
            sequence=last,
            venue_time_ns=venue_time_ns,
            max_levels=_SNAPSHOT_DEPTH,
        )


def _depth(market: str, message: Message) -> DepthFrame:
    return DepthFrame(
        market=market,
        is_snapshot=False,
        bids=message["b"],
        asks=message["a"],
        prev_sequence=sequence(message["pu"]) if "pu" in message else sequence(message["U"]) - 1,
        sequence=sequence(message["u"]),
        venue_time_ns=ns(message.get("T") or message["E"]),
    )


def _quote(market: str, message: Message) -> QuoteFrame:
    venue_time_ns = ns(message["T"]) if "T" in message else None
    bid, ask = (message["b"], message["B"]), (message["a"], message["A"])
    return QuoteFrame(market, bid, ask, venue_time_ns, sequence(message.get("u", 0)))


def _trade(market: str, message: Message) -> TradeFrame:
    return TradeFrame(
        market=market,
        trade_id=trade_id(message["t"]),
        price=message["p"],
        qty=message["q"],
        aggressor_side=SELL if message["m"] else BUY,
        venue_time_ns=ns(message["T"]),
        number=sequence(message["t"]),
        # Futures also number what is no trade of the market, such as insurance fund transfers.
        public=message.get("X", "MARKET") == "MARKET",
    )
