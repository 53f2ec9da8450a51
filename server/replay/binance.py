"""Binance: spot and USD-margined futures.

Spoken: SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS over raw (`/ws`) and combined (`/stream`) connections,
streams `trade`, `depth` (at every rate: as recorded), `bookTicker`, `ticker`, `miniTicker`; REST ping, time,
exchangeInfo, depth and 24 h ticker.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from server.base.clock import Clock
from server.replay.binance_recording import TRADE, UPDATE, BinanceRecording
from server.replay.book import Book
from server.replay.frame import TIME, Frame, Renumbering
from server.replay.session import Session
from server.replay.tradestats import TradeStats
from server.replay.venue import Reply, Venue, dumps, market_file, ok

_EXCHANGE_INFO = {
    "/api/v3": "binance_spot_exchangeInfo_20211012.json.gz",
    "/fapi/v1": "binance_usdm_testnet_exchangeInfo_20250306.json.gz",
    "/dapi/v1": "binance_coinm_exchangeInfo.json.gz",
}
_PRODUCT = {"/api/v3": "spot", "/fapi/v1": "usdm"}
_MAX_DEPTH = 5000
_TICKER_EVERY_MS = 1000


class _Instrument:
    """The state of one recorded instrument: its book, its day and its numbering."""

    def __init__(self, recording: BinanceRecording) -> None:
        self.recording = recording
        self.name = recording.symbol.upper()
        self.ids = Renumbering((UPDATE, TRADE))
        self.depth_time_ms = 0
        self.quote: Frame | None = None
        self.restart()

    def restart(self) -> None:
        """Put the book back to the recording's snapshot."""
        snapshot = self.recording.snapshot
        self.book = Book(snapshot.bids, snapshot.asks)
        self.last_update_id = snapshot.last_update_id + self.ids.shift[UPDATE]
        self.stats = TradeStats()

_STREAM = re.compile(r"\w+@\w+(@\w+)?")


