"""The journal's SQLite file, as whoever reads it sees it: its format, its rows, and a reader beside the writer."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from server.base.errors import ConfigError, JournalCorrupt
from server.storage.journal_rows import JournalRows
from server.storage.ports import JournalRow

FORMAT_VERSION = 1
APPLICATION_ID = 0x54574A4C
# What a damaged file makes sqlite3 raise. Its messages quote the file, so they may not even be text, hence ValueError.
DAMAGE = (sqlite3.DatabaseError, TypeError, ValueError, struct.error)
"""Says in the file's header that this is a Tradewind journal ("TWJL")."""

_PAGE = """
SELECT first_seq, count, ts_ns, payload, checksum FROM commits WHERE first_seq >= ? ORDER BY first_seq LIMIT ?
"""
_UP_TO = "SELECT first_seq, count, checksum FROM commits WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 2"


class SqliteJournalReader:
    """The JournalReader port: reads a journal that a server may be writing. Sees what was there when it was opened."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError if there is no journal, JournalCorrupt if it is damaged."""
        self._connection = _connect(path)
        try:
            self._epoch = read_epoch(self._connection, path)
            self._rows = rows_of(self._connection, path, self._epoch)
            self._last_seq = self._rows.end()[0]
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


def read_epoch(connection: sqlite3.Connection, path: Path) -> str:
    """The journal's name. Raises JournalCorrupt if the file is no journal of this format."""
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise JournalCorrupt(f"{path} is no journal of Tradewind")
        if version != FORMAT_VERSION:
            raise JournalCorrupt(f"{path} has format {version}; this version of Tradewind reads {FORMAT_VERSION}")
        return str(connection.execute("SELECT epoch FROM about").fetchone()[0])
    except DAMAGE as error:
        raise unreadable(path, error) from error


def rows_of(connection: sqlite3.Connection, path: Path, epoch: str) -> JournalRows:
    """The rows of the journal in `connection`."""
    return JournalRows(_Source(connection, path), str(path), epoch)


def unreadable(path: Path, error: Exception) -> JournalCorrupt:
    return JournalCorrupt(f"{path} cannot be read as a journal: {error}; restore it from a backup")


class _Source:
    """The RowSource of a connection."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def page(self, first_seq: int, limit: int) -> Sequence[tuple[int, int, int, bytes, bytes]]:
        try:
            return self._connection.execute(_PAGE, (first_seq, limit)).fetchall()
        except DAMAGE as error:
            raise JournalCorrupt(
                f"{self._path}: the rows from command {first_seq} on cannot be read: {error}; restore it from a backup"
            ) from error

    def up_to(self, seq: int) -> Sequence[tuple[int, int, bytes]]:
        try:
            return self._connection.execute(_UP_TO, (seq,)).fetchall()
        except DAMAGE as error:
            raise unreadable(self._path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, if SQLite can give one: it needs the files of a write-ahead log for that."""
    if not path.is_file():
        raise ConfigError(f"there is no journal {path}")
    for mode in ("ro", "rw"):
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode={mode}", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            problem = error
        except DAMAGE as error:
            connection.close()
            raise unreadable(path, error) from error
    raise ConfigError(f"the journal {path} cannot be read: {problem}")
