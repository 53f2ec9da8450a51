"""The engine: all trading state and what is known of it. `apply` decides, `commit` makes the decision visible."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from fastpath import codec, records
from fastpath.exchange import Exchange
from server.engine.blotter import Blotter, Changes
from server.engine.commands import COMMAND_SIZE
from server.engine.definitions import register
from server.engine.events import EVENT_SIZE, OrderView, decode
from server.engine.fanout import EventLog
from server.engine.limits import EngineLimits
from server.errors import JournalCorrupt
from server.instruments import Registry
from server.storage.ports import Journal, JournalRow

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (commands done, commands in all) while the engine recovers."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery did."""

    commands: int
    seconds: float

    @property
    def commands_per_s(self) -> float:
        return self.commands / self.seconds if self.seconds else 0.0


class Engine:
    """Trading state (the compiled exchange) with its projections: registry, blotter and event log.

    Commands are the only input, so the same commands make the same state. Between `apply` and `commit` the exchange is
    ahead of what may be shown: nothing reads it then but `commit` itself. One thread.
    """

    def __init__(self, limits: EngineLimits, epoch: str) -> None:
        self.exchange = Exchange(
            max_orders=limits.max_orders,
            max_open_orders=limits.max_open_orders,
            max_instruments=limits.max_instruments,
            max_accounts=limits.max_accounts,
            max_assets=limits.max_assets,
        )
        self.limits = limits
        self.registry = Registry()
        self.blotter = Blotter(self.registry, limits)
        self.log = EventLog(epoch, limits.stream_log_bytes)
        self.command_sequence = 0
        """Of the last command whose effects are visible."""
        self.time_ns = 0
        """Time of that command."""
        self._listeners: list[Callable[[Changes], None]] = []

    def apply(self, commands: bytes) -> bytes:
        """Carry out stamped commands; returns their events."""
        return self.exchange.apply(commands)

    def commit(self, commands: bytes, events: bytes, last_seq: int, ts_ns: int) -> None:
        """Make commands that were applied, and are durable now, visible."""
        for definition in records.definitions(commands):
            register(definition, self.registry)
        self.command_sequence, self.time_ns = last_seq, ts_ns
        if not events:
            return
        changes = self.blotter.apply(events)
        self.log.append(int.from_bytes(events[-EVENT_SIZE:][:8], "little"), events, changes.accounts)
        for listener in self._listeners:
            try:
                listener(changes)
            except Exception:
                # What is durable is durable; that somebody could not take note of it must not stop trading.
                _log.exception("a listener of the engine failed")

    def add_listener(self, listener: Callable[[Changes], None]) -> None:
        """Have `listener` called after each commit that changed something. It must be quick."""
        self._listeners.append(listener)

    def order(self, order_id: int) -> OrderView | None:
        """An order by id, also one that the blotter has forgotten: it closed long ago, so nothing can change it."""
        view = self.blotter.order(order_id)
        if view is None and order_id <= self.command_sequence:
            record = self.exchange.order(order_id)
            return self.blotter.view(record) if record is not None else None
        return view

    def order_id_of(self, account: int, client_order_id: str) -> int | None:
        """The id of an account's order. Ids are command sequences: later ones are not durable yet."""
        record = self.exchange.order_by_client_id(account, client_order_id.encode())
        order_id = decode(record).order_id if record is not None else 0
        return order_id if 0 < order_id <= self.command_sequence else None

    async def recover(self, journal: Journal, progress: Progress | None = None) -> Recovery:
        """Carry out everything in the journal, and let the loop breathe now and then. Raises JournalCorrupt."""
        loop = asyncio.get_running_loop()
        start, total, seq = loop.time(), journal.last_seq, 0
        waiting: list[bytes] = []
        for row in journal.read():
            waiting.append(_unpack(row, seq + 1))
            seq += row.count
            if seq - self.command_sequence >= self.limits.batch_commands or seq == total:
                commands = b"".join(waiting)
                waiting.clear()
                self.commit(commands, self.apply(commands), seq, row.ts_ns)
                if progress is not None:
                    progress(seq, total)
                await asyncio.sleep(0)
        return Recovery(seq, loop.time() - start)


def _unpack(row: JournalRow, first_seq: int) -> bytes:
    """The commands of a row that must begin with `first_seq`. Raises JournalCorrupt."""
    try:
        commands = codec.decode(row.payload)
    except ValueError as error:
        raise JournalCorrupt(f"the row of command {row.first_seq} cannot be unpacked: {error}") from error
    if len(commands) != row.count * COMMAND_SIZE or row.first_seq != first_seq:
        raise JournalCorrupt(f"the row of command {row.first_seq} does not hold the commands it says")
    return commands
