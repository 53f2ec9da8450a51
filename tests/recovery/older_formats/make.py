"""Makes what test_older_formats.py reads: `python -m tests.recovery.older_formats.make DIRECTORY`.

Run it with the last build of a format, before a change raises the version: a journal with a snapshot in the middle, and
what that build said of both. Orders of every kind are open when the snapshot is made, each in its own state.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastpath.model.enums import OrderFlag, OrderType, TimeInForce
from server.base.clock import ManualClock
from server.base.instruments import Asset
from server.engine.limits import EngineLimits
from server.engine.orders import NewOrder
from server.engine.setup import Setup
from server.records import commands
from tests.recovery.test_snapshots import snapshot
from tests.support.engine import SETUP, House, house

LIMITS = EngineLimits(max_orders=1_000, max_open_orders=1_000, closed_orders=50, fills=50)
START_NS = 1_700_000_000_000_000_000
OCO, OTO, BRACKET = 1, 2, 3
ACCOUNTS = ("alice", "bob")
VENUE = "binance:BTC/USDT"
"""Mirrored; version 1 was kept without it."""


async def before(it: House) -> None:
    """Up to the snapshot. The market is 999 to 1,001."""

    def order(maker: Callable[..., NewOrder], price: int, qty: int, name: str, **fields: Any) -> NewOrder:
        return replace(maker(price, qty, client_order_id=name), **fields)

    buy, sell, venue = it.buy, it.sell, it.trading.registry.instrument(VENUE)
    stop = {"order_type": int(OrderType.ORDER_TYPE_STOP)}
    trailing = {"order_type": int(OrderType.ORDER_TYPE_TRAILING_STOP)}
    single = [
        order(sell, 1_001, 5_000, "resting-sell"),
        order(buy, 999, 5_000, "resting-buy"),
        order(buy, 1_001, 1_500, "filled"),
        order(sell, 999, 700, "partly"),
        order(sell, 1_010, 9_000, "iceberg", order_type=int(OrderType.ORDER_TYPE_ICEBERG), display_qty=1_000),
        order(sell, 1_011, 900, "post-only", flags=int(OrderFlag.ORDER_FLAG_POST_ONLY)),
        order(buy, 998, 600, "dated", time_in_force=int(TimeInForce.TIME_IN_FORCE_GTD), expire_ns=START_NS * 2),
        order(buy, 0, 400, "stop", trigger_price=1_200_00, **stop),
        order(sell, 0, 300, "trailing", trailing_offset=5_000, trailing_unit=1, **trailing),
        order(sell, 1_012, 800, "grouped", stp_group=7),
        order(buy, 997, 10**12, "too-much"),
        order(buy, 996, 500, "canceled"),
    ]
    for each in single:
        await it.trading.place(each)
    await it.trading.cancel("alice", client_order_id="canceled")
    for kind, members in (
        (OCO, [order(buy, 990, 800, "oco-1"), order(buy, 991, 800, "oco-2")]),
        (OTO, [order(buy, 989, 1_000, "parent"), order(buy, 980, 400, "child-1"), order(buy, 981, 1_000, "child-2")]),
        (OTO, [order(buy, 988, 1_000, "parent-gone"), order(buy, 979, 400, "child-gone")]),
    ):
        await it.trading.place_list(kind, members)
    await it.trading.cancel("alice", client_order_id="parent-gone")
    await show(it, bids=[(99_00, 50_000), (98_00, 7_000)], asks=[(100_00, 10_000), (101_00, 20_000)])
    for each in (
        order(buy, 101, 15_000, "walks", instrument=venue, time_in_force=int(TimeInForce.TIME_IN_FORCE_IOC)),
        order(buy, 98, 3_000, "queues", instrument=venue),
    ):
        await it.trading.place(each)
    for request, account in enumerate(ACCOUNTS):
        await it.trading.adjust_balance(account, "USDT", 12_345, f"request-{request}")


async def after(it: House) -> None:
    """Behind the snapshot: what waited goes on."""
    for name, price, qty in (("take-bids", 989, 20_000), ("rest", 1_005, 100)):
        await it.trading.place(it.sell(price, qty, client_order_id=name))
    await it.trading.cancel("bob", client_order_id="post-only")
    venue = it.trading.registry.instrument(VENUE)
    taker = replace(it.buy(101, 30_000, client_order_id="walks-on"), instrument=venue)
    await it.trading.place(taker)  # as far as the snapshot before the snapshot was not used up
    await show(it, bids=[(97_00, 1_000)], asks=[(97_50, 40_000)])  # the market comes to what rests


async def show(it: House, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
    """A snapshot of the venue's book, in ticks and lots."""
    number = it.trading.registry.instrument(VENUE).number
    await it.runner.submit(commands.mirror_snapshot(number, tuple(bids), tuple(asks)))


async def said(it: House) -> dict[str, Any]:
    """What the engine says of all accounts."""
    orders = {
        account: [
            [o.client_order_id, o.order_id, o.status, o.side, o.price, o.qty, o.cum_qty, o.cum_notional, o.waiting]
            for o in (await it.history.list_orders(account, page_size=1_000)).items
        ]
        for account in ACCOUNTS
    }
    balances = {
        account: [
            [b.asset.name, _billionths(b.asset, b.total), _billionths(b.asset, b.reserved)]
            for b in it.trading.list_balances(account)
        ]
        for account in ACCOUNTS
    }
    return {"command_sequence": it.engine.command_sequence, "orders": orders, "balances": balances}


def _billionths(asset: Asset, units: int) -> int | str:
    """Of a coin, whatever the units of a version are; as text if that is no whole number."""
    whole, rest = divmod(units * 10**9, 10**asset.scale)
    return whole if not rest else f"{whole}.{rest:0{asset.scale}d}".rstrip("0")


async def make(directory: Path) -> dict[str, Any]:
    clock = ManualClock(START_NS)
    setup = Setup((*SETUP.instruments, replace(SETUP.instruments[0], name=VENUE)), SETUP.accounts)
    async with house(directory, limits=LIMITS, clock=clock, setup=setup) as it:
        await before(it)
        sequence = await snapshot(directory, LIMITS)
        in_the_middle = await said(it)
        clock.advance(1_000)
        await after(it)
        return {"snapshot": sequence, "before": in_the_middle, "after": await said(it)}


def main(directory: Path) -> None:
    directory.mkdir(parents=True)
    facts = asyncio.run(make(directory))
    (directory / "facts.json").write_text(json.dumps(facts, indent=1))
    (directory / "journal.db.mark").unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
