"""The journal in PostgreSQL: one row a group commit, one writer at a time.

An advisory lock makes the single writer. It belongs to the session that inserts, so whoever lost the lock has also lost
the means to write: two servers can never interleave. A second server is refused, or waits as a standby and takes over
when the first one's session ends; dead peers are noticed by TCP keepalive within seconds.

A connection that breaks during an append leaves open whether the row was committed. The lock answers it: once this
server holds it again, the session that was cut off has ended, and its row is either there or never will be.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from server.base.errors import ConfigError, JournalFailed
from server.storage.journal_chain import checksum, seed
from server.storage.journal_mark import JournalMark
from server.storage.journal_rows import JournalRows
from server.storage.ports import JournalRow
from server.storage.postgres_rows import FORMAT, NAME, UP_TO, PostgresRows, first_line
from server.storage.postgres_watchdog import Watchdog

POLL_S = 0.2
"""How often a standby, or a server that lost its connection, tries again."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal_meta (
    id integer PRIMARY KEY CHECK (id = 1), format integer NOT NULL, epoch text NOT NULL
);
CREATE TABLE IF NOT EXISTS journal_rows (
    first_seq bigint PRIMARY KEY, count integer NOT NULL, ts_ns bigint NOT NULL,
    payload bytea NOT NULL, checksum bytea NOT NULL
);
-- Records are packed and large: compression would cost time at every commit.
ALTER TABLE journal_rows ALTER COLUMN payload SET STORAGE EXTERNAL;
"""
_INSERT = "INSERT INTO journal_rows (first_seq, count, ts_ns, payload, checksum) VALUES (%s, %s, %s, %b, %b)"
_COPY = "COPY journal_rows (first_seq, count, ts_ns, payload, checksum) FROM STDIN (FORMAT BINARY)"
_NO_END = 2**63 - 1
_LOCK_KEY = "hashtextextended('tradewind.journal.' || current_schema(), 0)"
_HOLDER = f"""
SELECT coalesce(nullif(a.application_name, ''), 'unknown'), coalesce(host(a.client_addr), 'local'), a.pid
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = {_LOCK_KEY}
"""
# synchronous_commit: an acknowledged row is on disk whatever the server's default is. The keepalive bounds how long a
# writer that vanished without a word (power, network) holds the lock: 2 s + 3 x 1 s.
_SETTINGS = "; ".join(
    f"SET {name} = {value}"
    for name, value in {
        "synchronous_commit": "on",
        "tcp_keepalives_idle": 2,
        "tcp_keepalives_interval": 1,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": 5_000,
        "idle_session_timeout": 0,
        "statement_timeout": 0,
        "lock_timeout": 0,
    }.items()
)


class PostgresJournal:
    """`Journal` in a PostgreSQL database. All calls block and come from one thread at a time."""

    def __init__(
        self,
        url: str,
        *,
        new_epoch: str,
        mark: Path | None = None,
        keep_waiting: Callable[[], bool] | None = None,
        patience_s: float = 3.0,
        timeout_s: float = 10.0,
    ) -> None:
        """Open the journal for writing; `new_epoch` names it if it does not exist yet.

        `mark`: a file on this machine that says how far the journal went as this machine knows; a journal that ends
        before it (rows deleted, an older backup restored) is JournalCorrupt.

        Another server that writes it: ConfigError, or with `keep_waiting` this one is its standby: `keep_waiting` is
        called some times a second, and as long as it answers True the call waits for the other to end.
        A commit that takes longer than `timeout_s` counts as a lost connection; `patience_s` is how long an append
        tries to get a lost connection back before it raises JournalFailed.
        """
        self._url = url
        self._patience_s = patience_s
        self._connection: psycopg.Connection | None = None
        self._in_doubt: JournalRow | None = None
        self._closed = False
        self._mark = JournalMark(mark) if mark is not None else None
        self._watchdog = Watchdog(timeout_s)
        try:
            self._wait_for_lock(keep_waiting)
            self._epoch = self._create_or_check(new_epoch)
            self._rows = JournalRows(PostgresRows(self._execute), NAME, self._epoch)
            self._last_seq, self._chain = self._end_of_journal()
            if self._mark is not None:
                self._mark.check(self._epoch, self._last_seq, NAME)
        except psycopg.Error as error:
            self.close()
            raise ConfigError(f"cannot use the journal's database: {first_line(error)}") from error
        except BaseException:
            self.close()
            raise

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def last_seq(self) -> int:
        return self._last_seq

    def append(self, row: JournalRow) -> None:
        """Commit the row. Raises JournalFailed; its metadata `committed` says `no`, or `unknown` while the database
        cannot be reached. In that case append the same row again: it is found out and never written twice."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                connection = self._connected()
                if self._in_doubt is not None and self._settle(row):
                    return
                if row.first_seq != self._last_seq + 1 or row.count < 1:
                    raise _failed(f"the row starts at {row.first_seq}, the journal ends at {self._last_seq}")
                chain = checksum(self._chain, row)
                with self._watchdog.watching(connection):
                    connection.execute(_INSERT, (*_header(row), row.payload, chain), prepare=True)
                self._written(row, chain)
                return
            except psycopg.Error as error:
                if self._connection is not None and not self._connection.closed:
                    raise _failed(f"PostgreSQL refused the row: {first_line(error)}") from error
                # Cut off: the row may be committed all the same. `_settle` finds out once the lock is ours again.
                if self._connection is not None:
                    self._in_doubt = self._in_doubt or row
                    self._drop()
                if time.monotonic() >= deadline:
                    raise JournalFailed(
                        f"the journal's database does not answer: {first_line(error)}",
                        metadata={"committed": "unknown" if self._in_doubt is not None else "no"},
                    ) from error
                time.sleep(POLL_S)

    def load(self, rows: Iterable[JournalRow]) -> None:
        if self._last_seq or self._in_doubt is not None:
            raise _failed("the journal is not empty")
        last_seq: int = self._last_seq
        chain = self._chain
        try:
            connection = self._connected()
            with connection.transaction(), connection.cursor().copy(_COPY) as copy:
                copy.set_types(("int8", "int4", "int8", "bytea", "bytea"))
                for row in rows:
                    last_seq, chain = _end(row), checksum(chain, row)
                    copy.write_row((*_header(row), row.payload, chain))
        except psycopg.Error as error:
            raise _failed(f"PostgreSQL refused the rows: {first_line(error)}") from error
        self._last_seq, self._chain = last_seq, chain
        if self._mark is not None:
            self._mark.advance(last_seq)

    def read(self, from_seq: int = 1) -> Iterator[JournalRow]:
        """See `Journal.read`. The rows come over the writing session, in pages."""
        return self._rows.read(from_seq, self._last_seq)

    def checksum(self, last_seq: int) -> bytes | None:
        return self._rows.checksum(last_seq)

    def close(self) -> None:
        """Let the lock go: a standby takes over at once."""
        if self._mark is not None and not self._closed:
            self._mark.close()
        self._closed = True
        self._watchdog.close()
        if self._connection is not None:
            # The session itself ends a moment after the connection.
            with contextlib.suppress(psycopg.Error):
                self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._drop()

    # -- connection ----------------------------------------------------------------------------------------

    def _wait_for_lock(self, keep_waiting: Callable[[], bool] | None) -> None:
        while True:
            try:
                holder = self._connect()
                if holder is None:
                    return
                problem = f"{holder} writes this journal: stop it first, or start this server as its standby"
            except psycopg.ProgrammingError:
                # The driver's own words quote the URL, password included.
                raise ConfigError("journal URL: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
            except psycopg.OperationalError as error:
                problem = f"cannot reach the journal's database: {first_line(error)}"
            if keep_waiting is None or not keep_waiting():
                raise ConfigError(problem)
            time.sleep(POLL_S)

    def _connect(self) -> str | None:
        """Open the session that writes. Returns who holds the lock if it is not ours, None if it is."""
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            application_name="tradewind journal",
            connect_timeout=2,
            keepalives_idle=2,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=5_000,
        )
        try:
            connection.execute(_SETTINGS)
            granted = connection.execute(f"SELECT pg_try_advisory_lock({_LOCK_KEY})").fetchone()
            if granted == (True,):
                self._connection, connection = connection, None  # type: ignore[assignment]
                return None
            holder = connection.execute(_HOLDER).fetchone()
            return "server {} at {} (PostgreSQL process {})".format(*holder) if holder else "another server"
        finally:
            if connection is not None:
                connection.close()

    def _connected(self) -> psycopg.Connection:
        """The session; a lost one is opened again, and must find the journal as it left it."""
        if self._connection is not None:
            return self._connection
        if self._closed:
            raise _failed("the journal is closed")
        holder = self._connect()
        if holder is not None:
            raise psycopg.OperationalError(f"{holder} took the journal over")
        last_seq, _ = self._end_of_journal()
        if last_seq != self._last_seq and (self._in_doubt is None or last_seq != _end(self._in_doubt)):
            self._drop()
            raise _failed(
                f"another server wrote commands {self._last_seq + 1} to {last_seq}"
                " while this one was cut off: restart it"
            )
        return self._session()

    def _settle(self, row: JournalRow) -> bool:
        """Whether the row in doubt is committed and is `row`. Raises JournalFailed if it is committed and another."""
        doubtful = self._in_doubt
        assert doubtful is not None
        last_seq, chain = self._end_of_journal()
        committed = last_seq == _end(doubtful)
        if committed and chain != checksum(self._chain, doubtful):
            raise _failed(f"another server wrote commands {doubtful.first_seq} to {last_seq}: restart this one")
        if committed:
            self._written(doubtful, chain)
        self._in_doubt = None
        if committed and row != doubtful:
            raise _failed(
                f"commands {doubtful.first_seq} to {last_seq} were committed after all: restart to recover them"
            )
        return committed

    def _written(self, row: JournalRow, chain: bytes) -> None:
        """The row is committed. If the mark cannot say so it is in doubt, and found out when it is appended again."""
        self._in_doubt = row
        if self._mark is not None:
            try:
                self._mark.advance(_end(row))
            except OSError as error:
                raise JournalFailed(
                    f"the mark of the journal cannot be written: {error}", metadata={"committed": "unknown"}
                ) from error
        self._last_seq, self._chain, self._in_doubt = _end(row), chain, None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    # -- statements ----------------------------------------------------------------------------------------

    def _execute(self, query: str, parameters: tuple[int, ...]) -> psycopg.Cursor[tuple[Any, ...]]:
        """A query outside `append`. Raises JournalFailed."""
        try:
            return self._connected().execute(query, parameters, binary=True)
        except psycopg.Error as error:
            if self._connection is not None and self._connection.closed:
                self._drop()
            raise _failed(f"the journal's database does not answer: {first_line(error)}") from error

    def _create_or_check(self, new_epoch: str) -> str:
        connection = self._session()
        for setting, risk in (
            ("fsync", "a crash loses acknowledged orders"),
            ("full_page_writes", "a crash tears pages"),
        ):
            if connection.execute(f"SHOW {setting}").fetchone() == ("off",):
                raise ConfigError(f"PostgreSQL runs with {setting}=off, so that {risk}: switch it on")
        with connection.transaction():
            connection.execute(_SCHEMA)
            connection.execute(
                "INSERT INTO journal_meta VALUES (1, %s, %s) ON CONFLICT DO NOTHING", (FORMAT, new_epoch)
            )
            meta = connection.execute("SELECT format, epoch FROM journal_meta").fetchone()
        assert meta is not None
        if meta[0] != FORMAT:
            raise ConfigError(
                f"the journal has format {meta[0]}, this server writes {FORMAT}: use the server that wrote it"
            )
        return str(meta[1])

    def _end_of_journal(self) -> tuple[int, bytes]:
        """Last command and the checksum of its row."""
        found = self._session().execute(UP_TO, (_NO_END,), binary=True).fetchone()
        return (found[0] + found[1] - 1, found[2]) if found is not None else (0, seed(self._epoch))

    def _session(self) -> psycopg.Connection:
        assert self._connection is not None, "open"
        return self._connection


def _header(row: JournalRow) -> tuple[int, int, int]:
    return row.first_seq, row.count, row.ts_ns


def _end(row: JournalRow) -> int:
    return row.first_seq + row.count - 1


def _failed(message: str) -> JournalFailed:
    return JournalFailed(message, metadata={"committed": "no"})
