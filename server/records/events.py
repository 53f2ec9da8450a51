"""Packed events, decoded, and the views that people and services see of them.

The layout is `event_t` of fastpath/model/structs.pxd. Views hold integers (ticks, lots, smallest units) together with the
instrument and asset that give them meaning; enumerations are the plain numbers of the wire contract.
"""

from __future__ import annotations

import struct
from decimal import Context, Decimal
from typing import NamedTuple

from fastpath.model.enums import EventKind, OrderFlag, OrderType, TradingStatus, TriggerSource
from fastpath.model.order_sets import OPEN_STATUSES
from server.base.instruments import Asset, Instrument, Registry

EVENT = struct.Struct("<QQq4BIIIQqqqqqqQQqq4BIqqqqqqqqqQ36sI")
EVENT_SIZE = EVENT.size
KIND_OFFSET = 24
"""Of the byte that tells the kind of an event, for who counts them."""
LIQUIDITY_OFFSET = 129
"""Of the byte that tells a maker's fill from a taker's, for who looks at every fill."""

# Looked up once, for comparisons in loops over events.
REJECTED_COMMAND = int(EventKind.EVENT_REJECTED_COMMAND)
INSTRUMENT_DEFINED = int(EventKind.EVENT_INSTRUMENT_DEFINED)
BALANCE_CHANGED = int(EventKind.EVENT_BALANCE_CHANGED)
POSITION_CHANGED = int(EventKind.EVENT_POSITION_CHANGED)
ORDER_ACCEPTED = int(EventKind.EVENT_ORDER_ACCEPTED)
ORDER_REJECTED = int(EventKind.EVENT_ORDER_REJECTED)
ORDER_FILLED = int(EventKind.EVENT_ORDER_FILLED)
ORDER_AMENDED = int(EventKind.EVENT_ORDER_AMENDED)
ORDER_TRIGGERED = int(EventKind.EVENT_ORDER_TRIGGERED)
ORDER_REPLAYED = int(EventKind.EVENT_ORDER_REPLAYED)
CANCEL_REJECTED = int(EventKind.EVENT_CANCEL_REJECTED)
AMEND_REJECTED = int(EventKind.EVENT_AMEND_REJECTED)
ORDERS_CANCELED = int(EventKind.EVENT_ORDERS_CANCELED)
TRADING_STATUS_CHANGED = int(EventKind.EVENT_TRADING_STATUS_CHANGED)
TRADING_STATUS_OPEN = int(TradingStatus.TRADING_STATUS_OPEN)

CANCEL_ON_DISCONNECT = int(OrderFlag.ORDER_FLAG_CANCEL_ON_DISCONNECT)
_POST_ONLY = int(OrderFlag.ORDER_FLAG_POST_ONLY) | int(OrderFlag.ORDER_FLAG_POST_ONLY_SLIDE)
_REDUCE_ONLY = int(OrderFlag.ORDER_FLAG_REDUCE_ONLY) | int(OrderFlag.ORDER_FLAG_CLOSE_POSITION)
_WAITING = int(OrderFlag.ORDER_FLAG_WAITING)
_CHANGE_PENDING = int(OrderFlag.ORDER_FLAG_CHANGE_PENDING)
_TRAILING_STOP_LIMIT = int(OrderType.ORDER_TYPE_TRAILING_STOP_LIMIT)
_CONDITIONAL = range(int(OrderType.ORDER_TYPE_STOP), _TRAILING_STOP_LIMIT + 1)
_LAST = int(TriggerSource.TRIGGER_SOURCE_LAST)
_EXACT = Context(prec=80)
_MAX_TRIGGER = 2**60
"""Beyond it, a trigger is not a price but a trailing order's that has seen none yet."""


