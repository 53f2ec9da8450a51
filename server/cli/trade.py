"""Existing orders, fills, positions, balances and the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import typer

from server.cli.render import (
    Columns,
    average,
    cells,
    console,
    fail,
    print_for_people,
    print_json,
    print_line,
    show,
    table,
)
from server.cli.session import (
    DEFAULT_ACCOUNT,
    AccountOption,
    JsonFlag,
    LimitOption,
    WatchFlag,
    session_of,
)
from server.cli.times import SinceOption, UntilOption, parse_time
from tradewind import Balance, Fill, LedgerEntry, Order, OrderStatus, Position


def _status(order: Order) -> str:
    why = order.reject_reason or order.cancel_reason
    said = " waiting" if order.waiting else f" {why}" if why else ""
    return order.status + said + (" change pending" if order.change_pending else "")


def _trigger(order: Order) -> str | None:
    """Where it fires, on which price, and how it follows."""
    if order.trigger_source is None:
        return None
    offset = f"{order.trailing_offset_bps} bps" if order.trailing_offset_bps else order.trailing_offset
    follows = f", trailing {offset}" if offset else ""
    return f"{order.trigger_price or '-'} {order.trigger_source}{follows}"


ORDER_COLUMNS: Columns[Order] = {
    "order": lambda o: o.order_id,
    "instrument": lambda o: o.instrument,
    "side": lambda o: o.side,
    "type": lambda o: f"{o.type} {o.time_in_force}" + (" post-only" if o.post_only else ""),
    "qty": lambda o: o.qty,
    "price": lambda o: o.price,
    "filled": lambda o: o.cum_qty,
    "average": lambda o: average(o.avg_price),
    "status": lambda o: _status(o),
    "trigger": lambda o: _trigger(o),
    "expires": lambda o: o.expire_time,
    "client id": lambda o: o.client_order_id,
    "updated": lambda o: o.update_time,
}
CHANGE_COLUMNS: Columns[Order] = {
    title: ORDER_COLUMNS[title]
    for title in (
        "updated", "order", "instrument", "side", "type", "qty", "price", "trigger", "filled", "status", "client id",
    )
}
"""Of a change in one line: the short ones first, so that what a narrow screen wraps is the client id."""
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
    "average": lambda p: average(p.avg_price),
    "cost": lambda p: p.cost,
    "realized": lambda p: p.realized_pnl,
}
BALANCE_COLUMNS: Columns[Balance] = {
    "asset": lambda b: b.asset,
    "total": lambda b: b.total,
    "reserved": lambda b: b.reserved,
    "free": lambda b: b.free,
}
LEDGER_COLUMNS: Columns[LedgerEntry] = {
    "time": lambda e: e.time,
    "asset": lambda e: e.asset,
    "amount": lambda e: e.amount,
    "total": lambda e: e.total,
    "entry": lambda e: e.entry_id,
}

OrderArgument = Annotated[str | None, typer.Argument(metavar="ORDER", help="The server's id of the order.")]
OrderIdOption = Annotated[str | None, typer.Option("--id", help="Your id of the order instead.")]


def register(app: typer.Typer) -> None:
    for command in (amend, cancel, cancel_timer, orders, fills, positions, balances, ledger):
        app.command()(command)


def show_order(order: Order, json: bool) -> None:
    if json:
        print_json(order)
    else:
        console().print(table([order], ORDER_COLUMNS))


NOT_ALL_FILLED = 3
"""Exit code of a command that placed an order of which the rest was canceled at once."""

_WHY_CANCELED = {
    "MARKET_REMAINDER": "the market offered no more within the limits of the order",
    "IOC_REMAINDER": "the market offered no more at its price at once",
    "SELF_TRADE": "it met an order of the same owner",
    "REDUCE_ONLY": "there was no position left to reduce",
    "INSUFFICIENT_BALANCE": "the balance no longer covered it",
}


def tell_what_was_canceled(orders: Iterable[Order]) -> None:
    """Exit 3 if one of the orders just placed is over without all of it filled, and say why. In a list, orders that
    end because another was filled are as they should be."""
    for order in orders:
        if order.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED) and order.cancel_reason != "LINKED_ORDER":
            reason = order.reject_reason or order.cancel_reason or str(order.status)
            why = _WHY_CANCELED.get(reason, reason.lower().replace("_", " "))
            fail(
                f"filled {order.cum_qty:f} of {order.qty:f}, the rest was canceled: {why} [{reason}]", NOT_ALL_FILLED
            )


def amend(
    context: typer.Context,
    order_id: OrderArgument = None,
    client_id: OrderIdOption = None,
    qty: Annotated[str | None, typer.Option(help="New total quantity, what is filled included.")] = None,
    price: Annotated[str | None, typer.Option("--price", "-p", help="New limit price.")] = None,
    trigger_price: Annotated[str | None, typer.Option("--trigger-price", help="New price to wait for.")] = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Change an open order. Less quantity at the same price keeps its place in the queue.

    \b
    Examples:
      tradewind amend 1042 --price 60100
      tradewind amend --id a-1 --qty 0.05
    """
    if (order_id is None) == (client_id is None):
        raise typer.BadParameter("name one order, by ORDER or --id", param_hint="ORDER")
    with session_of(context).client(account) as client:
        order = client.amend_order(
            order_id, client_order_id=client_id, qty=qty, price=price, trigger_price=trigger_price
        )
    show_order(order, json)


