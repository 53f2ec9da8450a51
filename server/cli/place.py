"""`buy` and `sell`, with every order option."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Literal

import typer

from server.cli.render import fail
from server.cli.session import (
    DEFAULT_ACCOUNT,
    AccountOption,
    InstrumentArgument,
    JsonFlag,
    session_of,
)
from server.cli.times import check_moment, parse_future_time
from server.cli.trade import NOT_ALL_FILLED, show_order, tell_what_was_canceled
from tradewind import Order, OrderRequest, OrderStatus, OrderType, Side, TimeInForce
from tradewind.connection import new_id

QtyArgument = Annotated[
    str | None,
    typer.Argument(metavar="QTY", help="Quantity, a multiple of the instrument's lot size.", show_default=False),
]
PriceOption = Annotated[str | None, typer.Option("--price", "-p", help="Limit price, a multiple of the tick size.")]
MarketFlag = Annotated[bool, typer.Option("--market", help="Take the best prices now, instead of --price.")]
ToLimitFlag = Annotated[bool, typer.Option("--to-limit", help="With --market: what is left rests at the last price.")]
ProtectOption = Annotated[str | None, typer.Option("--protect", help="Market orders: no fill worse than this price.")]
QuoteQtyOption = Annotated[
    str | None, typer.Option("--quote-qty", help="With --market: money to spend (or raise) instead of QTY.")
]
StopOption = Annotated[
    str | None, typer.Option("--stop", help="Wait for this price on the losing side; then --price, or market.")
]
TakeProfitOption = Annotated[
    str | None, typer.Option("--take-profit", help="Wait for this price on the winning side; then --price, or market.")
]
TrailOption = Annotated[str | None, typer.Option("--trail", help="Stop that follows the best price at this distance.")]
TrailBpsOption = Annotated[int | None, typer.Option("--trail-bps", help="The same, in hundredths of a percent.")]
ActivateOption = Annotated[
    str | None, typer.Option("--activate", help="With --trail, --trail-bps: follow only from this price on.")
]
LimitOffsetOption = Annotated[
    str | None, typer.Option("--limit-offset", help="With --trail, --trail-bps: limit this far beyond the trigger.")
]
TriggerOption = Annotated[
    Literal["LAST", "BID_ASK", "MID", "MARK", "INDEX"] | None,
    typer.Option("--trigger", case_sensitive=False, help="Price that fires --stop, --take-profit, --trail."),
]
IcebergOption = Annotated[str | None, typer.Option("--iceberg", help="Show only this quantity at a time.")]
HiddenFlag = Annotated[bool, typer.Option("--hidden", help="Do not show the order in the book.")]
TifOption = Annotated[
    Literal["GTC", "IOC", "FOK"] | None,
    typer.Option("--tif", case_sensitive=False, help="GTC until canceled, IOC now, FOK all or nothing."),
]
GtdOption = Annotated[
    str | None,
    typer.Option("--gtd", metavar="TIME", help="Good till then: in 30m, 1h, 2d, or 2026-12-31T23:00 (UTC, or Z, +01:00)."),
]
DayFlag = Annotated[bool, typer.Option("--day", help="Good till the end of the day, UTC.")]
PostOnlyFlag = Annotated[bool, typer.Option("--post-only", help="Refuse rather than take liquidity.")]
SlideFlag = Annotated[bool, typer.Option("--slide", help="Post-only; rests one tick away instead of being refused.")]
ReduceOnlyFlag = Annotated[bool, typer.Option("--reduce-only", help="Only reduce the position.")]
CloseFlag = Annotated[bool, typer.Option("--close", help="The whole position; no QTY.")]
MinQtyOption = Annotated[str | None, typer.Option("--min-qty", help="Trade at least this at once, or nothing.")]
StpOption = Annotated[
    Literal["NONE", "CANCEL_NEWEST", "CANCEL_OLDEST", "CANCEL_BOTH", "DECREMENT_AND_CANCEL"] | None,
    typer.Option("--stp", case_sensitive=False, help="When it would trade with an order of your own."),
]
StpGroupOption = Annotated[
    int | None,
    typer.Option("--stp-group", min=1, help="Self-trade prevention among the orders of this group, any account."),
]
ClientIdOption = Annotated[
    str | None, typer.Option("--id", help="Your id of the order: the same command again then places nothing twice.")
]


_LOTS_LEFT = 2
"""Money for less than this is what rounding to the lot size and the last price may leave."""

_HELP = """Place an order to {side}. Exit code 1: refused, 3: the rest was canceled.

\b
Examples:
  tradewind {side} binance:BTC/USDT 0.01 --market
  tradewind {side} internal:BTC/USDT 0.1 --price 60000 --id a-1
  tradewind {side} internal:BTC/USDT 0.1 --stop {stop} --price {limit}
  tradewind {side} internal:BTC/USDT 0.1 --trail-bps 150 --trigger mid
