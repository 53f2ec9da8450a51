"""The whole server on its stores: `tradewind up` as a process; PostgreSQL, Redis and ClickHouse that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import clickhouse_driver
import psycopg
import pytest
import redis

from loadtest.servers import ClickHouseServer, LocalServer, PostgresServer, RedisServer, free_port
from tests.conftest import SOAK_FACTOR
from tests.storage.conftest import clickhouse, postgres, postgres_url, redis_server  # noqa: F401
from tests.waiting import until
from tradewind import AsyncClient, Side
from tradewind.errors import TradewindError

INSTRUMENT = "internal:BTC/USDT"
ROUNDS = min(3 * SOAK_FACTOR, 100)
AWAY = {
    "store/journal": "NOT_SERVING",
    "tradewind.v1.OrderService": "NOT_SERVING",
    "store/blotter": "DEGRADED",
    "store/ticks": "DEGRADED",
    "store/bus": "DEGRADED",
}
"""What the status board says of a server whose stores are all away."""


@dataclass
class Server:
    """`tradewind up` on free ports."""

    directory: Path
    settings: dict[str, dict[str, Any]]
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def client(self) -> AsyncClient:
        return AsyncClient(self.address, token=(self.directory / "admin.token").read_text().strip(), account="demo")

    async def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        base: dict[str, dict[str, Any]] = {
            "server": {"port": self.port},
            "metrics": {"enabled": False},
            "feeds": {"mode": "off"},
            "storage": {"ticks_url": "off"},
            "engine": {"max_orders": 100_000, "max_open_orders": 100_000},
        }
        lines = [f'data_dir = "{self.directory}"']
        for section in base | self.settings:
            lines.append(f"[{section}]")
            values = base.get(section, {}) | self.settings.get(section, {})
            lines += [f"{name} = {_toml(value)}" for name, value in values.items()]
        config = self.directory / "settings.toml"
        config.write_text("\n".join(lines))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND_")}
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "server.cli", "up", "--json", "--config", str(config), stdout=log, stderr=log,
                env=environment,
            )  # fmt: skip

    async def serving(self) -> None:
        async def is_up() -> bool:
            assert self.process is not None
            assert self.process.returncode is None, (self.directory / "log").read_text()[-2000:]
            if not (self.directory / "admin.token").exists():
                return False
            with contextlib.suppress(TradewindError, TimeoutError):
                async with asyncio.timeout(2), self.client() as client:
                    return bool((await client.get_info()).version)
            return False

        await until(is_up)

    async def states(self) -> dict[str, tuple[str, str]]:
        async with self.client() as client:
            return {each.name: (each.state.name, each.detail) for each in await client.list_services()}

    async def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await asyncio.wait_for(self.process.wait(), 30)


@contextlib.asynccontextmanager
async def running(*servers: Server) -> AsyncIterator[None]:
    try:
        for server in servers:
            await server.start()
        yield
    finally:
        for server in servers:
            await server.end(signal.SIGKILL)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


async def state_is(server: Server, name: str, wanted: str) -> None:
    seen: list[Any] = ["nothing"]

    async def holds() -> bool:
        assert server.process is not None
        assert server.process.returncode is None, (server.directory / "log").read_text()[-2000:]
        try:
            seen[0] = (await server.states()).get(name, ("absent", ""))
        except TradewindError as error:
            seen[0] = error
            return False
        return bool(seen[0][0] == wanted)

    try:
        await until(holds)
    except AssertionError as error:
        raise AssertionError(f"{name} is to be {wanted}; last seen: {seen[0]!r}") from error


class Load:
    """Orders one after the other, each hit by its counterpart, and a journal of what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}
        self._stop = False

    async def run(self, name: str, *servers: Server) -> None:
        """At whichever server answers: an order that got no answer is sent again, with its own id."""
        turn = itertools.cycle(servers)
        number = 0
        while not self._stop:
            with contextlib.suppress(TradewindError, OSError, TimeoutError):
                async with asyncio.timeout(10), next(turn).client() as client:
                    while not self._stop:
                        side = Side.SELL if number % 2 else Side.BUY
                        key = f"{name}-{number}"
                        order = await client.place_order(INSTRUMENT, side, "0.001", "60000", client_order_id=key)
                        self.acknowledged[key] = order.order_id
                        number += 1
            await asyncio.sleep(0.02)

    async def acknowledges(self, more: int = 20) -> None:
        """Until so many more orders are acknowledged."""
        goal = len(self.acknowledged) + more

        async def reached() -> bool:
            return len(self.acknowledged) >= goal

        await until(reached)

    def stop(self) -> None:
        self._stop = True


