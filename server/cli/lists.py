"""Orders that belong together."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from server.cli.render import fail, print_json, show
from server.cli.session import DEFAULT_ACCOUNT, AccountOption, InstrumentArgument, JsonFlag, session_of
from server.cli.trade import ORDER_COLUMNS, tell_what_was_canceled
from tradewind import OrderList, OrderRequest, OrderType
from tradewind.connection import new_id
from tradewind.orders import linked_id

SideArgument = Annotated[Literal["buy", "sell"], typer.Argument(case_sensitive=False, help="buy or sell.")]
QtyArgument = Annotated[str, typer.Argument(metavar="QTY", help="Quantity, a multiple of the instrument's lot size.")]
ListIdOption = Annotated[
    str | None,
    typer.Option("--id", help="Your id, at most 36 characters: the same command again then places nothing twice."),
]


def register(app: typer.Typer) -> None:
    for command in (bracket, oco, oto):
        app.command()(command)


def bracket(
    context: typer.Context,
    side: SideArgument,
    instrument: InstrumentArgument,
    qty: QtyArgument,
    take_profit: Annotated[str, typer.Option(help="Limit price of the exit that takes the profit.")],
    stop_loss: Annotated[str, typer.Option(help="Price at which the position is closed at market.")],
    price: Annotated[str | None, typer.Option("--price", "-p", help="Limit of the entry; without: market.")] = None,
    list_id: ListIdOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """An entry with its take-profit and its stop-loss.

    What the entry fills, the exits may close; what one of them fills is taken off the other.

    \b
    Example:
      tradewind bracket buy internal:BTC/USDT 0.1 -p 60000 \\
        --take-profit 63000 --stop-loss 58500
    """
    entry = OrderRequest(instrument, side, qty, price, client_order_id=list_id or new_id())
    with session_of(context).client(account) as client:
        _show(client.bracket(entry, take_profit=take_profit, stop_loss=stop_loss), json)


def oco(
    context: typer.Context,
    side: SideArgument,
    instrument: InstrumentArgument,
    qty: QtyArgument,
    price: Annotated[str, typer.Option("--price", "-p", help="Limit price of the first order.")],
    stop: Annotated[str, typer.Option(help="Trigger price of the second order.")],
    stop_price: Annotated[str | None, typer.Option(help="Limit price of the second order; without: market.")] = None,
    list_id: ListIdOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """A limit order and a stop: one cancels the other.

    Both are for the same quantity; what one fills is taken off the other.

    \b
    Example:
      tradewind oco sell internal:BTC/USDT 0.1 --price 63000 --stop 58500
    """
    key = list_id or new_id()
    limit = OrderRequest(instrument, side, qty, price, client_order_id=key)
    kind = OrderType.STOP if stop_price is None else OrderType.STOP_LIMIT
    stopping = OrderRequest(
        instrument, side, qty, stop_price, type=kind, trigger_price=stop, client_order_id=linked_id(key, "-sl")
    )
    with session_of(context).client(account) as client:
        _show(client.oco(limit, stopping), json)


def oto(
    context: typer.Context,
    side: SideArgument,
    instrument: InstrumentArgument,
    qty: QtyArgument,
    then: Annotated[
        str, typer.Option(help="Limit price of the second order, on the other side; as much as was filled.")
    ],
    price: Annotated[
        str | None, typer.Option("--price", "-p", help="Limit of the first order; without: market.")
    ] = None,
    list_id: ListIdOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """An order whose fills release a limit order.

    Each fill of the first order releases as much of the second, which is on the other side.

    \b
    Example:
      tradewind oto buy internal:BTC/USDT 0.1 --price 60000 --then 61000
    """
    key = list_id or new_id()
    first = OrderRequest(instrument, side, qty, price, client_order_id=key)
    second = OrderRequest(instrument, "sell" if side == "buy" else "buy", qty, then, client_order_id=linked_id(key, "-2"))
    with session_of(context).client(account) as client:
        _show(client.oto(first, second), json)


def _show(placed: OrderList, json: bool) -> None:
    if json:
        print_json(placed)
    else:
        show(placed.orders, ORDER_COLUMNS, as_json=False, empty="")
    if placed.is_refused:
        rejected = [order for order in placed.orders if order.reject_reason]
        why = next((order for order in rejected if order.reject_reason != "LINKED_ORDER"), rejected[0])
        fail(f"{why.reject_message or 'rejected'} [{why.reject_reason}]")
    tell_what_was_canceled(placed.orders)
