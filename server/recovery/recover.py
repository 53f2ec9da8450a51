"""Recovers the engine from the newest usable snapshot and the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastpath.model import codec
from fastpath.model.structs import COMMAND_SIZE
from server.base.errors import JournalCorrupt, SnapshotUnusable
from server.engine.engine import Engine
from server.engine.snapshot import Snapshot, decode
from server.storage.ports import JournalReader, JournalRow, SnapshotStore

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (commands done, commands in all) while the engine recovers."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Result of a recovery."""

    snapshot: int
    """Command sequence of the snapshot it began with; 0: none."""
    state_hash: int
    """Of that snapshot's trading state; 0 without one."""
    commands: int
    """Carried out after that."""
    seconds: float
    unusable: tuple[str, ...] = ()
    """Newer snapshots that were left aside, and why."""

    @property
    def commands_per_s(self) -> float:
        return self.commands / self.seconds if self.seconds else 0.0


async def recover(
    engine: Engine, journal: JournalReader, snapshots: SnapshotStore | None = None, progress: Progress | None = None
) -> Recovery:
    """Bring a new engine to the end of the journal, yielding to the event loop regularly. Raises JournalCorrupt.

    Starts from the newest snapshot that is whole and belongs to this journal. One that is not is named and left
    aside; without any, everything is carried out again.
    """
    loop = asyncio.get_running_loop()
    start, unusable = loop.time(), []
    for sequence in snapshots.sequences() if snapshots is not None else ():
        try:
            engine.restore(load_snapshot(snapshots, sequence, journal))
            break
        except SnapshotUnusable as error:
            unusable.append(f"snapshot {sequence}: {error.message}")
            _log.warning("left aside, recovering from before it: %s", unusable[-1])
    begin, total = engine.command_sequence, journal.last_seq
    state_hash = engine.exchange.state_hash() if begin else 0
    if progress is not None and begin:
        progress(begin, total)
    for commands, ts_ns in command_batches(journal, begin + 1, engine.limits.batch_commands):
        last_seq = engine.command_sequence + len(commands) // COMMAND_SIZE
        engine.commit(commands, engine.apply(commands), last_seq, ts_ns)
        if progress is not None:
            progress(last_seq, total)
        await asyncio.sleep(0)
    return Recovery(begin, state_hash, total - begin, loop.time() - start, tuple(unusable))


def load_snapshot(snapshots: SnapshotStore | None, sequence: int, journal: JournalReader) -> Snapshot:
    """A snapshot that is whole and belongs to this journal. Raises SnapshotUnusable."""
    assert snapshots is not None
    snapshot = decode(snapshots.read(sequence))
    header = snapshot.header
    if header.epoch != journal.epoch:
        raise SnapshotUnusable(f"it belongs to the journal {header.epoch!r}, not to {journal.epoch!r}")
    if header.command_sequence > journal.last_seq:
        raise SnapshotUnusable(f"it is ahead of the journal, which ends at command {journal.last_seq}")
    if header.checksum != journal.checksum(header.command_sequence):
        raise SnapshotUnusable("the journal holds other commands before it")
    return snapshot


def command_batches(journal: JournalReader, first_seq: int, at_least: int) -> Iterator[tuple[bytes, int]]:
    """Commands from `first_seq`, which begins a row, to the journal's end, and the time of each batch's last row.

    Rows are put together until there are `at_least` commands. Raises JournalCorrupt.
    """
    waiting: list[bytes] = []
    size = 0
    ts_ns = 0
    for row in journal.read(first_seq):
        waiting.append(_unpack(row, first_seq))
        first_seq, size, ts_ns = first_seq + row.count, size + row.count, row.ts_ns
        if size >= at_least:
            yield b"".join(waiting), ts_ns
            waiting.clear()
            size = 0
    if waiting:
        yield b"".join(waiting), ts_ns


def _unpack(row: JournalRow, first_seq: int) -> bytes:
    """The commands of a row that must begin with `first_seq`. Raises JournalCorrupt."""
    try:
        commands = codec.decode(row.payload)
    except ValueError as error:
        raise JournalCorrupt(f"the row of command {row.first_seq} cannot be unpacked: {error}") from error
    if len(commands) != row.count * COMMAND_SIZE or row.first_seq != first_seq:
        raise JournalCorrupt(f"the row of command {row.first_seq} does not hold the commands it says")
    return commands