@contextlib.asynccontextmanager
async def under_load(*servers: Server) -> AsyncIterator[Load]:
    load = Load()
    clients = [asyncio.create_task(load.run(f"client{n}", *servers)) for n in range(2)]
    try:
        await load.acknowledges()
        yield load
    finally:
        load.stop()
        await asyncio.gather(*clients)


async def check_nothing_lost(load: Load, server: Server, blotter_url: str) -> None:
    """Every acknowledged order is there, in the engine and once in the blotter, and the fills are whole trades."""
    async with server.client() as client:
        orders = {each.client_order_id: each.order_id for each in await client.list_orders(limit=100_000)}
    assert load.acknowledged.items() <= orders.items()
    with psycopg.connect(blotter_url) as database:

        async def all_stored() -> bool:
            rows = database.execute("SELECT client_order_id, order_id::text FROM orders").fetchall()
            database.rollback()
            return len(rows) == len(orders) and dict(rows) == orders

        await until(all_stored)
        lopsided = database.execute("SELECT trade_id FROM fills GROUP BY trade_id HAVING count(*) <> 2").fetchall()
    assert lopsided == []


async def test_stores_that_come_and_go_under_load(
    tmp_path: Path,
    postgres: PostgresServer,  # noqa: F811
    clickhouse: ClickHouseServer,  # noqa: F811
    redis_server: RedisServer,  # noqa: F811
) -> None:
    """All of them at once: stopped, killed, restarted. Orders wait for the journal; every row is there once at the end."""
    ticks = f"{clickhouse.url.removesuffix('default')}rounds"
    storage = {
        "journal_url": postgres.url,
        "blotter_url": postgres.url,
        "ticks_url": ticks,
        "bus_url": f"{redis_server.url}?prefix=rounds",
    }
    feeds = {"mode": "replay", "venues": {"binance": ["BTC/USDT"]}, "replay_speed": 5.0}
    server = Server(tmp_path / "a", {"storage": storage, "feeds": feeds})
    stores = (postgres, clickhouse, redis_server)
    async with running(server):
        await server.serving()
        await all_serve(server)
        async with under_load(server) as load:
            for number in range(ROUNDS):
                way = ("stop", "kill", "restart")[number % 3]
                end = LocalServer.kill if way == "kill" else LocalServer.stop
                await asyncio.gather(*(asyncio.to_thread(end, store) for store in stores))
                if way != "restart":
                    for name, state in AWAY.items():
                        await state_is(server, name, state)
                await asyncio.gather(*(asyncio.to_thread(store.start) for store in stores))
                await all_serve(server)
                await load.acknowledges()
            with redis.Redis.from_url(redis_server.url) as database:
                database.flushall()
            await load.acknowledges()
        await check_nothing_lost(load, server, postgres.url)
        await server.end()  # in good order: what was recorded is stored
        check_ticks(ticks)
        await server.start()
        await server.serving()
        await check_nothing_lost(load, server, postgres.url)


async def all_serve(server: Server) -> None:
    for name in AWAY:
        await state_is(server, name, "SERVING")


def check_ticks(url: str) -> None:
    """A recorder numbers its rows without a gap, whatever table they go to."""
    with contextlib.ExitStack() as opened:
        client = clickhouse_driver.Client.from_url(url)
        opened.callback(client.disconnect)
        tables = [name for (name,) in client.execute("SHOW TABLES")]
        rows = sorted(row for name in tables for (row,) in client.execute(f"SELECT row_id FROM {name}"))
    assert len(rows) > 100
    assert rows == list(range(rows[0], rows[0] + len(rows)))


async def test_a_standby_takes_over(tmp_path: Path, postgres_url: str) -> None:  # noqa: F811
    storage = {"storage": {"journal_url": postgres_url, "blotter_url": postgres_url, "standby": True}}
    first, second = Server(tmp_path / "a", storage), Server(tmp_path / "b", storage)
    async with running(first):
        await first.serving()
        async with running(second):
            async with under_load(first, second) as load:
                await until_logged(second, "standby")
                with pytest.raises((TradewindError, OSError)):
                    async with second.client() as client:
                        await client.get_info()
                await first.end(signal.SIGKILL)
                killed = time.monotonic()
                await load.acknowledges(1)
                print(f"the standby took over after {time.monotonic() - killed:.1f} s")
                await load.acknowledges()
            await check_nothing_lost(load, second, postgres_url)


