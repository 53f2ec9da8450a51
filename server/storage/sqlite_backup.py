"""A journal in a file, copied while it is written, and put back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from server.errors import ConfigError
from server.storage.journal_chain import checksum, seed
from server.storage.sqlite_journal import SqliteJournal
from server.storage.sqlite_rows import DAMAGE, SqliteJournalReader

_PAGES = 1024
"""Pages copied at a time; the writer goes on between two steps."""
_INSERT = "INSERT INTO commits VALUES (?, ?, ?, ?, ?)"

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""


def back_up(journal: Path, target: Path, progress: Progress) -> int:
    """Copy a journal, also one that is being written, into a new file; every row of the copy is verified.

    Returns the last command in it. Raises ConfigError (no journal, or the file exists), JournalCorrupt, OSError.
    """
    if not journal.is_file():
        raise ConfigError(f"there is no journal {journal}")
    if target.exists():
        raise ConfigError(f"{target} exists: a backup overwrites nothing")
    draft = target.with_name(target.name + ".unfinished")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        source, copy = sqlite3.connect(journal), sqlite3.connect(draft)
        try:
            source.backup(copy, pages=_PAGES, progress=lambda _, left, total: progress(total - left, total))
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, whole in itself
        except DAMAGE as error:
            raise ConfigError(f"{journal} cannot be copied: {error}") from error
        finally:
            copy.close()
            source.close()
        last_seq = verify_rows(draft)
        _sync(draft)
        draft.rename(target)
        _sync(target.parent)
        return last_seq
    finally:
        draft.unlink(missing_ok=True)


def restore(backup: Path, journal: Path, new_epoch: str, progress: Progress) -> int:
    """Make a new journal from a backup, every row verified. Returns the last command in it.

    It is another journal, with another epoch: what was acknowledged after the backup is not in it, so clients that
    resume their streams must be told of a gap. Raises ConfigError (there is a journal already), JournalCorrupt.
    """
    mark = journal.with_name(journal.name + ".mark")
    if journal.exists() or mark.exists():
        raise ConfigError(f"{journal.parent} holds a journal already: move it away, a restore overwrites nothing")
    reader = SqliteJournalReader(backup)
    draft = journal.with_name("restoring.db")
    draft_mark = draft.with_name(draft.name + ".mark")
    try:
        SqliteJournal(draft, new_epoch=new_epoch).close()
        connection = sqlite3.connect(draft)
        try:
            chain = seed(new_epoch)
            with connection:
                for row in reader.read():
                    chain = checksum(chain, row)
                    connection.execute(_INSERT, (row.first_seq, row.count, row.ts_ns, row.payload, chain))
                    progress(row.first_seq + row.count - 1, reader.last_seq)
        finally:
            connection.close()
        draft_mark.unlink()
        _sync(draft)
        draft.rename(journal)
        SqliteJournal(journal, new_epoch=new_epoch).close()  # makes the mark, and syncs everything
        return reader.last_seq
    finally:
        reader.close()
        for left in (draft, draft_mark):
            left.unlink(missing_ok=True)


def verify_rows(journal: Path) -> int:
    """Read every row of a journal. Returns its last command. Raises JournalCorrupt, naming the row."""
    reader = SqliteJournalReader(journal)
    try:
        for _ in reader.read():
            pass
        return reader.last_seq
    finally:
        reader.close()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
