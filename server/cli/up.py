"""Starting and stopping a server on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from tradewind import Client, ServiceState, TradewindError

from server.cli.render import fail, print_json
from server.cli.session import ADMIN_TOKEN, JsonFlag, Session, session_of
from server.cli.startup import StartReport, WhatNow
from server.lifecycle import RunningInstance, running_instance

if TYPE_CHECKING:
    from server.config import Config

LOG_FILE = Path("log", "tradewind.log")
"""Within the data directory: what a server in the background has to say."""

_POLL_S = 0.05
_LOG_LINES_SHOWN = 5

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings, a TOML file. Default: tradewind.toml if there is one.")
]
DataDirOption = Annotated[Path | None, typer.Option(help="Directory of all state. Default: var.")]


def register(app: typer.Typer) -> None:
    for command in (up, down):
        app.command(rich_help_panel="Server")(command)


def up(
    context: typer.Context,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="gRPC port; 0 takes any free one.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Market data of the real exchanges, not recordings.")] = False,
    speed: Annotated[
        float | None, typer.Option(min=0, help="Pace of the recordings: 10 is tenfold, 0 flat out.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; return when it is ready.")] = False,
    wait_s: Annotated[float, typer.Option(min=1, help="With --detach: how long to wait for that, seconds.")] = 120,
    json: JsonFlag = False,
) -> None:
    """Start everything and show what comes up. Ctrl-C stops gracefully, a second one at once.

    \b
    Examples:
      tradewind up
      tradewind up --live
      tradewind up --detach --data-dir /srv/tradewind --speed 10
    """
    session = session_of(context)
    overrides: dict[str, Any] = {
        "data_dir": data_dir or session.given_data_dir,
        "server": {"port": port},
        "feeds": {"mode": "live" if live else None, "replay_speed": speed},
    }
    from server.config import load_config  # here, as the server below: --help should not wait for it

    settings = load_config(config, overrides)
    if (other := running_instance(settings.data_dir)) is not None:
        fail(f"already running on {settings.data_dir} (process {other.pid}, {other.address}); stop it: tradewind down")
    if detach:
        _start_detached(settings.data_dir, _arguments(config, overrides), wait_s, json)
        return
    if sys.stderr.isatty() and "level" not in settings.logging.model_fields_set:  # the screen is for what matters
        settings = load_config(config, overrides | {"logging": {"level": "warning"}})
    sys.exit(_run(settings, json))


def _run(config: Config, json: bool) -> int:
    from server import app

    with StartReport(json) as report:

        def on_ready(ready: app.Ready) -> None:
            token_file, metrics_url = ready.admin_token_path, ready.metrics_url
            report.ready(WhatNow(ready.data_dir, ready.address, token_file, ready.market_data, metrics_url))

        try:
            return app.serve(
                config, on_state=lambda s: report.state(s.name, s.state.name, s.detail, s.progress), on_ready=on_ready
            )
        except (OSError, ValueError):  # nothing that was typed: the server's own failure is told whole
            traceback.print_exc()
            return 1


def _start_detached(data_dir: Path, arguments: list[str], wait_s: float, json: bool) -> None:
    log_file = data_dir / LOG_FILE
    log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log_file.open("a") as log:
        log_start = log.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "server.cli", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C here, or the end of this terminal, is none of its business
        )
    with StartReport(json) as report:
        running = _wait_until_started(child, data_dir, report, wait_s)
        if running is None:
            _fail_to_start(child, log_file, log_start, wait_s)
        with Session(None, None, data_dir, None).client() as client:
            info = client.get_info()
        report.ready(
            WhatNow(
                data_dir, running.address, data_dir / ADMIN_TOKEN, info.market_data, log_file=log_file, pid=running.pid
            )
        )


def _arguments(config_file: Path | None, overrides: dict[str, Any]) -> list[str]:
    """The command line that gives the child what this one was given."""
    options = {
        "--config": config_file,
        "--data-dir": overrides["data_dir"],
        "--port": overrides["server"]["port"],
        "--speed": overrides["feeds"]["replay_speed"],
    }
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    return [*given, "--live"] if overrides["feeds"]["mode"] == "live" else given


def _wait_until_started(
    child: subprocess.Popen[bytes], data_dir: Path, report: StartReport, wait_s: float
) -> RunningInstance | None:
    """The instance when every part of it has started; None if it ended or takes too long."""
    deadline = time.monotonic() + wait_s
    session = Session(None, None, data_dir, None)
    client: Client | None = None
    try:
        while child.poll() is None and time.monotonic() < deadline:
            running = running_instance(data_dir)
            if running is not None and running.address and running.pid == child.pid:
                client = client or session.client()
                if _started(client, report):
                    return running
            time.sleep(_POLL_S)
        return None
    finally:
        if client is not None:
            client.close()


def _started(client: Client, report: StartReport) -> bool:
    try:
        services = client.list_services()
    except TradewindError:  # it does not listen yet
        return False
    for service in services:
        report.state(service.name, service.state, service.detail, None)
    return all(service.state is not ServiceState.STARTING for service in services)


def _fail_to_start(child: subprocess.Popen[bytes], log_file: Path, log_start: int, wait_s: float) -> NoReturn:
    if child.poll() is None:
        fail(f"still starting after {wait_s:g} s, and left running (process {child.pid}); its log is {log_file}")
    with log_file.open() as log:
        log.seek(log_start)
        lines = log.read().splitlines()
    for line in lines[-_LOG_LINES_SHOWN:-1]:
        print(line, file=sys.stderr)
    last = lines[-1].removeprefix("error: ") if lines else f"exit code {child.returncode}"
    fail(f"it did not start: {last} (log: {log_file})")


def down(
    context: typer.Context,
    data_dir: DataDirOption = None,
    wait_s: Annotated[float, typer.Option(min=0, help="How long to wait for the end, seconds.")] = 30,
    json: JsonFlag = False,
) -> None:
    """Stop the server that runs on the data directory, gracefully, and wait for its end.

    \b
    Example:
      tradewind down --data-dir /srv/tradewind
    """
    directory = data_dir or session_of(context).data_dir
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
