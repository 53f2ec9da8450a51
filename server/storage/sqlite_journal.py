"""The journal in one SQLite file: one row a group commit.

What makes it trustworthy:
- WAL with synchronous=FULL: `append` returns after the sync.
- Each row carries a checksum over its content and the checksum of the row before, from the epoch on: a changed,
  missing, moved or foreign row is found when it is read, and nothing is applied from it on.
- SQLite takes a write-ahead log for finished at its first damaged frame, so damage there could pass for "never
  written". A mark beside the journal says how far it went: a journal that ends before its mark is corrupt.
- One process at a time: a lock on the mark's file, which ends with the process.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

from server.errors import ConfigError, JournalCorrupt, JournalFailed
from server.storage.journal_chain import checksum, seed
from server.storage.ports import JournalRow

FORMAT_VERSION = 1
APPLICATION_ID = 0x54574A4C
"""Says in the file's header that this is a Tradewind journal ("TWJL")."""

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
_SELECT = "SELECT first_seq, count, ts_ns, payload, checksum FROM commits WHERE first_seq >= ? ORDER BY first_seq"
_LAST = "SELECT first_seq, count, checksum FROM commits ORDER BY first_seq DESC LIMIT 1"


class SqliteJournal:
    """The Journal port. `append` may be called from another thread than the one that opened it."""

    def __init__(self, path: Path, *, new_epoch: str) -> None:
        """Opens the journal at `path`, or creates it with the name `new_epoch`.

        Raises ConfigError if another process has it or the place cannot be used, JournalCorrupt if it is damaged.
        """
        self._path = path
        self._epoch = new_epoch
        self._last_seq = 0
        self._chain = b""
        self._mark = _Mark(path.with_name(path.name + ".mark"))
        try:
            self._connection = _connect(path)
            try:
                self._open(new_epoch)
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
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            self._epoch = str(self._connection.execute("SELECT epoch FROM about").fetchone()[0])
            self._chain = seed(self._epoch)
            last = self._connection.execute(_LAST).fetchone()
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            raise _unreadable(self._path, error) from error
        if version != FORMAT_VERSION:
            raise JournalCorrupt(f"{self._path} has format {version}; this version of Tradewind reads {FORMAT_VERSION}")
        if last is not None:
            self._last_seq, self._chain = last[0] + last[1] - 1, last[2]
        self._mark.check(self._epoch, self._last_seq, self._path)

    def _create(self, epoch: str) -> None:
        if self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise JournalCorrupt(f"{self._path} is some other database; restore the journal from a backup")
        self._mark.require_new(self._path)
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
        if row.first_seq != self._last_seq + 1 or row.count < 1:
            raise JournalFailed(f"commands from {row.first_seq} on do not follow command {self._last_seq}")
        link = checksum(self._chain, row)
        try:
            # Outside a transaction, so this is one: begun, committed and synced in one call.
            self._connection.execute(_INSERT, (row.first_seq, row.count, row.ts_ns, row.payload, link))
            self._last_seq, self._chain = row.first_seq + row.count - 1, link
            self._mark.advance(self._last_seq)
        except (sqlite3.Error, OSError) as error:
            raise JournalFailed(f"the journal {self._path} cannot be written: {error}") from error

    def read(self, from_seq: int = 1) -> Iterator[JournalRow]:
        """Rows in order from the one that holds `from_seq`. Raises JournalCorrupt, naming the row."""
        following, chain = self._before(from_seq)
        try:
            for first_seq, count, ts_ns, payload, stored in self._connection.execute(_SELECT, (following,)):
                row = JournalRow(first_seq, count, ts_ns, payload)
                if first_seq != following:
                    raise JournalCorrupt(f"{self._path}: the row of command {following} is missing before {first_seq}")
                if stored != (chain := checksum(chain, row)):
                    raise JournalCorrupt(f"{self._path}: the row of command {first_seq} does not carry its checksum")
                following = first_seq + count
                yield row
        except (sqlite3.DatabaseError, TypeError, struct.error) as error:
            raise JournalCorrupt(f"{self._path}: the row of command {following} cannot be read: {error}") from error
        if following <= self._last_seq:
            raise JournalCorrupt(f"{self._path}: the row of command {following} is missing")

    def _before(self, from_seq: int) -> tuple[int, bytes]:
        """First command of the row that holds `from_seq`, and the checksum of the row before."""
        if from_seq <= 1:
            return 1, seed(self._epoch)
        query = "SELECT first_seq, count, checksum FROM commits WHERE first_seq < ? ORDER BY first_seq DESC LIMIT 1"
        row = self._connection.execute(query, (from_seq + 1,)).fetchone()
        if row is None:
            return 1, seed(self._epoch)
        if row[0] + row[1] <= from_seq:
            return row[0] + row[1], row[2]
        if row[0] == 1:
            return 1, seed(self._epoch)
        previous = self._connection.execute(query, (row[0],)).fetchone()
        return row[0], previous[2]

    def close(self) -> None:
        self._connection.close()
        self._mark.close()


class _Mark:
    """How far the journal went, in a small file that is also the lock of the journal.

    Written after each commit without a sync: it survives the process, and after a power cut it is old but never ahead.
    """

    _FORMAT = struct.Struct("<16sQ")

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"the journal cannot be kept in {path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise ConfigError(
                f"another process uses the journal in {path.parent}: stop it, or choose another data directory"
            ) from None
        self._epoch_digest = b""

    def require_new(self, journal: Path) -> None:
        if os.fstat(self._file).st_size:
            raise JournalCorrupt(
                f"{journal} is gone, but {self._path.name} says there was one: restore it from a backup, "
                f"or delete {self._path} to begin with an empty journal"
            )

    def create(self, epoch: str) -> None:
        self._epoch_digest = seed(epoch)
        self.advance(0)
        os.fsync(self._file)

    def advance(self, last_seq: int) -> None:
        content = self._FORMAT.pack(self._epoch_digest, last_seq)
        os.pwrite(self._file, content + hashlib.blake2b(content, digest_size=8).digest(), 0)

    def check(self, epoch: str, last_seq: int, journal: Path) -> None:
        """Raises JournalCorrupt if the journal ends before the mark."""
        self._epoch_digest = seed(epoch)
        data = os.pread(self._file, 1024, 0)
        if not data:  # the administrator's way to take the journal as it is
            self.advance(last_seq)
            return
        content, digest = data[: self._FORMAT.size], data[self._FORMAT.size :]
        advice = f"restore both from a backup, or delete {self._path} to take the journal as it is"
        if hashlib.blake2b(content, digest_size=8).digest() != digest:
            raise JournalCorrupt(f"{self._path} is damaged: {advice}")
        marked_epoch, marked = self._FORMAT.unpack(content)
        if marked_epoch != self._epoch_digest:
            raise JournalCorrupt(f"{self._path} belongs to another journal than {journal}: {advice}")
        if marked > last_seq:
            raise JournalCorrupt(
                f"{journal} ends at command {last_seq}, but commands up to {marked} were acknowledged: {advice}"
            )

    def close(self) -> None:
        os.close(self._file)


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
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _unreadable(path, error) from error
    return connection


def _unreadable(path: Path, error: Exception) -> JournalCorrupt:
    return JournalCorrupt(f"{path} cannot be read as a journal: {error}; restore it from a backup")
