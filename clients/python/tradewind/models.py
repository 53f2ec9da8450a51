"""Plain value types of the SDK. Prices, quantities and money are `Decimal`, times are UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Side(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    LIMIT = "LIMIT"
    MARKET = "MARKET"
    MARKET_TO_LIMIT = "MARKET_TO_LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"
    TRAILING_STOP = "TRAILING_STOP"
    TRAILING_STOP_LIMIT = "TRAILING_STOP_LIMIT"
    ICEBERG = "ICEBERG"
    HIDDEN = "HIDDEN"


class TimeInForce(StrEnum):
    """How long an order stays: GTC until canceled, IOC what is possible now, FOK all now or nothing, GTD until a time,
    DAY until the end of the UTC day."""

    UNSPECIFIED = "UNSPECIFIED"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"
    DAY = "DAY"


class TriggerSource(StrEnum):
    """Which price fires a trigger: the last trade, the opposite best price, the middle of bid and ask, the mark or the
    index price (see `set_reference_prices`; an order on one that is not set is refused)."""

    UNSPECIFIED = "UNSPECIFIED"
    LAST = "LAST"
    BID_ASK = "BID_ASK"
    MID = "MID"
    MARK = "MARK"
    INDEX = "INDEX"


class OrderListType(StrEnum):
    """OCO: one cancels the others. OTO: the first lets the others in. BRACKET: entry, take-profit, stop-loss."""

    UNSPECIFIED = "UNSPECIFIED"
    OCO = "OCO"
    OTO = "OTO"
    BRACKET = "BRACKET"


class SelfTradePrevention(StrEnum):
    """What to cancel when two orders of the same owner would trade."""

    UNSPECIFIED = "UNSPECIFIED"
    NONE = "NONE"
    CANCEL_NEWEST = "CANCEL_NEWEST"
    CANCEL_OLDEST = "CANCEL_OLDEST"
    CANCEL_BOTH = "CANCEL_BOTH"
    DECREMENT_AND_CANCEL = "DECREMENT_AND_CANCEL"


class OrderStatus(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    PENDING_NEW = "PENDING_NEW"
    PENDING_CANCEL = "PENDING_CANCEL"
    PENDING_REPLACE = "PENDING_REPLACE"
    PENDING_UNKNOWN = "PENDING_UNKNOWN"


CLOSED_STATUSES = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.EXPIRED})
"""Statuses an order never leaves."""


class Liquidity(StrEnum):
    """MAKER: the order was resting. TAKER: the incoming order."""

    UNSPECIFIED = "UNSPECIFIED"
    MAKER = "MAKER"
    TAKER = "TAKER"


class InstrumentKind(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    SPOT = "SPOT"
    PERPETUAL = "PERPETUAL"
    FUTURE = "FUTURE"
    OPTION = "OPTION"


class TradingStatus(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    OPEN = "OPEN"
    HALTED = "HALTED"
    CANCEL_ONLY = "CANCEL_ONLY"
    REDUCE_ONLY = "REDUCE_ONLY"


class FeedState(StrEnum):
    """How far a book can be trusted. Only LIVE is a price."""

    UNSPECIFIED = "UNSPECIFIED"
    SYNCING = "SYNCING"
    LIVE = "LIVE"
    GAP = "GAP"
    STALE = "STALE"


class AccountMode(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    LIVE = "LIVE"
    PAPER = "PAPER"
    SIMULATION = "SIMULATION"


class ServiceState(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    STARTING = "STARTING"
    SERVING = "SERVING"
    DEGRADED = "DEGRADED"
    NOT_SERVING = "NOT_SERVING"


class Scope(StrEnum):
    """What a token allows: TRADE and RISK_ADMIN include READ, ADMIN is everything."""

    UNSPECIFIED = "UNSPECIFIED"
    READ = "READ"
    TRADE = "TRADE"
    RISK_ADMIN = "RISK_ADMIN"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What can be traded or watched. Prices are multiples of `tick_size`, quantities of `lot_size`."""

    name: str
    venue: str
    symbol: str
    kind: InstrumentKind
    base_asset: str
    quote_asset: str
    tick_size: Decimal
    lot_size: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal
    maker_fee_bps: Decimal
    taker_fee_bps: Decimal
    contract_size: Decimal
    tradable: bool
    trading_status: TradingStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketData:
    """What quotes, trades and books share. Times as integers of ns since the epoch, exact, and as `datetime` (to 1 us).

    `venue_time_ns` is None where the venue sends none; `receive_time_ns` and `publish_time_ns` are the server's clock.
    """

    instrument: str
    venue_time_ns: int | None
    receive_time_ns: int
    publish_time_ns: int

    @property
    def venue_time(self) -> datetime | None:
        return None if self.venue_time_ns is None else utc(self.venue_time_ns)

    @property
    def receive_time(self) -> datetime:
        return utc(self.receive_time_ns)

    @property
    def publish_time(self) -> datetime:
        return utc(self.publish_time_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote(MarketData):
    """Best bid and ask. An empty side is None."""

    bid_price: Decimal | None
    bid_qty: Decimal | None
    ask_price: Decimal | None
    ask_qty: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade(MarketData):
    """One public trade; `aggressor_side` is the taker's."""

    trade_id: str
    price: Decimal
    qty: Decimal
    aggressor_side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """Trades of an interval, aggregated; `buy_qty` is the quantity of taker buys."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    qty: Decimal
    buy_qty: Decimal
    trade_count: int


@dataclass(frozen=True, slots=True)
class Level:
    """One price of a book and the total quantity there."""

    price: Decimal
    qty: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Book(MarketData):
    """A book at one moment, best prices first. It never changes: the next update is the next Book."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    state: FeedState
    venue_sequence: int

    @property
    def mid(self) -> Decimal | None:
        """Half way between the best prices; None while a side is empty."""
        return (self.bids[0].price + self.asks[0].price) / 2 if self.bids and self.asks else None

    @property
    def spread(self) -> Decimal | None:
        """Best ask minus best bid; None while a side is empty."""
        return self.asks[0].price - self.bids[0].price if self.bids and self.asks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as it stands. A REJECTED one says why in `reject_reason` (a stable name) and `reject_message`."""

    order_id: str
    client_order_id: str
    account: str
    instrument: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price: Decimal | None
    qty: Decimal
    cum_qty: Decimal
    leaves_qty: Decimal
    avg_price: Decimal | None
    cum_notional: Decimal
    cum_fee: Decimal
    status: OrderStatus
    reject_reason: str | None
    reject_message: str
    cancel_reason: str | None
    post_only: bool
    reduce_only: bool
    trigger_price: Decimal | None
    waiting: bool
    """For its trigger, its list or fills of the first order of it; or it is on its way to a venue."""
    change_pending: bool
    """A cancel or an amendment is on its way to its venue."""
    trigger_source: TriggerSource | None
    """Of conditional orders."""
    trailing_offset: Decimal | None
    """Of trailing orders: in price; or `trailing_offset_bps`."""
    trailing_offset_bps: int | None
    display_qty: Decimal | None
    expire_time: datetime | None
    list_id: str | None
    create_time: datetime | None
    """None for an order so old that the server no longer knows."""
    update_time: datetime
    replayed: bool = False
    """In the answer of `place_order`: this client_order_id had been placed before, nothing new happened."""

    @property
    def is_open(self) -> bool:
        """Whether the order is not final: it may still trade."""
        return self.status not in CLOSED_STATUSES


@dataclass(frozen=True, slots=True)
class OrderList:
    """Orders that belong together, as they stand. `replayed`: they had been placed before, nothing new happened."""

    list_id: str
    orders: tuple[Order, ...]
    replayed: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether one of them was refused: then those before it were canceled, those after it refused too."""
        return any(order.status is OrderStatus.REJECTED for order in self.orders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution of one order. A negative fee is a rebate."""

    trade_id: str
    order_id: str
    client_order_id: str
    account: str
    instrument: str
    side: Side
    price: Decimal
    qty: Decimal
    liquidity: Liquidity
    fee: Decimal
    fee_asset: str
    time: datetime


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """An order that changed, and the fill if that was it. `is_snapshot`: not a change but the state to start from."""

    order: Order
    fill: Fill | None = None
    is_snapshot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    name: str
    mode: AccountMode
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Balance of one asset: `total` = `reserved` for open orders + `free`."""

    account: str
    asset: str
    total: Decimal
    reserved: Decimal
    free: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One change of a balance: `amount` is signed, `total` the balance after it."""

    entry_id: str
    account: str
    asset: str
    amount: Decimal
    total: Decimal
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Position of an account in an instrument: positive `qty` is long. `avg_price` is None when flat."""

    account: str
    instrument: str
    qty: Decimal
    avg_price: Decimal | None
    cost: Decimal
    realized_pnl: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Static facts about a server."""

    version: str
    start_time: datetime
    epoch: str
    market_data: str
    command_sequence: int
    state_hash: str
    """Of the trading state as of the newest snapshot; equal states have equal hashes. Empty: there is none yet."""
    state_hash_sequence: int
    """Of the command that hash belongs to, 0 without one."""
    server_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """State of one part of the server (a service, or `feed/<venue>`)."""

    name: str
    state: ServiceState
    detail: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockAgreement:
    """Result of `accept_clock`."""

    difference: timedelta
    """By how much it was ahead of the server's time; negative: behind."""
    server_time: datetime
    agree_time: datetime
    """The server's time at which both agree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without its secret. No `accounts` means all; no `expire_time` means for ever."""

    token_id: str
    description: str
    scopes: tuple[Scope, ...]
    accounts: tuple[str, ...]
    expire_time: datetime | None
    create_time: datetime


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token and its secret, which is shown only this once."""

    token: Token
    secret: str

    def __repr__(self) -> str:  # a secret does not belong in a log
        return f"NewToken(token={self.token!r}, secret='...')"


def utc(time_ns: int) -> datetime:
    """Nanoseconds since the epoch as a UTC time (to 1 us, rounded down)."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)
