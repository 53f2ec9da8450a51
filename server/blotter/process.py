"""Fills a blotter from a process of its own, so that making rows costs trading neither its interpreter nor its turn.

`python -m server.blotter.process` is that process. On its standard input: a line of JSON that says which blotter,
then batches, each a header, packed events, and the names that are new as JSON. To each it answers with a line of JSON. It
ends when its input does, so it never outlives who started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import BinaryIO

from server.base.child import module_command
from server.base.errors import TradewindError, Unavailable
from server.storage.blotter_rows import blotter_batch
from server.storage.ports import BlotterMismatch, BlotterMoved, BlotterRow, BlotterStore
from server.storage.urls import open_blotter

_HEADER = struct.Struct("<QQQ")
"""The sequence before the first event, bytes of events, bytes of names."""
_NICE = 10
"""Trading goes first, but leaves something: a blotter that stays behind makes lists wait."""
_AUTOGROUP = Path("/proc/self/autogroup")
_STOP_S = 5.0
_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (BlotterMismatch, BlotterMoved, Unavailable)
}


class BlotterProcess:
    """The end that stays in the server. Its calls block; one thread at a time. Starts the process when it is needed."""

    def __init__(self, url: str, *, epoch: str) -> None:
        """Arguments as of `urls.open_blotter`."""
        self._blotter = json.dumps({"url": url, "epoch": epoch}).encode() + b"\n"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None else None

    def write(self, after: int, events: bytes, directory: dict[str, list[BlotterRow]]) -> None:
        """Store what durable events tell: whole commands; `after` is the sequence of the event before them.

        Raises what `BlotterStore.write` does, and Unavailable if the process ended.
        """
        names = json.dumps(directory).encode()
        try:
            answer = self._ask([_HEADER.pack(after, len(events), len(names)), events, names])
        except (OSError, ValueError) as error:
            self.close()
            raise Unavailable(f"the process that writes the blotter cannot be used: {error}") from error
        if not answer:
            self.close()
            raise Unavailable("the process that writes the blotter ended; its last words are in the server's log")
        told: dict[str, str] = json.loads(answer)
        if told:
            raise _ERRORS.get(told["error"], Unavailable)(told["message"])

    def close(self) -> None:
        """End the process, after the batch that it is storing."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def _ask(self, parts: list[bytes]) -> bytes:
        if self._process is None:
            command = module_command("server.blotter.process")
            self._process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, start_new_session=True)
            parts = [self._blotter, *parts]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for part in parts:
            self._process.stdin.write(part)
        self._process.stdin.flush()
        return self._process.stdout.readline()


def fill(store: BlotterStore, source: BinaryIO, answers: BinaryIO) -> None:
    """Store batches until there are no more."""
    while header := source.read(_HEADER.size):
        after, events_size, names_size = _HEADER.unpack(header)
        events, names = source.read(events_size), source.read(names_size)
        if len(events) < events_size or len(names) < names_size:
            return  # whoever wrote it is gone
        told: dict[str, str] = {}
        try:
            directory = {table: [tuple(row) for row in rows] for table, rows in json.loads(names).items()}
            store.write(blotter_batch(after, events, directory))
        except (BlotterMoved, TradewindError) as error:
            told = {"error": type(error).__name__, "message": str(error)}
        answers.write(json.dumps(told).encode() + b"\n")
        answers.flush()


def stand_back() -> None:
    """Let trading go first from now on.

    Linux may share the processor between sessions before it looks at the processes in them. This process has a session
    of its own (Ctrl-C in a terminal is none of its business), so the niceness of the session is what counts there.
    """
    os.nice(_NICE)
    with contextlib.suppress(OSError):  # no Linux, or one without it
        _AUTOGROUP.write_text(str(_NICE))


def main() -> int:
    wanted = json.loads(sys.stdin.buffer.readline() or b"{}")
    stand_back()  # not before all is loaded: the server waits for the first answer when it starts
    if wanted:
        with contextlib.closing(open_blotter(wanted["url"], epoch=wanted["epoch"])) as store:
            try:
                fill(store, sys.stdin.buffer, sys.stdout.buffer)
            except BrokenPipeError:  # the server was killed: nobody hears the answer, nor what is flushed at the end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
