"""Background tasks: restarted with back-off when they end unexpectedly, and reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
"""Waits before a new start: the first, doubling, at most the second."""
HEALTHY_S = 5.0
"""Work that was started again and has gone on for so long is well."""

FailureListener = Callable[[str | None], None]
"""Called with the reason when work ends unexpectedly, and with None when it runs again. Must not raise."""

_log = logging.getLogger(__name__)


def keep_running(
    name: str, work: Callable[[], Coroutine[Any, Any, None]], on_failure: FailureListener = lambda reason: None
) -> asyncio.Task[None]:
    """Run `work()` as a task until it returns or the task is canceled. An error is logged, passed to `on_failure`, and
    `work` is started again with back-off."""
    return asyncio.create_task(_keep_running(name, work, on_failure), name=name)


async def _keep_running(name: str, work: Callable[[], Coroutine[Any, Any, None]], on_failure: FailureListener) -> None:
    loop = asyncio.get_running_loop()
    wait_s = FIRST_WAIT_S
    well: asyncio.TimerHandle | None = None
    try:
        while True:
            began_s = loop.time()
            try:
                await work()
                on_failure(None)
                return
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                error: BaseException = RuntimeError("it was canceled from within")
            except Exception as raised:
                error = raised
            if well is not None:
                well.cancel()
            if loop.time() - began_s >= HEALTHY_S:
                wait_s = FIRST_WAIT_S
            on_failure(f"{name} ended ({type(error).__name__}: {error}); it is started again")
            _log.error("%s ended, it is started again in %g s", name, wait_s, exc_info=error)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            well = loop.call_later(HEALTHY_S, on_failure, None)
    finally:
        if well is not None:
            well.cancel()
