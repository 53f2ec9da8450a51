"""A whole server killed again and again under load from several clients, at random times and at named points.

Every client of the SDK writes down what was acknowledged to it. At the end nothing of that may be missing, nothing may
be there twice, nothing that nobody sent; every stream must have delivered every change once, over all the kills.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from server.engine.engine import Engine
from server.engine.limits import EngineLimits
from server.engine.snapshot import decode
from server.recovery.recover import recover
from server.storage.snapshot_files import SnapshotFiles
from server.storage.sqlite_journal import SqliteJournal
from tests.conftest import SOAK_FACTOR
from tests.support.server_process import ServerEnded, ServerProcess
from tests.waiting import PATIENCE_S
from tradewind import AsyncClient, Order, OrderStatus, ServerInfo
from tradewind.errors import FailedPrecondition, Unavailable

T = TypeVar("T")

KILLS = min(20 * SOAK_FACTOR, 1_000)
INSTRUMENT = "internal:BTC/USDT"
ACCOUNTS = ("demo", "maker")
CLIENTS_PER_ACCOUNT = 3
POINTS = ("apply", "applied", "append", "appended", "commit", "reply", "replied")
SNAPSHOT_POINTS = ("snapshot-half-written", "snapshot-written")
AT_RANDOM = ""
SNAPSHOT_EVERY = 200
"""Commands between two snapshots."""


@dataclass
class Diary:
    """What one client sent and what was acknowledged."""

    account: str
    name: str
    sent: set[str] = field(default_factory=set)
    acked: dict[str, str] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)
    money: int = 0


async def work(client: AsyncClient, diary: Diary, rng: random.Random, closing: asyncio.Event) -> None:
    """Place, repeat, cancel and move money until it is closing time; after an unknown outcome, say the same again.

    Everything sent is answered in the end: a call that is given up may still be carried out, at any later time.
    """
    number = 0
    while not closing.is_set():
        number += 1
        key = f"{diary.name}-{number}"
        side = "buy" if rng.random() < 0.5 else "sell"
        price, qty = str(rng.randrange(1_000, 1_010)), str(Decimal(rng.randrange(100, 1_000)) / 100_000)
        diary.sent.add(key)
        for _ in range(rng.choice((1, 1, 2))):
            order = await insist(partial(client.place_order, INSTRUMENT, side, qty, price, client_order_id=key))
            assert diary.acked.setdefault(key, order.order_id) == order.order_id, "a repeated order is the same order"
        if rng.random() < 0.3:
            try:
                await insist(partial(client.cancel_order, client_order_id=key))
            except FailedPrecondition:
                pass  # filled before, or canceled by the try whose answer was lost
            else:
                diary.canceled.add(key)
        if rng.random() < 0.1:
            await insist(partial(client.adjust_balance, "USDT", 1, request_id=key))
            diary.money += 1


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """The answer, however often the server is killed in between."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(0.05)


async def follow(client: AsyncClient, updates: list[Order], opened: asyncio.Event) -> None:
    async with client.watch_orders() as watch:
        opened.set()
        async for update in watch:
            assert not update.is_snapshot, "there were no orders yet, and no gap since"
            updates.append(update.order)


