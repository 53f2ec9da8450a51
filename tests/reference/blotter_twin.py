"""The tables of the blotter, as plainly as can be: what `fastpath.blotter.tables.Tables` must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fastpath.model.enums import EventKind, OrderStatus
from tests.reference.records import Event, decode_events

_OPEN = {each for each in OrderStatus if each.name.startswith("ORDER_STATUS_PENDING_")} | {
    OrderStatus.ORDER_STATUS_NEW, OrderStatus.ORDER_STATUS_PARTIALLY_FILLED,
}  # fmt: skip
_ORDER_EVENTS = range(EventKind.EVENT_ORDER_ACCEPTED, EventKind.EVENT_ORDER_TRIGGERED + 1)


@dataclass
class BlotterTwin:
    closed_orders: int
    fills_held: int
    orders: dict[int, bytes] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    closed: list[int] = field(default_factory=list)
    fills: dict[int, bytes] = field(default_factory=dict)
    balances: dict[tuple[int, int], bytes] = field(default_factory=dict)
    positions: dict[tuple[int, int], bytes] = field(default_factory=dict)
    forgotten: dict[str, tuple[int, int]] = field(default_factory=lambda: {"orders": (0, 0), "fills": (0, 0)})
    """The largest key and the latest event of what was forgotten."""

    def apply(self, packed: bytes) -> None:
        for at, event in enumerate(decode_events(packed)):
            self._apply(event, packed[at * 256 : at * 256 + 256])
        while len(self.closed) > self.closed_orders:
            self._forget("orders", self.orders, self.closed.pop(0))
        while len(self.fills) > self.fills_held:
            self._forget("fills", self.fills, min(self.fills))

    def is_held(self, instrument: int) -> bool:
        newest = decode_events(b"".join(record for (_, number), record in self.positions.items() if number == instrument))
        return any(event.position_qty or event.total or event.fee for event in newest)

    def _apply(self, event: Event, record: bytes) -> None:
        if event.kind == EventKind.EVENT_BALANCE_CHANGED:
            self.balances[event.account, event.asset] = record
        elif event.kind == EventKind.EVENT_POSITION_CHANGED:
            self.positions[event.account, event.instrument] = record
        elif event.kind in _ORDER_EVENTS:
            if event.order_id not in self.orders and event.status in _OPEN:
                self.open.add(event.order_id)
            elif event.order_id not in self.orders or (event.order_id in self.open and event.status not in _OPEN):
                self.open.discard(event.order_id)
                self.closed.append(event.order_id)
            self.orders[event.order_id] = record
            if event.kind == EventKind.EVENT_ORDER_FILLED:
                self.fills[event.event_seq] = record

    def _forget(self, name: str, table: dict[int, bytes], key: int) -> None:
        (event,) = decode_events(table.pop(key))
        largest, latest = self.forgotten[name]
        self.forgotten[name] = max(largest, key), max(latest, event.event_seq)

    def page(
        self, table: dict[int, bytes], account: int, before: int | None, limit: int, wanted: Callable[[bytes], bool]
    ) -> list[bytes]:
        """Records of the account that are wanted, newest first."""
        found = []
        for key in sorted(table, reverse=True):
            (event,) = decode_events(table[key])
            if event.account == account and (before is None or key < before) and wanted(table[key]):
                found.append(table[key])
        return found[:limit]

    def open_ids(self, account: int) -> list[int]:
        return sorted(key for key in self.open if decode_events(self.orders[key])[0].account == account)
