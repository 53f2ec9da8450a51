"""How much one token may ask for: calls a second, and streams open at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from server.base.errors import QuotaExceeded, TradewindError

Metadata = tuple[tuple[str, str], ...]


class OpenStream:
    """A stream in progress, which the server can end from outside with an error of its choice."""

    __slots__ = ("_task", "_writing", "error")

    def __init__(self) -> None:
        """For the current task."""
        self._task = asyncio.current_task()
        self._writing = False
        self.error: TradewindError | None = None
        """Why the server ended it."""

    def end(self, error: TradewindError) -> None:
        """End it: at once, or after the message that is being written, because grpc can send no status past a message
        that waits for its reader. A reader that never takes it holds one message until its connection ends."""
        if self.error is None and self._task is not None:
            self.error = error
            if not self._writing:
                self._task.cancel()

    async def write(self, sent: Awaitable[None]) -> None:
        """Wait until a message is sent. Raises the error that ended the stream meanwhile."""
        self._writing = True
        await sent
        self._writing = False
        if self.error is not None:
            raise self.error


class Quota:
    """Of one token: a bucket that holds `rate` calls and refills at `rate` a second, and its open streams."""

    __slots__ = ("_checked_s", "_left", "_max_streams", "_now_s", "_rate", "streams")

    def __init__(self, rate: int, max_streams: int, now_s: Callable[[], float]) -> None:
        self._rate = rate
        self._max_streams = max_streams
        self._now_s = now_s
        self._left = float(rate)
        self._checked_s = now_s()
        self.streams: set[OpenStream] = set()

    def take(self) -> None:
        """Count one call. Raises QuotaExceeded when the bucket is empty."""
        now_s = self._now_s()
        self._left = min(self._rate, self._left + (now_s - self._checked_s) * self._rate)
        self._checked_s = now_s
        if self._left < 1:
            raise QuotaExceeded(f"more than {self._rate} calls a second with this token: slow down")
        self._left -= 1

    def metadata(self) -> Metadata:
        """`x-ratelimit-limit` calls a second, `remaining` now, `reset` seconds until the bucket is full."""
        missing = self._rate - self._left
        return (
            ("x-ratelimit-limit", str(self._rate)),
            ("x-ratelimit-remaining", str(int(self._left))),
            ("x-ratelimit-reset", f"{missing / self._rate:.3f}"),
        )

    def open_stream(self) -> OpenStream:
        """Count a stream of the current task; remove it from `streams` at its end. Raises QuotaExceeded."""
        if len(self.streams) >= self._max_streams:
            raise QuotaExceeded(f"{self._max_streams} streams are open with this token: close some first")
        stream = OpenStream()
        self.streams.add(stream)
        return stream
