"""Bybit v5: spot and linear.

Spoken: subscribe, unsubscribe and ping; topics `orderbook.200` as recorded, `orderbook.50` and `orderbook.1`
derived from it, `publicTrade`, `tickers`, and `kline.1` built from the replayed trades; REST time,
instruments-info and orderbook.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from server.base.clock import Clock
from server.replay.book import Book, Row
from server.replay.capture import captured_frames
from server.replay.frame import TIME, Frame, Renumbering, Splitter
from server.replay.session import Session
from server.replay.tradestats import MINUTE_MS, MinuteCandle
from server.replay.venue import Reply, Venue, dumps, market_file, ok

_INSTRUMENTS = {
    "linear": "bybit_instruments_linear_20260809.json.gz",
    "spot": "bybit_instruments_spot_20260809.json.gz",
}
_CATEGORIES = ("spot", "linear", "inverse", "option")
_RECORDED_DEPTH = 200
_DERIVED_DEPTHS = (1, 50)
_CHANNELS = ("orderbook", "publicTrade", "tickers")

_SPLITTER = Splitter(
    {"ts": TIME, "cts": TIME, "T": TIME, "nextFundingTime": TIME}
    | {"u": "update", "seq": "sequence", "cs": "sequence", "i": "trade"}
)


class _View:
    """A shallower book derived from the recorded one, with update ids of its own."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.book = Book()
        self.update_id = 0


class _Instrument:
    def __init__(self, product: str, symbol: str) -> None:
        self.product = product
        self.symbol = symbol
        self.ids = Renumbering(("update", "sequence", "trade"))
        self.book: Book | None = None
        self.book_ids: dict[str, int] = {"u": 0, "seq": 0}
        self.book_times: dict[str, int] = {"ts": 0, "cts": 0}
        self.ticker: dict[str, Any] = {}
        self.candle = MinuteCandle()
        self.views = {depth: _View(depth) for depth in _DERIVED_DEPTHS}

    def topic(self, channel: str) -> str:
        return f"{self.product}:{channel}.{self.symbol}"


