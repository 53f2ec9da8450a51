"""Starting a server in the background: a child that outlives this command, followed through its log at first."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from server.base.workers import module_command
from server.cli.render import fail
from server.cli.startup import Part, StartReport, WhatNow

LOG_FILE, START_FILE = Path("log", "tradewind.log"), Path("log", "start.log")
"""Within the data directory: the log, which is rotated; and what the last start printed."""

NOT_ALL_SERVING = 3
"""Exit code: it runs, and some part is not SERVING."""

_POLL_S = 0.05
_LOG_LINES_SHOWN = 5


def start(data_dir: Path, log_file: Path | None, arguments: list[str], wait_s: float, as_json: bool) -> None:
    """Run `tradewind up` with `arguments` in the background and return when no part of it is STARTING any more. It logs
    to `log_file`, by default one in the data directory.

    One rule decides how this ends: all parts SERVING is a success. If it runs and some are not, or not yet after
    `wait_s`, they are named and the exit code is NOT_ALL_SERVING; if it did not start, it is 1.
    """
    start_file = data_dir / START_FILE
    for directory in (data_dir, start_file.parent):  # each by itself: `parents` makes those above with open access
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_file = log_file or (data_dir / LOG_FILE).resolve()
    with start_file.open("wb") as output:
        child = subprocess.Popen(
            module_command("server.cli", "up", "--json", *arguments),
            env=os.environ | {"TRADEWIND_LOGGING__FILE": str(log_file)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C here, or the end of this terminal, is none of its business
        )
    with StartReport(as_json) as report:
        for line in _lines(child, start_file, wait_s):
            if (now := _relay(line, report)) is not None:
                now = dataclasses.replace(now, log_file=log_file, pid=child.pid)
                report.ready(now)
                if now.not_serving:
                    sys.exit(NOT_ALL_SERVING)
                return
    if child.poll() is None:
        waits = "; ".join(f"{part.service} is {part.state}: {part.detail}" for part in report.not_serving())
        text = f"still starting after {wait_s:g} s, and left running (process {child.pid}): {waits}; see {start_file}"
        fail(text, NOT_ALL_SERVING)
    _fail_to_start(child, start_file)


def _lines(child: subprocess.Popen[bytes], start_file: Path, wait_s: float) -> Iterator[str]:
    """What the child writes, line by line, until it ends or the time is up."""
    deadline = time.monotonic() + wait_s
    unfinished = ""
    with start_file.open(encoding="utf-8", errors="replace") as output:
        while time.monotonic() < deadline:
            ended = child.poll() is not None  # asked first: what it wrote before its end is still read
            unfinished += output.readline()
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
        paths = {name: Path(event[name]) for name in ("data_dir", "token_file")}
        return WhatNow(**event | paths | {"not_serving": tuple(Part(**part) for part in event["not_serving"])})
    return None


def _fail_to_start(child: subprocess.Popen[bytes], start_file: Path) -> NoReturn:
    text = start_file.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if not line.startswith("{")]
    for line in lines[-_LOG_LINES_SHOWN:-1]:
        print(line, file=sys.stderr)
    last = lines[-1].removeprefix("error: ") if lines else f"exit code {child.returncode}"
    fail(f"it did not start: {last} (all of it: {start_file})")
