"""OKX v5.

Spoken: subscribe, unsubscribe and the text `ping`; channels `books`, `trades` and `tickers` as recorded,
`bbo-tbt` and `books5` derived from the book; REST time, instruments and books. The recording is of 2022 and
has checksums; the sequence ids (`seqId`, `prevSeqId`) which the venue has added since are added here too.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from server.base.clock import Clock
from server.replay.book import Book, Row
from server.replay.capture import captured_frames
from server.replay.frame import TIME, Frame, Renumbering, Splitter
from server.replay.session import Session
from server.replay.venue import Reply, Venue, dumps, market_file, ok

_BOOK_DEPTH = 400
_CHECKSUM_DEPTH = 25
_DERIVED_DEPTHS = {"bbo-tbt": 1, "books5": 5}
_RECORDED = ("books", "trades", "tickers")
_INSTRUMENT_TYPES = ("SPOT", "SWAP", "FUTURES")
_FIRST_SEQUENCE = 1

_SPLITTER = Splitter({"ts": TIME, "tradeId": "trade"})


def checksum(bids: Sequence[Row], asks: Sequence[Row]) -> int:
    """OKX's book checksum: signed CRC-32 over the best 25 levels, bid and ask in turn, strings as sent."""
    fields: list[str] = []
    for i in range(_CHECKSUM_DEPTH):
        for side in (bids, asks):
            if i < len(side):
                fields += side[i][:2]
    crc = zlib.crc32(":".join(fields).encode())
    return crc - (1 << 32) if crc >= 1 << 31 else crc


class _Instrument:
    def __init__(self, name: str) -> None:
        self.name = name
        self.ids = Renumbering(("trade",))
        self.book: Book | None = None
        self.book_time_ms = 0
        self.sequence = _FIRST_SEQUENCE
        self.tops: dict[str, tuple[list[Row], list[Row]]] = {}
        self.ticker = ""


