"""What each RPC needs: the one table of scopes and accounts. An RPC that is not in it cannot be registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from server.access.tokens import Scope


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may make a call."""

    scope: Scope | None
    """None: anybody, without a token."""
    accounts: Callable[[Any], Iterable[str]] | None = None
    """The accounts a request is about: the token must allow them too."""
    for_all_accounts: bool = False
    """It is about all accounts at once: not for a token that is bound to some."""
    open_on_loopback: bool = False
    """No token is needed if the server can be reached from this machine only."""


def _one(path: str) -> Callable[[Any], Iterable[str]]:
    """The account at a path of the request."""
    account = attrgetter(path)
    return lambda request: (account(request),)


def _of_orders(request: Any) -> Iterable[str]:
    return {order.account for order in request.orders}


_OPEN = Policy(None)
_READ = Policy(Scope.READ)
_READ_ACCOUNT = Policy(Scope.READ, _one("account"))
_TRADE_ACCOUNT = Policy(Scope.TRADE, _one("account"))
_TRADE_ORDERS = Policy(Scope.TRADE, attrgetter("accounts"))
_ADMIN = Policy(Scope.ADMIN)
_ADMIN_OF_ALL = Policy(Scope.ADMIN, for_all_accounts=True)
_ADMIN_ACCOUNT = Policy(Scope.ADMIN, _one("account"))
_RISK_ADMIN = Policy(Scope.RISK_ADMIN, for_all_accounts=True)
_OPERATOR = Policy(Scope.ADMIN, for_all_accounts=True, open_on_loopback=True)
_REFLECTION = Policy(Scope.READ, open_on_loopback=True)

POLICIES: dict[str, Policy] = {
    "/tradewind.v1.SystemService/GetInfo": _READ,
    "/tradewind.v1.SystemService/ListServices": _READ,
    "/tradewind.v1.SystemService/AcceptClock": _ADMIN_OF_ALL,
    "/tradewind.v1.SystemService/CreateToken": _ADMIN,
    "/tradewind.v1.SystemService/ListTokens": _ADMIN,
    "/tradewind.v1.SystemService/RevokeToken": _ADMIN,
    "/tradewind.v1.MarketDataService/ListInstruments": _READ,
    "/tradewind.v1.MarketDataService/GetInstrument": _READ,
    "/tradewind.v1.MarketDataService/DefineInstrument": _ADMIN_OF_ALL,
    "/tradewind.v1.MarketDataService/GetQuote": _READ,
    "/tradewind.v1.MarketDataService/GetBook": _READ,
    "/tradewind.v1.MarketDataService/ListTrades": _READ,
    "/tradewind.v1.MarketDataService/ListCandles": _READ,
    "/tradewind.v1.MarketDataService/SubscribeMarketData": _READ,
    "/tradewind.v1.OrderService/PlaceOrder": _TRADE_ORDERS,
    "/tradewind.v1.OrderService/BatchPlaceOrders": _TRADE_ORDERS,
    "/tradewind.v1.OrderService/PlaceOrderList": Policy(Scope.TRADE, _of_orders),
    "/tradewind.v1.OrderService/AmendOrder": _TRADE_ORDERS,
    "/tradewind.v1.OrderService/CancelOrder": _TRADE_ORDERS,
    "/tradewind.v1.OrderService/CancelOrders": _TRADE_ACCOUNT,
    "/tradewind.v1.OrderService/SetCancelTimer": _TRADE_ACCOUNT,
    "/tradewind.v1.OrderService/StreamOrders": _TRADE_ORDERS,
    "/tradewind.v1.OrderService/SetTradingStatus": _RISK_ADMIN,
    "/tradewind.v1.OrderService/SetReferencePrices": _RISK_ADMIN,
    "/tradewind.v1.OrderService/GetOrder": Policy(Scope.READ, _one("order.account")),
    "/tradewind.v1.OrderService/ListOrders": _READ_ACCOUNT,
    "/tradewind.v1.OrderService/ListFills": _READ_ACCOUNT,
    "/tradewind.v1.OrderService/SubscribeOrders": _READ_ACCOUNT,
    "/tradewind.v1.AccountService/CreateAccount": Policy(Scope.ADMIN, _one("name")),
    "/tradewind.v1.AccountService/ListAccounts": _READ,
    "/tradewind.v1.AccountService/AdjustBalance": _ADMIN_ACCOUNT,
    "/tradewind.v1.AccountService/ListBalances": _READ_ACCOUNT,
    "/tradewind.v1.AccountService/ListPositions": _READ_ACCOUNT,
    "/tradewind.v1.AccountService/ListLedgerEntries": _READ_ACCOUNT,
    "/tradewind.v1.AccountService/SubscribeAccount": _READ_ACCOUNT,
    "/tradewind.v1.RiskService/GetExposure": _READ_ACCOUNT,
    "/tradewind.v1.RiskService/GetValueAtRisk": _READ_ACCOUNT,
    "/tradewind.v1.RiskService/RunStress": _READ_ACCOUNT,
    "/tradewind.v1.RiskService/BacktestVar": _READ_ACCOUNT,
    "/tradewind.v1.RiskService/WhatIf": _READ_ACCOUNT,
    "/tradewind.v1.RiskService/KillSwitch": _RISK_ADMIN,
    "/grpc.health.v1.Health/Check": _OPEN,
    "/grpc.health.v1.Health/List": _OPEN,
    "/grpc.health.v1.Health/Watch": _OPEN,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _REFLECTION,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _REFLECTION,
    "/grpc.channelz.v1.Channelz/GetTopChannels": _OPERATOR,
    "/grpc.channelz.v1.Channelz/GetServers": _OPERATOR,
    "/grpc.channelz.v1.Channelz/GetServer": _OPERATOR,
    "/grpc.channelz.v1.Channelz/GetServerSockets": _OPERATOR,
    "/grpc.channelz.v1.Channelz/GetChannel": _OPERATOR,
    "/grpc.channelz.v1.Channelz/GetSubchannel": _OPERATOR,
    "/grpc.channelz.v1.Channelz/GetSocket": _OPERATOR,
}
