"""Output of `tradewind up`: progress of the start, then how to connect."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from server.cli.render import console, print_json
from server.cli.session import DEFAULT_DATA_DIR

_COLORS = {"STARTING": "yellow", "SERVING": "green", "DEGRADED": "yellow", "NOT_SERVING": "red"}
_STATE_WIDTH = max(map(len, _COLORS))
_NAME_WIDTH = 34


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the server and how it is."""

    service: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class WhatNow:
    """A server that is ready: where, how to get in, and what it plays."""

    data_dir: Path
    address: str
    token_file: Path
    market_data: str
    instrument: str
    """One that can be traded now."""
    metrics_url: str | None = None
    log_file: Path | None = None
    pid: int | None = None
    """Given when it runs in the background."""
    started_in_s: float | None = None
    not_serving: tuple[Part, ...] = ()
    """Parts that are not SERVING; all others are."""

    def lines(self) -> list[str]:
        command = _command() if self.data_dir == DEFAULT_DATA_DIR else f"{_command()} --data-dir {self.data_dir}"
        took = f" in {self.started_in_s:g} s" if self.started_in_s is not None else ""
        terms = "--price 50000" if self.instrument.startswith("internal:") else "--market"
        lines = [
            f"Ready{took}: gRPC on {self.address}, market data: {self.market_data}",
            f"  token     {self.token_file}",
            f"  metrics   {self.metrics_url}" if self.metrics_url else "",
            f"  log       {self.log_file}" if self.log_file else "",
            "Try, in another terminal:" if self.pid is None else "Try:",
            f"  {command} book {self.instrument} --watch",
            f"  {command} buy {self.instrument} 0.01 {terms}",
            f"  {command} positions",
            "" if self.market_data == "live" else f"Real exchanges instead of recordings: {_command()} up --live",
            "Not all of it serves:" if self.not_serving else "",
            *(f"  {part.state:<{_STATE_WIDTH}}  {part.service}: {part.detail}" for part in self.not_serving),
            "Stop: Ctrl-C" if self.pid is None else f"Stop: {command} down   (process {self.pid})",
        ]
        return [line for line in lines if line]


class StartReport:
    """Prints each change of state, and a bar while something long runs. JSON: a line an event, the last is `ready`."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = console()
        self._bar: Progress | None = None
        self._parts: dict[str, Part] = {}
        self._tenth_shown = -1
        self._is_ready = False

    def __enter__(self) -> StartReport:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def state(self, name: str, state: str, detail: str, progress: tuple[int, int] | None) -> None:
        """A part of the server is in `state` now; `progress` is (done, total) of something long."""
        if progress is not None and progress[1] > 0:
            self._progress(name, detail, *progress)
            return
        self._end_bar()
        shown = self._parts.get(name)
        self._parts[name] = Part(name, state, detail)
        same = shown is not None and shown.state == state
        if self._as_json and state == "STARTING":  # who reads this wants to know what it waits for now
            same = shown == self._parts[name]
        if same or (self._as_json and self._is_ready):
            return
        if self._as_json:
            print_json({"event": "state", "service": name, "state": state, "detail": detail})
            return
        color = _COLORS.get(state, "default")
        self._console.print(f"[{color}]{state:<{_STATE_WIDTH}}[/{color}]  {name:<{_NAME_WIDTH}}", end="")
        self._console.print(detail, markup=False)
        sys.stdout.flush()

    def not_serving(self) -> tuple[Part, ...]:
        """What was told of the parts that are not SERVING."""
        return tuple(part for part in self._parts.values() if part.state != "SERVING")

    def ready(self, now: WhatNow) -> None:
        self._end_bar()
        self._is_ready = True
        if self._as_json:
            print_json({"event": "ready"} | {name: _json(getattr(now, name)) for name in WhatNow.__dataclass_fields__})
            return
        print()
        print("\n".join(now.lines()), flush=True)

    def _progress(self, name: str, detail: str, done: int, total: int) -> None:
        if self._as_json:
            print_json({"event": "progress", "service": name, "detail": detail, "done": done, "total": total})
        elif self._console.is_terminal:
            if self._bar is None:
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                self._bar = Progress(*columns, console=self._console, transient=True)
                self._bar.start()
                self._bar.add_task(f"{name}: {detail}")
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        elif (tenth := 10 * done // max(total, 1)) != self._tenth_shown:
            self._tenth_shown = tenth
            print(f"{name}: {detail} {done}/{total}", flush=True)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _command() -> str:
    """The command as it can be typed here: by its name where the shell finds it, else as it was called."""
    called = Path(sys.argv[0])
    found = shutil.which("tradewind")
    if found and Path(found).resolve() == called.resolve():
        return "tradewind"
    return "python -P -m server.cli" if called.name == "__main__.py" else sys.argv[0]


def _json(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
