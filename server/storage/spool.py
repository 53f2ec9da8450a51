"""Batches on disk between the recorder and the tick store: the queue that outlives an absent store and a restart.

One file a batch, written aside and renamed, named by its first row so that names sort in order. Bounded: when it is
full the oldest batches are dropped and counted. Files are not synced: a power cut may cost the last seconds of market
data.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from server.storage.ports import TickBatch
from server.storage.tick_tables import CorruptBatch, integers, pack, row_count, unpack

_SUFFIX, _DRAFT_SUFFIX = ".batch", ".new"
_NAME = re.compile(rf"\d{{19}}-(\d{{1,9}})-[a-z_]+\{_SUFFIX}")


@dataclass(slots=True)
class _Entry:
    rows: int
    size: int
    fresh: bool
    """Put by this process and never handed out: no store can have seen it."""


class Spool:
    """A bounded first-in, first-out queue of batches in a directory. Thread-safe for one writer and one reader."""

    def __init__(self, directory: Path, *, limit_bytes: int = 1 << 30) -> None:
        """Take up what an earlier process left in `directory`; files of other names are left alone. Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self.rows_dropped = 0
        """Because the spool was full, or somebody took its files away."""
        self.batches_corrupt = 0
        """Files that could not be read back, for instance torn by a power cut; removed."""
        for path in sorted(directory.iterdir()):
            if (named := _NAME.fullmatch(path.name)) is not None and path.is_file():
                self._entries[path.name] = _Entry(int(named[1]), path.stat().st_size, fresh=False)
            elif path.suffix == _DRAFT_SUFFIX and path.is_file():
                path.unlink()

    @property
    def rows(self) -> int:
        with self._lock:
            return sum(entry.rows for entry in self._entries.values())

    @property
    def size_bytes(self) -> int:
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    @property
    def last_row_id(self) -> int:
        """First row of the newest batch, 0 if there is none: new rows are numbered above it."""
        with self._lock:
            return int(next(reversed(self._entries)).split("-")[0]) if self._entries else 0

    def put(self, batch: TickBatch) -> None:
        """Add a batch, newer than all others; drops the oldest ones if there is no room. Raises OSError."""
        rows = row_count(batch.columns)
        name = f"{integers(batch.columns, 'row_id')[0]:019d}-{rows}-{batch.table}{_SUFFIX}"
        data = pack(batch)
        path = self._directory / name
        aside = path.with_suffix(_DRAFT_SUFFIX)
        self._make_room(len(data))
        try:
            aside.write_bytes(data)
            aside.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        with self._lock:
            self._entries[name] = _Entry(rows, len(data), fresh=True)

    def oldest(self) -> tuple[str, TickBatch, bool] | None:
        """Name and content of the oldest batch, and whether a store may have rows of it already; None if empty."""
        while True:
            with self._lock:
                if not self._entries:
                    return None
                name, entry = next(iter(self._entries.items()))
                seen, entry.fresh = not entry.fresh, False
            try:
                return name, unpack((self._directory / name).read_bytes()), seen
            except FileNotFoundError:
                # Dropped meanwhile because the spool was full; or gone, and then it must not be asked for again.
                self._lose(name)
            except CorruptBatch:
                self.batches_corrupt += 1
                self.remove(name)

    def remove(self, name: str) -> int:
        """Forget a batch, because it is stored. Returns its rows."""
        with self._lock:
            entry = self._entries.pop(name, None)
        (self._directory / name).unlink(missing_ok=True)
        return entry.rows if entry is not None else 0

    def _make_room(self, size: int) -> None:
        while True:
            with self._lock:
                name = next(iter(self._entries), None)
                used = sum(entry.size for entry in self._entries.values())
            if name is None or used + size <= self._limit_bytes:
                return
            self._lose(name)

    def _lose(self, name: str) -> None:
        """Forget a batch that no store will get."""
        rows = self.remove(name)
        with self._lock:
            self.rows_dropped += rows
