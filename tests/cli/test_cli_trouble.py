"""What the command line says of a server that fails, and of a machine that has not enough for one."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from server.engine.engine import Engine
from tests.support.app import order, place, running, settings
from tests.support.command_line import nothing_named, runner
from tests.support.rpc import refused
from tests.waiting import PATIENCE_S

MB = 1 << 20


async def test_status_shows_a_stopped_engine_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    nothing_named(monkeypatch, tmp_path)

    def broken(engine: Engine, commands: bytes) -> bytes:
        raise ArithmeticError("a bug")

    async with running(settings(data)) as app:
        await place(app)
        monkeypatch.setattr(Engine, "apply", broken)
        await refused(app.orders.PlaceOrder(order(), metadata=app.admin))
        ran = await asyncio.to_thread(runner(capsys), "--data-dir", str(data), "status")
        assert ran.status == 1
        assert "internal error (ArithmeticError)" in ran.out
        assert "NOT_SERVING" in ran.out
        assert "no server answers" not in ran.out + ran.err
        ran = await asyncio.to_thread(runner(capsys), "--data-dir", str(data), "status", "--json")
        parts = {each["name"]: each["state"] for each in ran.document["services"]}
        assert parts["engine"] == "NOT_SERVING"
        assert parts["snapshots"] == "SERVING"


@pytest.mark.parametrize("limit", [400 * MB, 1_000 * MB])
def test_a_server_that_gets_too_little_memory_says_so(tmp_path: Path, limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "up", "--data-dir", tmp_path, "--port", "0", "--metrics-port", "0"],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        env=os.environ | {"TRADEWIND_FEEDS__MODE": "off"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "not enough memory" in done.stderr
    assert "Traceback" not in done.stderr


async def test_metrics_that_anybody_can_read_are_warned_of(tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = settings(
        tmp_path / "data", metrics={"enabled": True, "host": "0.0.0.0"}, logging={"file": log, "level": "warning"}
    )
    try:
        async with running(config):
            assert "anybody who reaches this machine can read the metrics" in log.read_text()
    finally:
        structlog.reset_defaults()
