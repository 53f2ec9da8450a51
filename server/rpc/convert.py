"""Between the server's integers and the contract's messages: exact decimal text, UTC times, no floats."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fastpath.model.enums import RejectReason, TrailingUnit
from server.access.tokens import Token
from server.base.instruments import MAX_AMOUNT, MAX_LOTS, Account, Instrument, format_decimal
from server.market import model
from server.market.history import Candle
from server.process.lifecycle import ServiceStatus
from server.records.events import BalanceView, FillView, LedgerEntryView, OrderView, PositionView
from tradewind.v1 import accounts_pb2, market_data_pb2, orders_pb2, system_pb2

_NS = 1_000_000_000
_TICKS, _BPS = int(TrailingUnit.TRAILING_UNIT_TICKS), int(TrailingUnit.TRAILING_UNIT_BPS)
_AMOUNT_OVERFLOW = int(RejectReason.REJECT_REASON_AMOUNT_OVERFLOW)
_AVERAGE_GRID = Decimal(1).scaleb(-18)
_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)


def timestamp(ns: int) -> Timestamp:
    return Timestamp(seconds=ns // _NS, nanos=ns % _NS)


def _wire(number: int) -> Any:
    """A value of an enumeration: the same number inside and on the wire, where the stubs want their own type."""
    return number


def average_price(cost: int, instrument: Instrument, quantity: Decimal) -> str:
    """Quote money per unit of base currency, rounded half even to 18 decimals. `quantity` must not be 0."""
    money = _WIDE.multiply(Decimal(cost), instrument.money_unit)
    return format_decimal(_WIDE.quantize(_WIDE.divide(money, quantity), _AVERAGE_GRID))


# -- orders and accounts -------------------------------------------------------------------------------------


def order(view: OrderView) -> orders_pb2.Order:
    instrument = view.instrument
    return orders_pb2.Order(
        order_id=str(view.order_id),
        client_order_id=view.client_order_id,
        account=view.account,
        instrument=instrument.name,
        side=_wire(view.side),
        type=_wire(view.order_type),
        time_in_force=_wire(view.time_in_force),
        price=instrument.price_text(view.price) if view.price else None,
        qty=instrument.qty_text(view.qty),
        cum_qty=instrument.qty_text(view.cum_qty),
        leaves_qty=instrument.qty_text(view.leaves_qty),
        avg_price=_average_of(view) if view.cum_qty else None,
        cum_notional=instrument.money_text(view.cum_notional),
        cum_fee=instrument.money_text(view.cum_fee),
        status=_wire(view.status),
        reject_reason=_wire(view.reject_reason),
        reject_message=_refusal_text(view),
        cancel_reason=_wire(view.cancel_reason),
        post_only=view.post_only,
        create_time=timestamp(view.create_ns) if view.create_ns else None,
        update_time=timestamp(view.update_ns),
        trigger_price=instrument.price_text(view.trigger_price) if view.trigger_price else None,
        waiting=view.waiting,
        display_qty=instrument.qty_text(view.display_qty) if view.display_qty else None,
        expire_time=timestamp(view.expire_ns) if view.expire_ns else None,
        reduce_only=view.reduce_only,
        list_id=str(view.list_id) if view.list_id else "",
        trigger_source=_wire(view.trigger_source),
        trailing_offset=instrument.price_text(view.trailing_offset) if view.trailing_unit == _TICKS else None,
        trailing_offset_bps=view.trailing_offset if view.trailing_unit == _BPS else None,
        change_pending=view.change_pending,
    )


def _average_of(view: OrderView) -> str:
    quantity = _WIDE.multiply(Decimal(view.cum_qty), view.instrument.lot_size)
    return average_price(view.cum_notional, view.instrument, quantity)


def _refusal_text(view: OrderView) -> str:
    """Text of a rejection; with amount and limit where the reason is an amount."""
    message = REJECT_MESSAGES[view.reject_reason]
    if view.reject_reason != _AMOUNT_OVERFLOW:
        return message
    known = view.instrument
    at = f" at {known.price_text(view.price)} {known.quote}" if view.price else ""
    most = format_decimal(min(MAX_LOTS * known.lot_size, MAX_AMOUNT).to_integral_value(ROUND_DOWN))
    return (
        f"{message}: {known.qty_text(view.qty)} {known.base}{at}; an order, and what its account holds then, is at most"
        f" {most} {known.base} and {format_decimal(MAX_AMOUNT)} {known.quote}"
    )


_REFUSALS = {
    "REJECT_REASON_LINKED_PRICE": "at this price it would trade at once, or with another order of its list:"
    " a take-profit lies beyond the entry and the market, a stop-loss on the other side",
}
"""Those that their names do not explain."""


def _reject_message(name: str) -> str:
    words = name.removeprefix("REJECT_REASON_").replace("_", " ").lower()
    return "refused: " + _REFUSALS.get(name, words)


REJECT_MESSAGES = ("", *map(_reject_message, orders_pb2.RejectReason.keys()[1:]))
"""By RejectReason, whose numbers are contiguous: a refusal for people."""


def fill(view: FillView) -> orders_pb2.Fill:
    return orders_pb2.Fill(
        trade_id=str(view.trade_id),
        order_id=str(view.order_id),
        client_order_id=view.client_order_id,
        account=view.account,
        instrument=view.instrument.name,
        side=_wire(view.side),
        price=view.instrument.price_text(view.price),
        qty=view.instrument.qty_text(view.qty),
        liquidity=_wire(view.liquidity),
        fee=view.instrument.money_text(view.fee),
        fee_asset=view.instrument.quote,
        time=timestamp(view.time_ns),
    )


def account(known: Account) -> accounts_pb2.Account:
    return accounts_pb2.Account(name=known.name, mode=_wire(known.mode), create_time=timestamp(known.create_ns))


def balance(view: BalanceView) -> accounts_pb2.Balance:
    text = view.asset.text
    return accounts_pb2.Balance(
        account=view.account,
        asset=view.asset.name,
        total=text(view.total),
        reserved=text(view.reserved),
        free=text(view.free),
    )


def ledger_entry(view: LedgerEntryView) -> accounts_pb2.LedgerEntry:
    return accounts_pb2.LedgerEntry(
        entry_id=str(view.event_seq),
        account=view.account,
        asset=view.asset.name,
        amount=view.asset.text(view.amount),
        total=view.asset.text(view.total),
        time=timestamp(view.time_ns),
    )


def position(view: PositionView) -> accounts_pb2.Position:
    instrument = view.instrument
    return accounts_pb2.Position(
        account=view.account,
        instrument=instrument.name,
        qty=format_decimal(view.quantity),
        avg_price=average_price(view.cost, instrument, view.quantity) if view.quantity else None,
        cost=instrument.money_text(view.cost),
        realized_pnl=instrument.money_text(view.realized_pnl),
    )


# -- market data ---------------------------------------------------------------------------------------------


def instrument(known: Instrument, trading_status: int) -> market_data_pb2.Instrument:
    return market_data_pb2.Instrument(
        name=known.name,
        venue=known.venue,
        symbol=known.symbol,
        kind=_wire(known.kind),
        base_asset=known.base,
        quote_asset=known.quote,
        tick_size=format_decimal(known.tick_size),
        lot_size=format_decimal(known.lot_size),
        min_qty=known.qty_text(known.min_qty),
        max_qty=known.qty_text(known.max_qty),
        min_notional=format_decimal(known.min_notional),
        maker_fee_bps=format_decimal(known.maker_fee_bps),
        taker_fee_bps=format_decimal(known.taker_fee_bps),
        tradable=known.tradable,
        trading_status=_wire(trading_status),
        contract_size=format_decimal(known.contract_size),
    )


def quote(known: model.Quote, now_ns: int) -> market_data_pb2.Quote:
    instrument = known.instrument
    return market_data_pb2.Quote(
        instrument=instrument.name,
        bid_price=instrument.price_text(known.bid_price) if known.bid_qty else None,
        bid_qty=instrument.data_qty_text(known.bid_qty) if known.bid_qty else None,
        ask_price=instrument.price_text(known.ask_price) if known.ask_qty else None,
        ask_qty=instrument.data_qty_text(known.ask_qty) if known.ask_qty else None,
        venue_time=_optional_time(known.venue_time_ns),
        receive_time=timestamp(known.receive_time_ns),
        publish_time=timestamp(now_ns),
    )


def trade(known: model.Trade, now_ns: int) -> market_data_pb2.Trade:
    return market_data_pb2.Trade(
        instrument=known.instrument.name,
        trade_id=known.trade_id,
        price=known.instrument.price_text(known.price),
        qty=known.instrument.data_qty_text(known.qty),
        aggressor_side=_wire(known.aggressor_side),
        venue_time=_optional_time(known.venue_time_ns),
        receive_time=timestamp(known.receive_time_ns),
        publish_time=timestamp(now_ns),
    )


def candle(known: Candle) -> market_data_pb2.Candle:
    return market_data_pb2.Candle(
        open_time=timestamp(known.open_ns),
        open=format_decimal(known.open),
        high=format_decimal(known.high),
        low=format_decimal(known.low),
        close=format_decimal(known.close),
        qty=format_decimal(known.qty),
        buy_qty=format_decimal(known.buy_qty),
        trade_count=known.trades,
    )


def book(known: model.BookUpdate, now_ns: int) -> market_data_pb2.Book:
    return market_data_pb2.Book(
        instrument=known.instrument.name,
        bids=_levels(known.instrument, known.bids),
        asks=_levels(known.instrument, known.asks),
        state=_wire(known.state),
        venue_sequence=known.venue_sequence,
        venue_time=_optional_time(known.venue_time_ns),
        receive_time=timestamp(known.receive_time_ns),
        publish_time=timestamp(now_ns),
    )


def _levels(instrument: Instrument, levels: tuple[model.Level, ...]) -> list[market_data_pb2.BookLevel]:
    price, qty = instrument.price_text, instrument.data_qty_text
    return [market_data_pb2.BookLevel(price=price(level[0]), qty=qty(level[1])) for level in levels]


def _optional_time(ns: int | None) -> Timestamp | None:
    return None if ns is None else timestamp(ns)


# -- system --------------------------------------------------------------------------------------------------


def service_status(status: ServiceStatus) -> system_pb2.ServiceStatus:
    return system_pb2.ServiceStatus(
        name=status.name, state=_wire(status.state), detail=status.detail, since=timestamp(status.since_ns)
    )


def token(known: Token) -> system_pb2.Token:
    return system_pb2.Token(
        token_id=known.token_id,
        description=known.description,
        scopes=map(_wire, known.scopes),
        accounts=sorted(known.accounts or ()),
        expire_time=_optional_time(known.expire_ns),
        create_time=timestamp(known.create_ns),
    )
