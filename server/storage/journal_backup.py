"""Backup of a journal to a file, also while it is written, and restore.

A backup is a journal in a file: the same rows, checksums and epoch.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from server.base.errors import ConfigError, JournalCorrupt
from server.storage.ports import JournalReader, JournalRow
from server.storage.sqlite_journal import SqliteJournal
from server.storage.sqlite_rows import SqliteJournalReader
from server.storage.urls import open_journal, open_journal_reader

Progress = Callable[[int, int], None]
"""Called with (commands done, in all)."""


def back_up(journal_url: str, target: Path, progress: Progress) -> int:
    """Copy a journal, also one that is being written, into a new file; every row of the copy is verified.

    Returns the last command in it. Raises ConfigError (no journal, or the file exists), JournalCorrupt, JournalFailed,
    OSError.
    """
    if target.exists():
        raise ConfigError(f"{target} exists: a backup overwrites nothing")
    draft = target.with_name(target.name + ".unfinished")
    mark = draft.with_name(draft.name + ".mark")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with contextlib.ExitStack() as opened:
            source = opened.enter_context(contextlib.closing(open_journal_reader(journal_url)))
            copy = opened.enter_context(contextlib.closing(SqliteJournal(draft, new_epoch=source.epoch)))
            copy.load(_watched(source, source.read(), progress))
        with contextlib.closing(sqlite3.connect(draft)) as whole:
            whole.execute("PRAGMA journal_mode = DELETE")  # one file, whole in itself
        last_seq = verify_rows(draft)
        _sync(draft)
        draft.rename(target)
        _sync(target.parent)
        return last_seq
    finally:
        draft.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)


def restore(backup: Path, journal_url: str, new_epoch: str, progress: Progress) -> int:
    """Fill a journal that is new or empty from a backup, every row verified before. Returns the last command in it.

    It is another journal, with another epoch: what was acknowledged after the backup is not in it, so clients that
    resume their streams must be told of a gap. Raises ConfigError (there is a journal already), JournalCorrupt,
    JournalFailed.
    """
    verify_rows(backup)
    try:
        journal = open_journal(journal_url, new_epoch=new_epoch)
    except JournalCorrupt as error:  # remains of another one
        raise ConfigError(f"there is a journal already: {error.message}") from error
    with contextlib.closing(journal), contextlib.closing(SqliteJournalReader(backup)) as reader:
        if journal.last_seq:
            raise ConfigError("there is a journal already: move it away, a restore overwrites nothing")
        journal.load(_watched(reader, reader.read(), progress))
        return journal.last_seq


def verify_rows(journal: Path) -> int:
    """Read every row of a journal. Returns its last command. Raises JournalCorrupt, naming the row."""
    with contextlib.closing(SqliteJournalReader(journal)) as reader:
        for _ in reader.read():
            pass
        return reader.last_seq


def _watched(reader: JournalReader, rows: Iterable[JournalRow], progress: Progress) -> Iterator[JournalRow]:
    for row in rows:
        yield row
        progress(row.first_seq + row.count - 1, reader.last_seq)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
