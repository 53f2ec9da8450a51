"""The blotter in PostgreSQL.

Rows arrive by COPY, orders through a staging table, because newer states replace older ones.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import psycopg

from server.base.errors import ConfigError, Unavailable
from server.storage.ports import BlotterRow
from server.storage.postgres_watchdog import Watchdog
from server.storage.sql_blotter import SqlBlotter, SqlSession


class _Session(SqlSession):
    types: ClassVar = {"integer": "BIGINT", "text": "TEXT", "bytes": "BYTEA", "money": "NUMERIC"}

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[int | str] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement.replace("?", "%s"), parameters, binary=True)
        return cursor.fetchall() if cursor.description is not None else []

    def insert(self, table: str, columns: Sequence[str], rows: list[BlotterRow], on_conflict: str) -> None:
        if not rows:
            return
        names = ", ".join(columns)
        target = table
        if on_conflict:
            target = f"staging_{table}"
            self.execute(f"CREATE TEMP TABLE IF NOT EXISTS {target} (LIKE {table}) ON COMMIT DELETE ROWS")
        with self._connection.cursor().copy(f"COPY {target} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        if on_conflict:
            self.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {target} {on_conflict}")


class PostgresBlotter(SqlBlotter):
    """Connected when first used; a database that is away is an Unavailable store, tried again by the next call."""

    def __init__(self, url: str, *, epoch: str, timeout_s: float = 10.0) -> None:
        """A statement that takes longer than `timeout_s` counts as a lost connection."""
        super().__init__(epoch)
        self._writer = _Connection(url, timeout_s)
        self._reader = _Connection(url, timeout_s)

    @contextmanager
    def _writing(self) -> Iterator[SqlSession]:
        with self._writer.transaction() as session:
            yield session

    @contextmanager
    def _reading(self) -> Iterator[SqlSession]:
        with self._reader.transaction() as session:
            yield session

    def version(self) -> str:
        with self._reading() as session:
            ((number,),) = session.execute("SHOW server_version")
        return f"PostgreSQL {number!s}".split(" (")[0]

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


class _Connection:
    """One connection for one thread at a time."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._watchdog = Watchdog(timeout_s)
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def transaction(self) -> Iterator[SqlSession]:
        """Committed at the end, rolled back when an error leaves it. Raises Unavailable, ConfigError for the URL."""
        with self._lock:
            try:
                connection = self._open()
                with self._watchdog.watching(connection), connection.transaction():
                    yield _Session(connection)
            except psycopg.ProgrammingError as error:
                self._drop()
                if error.sqlstate is None:  # of the driver, whose words quote the URL, password included
                    raise ConfigError("blotter URL: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
                raise Unavailable(f"the blotter's database refused a statement: {_text(error)}") from error
            except psycopg.Error as error:
                # Whether a commit that was cut off arrived is found out by its cursor.
                self._drop()
                raise Unavailable(f"the blotter's database does not answer: {_text(error)}") from error

    def close(self) -> None:
        self._watchdog.close()
        with self._lock:
            self._drop()

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = psycopg.connect(
                self._url, autocommit=True, application_name="tradewind blotter", connect_timeout=2
            )
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


def _text(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
