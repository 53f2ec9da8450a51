"""The journal's tables in PostgreSQL, as whoever reads them sees them: queries, and a reader beside the writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg

from server.base.errors import ConfigError, JournalFailed
from server.storage.journal_rows import JournalRows
from server.storage.ports import JournalRow

FORMAT = 1
NAME = "journal in PostgreSQL"
UP_TO = "SELECT first_seq, count, checksum FROM journal_rows WHERE first_seq <= %s ORDER BY first_seq DESC LIMIT 2"
_PAGE = """
SELECT first_seq, count, ts_ns, payload, checksum FROM journal_rows WHERE first_seq >= %s ORDER BY first_seq LIMIT %s
"""
_META = "SELECT format, epoch FROM journal_meta"

Execute = Callable[[str, tuple[int, ...]], "psycopg.Cursor[tuple[Any, ...]]"]


class PostgresRows:
    """The RowSource of a session."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def page(self, first_seq: int, limit: int) -> Sequence[tuple[int, int, int, bytes, bytes]]:
        return self._execute(_PAGE, (first_seq, limit)).fetchall()

    def up_to(self, seq: int) -> Sequence[tuple[int, int, bytes]]:
        return self._execute(UP_TO, (seq,)).fetchall()


class PostgresJournalReader:
    """The JournalReader port: reads a journal that a server may be writing. Sees what was there when it was opened."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError if the database cannot be reached or holds no journal."""
        try:
            self._connection = psycopg.connect(
                url, autocommit=True, application_name="tradewind journal reader", connect_timeout=5
            )
        except psycopg.ProgrammingError:
            # The driver's own words quote the URL, password included.
            raise ConfigError("journal URL: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
        except psycopg.Error as error:
            raise ConfigError(f"cannot reach the journal's database: {first_line(error)}") from error
        try:
            meta = self._connection.execute(_META).fetchone()
            if meta is None or meta[0] != FORMAT:
                raise ConfigError(f"the database holds no journal of format {FORMAT}")
            self._epoch = str(meta[1])
            self._rows = JournalRows(PostgresRows(self._execute), NAME, self._epoch)
            self._last_seq = self._rows.end()[0]
        except psycopg.Error as error:
            self._connection.close()
            raise ConfigError(f"cannot read the journal: {first_line(error)}") from error
        except BaseException:
            self._connection.close()
            raise

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def last_seq(self) -> int:
        return self._last_seq

    def read(self, from_seq: int = 1) -> Iterator[JournalRow]:
        return self._rows.read(from_seq, self._last_seq)

    def checksum(self, last_seq: int) -> bytes | None:
        return self._rows.checksum(last_seq)

    def close(self) -> None:
        self._connection.close()

    def _execute(self, query: str, parameters: tuple[int, ...]) -> psycopg.Cursor[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, parameters, binary=True)
        except psycopg.OperationalError as error:
            raise JournalFailed(f"the journal's database does not answer: {first_line(error)}") from error


def first_line(error: psycopg.Error) -> str:
    """What went wrong, without the driver's hints."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