class Event(NamedTuple):
    """One event, field by field, in the order of the record. Of money, the low words: see `amount`."""

    event_seq: int
    command_seq: int
    ts_ns: int
    kind: int
    side: int
    order_type: int
    time_in_force: int
    flags: int
    account: int
    instrument: int
    order_id: int
    price: int
    qty: int
    cum_qty: int
    leaves_qty: int
    last_price: int
    last_qty: int
    counter_order_id: int
    trade_id: int
    fee: int
    cum_notional: int
    status: int
    liquidity: int
    reject_reason: int
    cancel_reason: int
    asset: int
    """On order events: TriggerSource | TrailingUnit << 8."""
    total: int
    """On order events: fees of the order so far. On POSITION_CHANGED: base units beyond whole lots."""
    reserved_amount: int
    """On order events: the trailing offset."""
    delta: int
    """On order events: when the order was accepted or refused."""
    position_qty: int
    position_cost: int
    realized_pnl: int
    trigger_price: int
    display_qty: int
    expire_ns: int
    link_id: int
    client_order_id: bytes
    last_of_command: int


def amount(low: int, high: int) -> int:
    """Of money, from its two words: see `event_t` for where the high one stands."""
    return low + (high << 64)


def decode(record: bytes) -> Event:
    """One record of EVENT_SIZE bytes. Raises struct.error if it has another size."""
    return Event._make(EVENT.unpack(record))


class OrderView(NamedTuple):
    """An order as it stands."""

    order_id: int
    client_order_id: str
    account: str
    instrument: Instrument
    side: int
    order_type: int
    time_in_force: int
    flags: int
    price: int
    """Ticks; 0: none."""
    qty: int
    cum_qty: int
    leaves_qty: int
    cum_notional: int
    """Units of the instrument's quote money."""
    cum_fee: int
    """Units of the instrument's quote money; negative is a rebate."""
    status: int
    reject_reason: int
    cancel_reason: int
    trigger_price: int
    """Ticks; 0: none, or not known yet."""
    display_qty: int
    """Lots; 0: not an iceberg."""
    expire_ns: int
    """0: never."""
    list_id: int
    """Orders of one list share it; 0: of none."""
    trigger_source: int
    """0: not conditional."""
    trailing_offset: int
    """In `trailing_unit`; 0: not trailing."""
    trailing_unit: int
    create_ns: int
    update_ns: int

    @property
    def post_only(self) -> bool:
        return bool(self.flags & _POST_ONLY)

    @property
    def reduce_only(self) -> bool:
        return bool(self.flags & _REDUCE_ONLY)

    @property
    def waiting(self) -> bool:
        """Whether it waits for its trigger, or for its parent in a list."""
        return bool(self.flags & _WAITING)

    @property
    def change_pending(self) -> bool:
        """Whether a cancel or an amendment is on its way to its venue."""
        return bool(self.flags & _CHANGE_PENDING)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES


class FillView(NamedTuple):
    """One execution of one order."""

    event_seq: int
    trade_id: int
    order_id: int
    client_order_id: str
    account: str
    instrument: Instrument
    side: int
    price: int
    qty: int
    liquidity: int
    fee: int
    """Units of the instrument's quote money; negative is a rebate."""
    time_ns: int


class BalanceView(NamedTuple):
    """What an account has of an asset, in its smallest units."""

    account: str
    asset: Asset
    total: int
    reserved: int

    @property
    def free(self) -> int:
        return self.total - self.reserved


class LedgerEntryView(NamedTuple):
    """One change of a balance, in the asset's smallest units."""

    event_seq: int
    account: str
    asset: Asset
    amount: int
    """Signed: positive is into the account."""
    total: int
    """Of the balance, after it."""
    time_ns: int


class PositionView(NamedTuple):
    """What an account bought and sold of an instrument. Money is in units of the instrument's quote money."""

    account: str
    instrument: Instrument
    qty: int
    """Whole lots, signed."""
    rest: Decimal
    """Base currency beyond them, signed as `qty`; 0 unless the lot has become larger since."""
    cost: int
    """Paid for the open quantity, signed as it."""
    realized_pnl: int
    """Before fees."""

    @property
    def quantity(self) -> Decimal:
        """All of it, in base currency."""
        return _EXACT.fma(Decimal(self.qty), self.instrument.lot_size, self.rest)


