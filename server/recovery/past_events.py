"""Durable events that the engine's log does not hold any more, made again from the journal.

Commands are the engine's only input, so carrying them out on another exchange makes the same events. A process of its
own does that, since it takes a while in which the server must go on; the events come through a pipe, so nobody holds
more of them than fit into it. `python -m server.recovery.past_events` is that process, with what is wanted as JSON on its
standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict
from pathlib import Path
from subprocess import PIPE
from typing import BinaryIO

from server.base.child import module_command
from server.base.errors import TradewindError, Unavailable
from server.engine.limits import EngineLimits
from server.records.events import EVENT, EVENT_SIZE
from server.recovery.recover import command_batches
from server.recovery.replica import exchange_before
from server.storage.ports import JournalReader
from server.storage.snapshot_files import SnapshotFiles
from server.storage.urls import open_journal_reader

_CHUNK = 4_096 * EVENT_SIZE
_NICE = 10
"""Trading goes first."""


def events_from_journal(
    journal_url: str, snapshots: SnapshotFiles, limits: EngineLimits
) -> Callable[[int], AsyncGenerator[bytes, None]]:
    """A function that gives the events after a sequence, as far as the journal is durable now.

    It raises Unavailable if they cannot be made.
    """

    async def events_after(sequence: int) -> AsyncGenerator[bytes, None]:
        process = await asyncio.create_subprocess_exec(
            *module_command("server.recovery.past_events"), stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        wanted = {
            "journal": journal_url,
            "directory": str(snapshots.directory),
            "keep": snapshots.keep,
            "limits": asdict(limits),
            "after": sequence,
        }
        try:
            process.stdin.write(json.dumps(wanted).encode())
            process.stdin.close()
            rest = b""
            while chunk := await process.stdout.read(_CHUNK):
                chunk = rest + chunk
                whole = _whole_commands(chunk)
                rest = chunk[whole:]
                if whole:
                    yield chunk[:whole]
            problem = await process.stderr.read(_CHUNK)
            if await process.wait():
                raise Unavailable(f"past events cannot be made: {problem.decode(errors='replace').strip()}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()  # its end is seen once its output is read

    return events_after


def _whole_commands(events: bytes) -> int:
    """How many bytes belong to commands whose last event is there."""
    end = len(events) - len(events) % EVENT_SIZE
    while end and not EVENT.unpack_from(events, end - EVENT_SIZE)[-1]:
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


def main() -> int:
    wanted = json.load(sys.stdin)
    os.nice(_NICE)
    snapshots = SnapshotFiles(Path(wanted["directory"]), keep=wanted["keep"])
    try:
        with contextlib.closing(open_journal_reader(wanted["journal"])) as journal:
            write_events(journal, snapshots, EngineLimits(**wanted["limits"]), wanted["after"], sys.stdout.buffer)
    except (TradewindError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
