"""The recordings read directly, without server/replay: what a client must have seen when all is played."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

FRAMES = Path(__file__).parents[2] / "server" / "replay" / "data" / "frames"

Levels = dict[float, float]


@dataclass
class Truth:
    """One instrument: its trades as recorded and its book before, and after, every recorded update."""

    trades: list[dict[str, Any]] = field(default_factory=list)
    first_bids: Levels = field(default_factory=dict)
    first_asks: Levels = field(default_factory=dict)
    bids: Levels = field(default_factory=dict)
    asks: Levels = field(default_factory=dict)
    book_updates: int = 0

    def reset(self, bids: list[list[str]], asks: list[list[str]]) -> None:
        self.bids, self.asks = {}, {}
        self.update(bids, asks)
        self.first_bids, self.first_asks = dict(self.bids), dict(self.asks)

    def update(self, bids: list[list[str]], asks: list[list[str]]) -> None:
        for side, rows in ((self.bids, bids), (self.asks, asks)):
            for row in rows:
                price, qty = float(row[0]), float(row[1])
                if qty == 0:
                    side.pop(price, None)
                else:
                    side[price] = qty

    def top(self, depth: int) -> tuple[list[list[float]], list[list[float]]]:
        return best(self.bids, self.asks, depth)


def best(bids: Levels, asks: Levels, depth: int) -> tuple[list[list[float]], list[list[float]]]:
    return (
        [[p, bids[p]] for p in sorted(bids, reverse=True)[:depth]],
        [[p, asks[p]] for p in sorted(asks)[:depth]],
    )


def shortened(root: Path, *, lines: int | None = None, seconds: float = math.inf) -> Path:
    """A copy of the shipped data with only the first `lines` lines, or `seconds`, of each Binance file."""
    (root / "frames").mkdir()
    (root / "markets").symlink_to(FRAMES.parent / "markets")
    for path in FRAMES.iterdir():
        if path.name.startswith("binance_"):
            with gzip.open(path, "rb") as source, gzip.open(root / "frames" / path.name, "wb", 1) as short:
                short.writelines(_first_seconds(itertools.islice(source, lines), seconds))
        else:
            (root / "frames" / path.name).symlink_to(path)
    return root


def _first_seconds(lines: Iterable[bytes], seconds: float) -> Iterator[bytes]:
    end_ns = math.inf
    for line in lines:
        time_ns = int(line.partition(b" ")[0])
        end_ns = min(end_ns, time_ns + seconds * 1e9)
        if time_ns > end_ns:
            return
        yield line


def binance(product: str, symbol: str, frames: Path = FRAMES) -> Truth:
    """`product` spot or usdm, `symbol` such as btcusdt."""
    truth = Truth()
    depth, snapshot = [], None
    with gzip.open(frames / f"binance_{product}_{symbol}_20240808T2354.txt.gz", "rt") as lines:
        for line in lines:
            frame = json.loads(line.split(" ", 1)[1])
            if "lastUpdateId" in frame:
                snapshot = frame
            elif frame["stream"].endswith("@trade"):
                truth.trades.append(frame["data"])
            elif "@depth" in frame["stream"]:
                depth.append(frame["data"])
    assert snapshot is not None
    truth.reset(snapshot["bids"], snapshot["asks"])
    for update in depth:
        if update["u"] > snapshot["lastUpdateId"]:
            truth.update(update["b"], update["a"])
            truth.book_updates += 1
    return truth


def received(exchange: str) -> list[tuple[str, dict[str, Any]]]:
    """(address, frame) of every frame of a cryptofeed capture, as received."""
    addresses, frames = {}, []
    with zstandard.open(FRAMES / f"cryptofeed_{exchange}.jsonl.zst", "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["t"] == "connect":
                addresses[record["conn"]] = record["addr"]
            if record["t"] == "recv":
                frames.append((addresses[record["conn"]], json.loads(record["data"])))
    return frames


def bybit(product: str, symbol: str) -> Truth:
    """`product` spot or linear, `symbol` such as BTCUSDT."""
    truth = Truth()
    for address, frame in received("BYBIT"):
        if not address.endswith("/" + product):
            continue
        if frame.get("topic") == f"publicTrade.{symbol}":
            truth.trades += frame["data"]
        elif frame.get("topic") == f"orderbook.200.{symbol}":
            apply = truth.reset if frame["type"] == "snapshot" else truth.update
            apply(frame["data"]["b"], frame["data"]["a"])
            truth.book_updates += 1
    return truth


def okx(name: str) -> Truth:
    """`name` such as BTC-USDT."""
    truth = Truth()
    for _, frame in received("OKX"):
        arg = frame.get("arg", {})
        if arg.get("instId") != name or "data" not in frame:
            continue
        if arg["channel"] == "trades":
            truth.trades += frame["data"]
        elif arg["channel"] == "books":
            data = frame["data"][0]
            apply = truth.reset if frame["action"] == "snapshot" else truth.update
            apply(data["bids"], data["asks"])
            truth.book_updates += 1
    return truth


OKX_IDS = {"BTC/USDT": "BTC-USDT", "UNI/USD:UNI": "UNI-USD-SWAP", "BTC/USD:BTC-220527": "BTC-USD-220527"}


def of_instrument(name: str, frames: Path = FRAMES) -> Truth:
    """By our own name of the instrument, such as bybit:BTC/USDT:USDT."""
    venue, symbol = name.split(":", 1)
    base_quote, _, derivative = symbol.partition(":")
    market_id = base_quote.replace("/", "")
    if venue == "binance":
        return binance("usdm" if derivative else "spot", market_id.lower(), frames)
    if venue == "bybit":
        return bybit("linear" if derivative else "spot", market_id)
    return okx(OKX_IDS[symbol])


def trades_of(name: str, truth: Truth) -> list[tuple[str, str, str, int]]:
    """(id, price, quantity, aggressor side: 1 buy, 2 sell) as the venue wrote them, canonical, in its order."""
    if name.startswith("binance"):
        # Futures list what is no trade of the market too.
        rows = [(t["t"], t["p"], t["q"], not t["m"]) for t in truth.trades if t.get("X", "MARKET") == "MARKET"]
    elif name.startswith("bybit"):
        rows = [(t["i"], t["p"], t["v"], t["S"] == "Buy") for t in truth.trades]
    else:
        rows = [(t["tradeId"], t["px"], t["sz"], t["side"] == "buy") for t in truth.trades]
    return [(str(i), _canonical(p), _canonical(q), 1 if is_buy else 2) for i, p, q, is_buy in rows]


def _canonical(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


class StringBook:
    """A book of the venue's own strings, for checksums and exact comparison."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, list[str]]] = {"bids": {}, "asks": {}}

    def apply(self, data: dict[str, Any], *, snapshot: bool, bids: str = "bids", asks: str = "asks") -> None:
        for side, key in (("bids", bids), ("asks", asks)):
            if snapshot:
                self.sides[side] = {}
            for row in data[key]:
                if float(row[1]) == 0:
                    self.sides[side].pop(row[0], None)
                else:
                    self.sides[side][row[0]] = row

    def rows(self, side: str) -> list[list[str]]:
        return sorted(self.sides[side].values(), key=lambda row: float(row[0]), reverse=side == "bids")

    def top(self, depth: int) -> tuple[list[list[float]], list[list[float]]]:
        sides = ([[float(r[0]), float(r[1])] for r in self.rows(side)[:depth]] for side in ("bids", "asks"))
        bids, asks = sides
        return bids, asks

    def okx_checksum(self) -> int:
        bids, asks, parts = self.rows("bids"), self.rows("asks"), []
        for i in range(25):
            parts += [":".join(rows[i][:2]) for rows in (bids, asks) if i < len(rows)]
        value = zlib.crc32(":".join(parts).encode())
        return value - 2**32 if value >= 2**31 else value
