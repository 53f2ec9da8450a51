"""Starting a server in the background: a child that outlives this command, followed through its log at first."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from server.cli.render import fail
from server.cli.startup import StartReport, WhatNow

LOG_FILE = Path("log", "tradewind.log")
"""Within the data directory."""

_POLL_S = 0.05
_LOG_LINES_SHOWN = 5


def start(data_dir: Path, arguments: list[str], wait_s: float, as_json: bool) -> None:
    """Run `tradewind up` with `arguments` in the background and return when it is ready."""
    log_file = data_dir / LOG_FILE
    log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        log_start = log.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "server.cli", "up", "--json", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C here, or the end of this terminal, is none of its business
        )
    with StartReport(as_json) as report:
        for line in _lines(child, log_file, log_start, wait_s):
            if (now := _relay(line, report)) is not None:
                report.ready(dataclasses.replace(now, log_file=log_file, pid=child.pid))
                return
    _fail_to_start(child, log_file, log_start, wait_s)


def _lines(child: subprocess.Popen[bytes], log_file: Path, log_start: int, wait_s: float) -> Iterator[str]:
    """What the child writes, line by line, until it ends or the time is up."""
    deadline = time.monotonic() + wait_s
    unfinished = ""
    with log_file.open(encoding="utf-8", errors="replace") as log:
        log.seek(log_start)
        while time.monotonic() < deadline:
            ended = child.poll() is not None  # asked first: what it wrote before its end is still read
            unfinished += log.readline()
            if unfinished.endswith("\n"):
                yield unfinished
                unfinished = ""
            elif ended:
                return
            else:
                time.sleep(_POLL_S)


def _relay(line: str, report: StartReport) -> WhatNow | None:
    """Show an event of the child's start as one's own. The end of the start is given back."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict):
        return None
    kind = event.pop("event", None)
    if kind == "state":
        report.state(event["service"], event["state"], event["detail"], None)
    elif kind == "progress":
        report.state(event["service"], "STARTING", event["detail"], (event["done"], event["total"]))
    elif kind == "ready":
        return WhatNow(**event | {"data_dir": Path(event["data_dir"]), "token_file": Path(event["token_file"])})
    return None


def _fail_to_start(child: subprocess.Popen[bytes], log_file: Path, log_start: int, wait_s: float) -> NoReturn:
    if child.poll() is None:
        fail(f"still starting after {wait_s:g} s, and left running (process {child.pid}); its log is {log_file}")
    with log_file.open(encoding="utf-8", errors="replace") as log:
        log.seek(log_start)
        lines = [line for line in log.read().splitlines() if not line.startswith("{")]
    for line in lines[-_LOG_LINES_SHOWN:-1]:
        print(line, file=sys.stderr)
    last = lines[-1].removeprefix("error: ") if lines else f"exit code {child.returncode}"
    fail(f"it did not start: {last} (log: {log_file})")
