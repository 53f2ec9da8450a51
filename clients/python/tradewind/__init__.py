"""Tradewind, a self-hosted trading backend, from Python.

    from tradewind import Client

    with Client(account="demo") as client:
        print(client.get_quote("binance:BTC/USDT"))
        print(client.place_order("binance:BTC/USDT", "BUY", "0.01"))

`AsyncClient` is the same with `await` and `async for`. Numbers are `Decimal`, times UTC, errors typed.
"""

from tradewind import errors
from tradewind._async.client import AsyncClient
from tradewind._async.order_stream import AsyncOrderStream
from tradewind._async.watch import AsyncWatch
from tradewind._sync.client import Client
from tradewind._sync.order_stream import OrderStream
from tradewind._sync.watch import Watch
from tradewind.errors import TradewindError
from tradewind.models import (
    Account,
    AccountMode,
    Balance,
    Book,
    Candle,
    ClockAgreement,
    FeedState,
    Fill,
    Instrument,
    InstrumentKind,
    LedgerEntry,
    Level,
    Liquidity,
    NewToken,
    Order,
    OrderList,
    OrderListType,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Position,
    Quote,
    Scope,
    SelfTradePrevention,
    ServerInfo,
    ServiceState,
    ServiceStatus,
    Side,
    TimeInForce,
    Token,
    Trade,
    TradingStatus,
    TriggerSource,
)
from tradewind.orders import AmendRequest, CancelRequest, OrderRequest
from tradewind.risk import (
    Exposure,
    ExposureTotal,
    Flattened,
    KillSwitchResult,
    PositionExposure,
    PriceSource,
    Unpriced,
)

__all__ = [
    "Account",
    "AccountMode",
    "AmendRequest",
    "AsyncClient",
    "AsyncOrderStream",
    "AsyncWatch",
    "Balance",
    "Book",
    "CancelRequest",
    "Candle",
    "Client",
    "ClockAgreement",
    "Exposure",
    "ExposureTotal",
    "FeedState",
    "Fill",
    "Flattened",
    "Instrument",
    "InstrumentKind",
    "KillSwitchResult",
    "LedgerEntry",
    "Level",
    "Liquidity",
    "NewToken",
    "Order",
    "OrderList",
    "OrderListType",
    "OrderRequest",
    "OrderStatus",
    "OrderStream",
    "OrderType",
    "OrderUpdate",
    "Position",
    "PositionExposure",
    "PriceSource",
    "Quote",
    "Scope",
    "SelfTradePrevention",
    "ServerInfo",
    "ServiceState",
    "ServiceStatus",
    "Side",
    "TimeInForce",
    "Token",
    "Trade",
    "TradewindError",
    "TradingStatus",
    "TriggerSource",
    "Unpriced",
    "Watch",
    "errors",
]
