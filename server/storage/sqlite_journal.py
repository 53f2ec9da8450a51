"""The journal in one SQLite file: one row a group commit.

What makes it trustworthy:
- WAL with synchronous=FULL: `append` returns after the sync.
- Each row carries a checksum over its content and the checksum of the row before, from the epoch on: a changed,
  missing, moved or foreign row is found when it is read, and nothing is applied from it on.
- SQLite takes a write-ahead log for finished at its first damaged frame, so damage there could pass for "never
  written". A mark beside the journal says how far it went: a journal that ends before its mark is corrupt.
- One process at a time: a lock on the mark's file, which ends with the process.
- After a failed write nothing is taken for granted: the file is opened again, what it holds is synced anew, and only
  then is it asked whether the row is there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from server.base.errors import ConfigError, JournalCorrupt, JournalFailed
from server.storage.journal_chain import checksum
from server.storage.journal_mark import JournalMark
from server.storage.ports import JournalRow
from server.storage.sqlite_rows import APPLICATION_ID, DAMAGE, FORMAT_VERSION, read_epoch, rows_of, unreadable

_SCHEMA = """
CREATE TABLE about (epoch TEXT NOT NULL);
CREATE TABLE commits (
    first_seq INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    ts_ns INTEGER NOT NULL,
    payload BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT;
"""
_INSERT = "INSERT INTO commits VALUES (?, ?, ?, ?, ?)"


class SqliteJournal:
    """The Journal port. `append` may be called from another thread than the one that opened it."""

    def __init__(self, path: Path, *, new_epoch: str) -> None:
        """Opens the journal at `path`, or creates it with the name `new_epoch`.

        Raises ConfigError if another process has it or the place cannot be used, JournalCorrupt if it is damaged.
        """
        self._path = path
        self._epoch = new_epoch
        self._in_doubt: JournalRow | None = None
        self._mark = JournalMark(path.with_name(path.name + ".mark"))
        try:
            self._connection = _connect(path)
            try:
                self._open(new_epoch)
                _sync_all(self._connection)
                self._inodes = _inodes(path)
            except sqlite3.OperationalError as error:
                self._connection.close()
                raise ConfigError(f"the journal {path} cannot be written: {error}") from error
            except DAMAGE as error:
                self._connection.close()
                raise unreadable(path, error) from error
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._mark.close()
            raise

    def _open(self, new_epoch: str) -> None:
        try:
            if not self._connection.execute("PRAGMA application_id").fetchone()[0]:
                self._create(new_epoch)
        except DAMAGE as error:
            raise unreadable(self._path, error) from error
        self._epoch = read_epoch(self._connection, self._path)
        self._rows = rows_of(self._connection, self._path, self._epoch)
        self._last_seq, self._chain = self._rows.end()
        self._mark.check(self._epoch, self._last_seq, str(self._path))

    def _create(self, epoch: str) -> None:
        if self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise JournalCorrupt(f"{self._path} is some other database; restore the journal from a backup")
        self._mark.require_new(str(self._path))
        self._connection.executescript("BEGIN;" + _SCHEMA)
        self._connection.execute("INSERT INTO about VALUES (?)", (epoch,))
        self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        self._connection.execute("COMMIT")
        self._mark.create(epoch)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # so that a power cut does not take the new names away
        finally:
            os.close(directory)

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def last_seq(self) -> int:
        return self._last_seq

    def append(self, row: JournalRow) -> None:
        try:
            self._check_place()
            if self._in_doubt is not None and self._settle(row):
                return
            if row.first_seq != self._last_seq + 1 or row.count < 1:
                raise JournalFailed(f"commands from {row.first_seq} on do not follow command {self._last_seq}")
            self._in_doubt = row
            link = checksum(self._chain, row)
            # Outside a transaction, so this is one: begun, committed and synced in one call.
            self._connection.execute(_INSERT, (row.first_seq, row.count, row.ts_ns, row.payload, link))
            self._written(row, link)
        except (sqlite3.Error, OSError) as error:
            raise JournalFailed(f"the journal {self._path} cannot be written: {error}") from error

    def load(self, rows: Iterable[JournalRow]) -> None:
        if self._last_seq or self._in_doubt is not None:
            raise JournalFailed(f"{self._path} is not empty")
        last_seq: int = self._last_seq
        chain = self._chain
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                for row in rows:
                    last_seq, chain = row.first_seq + row.count - 1, checksum(chain, row)
                    self._connection.execute(_INSERT, (row.first_seq, row.count, row.ts_ns, row.payload, chain))
            _sync_all(self._connection)
            self._mark.advance(last_seq)
        except (sqlite3.Error, OSError) as error:
            raise JournalFailed(f"the journal {self._path} cannot be written: {error}") from error
        self._last_seq, self._chain = last_seq, chain

    def _check_place(self) -> None:
        """A file that was deleted or replaced takes writes as before, but nobody would ever find them again."""
        if _inodes(self._path) != self._inodes:
            raise JournalFailed(f"the files of the journal {self._path} were moved away: put the same files back")

    def _written(self, row: JournalRow, link: bytes) -> None:
        self._mark.advance(row.first_seq + row.count - 1)
        self._last_seq, self._chain, self._in_doubt = row.first_seq + row.count - 1, link, None

    def _settle(self, row: JournalRow) -> bool:
        """Whether the row in doubt is there after all, and is `row`.

        After a failed sync the system may hold pages in memory that it never writes again. So what the file is found to
        hold is moved from the log into the main file, and synced there, before it counts.
        """
        doubtful = self._in_doubt
        assert doubtful is not None
        self._connection.close()
        try:
            self._connection = _connect(self._path)
        except ConfigError as error:
            raise JournalFailed(f"the journal cannot be written: {error.message}") from error
        _sync_all(self._connection)
        self._inodes = _inodes(self._path)
        self._rows = rows_of(self._connection, self._path, self._epoch)
        end, link = self._end(), checksum(self._chain, doubtful)
        if end == (doubtful.first_seq + doubtful.count - 1, link):
            self._written(doubtful, link)
            return row == doubtful
        if end != (self._last_seq, self._chain):
            raise JournalFailed(f"{self._path} is not as it was left: it ends at command {end[0]}; restart the server")
        self._in_doubt = None
        return False

    def _end(self) -> tuple[int, bytes]:
        """The end of the journal. A disk that cannot be read just now is no damage: raises sqlite3.OperationalError."""
        try:
            return self._rows.end()
        except JournalCorrupt as error:
            if isinstance(error.__cause__, sqlite3.OperationalError):
                raise error.__cause__ from None
            raise

    def read(self, from_seq: int = 1) -> Iterator[JournalRow]:
        """Rows in order from the one that holds `from_seq`. Raises JournalCorrupt, naming the row."""
        return self._rows.read(from_seq, self._last_seq)

    def checksum(self, last_seq: int) -> bytes | None:
        return self._rows.checksum(last_seq)

    def close(self) -> None:
        self._connection.close()
        self._mark.close()


def _connect(path: Path) -> sqlite3.Connection:
    """SQLite's file and those it puts beside it are for the owner only: they take the mode of the first."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the journal {path} cannot be opened: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.OperationalError as error:
        connection.close()
        raise ConfigError(f"the journal {path} cannot be opened: {error}") from error
    except DAMAGE as error:
        connection.close()
        raise unreadable(path, error) from error
    return connection


def _sync_all(connection: sqlite3.Connection) -> None:
    """Move everything from the log into the main file, and sync that."""
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise sqlite3.OperationalError("another process reads the journal just now")


def _inodes(path: Path) -> tuple[int, int]:
    """Of the main file and the log. Raises OSError if one is gone."""
    return os.stat(path).st_ino, os.stat(path.with_name(path.name + "-wal")).st_ino
