"""What happens by itself: expiries, the dead-man timer, ends of sessions, and cascades too long for one command."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fastpath.model.enums import CancelReason, OrderFlag, OrderStatus, OrderType, TimeInForce
from server.base.clock import ManualClock
from server.base.errors import JournalFailed, QueueFull, ShuttingDown
from server.engine.orders import NewOrder
from server.engine.runner import TIMER_INTERVAL_NS
from server.engine.sessions import RETRY_NS, Sessions
from server.records import commands
from server.records.events import OrderView
from tests.support.engine import GTC, SELL, House, house
from tests.waiting import until

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
GTD, DAY = int(TimeInForce.TIME_IN_FORCE_GTD), int(TimeInForce.TIME_IN_FORCE_DAY)
STOP = int(OrderType.ORDER_TYPE_STOP)
EXPIRED, CANCELED = int(OrderStatus.ORDER_STATUS_EXPIRED), int(OrderStatus.ORDER_STATUS_CANCELED)
ON_DISCONNECT = int(OrderFlag.ORDER_FLAG_CANCEL_ON_DISCONNECT)


def look(it: House, order: OrderView) -> OrderView:
    return it.trading.get_order(order.account, order_id=order.order_id)


async def place(it: House, order: NewOrder, **changes: Any) -> OrderView:
    return (await it.trading.place(dataclasses.replace(order, **changes))).order


async def test_an_order_expires_when_the_clock_says_so_and_again_in_a_replay(tmp_path: Path) -> None:
    clock = ManualClock(START)
    async with house(tmp_path, clock=clock) as it:
        soon = await place(it, it.buy(50_000, 100), time_in_force=GTD, expire_ns=START + 5 * SECOND)
        late = await place(it, it.buy(50_000, 100), time_in_force=GTD, expire_ns=START + 60 * SECOND)
        day = await place(it, it.buy(50_000, 100), time_in_force=DAY)
        assert day.expire_ns % (86_400 * SECOND) == 0
        before = it.trading.command_sequence
        clock.advance(5 * SECOND)
        await until(lambda: look(it, soon).status == EXPIRED)
        assert it.trading.command_sequence == before + 1, "one command for it"
        assert look(it, soon).update_ns == START + 5 * SECOND
        assert look(it, late).is_open
        state = await it.trading.state()
    async with house(tmp_path, clock=clock) as it:
        assert await it.trading.state() == state


async def test_what_is_due_happens_before_what_comes(tmp_path: Path) -> None:
    clock = ManualClock(START)
    async with house(tmp_path, clock=clock) as it:
        expiring = await place(it, it.buy(60_000, 100), time_in_force=GTD, expire_ns=START + 1)
        clock.advance(1)
        selling = await place(it, it.sell(60_000, 100))
        assert (selling.cum_qty, look(it, expiring).status) == (0, EXPIRED)


async def test_the_cancel_timer_survives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(START)
    async with house(tmp_path, clock=clock) as it:
        order = await place(it, it.buy(50_000, 100))
        await it.trading.set_cancel_timer("alice", START + 9 * SECOND)
        await it.trading.set_cancel_timer("alice", START + 10 * SECOND)
        clock.advance(9 * SECOND)
        await place(it, it.sell(90_000, 100))
        assert look(it, order).is_open
    clock.advance(SECOND)
    async with house(tmp_path, clock=clock) as it:
        await until(lambda: clock.next_timer_ns is not None, "it is due")
        clock.advance(TIMER_INTERVAL_NS)
        await until(lambda: look(it, order).status == CANCELED)
        assert look(it, order).cancel_reason == CancelReason.CANCEL_REASON_TIMER


async def test_a_cascade_longer_than_a_command_goes_on_by_itself(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        await place(it, it.buy(60_000, 100))
        await place(it, it.sell(60_000, 100))
        stops = [
            NewOrder("bob", it.btc, SELL, STOP, GTC, 100, trigger_price=59_000_00, client_order_id=f"stop-{n}")
            for n in range(2_500)
        ]
        await it.trading.submit(stops)
        await place(it, it.buy(59_000, 100))
        await place(it, it.sell(59_000, 100))
        await until(lambda: it.engine.exchange.open_order_count == 0)
        assert it.engine.exchange.next_timer_ns is None


async def test_sessions_of_an_earlier_process_are_closed_once(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        session = it.trading.open_session()
        gone = await place(it, it.buy(50_000, 100), flags=ON_DISCONNECT, session=session.number)
        kept = await place(it, it.buy(50_000, 100))
    async with house(tmp_path) as it:
        await it.trading.close_old_sessions()
        assert look(it, gone).cancel_reason == CancelReason.CANCEL_REASON_DISCONNECT
        assert look(it, kept).is_open
        sequence = it.trading.command_sequence
        await it.trading.close_old_sessions()
        assert it.trading.command_sequence == sequence, "there is nothing to close any more"


async def test_a_session_ends_its_own_orders_only(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        first, second = it.trading.open_session(), it.trading.open_session()
        orders = [
            await place(it, it.buy(50_000, 100), flags=ON_DISCONNECT, session=session.number)
            for session in (first, second)
        ]
        first.covers(it.trading.registry.account("alice").number)
        first.close()
        await until(lambda: not look(it, orders[0]).is_open)
        assert look(it, orders[1]).is_open


@pytest.mark.parametrize("error", [QueueFull("full"), JournalFailed("no disk")])
async def test_a_session_that_cannot_be_closed_now_is_closed_later(error: Exception) -> None:
    clock = ManualClock()
    loop = asyncio.get_running_loop()
    submitted: list[bytes] = []

    def submit(command: bytes) -> asyncio.Future[bytes]:
        submitted.append(command)
        if len(submitted) == 1:
            raise error
        answer: asyncio.Future[bytes] = loop.create_future()
        if len(submitted) == 2:
            answer.set_exception(JournalFailed("no disk"))
        elif len(submitted) == 3:
            answer.set_result(b"")
        return answer

    session = Sessions(submit, clock).open()
    session.covers(7)
    session.close()
    clock.advance(RETRY_NS)
    await until(lambda: len(submitted) == 3)
    assert clock.next_timer_ns is None
    assert submitted == [commands.session_closed(account=7, session=1)] * 3


async def test_a_session_is_left_to_the_next_start_when_the_server_stopped() -> None:
    clock = ManualClock()
    submitted: list[bytes] = []

    def submit(command: bytes) -> asyncio.Future[bytes]:
        submitted.append(command)
        raise ShuttingDown("stopping")

    session = Sessions(submit, clock).open()
    session.covers(7)
    session.close()
    assert clock.next_timer_ns is None, "it is not tried again"
    assert len(submitted) == 1