def order_view(event: Event, registry: Registry) -> OrderView:
    """The order as an event of it shows it."""
    instrument = registry.instrument_by_number(event.instrument)
    # Until it is triggered, the price of such an order is a distance.
    is_distance = event.order_type == _TRAILING_STOP_LIMIT and event.flags & _WAITING
    return OrderView(
        order_id=event.order_id,
        client_order_id=event.client_order_id.rstrip(b"\0").decode(),
        account=registry.account_by_number(event.account).name,
        instrument=instrument,
        side=event.side,
        order_type=event.order_type,
        time_in_force=event.time_in_force,
        flags=event.flags,
        price=0 if is_distance else event.price,
        qty=event.qty,
        cum_qty=event.cum_qty,
        leaves_qty=event.leaves_qty,
        cum_notional=amount(event.cum_notional, event.position_qty),
        cum_fee=amount(event.total, event.position_cost),
        status=event.status,
        reject_reason=event.reject_reason,
        cancel_reason=event.cancel_reason,
        trigger_price=event.trigger_price if event.trigger_price <= _MAX_TRIGGER else 0,
        display_qty=event.display_qty,
        expire_ns=event.expire_ns,
        list_id=event.link_id,
        trigger_source=(event.asset & 0xFF or _LAST) if event.order_type in _CONDITIONAL else 0,
        trailing_offset=event.reserved_amount,
        trailing_unit=event.asset >> 8,
        create_ns=event.delta,
        update_ns=event.ts_ns,
    )


def fill_view(event: Event, registry: Registry) -> FillView:
    """The fill that an ORDER_FILLED event tells."""
    instrument = registry.instrument_by_number(event.instrument)
    return FillView(
        event_seq=event.event_seq,
        trade_id=event.trade_id,
        order_id=event.order_id,
        client_order_id=event.client_order_id.rstrip(b"\0").decode(),
        account=registry.account_by_number(event.account).name,
        instrument=instrument,
        side=event.side,
        price=event.last_price,
        qty=event.last_qty,
        liquidity=event.liquidity,
        fee=amount(event.fee, event.realized_pnl),
        time_ns=event.ts_ns,
    )


def balance_view(event: Event, registry: Registry) -> BalanceView:
    """The balance that a BALANCE_CHANGED event tells."""
    account, asset = registry.account_by_number(event.account), registry.asset_by_number(event.asset)
    total, reserved = amount(event.total, event.position_cost), amount(event.reserved_amount, event.position_qty)
    factor = _units_of(event, asset)
    return BalanceView(account.name, asset, total * factor, reserved * factor)


def ledger_entry_view(event: Event, registry: Registry) -> LedgerEntryView:
    """The change that a BALANCE_CHANGED event tells."""
    account, asset = registry.account_by_number(event.account), registry.asset_by_number(event.asset)
    moved, total = amount(event.delta, event.realized_pnl), amount(event.total, event.position_cost)
    factor = _units_of(event, asset)
    return LedgerEntryView(event.event_seq, account.name, asset, moved * factor, total * factor, event.ts_ns)


def _units_of(event: Event, asset: Asset) -> int:
    """Units of the asset in one of the units of a BALANCE_CHANGED event."""
    factor: int = 10 ** (asset.scale - (event.flags or asset.first_scale))
    return factor


def position_view(event: Event, registry: Registry) -> PositionView:
    """The position that a POSITION_CHANGED event tells."""
    instrument = registry.instrument_by_number(event.instrument)
    scale = event.flags or registry.asset(instrument.base).first_scale
    return PositionView(
        account=registry.account_by_number(event.account).name,
        instrument=instrument,
        qty=event.position_qty,
        rest=Decimal(amount(event.total, event.fee)).scaleb(-scale),
        cost=amount(event.position_cost, event.reserved_amount),
        realized_pnl=amount(event.realized_pnl, event.delta),
    )
