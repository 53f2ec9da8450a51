"""Snapshots as files of a directory, one a snapshot, named by command sequence.

They stay beside the server also when its journal is in a database: each machine that may run the engine makes its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from server.base.errors import SnapshotUnusable

_log = logging.getLogger(__name__)

_SUFFIX = ".snapshot"
_UNFINISHED = ".unfinished"


class SnapshotFiles:
    """The SnapshotStore port."""

    def __init__(self, directory: Path, *, keep: int, reached: Callable[[str], None] = lambda point: None) -> None:
        """`keep` snapshots, at least one, stay; older ones go. `reached` is told where a write is (failpoints)."""
        self.directory = directory
        self.keep = max(keep, 1)
        self._reached = reached

    def sequences(self) -> list[int]:
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            # They only make a start quick.
            _log.warning("snapshots in %s cannot be listed: %s", self.directory, error.strerror)
            return []
        stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return sorted((int(stem) for stem in stems if stem.isdigit()), reverse=True)

    def read(self, sequence: int) -> bytes:
        try:
            return self._path(sequence).read_bytes()
        except OSError as error:
            raise SnapshotUnusable(f"it cannot be read: {error.strerror}") from error

    def write(self, sequence: int, data: bytes) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(sequence)
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(data[: len(data) // 2])
                self._reached("snapshot-half-written")
                file.write(data[len(data) // 2 :])
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            _sync(self.directory)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        self._reached("snapshot-written")
        self._tidy()

    def _tidy(self) -> None:
        """Let go of old snapshots, and of files that a killed writer left."""
        for sequence in self.sequences()[self.keep :]:
            self._path(sequence).unlink(missing_ok=True)
        for left in self.directory.glob(f"*{_UNFINISHED}"):
            left.unlink(missing_ok=True)

    def _path(self, sequence: int) -> Path:
        return self.directory / f"{sequence:020d}{_SUFFIX}"


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
