"""Orders and what follows from them: fills, positions, balances."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from tradewind import Balance, Client, Fill, Order, OrderStatus, Position, Side
from tradewind.errors import OrderNotOpen

from server.cli.render import Columns, cells, console, fail, print_json, print_line, show, table
from server.cli.session import (
    DEFAULT_ACCOUNT,
    AccountOption,
    InstrumentArgument,
    JsonFlag,
    LimitOption,
    WatchFlag,
    session_of,
)

ORDER_COLUMNS: Columns[Order] = {
    "order": lambda o: o.order_id,
    "instrument": lambda o: o.instrument,
    "side": lambda o: o.side,
    "type": lambda o: f"{o.type} {o.time_in_force}" + (" post-only" if o.post_only else ""),
    "qty": lambda o: o.qty,
    "price": lambda o: o.price,
    "filled": lambda o: o.cum_qty,
    "average": lambda o: o.avg_price,
    "status": lambda o: o.status + (f" {o.reject_reason}" if o.reject_reason else ""),
    "client id": lambda o: o.client_order_id,
    "updated": lambda o: o.update_time,
}
FILL_COLUMNS: Columns[Fill] = {
    "time": lambda f: f.time,
    "instrument": lambda f: f.instrument,
    "side": lambda f: f.side,
    "qty": lambda f: f.qty,
    "price": lambda f: f.price,
    "fee": lambda f: f.fee,
    "in": lambda f: f.fee_asset,
    "liquidity": lambda f: f.liquidity,
    "order": lambda f: f.order_id,
    "trade": lambda f: f.trade_id,
}
POSITION_COLUMNS: Columns[Position] = {
    "instrument": lambda p: p.instrument,
    "qty": lambda p: p.qty,
    "average": lambda p: p.avg_price,
    "cost": lambda p: p.cost,
    "realized": lambda p: p.realized_pnl,
}
BALANCE_COLUMNS: Columns[Balance] = {
    "asset": lambda b: b.asset,
    "total": lambda b: b.total,
    "reserved": lambda b: b.reserved,
    "free": lambda b: b.free,
}

QtyArgument = Annotated[str, typer.Argument(metavar="QTY", help="Quantity, a multiple of the instrument's lot size.")]
PriceOption = Annotated[str | None, typer.Option("--price", "-p", help="Limit price, a multiple of the tick size.")]
MarketFlag = Annotated[bool, typer.Option("--market", help="Take the best prices now, instead of --price.")]
TifOption = Annotated[
    Literal["GTC", "IOC", "FOK"] | None,
    typer.Option("--tif", case_sensitive=False, help="GTC until canceled, IOC now, FOK all or nothing."),
]
PostOnlyFlag = Annotated[bool, typer.Option("--post-only", help="Refuse rather than take liquidity.")]
ClientIdOption = Annotated[
    str | None, typer.Option("--id", help="Your id of the order: the same command again then places nothing twice.")
]


def register(app: typer.Typer) -> None:
    for command in (buy, sell, cancel, orders, fills, positions, balances):
        app.command()(command)


def buy(
    context: typer.Context,
    instrument: InstrumentArgument,
    qty: QtyArgument,
    price: PriceOption = None,
    market: MarketFlag = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    tif: TifOption = None,
    post_only: PostOnlyFlag = False,
    client_id: ClientIdOption = None,
    json: JsonFlag = False,
) -> None:
    """Place an order to buy. A refused one is shown with its reason, and the exit code is 1.

    \b
    Examples:
      tradewind buy binance:BTC/USDT 0.01 --market
      tradewind buy internal:BTC/USDT 0.1 --price 60000 --id a-1
    """
    with session_of(context).client(account) as client:
        _place(client, Side.BUY, instrument, qty, price, market, tif, post_only, client_id, json)


def sell(
    context: typer.Context,
    instrument: InstrumentArgument,
    qty: QtyArgument,
    price: PriceOption = None,
    market: MarketFlag = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    tif: TifOption = None,
    post_only: PostOnlyFlag = False,
    client_id: ClientIdOption = None,
    json: JsonFlag = False,
) -> None:
    """Place an order to sell. A refused one is shown with its reason, and the exit code is 1.

    \b
    Examples:
      tradewind sell binance:BTC/USDT 0.01 --market
      tradewind sell internal:BTC/USDT 0.1 -p 62000 --post-only
    """
    with session_of(context).client(account) as client:
        _place(client, Side.SELL, instrument, qty, price, market, tif, post_only, client_id, json)


def _place(
    client: Client,
    side: Side,
    instrument: str,
    qty: str,
    price: str | None,
    market: bool,
    tif: str | None,
    post_only: bool,
    client_id: str | None,
    json: bool,
) -> None:
    if market == (price is not None):
        raise typer.BadParameter("give either --price or --market", param_hint="--price")
    order = client.place_order(
        instrument, side, qty, price, time_in_force=tif, post_only=post_only, client_order_id=client_id
    )
    show_order(order, json)
    if order.status is OrderStatus.REJECTED:
        fail(f"{order.reject_message or 'rejected'} [{order.reject_reason}]")


def show_order(order: Order, json: bool) -> None:
    if json:
        print_json(order)
    else:
        console().print(table([order], ORDER_COLUMNS))


def cancel(
    context: typer.Context,
    order_id: Annotated[str | None, typer.Argument(metavar="ORDER", help="The server's id of the order.")] = None,
    client_id: Annotated[str | None, typer.Option("--id", help="Your id of the order instead.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All open orders of the account.")] = False,
    instrument: Annotated[str, typer.Option(help="With --all: only this instrument.")] = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Cancel an order, or all of them.

    \b
    Examples:
      tradewind cancel 1042
      tradewind cancel --id a-1
      tradewind cancel --all --instrument internal:BTC/USDT
    """
    if [order_id is not None, client_id is not None, everything].count(True) != 1:
        raise typer.BadParameter("name one order, by ORDER or --id, or give --all", param_hint="ORDER")
    with session_of(context).client(account) as client:
        if not everything:
            show_order(client.cancel_order(order_id, client_order_id=client_id), json)
            return
        canceled = _cancel_all(client, instrument)
    show(canceled, ORDER_COLUMNS, as_json=json, empty="No open orders.")


