"""Accounts, deposits, trading status, reference prices, clock, tokens."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import typer

from server.cli.render import Columns, console, fail, print_json, print_line, show, table
from server.cli.session import ADMIN_TOKEN, DEFAULT_ACCOUNT, AccountOption, JsonFlag, session_of
from server.cli.times import check_moment, parse_future_time
from server.cli.trade import BALANCE_COLUMNS
from tradewind import Account, Token, TradingStatus

ACCOUNT_COLUMNS: Columns[Account] = {
    "account": lambda a: a.name,
    "mode": lambda a: a.mode,
    "opened": lambda a: a.create_time,
}
TOKEN_COLUMNS: Columns[Token] = {
    "id": lambda t: t.token_id,
    "description": lambda t: t.description,
    "scopes": lambda t: ", ".join(t.scopes),
    "accounts": lambda t: ", ".join(t.accounts) or "all",
    "created": lambda t: t.create_time,
    "ends": lambda t: t.expire_time or "never",
}


class GrantedScope(StrEnum):
    """Scopes a token can be made with, as they are typed."""

    READ = "read"
    TRADE = "trade"
    RISK_ADMIN = "risk-admin"
    ADMIN = "admin"


InstrumentOption = Annotated[str, typer.Option(help="venue:SYMBOL; without it, everything.")]

tokens = typer.Typer(help="Tokens: who may call the server.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    for command in (accounts, deposit, halt, resume, reference, accept_clock):
        app.command()(command)
    app.add_typer(tokens, name="token")


def accounts(
    context: typer.Context,
    create: Annotated[str | None, typer.Option(metavar="NAME", help="Open this account first.")] = None,
    mode: Annotated[
        Literal["paper", "simulation"], typer.Option(case_sensitive=False, help="Mode of the new account.")
    ] = "paper",
    json: JsonFlag = False,
) -> None:
    """Accounts, by name; --create opens one.

    \b
    Example:
      tradewind accounts --create alice
    """
    with session_of(context).client() as client:
        if create is not None:
            client.create_account(create, mode)
        show(client.list_accounts(), ACCOUNT_COLUMNS, as_json=json, empty="No accounts.")


def deposit(
    context: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset, such as USDT.")],
    amount: Annotated[str, typer.Argument(help="How much.")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take it out instead.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    request_id: Annotated[str | None, typer.Option("--id", help="The same id again moves nothing twice.")] = None,
    json: JsonFlag = False,
) -> None:
    """Put play money into an account.

    Only into paper and simulation accounts. Shows the balance afterwards.

    \b
    Example:
      tradewind deposit USDT 100000 --account alice
    """
    with session_of(context).client(account) as client:
        balance = client.adjust_balance(asset, f"-{amount}" if withdraw else amount, request_id=request_id)
    if json:
        print_json(balance)
    else:
        console().print(table([balance], BALANCE_COLUMNS))


def halt(
    context: typer.Context,
    instrument: InstrumentOption = "",
    cancel_only: Annotated[bool, typer.Option("--cancel-only", help="Go on matching; take only cancels.")] = False,
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="Take what reduces a position, too.")] = False,
    json: JsonFlag = False,
) -> None:
    """Stop trading: of one instrument, or of everything. Cancels are always taken.

    \b
    Examples:
      tradewind halt
      tradewind halt --instrument internal:BTC/USDT --cancel-only
    """
    if cancel_only and reduce_only:
        raise typer.BadParameter("give only one of --cancel-only, --reduce-only", param_hint="--cancel-only")
    status = TradingStatus.HALTED
    if cancel_only or reduce_only:
        status = TradingStatus.CANCEL_ONLY if cancel_only else TradingStatus.REDUCE_ONLY
    _set_status(context, status, instrument, json)


def resume(context: typer.Context, instrument: InstrumentOption = "", json: JsonFlag = False) -> None:
    """Let trading go on. What was halted by instrument is resumed by instrument.

    \b
    Example:
      tradewind resume --instrument internal:BTC/USDT
    """
    _set_status(context, TradingStatus.OPEN, instrument, json)


def reference(
    context: typer.Context,
    instrument: Annotated[str, typer.Argument(help="venue:SYMBOL.")],
    mark: Annotated[str | None, typer.Option(metavar="PRICE", help="The mark price; without it there is none.")] = None,
    index: Annotated[str | None, typer.Option(metavar="PRICE", help="The index price; without it there is none.")] = None,
    seconds: Annotated[float, typer.Option("--for", min=0.001, max=86_400, help="Seconds they hold.")] = 60,
    json: JsonFlag = False,
) -> None:
    """Tell the mark and index price of an instrument.

    They are for the triggers that watch them. Nothing trades at them.

    \b
    Example:
      tradewind reference internal:BTC/USDT --mark 60010.5 --index 60008 --for 10
    """
    with session_of(context).client() as client:
        expire_time = client.set_reference_prices(instrument, mark_price=mark, index_price=index, valid_for_s=seconds)
    if json:
        print_json({"expire_time": expire_time})
    else:
        print_line([f"{instrument}: holds until {expire_time:%Y-%m-%d %H:%M:%S} UTC"])


def accept_clock(context: typer.Context, json: JsonFlag = False) -> None:
    """Decide that the machine's clock is right after a step.

    The server's time does not follow a step of more than 10 s by itself. After this it goes forward at once; if it is
    ahead, it goes at half its speed until the machine's clock has caught up: it never runs backward.

    \b
    Example:
      tradewind status && tradewind accept-clock
    """
    with session_of(context).client() as client:
        agreed = client.accept_clock()
    if json:
        print_json(agreed)
        return
    seconds = agreed.difference.total_seconds()
    print_line([f"the machine's clock was {abs(seconds):.1f} s {'ahead' if seconds >= 0 else 'behind'}"])
    print_line([f"both agree at {agreed.agree_time:%Y-%m-%d %H:%M:%S} UTC of the server's time"])


def _set_status(context: typer.Context, status: TradingStatus, instrument: str, json: bool) -> None:
    with session_of(context).client() as client:
        client.set_trading_status(status, instrument)
    if json:
        print_json({"instrument": instrument or None, "status": status})
    else:
        print_line([instrument or "everything", status])


@tokens.command("show")
def show_secret(context: typer.Context, json: JsonFlag = False) -> None:
    """The administrator's token of the server on this machine.

    \b
    Example:
      export TRADEWIND_TOKEN=$(tradewind token show)
    """
    path = session_of(context).local_data_dir() / ADMIN_TOKEN
    try:
        secret = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        fail(f"{path} does not exist: a server makes it when it first starts (tradewind up)")
    if json:
        print_json({"path": str(path), "secret": secret})
    else:
        print(secret)


@tokens.command()
def create(
    context: typer.Context,
    scope: Annotated[
        list[GrantedScope], typer.Option(case_sensitive=False, help="What it allows; may be given several times.")
    ],
    description: Annotated[str, typer.Option("--description", "-d", help="What it is for.")] = "from the command line",
    account: Annotated[
        list[str] | None, typer.Option("--account", "-a", help="Only this account; may be given several times.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="In 12h, 30d, or at 2026-12-31T23:00 (UTC). Default: when your own token ends."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Make a token no wider than your own. Its secret is shown only now.

    \b
    Example:
      tradewind token create --scope trade --account demo --expires 30d -d bot
    """
    check_moment(expires, "--expires")
    with session_of(context).client() as client:
        expire_time = parse_future_time(expires, "--expires", client)
        scopes = [one.name for one in scope]
        made = client.create_token(description, scopes, accounts=account or [], expire_time=expire_time)
    if json:
        print_json({"token": made.token, "secret": made.secret})
    else:
        console().print(table([made.token], TOKEN_COLUMNS))
        print(made.secret)


@tokens.command("list")
def list_(context: typer.Context, json: JsonFlag = False) -> None:
    """All tokens, without their secrets.

    \b
    Example:
      tradewind token list
    """
    with session_of(context).client() as client:
        show(client.list_tokens(), TOKEN_COLUMNS, as_json=json, empty="No tokens.")


@tokens.command()
def revoke(
    context: typer.Context,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="From: tradewind token list.")],
    json: JsonFlag = False,
) -> None:
    """End a token now; its open streams end too.

    \b
    Example:
      tradewind token revoke 3f2a
    """
    with session_of(context).client() as client:
        client.revoke_token(token_id)
    if json:
        print_json({"revoked": token_id})
    else:
        print(f"Token {token_id} is revoked.")
