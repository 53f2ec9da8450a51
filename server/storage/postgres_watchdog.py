"""Ends the connection of a statement that takes too long."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import psycopg


class Watchdog:
    """Cuts the connection of a statement that takes too long, so that it fails like any lost connection.

    libpq waits for ever for a server that is stopped or hangs: the network below it is fine.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._watched: tuple[float, psycopg.Connection] | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="journal watchdog", daemon=True).start()

    @contextlib.contextmanager
    def watching(self, connection: psycopg.Connection) -> Iterator[None]:
        with self._lock:
            self._watched = (time.monotonic(), connection)
        try:
            yield
        finally:
            with self._lock:
                self._watched = None

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._timeout_s / 4):
            with self._lock:
                if self._watched is not None and time.monotonic() - self._watched[0] > self._timeout_s:
                    # A connection that was closed meanwhile needs no end, and must not be that of this thread.
                    with (
                        contextlib.suppress(OSError, psycopg.Error),
                        socket.socket(fileno=os.dup(self._watched[1].fileno())) as end,
                    ):
                        end.shutdown(socket.SHUT_RDWR)
                    self._watched = None
