"""Plays a venue's recording on the wall clock, faster, or as fast as the subscribers take it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from server.base.clock import Clock
from server.replay.frame import Frame
from server.replay.venue import Venue

PASS_GAP_NS = 100_000_000
"""Pause between the last frame of a pass and the first of the next."""

_YIELD_EVERY = 32
"""Frames between two chances for other tasks when the replay is behind its time or not paced at all."""

_GRACE_S = 1.0
"""How long a replay at a set speed waits for a full outbox: long enough for a burst, not for a dead reader."""

Times = Literal["now", "recorded"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How a recording is played.

    speed: recorded seconds per second; None plays as fast as the subscribers' sockets take it.
    passes: how often the recording is played, as one continuous history; None: for ever.
    times: "now" stamps frames with the time at which they are due, "recorded" keeps the recorded times
           (later passes go on from the end of the one before).
    """

    speed: float | None = 1.0
    passes: int | None = None
    times: Times = "now"

    def __post_init__(self) -> None:
        if self.speed is not None and not 0 < self.speed < float("inf"):
            raise ValueError("speed must be a positive number, or None to play as fast as possible")
        if self.passes is not None and self.passes < 1:
            raise ValueError("passes must be at least 1, or None to loop for ever")


class Player:
    """Drives one venue. Several players started together share one time line."""

    def __init__(self, venue: Venue, pace: Pace, clock: Clock) -> None:
        self.venue = venue
        self.frames_played = 0
        self.passes = 0
        """Passes begun."""
        self._pace = pace
        self._clock = clock
        self._running = asyncio.Event()
        self._running.set()
        self._start_s = 0.0
        self._origin_ns = 0

    def freeze(self) -> None:
        """Send nothing more. Time goes on, as it does behind a stalled connection."""
        self._running.clear()

    def thaw(self) -> None:
        """Go on: what came due meanwhile is sent at once."""
        self._running.set()

    async def run(self) -> None:
        """Play the recording as often as the pace says."""
        self._start_s = asyncio.get_running_loop().time()
        self._origin_ns = self._clock.now_ns() if self._pace.times == "now" else self.venue.start_ns
        elapsed_ns = 0
        while self.passes != self._pace.passes:
            elapsed_ns = await self._play_pass(self.passes, elapsed_ns)

    async def _play_pass(self, number: int, begin_ns: int) -> int:
        """Play one pass which begins `begin_ns` after the start of the first; returns when the next begins."""
        venue, start_ns = self.venue, self.venue.start_ns
        await self._until(begin_ns)
        venue.begin_pass(number, self._stamp_ns(begin_ns) // 1_000_000)
        self.passes += 1
        due_ns = begin_ns
        for frame in venue.frames():
            if frame.stale and number:
                continue
            due_ns = begin_ns + frame.time_ns - start_ns
            await self._until(due_ns)
            venue.play(frame, self._shift_ms(frame, due_ns))
            self.frames_played += 1
        return due_ns + PASS_GAP_NS

    def _stamp_ns(self, due_ns: int) -> int:
        """What the stamped clock shows `due_ns` recorded nanoseconds after the start."""
        if self._pace.times == "now" and self._pace.speed is not None:
            return self._origin_ns + int(due_ns / self._pace.speed)
        return self._origin_ns + due_ns

    def _shift_ms(self, frame: Frame, due_ns: int) -> int:
        return (self._stamp_ns(due_ns) - frame.time_ns) // 1_000_000

    async def _until(self, due_ns: int) -> None:
        if self.frames_played % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
            await self._make_room()
        if self._pace.speed is not None:
            delay_s = self._start_s + due_ns / 1e9 / self._pace.speed - asyncio.get_running_loop().time()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
        if not self._running.is_set():
            await self._running.wait()

    async def _make_room(self) -> None:
        for session in list(self.venue.sessions):
            if not session.full:
                continue
            if self._pace.speed is None:
                await session.room()
                continue
            try:
                await asyncio.wait_for(session.room(), _GRACE_S)
            except TimeoutError:
                # A live venue cuts off a reader which falls this far behind; others must not wait for it.
                session.abort()
