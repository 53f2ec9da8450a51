"""What leaves for venues: durable, in order, each once; across kills, receivers that fail, and a log that is too short."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from fastpath.model.structs import EVENT_SIZE
from server.base import background
from server.engine.outbox import Outbox
from server.records.events import ORDER_ACCEPTED, ORDER_TRIGGERED, decode
from server.recovery.past_events import events_from_journal
from server.storage.ports import JournalRow
from server.storage.snapshot_files import SnapshotFiles
from server.storage.sqlite_journal import SqliteJournal
from server.storage.urls import sqlite_url
from tests.support.engine import House, house
from tests.support.outbox_worker import LIMITS, FileReceiver, handing_on
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
KILLS = 4


async def orders_of_alice(directory: Path) -> list[int]:
    """Sequences of all her order events, from the journal."""
    past = events_from_journal(sqlite_url(directory / "journal.db"), SnapshotFiles(directory / "none", keep=1), LIMITS)
    found: list[int] = []
    async for events in past(0):
        for at in range(0, len(events), EVENT_SIZE):
            event = decode(events[at : at + EVENT_SIZE])
            if event.account == 1 and ORDER_ACCEPTED <= event.kind <= ORDER_TRIGGERED:
                found.append(event.event_seq)
    return found


async def test_kills_and_restarts_lose_nothing_and_hand_nothing_on_twice(tmp_path: Path) -> None:
    receiver = FileReceiver(tmp_path / "handed-on")
    rng = random.Random(5)
    for number in range(KILLS):
        more = len(receiver.taken()) + rng.randrange(1, 400)
        with victim(tmp_path, number) as process:
            try:
                await until(partial(has_taken, receiver, more), "what the victim hands on")
            finally:
                process.kill()
    async with house(tmp_path, limits=LIMITS) as it:
        assert it.engine.log.floor > 0, "most of it is not in memory any more"
        anew = FileReceiver(tmp_path / "anew")
        async with handing_on(it, tmp_path, receiver), handing_on(it, tmp_path, anew):
            last = it.engine.log.last_sequence
            for each in (receiver, anew):
                await until(partial(stands_at, each, last))
    expected = await orders_of_alice(tmp_path)
    assert len(expected) > KILLS * 2
    assert receiver.taken() == expected
    assert anew.taken() == expected


def victim(directory: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.outbox_worker", str(directory), str(number)]
    return subprocess.Popen(command, cwd=ROOT)


def has_taken(receiver: FileReceiver, count: int) -> bool:
    return len(receiver.taken()) > count


async def stands_at(receiver: FileReceiver, sequence: int) -> bool:
    return await receiver.position() == sequence


class SlowDisk(SqliteJournal):
    """A journal that waits before it writes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, new_epoch="epoch-1")
        self.free, self.waits = threading.Event(), threading.Event()
        self.free.set()

    def append(self, row: JournalRow) -> None:
        if not self.free.is_set():
            self.waits.set()
        assert self.free.wait(60)
        super().append(row)


async def test_nothing_leaves_before_it_is_durable(tmp_path: Path) -> None:
    receiver, journal = FileReceiver(tmp_path / "handed-on"), SlowDisk(tmp_path / "journal.db")
    async with house(tmp_path, limits=LIMITS, journal=journal) as it, handing_on(it, tmp_path, receiver):
        before = it.engine.exchange.event_seq
        await until(partial(stands_at, receiver, before))
        journal.free.clear()
        placing = asyncio.ensure_future(it.trading.place(it.buy(1_000, 200)))
        await until(journal.waits.is_set)
        assert it.engine.exchange.event_seq > before, "it was carried out"
        assert await receiver.position() == before
        assert receiver.taken() == []
        journal.free.set()
        await placing
        await until(receiver.taken)


class Unsteady:
    """Fails at every third hand-over, by turns before and after it took the events."""

    def __init__(self) -> None:
        self.sequence, self.calls = 0, 0
        self.events: list[int] = []

    async def position(self) -> int:
        return self.sequence

    async def take(self, events: list[bytes], sequence: int) -> None:
        self.calls += 1
        if self.calls % 6 == 3:
            raise ConnectionError("lost before")
        self.events += [decode(each).event_seq for each in events]
        self.sequence = sequence
        if self.calls % 6 == 0:
            raise ConnectionError("lost after")


async def test_a_receiver_that_fails_is_given_what_it_did_not_take_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(background, "LONGEST_WAIT_S", 0.001)
    receiver, failures = Unsteady(), list[str | None]()
    async with house(tmp_path, limits=LIMITS) as it:
        outbox = outbox_of(it, tmp_path, receiver, failures)
        outbox.start()
        for n in range(30):
            await it.trading.place(it.buy(1_000 + n, 200, ("alice", "bob")[n % 2]))
            await until(lambda: receiver.sequence == it.engine.log.last_sequence)
        await outbox.stop()
    assert len(failures) >= 6
    assert receiver.events == await orders_of_alice(tmp_path)


def outbox_of(it: House, directory: Path, receiver: Unsteady, failures: list[str | None]) -> Outbox:
    past = events_from_journal(sqlite_url(directory / "journal.db"), SnapshotFiles(directory / "none", keep=1), LIMITS)
    return Outbox(
        it.engine,
        past,
        receiver,
        accounts=lambda account: account.name == "alice",
        instruments=lambda instrument: instrument.name == it.btc.name,
        on_failure=failures.append,
    )
