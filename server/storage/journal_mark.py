"""How far a journal went, in a small file beside it: a journal that ends before its mark has lost acknowledged rows.

Written after each commit without a sync: it survives the process, and after a power cut it is old but never ahead. The
file is also a lock: one process at a time has the mark, and with it the journal of a data directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from pathlib import Path

from server.base.errors import ConfigError, JournalCorrupt
from server.storage.journal_chain import seed

_FORMAT = struct.Struct("<16sQ")


class JournalMark:
    """Life: open it, `check` it against the journal (or `create` it with one), `advance` it, `close`."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError if another process has it, or it cannot be kept there."""
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

    def require_new(self, journal: str) -> None:
        """Raises JournalCorrupt if there was a journal, which is gone now."""
        if os.fstat(self._file).st_size:
            raise JournalCorrupt(
                f"{journal} is gone, but {self._path.name} says there was one: restore it from a backup, "
                f"or delete {self._path} to begin with an empty journal"
            )

    def create(self, epoch: str) -> None:
        """For a journal that is new and empty."""
        self._epoch_digest = seed(epoch)
        self.advance(0)
        os.fsync(self._file)

    def advance(self, last_seq: int) -> None:
        """Commands up to `last_seq` are in the journal. Raises OSError."""
        content = _FORMAT.pack(self._epoch_digest, last_seq)
        os.pwrite(self._file, content + hashlib.blake2b(content, digest_size=8).digest(), 0)

    def check(self, epoch: str, last_seq: int, journal: str) -> None:
        """Raises JournalCorrupt if the journal ends before the mark, or is another one."""
        self._epoch_digest = seed(epoch)
        data = os.pread(self._file, 1024, 0)
        if not data:  # the administrator's way to take the journal as it is
            self.advance(last_seq)
            return
        content, digest = data[: _FORMAT.size], data[_FORMAT.size :]
        advice = f"restore both from a backup, or delete {self._path} to take the journal as it is"
        if hashlib.blake2b(content, digest_size=8).digest() != digest:
            raise JournalCorrupt(f"{self._path} is damaged: {advice}")
        marked_epoch, marked = _FORMAT.unpack(content)
        if marked_epoch != self._epoch_digest:
            raise JournalCorrupt(f"{self._path} belongs to another journal than {journal}: {advice}")
        if marked > last_seq:
            raise JournalCorrupt(
                f"{journal} ends at command {last_seq}, but commands up to {marked} were acknowledged: {advice}"
            )

    def close(self) -> None:
        os.close(self._file)
