"""What is shown while a server starts: on a screen, in a file, as JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console

from server.cli import main, startup
from server.cli.startup import StartReport, WhatNow

READY = WhatNow(
    Path("elsewhere"), "127.0.0.1:1", Path("elsewhere/admin.token"), "replay", "okx:BTC/USDT", "http://127.0.0.1:2/metrics",
    started_in_s=2.5,
)  # fmt: skip
LIVE = WhatNow(Path("var"), "a:1", Path("t"), "live", "internal:BTC/USDT")


def recover(report: StartReport, commands: int = 1000) -> None:
    report.state("engine", "STARTING", "recovering", (0, 0))
    for done in range(0, commands + 1, 10):
        report.state("engine", "STARTING", "recovering", (done, commands))
    report.state("engine", "SERVING", "recovered", None)
    report.state("engine", "SERVING", "still", None)


def test_json_is_a_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    with StartReport(as_json=True) as report:
        recover(report, 100)
        report.ready(READY)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["state", *["progress"] * 11, "state", "ready"]
    assert events[-3] | {"event": ""} == {
        "event": "", "service": "engine", "detail": "recovering", "done": 100, "total": 100
    }  # fmt: skip
    assert events[-1]["token_file"] == "elsewhere/admin.token"


def test_json_tells_what_a_part_waits_for_now(capsys: pytest.CaptureFixture[str]) -> None:
    with StartReport(as_json=True) as report:
        for detail in ("asking", "asking", "0 of 3 books are LIVE"):
            report.state("feed/okx", "STARTING", detail, None)
    details = [json.loads(line)["detail"] for line in capsys.readouterr().out.splitlines()]
    assert details == ["asking", "0 of 3 books are LIVE"]


def test_what_does_not_serve_is_named_with_its_newest_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with StartReport(as_json=False) as report:
        recover(report, 10)
        report.state("feed/okx", "NOT_SERVING", "first reason", None)
        report.state("feed/okx", "NOT_SERVING", "second reason", None)
        report.ready(replace(READY, not_serving=report.not_serving()))
    lines = capsys.readouterr().out.splitlines()
    assert "  NOT_SERVING  feed/okx: second reason" in lines[lines.index("Not all of it serves:") :]
    assert not [line for line in lines if "engine:" in line and "NOT" in line]


def test_a_file_gets_each_tenth_of_a_recovery_and_each_state_once(capsys: pytest.CaptureFixture[str]) -> None:
    with StartReport(as_json=False) as report:
        recover(report)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "/1000" in line]) == 11
    assert len([line for line in lines if line.startswith("SERVING")]) == 1
    assert "\x1b" not in "".join(lines)


def test_a_screen_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(startup, "console", lambda: Console(file=screen, force_terminal=True, width=100))
    with StartReport(as_json=False) as report:
        recover(report)
    assert "1000/1000" in screen.getvalue()
    assert screen.getvalue().rstrip().endswith("recovered")


def test_what_now_can_be_typed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/tradewind", "up"])
    monkeypatch.setattr("shutil.which", lambda name: None)
    text = "\n".join(READY.lines())
    assert "  .venv/bin/tradewind --data-dir elsewhere positions" in text
    assert "up --live" in text
    assert text.startswith("Ready in 2.5 s: gRPC on 127.0.0.1:1")
    assert "buy okx:BTC/USDT 0.01 --market" in text
    live = "\n".join(LIVE.lines())
    assert "--data-dir" not in live
    assert "up --live" not in live
    assert "buy internal:BTC/USDT 0.01 --price 50000" in live


EARLY_INTERRUPT = """
import sys
class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
import server.cli
"""


@pytest.mark.once
def test_the_version_is_told_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code or 0, capsys.readouterr().out) == (0, f"tradewind {version('tradewind-server')}\n")


@pytest.mark.once
def test_an_interrupt_while_the_command_is_loaded_ends_it_quietly() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY_INTERRUPT], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
