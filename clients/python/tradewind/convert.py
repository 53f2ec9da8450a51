"""Wire messages to plain values, and plain arguments to wire text. No floats on either way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from tradewind import models
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2, system_pb2

Number = Decimal | int | str
"""A price, quantity or amount of money as an argument. Floats are refused: 0.1 is not a tenth."""

E = TypeVar("E", bound=StrEnum)


class _WireEnum(Protocol):
    """The part of a generated enumeration type that is used here."""

    def Name(self, number: int) -> str: ...
    def items(self) -> Iterable[tuple[str, int]]: ...


def decimal_text(name: str, value: Number) -> str:
    """The exact wire text of a number. Raises TypeError for a float, ValueError for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"{name}: give a Decimal, int or str, not {type(value).__name__} (floats are not exact)")
    try:
        number = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{name}: {value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{name}: {value!r} is not a finite number")
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) if number else "0"


class Names(Generic[E]):
    """One enumeration on both sides: `Side.SELL` here, `SIDE_SELL` and a number on the wire."""

    def __init__(self, kind: type[E], wire: _WireEnum) -> None:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper() + "_"
        short = {name.removeprefix(prefix): number for name, number in wire.items()}
        self._kind = kind
        self._members = {short[name]: member for name, member in kind.__members__.items() if name in short}
        self._numbers = {member: number for number, member in self._members.items()}

    def member(self, number: int) -> E:
        """The member for a wire number; UNSPECIFIED for one that a newer server knows and this SDK does not."""
        return self._members.get(number) or self._kind("UNSPECIFIED")

    def number(self, value: E | str) -> Any:
        """The wire number (an int) of a member, given as itself or by name. Raises ValueError for an unknown name."""
        try:
            return self._numbers[self._kind(value.upper())]
        except ValueError:
            known = ", ".join(name for name in self._kind if name != "UNSPECIFIED")
            raise ValueError(f"{self._kind.__name__}: {value!r} is none of {known}") from None


SIDE = Names(models.Side, common_pb2.Side)
LIQUIDITY = Names(models.Liquidity, common_pb2.Liquidity)
ORDER_TYPE = Names(models.OrderType, orders_pb2.OrderType)
ORDER_STATUS = Names(models.OrderStatus, orders_pb2.OrderStatus)
TIME_IN_FORCE = Names(models.TimeInForce, orders_pb2.TimeInForce)
ORDER_LIST_TYPE = Names(models.OrderListType, orders_pb2.OrderListType)
TRIGGER_SOURCE = Names(models.TriggerSource, orders_pb2.TriggerSource)
SELF_TRADE_PREVENTION = Names(models.SelfTradePrevention, orders_pb2.SelfTradePrevention)
INSTRUMENT_KIND = Names(models.InstrumentKind, market_data_pb2.InstrumentKind)
TRADING_STATUS = Names(models.TradingStatus, common_pb2.TradingStatus)
FEED_STATE = Names(models.FeedState, market_data_pb2.FeedState)
ACCOUNT_MODE = Names(models.AccountMode, accounts_pb2.AccountMode)
SERVICE_STATE = Names(models.ServiceState, system_pb2.ServiceState)
SCOPE = Names(models.Scope, system_pb2.Scope)


def _reason(wire: _WireEnum, prefix: str, number: int) -> str | None:
    """The name of a reason without its prefix; None for none. A number unknown here is given as it is."""
    if number == 0:
        return None
    try:
        return wire.Name(number).removeprefix(prefix)
    except ValueError:
        return str(number)


def _decimal_or_none(message: object, field: str) -> Decimal | None:
    return Decimal(getattr(message, field)) if message.HasField(field) else None  # type: ignore[attr-defined]


def _ns(time: Timestamp) -> int:
    return time.seconds * 1_000_000_000 + time.nanos


def utc(time: Timestamp) -> datetime:
    return models.utc(_ns(time))


def timestamp(time: datetime) -> Timestamp:
    """A time with a zone as a wire time. Raises ValueError for one without."""
    if time.tzinfo is None:
        raise ValueError("give a time with a time zone, such as datetime.now(UTC)")
    wire = Timestamp()
    wire.FromDatetime(time)
    return wire


# --- market data ----------------------------------------------------------------------------------------------------


