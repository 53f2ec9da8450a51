"""`buy` and `sell`: all that an order can be told."""

from __future__ import annotations

from datetime import UTC, datetime
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
from server.cli.trade import show_order
from tradewind import OrderRequest, OrderStatus, OrderType, TimeInForce
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
    datetime | None,
    typer.Option("--gtd", formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"], help="Good till this time, UTC."),
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


_HELP = """Place an order to {side}. A refused one is shown with its reason, and the exit code is 1.

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
    if trails:
        kind = OrderType.TRAILING_STOP if limit_offset is None else OrderType.TRAILING_STOP_LIMIT
    elif stop is not None:
        kind = OrderType.STOP if price is None else OrderType.STOP_LIMIT
    elif take_profit is not None:
        kind = OrderType.TAKE_PROFIT if price is None else OrderType.TAKE_PROFIT_LIMIT
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
        expire_time=gtd.replace(tzinfo=UTC) if gtd is not None else None,
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
        order = client.place(request)
    show_order(order, json)
    if order.status is OrderStatus.REJECTED:
        fail(f"{order.reject_message or 'rejected'} [{order.reject_reason}]")


def _given(*options: tuple[str, object]) -> list[str]:
    """The names of the options that were given."""
    return [name for name, value in options if value is not None and value is not False]


def _one_of(*given: str) -> None:
    if len(given) > 1:
        raise typer.BadParameter(f"give only one of {', '.join(given)}", param_hint=given[0])
