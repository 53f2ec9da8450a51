"""What the venues sent is what a client of the whole server receives: real processes, real sockets, gRPC and the SDK.

A replay exchange in this process plays each recording once to a server process (`tradewind up`); the SDK follows all
trades and reads the books at the end. Both are compared with the raw files, read by other code (`replay_truth`).
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import quantiles

import orjson
import pytest

from server.replay import Pace, ReplayConfig, ReplayExchange
from server.replay.server import SHIPPED_DATA
from server.replay.session import Session
from tests.conftest import SOAK_FACTOR
from tests.simulation import replay_truth as truth
from tests.simulation.whole_server import until_listed, whole_server
from tests.waiting import PATIENCE_S, until
from tradewind import AsyncClient, Book, Side, Trade

VENUES = {
    "binance": ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"),
    "okx": ("BTC/USDT", "UNI/USD:UNI", "BTC/USD:BTC-220527"),
    "bybit": ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT"),
}
NAMES = [f"{venue}:{symbol}" for venue, symbols in VENUES.items() for symbol in symbols]
CHANNELS = 3
HELD = 10**6
"""More topics than anybody subscribes: the recordings wait for `release`."""

REAL_PACE_S = 45.0
"""So much of Binance is played at real pace; the recordings of the other venues are shorter than that."""
DEPTH = {"binance": 500, "okx": 400, "bybit": 200}
"""Levels compared, a side: all that the venue tells. Binance answers with the best 1,000; those beyond, which nobody
knows, come closer while the market moves."""
QUIET_S = 1.0
"""How long nothing more may arrive at the end."""

Row = tuple[str, str, str, int]


@functools.cache
def recorded(name: str, frames: Path) -> truth.Truth:
    return truth.of_instrument(name, frames)


@dataclass
class Client:
    """What the SDK received, with the time at which it did."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in NAMES})
    trades: list[tuple[int, Trade]] = field(default_factory=list)

    async def read(self, trades: AsyncIterator[Trade]) -> None:
        async for trade in trades:
            self.trades.append((time.time_ns(), trade))
            side = 1 if trade.aggressor_side is Side.BUY else 2
            self.rows[trade.instrument].append((trade.trade_id, f"{trade.price:f}", f"{trade.qty:f}", side))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Trade frames with the time at which the venues put them on the wire."""
    frames: list[tuple[int, str]] = []
    push = Session.push

    def timed(session: Session, text: str) -> None:
        if "rade" in text[:60]:  # "e":"trade", "channel":"trades", "topic":"publicTrade..."
            frames.append((time.time_ns(), text))
        push(session, text)

    monkeypatch.setattr(Session, "push", timed)
    return frames


async def test_at_real_pace_all_trades_arrive_and_the_books_are_right(
    tmp_path: Path, sent: list[tuple[int, str]]
) -> None:
    """A soak run plays the whole of every recording."""
    data = SHIPPED_DATA
    if SOAK_FACTOR == 1:
        (tmp_path / "data").mkdir()
        data = truth.shortened(tmp_path / "data", seconds=REAL_PACE_S)
    client = await play(tmp_path, data, speed=1.0)
    print_latencies(client, sent)


async def test_flat_out_all_trades_arrive_and_the_books_are_right(tmp_path: Path) -> None:
    await play(tmp_path, SHIPPED_DATA, speed=None)


async def play(tmp_path: Path, data: Path, speed: float | None) -> Client:
    """Play everything once and check that the client has seen exactly that."""
    expected = {name: truth.trades_of(name, recorded(name, data / "frames")) for name in NAMES}
    replay = ReplayExchange(ReplayConfig(pace=Pace(speed=speed, passes=1), start_after=HELD, data=data))
    await replay.start()
    seen = Client()
    try:
        async with whole_server(tmp_path / "var", replay, VENUES) as server, server.client() as client:
            await until_listed(client, NAMES)
            async with client.watch_trades(*NAMES) as trades:
                reading = asyncio.create_task(seen.read(trades))
                await until(lambda: replay.topics == CHANNELS * len(NAMES), "all is subscribed")
                began = time.monotonic()
                replay.release()
                await replay.wait_finished()
                played_s = time.monotonic() - began
                frames = sum(replay.frames_played(venue) for venue in VENUES)
                # Books first: ten seconds after its last message a venue counts as silent.
                for name in NAMES:
                    await until_book_is(client, name, recorded(name, data / "frames"))
                await until(lambda: all(len(seen.rows[n]) >= len(expected[n]) for n in NAMES), "all trades", 100)
                received_s = time.monotonic() - began
                await asyncio.sleep(QUIET_S)
                assert (trades.gaps, trades.reconnects) == (0, 0)
                assert not reading.done(), reading.result()
            print(
                f"\n{frames} frames played in {played_s:.1f} s, {len(seen.trades)} trades received after"
                f" {received_s:.1f} s; server {server.rss_mb:.0f} MB"
            )
    finally:
        await replay.stop()
    for name in NAMES:
        doubled = [row for row, count in Counter(seen.rows[name]).items() if count > 1]
        assert (name, doubled) == (name, [])
        assert seen.rows[name] == expected[name], name
        book_updates = recorded(name, data / "frames").book_updates
        print(f"  {name:24} {len(expected[name]):6} trades, {book_updates:5} book updates")
    return seen


async def until_book_is(client: AsyncClient, name: str, truth_of: truth.Truth) -> None:
    """The book is LIVE and equals the independent one: after a moment, as what is on its way still arrives."""
    depth = DEPTH[name.partition(":")[0]]
    bids, asks = (exact_side(side) for side in truth_of.top(depth))
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        book: Book = await client.get_book(name, depth)
        served = [(level.price, level.qty) for level in book.bids], [(level.price, level.qty) for level in book.asks]
        if book.state == "LIVE" and served == (bids, asks):
            return
        if asyncio.get_running_loop().time() > deadline:
            assert (name, book.state, served) == (name, "LIVE", (bids, asks))
        await asyncio.sleep(0.05)


def exact_side(rows: Iterable[Iterable[float]]) -> list[tuple[Decimal, Decimal]]:
    # The truth is kept in floats: their shortest text is what was recorded.
    return [(Decimal(repr(price)), Decimal(repr(qty))) for price, qty in rows]


def print_latencies(client: Client, sent: list[tuple[int, str]]) -> None:
    """From the venue's socket to the reader of the SDK, both in this process, over the server in another."""
    sent_ns = {key: sent_at for sent_at, text in sent for key in trade_keys(text)}
    rows = [
        (sent_ns[trade.instrument.split(":")[0], trade.trade_id], trade.receive_time_ns, trade.publish_time_ns, got)
        for got, trade in client.trades
    ]
    stages = {"venue -> server": (0, 1), "server": (1, 2), "server -> SDK": (2, 3), "venue -> SDK": (0, 3)}
    print(f"latency of {len(rows)} trades, ms:")
    for stage, (start, end) in stages.items():
        cuts = quantiles([(row[end] - row[start]) / 1e6 for row in rows], n=1000)
        print(f"  {stage:16} p50 {cuts[499]:6.2f}  p90 {cuts[899]:6.2f}  p99 {cuts[989]:6.2f}  p99.9 {cuts[998]:6.2f}")


def trade_keys(text: str) -> list[tuple[str, str]]:
    """(venue, trade id) of what a frame holds."""
    frame = orjson.loads(text)
    frame = frame.get("data", frame) if "stream" in frame else frame
    if "e" in frame:
        return [("binance", str(frame["t"]))] if frame["e"] == "trade" else []
    if "topic" in frame:
        return [("bybit", trade["i"]) for trade in frame["data"]] if "Trade" in frame["topic"] else []
    return [("okx", trade["tradeId"]) for trade in frame.get("data", ()) if "tradeId" in trade]