def plan(rng: random.Random) -> list[str]:
    """How the server is killed each time: at every named point equally often, else at random times."""
    named = [*POINTS, *SNAPSHOT_POINTS] * (KILLS // 20)
    ways = named + [AT_RANDOM] * (KILLS - len(named))
    rng.shuffle(ways)
    return ways


async def kill(server: ServerProcess, way: str, rng: random.Random, acked: Callable[[], int]) -> None:
    """Have a server that was just started killed that way; its clients' work brings it to the point."""
    if way in POINTS:
        assert await asyncio.wait_for(server.ended(), 60) == -signal.SIGKILL
        return
    if way in SNAPSHOT_POINTS:  # there the process that writes the snapshot ends, the server right after it
        async with asyncio.timeout(PATIENCE_S):
            while server.states["snapshots"][0] != "DEGRADED":  # noqa: ASYNC110 it has no event
                await asyncio.sleep(0.02)
    elif rng.random() < 0.8:  # under load; else while clients find their way back
        before = acked()
        async with asyncio.timeout(PATIENCE_S):
            while acked() == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await asyncio.sleep(rng.uniform(0.0, 0.5))
    await server.kill()


@pytest.mark.timeout(300 * SOAK_FACTOR)
async def test_kill_storm(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    server = ServerProcess(
        tmp_path,
        f"snapshots.every_commands={SNAPSHOT_EVERY}",
        "engine.stream_log_bytes=1048576",
        f"engine.max_orders={max(50_000, 2_000 * KILLS)}",
    )
    await server.start()
    diaries = [Diary(account, f"{account}{n}") for account in ACCOUNTS for n in range(CLIENTS_PER_ACCOUNT)]
    clients = [server.client(diary.account) for diary in diaries]
    readers = {account: server.client(account) for account in ACCOUNTS}
    followed: dict[str, list[Order]] = {account: [] for account in ACCOUNTS}
    opened = {account: asyncio.Event() for account in ACCOUNTS}
    following = [
        asyncio.create_task(follow(readers[account], followed[account], opened[account])) for account in ACCOUNTS
    ]
    for each in opened.values():
        await asyncio.wait_for(each.wait(), 30)
    closing = asyncio.Event()
    working = [
        asyncio.create_task(work(client, diary, random.Random(rng.random()), closing))
        for client, diary in zip(clients, diaries, strict=True)
    ]
    killed: Counter[str] = Counter()
    recovery_s: list[float] = []
    try:
        await server.kill()
        for number, way in enumerate(plan(rng), 1):
            count = rng.randrange(1, 20) if way in POINTS else 1
            try:
                await server.start({"TRADEWIND_FAILPOINT": f"{way}:{count}"} if way else {})
            except ServerEnded:  # its clients were so quick that it came to the point before it said that it serves
                assert way in POINTS
                print(f"{number}: {way}, before all served", flush=True)
            else:
                recovery_s.append(server.start_s)
                recovered = server.states["engine"][1]
                print(f"{number}: {way or 'at random'}, serving after {server.start_s:.2f} s, {recovered}", flush=True)
            await kill(server, way, rng, lambda: sum(len(diary.acked) for diary in diaries))
            killed[way] += 1
            for task in (*following, *working):
                if task.done():
                    task.result()
        await server.start()
        closing.set()
        await asyncio.wait_for(asyncio.gather(*working), 60)
        orders: dict[str, Order] = {}
        for account in ACCOUNTS:
            mine = [diary for diary in diaries if diary.account == account]
            orders |= await check_orders(readers[account], mine, followed[account])
        await check_blotter(tmp_path, orders)
        info = await insist(readers["demo"].get_info)
        assert await server.stop() == 0
    finally:
        for task in (*working, *following):
            task.cancel()
        await asyncio.gather(*working, *following, return_exceptions=True)
        for client in (*clients, *readers.values()):
            await client.close()
        await server.kill()
    await check_journal(tmp_path, diaries, info)
    acked = sum(len(diary.acked) for diary in diaries)
    assert killed.total() == KILLS
    assert all(killed[point] for point in (*POINTS, *SNAPSHOT_POINTS, AT_RANDOM))
    assert acked > KILLS, "the clients had time to work"
    print(f"{KILLS} kills ({dict(killed)}), {acked} orders acknowledged, none lost, doubled or invented; "
          f"from start to serving {min(recovery_s):.2f} to {max(recovery_s):.2f} s")  # fmt: skip


async def check_orders(client: AsyncClient, diaries: list[Diary], followed: list[Order]) -> dict[str, Order]:
    """What the server says of an account is what its clients were told; its orders by id."""
    orders = {order.client_order_id: order for order in await insist(partial(client.list_orders, limit=200_000))}
    by_id = {order.order_id: order for order in orders.values()}
    assert len(orders) == len(by_id)
    sent = set().union(*(diary.sent for diary in diaries))
    assert set(orders) == sent, "an order was lost or invented"
    for diary in diaries:
        for key, order_id in diary.acked.items():
            assert orders[key].order_id == order_id, f"{key} was acknowledged and is lost"
        for key in diary.canceled:
            assert orders[key].status in (OrderStatus.CANCELED, OrderStatus.FILLED), f"{key}: a cancel is lost"
        numbers = [int(order_id) for order_id in diary.acked.values()]
        assert numbers == sorted(numbers), "the sequence of commands went on after every kill"
    final = {order.order_id: order.status for order in orders.values()}

    def told_otherwise() -> dict[str, tuple[OrderStatus | None, OrderStatus | None]]:
        told_last = {order.order_id: order.status for order in followed}
        return {key: (told_last.get(key), final.get(key)) for key in told_last.keys() | final.keys()
                if told_last.get(key) != final.get(key)}  # fmt: skip

    try:
        async with asyncio.timeout(PATIENCE_S):  # the stream has to catch up with the last kill
            while told_otherwise():  # noqa: ASYNC110 it has no event
                await asyncio.sleep(0.05)
    except TimeoutError:
        differ = dict(sorted(told_otherwise().items(), key=lambda each: int(each[0]))[:20])
        raise AssertionError(f"orders whose last status in the stream is not theirs (told, is): {differ}") from None
    changes = Counter((order.order_id, order.status, order.cum_qty) for order in followed)
    assert max(changes.values()) == 1, "a change was delivered twice"
    fills = Counter(fill.order_id for fill in await insist(partial(client.list_fills, limit=200_000)))
    told = Counter(order.order_id for order in followed if order.cum_qty and order.status is not OrderStatus.CANCELED)
    assert told == fills, "every fill was told once"
    return by_id


async def check_blotter(data_dir: Path, orders: dict[str, Order]) -> None:
    """The blotter, whose writer was killed as often, holds every order and every trade once."""
    expected = {(int(key), order.client_order_id, order.status is OrderStatus.FILLED) for key, order in orders.items()}
    with contextlib.closing(sqlite3.connect(data_dir / "blotter.db")) as blotter:

        def stored() -> list[tuple[int, str, bool]]:
            return blotter.execute("SELECT order_id, client_order_id, cum_qty = qty FROM orders").fetchall()

        async with asyncio.timeout(PATIENCE_S):  # it is a moment behind
            while set(stored()) != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert len(stored()) == len(expected)
        lopsided = blotter.execute("SELECT trade_id FROM fills GROUP BY trade_id HAVING count(*) <> 2").fetchall()
        assert lopsided == [], "a trade is a fill of each side"


async def check_journal(data_dir: Path, diaries: list[Diary], info: ServerInfo) -> None:
    """The whole journal, carried out again, comes to the hash the server had when it stopped, and all money is accounted
    for."""
    journal = SqliteJournal(data_dir / "journal.db", new_epoch="x")
    engine = Engine(EngineLimits(max_orders=2_000_000, max_open_orders=100_000), journal.epoch)
    await recover(engine, journal)
    journal.close()
    assert engine.command_sequence >= info.command_sequence
    files = SnapshotFiles(data_dir / "snapshots", keep=3)
    header = decode(files.read(files.sequences()[0])).header
    assert (engine.command_sequence, engine.exchange.state_hash()) == (header.command_sequence, header.state_hash)
    engine.exchange.validate()  # every asset sums to zero, nothing is negative, all that rests is reserved
    usdt = engine.registry.asset("USDT")
    (outside,) = (total for asset, total, _ in engine.exchange.balances(0) if asset == usdt.number)
    moved = -outside - len(ACCOUNTS) * usdt.units("1000000")
    assert moved == usdt.units(str(sum(diary.money for diary in diaries))), "money was lost or doubled"


async def test_a_failpoint_that_is_mistyped_stops_the_start(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    try:
        with pytest.raises(AssertionError, match="ended with 3"):
            await server.start({"TRADEWIND_FAILPOINT": "append"})
    finally:
        await server.kill()
