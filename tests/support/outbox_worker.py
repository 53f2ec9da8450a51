"""The victim of the outbox's kills: an engine under load whose outbox hands on what `alice` does.

Usage: python -m tests.support.outbox_worker DIRECTORY ROUND. What was handed on stands in DIRECTORY/handed-on, see
`FileReceiver`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from server.engine.limits import EngineLimits
from server.engine.outbox import Outbox
from server.recovery.past_events import events_from_journal
from server.storage.snapshot_files import SnapshotFiles
from server.storage.urls import sqlite_url
from tests.support.engine import House, house

LIMITS = EngineLimits(max_orders=200_000, stream_log_bytes=20_000, batch_commands=50)
"""The log holds about a hundred events: a receiver that is further behind gets them from the journal."""


class FileReceiver:
    """Writes a line `SEQUENCE EVENT EVENT ...` for each hand-over: what was taken and how far it came, in one write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._path = path

    async def position(self) -> int:
        lines = self._path.read_text().splitlines()
        return int(lines[-1].split()[0]) if lines else 0

    async def take(self, events: list[bytes], sequence: int) -> None:
        await asyncio.sleep(0)
        numbers = [sequence, *(int.from_bytes(each[:8], "little") for each in events)]
        os.write(self._file, (" ".join(map(str, numbers)) + "\n").encode())

    def taken(self) -> list[int]:
        """Sequences of all events, as they were handed on."""
        lines = self._path.read_text().splitlines()
        return [int(number) for line in lines for number in line.split()[1:]]


@contextlib.asynccontextmanager
async def handing_on(it: House, directory: Path, receiver: FileReceiver) -> AsyncIterator[None]:
    """An outbox for alice's orders."""
    snapshots = SnapshotFiles(directory / "snapshots", keep=1)
    past = events_from_journal(sqlite_url(directory / "journal.db"), snapshots, LIMITS)
    outbox = Outbox(
        it.engine, past, receiver, accounts=lambda account: account.name == "alice", instruments=lambda instrument: True
    )
    outbox.start()
    try:
        yield
    finally:
        await outbox.stop()


async def client(it: House, name: str, rng: random.Random) -> None:
    for number in itertools.count():
        make = it.buy if rng.random() < 0.5 else it.sell
        account = rng.choice(("alice", "bob"))
        await it.trading.place(make(rng.randrange(1_000, 1_010), 200, account, f"{name}-{number}"))


async def main(directory: Path, number: int) -> None:
    async with house(directory, limits=LIMITS) as it, handing_on(it, directory, FileReceiver(directory / "handed-on")):
        await asyncio.gather(*(client(it, f"r{number}-c{n}", random.Random(f"{number} {n}")) for n in range(8)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
