"""A second engine in a process of its own, which reads the journal beside the server: it makes snapshots, and makes
events anew that the server holds no more.

So the engine that trades never stands still for either. The process ends when its one job is done; it sees what is
durable, and nothing else. `Replica` is the server's side; this module run by itself is the worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fastpath.exchange.exchange import Exchange
from fastpath.model import records
from fastpath.model.structs import EVENT_SIZE
from server.base import workers
from server.base.errors import SnapshotUnusable, Unavailable
from server.base.failpoints import from_environment
from server.engine.engine import Engine, new_exchange, restored_exchange
from server.engine.limits import EngineLimits
from server.engine.snapshot import encode
from server.recovery.recover import command_batches, load_snapshot, recover
from server.storage.ports import JournalReader
from server.storage.snapshot_files import SnapshotFiles
from server.storage.urls import open_journal_reader

HISTORY_EVENTS = 262_144
"""Events of one account that are made anew at most; a reader that missed more gets a snapshot."""
HISTORY_TIMEOUT_S = 60.0
SNAPSHOT_TIMEOUT_S = 600.0


class SnapshotDone(NamedTuple):
    sequence: int
    size: int
    """Bytes."""
    seconds: float
    state_hash: int


@dataclass(frozen=True, slots=True)
class Replica:
    """Starts the process for one job after the other."""

    journal_url: str
    directory: Path
    """Of the snapshots."""
    keep: int
    limits: EngineLimits
    _turn: asyncio.Lock

    @classmethod
    def of(cls, journal_url: str, directory: Path, keep: int, limits: EngineLimits) -> Replica:
        return cls(journal_url, directory, keep, limits, asyncio.Lock())

    async def snapshot(self) -> SnapshotDone:
        """Make a snapshot of what is durable now, and let go of old ones. Raises Unavailable."""
        answer = await self._run("snapshot", SNAPSHOT_TIMEOUT_S)
        return SnapshotDone(**json.loads(answer))

    async def history(self, account: int, kinds: tuple[int, int], after: int, to: int) -> list[bytes]:
        """Events of `account` of these kinds with sequences in `(after, to]`, all durable.

        Raises Unavailable: there are too many, or they cannot be made.
        """
        answer = await self._run("history", HISTORY_TIMEOUT_S, account=account, kinds=kinds, after=after, to=to)
        return [answer[at : at + EVENT_SIZE] for at in range(0, len(answer), EVENT_SIZE)]

    async def _run(self, job: str, timeout_s: float, **details: Any) -> bytes:
        given = {
            "job": job,
            "journal": self.journal_url,
            "directory": str(self.directory),
            "keep": self.keep,
            "limits": asdict(self.limits),
            **details,
        }
        async with self._turn:
            try:
                return await workers.run("server.recovery.replica", given, timeout_s)
            except Unavailable as failure:
                raise Unavailable(f"a replica of the engine failed: {failure.message}") from None


async def make_snapshot(journal: JournalReader, snapshots: SnapshotFiles, limits: EngineLimits) -> SnapshotDone:
    """Recover an engine from the journal as far as it goes, and store its snapshot. Raises TradewindError, OSError."""
    start = time.monotonic()
    engine = Engine(limits, journal.epoch)
    await recover(engine, journal, snapshots)
    size, state_hash = write_snapshot(engine, journal, snapshots)
    return SnapshotDone(engine.command_sequence, size, time.monotonic() - start, state_hash)


def write_snapshot(engine: Engine, journal: JournalReader, snapshots: SnapshotFiles) -> tuple[int, int]:
    """Store the engine as it stands, its last command being the last of a row. Returns (bytes stored, state_hash)."""
    checksum = journal.checksum(engine.command_sequence)
    if checksum is None:
        raise SnapshotUnusable(f"no row of the journal ends with command {engine.command_sequence}")
    snapshot = engine.snapshot(checksum)
    data = encode(snapshot)
    snapshots.write(engine.command_sequence, data)
    return len(data), snapshot.header.state_hash


def make_history(
    journal: JournalReader, snapshots: SnapshotFiles, limits: EngineLimits, *,
    account: int, kinds: tuple[int, int], after: int, to: int,
) -> list[bytes]:  # fmt: skip
    """See `Replica.history`. Carries out the commands behind the events again, from the nearest snapshot before them."""
    exchange = exchange_before(journal, snapshots, limits, after)
    found: list[bytes] = []
    for commands, _ in command_batches(journal, exchange.last_seq + 1, limits.batch_commands):
        events = exchange.apply(commands)
        found += records.select(events, account, *kinds, after=after)
        if len(found) > HISTORY_EVENTS:
            raise Unavailable(f"more than {HISTORY_EVENTS} events were missed")
        if exchange.event_seq >= to:
            break
    return [record for record in found if records.first_sequence(record) <= to]


def exchange_before(journal: JournalReader, snapshots: SnapshotFiles, limits: EngineLimits, event_seq: int) -> Exchange:
    """An exchange as it was at or before an event: from the newest snapshot that is not younger, or an empty one."""
    for sequence in snapshots.sequences():
        try:
            snapshot = load_snapshot(snapshots, sequence, journal)
            if snapshot.header.event_sequence <= event_seq:
                return restored_exchange(snapshot, limits)
        except SnapshotUnusable:
            continue
    return new_exchange(limits)


def work(given: dict[str, Any], source: BinaryIO, output: BinaryIO) -> None:
    limits = EngineLimits(**given["limits"])
    snapshots = SnapshotFiles(Path(given["directory"]), keep=given["keep"], reached=from_environment(os.environ))
    journal = open_journal_reader(given["journal"])
    if given["job"] == "snapshot":
        done = asyncio.run(make_snapshot(journal, snapshots, limits))
        output.write(json.dumps(done._asdict()).encode())
    else:
        kinds = (given["kinds"][0], given["kinds"][1])
        wanted = {name: given[name] for name in ("account", "after", "to")}
        output.write(b"".join(make_history(journal, snapshots, limits, kinds=kinds, **wanted)))


if __name__ == "__main__":
    sys.exit(workers.main(work))