class Bybit(Venue):
    name = "bybit"

    def __init__(self, clock: Clock, data: Path, symbols: Sequence[str] | None = None) -> None:
        super().__init__(clock)
        self._markets = data / "markets"
        self._instruments: dict[tuple[str, str], _Instrument] = {}
        self._by_topic: dict[str, _Instrument] = {}
        self._frames = self._load(data / "frames" / "cryptofeed_BYBIT.jsonl.zst", symbols)
        self._connections = 0

    def _load(self, path: Path, symbols: Sequence[str] | None) -> list[Frame]:
        frames = []
        for captured in captured_frames(path):
            data: dict[str, Any] = captured.data
            channel, _, symbol = str(data.get("topic", "")).rpartition(".")
            if channel.partition(".")[0] not in _CHANNELS or (symbols is not None and symbol not in symbols):
                continue
            product = captured.address.rpartition("/")[2]
            topic = self._instrument(product, symbol).topic(channel)
            template = _SPLITTER.split(captured.text)
            frames.append(Frame(data["ts"] * 1_000_000, topic, captured.text, template))
        if not frames:
            raise ValueError(f"no Bybit recording of {symbols}")
        # The receiver got its frames in bursts, a connection at a time; the venue's push time orders them.
        return sorted(frames, key=lambda frame: frame.time_ns)

    def _instrument(self, product: str, symbol: str) -> _Instrument:
        instrument = self._instruments.get((product, symbol))
        if instrument is None:
            instrument = self._instruments[product, symbol] = _Instrument(product, symbol)
            depths = (_RECORDED_DEPTH, *_DERIVED_DEPTHS)
            for channel in ("publicTrade", "tickers", "kline.1", *(f"orderbook.{depth}" for depth in depths)):
                self._by_topic[instrument.topic(channel)] = instrument
        return instrument

    # -- the recording ---------------------------------------------------------------------------------

    def instruments(self) -> list[str]:
        return [f"{i.product}:{i.symbol}" for i in self._instruments.values()]

    @property
    def start_ns(self) -> int:
        return self._frames[0].time_ns

    def frames(self) -> Iterator[Frame]:
        return iter(self._frames)

    def begin_pass(self, number: int, now_ms: int) -> None:
        """Each book and ticker of the recording begins with a snapshot: nothing to send beyond it."""
        if number:
            for instrument in self._instruments.values():
                instrument.ids.next_pass()

    def play(self, frame: Frame, shift_ms: int) -> None:
        instrument = self._by_topic[frame.topic]
        ids = instrument.ids
        ids.shift[TIME] = shift_ms
        ids.note(frame.template)
        now_ms = frame.time_ns // 1_000_000 + shift_ms
        channel = frame.topic.partition(":")[2].partition(".")[0]
        text = frame.template.render(ids.shift)
        self.publish(frame.topic, text, depth=channel == "orderbook")
        message = orjson.loads(text)
        if channel == "orderbook":
            self._play_book(instrument, message)
        elif channel == "tickers":
            _merge_ticker(instrument, message)
        self._play_candle(instrument, message["data"] if channel == "publicTrade" else (), now_ms)

    def _play_book(self, instrument: _Instrument, message: dict[str, Any]) -> None:
        data = message["data"]
        instrument.book_ids = {"u": data["u"], "seq": data["seq"]}
        instrument.book_times = {"ts": message["ts"], "cts": message["cts"]}
        restart = message["type"] == "snapshot"
        if restart or instrument.book is None:
            instrument.book = Book(data["b"], data["a"])
        else:
            instrument.book.apply(data["b"], data["a"])
        for view in instrument.views.values():
            topic = instrument.topic(f"orderbook.{view.depth}")
            if topic in self.subscribers:
                self._update_view(instrument, view, topic, restart=restart)

    def _play_candle(self, instrument: _Instrument, trades: Iterable[dict[str, Any]], now_ms: int) -> None:
        candle, topic = instrument.candle, instrument.topic("kline.1")
        if candle.is_over(now_ms):
            self.publish(topic, _candle_text(instrument, now_ms, confirm=True))
            candle.stats = None
        for trade in trades:
            candle.add(trade["p"], trade["v"], now_ms)
        if trades:
            self.publish(topic, _candle_text(instrument, now_ms, confirm=False))

    def _update_view(self, instrument: _Instrument, view: _View, topic: str, *, restart: bool) -> None:
        assert instrument.book is not None
        top = instrument.book.top(view.depth)
        bids, asks = view.book.changes_to(top, zero="0")
        if not (restart or bids or asks):
            return
        view.book = top
        view.update_id += 1
        if restart or view.depth == 1:  # the venue sends its best-quote topic as snapshots only
            text = self._book_text(instrument, view, "snapshot", top.bids(), top.asks())
        else:
            text = self._book_text(instrument, view, "delta", bids, asks)
        self.publish(topic, text, depth=view.depth > 1)

    def _book_text(
        self, instrument: _Instrument, view: _View | None, kind: str, bids: list[Row], asks: list[Row]
    ) -> str:
        depth = view.depth if view else _RECORDED_DEPTH
        ids = instrument.book_ids | ({"u": view.update_id} if view else {})
        message: dict[str, Any] = {"topic": f"orderbook.{depth}.{instrument.symbol}", "type": kind}
        message["ts"] = instrument.book_times["ts"]
        message["data"] = {"s": instrument.symbol, "b": bids, "a": asks} | ids
        return dumps(message | {"cts": instrument.book_times["cts"]})

    # -- WebSocket -------------------------------------------------------------------------------------

    def opened(self, session: Session, host: str, path: str, query: Mapping[str, str]) -> None:
        super().opened(session, host, path, query)
        session.product = path.rpartition("/")[2]
        self._connections += 1
        session.connection_id = f"replay-{self._connections}"

    def received(self, session: Session, text: str) -> None:
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            session.push(self._answer(session, {}, "", success=False, message="Params Error"))
            return
        op, names = request.get("op"), request.get("args", [])
        if op == "ping":
            session.push(self._answer(session, request, "ping", success=True, message="pong"))
            return
        if op not in ("subscribe", "unsubscribe") or not isinstance(names, list):
            session.push(self._answer(session, request, str(op), success=False, message="Params Error"))
            return
        topics = {str(name): f"{session.product}:{name}" for name in names}
        unknown = [name for name, topic in topics.items() if topic not in self._by_topic]
        if unknown:
            message = f"error:handler not found,topic:{','.join(unknown)}"
            session.push(self._answer(session, request, op, success=False, message=message))
            return
        session.push(self._answer(session, request, op, success=True, message=""))
        for name, topic in topics.items():
            if op == "unsubscribe":
                self.unsubscribe(session, topic)
            elif topic not in session.topics:
                self.subscribe(session, topic, name)
                self._push_state(session, name, self._by_topic[topic])

    def _answer(self, session: Session, request: dict[str, Any], op: str, *, success: bool, message: str) -> str:
        answer = {"success": success, "ret_msg": message, "conn_id": session.connection_id}
        return dumps(answer | {"req_id": str(request.get("req_id", "")), "op": op})

    def _push_state(self, session: Session, name: str, instrument: _Instrument) -> None:
        """What a subscription begins with: the book or the ticker as it stands, as a snapshot."""
        channel, *rest = name.split(".")
        if channel == "tickers" and instrument.ticker:
            session.push(dumps(instrument.ticker))
        if channel != "orderbook" or instrument.book is None:
            return
        view = instrument.views.get(int(rest[0]))
        if view is not None:
            view.book = instrument.book.top(view.depth)
        book = view.book if view else instrument.book
        session.push(self._book_text(instrument, view, "snapshot", book.bids(), book.asks()))

    # -- REST ------------------------------------------------------------------------------------------

    def rest(self, host: str, path: str, query: Mapping[str, str]) -> Reply:
        if path == "/v5/market/time":
            now_ns = self.clock.now_ns()
            return self._result({"timeSecond": str(now_ns // 10**9), "timeNano": str(now_ns)})
        category = query.get("category", "")
        if path in ("/v5/market/instruments-info", "/v5/market/orderbook") and category not in _CATEGORIES:
            return self._error(10001, "params error: category invalid")
        if path == "/v5/market/instruments-info":
            first_page = not query.get("cursor") and query.get("status", "Trading") == "Trading"
            if category in _INSTRUMENTS and first_page:
                return Reply(200, market_file(self._markets / _INSTRUMENTS[category]))
            return self._result({"category": category, "list": [], "nextPageCursor": ""})
        if path == "/v5/market/orderbook":
            instrument = self._instruments.get((category, query.get("symbol", "")))
            if instrument is None or instrument.book is None:
                return self._error(10001, "params error: symbol invalid")
            depth = int(query["limit"]) if query.get("limit", "").isdigit() else 25
            book = {"s": instrument.symbol, "b": instrument.book.bids(depth), "a": instrument.book.asks(depth)}
            return self._result(book | instrument.book_ids | instrument.book_times)
        return Reply(404, dumps({"retCode": 404, "retMsg": f"{path} is not part of the replay"}).encode())

    def _result(self, result: dict[str, Any]) -> Reply:
        now_ms = self.clock.now_ns() // 1_000_000
        return ok({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ms})

    def _error(self, code: int, message: str) -> Reply:
        now_ms = self.clock.now_ns() // 1_000_000
        return ok({"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": now_ms})

    def too_many_requests(self) -> Reply:
        return Reply(429, orjson.dumps({"retCode": 10006, "retMsg": "Too many visits!", "result": {}}))


def _merge_ticker(instrument: _Instrument, message: dict[str, Any]) -> None:
    """A ticker delta has only the fields which changed; keep them all for those who join later."""
    if message["type"] == "snapshot":
        instrument.ticker = message
    else:
        merged = instrument.ticker["data"] | message["data"]
        instrument.ticker = instrument.ticker | {"cs": message["cs"], "ts": message["ts"], "data": merged}


def _candle_text(instrument: _Instrument, now_ms: int, *, confirm: bool) -> str:
    start_ms, stats = instrument.candle.start_ms, instrument.candle.stats
    assert stats is not None
    candle: dict[str, Any] = {"start": start_ms, "end": start_ms + MINUTE_MS - 1, "interval": "1"}
    candle |= {"open": stats.open, "close": stats.last, "high": str(stats.high), "low": str(stats.low)}
    candle |= {"volume": str(stats.volume), "turnover": str(stats.quote_volume)}
    candle |= {"confirm": confirm, "timestamp": now_ms}
    topic = f"kline.1.{instrument.symbol}"
    return dumps({"topic": topic, "data": [candle], "ts": now_ms, "type": "snapshot"})
