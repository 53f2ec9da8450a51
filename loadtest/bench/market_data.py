"""Market data from a venue's socket to a subscriber. `python -m loadtest.bench.market_data`.

Three processes: a replay exchange that plays all recordings, a whole server that follows it over ccxt, and, here, the
subscribers: each has one gRPC stream of every trade, and of the newest quotes and books (20 levels) of all instruments.
First at the pace that gives about 1,000 frames a second, for the latency of trades (from the moment the venue puts them on
the wire until the first subscriber has them decoded); then once as fast as it goes, for the rate. Subscribers beyond the
first take the bytes and do not decode them. Prints a table and writes var/bench/market_data.json; fails if a trade is
missing, or a stream was ended because the subscribers, all in one process, are too slow.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Any

import grpc
import orjson
import psutil
import uvloop

from server.app import main as app
from server.app.config import load_config
from server.process.lifecycle import running_instance
from server.replay import Pace, ReplayConfig, ReplayExchange
from server.replay.session import Session
from tradewind.v1 import market_data_pb2 as pb
from tradewind.v1 import market_data_pb2_grpc

VENUES = {
    "binance": ["BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"],
    "okx": ["BTC/USDT", "UNI/USD:UNI", "BTC/USD:BTC-220527"],
    "bybit": ["BTC/USDT", "ETH/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT"],
}
NAMES = [f"{venue}:{symbol}" for venue, symbols in VENUES.items() for symbol in symbols]
CHANNELS = (pb.CHANNEL_TRADE, pb.CHANNEL_QUOTE, pb.CHANNEL_BOOK)
PACED_SPEED, PACED_S = 2.0, 20.0
RUNS = ((PACED_SPEED, 1), (PACED_SPEED, 10), (PACED_SPEED, 100), (None, 1), (None, 10))
"""Speed (None: flat out), subscribers."""
SUBSCRIBED_WITHIN_S = 30
QUIET_S = 1.0
"""How long nothing more may arrive at the end of a recording."""
METHOD = "/tradewind.v1.MarketDataService/SubscribeMarketData"
RESULT = Path("var/bench/market_data.json")

Sent = dict[tuple[str, str], int]
"""When a trade was put on the wire, ns, by (venue, trade id)."""


def play(speed: float | None, told: Connection) -> None:
    """The replay exchange. Tells its URL; plays when told to; tells (frames, when trades were sent)."""
    frames: list[tuple[int, str]] = []
    push = Session.push

    def timed(session: Session, text: str) -> None:
        if "rade" in text[:60]:  # "e":"trade", "channel":"trades", "topic":"publicTrade..."
            frames.append((time.time_ns(), text))
        push(session, text)

    Session.push = timed  # type: ignore[method-assign]

    async def main() -> None:
        replay = ReplayExchange(ReplayConfig(pace=Pace(speed=speed, passes=1), start_after=10**6))
        await replay.start()
        told.send(replay.url)
        await asyncio.to_thread(told.recv)
        for _ in range(SUBSCRIBED_WITHIN_S * 100):
            if replay.topics == len(NAMES) * len(CHANNELS):
                break
            await asyncio.sleep(0.01)
        replay.release()
        limit_s = None if speed is None else PACED_S
        finished = asyncio.ensure_future(replay.wait_finished())
        await asyncio.wait((finished,), timeout=limit_s)
        played = sum(replay.frames_played(venue) for venue in VENUES)
        if not finished.done():
            for venue in VENUES:
                replay.freeze(venue)
        told.send((played, {key: sent_ns for sent_ns, text in frames for key in trade_keys(text)}))
        await asyncio.to_thread(told.recv)
        finished.cancel()
        await replay.stop()

    uvloop.run(main())


def trade_keys(text: str) -> list[tuple[str, str]]:
    """(venue, trade id) of what a frame holds."""
    frame = orjson.loads(text)
    frame = frame.get("data", frame) if "stream" in frame else frame
    if "e" in frame:
        is_trade = frame["e"] == "trade" and frame.get("X", "MARKET") == "MARKET"
        return [("binance", str(frame["t"]))] if is_trade else []
    if "topic" in frame:
        return [("bybit", trade["i"]) for trade in frame["data"]] if "Trade" in frame["topic"] else []
    return [("okx", trade["tradeId"]) for trade in frame.get("data", ()) if "tradeId" in trade]


def serve(data_dir: str, replay_url: str, _: Connection) -> None:
    config = load_config(
        overrides={
            "data_dir": Path(data_dir),
            "server": {"port": 0, "max_token_streams": 1_000},
            "metrics": {"enabled": False},
            "feeds": {"mode": "replay", "replay_url": replay_url, "venues": VENUES},
            "logging": {"level": "error"},
        }
    )
    app.serve(config)


@contextmanager
def process(target: Any, *arguments: Any) -> Iterator[tuple[multiprocessing.process.BaseProcess, Connection]]:
    mine, theirs = multiprocessing.Pipe()
    started = multiprocessing.get_context("spawn").Process(target=target, args=(*arguments, theirs), daemon=True)
    started.start()
    try:
        yield started, mine
    finally:
        started.terminate()
        started.join()


class Subscribers:
    """`count` streams, of which the first is decoded."""

    def __init__(self, address: str, token: str, count: int) -> None:
        self._address = address
        self._metadata = [("authorization", f"Bearer {token}")]
        self._count = count
        self.trades: list[tuple[int, str, str, int]] = []
        """(received ns, venue, trade id, received by the server ns)"""
        self.messages = self.bytes = self.events = 0
        """Messages and bytes of all streams, events of the first."""
        self._opened = 0
        self._all_open = asyncio.Event()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as open_streams:
            tasks = []
            for number in range(self._count):
                channel = await open_streams.enter_async_context(
                    grpc.aio.insecure_channel(self._address, options=[("grpc.use_local_subchannel_pool", 1)])
                )
                call = channel.unary_stream(METHOD)(request().SerializeToString(), metadata=self._metadata)
                tasks.append(asyncio.create_task(self._read(call, decode=number == 0)))
            await self._all_open.wait()
            yield
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, grpc.aio.AioRpcError):
                    raise SystemExit(f"a stream was ended: {ended.details()}")

    async def _read(self, call: Any, *, decode: bool) -> None:
        is_first = True
        async for raw in call:
            if is_first:
                is_first = False
                self._opened += 1
                if self._opened == self._count:
                    self._all_open.set()
            self.messages += 1
            self.bytes += len(raw)
            if decode:
                self._decode(raw)

    def _decode(self, raw: bytes) -> None:
        message = pb.SubscribeMarketDataResponse.FromString(raw)
        now_ns = time.time_ns()
        self.events += len(message.events)
        for event in message.events:
            trade = event.update.trade
            if trade.trade_id:
                received_ns = trade.receive_time.ToNanoseconds()
                self.trades.append((now_ns, trade.instrument.partition(":")[0], trade.trade_id, received_ns))


def request() -> pb.SubscribeMarketDataRequest:
    return pb.SubscribeMarketDataRequest(
        subscriptions=[pb.MarketDataSubscription(instrument=name, channel=each) for name in NAMES for each in CHANNELS]
    )


async def until_listed(address: str, token: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = market_data_pb2_grpc.MarketDataServiceStub(channel)  # type: ignore[arg-type]
        metadata = [("authorization", f"Bearer {token}")]
        while True:
            listed = await stub.ListInstruments(pb.ListInstrumentsRequest(page_size=1_000), metadata=metadata)
            if {each.name for each in listed.instruments} >= set(NAMES):
                return
            await asyncio.sleep(0.05)


def measure(speed: float | None, subscribers: int) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as data_dir,
        process(play, speed) as (_, replay),
        process(serve, data_dir, replay.recv()) as (server, _),
    ):
        # Not when it is ready: its books wait for the replay.
        while (running := running_instance(Path(data_dir))) is None or not running.address:
            time.sleep(0.02)
        address, token = running.address, (Path(data_dir) / "admin.token").read_text().strip()
        return uvloop.run(follow(speed, subscribers, address, token, replay, psutil.Process(server.pid)))


async def follow(
    speed: float | None, subscribers: int, address: str, token: str, replay: Connection, server: psutil.Process
) -> dict[str, float]:
    await until_listed(address, token)
    clients = Subscribers(address, token, subscribers)
    async with clients.reading():
        cpu_before = sum(server.cpu_times()[:2])
        began = time.perf_counter()
        replay.send("play")
        frames, sent = await asyncio.to_thread(replay.recv)
        counted = -1
        while counted != clients.messages:
            counted, last = clients.messages, time.perf_counter()
            await asyncio.sleep(QUIET_S)
        cpu_s = sum(server.cpu_times()[:2]) - cpu_before
        replay.send("stop")
    missing = len(sent) - len({(venue, trade_id) for _, venue, trade_id, _ in clients.trades} & set(sent))
    if missing:
        raise SystemExit(f"{missing} of {len(sent)} trades are missing")
    result = {
        "frames": frames,
        "frames_per_s": round(frames / (last - began)),
        "server_cpu_us_a_frame": round(cpu_s / frames * 1e6, 1),
        "events_out_per_s": round(clients.events * subscribers / (last - began)),
        "messages_out_per_s": round(clients.messages / (last - began)),
        "megabytes_out_per_s": round(clients.bytes / (last - began) / 1e6, 2),
    }
    if speed is not None:
        whole = percentiles([now_ns - sent[venue, trade_id] for now_ns, venue, trade_id, _ in clients.trades])
        inside = percentiles([now_ns - received_ns for now_ns, _, _, received_ns in clients.trades])
        result |= {f"wire_to_subscriber_{name}_ms": value for name, value in whole.items()}
        result |= {f"receipt_to_subscriber_{name}_ms": value for name, value in inside.items()}
    return result


def percentiles(ns: list[int]) -> dict[str, float]:
    cuts = quantiles(ns, n=1_000)
    return {"p50": round(cuts[499] / 1e6, 2), "p99": round(cuts[989] / 1e6, 2), "max": round(max(ns) / 1e6, 2)}


def main() -> int:
    results: dict[str, dict[str, float]] = {}
    print(f"{'subscribers':>11} {'frames/s':>9} {'p50, ms':>9} {'p99, ms':>9} {'CPU us a frame':>15} {'events out/s':>13} "
          f"{'messages out/s':>15}")  # fmt: skip
    for speed, subscribers in RUNS:
        figures = measure(speed, subscribers)
        results[f"{'paced' if speed else 'flat_out'}_{subscribers}"] = figures
        p50, p99 = (figures.get(f"wire_to_subscriber_{name}_ms", "") for name in ("p50", "p99"))
        print(f"{subscribers:>11} {figures['frames_per_s']:>9,} {p50:>9} {p99:>9} "
              f"{figures['server_cpu_us_a_frame']:>15} {figures['events_out_per_s']:>13,} "
              f"{figures['messages_out_per_s']:>15,}", flush=True)  # fmt: skip
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    RESULT.write_text(json.dumps({"machine": machine, "python": platform.python_version()} | results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
