"""Durable events older than the engine's log, recomputed from the journal.

Commands are the engine's only input, so carrying them out on another exchange makes the same events. A worker does that,
since it takes a while in which the server must go on; the events come through a pipe, so nobody holds more of them than
fit into it. This module run by itself is the worker.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from fastpath.model.structs import EVENT, EVENT_SIZE
from server.base import workers
from server.base.errors import Unavailable
from server.engine.limits import EngineLimits
from server.recovery.recover import command_batches
from server.recovery.replica import exchange_before
from server.storage.ports import JournalReader
from server.storage.snapshot_files import SnapshotFiles
from server.storage.urls import open_journal_reader

_CHUNK = 4_096 * EVENT_SIZE
_LAST_OF_COMMAND = EVENT.reader("last_of_command")


def events_from_journal(
    journal_url: str, snapshots: SnapshotFiles, limits: EngineLimits
) -> Callable[[int], AsyncGenerator[bytes, None]]:
    """A function that gives the events after a sequence, as far as the journal is durable now.

    It raises Unavailable if they cannot be made.
    """

    async def events_after(sequence: int) -> AsyncGenerator[bytes, None]:
        wanted = {
            "journal": journal_url,
            "directory": str(snapshots.directory),
            "keep": snapshots.keep,
            "limits": asdict(limits),
            "after": sequence,
        }
        rest = b""
        try:
            async with contextlib.aclosing(workers.stream("server.recovery.past_events", wanted, _CHUNK)) as chunks:
                async for chunk in chunks:
                    events = rest + chunk
                    whole = _whole_commands(events)
                    rest = events[whole:]
                    if whole:
                        yield events[:whole]
        except Unavailable as failure:
            raise Unavailable(f"past events cannot be made: {failure.message}") from None

    return events_after


def _whole_commands(events: bytes) -> int:
    """How many bytes belong to commands whose last event is there."""
    end = len(events) - len(events) % EVENT_SIZE
    while end and not _LAST_OF_COMMAND.unpack_from(events, end - EVENT_SIZE)[0]:
        end -= EVENT_SIZE
    return end


def write_events(
    journal: JournalReader, snapshots: SnapshotFiles, limits: EngineLimits, after: int, output: BinaryIO
) -> None:
    """All events with a sequence above `after` to `output`."""
    exchange = exchange_before(journal, snapshots, limits, after)
    for commands, _ in command_batches(journal, exchange.last_seq + 1, limits.batch_commands):
        first = exchange.event_seq + 1
        events = exchange.apply(commands)
        output.write(memoryview(events)[max(0, after + 1 - first) * EVENT_SIZE :])
    output.flush()


def work(wanted: dict[str, Any], source: BinaryIO, output: BinaryIO) -> None:
    snapshots = SnapshotFiles(Path(wanted["directory"]), keep=wanted["keep"])
    with contextlib.closing(open_journal_reader(wanted["journal"])) as journal:
        write_events(journal, snapshots, EngineLimits(**wanted["limits"]), wanted["after"], output)


if __name__ == "__main__":
    sys.exit(workers.main(work))
