"""A hand-driven loopback exchange: a test sends raw Bybit, OKX and Binance spot frames to real ccxt clients."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from server.app.config import Config
from tests.support.app import settings
from tests.waiting import until

MARKETS = Path(__file__).parents[2] / "server" / "replay" / "data" / "markets"

Rows = list[tuple[str, str]]


def now_ms() -> int:
    return int(time.time() * 1_000)


def _listed(pattern: str) -> Any:
    (path,) = MARKETS.glob(pattern)
    return json.loads(gzip.decompress(path.read_bytes()))


class _Session:
    def __init__(self, socket: web.WebSocketResponse, product: str, *, combined: bool) -> None:
        self.socket = socket
        self.product = product
        self.combined = combined
        self.topics: dict[str, str] = {}
        """By our name for it, as the venue calls it."""


class HandExchange:
    """`url` is what `feeds.replay_url` takes. Topics are named as the venue does: `orderbook.200.BTCUSDT` (Bybit),
    `books:BTC-USDT` (OKX), `btcusdt@depth` (Binance)."""

    def __init__(self) -> None:
        self.url = ""
        self.first: dict[tuple[str, str], dict[str, Any]] = {}
        """What a new subscriber of a (venue, topic) is sent."""
        self.snapshots: dict[str, dict[str, Any]] = {}
        """Binance's answer about a symbol's book over REST."""
        self.ticks: dict[str, str] = {}
        """Tick sizes by Bybit symbol, where they are other ones than those that were recorded."""
        self.unlisted: set[str] = set()
        """Bybit symbols that are not listed any more."""
        self.subscribed: list[tuple[str, str]] = []
        """All subscriptions so far, in order."""
        self._sessions: dict[str, set[_Session]] = {"bybit": set(), "okx": set(), "binance": set()}

    async def send(self, venue: str, topic: str, *messages: dict[str, Any] | str) -> None:
        """Send messages, or texts as they are, to all who are subscribed; waits until somebody is."""
        await until(lambda: self._listening(venue, topic), f"somebody subscribes {topic}")
        for session in self._listening(venue, topic):
            for message in messages:
                sent = {"stream": session.topics[topic], "data": message} if session.combined else message
                with contextlib.suppress(ConnectionError):
                    await session.socket.send_str(sent if isinstance(sent, str) else json.dumps(sent))

    async def cut(self, venue: str) -> None:
        """Close all connections of a venue."""
        for session in list(self._sessions[venue]):
            await session.socket.close()

    def _listening(self, venue: str, topic: str) -> list[_Session]:
        return [session for session in self._sessions[venue] if topic in session.topics]

    # -- inside --------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        venue, host, path = (request.match_info[name] for name in ("venue", "host", "path"))
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.json_response(self._rest(venue, path, dict(request.query)))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = _Session(socket, host, combined=venue == "binance" and path.startswith("stream"))
        self._sessions[venue].add(session)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._said(venue, session, message.data)
        finally:
            self._sessions[venue].discard(session)
        return socket

    async def _said(self, venue: str, session: _Session, text: str) -> None:
        if text == "ping":
            await session.socket.send_str("pong")
            return
        request = json.loads(text)
        operation = str(request.get("op") or request.get("method") or "").lower()
        if venue == "bybit":
            pong = "pong" if operation == "ping" else ""
            answer = {"success": True, "ret_msg": pong, "conn_id": "", "req_id": str(request.get("req_id", ""))}
            await session.socket.send_json(answer | {"op": operation})
        elif venue == "binance":
            await session.socket.send_json({"result": None, "id": request.get("id")})
        for named in request.get("args") or request.get("params") or ():
            topic = named
            if venue == "okx":
                topic = f"{named['channel']}:{named['instId']}"
                await session.socket.send_json({"event": operation, "arg": named, "connId": ""})
            topic = topic.removesuffix("@100ms")
            if operation == "unsubscribe":
                session.topics.pop(topic, None)
                continue
            session.topics[topic] = named
            self.subscribed.append((venue, topic))
            if (venue, topic) in self.first:
                await session.socket.send_json(self.first[venue, topic])

    def _rest(self, venue: str, path: str, query: dict[str, str]) -> dict[str, Any]:
        if venue == "bybit":
            found: dict[str, Any] = _listed("bybit_instruments_spot*") if path.endswith("instruments-info") else {}
            if found:
                found["result"]["list"] = [m for m in found["result"]["list"] if m["symbol"] not in self.unlisted]
            for listed in found["result"]["list"] if found else ():
                recorded = listed["priceFilter"]["tickSize"]
                listed["priceFilter"]["tickSize"] = self.ticks.get(listed["symbol"], recorded)
            empty = {"category": query.get("category", ""), "list": [], "nextPageCursor": ""}
            return found or {"retCode": 0, "retMsg": "OK", "result": empty, "retExtInfo": {}, "time": now_ms()}
        if venue == "okx":
            return dict(_listed("okx_instruments_SPOT*")) if path.endswith("instruments") else {"code": "0", "data": []}
        if path.endswith("depth"):
            return self.snapshots[query["symbol"]]
        return dict(_listed("binance_spot*")) if path.endswith("exchangeInfo") else {}


@contextlib.asynccontextmanager
async def hand_exchange() -> AsyncIterator[HandExchange]:
    exchange = HandExchange()
    app = web.Application()
    app.router.add_get("/{venue}/{host}/{path:.*}", exchange.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    exchange.url = f"http://{host}:{port}"
    try:
        yield exchange
    finally:
        await runner.cleanup()


def fed_by(exchange: HandExchange, data_dir: Path, venues: dict[str, list[str]], **overrides: Any) -> Config:
    """A configuration whose venues are the exchange."""
    feeds = {"mode": "replay", "replay_url": exchange.url, "venues": venues}
    return settings(data_dir, feeds=feeds, **overrides)


class BybitMarket:
    """One Bybit spot market of the exchange; numbers its own messages."""

    def __init__(self, exchange: HandExchange, symbol: str) -> None:
        self._exchange = exchange
        self._symbol = symbol
        self._update_id = 100
        self._ids = itertools.count(1)

    def set_snapshot(self, bids: Rows, asks: Rows) -> None:
        """The whole book that those who subscribe from now on are sent first."""
        self._update_id += 1
        self._exchange.first["bybit", f"orderbook.200.{self._symbol}"] = self._book("snapshot", bids, asks)

    async def delta(self, b: Any = (), a: Any = (), **fields: Any) -> None:
        """`fields` take the place of those of the message's data."""
        self._update_id += 1
        message = self._book("delta", b, a)
        message["data"] |= fields
        await self._send("orderbook.200", message)

    async def quote(self, bid: tuple[str, str], ask: tuple[str, str], **fields: Any) -> None:
        """`fields` take the place of those of the message."""
        await self._send("orderbook.1", self._book("snapshot", [bid], [ask], "orderbook.1") | fields)

    async def trade(self, *trades: dict[str, Any]) -> None:
        """One message; each trade's fields as the venue names them, the others are made up."""
        data = [
            {
                "T": now_ms(),
                "s": self._symbol,
                "S": "Buy",
                "v": "1",
                "p": "100",
                "i": f"{self._symbol}-{next(self._ids)}",
            }
            | fields
            for fields in trades
        ]
        topic = f"publicTrade.{self._symbol}"
        await self._send("publicTrade", {"topic": topic, "ts": now_ms(), "type": "snapshot", "data": data})

    def _book(self, kind: str, bids: Any, asks: Any, channel: str = "orderbook.200") -> dict[str, Any]:
        data = {"s": self._symbol, "b": bids, "a": asks, "u": self._update_id, "seq": self._update_id}
        ms = now_ms()
        return {"topic": f"{channel}.{self._symbol}", "ts": ms, "type": kind, "data": data, "cts": ms}

    async def _send(self, channel: str, message: dict[str, Any]) -> None:
        await self._exchange.send("bybit", f"{channel}.{self._symbol}", message)
