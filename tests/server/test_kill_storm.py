"""A whole server killed again and again under load from several clients, at random times and at named points.

Every client of the SDK writes down what was acknowledged to it. At the end nothing of that may be missing, nothing may
be there twice, nothing that nobody sent; every stream must have delivered every change once, over all the kills.
"""

from __future__ import annotations

import asyncio
import random
import time
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
from server.engine.recovery import recover
from server.storage.sqlite_journal import SqliteJournal
from tests.conftest import SOAK_FACTOR
from tests.server.server_process import ServerProcess
from tradewind import AsyncClient, Order, OrderStatus
from tradewind.errors import FailedPrecondition, Unavailable

T = TypeVar("T")

KILLS = 20 * SOAK_FACTOR
BUDGET_S = 75 * SOAK_FACTOR
"""On a busy machine, where a start takes long, the storm ends after so long with fewer kills, and says how many."""
LEAST_KILLS = 6
INSTRUMENT = "internal:BTC/USDT"
ACCOUNTS = ("demo", "maker")
CLIENTS_PER_ACCOUNT = 3
POINTS = ("append", "apply", "applied", "appended", "commit", "reply", "replied")
SNAPSHOT_POINTS = ("snapshot-half-written", "snapshot-written")


@dataclass
class Diary:
    """What one client sent and what was acknowledged."""

    account: str
    name: str
    sent: set[str] = field(default_factory=set)
    acked: dict[str, str] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)
    money_sent: int = 0
    money_acked: int = 0


