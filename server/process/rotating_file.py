"""A log file of bounded size."""

from __future__ import annotations

import io
import threading
from pathlib import Path


class RotatingFile(io.TextIOBase):
    """Text appended to a file; when that is full it becomes `NAME.1`, that `NAME.2` and so on, and the oldest goes."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        """`keep` earlier files are kept. Makes the directory, for its owner only. Raises OSError."""
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._lock = threading.Lock()
        for directory in (*reversed(path.parent.parents), path.parent):  # `parents=True` makes those open to all
            if not directory.is_dir():
                directory.mkdir(mode=0o700, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._line_is_whole = True

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """From any thread. Raises OSError: a part of it may have been written then, and the next line begins anew."""
        encoded = text.encode(errors="replace")
        with self._lock:
            if self._line_is_whole and self._file.tell() + len(encoded) >= self._max_bytes:
                self._rotate()
            if not self._line_is_whole:
                encoded = b"\n" + encoded
            while encoded:
                written = self._file.write(encoded) or 0
                encoded = encoded[written:]
                self._line_is_whole = False
            self._line_is_whole = text.endswith("\n")
        return len(text)

    def close(self) -> None:
        with self._lock:
            self._file.close()
        super().close()

    def _rotate(self) -> None:
        """Raises OSError; then everything is as it was, or the newest file is not full yet."""
        draft = self._path.with_name(f"{self._path.name}.new")
        new = draft.open("wb", buffering=0)
        for number in range(self._keep - 1, 0, -1):
            if (earlier := self._numbered(number)).exists():
                earlier.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        draft.replace(self._path)
        self._file.close()
        self._file = new

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
