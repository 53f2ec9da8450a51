"""The shipped recordings as the guard sees them, and the true book after every message, found without the feeds."""

from __future__ import annotations

import functools
import gzip
import heapq
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import zstandard

from server.base.instruments import Instrument, InstrumentKind
from server.feeds.binance import Binance
from server.feeds.bybit import Bybit
from server.feeds.dialect import Dialect
from server.feeds.frames import DepthFrame, Frame
from server.feeds.okx import Okx

FRAMES = Path(__file__).parents[2] / "server" / "replay" / "data" / "frames"
DEPTH = 10
ALL_LEVELS = 100_000

BookSnapshot = tuple[list[tuple[int, int]], list[tuple[int, int]]]
"""Best levels of both sides as (price, quantity), both times 10**12."""


def exact(value: Decimal) -> int:
    """A price or quantity as in a BookSnapshot."""
    scaled = value.scaleb(12)
    assert scaled == scaled.to_integral_value()
    return int(scaled)


@dataclass
class Recording:
    """One instrument's depth messages, parsed, and the best DEPTH levels after each (None before the snapshot)."""

    instrument: Instrument
    dialect: Dialect
    frames: list[DepthFrame] = field(default_factory=list)
    snapshots: list[BookSnapshot | None] = field(default_factory=list)
    snapshot: DepthFrame | None = None
    """The fetched one, where the venue's stream has none."""
    last_book: BookSnapshot = field(default_factory=lambda: ([], []))
    """All levels at the end."""


class TrueBook:
    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def apply(self, bids: Any, asks: Any) -> None:
        for side, rows in ((self.bids, bids), (self.asks, asks)):
            for row in rows:
                price, qty = exact(Decimal(row[0])), exact(Decimal(row[1]))
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)

    def book_snapshot(self, depth: int = DEPTH) -> BookSnapshot:
        return heapq.nlargest(depth, self.bids.items()), heapq.nsmallest(depth, self.asks.items())


def instrument(name: str, tick: str, lot: str, kind: InstrumentKind = InstrumentKind.SPOT) -> Instrument:
    symbol = name.split(":", 1)[1]
    base, quote = symbol.split(":")[0].split("/")
    return Instrument(1, name, base, quote, kind, Decimal(tick), Decimal(lot))


def _parsed(dialect: Dialect, message: dict[str, Any], product: str) -> DepthFrame:
    frames: Any = dialect.parse(message, product)
    assert len(frames) == 1
    frame: Frame = frames[0]
    assert isinstance(frame, DepthFrame)
    return frame


@functools.cache
def binance(product: str, limit: int = 10_000) -> Recording:
    """`product`: spot (ETHUSDT) or linear (BTCUSDT). The first `limit` messages."""
    if product == "spot":
        name, recording = "spot_ethusdt", Recording(instrument("binance:ETH/USDT", "0.01", "0.0001"), Binance())
    else:
        name = "usdm_btcusdt"
        recording = Recording(instrument("binance:BTC/USDT:USDT", "0.1", "0.001"), Binance())
    deltas, book = [], None
    with gzip.open(FRAMES / f"binance_{name}_20240808T2354.txt.gz", "rt") as lines:
        for line in lines:
            text = line.split(" ", 1)[1]
            if not text.startswith('{"stream"'):
                book = json.loads(text)
            elif "@depth" in text[:60]:
                deltas.append(json.loads(text)["data"])
            if book is not None and len(deltas) >= limit:
                break
    assert book is not None
    last = book["lastUpdateId"]
    recording.snapshot = DepthFrame("", True, book["bids"], book["asks"], last, last, None)
    true_book = TrueBook()
    true_book.apply(book["bids"], book["asks"])
    for delta in deltas:
        recording.frames.append(_parsed(recording.dialect, delta, product))
        if delta["u"] > last:
            true_book.apply(delta["b"], delta["a"])
        recording.snapshots.append(true_book.book_snapshot() if delta["u"] >= last else None)
    recording.last_book = true_book.book_snapshot(ALL_LEVELS)
    return recording


def _captured(exchange: str) -> list[tuple[str, dict[str, Any]]]:
    addresses: dict[str, str] = {}
    messages = []
    with zstandard.open(FRAMES / f"cryptofeed_{exchange}.jsonl.zst", "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["t"] == "connect":
                addresses[record["conn"]] = record["addr"]
            elif record["t"] == "recv":
                messages.append((addresses[record["conn"]], json.loads(record["data"])))
    return messages


@functools.cache
def bybit(product: str) -> Recording:
    """`product`: spot or linear; BTCUSDT."""
    name, lot = ("BTC/USDT", "0.000001") if product == "spot" else ("BTC/USDT:USDT", "0.001")
    recording = Recording(instrument(f"bybit:{name}", "0.1", lot), Bybit())
    true_book = TrueBook()
    for address, message in _captured("BYBIT"):
        if address.endswith("/" + product) and message.get("topic") == "orderbook.200.BTCUSDT":
            recording.frames.append(_parsed(recording.dialect, message, product))
            if message["type"] == "snapshot":
                true_book = TrueBook()
            true_book.apply(message["data"]["b"], message["data"]["a"])
            recording.snapshots.append(true_book.book_snapshot())
    recording.last_book = true_book.book_snapshot(ALL_LEVELS)
    return recording


@functools.cache
def okx(numbered: bool, checksums: bool = True) -> Recording:
    """BTC-USDT. As recorded, with checksums alone; `numbered` too, as the venue did later; without checksums, as now."""
    recording = Recording(instrument("okx:BTC/USDT", "0.1", "0.00000001"), Okx())
    true_book = TrueBook()
    sequence = 1_000
    for _, message in _captured("OKX"):
        if message.get("arg") != {"channel": "books", "instId": "BTC-USDT"} or "data" not in message:
            continue
        data, is_snapshot = message["data"][0], message["action"] == "snapshot"
        if numbered:
            data |= {"prevSeqId": -1 if is_snapshot else sequence, "seqId": sequence + 7}
            data |= {} if checksums else {"checksum": 0}
            sequence += 7
        recording.frames.append(_parsed(recording.dialect, message, ""))
        if is_snapshot:
            true_book = TrueBook()
        true_book.apply(data["bids"], data["asks"])
        recording.snapshots.append(true_book.book_snapshot())
    recording.last_book = true_book.book_snapshot(ALL_LEVELS)
    return recording