async def until_logged(server: Server, text: str) -> None:
    async def logged() -> bool:
        return text in (server.directory / "log").read_text()

    await until(logged)


async def test_a_blotter_that_is_away_does_not_stop_trading(tmp_path: Path, postgres: PostgresServer) -> None:  # noqa: F811
    with psycopg.connect(postgres.url, autocommit=True) as database:
        database.execute("CREATE SCHEMA IF NOT EXISTS away")
    url = f"{postgres.url}?options=-csearch_path%3Daway"
    server = Server(tmp_path / "a", {"storage": {"blotter_url": url}})
    async with running(server):
        await server.serving()
        async with under_load(server) as load:
            await asyncio.to_thread(postgres.kill)
            await load.acknowledges()
            await state_is(server, "store/blotter", "DEGRADED")
            async with server.client() as client:
                assert len(await client.list_orders(limit=50)) >= 40, "what is in memory is listed"
            await asyncio.to_thread(postgres.start)
            await state_is(server, "store/blotter", "SERVING")
        await check_nothing_lost(load, server, url)


async def test_what_is_recorded_in_clickhouse_is_answered(tmp_path: Path, clickhouse: ClickHouseServer) -> None:  # noqa: F811
    url = f"{clickhouse.url.removesuffix('default')}wired"
    server = Server(tmp_path / "a", {"storage": {"ticks_url": url}, "feeds": {"mode": "replay", "replay_speed": 5.0}})
    async with running(server):
        await server.serving()
        await state_is(server, "feed/binance", "SERVING")
        await recorded(server)


async def recorded(server: Server, instrument: str = "binance:BTC/USDT") -> None:
    """Until trades and candles of what is played are answered from the store, alike."""
    start = datetime.now(UTC) - timedelta(days=1)

    async def answered() -> bool:
        async with server.client() as client:
            newest = await client.list_trades(instrument, 1)
            if not newest:
                return False
            first = newest[0].venue_time - timedelta(days=400) if newest[0].venue_time else start
            trades = await client.list_trades(instrument, 100_000, start=first)
            candles = await client.list_candles(instrument, timedelta(days=7), first - timedelta(days=7))
            return 0 < len(trades) <= sum(candle.trade_count for candle in candles)

    await until(answered)


async def test_a_second_process_serves_the_same_market_data(tmp_path: Path, redis_server: RedisServer) -> None:  # noqa: F811
    bus = {"bus_url": f"{redis_server.url}?prefix=wired", "ticks_url": "off"}
    venues = {"binance": ["BTC/USDT"]}
    first = Server(tmp_path / "a", {"storage": bus, "feeds": {"mode": "replay", "venues": venues}})
    second = Server(tmp_path / "b", {"storage": bus, "feeds": {"mode": "bus"}})
    async with running(first, second):
        await asyncio.gather(first.serving(), second.serving())
        await state_is(second, "feed/bus", "SERVING")
        await same_books(first, second)
        with redis.Redis.from_url(redis_server.url) as database:
            database.flushall()
        await same_books(first, second)
        await asyncio.to_thread(redis_server.kill)
        await state_is(first, "store/bus", "DEGRADED")
        async with first.client() as client:
            assert (await client.get_book("binance:BTC/USDT")).state.name == "LIVE", "the first needs no bus"
        await asyncio.to_thread(redis_server.start)
        await same_books(first, second)
        async with second.client() as client:
            order = await client.buy("binance:BTC/USDT", "0.01")
            assert order.status.name == "FILLED", "the second trades for accounts of its own on that market"
        async with first.client() as client:
            assert await client.list_orders() == []


async def same_books(first: Server, second: Server) -> None:
    """Until both show the same book of the same moment, and go on showing it."""
    seen: dict[int, Any] = {}

    async def agree() -> bool:
        async with first.client() as one, second.client() as two:
            for _ in range(40):
                a = await one.get_book("binance:BTC/USDT", depth=10)
                seen[a.venue_sequence] = (a.bids, a.asks)
                with contextlib.suppress(TradewindError):
                    b = await two.get_book("binance:BTC/USDT", depth=10)
                    if b.state.name == "LIVE" and b.venue_sequence in seen:
                        assert (b.bids, b.asks) == seen[b.venue_sequence]
                        return True
        return False

    await until(agree)
