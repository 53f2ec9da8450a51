"""The machine's clock is set while the server runs, or stands wrong when it starts; and a clock that a test moves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fastpath.model.enums import OrderStatus, TimeInForce
from server.base.clock import STEP_NS, ManualClock, SystemClock
from server.engine.orders import NewOrder
from server.market.model import BookUpdate, MarketUpdate
from tests.support.app import Running, place, running, settings
from tests.support.engine import BUY, SELL, pass_time
from tests.support.paper import market
from tests.waiting import until
from tradewind.v1 import orders_pb2, system_pb2

SECOND, MS = 1_000_000_000, 1_000_000
DAY = 86_400 * SECOND
START = 1_700_000_000 * SECOND
GTC, GTD, DAY_ORDER = orders_pb2.TIME_IN_FORCE_GTC, orders_pb2.TIME_IN_FORCE_GTD, orders_pb2.TIME_IN_FORCE_DAY


class Machine:
    """A machine whose clock is set by hand; real time passes on it, and more of it at will."""

    def __init__(self) -> None:
        self.set_by_ns = 0
        self.passed_ns = 0

    def wall_ns(self) -> int:
        return time.time_ns() + self.passed_ns + self.set_by_ns

    def true_ns(self) -> int:
        return time.time_ns() + self.passed_ns

    def clock(self) -> SystemClock:
        return SystemClock(self.wall_ns, lambda: time.monotonic_ns() + self.passed_ns)


class Steady:
    """Two clocks that show what a test says."""

    def __init__(self) -> None:
        self.wall, self.steady = START, 0
        self.clock = SystemClock(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: float, *, wall: bool = True) -> int:
        """Let time pass, read once a second; the clock's time in the end. It never went backward."""
        before, whole = self.clock.now_ns(), round(seconds * 10)
        for _ in range(whole):
            self.steady += SECOND // 10
            self.wall += SECOND // 10 if wall else 0
            now = self.clock.now_ns()
            assert now > before, "it goes on, forward"
            before = now
        return before


@pytest.mark.parametrize("step", [-60 * SECOND, 2 * DAY, -STEP_NS - SECOND])
def test_a_step_is_not_followed_and_forgotten_when_it_is_taken_back(step: int) -> None:
    it = Steady()
    it.wall += step
    assert it.passes(30) == START + 30 * SECOND
    assert it.clock.difference_ns == step
    it.wall -= step
    assert it.passes(30) == START + 60 * SECOND
    assert it.clock.difference_ns == 0


@pytest.mark.parametrize("off", [SECOND, -SECOND, -STEP_NS, STEP_NS])
def test_a_small_difference_is_made_up_for_at_five_percent(off: int) -> None:
    it = Steady()
    it.passes(1)
    it.wall += off
    assert abs(it.passes(10) - (START + 11 * SECOND)) <= SECOND // 2, "not at once"
    assert abs(it.passes(abs(off) * 20 / SECOND) - it.wall) <= 1_000_000


def test_an_accepted_step_forward_is_taken_at_once_and_one_backward_at_half_the_speed() -> None:
    it = Steady()
    it.wall += 2 * DAY
    it.passes(1)
    agreed = it.clock.accept()
    assert (agreed.difference_ns, agreed.left_ns) == (2 * DAY, 0)
    assert it.clock.now_ns() == it.wall
    it.wall -= 60 * SECOND
    it.passes(1)
    assert it.clock.accept().left_ns == 120 * SECOND
    assert it.clock.is_catching_up
    began = it.clock.now_ns()
    assert it.passes(40) - began == 20 * SECOND
    it.passes(300)
    assert not it.clock.is_catching_up
    assert abs(it.clock.difference_ns) <= 1_000_000


def test_another_step_needs_another_decision() -> None:
    it = Steady()
    it.wall -= 60 * SECOND
    it.clock.accept()
    it.passes(10)
    it.wall -= 2 * DAY
    it.passes(2)
    assert not it.clock.is_catching_up
    before = it.clock.now_ns()
    assert it.passes(10) == before + 10 * SECOND


# -- a whole server -----------------------------------------------------------------------------------------------


def at(true_ns: int) -> Timestamp:
    time_ = Timestamp()
    time_.FromNanoseconds(true_ns)
    return time_


async def gtd(app: Running, machine: Machine, seconds: int) -> Any:
    expire_time = at(machine.true_ns() + seconds * SECOND)
    return await place(app, price="100", time_in_force=GTD, expire_time=expire_time)


async def status(app: Running, order: Any) -> int:
    request = orders_pb2.GetOrderRequest(order=orders_pb2.OrderRef(account="demo", order_id=order.order_id))
    return int((await app.orders.GetOrder(request, metadata=app.admin)).order.status)


async def clock_part(app: Running) -> tuple[int, str]:
    listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
    return next((each.state, each.detail) for each in listed.services if each.name == "clock")


async def is_open(app: Running, order: Any) -> bool:
    return await status(app, order) == int(OrderStatus.ORDER_STATUS_NEW)


async def goes(app: Running, order: Any, what: str) -> None:
    async def gone() -> bool:
        return not await is_open(app, order)

    await until(gone, what)


