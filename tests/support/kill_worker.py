"""The process that the kill-storm test kills: an engine under load that logs what it sends and what is acknowledged.

Usage: python -m tests.support.kill_worker DIRECTORY ROUND. Lines of DIRECTORY/log: `sent ID`, `acked ID ORDER_ID`,
`canceled ID`, `sent-money ID`, `acked-money ID`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from server.base.errors import TradewindError
from server.records.events import OrderView
from tests.support.engine import House, house

CLIENTS = 16


async def client(it: House, log: int, name: str, rng: random.Random) -> None:
    """Places, repeats, cancels and moves money for ever."""
    placed: list[OrderView] = []
    number = 0
    while True:
        number += 1
        order_name = f"{name}-{number}"
        side = it.buy if rng.random() < 0.5 else it.sell
        account = rng.choice(("alice", "bob"))
        order = side(rng.randrange(1_000, 1_020), rng.randrange(100, 1_000), account, order_name)
        write(log, f"sent {account}/{order_name}")
        for _ in range(rng.choice((1, 1, 1, 2))):
            view = (await it.trading.place(order)).order
            write(log, f"acked {account}/{order_name} {view.order_id}")
        placed.append(view)
        if rng.random() < 0.3:
            victim = rng.choice(placed)
            try:
                await it.trading.cancel(victim.account, order_id=victim.order_id)
                write(log, f"canceled {victim.account}/{victim.client_order_id}")
            except TradewindError:
                pass  # it was filled or canceled before
        if rng.random() < 0.1:
            write(log, f"sent-money {order_name}")
            await it.trading.adjust_balance("alice", "USDT", 1, order_name)
            write(log, f"acked-money {order_name}")


def write(log: int, line: str) -> None:
    os.write(log, line.encode() + b"\n")


async def main(directory: Path, round_number: int) -> None:
    log = os.open(directory / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with house(directory) as it:
        print("ready", flush=True)
        seeds = random.Random(round_number)
        clients = (client(it, log, f"r{round_number}-c{n}", random.Random(seeds.random())) for n in range(CLIENTS))
        await asyncio.gather(*clients)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
