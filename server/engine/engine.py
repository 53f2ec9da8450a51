"""The engine: all trading state and its projections. `apply` executes commands, `commit` publishes their events."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fastpath.exchange.exchange import Exchange
from fastpath.model import records
from server.base.errors import SnapshotUnusable
from server.base.instruments import Registry
from server.engine.event_log import EventLog
from server.engine.limits import EngineLimits
from server.engine.projection import Blotter, Changes
from server.engine.snapshot import Snapshot, SnapshotHeader
from server.engine.snapshot_upgrade import to_this_version
from server.records.definitions import Definitions, register
from server.records.events import REJECTED_COMMAND, OrderView, decode

_log = logging.getLogger(__name__)

EXCHANGE_SECTION = "exchange"


class Engine:
    """Trading state (the compiled exchange) with its projections: registry, blotter and event log.

    Commands are the only input, so the same commands make the same state. Between `apply` and `commit` the exchange is
    ahead of what may be shown: nothing reads it then but `commit` itself. One thread.
    """

    def __init__(self, limits: EngineLimits, epoch: str) -> None:
        self.exchange = new_exchange(limits)
        self.limits = limits
        self.registry = Registry()
        self.blotter = Blotter(self.registry, limits)
        self.log = EventLog(epoch, limits.stream_log_bytes)
        self.command_sequence = 0
        """Of the last command whose effects are visible."""
        self.time_ns = 0
        """Time of that command."""
        self._definitions = Definitions()
        self._listeners: list[Callable[[Changes], None]] = []

    def apply(self, commands: bytes | bytearray) -> bytes:
        """Carry out stamped commands; returns their events."""
        return self.exchange.apply(commands)

    def commit(self, commands: bytes | bytearray, events: bytes, last_seq: int, ts_ns: int) -> None:
        """Make commands that were applied, and are durable now, visible."""
        if definitions := records.definitions(commands):
            self._define(definitions, events)
        self.command_sequence, self.time_ns = last_seq, ts_ns
        if not events:
            return
        self.blotter.apply(events)
        last_sequence = records.last_sequence(events)
        if not self._listeners and not self.log.streams:  # while it recovers
            self.log.append(last_sequence, events, ())
            return
        changes = Changes.of(events)
        self.log.append(last_sequence, events, changes.accounts)
        for listener in self._listeners:
            try:
                listener(changes)
            except Exception:
                # What is durable is durable; that somebody could not take note of it must not stop trading.
                _log.exception("a listener of the engine failed")

    def _define(self, definitions: list[bytes], events: bytes) -> None:
        """Register the definitions that were accepted."""
        first_events = map(decode, records.first_of_commands(events))
        refused = {event.command_seq for event in first_events if event.kind == REJECTED_COMMAND}
        for definition in definitions:
            if records.command_sequence(definition) not in refused:
                self._definitions.add(definition)
                register(definition, self.registry)

    def add_listener(self, listener: Callable[[Changes], None]) -> None:
        """Have `listener` called after each commit that changed something. It must be quick."""
        self._listeners.append(listener)

    def order(self, order_id: int) -> OrderView | None:
        """An order by id."""
        record = self.order_event(order_id)
        return self.blotter.view(record) if record is not None else None

    def order_event(self, order_id: int) -> bytes | None:
        """The newest event of an order, also of one that the blotter has forgotten: that one closed long ago, so
        nothing can change it."""
        record = self.blotter.order_event(order_id)
        if record is None and order_id <= self.command_sequence:
            return self.exchange.order(order_id)
        return record

    def order_id_of(self, account: int, client_order_id: bytes) -> int | None:
        """The id of an account's order. Ids are command sequences: later ones are not durable yet."""
        record = self.exchange.order_by_client_id(account, client_order_id)
        order_id = decode(record).order_id if record is not None else 0
        return order_id if 0 < order_id <= self.command_sequence else None

    def find_order_event(self, account: int, order_id: int, client_order_id: bytes) -> bytes | None:
        """The newest event of the order with this id, or (0) of the account's with this client order id; the id may be one of
        another account's order."""
        found = order_id or self.order_id_of(account, client_order_id)
        return self.order_event(found) if found is not None else None

    def find_order(self, account: int, order_id: int, client_order_id: str) -> OrderView | None:
        """An account's order, named by one of its ids (the other is 0 or empty)."""
        record = self.find_order_event(account, order_id, client_order_id.encode())
        view = self.blotter.view(record) if record is not None else None
        return view if view is not None and view.account == self.registry.account_by_number(account).name else None

    def snapshot(self, checksum: bytes) -> Snapshot:
        """A snapshot of the engine. Call it only when every applied command is committed. `checksum` is that of the
        journal's last row."""
        header = SnapshotHeader(
            epoch=self.log.epoch,
            checksum=checksum,
            command_sequence=self.command_sequence,
            event_sequence=self.exchange.event_seq,
            time_ns=self.time_ns,
            state_hash=self.exchange.state_hash(),
        )
        exchange = {EXCHANGE_SECTION: self.exchange.save()}
        return Snapshot(header, exchange | self._definitions.save() | self.blotter.save() | self.log.save())

    def restore(self, snapshot: Snapshot) -> None:
        """Fill this engine, which must be new, with a snapshot. Raises SnapshotUnusable, and then it is still new."""
        header, sections = snapshot.header, snapshot.sections
        exchange = restored_exchange(snapshot, self.limits)
        definitions, registry = Definitions(), Registry()
        blotter, log = Blotter(registry, self.limits), EventLog(self.log.epoch, self.limits.stream_log_bytes)
        try:
            definitions.load(sections, registry)
            blotter.load(sections)
            log.load(sections)
        except (KeyError, ValueError) as error:
            raise SnapshotUnusable(f"what it says of orders and accounts cannot be read: {error!r}") from error
        if log.last_sequence != header.event_sequence:
            raise SnapshotUnusable(f"its events end at {log.last_sequence} instead of {header.event_sequence}")
        self.exchange, self.registry, self.blotter, self.log = exchange, registry, blotter, log
        self._definitions = definitions
        self.command_sequence, self.time_ns = header.command_sequence, header.time_ns


def new_exchange(limits: EngineLimits) -> Exchange:
    return Exchange(
        max_orders=limits.max_orders,
        max_open_orders=limits.max_open_orders,
        max_instruments=limits.max_instruments,
        max_accounts=limits.max_accounts,
        max_assets=limits.max_assets,
    )


def restored_exchange(snapshot: Snapshot, limits: EngineLimits) -> Exchange:
    """The exchange of a snapshot, its state_hash verified, or all its rules if it is of an older version. Raises
    SnapshotUnusable."""
    exchange = new_exchange(limits)
    try:
        saved = snapshot.sections[EXCHANGE_SECTION]
        state = to_this_version(saved)
        exchange.load(state)
        if state is not saved:  # another hash by its nature: the fields differ
            exchange.validate()
    except (KeyError, ValueError, AssertionError) as error:
        raise SnapshotUnusable(f"its trading state cannot be read: {error}") from error
    if state is saved and exchange.state_hash() != snapshot.header.state_hash:
        raise SnapshotUnusable("its trading state does not have the state_hash it was saved with")
    return exchange