def _cancel_all(client: Client, instrument: str) -> list[Order]:
    canceled = []
    for order in client.list_orders(instrument=instrument, open_only=True, limit=100_000):
        try:
            canceled.append(client.cancel_order(order.order_id))
        except OrderNotOpen:  # it closed by itself meanwhile
            continue
    return canceled


def orders(
    context: typer.Context,
    instrument: Annotated[str, typer.Option(help="Only this instrument.")] = "",
    open_only: Annotated[bool, typer.Option("--open", help="Only open orders.")] = False,
    limit: LimitOption = 20,
    watch: WatchFlag = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Orders, newest first.

    With --watch: the open ones, then every change as it happens.

    \b
    Example:
      tradewind orders --open --account maker
    """
    with session_of(context).client(account) as client:
        if not watch:
            found = client.list_orders(instrument=instrument, open_only=open_only, limit=limit)
            show(found, ORDER_COLUMNS, as_json=json, empty="No orders.")
            return
        for update in client.watch_orders():
            if instrument and update.order.instrument != instrument:
                continue
            if json:
                print_json(update)
            else:
                print_line(cells(update.order, ORDER_COLUMNS))


def fills(
    context: typer.Context,
    instrument: Annotated[str, typer.Option(help="Only this instrument.")] = "",
    order: Annotated[str, typer.Option(help="Only this order, by the server's id.")] = "",
    limit: LimitOption = 20,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Fills, newest first.

    \b
    Example:
      tradewind fills --order 1042
    """
    with session_of(context).client(account) as client:
        found = client.list_fills(instrument=instrument, order_id=order, limit=limit)
    show(found, FILL_COLUMNS, as_json=json, empty="No fills.")


def positions(context: typer.Context, account: AccountOption = DEFAULT_ACCOUNT, json: JsonFlag = False) -> None:
    """What was bought and sold, and what it made.

    \b
    Example:
      tradewind positions --account demo --json
    """
    with session_of(context).client(account) as client:
        show(client.list_positions(), POSITION_COLUMNS, as_json=json, empty="No positions.")


def balances(context: typer.Context, account: AccountOption = DEFAULT_ACCOUNT, json: JsonFlag = False) -> None:
    """What the account has.

    Reserved is what open orders may need; the rest is free.

    \b
    Example:
      tradewind balances --account maker
    """
    with session_of(context).client(account) as client:
        show(client.list_balances(), BALANCE_COLUMNS, as_json=json, empty="No balances.")
