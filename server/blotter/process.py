"""Fills a blotter from a worker process, so that building rows does not delay trading.

This module run by itself is the worker. Its job says which blotter; then come batches, each a header, packed events, and
the names that are new as JSON. To each it answers with a line of JSON. It ends when its input does, so it never outlives
who started it.
"""

from __future__ import annotations

import contextlib
import json
import struct
import sys
from typing import Any, BinaryIO

from server.base import workers
from server.base.errors import TradewindError, Unavailable
from server.base.workers import Worker
from server.storage.blotter_rows import blotter_batch
from server.storage.ports import BlotterMismatch, BlotterMoved, BlotterRow, BlotterStore
from server.storage.urls import open_blotter

_HEADER = struct.Struct("<QQQ")
"""The sequence before the first event, bytes of events, bytes of names."""
_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (BlotterMismatch, BlotterMoved, Unavailable)
}


class BlotterProcess:
    """The end that stays in the server. Its calls block; one thread at a time. Starts the worker when it is needed."""

    def __init__(self, url: str, *, epoch: str) -> None:
        """Arguments as of `urls.open_blotter`."""
        self._job = {"url": url, "epoch": epoch}
        self._worker: Worker | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._worker.pid if self._worker is not None else None

    def write(self, after: int, events: bytes, directory: dict[str, list[BlotterRow]]) -> None:
        """Store what durable events tell: whole commands; `after` is the sequence of the event before them.

        Raises what `BlotterStore.write` does, and Unavailable if the worker ended.
        """
        names = json.dumps(directory).encode()
        if self._worker is None:
            self._worker = Worker("server.blotter.process", self._job)
        try:
            self._worker.send(_HEADER.pack(after, len(events), len(names)), events, names)
            answer = self._worker.read_line()
        except (OSError, ValueError) as error:
            raise Unavailable(f"the process that writes the blotter cannot be used: {self._end() or error}") from error
        if not answer:
            raise Unavailable(f"the process that writes the blotter ended: {self._end() or 'it was killed'}")
        told: dict[str, str] = json.loads(answer)
        if told:
            raise _ERRORS.get(told["error"], Unavailable)(told["message"])

    def close(self) -> None:
        """End the worker, after the batch that it is storing."""
        self._end()

    def _end(self) -> str:
        """`close`; returns the worker's last words."""
        worker, self._worker = self._worker, None
        if worker is None:
            return ""
        worker.close()
        return worker.last_error


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


def work(wanted: dict[str, Any], source: BinaryIO, answers: BinaryIO) -> None:
    with contextlib.closing(open_blotter(wanted["url"], epoch=wanted["epoch"])) as store:
        fill(store, source, answers)


if __name__ == "__main__":
    sys.exit(workers.main(work, nice_session=True))