def cancel(
    context: typer.Context,
    order_id: OrderArgument = None,
    client_id: OrderIdOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All open orders of the account.")] = False,
    instrument: Annotated[str, typer.Option(help="With --all: only this instrument.")] = "",
    side: Annotated[
        Literal["BUY", "SELL"] | None, typer.Option(case_sensitive=False, help="With --all: only this side.")
    ] = None,
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
        count = client.cancel_orders(instrument=instrument, side=side)
    if json:
        print_json({"canceled": count})
    else:
        print_line([f"{count} canceled" if count else "No open orders."])


def cancel_timer(
    context: typer.Context,
    seconds: Annotated[float, typer.Argument(min=0, max=86_400, help="From now, 1 to 86400; 0 switches it off.")],
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Dead-man timer: cancel all orders unless called again.

    All orders of the account are canceled then, unless this is called again before.

    \b
    Example:
      while trade; do tradewind cancel-timer 60; sleep 20; done
    """
    with session_of(context).client(account) as client:
        expire_time = client.set_cancel_timer(seconds)
    if json:
        print_json({"expire_time": expire_time})
    else:
        print_line(["off" if expire_time is None else f"runs out at {expire_time:%Y-%m-%d %H:%M:%S} UTC"])


def orders(
    context: typer.Context,
    instrument: Annotated[str, typer.Option(help="Only this instrument.")] = "",
    open_only: Annotated[bool, typer.Option("--open", help="Only open orders.")] = False,
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="Only in this state, such as FILLED; may be repeated.")
    ] = None,
    since: SinceOption = "",
    until: UntilOption = "",
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
      tradewind orders --status REJECTED --since 1d
    """
    if watch and (status or since or until):
        raise typer.BadParameter("shows what happens from now on: it goes with --instrument only", param_hint="--watch")
    with session_of(context).client(account) as client:
        if not watch:
            found = client.list_orders(
                instrument=instrument,
                open_only=open_only,
                statuses=_statuses(status or []),
                start=parse_time(since, "--since", client),
                end=parse_time(until, "--until", client),
                limit=limit,
            )
            show(found, ORDER_COLUMNS, as_json=json, empty="No orders.")
            return
        with client.watch_orders() as updates:
            print_for_people(f"Open orders of {account}, then every change as it happens. Ctrl-C ends.", json)
            for update in updates:
                if instrument and update.order.instrument != instrument:
                    continue
                if json:
                    print_json(update)
                else:
                    print_line(cells(update.order, CHANGE_COLUMNS))


def _statuses(names: list[str]) -> list[OrderStatus]:
    known = [status for status in OrderStatus if status is not OrderStatus.UNSPECIFIED]
    for name in names:
        if name.upper() not in known:
            raise typer.BadParameter(f"there is no {name}; known are {', '.join(known)}", param_hint="--status")
    return [OrderStatus(name.upper()) for name in names]


def fills(
    context: typer.Context,
    instrument: Annotated[str, typer.Option(help="Only this instrument.")] = "",
    order: Annotated[str, typer.Option(help="Only this order, by the server's id.")] = "",
    since: SinceOption = "",
    until: UntilOption = "",
    limit: LimitOption = 20,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Fills, newest first.

    \b
    Example:
      tradewind fills --order 1042
      tradewind fills --since 4h --limit 1000
    """
    with session_of(context).client(account) as client:
        found = client.list_fills(
            instrument=instrument,
            order_id=order,
            start=parse_time(since, "--since", client),
            end=parse_time(until, "--until", client),
            limit=limit,
        )
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


def ledger(
    context: typer.Context,
    asset: Annotated[str, typer.Option(help="Only this asset.")] = "",
    since: SinceOption = "",
    until: UntilOption = "",
    limit: LimitOption = 20,
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Every change of a balance, newest first.

    With the balance after it.

    \b
    Example:
      tradewind ledger --asset USDT --since 4h
    """
    with session_of(context).client(account) as client:
        found = client.list_ledger_entries(
            asset=asset, start=parse_time(since, "--since", client), end=parse_time(until, "--until", client), limit=limit
        )
    show(found, LEDGER_COLUMNS, as_json=json, empty="No entries.")