def instrument(wire: market_data_pb2.Instrument) -> models.Instrument:
    return models.Instrument(
        name=wire.name,
        venue=wire.venue,
        symbol=wire.symbol,
        kind=INSTRUMENT_KIND.member(wire.kind),
        base_asset=wire.base_asset,
        quote_asset=wire.quote_asset,
        tick_size=Decimal(wire.tick_size),
        lot_size=Decimal(wire.lot_size),
        min_qty=Decimal(wire.min_qty),
        max_qty=Decimal(wire.max_qty),
        min_notional=Decimal(wire.min_notional),
        maker_fee_bps=Decimal(wire.maker_fee_bps),
        taker_fee_bps=Decimal(wire.taker_fee_bps),
        contract_size=Decimal(wire.contract_size),
        tradable=wire.tradable,
        trading_status=TRADING_STATUS.member(wire.trading_status),
    )


def _venue_time_ns(wire: market_data_pb2.Quote | market_data_pb2.Trade | market_data_pb2.Book) -> int | None:
    return _ns(wire.venue_time) if wire.HasField("venue_time") else None


def quote(wire: market_data_pb2.Quote) -> models.Quote:
    return models.Quote(
        instrument=wire.instrument,
        venue_time_ns=_venue_time_ns(wire),
        receive_time_ns=_ns(wire.receive_time),
        publish_time_ns=_ns(wire.publish_time),
        bid_price=_decimal_or_none(wire, "bid_price"),
        bid_qty=_decimal_or_none(wire, "bid_qty"),
        ask_price=_decimal_or_none(wire, "ask_price"),
        ask_qty=_decimal_or_none(wire, "ask_qty"),
    )


def trade(wire: market_data_pb2.Trade) -> models.Trade:
    return models.Trade(
        instrument=wire.instrument,
        venue_time_ns=_venue_time_ns(wire),
        receive_time_ns=_ns(wire.receive_time),
        publish_time_ns=_ns(wire.publish_time),
        trade_id=wire.trade_id,
        price=Decimal(wire.price),
        qty=Decimal(wire.qty),
        aggressor_side=SIDE.member(wire.aggressor_side),
    )


def candle(wire: market_data_pb2.Candle) -> models.Candle:
    return models.Candle(
        open_time=utc(wire.open_time),
        open=Decimal(wire.open),
        high=Decimal(wire.high),
        low=Decimal(wire.low),
        close=Decimal(wire.close),
        qty=Decimal(wire.qty),
        buy_qty=Decimal(wire.buy_qty),
        trade_count=wire.trade_count,
    )


def ledger_entry(wire: accounts_pb2.LedgerEntry) -> models.LedgerEntry:
    return models.LedgerEntry(
        entry_id=wire.entry_id,
        account=wire.account,
        asset=wire.asset,
        amount=Decimal(wire.amount),
        total=Decimal(wire.total),
        time=utc(wire.time),
    )


def levels(wire: Iterable[market_data_pb2.BookLevel]) -> tuple[models.Level, ...]:
    return tuple(models.Level(Decimal(level.price), Decimal(level.qty)) for level in wire)


def book(
    wire: market_data_pb2.Book,
    bids: tuple[models.Level, ...] | None = None,
    asks: tuple[models.Level, ...] | None = None,
) -> models.Book:
    """A book; with `bids` and `asks` in place of the message's own levels, which may be only what changed."""
    return models.Book(
        instrument=wire.instrument,
        venue_time_ns=_venue_time_ns(wire),
        receive_time_ns=_ns(wire.receive_time),
        publish_time_ns=_ns(wire.publish_time),
        bids=levels(wire.bids) if bids is None else bids,
        asks=levels(wire.asks) if asks is None else asks,
        state=FEED_STATE.member(wire.state),
        venue_sequence=wire.venue_sequence,
    )


# --- orders and accounts --------------------------------------------------------------------------------------------