class Binance(Venue):
    name = "binance"

    def __init__(self, clock: Clock, data: Path, symbols: Sequence[str] | None = None) -> None:
        super().__init__(clock)
        self._markets = data / "markets"
        recordings = [BinanceRecording(path) for path in sorted((data / "frames").glob("binance_*.txt.gz"))]
        wanted = [r for r in recordings if symbols is None or r.symbol.upper() in symbols]
        if not wanted:
            known = sorted({r.symbol.upper() for r in recordings})
            raise ValueError(f"no Binance recording of {symbols}; recorded are {known}")
        self._instruments = {(r.product, r.symbol): _Instrument(r) for r in wanted}
        self._by_topic = {
            r.topic(channel): self._instruments[r.product, r.symbol]
            for r in wanted
            for channel in ("trade", "bookTicker", "depth", "ticker", "miniTicker")
        }
        self._next_ticker_ms = 0

    # -- the recording ---------------------------------------------------------------------------------

    def instruments(self) -> list[str]:
        return [f"{i.recording.product}:{i.name}" for i in self._instruments.values()]

    @property
    def start_ns(self) -> int:
        return min(i.recording.first_ns for i in self._instruments.values())

    def frames(self) -> Iterator[Frame]:
        each = [i.recording.frames() for i in self._instruments.values()]
        return heapq.merge(*each, key=lambda frame: frame.time_ns)

    def begin_pass(self, number: int, now_ms: int) -> None:
        for instrument in self._instruments.values():
            end, last_update_id = instrument.book, instrument.last_update_id
            if number:
                instrument.ids.next_pass()
            instrument.restart()
            instrument.depth_time_ms = now_ms
            if number:
                self._publish_change(instrument, end, last_update_id, now_ms)
        self._next_ticker_ms = now_ms + _TICKER_EVERY_MS

    def _publish_change(self, instrument: _Instrument, end: Book, last_update_id: int, now_ms: int) -> None:
        """One depth update from the end of the recording to its start: clients see an ordinary move."""
        futures = instrument.recording.product == "usdm"
        bids, asks = end.changes_to(instrument.book)
        update: dict[str, Any] = {"e": "depthUpdate", "E": now_ms}
        if futures:
            update["T"] = now_ms
        update |= {"s": instrument.name, "U": last_update_id + 1, "u": instrument.last_update_id}
        if futures:
            update["pu"] = last_update_id
        update |= {"b": bids, "a": asks}
        self.publish(instrument.recording.topic("depth"), dumps(update), depth=True)

    def play(self, frame: Frame, shift_ms: int) -> None:
        instrument = self._by_topic[frame.topic]
        ids, template = instrument.ids, frame.template
        ids.shift[TIME] = shift_ms
        ids.note(template)
        channel = frame.topic.rpartition("@")[2]
        depth = channel == "depth"
        if depth:
            update = orjson.loads(frame.text)
            instrument.book.apply(update["b"], update["a"])
            instrument.last_update_id = update["u"] + ids.shift[UPDATE]
            instrument.depth_time_ms = update["E"] + shift_ms
        elif channel == "trade":
            trade = orjson.loads(frame.text)
            instrument.stats.add(trade["p"], trade["q"], trade["t"] + ids.shift[TRADE], trade["T"] + shift_ms)
        else:
            instrument.quote = frame
        if frame.topic in self.subscribers:
            self.publish(frame.topic, template.render(ids.shift), depth=depth)
        now_ms = frame.time_ns // 1_000_000 + shift_ms
        if now_ms >= self._next_ticker_ms:
            self._next_ticker_ms = now_ms + _TICKER_EVERY_MS
            self._publish_tickers(now_ms)

    def _publish_tickers(self, now_ms: int) -> None:
        for instrument in self._instruments.values():
            for channel, event in (("ticker", "24hrTicker"), ("miniTicker", "24hrMiniTicker")):
                topic = instrument.recording.topic(channel)
                if topic in self.subscribers and instrument.stats.count:
                    self.publish(topic, dumps(_ticker(instrument, event, now_ms)))

    # -- WebSocket -------------------------------------------------------------------------------------

    def opened(self, session: Session, host: str, path: str, query: Mapping[str, str]) -> None:
        super().opened(session, host, path, query)
        session.product = "usdm" if host.startswith("fstream") else "spot"
        session.combined = path.startswith("/stream")
        # Streams may be named in the URL. ccxt ends it with a connection number instead: no "@", no stream.
        named = query.get("streams", "") if session.combined else path.removeprefix("/ws")
        for name in named.split("/"):
            topic = self._topic(session, name)
            if topic:
                self.subscribe(session, topic, name)

    def received(self, session: Session, text: str) -> None:
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            session.push(_refusal(3, f"Invalid JSON: {error}"))
            return
        if not isinstance(request, dict):
            session.push(_refusal(2, "Invalid request: expected an object"))
            return
        request_id, method, names = request.get("id"), request.get("method"), request.get("params", [])
        if method == "LIST_SUBSCRIPTIONS":
            session.push(dumps({"result": list(session.topics.values()), "id": request_id}))
            return
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not isinstance(names, list):
            session.push(_refusal(2, "Invalid request: unknown method, or params is no list", request_id))
            return
        topics = {str(name): self._topic(session, str(name)) for name in names}
        malformed = [name for name in topics if not _STREAM.fullmatch(name)]
        if malformed:
            session.push(_refusal(2, f"Invalid request: no names of streams: {malformed}", request_id))
            return
        session.push(dumps({"result": None, "id": request_id}))
        for name, topic in topics.items():
            if not topic:
                continue  # what does not exist is taken like anything else, and never comes
            if method == "SUBSCRIBE":
                self.subscribe(session, topic, name)
            else:
                self.unsubscribe(session, topic)

    def _topic(self, session: Session, name: str) -> str:
        """The topic of a stream name, empty when there is none. The rate of a depth stream plays no part."""
        symbol, _, channel = name.partition("@")
        channel, _, rate = channel.partition("@")
        topic = f"{session.product}:{symbol}@{channel}"
        if topic not in self._by_topic or (rate and channel != "depth"):
            return ""
        return topic

    def adapt(self, session: Session, topic: str, text: str) -> str:
        if session.combined:
            return f'{{"stream":"{session.topics[topic]}","data":{text}}}'
        return text

    # -- REST ------------------------------------------------------------------------------------------

    def rest(self, host: str, path: str, query: Mapping[str, str]) -> Reply:
        base, _, endpoint = path.rpartition("/")
        if base.endswith("/ticker"):
            base, endpoint = base.removesuffix("/ticker"), "ticker/" + endpoint
        if base not in _EXCHANGE_INFO:
            return Reply(404, dumps({"code": -1000, "msg": f"{path} is not part of the replay"}).encode())
        if endpoint == "ping":
            return ok({})
        if endpoint == "time":
            return ok({"serverTime": self.clock.now_ns() // 1_000_000})
        if endpoint == "exchangeInfo":
            return Reply(200, market_file(self._markets / _EXCHANGE_INFO[base]))
        if endpoint not in ("depth", "ticker/24hr"):
            return Reply(404, dumps({"code": -1000, "msg": f"{path} is not part of the replay"}).encode())
        instrument = self._instruments.get((_PRODUCT.get(base, ""), query.get("symbol", "").lower()))
        if instrument is None:
            return Reply(400, dumps({"code": -1121, "msg": "Invalid symbol."}).encode())
        if endpoint == "depth":
            return self._depth(instrument, query.get("limit", "100"))
        return ok(_rest_ticker(instrument, self.clock.now_ns() // 1_000_000))

    def _depth(self, instrument: _Instrument, limit: str) -> Reply:
        if not limit.isdigit() or not int(limit):
            body = {"code": -1100, "msg": "Illegal characters found in parameter 'limit'"}
            return Reply(400, orjson.dumps(body))
        depth = min(int(limit), _MAX_DEPTH)
        answer: dict[str, Any] = {"lastUpdateId": instrument.last_update_id}
        if instrument.recording.product == "usdm":
            answer |= {"E": instrument.depth_time_ms, "T": instrument.depth_time_ms}
        return ok(answer | {"bids": instrument.book.bids(depth), "asks": instrument.book.asks(depth)})

    def too_many_requests(self) -> Reply:
        return Reply(429, orjson.dumps({"code": -1003, "msg": "Too many requests; please use the websocket."}))


def _refusal(code: int, message: str, request_id: object = None) -> str:
    return dumps({"error": {"code": code, "msg": message}, "id": request_id})


def _quote(instrument: _Instrument) -> dict[str, str]:
    if instrument.quote is None:
        return {"b": "0", "B": "0", "a": "0", "A": "0"}
    quote = orjson.loads(instrument.quote.text)
    return {key: quote[key] for key in ("b", "B", "a", "A")}


def _ticker(instrument: _Instrument, event: str, now_ms: int) -> dict[str, Any]:
    """A `ticker` or `miniTicker` push. Its window is what has been replayed in this pass, not 24 hours."""
    stats = instrument.stats
    ticker: dict[str, Any] = {"e": event, "E": now_ms, "s": instrument.name}
    ticker |= {"c": stats.last, "o": stats.open, "h": str(stats.high), "l": str(stats.low)}
    ticker |= {"v": str(stats.volume), "q": str(stats.quote_volume)}
    if event == "24hrTicker":
        ticker |= {"p": stats.change(), "P": stats.change_percent(), "w": stats.average(), "x": stats.open}
        ticker |= {"Q": stats.last_qty, "O": stats.first_time_ms, "C": now_ms} | _quote(instrument)
        ticker |= {"F": stats.first_id, "L": stats.last_id, "n": stats.count}
    return ticker


_REST_TICKER_FIELDS = {
    "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice",
    "c": "lastPrice", "Q": "lastQty", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty",
    "o": "openPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume",
    "O": "openTime", "C": "closeTime", "F": "firstId", "L": "lastId", "n": "count", "s": "symbol",
}  # fmt: skip


def _rest_ticker(instrument: _Instrument, now_ms: int) -> dict[str, Any]:
    push = _ticker(instrument, "24hrTicker", now_ms)
    return {name: push[key] for key, name in _REST_TICKER_FIELDS.items()}
