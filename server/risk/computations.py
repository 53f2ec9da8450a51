"""Computes in a process of its own: portfolio mathematics takes seconds, and the event loop has milliseconds.

One process a computation, one computation at a time; the others wait in a bounded queue. A call that ends ends its
computation. Arguments and results are pickled: both processes are this program.
"""

from __future__ import annotations

import asyncio
import base64
import pickle
from collections.abc import Callable
from time import perf_counter
from typing import Any

from server.base import workers
from server.base.errors import FailedPrecondition, InvalidRequest, NotFound, ResourceExhausted, TradewindError

MAX_WAITING = 16
"""Computations that wait or run; more are refused."""
TIMEOUT_S = 60.0


class Computations:
    """Starts workers, one at a time."""

    def __init__(self, observe: Callable[[str, float], None] = lambda kind, seconds: None) -> None:
        """`observe` is told the name of each computation and how long it took, in seconds."""
        self._observe = observe
        self._turn = asyncio.Lock()
        self.waiting = 0
        """Computations that wait or run."""

    async def run(self, kind: str, *arguments: Any) -> Any:
        """What one of `FUNCTIONS` (server/risk/jobs.py) gives, in a process of its own.

        Raises what the function raises, ResourceExhausted, Unavailable.
        """
        if self.waiting >= MAX_WAITING:
            raise ResourceExhausted(f"{self.waiting} risk computations wait already, more than {MAX_WAITING - 1}: try later")
        self.waiting += 1
        try:
            async with self._turn:
                started_s = perf_counter()
                job = {"kind": kind, "arguments": await asyncio.to_thread(_packed, arguments)}
                output = await workers.run("server.risk.worker", job, TIMEOUT_S)
                self._observe(kind, perf_counter() - started_s)
        finally:
            self.waiting -= 1
        result, error = pickle.loads(output)  # of our own process
        if error is not None:
            raise _raised(*error)
        return result


def _packed(arguments: tuple[Any, ...]) -> str:
    return base64.b64encode(pickle.dumps(arguments)).decode()


def _raised(kind: str, message: str, reason: str | None, details: Any) -> TradewindError:
    """The error of the worker again."""
    if kind == "InvalidRequest":
        return InvalidRequest(details, reason=reason)
    if kind == "NotFound":
        ((thing, name),) = details.items()
        return NotFound(thing, name, hint=message.partition(": ")[2])
    return FailedPrecondition(message, reason=reason, metadata=details)
