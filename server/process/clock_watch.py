"""Tells when the machine's clock and the server's disagree."""

from __future__ import annotations

import asyncio

import structlog

from server.base.background import keep_running
from server.base.clock import COMPARE_NS, STEP_NS, SystemClock
from server.process.lifecycle import ServiceState, StatusBoard

SERVICE = "clock"
_POLL_S = COMPARE_NS / 1e9

log = structlog.get_logger("clock")


class ClockWatch:
    """The part `clock` of the status board: DEGRADED while the two differ by more than a step. Life: `start`, `stop`."""

    def __init__(self, clock: SystemClock, board: StatusBoard) -> None:
        self._clock = clock
        self._board = board
        self._stepped = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._look()
        self._task = keep_running("clock watch", self._run, self._board.failure_listener(SERVICE))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            self._look()

    def _look(self) -> None:
        difference_ns = self._clock.difference_ns
        stepped = abs(difference_ns) > STEP_NS
        if stepped and not self._stepped:
            log.error("the machine's clock was set", ahead_s=difference_ns / 1e9)
        elif self._stepped and not stepped:
            log.warning("the machine's clock and the server's agree again")
        self._stepped = stepped
        if not stepped:
            self._board.set(SERVICE, ServiceState.SERVING)
            return
        side = "ahead of" if difference_ns > 0 else "behind"
        detail = f"the machine's clock is {_rounded(abs(difference_ns))} {side} the server's time"
        if self._clock.is_catching_up:
            detail += ", which goes at half its speed until they agree"
        else:
            detail += ", which does not follow: set the machine's clock right, or, if it is, run `tradewind accept-clock`"
        self._board.set(SERVICE, ServiceState.DEGRADED, detail)


def _rounded(difference_ns: int) -> str:
    """In a unit in which the text does not change all the time."""
    seconds = difference_ns // 1_000_000_000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7_200 else f"{seconds // 3_600} h"
