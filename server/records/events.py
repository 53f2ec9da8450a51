"""Packed events, decoded, and the views that people and services see of them.

Layouts come from `fastpath.model.structs`, and `structs.pxd` says what each field means. Views hold integers (ticks,
lots, smallest units) together with the instrument and asset that give them meaning; enumerations are the plain numbers
of the wire contract.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import NamedTuple

from fastpath.model.enums import EventKind, OrderFlag, OrderType, TradingStatus, TriggerSource
from fastpath.model.order_sets import OPEN_STATUSES
from fastpath.model.structs import EVENT
from server.base.instruments import Asset, Instrument, Registry

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
"""Ticks. A trailing order that has seen no price yet has a trigger above it, which is not shown."""


class Event(NamedTuple):
    """An event of an order, or one without amounts, field by field.

    Money takes two fields, joined by `amount`: one of the plain name and one named `_high`.
    """

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
    trigger_source: int
    trailing_unit: int
    cum_fee: int
    trailing_offset: int
    placed_ns: int
    cum_notional_high: int
    cum_fee_high: int
    fee_high: int
    trigger_price: int
    display_qty: int
    expire_ns: int
    link_id: int
    client_order_id: bytes
    last_of_command: int


class BalanceEvent(NamedTuple):
    """A BALANCE_CHANGED event. Amounts are in units of 10**-scale, in two fields each (see `Event`)."""

    event_seq: int
    command_seq: int
    ts_ns: int
    scale: int
    """0, in records of older builds: as the asset was first defined."""
    account: int
    asset: int
    total: int
    reserved: int
    delta: int
    reserved_high: int
    total_high: int
    delta_high: int


class PositionEvent(NamedTuple):
    """A POSITION_CHANGED event. Money takes two fields each (see `Event`)."""

    event_seq: int
    ts_ns: int
    scale: int
    """Decimals of `rest`; 0, in records of older builds: as the base asset was first defined."""
    account: int
    instrument: int
    rest_high: int
    rest: int
    cost_high: int
    realized_pnl_high: int
    open_qty: int
    cost: int
    realized_pnl: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held and nothing was ever gained or lost."""
        amounts = (self.rest, self.rest_high, self.cost, self.cost_high, self.realized_pnl, self.realized_pnl_high)
        return not self.open_qty and not any(amounts)


def amount(low: int, high: int) -> int:
    """Of money, from its two fields."""
    return low + (high << 64)


_READ_EVENT = EVENT.reader(*Event._fields).unpack
_READ_BALANCE = EVENT.reader(*BalanceEvent._fields).unpack
_READ_POSITION = EVENT.reader(*PositionEvent._fields).unpack
_READ_KIND = EVENT.reader("kind").unpack
_READ_ORDER_COUNT = EVENT.reader("order_count").unpack


def kind_of(record: bytes) -> int:
    """The EventKind of a record. Raises struct.error if it has not EVENT_SIZE bytes."""
    kind: int = _READ_KIND(record)[0]
    return kind


def order_count(record: bytes) -> int:
    """How many orders were canceled, of an ORDERS_CANCELED record. Raises struct.error if it has not EVENT_SIZE bytes."""
    count: int = _READ_ORDER_COUNT(record)[0]
    return count


def decode(record: bytes) -> Event:
    """A record of any kind but BALANCE_CHANGED and POSITION_CHANGED. Raises struct.error if it has not EVENT_SIZE bytes."""
    return Event._make(_READ_EVENT(record))


def decode_balance(record: bytes) -> BalanceEvent:
    """A BALANCE_CHANGED record. Raises struct.error if it has not EVENT_SIZE bytes."""
    return BalanceEvent._make(_READ_BALANCE(record))


def decode_position(record: bytes) -> PositionEvent:
    """A POSITION_CHANGED record. Raises struct.error if it has not EVENT_SIZE bytes."""
    return PositionEvent._make(_READ_POSITION(record))


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
        cum_notional=amount(event.cum_notional, event.cum_notional_high),
        cum_fee=amount(event.cum_fee, event.cum_fee_high),
        status=event.status,
        reject_reason=event.reject_reason,
        cancel_reason=event.cancel_reason,
        trigger_price=event.trigger_price if event.trigger_price <= _MAX_TRIGGER else 0,
        display_qty=event.display_qty,
        expire_ns=event.expire_ns,
        list_id=event.link_id,
        trigger_source=(event.trigger_source or _LAST) if event.order_type in _CONDITIONAL else 0,
        trailing_offset=event.trailing_offset,
        trailing_unit=event.trailing_unit,
        create_ns=event.placed_ns,
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
        fee=amount(event.fee, event.fee_high),
        time_ns=event.ts_ns,
    )


def balance_view(event: BalanceEvent, registry: Registry) -> BalanceView:
    """The balance that a BALANCE_CHANGED event tells."""
    account, asset = registry.account_by_number(event.account), registry.asset_by_number(event.asset)
    total, reserved = amount(event.total, event.total_high), amount(event.reserved, event.reserved_high)
    factor = _units_of(event, asset)
    return BalanceView(account.name, asset, total * factor, reserved * factor)


def ledger_entry_view(event: BalanceEvent, registry: Registry) -> LedgerEntryView:
    """The change that a BALANCE_CHANGED event tells."""
    account, asset = registry.account_by_number(event.account), registry.asset_by_number(event.asset)
    moved, total = amount(event.delta, event.delta_high), amount(event.total, event.total_high)
    factor = _units_of(event, asset)
    return LedgerEntryView(event.event_seq, account.name, asset, moved * factor, total * factor, event.ts_ns)


def _units_of(event: BalanceEvent, asset: Asset) -> int:
    """Units of the asset in one of the units of a BALANCE_CHANGED event."""
    factor: int = 10 ** (asset.scale - (event.scale or asset.first_scale))
    return factor


def position_view(event: PositionEvent, registry: Registry) -> PositionView:
    """The position that a POSITION_CHANGED event tells."""
    instrument = registry.instrument_by_number(event.instrument)
    scale = event.scale or registry.asset(instrument.base).first_scale
    return PositionView(
        account=registry.account_by_number(event.account).name,
        instrument=instrument,
        qty=event.open_qty,
        rest=Decimal(amount(event.rest, event.rest_high)).scaleb(-scale),
        cost=amount(event.cost, event.cost_high),
        realized_pnl=amount(event.realized_pnl, event.realized_pnl_high),
    )
