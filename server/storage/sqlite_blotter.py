"""The blotter in one SQLite file.

WAL with synchronous=NORMAL: a power cut may take the last rows, and their cursor with them, so they are written again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from server.base.errors import Unavailable
from server.storage.ports import BlotterRow
from server.storage.set_aside import set_aside
from server.storage.sql_blotter import SqlBlotter, SqlSession

_log = logging.getLogger(__name__)

_BUSY_S = 5.0
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class _Session(SqlSession):
    types: ClassVar = {"integer": "INTEGER", "text": "TEXT", "bytes": "BLOB", "money": "TEXT"}

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[int | str] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, parameters).fetchall()

    def insert(self, table: str, columns: Sequence[str], rows: list[BlotterRow], on_conflict: str) -> None:
        places = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) {on_conflict}"
        self._connection.executemany(statement, rows)


class SqliteBlotter(SqlBlotter):
    """Opened when first used; a file that cannot be opened is an Unavailable store, tried again by the next call. One that
    is damaged is set aside by the writer: the blotter is then empty, and filled again from the journal."""

    def __init__(self, path: Path, *, epoch: str) -> None:
        super().__init__(epoch)
        self._path = path
        self._writer = _Connection(path, sets_aside=True)
        self._reader = _Connection(path)

    @contextmanager
    def _writing(self) -> Iterator[SqlSession]:
        with self._writer.transaction("BEGIN IMMEDIATE") as session:
            yield session

    @contextmanager
    def _reading(self) -> Iterator[SqlSession]:
        with self._reader.transaction("BEGIN") as session:
            yield session

    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


class _Connection:
    """One connection for one thread at a time."""

    def __init__(self, path: Path, *, sets_aside: bool = False) -> None:
        self._path = path
        self._sets_aside = sets_aside
        self._file = (0, 0)
        """Device and inode of the open file."""
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self, begin: str) -> Iterator[SqlSession]:
        """Committed at the end, rolled back when an error leaves it. Raises Unavailable."""
        with self._lock:
            try:
                connection = self._open()
                connection.execute(begin)
                try:
                    yield _Session(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                self._drop()
                damaged = (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE
                if damaged and self._sets_aside:
                    aside = set_aside(self._path, "-wal", "-shm")
                    _log.error("the blotter is damaged (%s): set aside as %s and made again", error, aside)
                raise Unavailable(f"the blotter {self._path} cannot be used: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._file != _identity(self._path):
            self._drop()  # set aside by another process, or taken away
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = _identity(self._path)
            self._connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode; zeros if there is no such file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
