"""The kill switch: nothing is accepted after it, whatever else goes on, and what was open is canceled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from server.access.tokens import Scope
from server.base.clock import SystemClock
from server.market.hub import MarketData
from server.risk.kill_switch import KillSwitch
from tests.conftest import SOAK_FACTOR
from tests.support.app import BUY, INSTRUMENT, LIMIT, MARKET, SELL, Running, order, place, running, settings
from tests.support.engine import house
from tests.support.rpc import refused
from tests.waiting import until
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2, risk_pb2

DRILLS = 20 * SOAK_FACTOR
CLIENTS = 6
REJECTED = orders_pb2.ORDER_STATUS_REJECTED
OTHER = "internal:ETH/USDT"

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running(settings(tmp_path_factory.mktemp("kill"))) as started:
        eth = market_data_pb2.DefineInstrumentRequest(symbol="ETH/USDT", tick_size="0.01", lot_size="0.001")
        await started.market.DefineInstrument(eth, metadata=started.admin)
        yield started


async def kill(app: Running, instrument: str = "", *, flatten: bool = False) -> risk_pb2.KillSwitchResponse:
    request = risk_pb2.KillSwitchRequest(reason="drill", instrument=instrument, flatten=flatten)
    response: risk_pb2.KillSwitchResponse = await app.risk.KillSwitch(request, metadata=app.admin)
    return response


async def resume(app: Running, instrument: str = "") -> None:
    request = orders_pb2.SetTradingStatusRequest(instrument=instrument, status=common_pb2.TRADING_STATUS_OPEN)
    await app.orders.SetTradingStatus(request, metadata=app.admin)


async def open_orders(app: Running) -> list[orders_pb2.Order]:
    found: list[orders_pb2.Order] = []
    for account in ("demo", "maker"):
        request = orders_pb2.ListOrdersRequest(account=account, open_only=True, page_size=1000)
        found += (await app.orders.ListOrders(request, metadata=app.admin)).orders
    return found


class Trader:
    """Places resting orders one after the other, and remembers which were accepted."""

    def __init__(self, app: Running, account: str) -> None:
        self.app = app
        self.account = account
        self.accepted: list[int] = []
        self.refused = 0

    async def trade(self, over: asyncio.Event) -> None:
        while not over.is_set():
            placed = await place(self.app, account=self.account, price="100", qty="0.1")
            if placed.status == REJECTED:
                assert placed.reject_reason == orders_pb2.REJECT_REASON_TRADING_HALTED
                self.refused += 1
            else:
                self.accepted.append(int(placed.order_id))


async def drill(app: Running) -> None:
    traders = [Trader(app, ("demo", "maker")[number % 2]) for number in range(CLIENTS)]
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for each in traders:
            tasks.create_task(each.trade(over))
        await until(lambda: all(each.accepted for each in traders), "everybody trades")
        killed = await kill(app)
        after = [each.refused for each in traders]
        last = int((await place(app, price="100", qty="0.1")).order_id)
        await until(
            lambda: all(each.refused > count + 1 for each, count in zip(traders, after, strict=True)), "all meet it"
        )
        over.set()
    # Ids are sequences of commands: the halt came before that of an order placed after the acknowledgement.
    accepted = [order_id for each in traders for order_id in each.accepted]
    assert max(accepted) < last
    assert killed.canceled_count >= 1
    assert not killed.pending_count
    assert await open_orders(app) == []


async def test_no_order_is_accepted_after_the_acknowledgement(app: Running, tally: Any) -> None:
    for _ in range(DRILLS):
        await drill(app)
        await resume(app)
    tally("kill drills", DRILLS)


async def test_one_instrument_is_killed_and_the_others_trade_on(app: Running) -> None:
    await place(app, price="100")
    kept = await place(app, instrument=OTHER, price="10", qty="1")
    killed = await kill(app, INSTRUMENT)
    assert killed.canceled_count == 1
    assert [each.order_id for each in await open_orders(app)] == [kept.order_id]
    assert (await place(app, price="100")).reject_reason == orders_pb2.REJECT_REASON_TRADING_HALTED
    assert (await place(app, instrument=OTHER, price="10", qty="1")).status != REJECTED
    await kill(app)
    await resume(app)
    assert (await place(app, price="100")).status == REJECTED, "what was killed by instrument is opened by instrument"
    await resume(app, INSTRUMENT)
    assert (await place(app, price="100")).status != REJECTED
    await kill(app)
    await resume(app)


async def position(app: Running, account: str, instrument: str = INSTRUMENT) -> str:
    request = accounts_pb2.ListPositionsRequest(account=account)
    listed = (await app.accounts.ListPositions(request, metadata=app.admin)).positions
    return next((each.qty for each in listed if each.instrument == instrument), "0")


async def test_positions_are_closed_with_the_orders_of_others_before_the_halt(app: Running) -> None:
    third = accounts_pb2.CreateAccountRequest(name="third", mode=accounts_pb2.ACCOUNT_MODE_PAPER)
    await app.accounts.CreateAccount(third, metadata=app.admin)
    money = accounts_pb2.AdjustBalanceRequest(account="third", asset="USDT", amount="100000", request_id="m")
    await app.accounts.AdjustBalance(money, metadata=app.admin)
    await place(app, account="maker", side=SELL, type=LIMIT, price="60000", qty="0.2")
    await place(app, account="demo", side=BUY, type=MARKET, qty="0.2")
    await place(app, account="demo", side=SELL, type=LIMIT, price="70000", qty="0.2")  # holds what is to be sold
    await place(app, account="third", side=BUY, type=LIMIT, price="59000", qty="0.15")
    killed = await kill(app, flatten=True)
    told = {each.account: each for each in killed.flattened}
    assert (told["demo"].qty, told["demo"].remaining_qty) == ("0.2", "0.05")
    assert told["demo"].problem.startswith("the market offered no more")
    assert (told["maker"].qty, told["maker"].remaining_qty) == ("-0.2", "-0.2")
    assert told["maker"].problem == "the order was refused: NO_LIQUIDITY"
    assert await position(app, "demo") == "0.05"
    assert await open_orders(app) == []
    assert (await place(app, price="100")).reject_reason == orders_pb2.REJECT_REASON_TRADING_HALTED
    again = await kill(app, flatten=True)
    assert {each.problem for each in again.flattened} == {"the order was refused: TRADING_HALTED"}, (
        "a halt is not loosened"
    )
    await resume(app)


async def test_a_caller_that_leaves_during_the_flatten_leaves_a_halt_behind(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        switch = KillSwitch(it.trading, MarketData("e", SystemClock()))
        pulling = asyncio.create_task(switch.pull("", flatten=True, reason="drill", principal="t"))
        await asyncio.sleep(0)  # now it waits for the market to take only what reduces
        pulling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pulling
        await until(lambda: it.trading.is_halted, "all is halted")


async def test_it_needs_a_reason_and_a_known_instrument(app: Running) -> None:
    answer = await refused(app.risk.KillSwitch(risk_pb2.KillSwitchRequest(), metadata=app.admin))
    assert answer.fields == {"reason": "REQUIRED"}
    request = risk_pb2.KillSwitchRequest(reason="x", instrument="internal:NO/USDT")
    answer = await refused(app.risk.KillSwitch(request, metadata=app.admin))
    assert answer.reason == "INSTRUMENT_NOT_FOUND"
    assert (await place(app, price="100")).status != REJECTED, "a refused kill halts nothing"
    trader = await app.token(Scope.TRADE)
    request = risk_pb2.KillSwitchRequest(reason="x")
    answer = await refused(app.risk.KillSwitch(request, metadata=trader))
    assert answer.code is grpc.StatusCode.PERMISSION_DENIED


async def test_it_is_latched_over_a_restart_and_needs_no_store_but_the_journal(tmp_path: Path) -> None:
    away = {
        "ticks_url": "clickhouse://127.0.0.1:1/x", "blotter_url": "postgresql://127.0.0.1:1/x", "bus_url": "redis://127.0.0.1:1",
    }  # fmt: skip
    config = settings(tmp_path, storage=away)
    async with running(config) as app:
        await place(app, price="100")
        assert (await kill(app)).canceled_count == 1
        assert await open_orders(app) == []
    async with running(config) as app:
        assert (await place(app, price="100")).reject_reason == orders_pb2.REJECT_REASON_TRADING_HALTED
        await resume(app)
        assert (await app.orders.PlaceOrder(order(price="100"), metadata=app.admin)).order.status != REJECTED
