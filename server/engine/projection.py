"""Projections for queries: orders, fills, balances and positions of the durable events. The blotter is updated after
the journal's sync, so it never shows what a crash could undo. It keeps packed events and decodes them on demand,
because most are never read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fastpath.blotter.tables import Tables, changes
from server.base.instruments import Registry
from server.engine.limits import EngineLimits
from server.records.events import (
    TRADING_STATUS_OPEN,
    BalanceView,
    OrderView,
    PositionEvent,
    PositionView,
    balance_view,
    decode,
    decode_balance,
    decode_position,
    order_view,
    position_view,
)

_SECTIONS = (
    "blotter.orders", "blotter.closed", "blotter.fills", "blotter.ledger", "blotter.statuses", "blotter.forgotten"
)  # fmt: skip


class Changes(NamedTuple):
    """Orders, accounts and instruments changed by a batch of events."""

    accounts: set[int]
    """Accounts whose orders, balances or positions changed."""
    instruments: set[int]
    """Instruments that were defined, or whose orders changed."""
    fills: list[bytes]
    """The fill events, in order."""

    @classmethod
    def of(cls, events: bytes) -> Changes:
        return cls(*changes(events))


class Blotter:
    """Projection of the event stream. Memory is bounded: see EngineLimits.closed_orders and .fills."""

    def __init__(self, registry: Registry, limits: EngineLimits) -> None:
        self._registry = registry
        self.tables = Tables(closed_orders=limits.closed_orders, fills=limits.fills)
        """The packed events behind the views."""

    def apply(self, events: bytes) -> None:
        """Take over a batch of durable events."""
        self.tables.apply(events)

    def save(self) -> dict[str, bytes]:
        """The sections of a snapshot that hold the blotter."""
        return dict(zip(_SECTIONS, self.tables.save(), strict=True))

    def load(self, sections: Mapping[str, bytes]) -> None:
        """Fill a new blotter with what `save` gave. Raises KeyError if a section is missing."""
        self.tables.load(*(sections[name] for name in _SECTIONS))

    def order_event(self, order_id: int) -> bytes | None:
        """The newest event of an order, packed; None if there is no such order, or it was forgotten."""
        return self.tables.orders.get(order_id)

    def view(self, record: bytes) -> OrderView:
        """The order that an event of it shows."""
        return order_view(decode(record), self._registry)

    def any_open(self, flag: int) -> bool:
        """Whether an open order has this OrderFlag."""
        return self.tables.any_open(flag)

    def is_held(self, instrument: int) -> bool:
        """Whether an account has a position in the instrument."""
        return self.tables.is_held(instrument)

    def open_orders(self, account: int) -> list[OrderView]:
        """By order_id."""
        return [self.view(record) for record in self._open_records(self.tables.open_ids(account))]

    def open_records(self, account: int, before: int | None) -> Iterator[bytes]:
        """Open orders newest first, with ids below `before`, packed."""
        ids = self.tables.open_ids(account)
        older = ids if before is None else ids[: bisect_left(ids, before)]
        return self._open_records(older[::-1])

    def _open_records(self, ids: list[int]) -> Iterator[bytes]:
        records = (self.tables.orders.get(order_id) for order_id in ids)
        return (record for record in records if record is not None)

    def trading_status(self, instrument: int) -> int:
        """TradingStatus of an instrument that is defined, or (0) what was last set for all, OPEN if nothing was."""
        return self.tables.statuses.get(instrument, TRADING_STATUS_OPEN)

    def balances(self, account: int) -> list[BalanceView]:
        """By asset name; assets the account ever had."""
        views = [balance_view(decode_balance(record), self._registry) for record in self.tables.balances(account)]
        return sorted(views, key=lambda view: view.asset.name)

    def positions(self, account: int) -> list[PositionView]:
        """By instrument name; instruments the account ever traded."""
        events = map(decode_position, self.tables.positions(account))
        views = [position_view(event, self._registry) for event in events if not self._has_moved(event)]
        return sorted(views, key=lambda view: view.instrument.name)

    def _has_moved(self, event: PositionEvent) -> bool:
        """Whether the position is empty because another instrument of the name took it over."""
        return event.is_empty and self._registry.is_succeeded(event.instrument)
