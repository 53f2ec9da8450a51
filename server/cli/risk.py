"""Risk of an account, and the kill switch."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Annotated

import typer

from server.cli import risk_measures
from server.cli.render import Columns, console, fail, print_json, print_line, table
from server.cli.risk_measures import ValueInOption, bar, money
from server.cli.session import DEFAULT_ACCOUNT, AccountOption, JsonFlag, session_of
from tradewind import Exposure, ExposureTotal, Flattened, PositionExposure, Unpriced

risk = typer.Typer(help="What an account may lose; the kill switch.", no_args_is_help=True, rich_markup_mode=None)

NOT_ALL_CLOSED = 3
"""Exit code of a kill with --flatten after which a position is left."""


def register(app: typer.Typer) -> None:
    for command in (risk_measures.var, risk_measures.stress, risk_measures.backtest, risk_measures.what_if):
        risk.command()(command)
    app.add_typer(risk, name="risk")


_POSITIONS: Columns[PositionExposure] = {
    "instrument": lambda p: p.instrument,
    "qty": lambda p: p.qty,
    "price": lambda p: p.price,
    "from": lambda p: None if p.price is None else p.price_source,
    "age": lambda p: None if p.price_age is None else f"{p.price_age.total_seconds():.1f} s",
    "value": lambda p: money(p.value),
    "open buys": lambda p: p.open_buy_qty or None,
    "open sells": lambda p: p.open_sell_qty or None,
    "worst case": lambda p: money(p.worst_case_value),
}
_UNPRICED: Columns[Unpriced] = {"not valued": lambda u: u.name, "because": lambda u: u.reason}
_FLATTENED: Columns[Flattened] = {
    "account": lambda f: f.account,
    "instrument": lambda f: f.instrument,
    "qty": lambda f: f.qty,
    "left": lambda f: f.remaining_qty,
    "order": lambda f: f.order_id,
    "problem": lambda f: f.problem,
}


@risk.command()
def exposure(
    context: typer.Context,
    value_in: ValueInOption = "USDT",
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """What is held, valued now, by asset and venue.

    The worst case counts open orders: all of one side fill, none of the other. What has no price to trust is told apart.

    \b
    Examples:
      tradewind risk exposure
      tradewind risk exposure --in BTC --account maker
    """
    with session_of(context).client(account) as client:
        found = client.get_exposure(valuation_asset=value_in)
    if json:
        print_json(found)
    else:
        _show(found)


def _show(found: Exposure) -> None:
    screen = console()
    if not found.positions:
        print_line(["No positions and no open orders."])
    else:
        screen.print(table(found.positions, _POSITIONS))
    for title, totals in (("asset", found.by_asset), ("venue", found.by_venue)):
        if totals:
            screen.print()
            screen.print(table(totals, _totals(title, found.gross)))
    screen.print()
    summary: list[tuple[str, str | None]] = [
        ("gross", money(found.gross)),
        ("net", money(found.net)),
        ("worst case", money(found.worst_case_gross)),
        ("equity", money(found.equity)),
        ("leverage", None if found.leverage is None else f"{found.leverage:.2f}"),
        ("largest share", f"{found.largest_share:.0%}"),
        ("concentration", f"{found.concentration:.2f}"),
    ]
    columns: Columns[tuple[str, str | None]] = {f"in {found.valuation_asset}": lambda s: s[0], "": lambda s: s[1]}
    screen.print(table(summary, columns))
    if found.unpriced:
        screen.print()
        screen.print(table(found.unpriced, _UNPRICED))


def _totals(title: str, gross: Decimal) -> Columns[ExposureTotal]:
    return {
        title: lambda t: t.name,
        "gross": lambda t: money(t.gross),
        "net": lambda t: money(t.net),
        "worst case": lambda t: money(t.worst_case_gross),
        "share of gross": lambda t: bar(float(t.gross / gross)) if gross else None,
    }


@risk.command()
def kill(
    context: typer.Context,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for the server's log.")],
    instrument: Annotated[str, typer.Option(help="Only this instrument.")] = "",
    flatten: Annotated[bool, typer.Option("--flatten", help="Close positions before the halt.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonFlag = False,
) -> None:
    """The kill switch: halt, and cancel all orders of all accounts.

    It stays, also over a restart, until tradewind resume. Exits 3 if --flatten left a position.

    \b
    Examples:
      tradewind risk kill --reason "the bot runs wild"
      tradewind risk kill -r "bad feed" --instrument okx:ETH/USDT --flatten -y
    """
    what = instrument or "all instruments"
    closing = ", close all positions" if flatten else ""
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: give --yes", param_hint="--yes")
        typer.confirm(f"Halt {what}, cancel all orders of all accounts{closing}?", abort=True)
    with session_of(context).client() as client:
        result = client.kill_switch(reason, instrument=instrument, flatten=flatten)
    if json:
        print_json(result)
    else:
        print_line([f"HALTED {what}: {result.canceled_count} orders canceled"])
        if result.pending_count:
            print_line([f"{result.pending_count} of the cancels are on their way to their venue."])
        if result.flattened:
            console().print(table(result.flattened, _FLATTENED))
        again = f"tradewind resume --instrument {instrument}" if instrument else "tradewind resume"
        print_line([f"To go on: {again}"])
    if any(each.remaining_qty for each in result.flattened):
        fail("not all positions could be closed", NOT_ALL_CLOSED)