def order(wire: orders_pb2.Order, *, replayed: bool = False) -> models.Order:
    return models.Order(
        order_id=wire.order_id,
        client_order_id=wire.client_order_id,
        account=wire.account,
        instrument=wire.instrument,
        side=SIDE.member(wire.side),
        type=ORDER_TYPE.member(wire.type),
        time_in_force=TIME_IN_FORCE.member(wire.time_in_force),
        price=_decimal_or_none(wire, "price"),
        qty=Decimal(wire.qty),
        cum_qty=Decimal(wire.cum_qty),
        leaves_qty=Decimal(wire.leaves_qty),
        avg_price=_decimal_or_none(wire, "avg_price"),
        cum_notional=Decimal(wire.cum_notional),
        cum_fee=Decimal(wire.cum_fee),
        status=ORDER_STATUS.member(wire.status),
        reject_reason=_reason(orders_pb2.RejectReason, "REJECT_REASON_", wire.reject_reason),
        reject_message=wire.reject_message,
        cancel_reason=_reason(orders_pb2.CancelReason, "CANCEL_REASON_", wire.cancel_reason),
        post_only=wire.post_only,
        reduce_only=wire.reduce_only,
        trigger_price=_decimal_or_none(wire, "trigger_price"),
        waiting=wire.waiting,
        change_pending=wire.change_pending,
        trigger_source=TRIGGER_SOURCE.member(wire.trigger_source) if wire.trigger_source else None,
        trailing_offset=_decimal_or_none(wire, "trailing_offset"),
        trailing_offset_bps=wire.trailing_offset_bps if wire.HasField("trailing_offset_bps") else None,
        display_qty=_decimal_or_none(wire, "display_qty"),
        expire_time=utc(wire.expire_time) if wire.HasField("expire_time") else None,
        list_id=wire.list_id or None,
        create_time=utc(wire.create_time) if wire.HasField("create_time") else None,
        update_time=utc(wire.update_time),
        replayed=replayed,
    )


def fill(wire: orders_pb2.Fill) -> models.Fill:
    return models.Fill(
        trade_id=wire.trade_id,
        order_id=wire.order_id,
        client_order_id=wire.client_order_id,
        account=wire.account,
        instrument=wire.instrument,
        side=SIDE.member(wire.side),
        price=Decimal(wire.price),
        qty=Decimal(wire.qty),
        liquidity=LIQUIDITY.member(wire.liquidity),
        fee=Decimal(wire.fee),
        fee_asset=wire.fee_asset,
        time=utc(wire.time),
    )


def account(wire: accounts_pb2.Account) -> models.Account:
    return models.Account(
        name=wire.name,
        mode=ACCOUNT_MODE.member(wire.mode),
        create_time=utc(wire.create_time),
    )


def balance(wire: accounts_pb2.Balance) -> models.Balance:
    return models.Balance(
        account=wire.account,
        asset=wire.asset,
        total=Decimal(wire.total),
        reserved=Decimal(wire.reserved),
        free=Decimal(wire.free),
    )


def position(wire: accounts_pb2.Position) -> models.Position:
    return models.Position(
        account=wire.account,
        instrument=wire.instrument,
        qty=Decimal(wire.qty),
        avg_price=_decimal_or_none(wire, "avg_price"),
        cost=Decimal(wire.cost),
        realized_pnl=Decimal(wire.realized_pnl),
    )


# --- the server -----------------------------------------------------------------------------------------------------


def server_info(wire: system_pb2.GetInfoResponse) -> models.ServerInfo:
    return models.ServerInfo(
        version=wire.version,
        start_time=utc(wire.start_time),
        epoch=wire.epoch,
        market_data=wire.market_data,
        command_sequence=wire.command_sequence,
        state_hash=wire.state_hash,
        state_hash_sequence=wire.state_hash_sequence,
        server_time=utc(wire.server_time),
    )


def service_status(wire: system_pb2.ServiceStatus) -> models.ServiceStatus:
    return models.ServiceStatus(
        name=wire.name,
        state=SERVICE_STATE.member(wire.state),
        detail=wire.detail,
        since=utc(wire.since),
    )


def clock_agreement(wire: system_pb2.AcceptClockResponse) -> models.ClockAgreement:
    return models.ClockAgreement(
        difference=wire.difference.ToTimedelta(),
        server_time=utc(wire.server_time),
        agree_time=utc(wire.agree_time),
    )


def token(wire: system_pb2.Token) -> models.Token:
    return models.Token(
        token_id=wire.token_id,
        description=wire.description,
        scopes=tuple(SCOPE.member(scope) for scope in wire.scopes),
        accounts=tuple(wire.accounts),
        expire_time=utc(wire.expire_time) if wire.HasField("expire_time") else None,
        create_time=utc(wire.create_time),
    )
