"""Sessions: orders that are canceled when their client goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from server.base.clock import Clock
from server.base.errors import ShuttingDown, TradewindError
from server.records import commands

RETRY_NS = 500_000_000

_log = logging.getLogger(__name__)

Submit = Callable[[bytes], "asyncio.Future[bytes]"]


class Sessions:
    """Gives numbers, from 1 in every process: what is left of earlier ones is canceled before the first is opened."""

    def __init__(self, submit: Submit, clock: Clock) -> None:
        self._submit = submit
        self._clock = clock
        self._last = 0
        self._open: set[Session] = set()

    def open(self) -> Session:
        self._last += 1
        session = Session(self._last, self._submit, self._clock, self._open.discard)
        self._open.add(session)
        return session

    def going_away(self) -> None:
        """Tell all open sessions that the server is about to stop."""
        for session in self._open:
            session.ending.set()


class Session:
    """One client's stay."""

    def __init__(self, number: int, submit: Submit, clock: Clock, closed: Callable[[Session], None]) -> None:
        self.number = number
        self.ending = asyncio.Event()
        """Set when the server is about to stop."""
        self._submit = submit
        self._clock = clock
        self._closed = closed
        self._accounts: set[int] = set()

    def covers(self, account: int) -> None:
        """An order of this account is to be canceled in the end."""
        self._accounts.add(account)

    def close(self) -> None:
        """Cancel its orders, after everything submitted before. Retried while the engine cannot take the command."""
        self._closed(self)
        for account in self._accounts:
            self._cancel(account)

    def _cancel(self, account: int) -> None:
        try:
            canceling = self._submit(commands.session_closed(account=account, session=self.number))
        except ShuttingDown:
            _log.warning("the server stopped before the orders of a session were canceled: the next start does it")
        except TradewindError:
            self._clock.call_at(self._clock.now_ns() + RETRY_NS, lambda: self._cancel(account))
        else:
            canceling.add_done_callback(lambda done: self._told(account, done))

    def _told(self, account: int, canceling: asyncio.Future[bytes]) -> None:
        """Retry a cancel whose result is unknown: canceling twice is harmless."""
        if not canceling.cancelled() and canceling.exception() is not None:
            self._cancel(account)
