"""Clocks. Whatever needs the time or a timer gets a `Clock` as an argument."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

COMPARE_NS = 1_000_000_000
"""How often a SystemClock is compared with the machine's wall clock, and how late a timer may learn of a correction."""
STEP_NS = 10_000_000_000
"""A difference up to this is made up for little by little; a larger one waits for an administrator."""
_NOISE_NS = 1_000_000
"""A difference below this is not corrected: so long may pass between the two readings."""
_SLEW = 20
"""A small difference is made up for at one part in so many: 5 %."""
_ACCEPTED_SLEW = 2
"""The same of a backward step that was accepted: the time then goes at half its speed."""


_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the timer. Does nothing the second time."""
        ...


class Clock(Protocol):
    """A source of time that never runs backward."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC. From any thread."""
        ...

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """Have `callback` called on the event loop once the clock shows `when_ns`; never from within this call."""
        ...


class Agreement(NamedTuple):
    """The result of `accept`."""

    now_ns: int
    """The clock's time."""
    difference_ns: int
    """By how much the machine's clock is ahead of it (negative: behind)."""
    left_ns: int
    """How long it takes until both show the same."""


class SystemClock:
    """The machine's clock without its steps.

    Set once from the wall clock, it follows the time since boot, which nobody sets and which goes on while the machine
    sleeps. Once a second, when it is read, it is compared with the wall clock. A small difference is made up for by
    going up to 5 % faster or slower. A large one (`step`) changes nothing until `accept`: one of the two clocks is wrong,
    and the program cannot know which.
    """

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] | None = None) -> None:
        """`steady_ns` counts nanoseconds from any start and is never set."""
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns or partial(time.clock_gettime_ns, _SINCE_BOOT)
        self._correcting = threading.Lock()
        self._begin(_Line(self._steady_ns(), self._wall_ns()))
        self._difference_ns = 0
        self._accepted_ns = 0
        """The backward step that is being made up for by an administrator's decision; 0: none."""

    def now_ns(self) -> int:
        # Read for every message: the plain case first, with as little as it takes.
        offset_ns, until_ns = self._plain
        steady_ns = self._steady_ns()
        if steady_ns < until_ns:
            return steady_ns + offset_ns
        if steady_ns - self._line.steady_ns >= COMPARE_NS and self._correcting.acquire(blocking=False):
            try:
                self._compare()
            finally:
                self._correcting.release()
        return self._line.at(steady_ns)

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        return _LoopTimer(self, when_ns, callback)

    def not_before(self, time_ns: int) -> None:
        """Never show less than this time. Set at a start to the newest time in the journal."""
        with self._correcting:
            steady_ns = self._steady_ns()
            if self._line.at(steady_ns) < time_ns:
                self._begin(_Line(steady_ns, time_ns))
            self._compare()

    @property
    def difference_ns(self) -> int:
        """By how much the wall clock was ahead (negative: behind) when the two were compared last."""
        self.now_ns()
        return self._difference_ns

    @property
    def is_catching_up(self) -> bool:
        """Whether a backward step was accepted and is being made up for."""
        return self._accepted_ns != 0

    def accept(self) -> Agreement:
        """Follow the wall clock again, by an administrator's decision. If this clock is behind, it jumps forward at
        once; if it is ahead, it runs at half speed until the wall clock has caught up: it never runs backward."""
        with self._correcting:
            self._compare()
            difference_ns = self._difference_ns
            if difference_ns > STEP_NS:
                steady_ns = self._steady_ns()
                self._begin(_Line(steady_ns, max(self._wall_ns(), self._line.at(steady_ns))))
            elif difference_ns < -STEP_NS:
                self._accepted_ns = difference_ns
            self._compare()
            line = self._line
            return Agreement(line.time_ns, difference_ns, abs(line.correction_ns) * line.slew)

    def _begin(self, line: _Line) -> None:
        self._line = line
        uncorrected = not line.correction_ns
        self._plain = line.time_ns - line.steady_ns, line.steady_ns + COMPARE_NS if uncorrected else 0
        """What is added to the steady time, and until when it is as simple as that."""

    def _compare(self) -> None:
        """Begin a new line from here. Holding the lock."""
        before_ns = self._steady_ns()
        wall_ns = self._wall_ns()
        steady_ns = (before_ns + self._steady_ns()) // 2
        now_ns = self._line.at(steady_ns)
        difference_ns = self._difference_ns = wall_ns - now_ns
        if abs(difference_ns) <= STEP_NS:
            self._accepted_ns = 0
            self._begin(_Line(steady_ns, now_ns, difference_ns if abs(difference_ns) > _NOISE_NS else 0))
        elif self._accepted_ns - STEP_NS <= difference_ns < 0 and self._accepted_ns:
            self._accepted_ns = difference_ns
            self._begin(_Line(steady_ns, now_ns, difference_ns, _ACCEPTED_SLEW))
        else:
            self._accepted_ns = 0
            self._begin(_Line(steady_ns, now_ns))


class _Line(NamedTuple):
    """The time between two comparisons: the steady time plus a correction that is added gradually."""

    steady_ns: int
    time_ns: int
    correction_ns: int = 0
    slew: int = _SLEW

    def at(self, steady_ns: int) -> int:
        passed_ns = max(steady_ns - self.steady_ns, 0)
        corrected_ns = min(passed_ns // self.slew, abs(self.correction_ns))
        return self.time_ns + passed_ns + (corrected_ns if self.correction_ns > 0 else -corrected_ns)


class _LoopTimer:
    """A timer of the event loop. It looks at the clock at least every COMPARE_NS: that may be corrected meanwhile, and
    the loop's own time stands still while the machine sleeps."""

    __slots__ = ("_callback", "_clock", "_handle", "_when_ns")

    def __init__(self, clock: Clock, when_ns: int, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._when_ns = when_ns
        self._callback = callback
        self._handle = self._wait()

    def cancel(self) -> None:
        self._handle.cancel()

    def _wait(self) -> asyncio.TimerHandle:
        wait_ns = min(max(self._when_ns - self._clock.now_ns(), 0), COMPARE_NS)
        return asyncio.get_running_loop().call_later(wait_ns / 1e9, self._fire)

    def _fire(self) -> None:
        if self._clock.now_ns() >= self._when_ns:
            self._callback()
        else:
            self._handle = self._wait()


class ManualClock:
    """A clock that stands still until it is moved: for tests, replays and backtests. One thread."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._count = itertools.count()
        self._timers: list[tuple[int, int, _ManualTimer]] = []

    def now_ns(self) -> int:
        return self._now_ns

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        timer = _ManualTimer(callback)
        heapq.heappush(self._timers, (when_ns, next(self._count), timer))
        return timer

    @property
    def next_timer_ns(self) -> int | None:
        """When the next timer is due; None without any."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance(self, delta_ns: int) -> None:
        """Move forward by `delta_ns` (never backward). Timers are called in order, each when the clock shows its time."""
        if delta_ns < 0:
            raise ValueError("a clock does not run backward")
        end_ns = self._now_ns + delta_ns
        while (due_ns := self.next_timer_ns) is not None and due_ns <= end_ns:
            self._now_ns = max(self._now_ns, due_ns)
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()
        self._now_ns = end_ns


class _ManualTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None
