"""An engine on a real journal in a temporary directory, for tests."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from fastpath.model.enums import AccountMode, OrderType, Side, TimeInForce
from server.base.clock import Clock, ManualClock, SystemClock
from server.base.instruments import Instrument
from server.blotter.history import History
from server.engine.engine import Engine
from server.engine.limits import EngineLimits
from server.engine.orders import NewOrder
from server.engine.runner import Runner, RunnerState
from server.engine.setup import AccountSetup, Funding, Setup, apply_setup, internal_spot
from server.engine.trading import Trading
from server.recovery.recover import Recovery, recover
from server.storage.ports import Journal, SnapshotStore
from server.storage.sqlite_journal import SqliteJournal

BUY, SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)
LIMIT, MARKET = int(OrderType.ORDER_TYPE_LIMIT), int(OrderType.ORDER_TYPE_MARKET)
GTC, IOC = int(TimeInForce.TIME_IN_FORCE_GTC), int(TimeInForce.TIME_IN_FORCE_IOC)

MONEY = (Funding("USDT", "1000000"), Funding("BTC", "1000"))
SETUP = Setup(
    instruments=(internal_spot("BTC/USDT", "0.01", "0.00001"),),
    accounts=(
        AccountSetup("alice", int(AccountMode.ACCOUNT_MODE_PAPER), MONEY),
        AccountSetup("bob", int(AccountMode.ACCOUNT_MODE_PAPER), MONEY),
    ),
)


@dataclass
class House:
    """An engine that runs."""

    engine: Engine
    runner: Runner
    trading: Trading
    recovery: Recovery
    history: History

    @property
    def btc(self) -> Instrument:
        return self.trading.registry.instrument("internal:BTC/USDT")

    def buy(self, price: int, qty: int, account: str = "alice", client_order_id: str | None = None) -> NewOrder:
        """`price` in whole USDT, `qty` in lots; good till canceled."""
        return NewOrder(account, self.btc, BUY, LIMIT, GTC, qty, price * 100, client_order_id)

    def sell(self, price: int, qty: int, account: str = "bob", client_order_id: str | None = None) -> NewOrder:
        return NewOrder(account, self.btc, SELL, LIMIT, GTC, qty, price * 100, client_order_id)


@contextlib.asynccontextmanager
async def house(
    directory: Path,
    *,
    limits: EngineLimits | None = None,
    clock: Clock | None = None,
    journal: Journal | None = None,
    setup: Setup = SETUP,
    snapshots: SnapshotStore | None = None,
) -> AsyncIterator[House]:
    """Opens (or recovers) the engine in `directory`; stops it in the end."""
    limits = limits or EngineLimits(max_orders=200_000)
    journal = journal or SqliteJournal(directory / "journal.db", new_epoch="epoch-1")
    engine = Engine(limits, journal.epoch)
    recovery = await recover(engine, journal, snapshots)
    runner = Runner(engine, journal, clock or SystemClock())
    runner.start()
    ids = itertools.count(1)
    trading = Trading(engine, runner, lambda: f"made-{engine.command_sequence}-{next(ids)}")
    try:
        await apply_setup(trading, setup)
        yield House(engine, runner, trading, recovery, History(engine))
    finally:
        if runner.state is not RunnerState.STOPPED:
            await runner.stop()
        engine.exchange.validate()


async def pass_time(clock: ManualClock, it: House, delta_ns: int) -> None:
    """Move the clock, stopping at each timer until the engine has done what it has to: nothing waits in real time."""
    end_ns = clock.now_ns() + delta_ns
    while (due_ns := clock.next_timer_ns) is not None and due_ns <= end_ns:
        clock.advance(max(due_ns - clock.now_ns(), 0))
        await it.trading.state()
    clock.advance(end_ns - clock.now_ns())
    await it.trading.state()
