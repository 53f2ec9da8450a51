"""How a command line is read, beyond what typer does."""

from __future__ import annotations

import re

import typer
from typer.core import TyperCommand

_BELOW_ZERO = re.compile(r"-(\.|\.?\d.*)")


class Command(TyperCommand):
    """A command that says what is wrong with a number below zero, which looks like an option."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            option = getattr(error, "option_name", "")
            if option is None or not _BELOW_ZERO.fullmatch(str(option)):
                raise
            number = next((each for each in given if _BELOW_ZERO.fullmatch(each)), option)
            instead = "; use --withdraw" if ctx.info_name == "deposit" else ""
            raise typer.BadParameter(f"{number} is below zero: give a positive number{instead}", ctx=ctx) from None


def use_command_class(app: typer.Typer) -> None:
    """Make every command of `app` and of its groups one of these."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            use_command_class(group.typer_instance)
