"""What must leave for venues: durable order events, handed on to whoever sends them.

It is fed from the commit: an event is handed on when the journal has it and not before, so nothing leaves that a power cut
would undo. Nothing is queued here. The receiver remembers how far it came, and the engine's log, or the journal behind it,
holds what comes after. So a receiver that is slow, one that failed and a restart are all the same case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from fastpath.model.records import last_sequence, select
from server.base.background import FailureListener, keep_running
from server.base.errors import Unavailable
from server.base.instruments import Account, Instrument
from server.engine.engine import Engine
from server.engine.event_log import EventSource, durable_events
from server.records.events import ORDER_ACCEPTED, ORDER_TRIGGERED, decode

BATCH_EVENTS = 4_096
"""Events of the log that are looked through at a time, about."""


class Receiver(Protocol):
    """Takes over order events, for instance to send the orders to a venue."""

    async def position(self) -> int:
        """Sequence of the last event that was taken, as it is remembered across restarts; 0: none yet."""
        ...

    async def take(self, events: list[bytes], sequence: int) -> None:
        """Packed order events in order, none of them given before. `sequence`, to be remembered together with them, is
        where `position` then stands: events of no interest lie between, so there may be none.

        It may take its time: meanwhile nothing else is given. If it raises, `position` says whether they were taken.
        """
        ...


class Outbox:
    """Hands the order events of some accounts and instruments to one receiver: in order, each once. Life: `start`, `stop`."""

    def __init__(
        self,
        engine: Engine,
        past: EventSource,
        receiver: Receiver,
        *,
        accounts: Callable[[Account], bool],
        instruments: Callable[[Instrument], bool],
        on_failure: FailureListener = lambda reason: None,
    ) -> None:
        """`past` gives events that the log does not hold any more. `accounts` says whose orders leave, and `instruments`
        which of them. `on_failure` hears why nothing is handed on, and None when it goes on."""
        self._engine = engine
        self._past = past
        self._accounts = accounts
        self._instruments = instruments
        self._receiver = receiver
        self._on_failure = on_failure
        self._committed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Hand on what the receiver has not taken yet, then every commit. After the recovery."""
        self._engine.add_listener(lambda changes: self._committed.set())
        self._task = keep_running("outbox", self._run, self._on_failure)

    async def stop(self) -> None:
        """Hand on nothing more. What is left is handed on at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        log = self._engine.log
        position = await self._receiver.position()
        if position > log.last_sequence:
            raise Unavailable(f"the receiver is at event {position}, beyond the journal's last, {log.last_sequence}")
        while True:
            self._committed.clear()
            async with contextlib.aclosing(durable_events(log, self._past, position, BATCH_EVENTS)) as batches:
                async for events in batches:
                    position = last_sequence(events)
                    await self._receiver.take(self._orders(events), position)
            await self._committed.wait()

    def _orders(self, events: bytes) -> list[bytes]:
        """The order events among them that leave."""
        registry = self._engine.registry
        found: list[tuple[int, bytes]] = []
        for account in filter(self._accounts, registry.accounts()):
            for record in select(events, account.number, ORDER_ACCEPTED, ORDER_TRIGGERED):
                event = decode(record)
                if self._instruments(registry.instrument_by_number(event.instrument)):
                    found.append((event.event_seq, record))
        return [record for _, record in sorted(found)]