async def alarmed(app: Running) -> None:
    async def is_degraded() -> bool:
        return (await clock_part(app))[0] == system_pb2.SERVICE_STATE_DEGRADED

    await until(is_degraded, "the step is an alert")
    assert "accept-clock" in (await clock_part(app))[1]


@pytest.mark.integration
@pytest.mark.parametrize("steps", [(-60 * SECOND,), (2 * DAY, 0)], ids=["a minute back", "two days forward and back"])
async def test_timers_are_right_when_the_clock_was_set(tmp_path: Path, steps: tuple[int, ...]) -> None:
    machine = Machine()
    async with running(settings(tmp_path), machine.clock()) as app:
        kept, day = await gtd(app, machine, 3_600), await place(app, price="100", time_in_force=DAY_ORDER)
        for step in steps:
            machine.set_by_ns = step
            if step:
                await alarmed(app)
            assert await is_open(app, kept), "its time has not come"
            assert await is_open(app, day) or machine.true_ns() >= day.expire_time.ToNanoseconds()
            assert (await gtd(app, machine, -5)).status == orders_pb2.ORDER_STATUS_REJECTED, "in the past"
        short, plain = await gtd(app, machine, 600), await place(app, price="100", time_in_force=GTC)
        machine.passed_ns += 601 * SECOND
        await goes(app, short, "its time has come")
        assert await is_open(app, kept)
        timer = orders_pb2.SetCancelTimerRequest(account="demo", timeout_ms=60_000)
        told = await app.orders.SetCancelTimer(timer, metadata=app.admin)
        assert abs(told.expire_time.ToNanoseconds() - machine.true_ns() - 60 * SECOND) < 10 * SECOND
        assert await is_open(app, plain)
        machine.passed_ns += 61 * SECOND
        await goes(app, plain, "the dead-man timer")


@pytest.mark.integration
async def test_a_start_with_a_clock_behind_the_journal(tmp_path: Path) -> None:
    machine = Machine()
    async with running(settings(tmp_path), machine.clock()) as app:
        soon, late = await gtd(app, machine, 600), await gtd(app, machine, 7_200)
        last_ns = late.create_time.ToNanoseconds()
    machine.set_by_ns = -3_600 * SECOND
    async with running(settings(tmp_path), machine.clock()) as app:
        await alarmed(app)
        assert (await place(app, price="100")).create_time.ToNanoseconds() >= last_ns
        assert await is_open(app, soon)
        new = await gtd(app, machine, 300)
        machine.passed_ns += 301 * SECOND
        await goes(app, new, "it was set after the start")
        machine.passed_ns += 300 * SECOND
        await goes(app, soon, "it was set before the stop")
        assert await is_open(app, late)


@pytest.mark.integration
async def test_an_administrator_accepts_the_machines_clock(tmp_path: Path) -> None:
    machine = Machine()
    async with running(settings(tmp_path), machine.clock()) as app:
        order = await gtd(app, machine, 3_600)
        machine.set_by_ns = 7_200 * SECOND
        await alarmed(app)
        answer = await app.system.AcceptClock(system_pb2.AcceptClockRequest(), metadata=app.admin)
        assert abs(answer.difference.ToNanoseconds() - 7_200 * SECOND) < STEP_NS
        await goes(app, order, "the clock is at its time now")

        async def is_serving() -> bool:
            return (await clock_part(app))[0] == system_pb2.SERVICE_STATE_SERVING

        await until(is_serving, "the alert is over")


# -- the engine on a clock that is moved by hand --------------------------------------------------------------------


async def test_a_clock_moved_by_hand_drives_the_engine_with_its_venues(tmp_path: Path) -> None:
    clock, latency_ns = ManualClock(START), 300 * MS
    async with market(tmp_path, latency_in_ns=latency_ns, latency_out_ns=latency_ns, clock=clock) as it:
        heard: list[MarketUpdate] = []
        it.late.add_listener(heard.append)

        async def passes(ms: int) -> None:
            await pass_time(clock, it.house, ms * MS)

        it.book([(99, 5_000)], [(101, 5_000)])
        assert not heard, "what happens there is not known yet"
        await passes(299)
        assert not heard
        await passes(2)
        assert any(isinstance(update, BookUpdate) for update in heard)
        buying = (await it.house.trading.place(it.order(BUY, 101, 2_000))).order
        await passes(599)
        look = it.house.trading.get_order
        assert not look("alice", order_id=buying.order_id).cum_qty, "it is on its way"
        await passes(2)
        filled = look("alice", order_id=buying.order_id)
        assert filled.cum_qty == 2_000
        assert filled.update_ns == START + (301 + 600) * MS, "at its time, not later"
        resting = NewOrder(
            "alice", it.house.btc, SELL, int(orders_pb2.ORDER_TYPE_LIMIT), int(TimeInForce.TIME_IN_FORCE_GTD), 2_000,
            200_00, expire_ns=clock.now_ns() + 50 * MS,
        )  # fmt: skip
        sold = (await it.house.trading.place(resting)).order
        await passes(49)
        assert look("alice", order_id=sold.order_id).is_open
        await passes(1)
        assert look("alice", order_id=sold.order_id).status == int(OrderStatus.ORDER_STATUS_EXPIRED)
