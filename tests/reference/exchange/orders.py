"""What the exchange deals in: orders, positions, mirrored books, and the names and limits of all of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastpath.model.enums import OrderFlag, OrderStatus, OrderType, RejectReason, Side, TimeInForce
from tests.reference.records import Command

BUY, SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)
OUTSIDE, FEES = 0, 2**32 - 1
MAX_MONEY, MAX_SUPPLY = 2**110, 2**126
MAX_LOTS, MAX_TICKS = 2**61, 2**61
MAX_NARROW = 2**61
"""The one bound of assets that older builds defined."""
INF = 2**63 - 1
MIRROR_LEVELS = 200
ICEBERG_MAX_SLICES = 1024

LIMIT, MARKET, MARKET_TO_LIMIT = (
    int(OrderType.ORDER_TYPE_LIMIT), int(OrderType.ORDER_TYPE_MARKET), int(OrderType.ORDER_TYPE_MARKET_TO_LIMIT),
)  # fmt: skip
ICEBERG, HIDDEN = int(OrderType.ORDER_TYPE_ICEBERG), int(OrderType.ORDER_TYPE_HIDDEN)
GTC, IOC, FOK, GTD, DAY = (
    int(TimeInForce.TIME_IN_FORCE_GTC), int(TimeInForce.TIME_IN_FORCE_IOC), int(TimeInForce.TIME_IN_FORCE_FOK),
    int(TimeInForce.TIME_IN_FORCE_GTD), int(TimeInForce.TIME_IN_FORCE_DAY),
)  # fmt: skip
STOP, STOP_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT, TRAILING_STOP, TRAILING_STOP_LIMIT = range(4, 10)
CONDITIONAL = frozenset(range(4, 10))
TRAILING = frozenset({TRAILING_STOP, TRAILING_STOP_LIMIT})
TAKE_PROFITS = frozenset({TAKE_PROFIT, TAKE_PROFIT_LIMIT})
MARKETS = frozenset({MARKET, MARKET_TO_LIMIT, STOP, TAKE_PROFIT, TRAILING_STOP})
MAX_TRIGGERS_PER_COMMAND = 1000
DAY_NS = 86_400 * 10**9
POST_ONLY, SLIDE = int(OrderFlag.ORDER_FLAG_POST_ONLY), int(OrderFlag.ORDER_FLAG_POST_ONLY_SLIDE)
REDUCE_ONLY, CLOSE_POSITION = int(OrderFlag.ORDER_FLAG_REDUCE_ONLY), int(OrderFlag.ORDER_FLAG_CLOSE_POSITION)
QUOTE_QTY = int(OrderFlag.ORDER_FLAG_QUOTE_QTY)
OCO, OTO, BRACKET = 1, 2, 3
MARK, INDEX = 4, 5
PROTECTED, DISCONNECT = int(OrderFlag.ORDER_FLAG_PROTECTED), int(OrderFlag.ORDER_FLAG_CANCEL_ON_DISCONNECT)
NEW, PARTIAL, FILLED, CANCELED, REJECTED, EXPIRED = (
    int(OrderStatus.ORDER_STATUS_NEW), int(OrderStatus.ORDER_STATUS_PARTIALLY_FILLED),
    int(OrderStatus.ORDER_STATUS_FILLED), int(OrderStatus.ORDER_STATUS_CANCELED),
    int(OrderStatus.ORDER_STATUS_REJECTED), int(OrderStatus.ORDER_STATUS_EXPIRED),
)  # fmt: skip
OPEN = frozenset({NEW, PARTIAL}) | {int(each) for each in OrderStatus if each.name.startswith("ORDER_STATUS_PENDING_")}

BODY = (
    "side", "order_type", "time_in_force", "flags", "instrument", "price", "qty", "trigger_price", "display_qty",
    "min_qty", "amount", "expire_ns", "trailing_offset", "link_id", "stp_group", "stp_mode", "trigger_source",
    "trailing_unit", "link_type", "link_size",
)  # fmt: skip


class Refused(Exception):
    """An order or a command that is refused, with its RejectReason."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reason = int(RejectReason[f"REJECT_REASON_{name}"])


@dataclass
class Order:
    body: Command
    """As it was placed."""
    command: Command
    """As it is worked now."""
    order_id: int
    account: int
    instrument: int
    side: int
    price: int
    qty: int
    placed_ns: int
    maker_fee_ppm: int
    taker_fee_ppm: int
    cum_qty: int = 0
    cum_notional: int = 0
    fee_ppm: int = 0
    """Sum of rate * notional over the fills, in millionths: all its fees are this, rounded up once."""
    status: int = NEW
    reject_reason: int = 0
    cancel_reason: int = 0
    resting: bool = False
    priority: int = 0
    slice: int = 0
    """Of an iceberg: what it shows now."""
    queue_ahead: int | None = None
    waiting: int = 0
    """0: not; 1: for its trigger price; 2: trailing, for the price from which it trails; 3: for its parent's first fill;
    4: for further ones; 5: on its way to a venue; 6: for the others of its list."""
    arrival_ns: int = 0
    cancel_pending: bool = False
    """A cancel is on its way to the venue."""
    amend_pending: bool = False
    awaited: int = 0
    """Of a child: lots to be released by fills of its parent; `qty` has those that were."""
    followed: int = 0
    """Of the parent's fills: seen already."""
    trigger_price: int = 0
    expire_ns: int = 0
    group: list[Order] | None = None
    linked_qty: int = -1
    """Of cum_qty: taken off its siblings already; -1: has not met them yet."""
    opened: int = 0
    """Place among the account's open orders."""

    @property
    def is_open(self) -> bool:
        return self.resting or self.waiting > 0

    @property
    def leaves(self) -> int:
        return self.qty - self.cum_qty

    @property
    def fees(self) -> int:
        return -(-self.fee_ppm // 1_000_000)

    @property
    def hidden(self) -> bool:
        return self.command.order_type == HIDDEN

    @property
    def may_trade(self) -> int:
        return min(self.slice, self.leaves) if self.command.order_type == ICEBERG else self.leaves

    def has(self, flag: int) -> bool:
        return bool(self.command.flags & flag)


@dataclass
class Change:
    """A cancel or an amendment on its way to a venue."""

    due_ns: int
    seq: int
    order: Order
    cancel_reason: int = 0
    """0: an amendment."""
    price: int = 0
    qty: int = 0


@dataclass
class Level:
    price: int
    qty: int
    consumed: int = 0


@dataclass
class Mirror:
    live: bool = False
    shown: dict[int, list[Level]] = field(default_factory=lambda: {BUY: [], SELL: []})
    beyond: dict[int, dict[int, int]] = field(default_factory=lambda: {BUY: {}, SELL: {}})
    """Lots consumed at prices worse than all that is shown."""
    incoming: dict[int, list[Level]] | None = None
    incoming_live: bool = False
    broken: bool = False


@dataclass
class Position:
    units: int = 0
    """Of the base asset, signed."""
    cost: int = 0
    realized_pnl: int = 0

    def lots(self, base_per_lot: int) -> int:
        return toward_zero(self.units, base_per_lot)


def crosses(side: int, limit: int, opposite: int) -> bool:
    return opposite <= limit if side == BUY else opposite >= limit


def better(side: int, price: int, than: int) -> bool:
    """On a book side: a higher bid, a lower ask."""
    return price > than if side == BUY else price < than


def toward_zero(numerator: int, divisor: int) -> int:
    quotient = abs(numerator) // divisor
    return quotient if numerator >= 0 else -quotient
