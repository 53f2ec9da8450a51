"""The command line as a whole: the commands in the order people meet them, and what happens to errors."""

from __future__ import annotations

import errno
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from server.base.errors import TradewindError as ServerError
from server.cli import admin, blotter, journal, lists, market, place, risk, trade, up
from server.cli.command import use_command_class
from server.cli.render import fail
from server.cli.session import Session
from tradewind import TradewindError
from tradewind.errors import InvalidArgument, Unauthenticated, Unavailable

_OUT_OF_MEMORY = ("can't start new thread", "failed to map segment", "annot allocate memory")

app = typer.Typer(
    name="tradewind",
    help="Self-hosted trading backend: market data, orders and accounts.",
    epilog="Begin with: tradewind up    then, elsewhere: tradewind status",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tradewind {metadata.version('tradewind-server')}")
        raise typer.Exit


@app.callback()
def connect(
    context: typer.Context,
    address: Annotated[
        str | None,
        typer.Option(envvar="TRADEWIND_ADDRESS", help="Server, host:port. Default: that of the data directory."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File that holds the token. Default: TRADEWIND_TOKEN, the file TRADEWIND_TOKEN_FILE, or admin.token"
            " in the data directory."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="TRADEWIND_DATA_DIR", help="Data directory of a server on this machine. Default: var."),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Connect with TLS and trust this authority (PEM): for other machines.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What all commands share. Nothing is connected yet."""
    names = ("address", "token_file", "data_dir", "ca_file")
    sources = {name: context.get_parameter_source(name) for name in names}
    typed = (name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")
    options = frozenset(f"--{name.replace('_', '-')}" for name in typed)
    context.obj = Session(address, token_file, data_dir, ca_file, options)


for module in (up, market, place, lists, trade, risk, admin, journal, blotter):
    module.register(app)
use_command_class(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exits 0, 1 for a failure, 2 for a command that was typed wrong, 130 when interrupted."""
    try:
        app(arguments)
    except ServerError as error:  # of a server that could not start, or of its settings
        fail(error.message)
    except TradewindError as error:  # of a call
        fail(_explained(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except (MemoryError, RuntimeError, ImportError) as error:
        if _was_interrupted(error):
            sys.exit(130)
        if not _is_out_of_memory(error):
            raise
        fail(_too_little_memory(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains while it ends
        sys.exit(0)
    except OSError as error:  # a file that was named
        if error.errno == errno.ENOMEM:
            fail(_too_little_memory(error))
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:  # refused by the SDK before anything was sent
        fail(str(error))


def _was_interrupted(error: BaseException) -> bool:
    """Whether it came of a Ctrl-C: one that meets grpc at a lock comes out as an error of that lock."""
    origin = error.__context__
    return origin is not None and (isinstance(origin, KeyboardInterrupt) or _was_interrupted(origin))


def _is_out_of_memory(error: BaseException) -> bool:
    """Threads and libraries that cannot be made or loaded say so in words of their own."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _too_little_memory(error: BaseException) -> str:
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"not enough memory ({said[:100]}): see `ulimit -v`, lower engine.max_orders, or give the machine more"


def _explained(error: TradewindError) -> str:
    """The error in one line, with what to do where that is known."""
    if isinstance(error, InvalidArgument) and error.violations:
        return "; ".join(f"{v.field}: {v.description}" for v in error.violations) + f" [{error.reason}]"
    if isinstance(error, Unavailable) and error.reason == "UNAVAILABLE" and not error.from_server:
        reason = error.message.rpartition("last error: ")[2]  # gRPC tells the whole story of a failed connection
        if "Hostname Verification" in reason:
            return "the server's certificate is not for the name or address it was asked by: use a name that is in it"
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return "the server's certificate is not signed by the authority in --ca-file"
        return f"no server answers ({reason}). Start one with: tradewind up"
    if isinstance(error, Unauthenticated):
        return (
            f"{error}. Give a token by TRADEWIND_TOKEN, TRADEWIND_TOKEN_FILE or --token-file; the first is admin.token in"
            " the server's data directory (tradewind up prints where)"
        )
    return str(error)
