"""Exponential back-off with jitter."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Each delay is between half of and the whole of a bound, which doubles up to `limit_s`.

    `rng` gives numbers from 0 to 1 (`random.Random(seed).random`).
    """

    def __init__(self, rng: Callable[[], float], *, first_s: float = 0.1, limit_s: float = 30.0) -> None:
        self._rng = rng
        self._first_s = first_s
        self._limit_s = limit_s
        self._bound_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        bound_s = self._bound_s
        self._bound_s = min(bound_s * 2, self._limit_s)
        return bound_s * (0.5 + self._rng() / 2)

    def reset(self) -> None:
        """After a success: the next delay starts at `first_s` again."""
        self._bound_s = self._first_s
