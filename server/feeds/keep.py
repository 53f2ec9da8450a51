"""A subscription kept up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from server.base.backoff import Backoff
from server.feeds.ccxt_import import ccxt
from server.feeds.listing import one_line

_log = logging.getLogger(__name__)


async def keep_subscribed(
    watch: Callable[[], Awaitable[object]], lost: Callable[[str], None], backoff: Backoff, steady_s: float
) -> None:
    """Subscribe by `watch`, and again whenever the subscription is lost; `lost` is told why. Never returns.

    The messages are tapped before ccxt sees them, so its `watch` methods subscribe and then wait for an error. One that
    held for `steady_s` begins with short pauses again.
    """
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await watch()
            reason = "the subscription ended"
        except ccxt.UnsubscribeError:
            continue  # our own doing: a new snapshot is had by leaving the channel
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            reason = "the connection was closed"  # ccxt cancels those who wait on a connection it closes
        except ccxt.BaseError as error:
            reason = one_line(error)
        except Exception as error:
            _log.exception("watching failed")
            reason = one_line(error)
        lost(reason)
        if loop.time() - began > steady_s:
            backoff.reset()
        await asyncio.sleep(backoff.next_s())
