"""A log stream that never raises."""

from __future__ import annotations

import io
import threading
from typing import Any


class LogStream(io.TextIOBase):
    """Passes whole lines on to another stream. Never raises: lines that cannot be written, on a full disk or into a pipe
    nobody reads, are counted, and the next that can be written is preceded by one that says so."""

    def __init__(self, target: Any, *, as_json: bool) -> None:
        """`target` is a text stream; `as_json` says in which form losses are told."""
        self._target = target
        self._as_json = as_json
        self._lock = threading.Lock()
        self._unfinished = ""
        self.lines_lost = 0

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self._target.isatty())

    def write(self, text: str) -> int:
        """From any thread."""
        with self._lock:
            lines, end, rest = (self._unfinished + text).rpartition("\n")
            self._unfinished = rest
            if end:
                self._write_lines(lines + end)
        return len(text)

    def flush(self) -> None:
        """Nothing waits here: a line is passed on when it is whole."""

    def _write_lines(self, lines: str) -> None:
        try:
            self._target.write(self._loss_line() + lines)
            self._target.flush()
            self.lines_lost = 0
        except Exception:  # whatever it is: there is no place left to tell it
            self.lines_lost += lines.count("\n")

    def _loss_line(self) -> str:
        if not self.lines_lost:
            return ""
        told = f"{self.lines_lost} log lines could not be written"
        return f'{{"event": "{told}", "level": "warning"}}\n' if self._as_json else f"[warning  ] {told}\n"
