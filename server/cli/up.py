"""A server on this machine: start it, look at it, stop it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli import detached
from server.cli.render import Columns, console, fail, print_json, table
from server.cli.session import JsonFlag, session_of
from server.cli.startup import StartReport, WhatNow
from server.process.lifecycle import ServiceStatus as LifecycleStatus
from server.process.lifecycle import running_instance
from tradewind import ServiceState, ServiceStatus
from tradewind.errors import Unavailable

if TYPE_CHECKING:
    from server.app.config import Config

_POLL_S = 0.05

SERVICE_COLUMNS: Columns[ServiceStatus] = {
    "service": lambda s: s.name,
    "state": lambda s: s.state,
    "since": lambda s: s.since,
    "detail": lambda s: s.detail,
}

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings, a TOML file. Default: tradewind.toml if there is one.")
]
DataDirOption = Annotated[Path | None, typer.Option(help="Directory of all state. Default: var.")]


def register(app: typer.Typer) -> None:
    for command in (up, down, status):
        app.command()(command)


def up(
    context: typer.Context,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="gRPC port; 0 takes any free one.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the metrics; 0 takes any free one.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Market data of the real exchanges, not recordings.")] = False,
    speed: Annotated[
        float | None, typer.Option(min=0, help="Pace of the recordings: 10 is tenfold, 0 flat out.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; return when it is ready.")] = False,
    wait_s: Annotated[float, typer.Option(min=1, help="With --detach: how long to wait for that, seconds.")] = 120,
    json: JsonFlag = False,
) -> None:
    """Start everything and show what comes up. Ctrl-C stops gracefully, a second one at once.

    With --detach the exit code is 0 when every part is SERVING; 3 when it runs and some are not, or not yet after
    --wait-s: they are named; 1 when it did not start.

    \b
    Examples:
      tradewind up
      tradewind up --live
      tradewind up --detach --data-dir /srv/tradewind --speed 10
    """
    began_s = time.monotonic()
    session = session_of(context)
    session.refuse_server_options()
    overrides: dict[str, Any] = {
        "data_dir": data_dir or session.given_data_dir,
        "server": {"port": port},
        "metrics": {"port": metrics_port},
        "feeds": {"mode": "live" if live else None, "replay_speed": speed},
    }
    from server.app.config import load_config  # here, as the server below: --help should not wait for it

    settings = load_config(config, overrides)
    if (other := running_instance(settings.data_dir)) is not None:
        fail(f"already running on {settings.data_dir} (process {other.pid}, {other.address}); stop it: tradewind down")
    if detach:
        detached.start(settings.data_dir, settings.logging.file, _arguments(config, overrides), wait_s, json)
        return
    if sys.stderr.isatty() and "level" not in settings.logging.model_fields_set:  # the screen is for what matters
        settings = load_config(config, overrides | {"logging": {"level": "warning"}})
    sys.exit(_run(settings, json, began_s))


def _run(config: Config, json: bool, began_s: float) -> int:
    from server.app import main as app

    with StartReport(json) as report:

        def on_state(status: LifecycleStatus) -> None:
            with contextlib.suppress(OSError):  # a full disk or a reader that is gone: the server goes on
                report.state(status.name, status.state.name, status.detail, status.progress)

        def on_ready(ready: app.Ready) -> None:
            now = WhatNow(
                ready.data_dir,
                ready.address,
                ready.admin_token_path,
                ready.market_data,
                ready.instrument,
                ready.metrics_url,
                started_in_s=round(time.monotonic() - began_s, 1),
                not_serving=report.not_serving(),
            )
            with contextlib.suppress(OSError):
                report.ready(now)

        try:
            return app.serve(config, on_state=on_state, on_ready=on_ready)
        except OSError as error:
            fail(f"the server cannot run: {_told(error)}")
        except ValueError:  # nothing that was typed: the server's own failure is told whole
            traceback.print_exc()
            return 1


def _told(error: OSError) -> str:
    """What the system said, of which file, and what to do where that is known."""
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return f"{what}; make room and start again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else what


def _arguments(config_file: Path | None, overrides: dict[str, Any]) -> list[str]:
    """The command line that gives a child what this one was given."""
    options = {
        "--config": config_file,
        "--data-dir": overrides["data_dir"],
        "--port": overrides["server"]["port"],
        "--metrics-port": overrides["metrics"]["port"],
        "--speed": overrides["feeds"]["replay_speed"],
    }
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    return [*given, "--live"] if overrides["feeds"]["mode"] == "live" else given


def down(
    context: typer.Context,
    data_dir: DataDirOption = None,
    wait_s: Annotated[float, typer.Option(min=0, help="How long to wait for the end, seconds.")] = 30,
    json: JsonFlag = False,
) -> None:
    """Stop the server gracefully and wait for its end.

    The server is the one that runs on the data directory.

    \b
    Example:
      tradewind down --data-dir /srv/tradewind
    """
    directory = session_of(context).local_data_dir(data_dir)
    running = running_instance(directory)
    if running is None:
        _say(json, f"Nothing runs on {directory}.", stopped=None)
        return
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + wait_s
    while running_instance(directory) is not None:
        if time.monotonic() > deadline:
            fail(f"process {running.pid} has not ended after {wait_s:g} s; it may still be draining, try again")
        time.sleep(_POLL_S)
    _say(json, f"Stopped process {running.pid} ({running.address}).", stopped=running.pid)


def _say(json: bool, message: str, *, stopped: int | None) -> None:
    if json:
        print_json({"stopped": stopped})
    else:
        print(message)


def status(context: typer.Context, json: JsonFlag = False) -> None:
    """What runs and how it is. The exit code is 0 when every part is SERVING, else 1.

    \b
    Example:
      tradewind status && echo ready
    """
    with session_of(context).client() as client:
        services = client.list_services()
        try:
            info, problem = client.get_info(), None
        except Unavailable as error:  # the engine has stopped; the parts below say why
            if not error.from_server:
                raise
            info, problem = None, error.message
    if json:
        print_json({"address": client.address, "info": info, "services": services})
    else:
        out = console()
        if info is None:
            out.print(f"Tradewind on {client.address}: {problem}", markup=False)
        else:
            up_since = f"up since {info.start_time:%Y-%m-%d %H:%M:%S} UTC, {info.command_sequence} commands"
            out.print(f"Tradewind {info.version} on {client.address}, market data: {info.market_data}", markup=False)
            out.print(up_since, markup=False)
        out.print(table(services, SERVICE_COLUMNS))
    sys.exit(0 if all(service.state is ServiceState.SERVING for service in services) else 1)
