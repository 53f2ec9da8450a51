"""Waiting for what another task, thread or process does: never for a fixed time, and never for ever."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

PATIENCE_S = 60.0
"""Far more than anything here takes on a busy machine: only a test that fails uses it up."""


async def until(
    condition: Callable[[], object] | Callable[[], Awaitable[object]], what: str = "", within_s: float = PATIENCE_S
) -> None:
    """Ask again and again until the answer is true; for what has no event of its own. The failure names `what`."""
    deadline = asyncio.timeout(within_s)
    try:
        async with deadline:
            while True:
                holds = condition()
                if inspect.isawaitable(holds):
                    holds = await holds
                if holds:
                    return
                await asyncio.sleep(0.005)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise AssertionError(f"not within {within_s:g} s: {what or 'what the test waits for'}") from None
