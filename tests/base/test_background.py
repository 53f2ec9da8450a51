"""Work beside the calls of clients that ends unexpectedly: the part says so, and the work is started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.base import background
from server.base.background import keep_running
from server.base.clock import ManualClock, SystemClock
from server.market.recorder import TickWriter
from server.process.lifecycle import ServiceState, StatusBoard
from server.recovery.replica import Replica
from tests.app.test_failures import part
from tests.support.app import place, running, settings
from tests.waiting import until
from tradewind.v1 import system_pb2


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(background, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(background, "HEALTHY_S", 0.05)


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a bug")


PARTS: dict[str, tuple[type, str, Any]] = {
    "snapshots": (Replica, "snapshot", broken),
    "store/ticks": (TickWriter, "_flush", broken),
    "clock": (SystemClock, "difference_ns", property(broken)),
}


@pytest.mark.integration
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", PARTS)
async def test_a_part_whose_work_ended_is_not_serving_until_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = settings(
        tmp_path, feeds={"mode": "replay", "venues": {"binance": ["BTC/USDT"]}}, storage={"ticks_url": None},
        snapshots={"every_commands": 1},
    )  # fmt: skip
    async with running(config) as app:

        async def ended() -> bool:
            # One more each time: a snapshot that was under way before the fault may cover those before.
            assert (await place(app, price="100")).order_id, "trading goes on"
            state, detail = await part(app, name)
            return state == system_pb2.SERVICE_STATE_NOT_SERVING and "RuntimeError: a bug" in detail

        async def serves() -> bool:
            return (await part(app, name))[0] == system_pb2.SERVICE_STATE_SERVING

        monkeypatch.setattr(*PARTS[name])
        await until(ended, "its work has ended")
        cls, attribute, _ = PARTS[name]
        monkeypatch.undo()
        monkeypatch.setattr(background, "FIRST_WAIT_S", 0.01)
        assert getattr(cls, attribute) is not broken
        await until(serves, "it was started again")


@pytest.mark.usefixtures("quick")
async def test_the_reason_stays_while_it_ends_again_and_again() -> None:
    told: list[str | None] = []
    tries = asyncio.Semaphore(0)

    async def work() -> None:
        tries.release()
        raise ValueError("no")

    task = keep_running("counting", work, told.append)
    for _ in range(4):
        await tries.acquire()
    await until(lambda: len(told) >= 4)
    assert all(reason is not None and "ValueError: no" in reason for reason in told)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("quick")
async def test_who_is_canceled_from_within_is_started_again() -> None:
    told: list[str | None] = []
    started = asyncio.Semaphore(0)

    async def work() -> None:
        started.release()
        if len(told) < 1:
            raise asyncio.CancelledError  # as a library does to those who wait on what it closes
        await asyncio.Event().wait()

    task = keep_running("waiting", work, told.append)
    await until(lambda: told and told[-1] is None, "it is well again")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_two_failures_of_one_part_and_a_status_set_meanwhile() -> None:
    board = StatusBoard(ManualClock(1))
    first, second = board.failure_listener("feed/x"), board.failure_listener("feed/x")
    board.set("feed/x", ServiceState.SERVING, "live")
    first("first")
    second("second")
    board.set("feed/x", ServiceState.SERVING, "still live")
    shown = _shown(board)
    assert shown() == (ServiceState.NOT_SERVING, "first")
    first(None)
    assert shown() == (ServiceState.NOT_SERVING, "second")
    second(None)
    assert shown() == (ServiceState.SERVING, "still live")


def test_a_listener_that_raises_stops_nobody() -> None:
    board = StatusBoard(ManualClock(1))
    heard: list[str] = []
    board.listen(broken)
    board.listen(lambda status: heard.append(status.detail))
    board.set("engine", ServiceState.SERVING, "recovered")
    assert heard == ["recovered"]


def _shown(board: StatusBoard) -> Callable[[], tuple[ServiceState, str]]:
    def shown() -> tuple[ServiceState, str]:
        status = board.get("feed/x")
        assert status is not None
        return status.state, status.detail

    return shown
