"""The blotter's upkeep."""

from __future__ import annotations

import sys
from typing import Any

import typer

from server.cli.render import print_json
from server.cli.session import JsonFlag, session_of
from server.cli.up import ConfigOption

blotter = typer.Typer(
    help="The blotter: history of orders, fills and balances.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    app.add_typer(blotter, name="blotter")


@blotter.callback()
def _group() -> None:
    """Keeps `rebuild` a command of its own while it is the only one."""


@blotter.command()
def rebuild(context: typer.Context, config: ConfigOption = None, json: JsonFlag = False) -> None:
    """Empty the blotter and fill it again from the journal.

    The server may run meanwhile.

    \b
    Example:
      tradewind blotter rebuild
    """
    from server.app.config import load_config
    from server.app.stores import blotter_url, journal_url
    from server.blotter.rebuild import rebuild_blotter
    from server.engine.limits import EngineLimits

    session = session_of(context)
    session.refuse_server_options()
    overrides: dict[str, Any] = {"data_dir": session.given_data_dir if config else session.local_data_dir()}
    settings = load_config(config, overrides)

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {total} commands", end="" if done < total else "\n", file=sys.stderr, flush=True)

    limits = EngineLimits(**settings.engine.model_dump())
    last = rebuild_blotter(journal_url(settings), blotter_url(settings), limits, progress)
    if json:
        print_json({"last_event": last})
    else:
        print(f"The blotter holds everything up to event {last}.")