async def work(client: AsyncClient, diary: Diary, chance: random.Random) -> None:
    """Place, repeat, cancel and move money for ever; after an unknown outcome, say the same again."""
    number = 0
    while True:
        number += 1
        key = f"{diary.name}-{number}"
        side = "buy" if chance.random() < 0.5 else "sell"
        price, qty = str(chance.randrange(1_000, 1_010)), str(Decimal(chance.randrange(100, 1_000)) / 100_000)
        diary.sent.add(key)
        for _ in range(chance.choice((1, 1, 2))):
            order = await insist(partial(client.place_order, INSTRUMENT, side, qty, price, client_order_id=key))
            assert diary.acked.setdefault(key, order.order_id) == order.order_id, "a repeated order is the same order"
        if chance.random() < 0.3:
            try:
                await insist(partial(client.cancel_order, client_order_id=key))
            except FailedPrecondition:
                pass  # filled before, or canceled by the try whose answer was lost
            else:
                diary.canceled.add(key)
        if chance.random() < 0.1:
            diary.money_sent += 1
            await insist(partial(client.adjust_balance, "USDT", 1, request_id=key))
            diary.money_acked += 1


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """The answer, however often the server is killed in between."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(0.05)


async def follow(client: AsyncClient, updates: list[Order]) -> None:
    async for update in client.watch_orders():
        if not update.is_snapshot:
            updates.append(update.order)


@pytest.mark.timeout(300 * SOAK_FACTOR)
async def test_kill_storm(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    server = ServerProcess(tmp_path, "snapshots.every_commands=300", "engine.stream_log_bytes=1048576")
    await server.start()
    diaries = [Diary(account, f"{account}{n}") for account in ACCOUNTS for n in range(CLIENTS_PER_ACCOUNT)]
    clients = {account: server.client(account) for account in ACCOUNTS}
    followed: dict[str, list[Order]] = {account: [] for account in ACCOUNTS}
    tasks = [asyncio.create_task(follow(clients[account], followed[account])) for account in ACCOUNTS]
    await asyncio.sleep(0.2)
    for diary in diaries:
        tasks.append(asyncio.create_task(work(clients[diary.account], diary, random.Random(chance.random()))))
    how: Counter[str] = Counter()
    recovery_s: list[float] = []
    try:
        started = time.monotonic()
        for number in range(KILLS):
            if time.monotonic() - started > BUDGET_S and number >= LEAST_KILLS:
                break
            point = ""  # at a random time
            if number % 5 == 4:
                point = chance.choice(SNAPSHOT_POINTS)  # kills the process that writes it; the server goes next
            elif number % 2:
                point = chance.choice(POINTS)
            count = chance.randrange(1, 20) if point in POINTS else 1
            await server.kill()
            await server.start({"TRADEWIND_FAILPOINT": f"{point}:{count}"} if point else {})
            recovery_s.append(server.start_s)
            how[point or "at random"] += 1
            print(f"{number}: {point or 'at random'}, served after {server.start_s:.1f} s", flush=True)
            if point in POINTS:
                await asyncio.wait_for(server.ended(), 60)  # the clients' work brings it there
            else:
                await asyncio.sleep(chance.uniform(0.0, 0.8))
            for task in tasks:
                if task.done():
                    task.result()
        await server.kill()
        await server.start()
        workers = tasks[len(ACCOUNTS) :]
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        for account in ACCOUNTS:
            mine = [diary for diary in diaries if diary.account == account]
            await check_orders(clients[account], mine, followed[account])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in clients.values():
            await client.close()
        await server.kill()
    await check_journal(tmp_path, diaries)
    acked = sum(len(diary.acked) for diary in diaries)
    kills = how.total()
    assert acked > kills, "the clients had time to work"
    print(f"{kills} of {KILLS} kills ({dict(how)}), {acked} orders acknowledged, from start to serving "
          f"{min(recovery_s):.2f} to {max(recovery_s):.2f} s")  # fmt: skip


async def check_orders(client: AsyncClient, diaries: list[Diary], followed: list[Order]) -> None:
    orders = {order.client_order_id: order for order in await insist(partial(client.list_orders, limit=200_000))}
    assert len(orders) == len({order.order_id for order in orders.values()})
    sent = set().union(*(diary.sent for diary in diaries))
    assert set(orders) <= sent, "an order was invented"
    for diary in diaries:
        for key, order_id in diary.acked.items():
            assert orders[key].order_id == order_id, f"{key} was acknowledged and is lost"
        for key in diary.canceled:
            assert orders[key].status in (OrderStatus.CANCELED, OrderStatus.FILLED), f"{key}: a cancel is lost"
    final = {order.order_id: order.status for order in orders.values()}
    async with asyncio.timeout(30):  # the stream has to catch up with the last kill
        while {order.order_id: order.status for order in followed} != final:  # noqa: ASYNC110 it has no event
            await asyncio.sleep(0.05)
    changes = Counter((order.order_id, order.status, order.cum_qty) for order in followed)
    assert max(changes.values()) == 1, "a change was delivered twice"
    fills = await insist(partial(client.list_fills, limit=200_000))
    filled = Counter[str]()
    for fill in fills:
        filled[fill.order_id] += 1
    told = Counter(order.order_id for order in followed if order.cum_qty and order.status is not OrderStatus.CANCELED)
    assert told == filled, "every fill was told once"


async def check_journal(data_dir: Path, diaries: list[Diary]) -> None:
    """The ledger sums to zero, money moved as often as it was asked to, a full replay comes to the same hash."""
    journal = SqliteJournal(data_dir / "journal.db", new_epoch="x")
    limits = EngineLimits(max_orders=200_000, max_open_orders=100_000)
    engine = Engine(limits, journal.epoch)
    await recover(engine, journal)
    journal.close()
    engine.exchange.validate()  # every asset sums to zero, nothing is negative, all that rests is reserved
    usdt = engine.registry.asset("USDT")
    (outside,) = (total for asset, total, _ in engine.exchange.balances(0) if asset == usdt.number)
    moved = -outside - len(ACCOUNTS) * usdt.units("1000000")
    low, high = (usdt.units(str(sum(getattr(d, name) for d in diaries))) for name in ("money_acked", "money_sent"))
    assert low <= moved <= high, "money was lost or doubled"


async def test_a_failpoint_that_is_mistyped_stops_the_start(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    try:
        with pytest.raises(AssertionError, match="ended with 3"):
            await server.start({"TRADEWIND_FAILPOINT": "append"})
    finally:
        await server.kill()