"""


def register(app: typer.Typer) -> None:
    app.command("buy", help=_HELP.format(side="buy", stop=62000, limit=62100))(place)
    app.command("sell", help=_HELP.format(side="sell", stop=58000, limit=57900))(place)


def place(
    context: typer.Context,
    instrument: InstrumentArgument,
    qty: QtyArgument = None,
    price: PriceOption = None,
    market: MarketFlag = False,
    to_limit: ToLimitFlag = False,
    protect: ProtectOption = None,
    quote_qty: QuoteQtyOption = None,
    stop: StopOption = None,
    take_profit: TakeProfitOption = None,
    trail: TrailOption = None,
    trail_bps: TrailBpsOption = None,
    activate: ActivateOption = None,
    limit_offset: LimitOffsetOption = None,
    trigger: TriggerOption = None,
    iceberg: IcebergOption = None,
    hidden: HiddenFlag = False,
    tif: TifOption = None,
    gtd: GtdOption = None,
    day: DayFlag = False,
    post_only: PostOnlyFlag = False,
    slide: SlideFlag = False,
    reduce_only: ReduceOnlyFlag = False,
    close: CloseFlag = False,
    min_qty: MinQtyOption = None,
    stp: StpOption = None,
    stp_group: StpGroupOption = None,
    client_id: ClientIdOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    check_moment(gtd, "--gtd")
    waits = _given(("--stop", stop), ("--take-profit", take_profit), ("--trail", trail), ("--trail-bps", trail_bps))
    _one_of(*waits, *_given(("--iceberg", iceberg), ("--hidden", hidden)))
    _one_of(*_given(("--tif", tif), ("--gtd", gtd), ("--day", day)))
    sizes = _given(("QTY", qty), ("--quote-qty", quote_qty), ("--close", close))
    _one_of(*sizes)
    if not sizes:
        raise typer.BadParameter("how much? give QTY, --quote-qty or --close", param_hint="QTY")
    trails = trail is not None or trail_bps is not None
    if trails and (price is not None or market):
        raise typer.BadParameter("its price comes with the trigger; see --limit-offset", param_hint="--trail")
    if not waits and market == (price is not None):
        raise typer.BadParameter("give either --price or --market", param_hint="--price")
    if waits:
        kind = _WAITING[waits[0]][limit_offset is not None if trails else price is not None]
    elif market:
        kind = OrderType.MARKET_TO_LIMIT if to_limit else OrderType.MARKET
    else:
        kind = OrderType.ICEBERG if iceberg is not None else OrderType.HIDDEN if hidden else OrderType.LIMIT
    request = OrderRequest(
        instrument,
        str(context.info_name),
        qty,
        price,
        type=kind,
        time_in_force=TimeInForce.GTD if gtd is not None else TimeInForce.DAY if day else tif,
        post_only=post_only or slide,
        post_only_slide=slide,
        reduce_only=reduce_only,
        close_position=close,
        protection_price=protect,
        quote_qty=quote_qty,
        trigger_price=activate if trails else stop or take_profit,
        trigger_source=trigger,
        trailing_offset=trail,
        trailing_offset_bps=trail_bps,
        limit_offset=limit_offset,
        display_qty=iceberg,
        min_qty=min_qty,
        self_trade_prevention=stp,
        self_trade_group=stp_group or 0,
        client_order_id=client_id if client_id is not None else new_id(),
    )
    with session_of(context).client(account) as client:
        order = client.place(replace(request, expire_time=parse_future_time(gtd, "--gtd", client)))
        lot = client.get_instrument(instrument).lot_size if quote_qty is not None and order.cum_qty else None
    show_order(order, json)
    if order.status is OrderStatus.REJECTED:
        fail(f"{order.reject_message or 'rejected'} [{order.reject_reason}]")
    tell_what_was_canceled([order])
    if lot is not None:
        _print_unspent(order, Decimal(quote_qty or 0), lot)


_WAITING = {
    "--stop": (OrderType.STOP, OrderType.STOP_LIMIT),
    "--take-profit": (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT),
    "--trail": (OrderType.TRAILING_STOP, OrderType.TRAILING_STOP_LIMIT),
    "--trail-bps": (OrderType.TRAILING_STOP, OrderType.TRAILING_STOP_LIMIT),
}
"""Type of an order that waits for a price: then at market, or as a limit order."""


def _print_unspent(order: Order, money: Decimal, lot: Decimal) -> None:
    """Exit 3 if a market order for an amount of money is far from it: the market offered no more."""
    fee = order.cum_fee if order.side is Side.BUY else Decimal(0)
    left = money - order.cum_notional - fee
    if not order.is_open and order.avg_price is not None and left > _LOTS_LEFT * lot * order.avg_price:
        done = "spent" if order.side is Side.BUY else "raised"
        fail(f"{done} {money - left:f} of {money:f}: the market offered no more", NOT_ALL_FILLED)


def _given(*options: tuple[str, object]) -> list[str]:
    """The names of the options that were given."""
    return [name for name, value in options if value is not None and value is not False]


def _one_of(*given: str) -> None:
    if len(given) > 1:
        raise typer.BadParameter(f"give only one of {', '.join(given)}", param_hint=given[0])
