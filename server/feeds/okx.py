"""OKX v5: spot, perpetuals and futures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.feeds.dialect import Dialect, Message
from server.feeds.frames import BUY, EMPTY_SIDE, SELL, DepthFrame, Frame, QuoteFrame, TradeFrame, read
from server.feeds.numbers import MAX_SEQUENCE, integer, ns, sequence, trade_id
from server.feeds.specs import Rules

_SNAPSHOT_DEPTH = 400


class Okx(Dialect):
    """A delta names the one before it (`prevSeqId`). Messages from before these ids existed carry a checksum alone,
    those until 2026 both; since then the checksum is 0."""

    ccxt_id = "okx"
    snapshot_by_rest = False
    exact_snapshots = False
    subscriptions_per_request = 50

    def options(self, symbols: Sequence[str]) -> dict[str, Any]:
        return {"fetchMarkets": {"types": sorted({_type(symbol) for symbol in symbols})}}

    def product(self, url: str) -> str:
        return ""

    def key(self, market: dict[str, Any]) -> str:
        return str(market["id"])

    def rules(self, market: dict[str, Any]) -> Rules:
        info = market["info"]
        return Rules(info["tickSz"], info["lotSz"], info["minSz"], info.get("maxLmtSz", ""))

    def parse(self, message: Message, product: str) -> Sequence[Frame] | None:
        if "data" not in message or "arg" not in message:
            return None
        channel, market = message["arg"]["channel"], message["arg"]["instId"]
        if channel == "books":
            is_snapshot = message.get("action") == "snapshot"
            return [read("book", market, _depth, book, is_snapshot=is_snapshot) for book in message["data"]]
        if channel == "trades":
            return [read("trade", market, _trade, trade) for trade in message["data"]]
        if channel == "bbo-tbt":
            return [read("quote", market, _quote, top) for top in message["data"]]
        return ()

    def refused(self, message: Message) -> str | None:
        text = str(message.get("msg", ""))
        return text if message.get("event") == "error" and "instId" in text else None

    async def fetch_snapshot(self, exchange: Any, market: dict[str, Any]) -> DepthFrame:
        answer = await exchange.publicGetMarketBooks({"instId": market["id"], "sz": str(_SNAPSHOT_DEPTH)})
        book = answer["data"][0]
        number = sequence(book.get("seqId", 0))
        return DepthFrame(
            market=self.key(market),
            is_snapshot=True,
            bids=book["bids"],
            asks=book["asks"],
            prev_sequence=number,
            sequence=number,
            venue_time_ns=ns(book["ts"]),
            max_levels=_SNAPSHOT_DEPTH,
        )


def _type(symbol: str) -> str:
    settled = symbol.partition(":")[2]
    if not settled:
        return "spot"
    return "future" if "-" in settled else "swap"


def _depth(market: str, book: Message, *, is_snapshot: bool) -> DepthFrame:
    number = sequence(book.get("seqId", 0))
    checksum = integer(book["checksum"], -(2**31), 2**31 - 1, "the checksum") if "checksum" in book else None
    if number and checksum == 0:  # the venue computes none any more; the field stays
        checksum = None
    return DepthFrame(
        market=market,
        is_snapshot=is_snapshot,
        bids=book["bids"],
        asks=book["asks"],
        prev_sequence=sequence(book.get("prevSeqId", 0)),
        sequence=number,
        venue_time_ns=ns(book["ts"]),
        checksum=checksum,
    )


def _trade(market: str, trade: Message) -> TradeFrame:
    return TradeFrame(
        market=market,
        trade_id=trade_id(trade["tradeId"]),
        price=trade["px"],
        qty=trade["sz"],
        aggressor_side=BUY if trade["side"] == "buy" else SELL,
        venue_time_ns=ns(trade["ts"]),
        number=sequence(trade["tradeId"]),
        merged=integer(trade.get("count", 1), 1, MAX_SEQUENCE, "the number of merged trades"),
    )


def _quote(market: str, top: Message) -> QuoteFrame:
    bid = top["bids"][0] if top["bids"] else EMPTY_SIDE
    ask = top["asks"][0] if top["asks"] else EMPTY_SIDE
    return QuoteFrame(market, bid, ask, ns(top["ts"]))