class Okx(Venue):
    name = "okx"

    def __init__(self, clock: Clock, data: Path, symbols: Sequence[str] | None = None) -> None:
        super().__init__(clock)
        self._markets = data / "markets"
        self._instruments: dict[str, _Instrument] = {}
        self._frames = self._load(data / "frames" / "cryptofeed_OKX.jsonl.zst", symbols)

    def _load(self, path: Path, symbols: Sequence[str] | None) -> list[Frame]:
        received: list[tuple[int, str, str]] = []
        books_ns: list[int] = []
        for captured in captured_frames(path):
            message: dict[str, Any] = captured.data
            if "data" not in message or (symbols is not None and message["arg"]["instId"] not in symbols):
                continue
            channel, name = message["arg"]["channel"], message["arg"]["instId"]
            self._instruments.setdefault(name, _Instrument(name))
            time_ns = int(message["data"][0]["ts"]) * 1_000_000
            received.append((time_ns, f"{channel}:{name}", captured.text))
            if channel == "books":
                books_ns.append(time_ns)
        if not received:
            raise ValueError(f"no OKX recording of {symbols}")
        # A subscription is answered with the last trade and ticker, however old: they belong to the start.
        start_ns = min(books_ns)
        frames = [
            Frame(max(time_ns, start_ns), topic, text, _SPLITTER.split(text), stale=time_ns < start_ns)
            for time_ns, topic, text in received
        ]
        # The receiver got its frames in bursts; the venue's push time orders them.
        return sorted(frames, key=lambda frame: frame.time_ns)

    # -- the recording ---------------------------------------------------------------------------------

    def instruments(self) -> list[str]:
        return list(self._instruments)

    @property
    def start_ns(self) -> int:
        return self._frames[0].time_ns

    def frames(self) -> Iterator[Frame]:
        return iter(self._frames)

    def begin_pass(self, number: int, now_ms: int) -> None:
        """Each book of the recording begins with a snapshot: nothing to send beyond it."""
        if number:
            for instrument in self._instruments.values():
                instrument.ids.next_pass()

    def play(self, frame: Frame, shift_ms: int) -> None:
        channel, _, name = frame.topic.partition(":")
        instrument = self._instruments[name]
        ids = instrument.ids
        ids.shift[TIME] = shift_ms
        ids.note(frame.template)
        text = frame.template.render(ids.shift)
        if channel == "books":
            self._play_book(instrument, frame, text)
            return
        if channel == "tickers":
            instrument.ticker = text
        self.publish(frame.topic, text)

    def _play_book(self, instrument: _Instrument, frame: Frame, text: str) -> None:
        message = orjson.loads(text)
        data = message["data"][0]
        restart = message["action"] == "snapshot" or instrument.book is None
        if restart:
            instrument.book = Book(data["bids"], data["asks"])
        else:
            assert instrument.book is not None
            instrument.book.apply(data["bids"], data["asks"])
        instrument.book_time_ms = int(data["ts"])
        previous = -1 if restart else instrument.sequence
        instrument.sequence += 1
        numbered = f'{text[:-3]},"seqId":{instrument.sequence},"prevSeqId":{previous}}}]}}'
        self.publish(frame.topic, numbered, depth=True)
        for channel, depth in _DERIVED_DEPTHS.items():
            topic = f"{channel}:{instrument.name}"
            if topic in self.subscribers:
                top = instrument.book.bids(depth), instrument.book.asks(depth)
                if top != instrument.tops.get(channel):
                    instrument.tops[channel] = top
                    self.publish(topic, self._top_text(instrument, channel), depth=depth > 1)

    def _top_text(self, instrument: _Instrument, channel: str) -> str:
        bids, asks = instrument.tops[channel]
        top = {"asks": asks, "bids": bids, "ts": str(instrument.book_time_ms), "seqId": instrument.sequence}
        return dumps({"arg": {"channel": channel, "instId": instrument.name}, "data": [top]})

    # -- WebSocket -------------------------------------------------------------------------------------

    def received(self, session: Session, text: str) -> None:
        if text == "ping":
            session.push("pong")
            return
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict) or request.get("op") not in ("subscribe", "unsubscribe"):
            session.push(self._error("60012", f"Invalid request: {text[:200]}"))
            return
        arguments = request.get("args")
        if not isinstance(arguments, list) or not arguments:
            session.push(self._error("60013", "Invalid args"))
            return
        for argument in arguments:
            self._requested(session, request["op"], argument)

    def _requested(self, session: Session, op: str, argument: Any) -> None:
        asked = argument if isinstance(argument, dict) else {}
        channel, name = str(asked.get("channel", "")), str(asked.get("instId", ""))
        if channel not in (*_RECORDED, *_DERIVED_DEPTHS) or name not in self._instruments:
            session.push(
                self._error(
                    "60018",
                    f"Wrong URL or channel:{channel},instId:{name} doesn't exist. "
                    "Please use the correct URL, channel and parameters referring to API document.",
                )
            )
            return
        topic = f"{channel}:{name}"
        session.push(dumps({"event": op, "arg": argument, "connId": "replay"}))
        if op == "unsubscribe":
            self.unsubscribe(session, topic)
        elif topic not in session.topics:
            self.subscribe(session, topic, topic)
            self._push_state(session, channel, self._instruments[name])

    def _push_state(self, session: Session, channel: str, instrument: _Instrument) -> None:
        """What a subscription begins with: the book or the ticker as it stands."""
        if channel == "tickers" and instrument.ticker:
            session.push(instrument.ticker)
        if instrument.book is None:
            return
        if channel in _DERIVED_DEPTHS:
            depth = _DERIVED_DEPTHS[channel]
            instrument.tops[channel] = instrument.book.bids(depth), instrument.book.asks(depth)
            session.push(self._top_text(instrument, channel))
        elif channel == "books":
            bids, asks = instrument.book.bids(_BOOK_DEPTH), instrument.book.asks(_BOOK_DEPTH)
            data: dict[str, Any] = {"asks": asks, "bids": bids, "ts": str(instrument.book_time_ms)}
            data |= {"checksum": checksum(bids, asks), "seqId": instrument.sequence, "prevSeqId": -1}
            arg = {"channel": "books", "instId": instrument.name}
            session.push(dumps({"arg": arg, "action": "snapshot", "data": [data]}))

    def _error(self, code: str, message: str) -> str:
        return dumps({"event": "error", "code": code, "msg": message, "connId": "replay"})

    # -- REST ------------------------------------------------------------------------------------------

    def rest(self, host: str, path: str, query: Mapping[str, str]) -> Reply:
        if path == "/api/v5/public/time":
            return self._result([{"ts": str(self.clock.now_ns() // 1_000_000)}])
        if path == "/api/v5/public/instruments":
            return self._listed(query.get("instType", ""), query.get("uly", ""))
        if path == "/api/v5/market/books":
            instrument = self._instruments.get(query.get("instId", ""))
            if instrument is None or instrument.book is None:
                return ok({"code": "51001", "msg": "Instrument ID does not exist", "data": []})
            depth = min(int(query["sz"]), _BOOK_DEPTH) if query.get("sz", "").isdigit() else 1
            book = {"asks": instrument.book.asks(depth), "bids": instrument.book.bids(depth)}
            stamp = {"ts": str(instrument.book_time_ms), "seqId": instrument.sequence}
            return self._result([book | stamp])
        return Reply(404, dumps({"code": "404", "msg": f"{path} is not part of the replay"}).encode())

    def _listed(self, kind: str, underlying: str) -> Reply:
        if kind in _INSTRUMENT_TYPES:
            return Reply(200, market_file(self._markets / f"okx_instruments_{kind}_20220513.json.gz"))
        if kind == "OPTION":
            path = self._markets / f"okx_instruments_OPTION_{underlying}_20220513.json.gz"
            # Only a listed file: the underlying comes from the client.
            return Reply(200, market_file(path)) if path in self._markets.iterdir() else self._result([])
        return ok({"code": "51000", "msg": "Parameter instType error", "data": []})

    def _result(self, data: list[Any]) -> Reply:
        return ok({"code": "0", "msg": "", "data": data})

    def too_many_requests(self) -> Reply:
        return Reply(429, orjson.dumps({"code": "50011", "msg": "Too Many Requests", "data": []}))
