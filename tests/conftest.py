"""What every test run prints first (what is under test, on what), and the fixtures all tests share."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from loadtest.servers import find_program

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
"""Recorded data that may not be shipped with the project; absent in an ordinary clone."""

SOAK_FACTOR = int(os.environ.get("TRADEWIND_SOAK", "1"))
"""How many times longer the randomized tests run than in an ordinary run."""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    done = subprocess.run(
        [git, "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _server(command: str, *arguments: str) -> str:
    path = find_program(command)
    if path is None:
        return f"{command} ABSENT"
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].split("(")[0].split(" sha=")[0].strip() if lines else "present"


def _clickhouse() -> str:
    """Old servers cannot say their version; Debian's package can."""
    if find_program("clickhouse-server") is None:
        return "clickhouse-server ABSENT"
    known = _server("dpkg-query", "-W", "-f", "${Version}", "clickhouse-server")
    return "ClickHouse " + (known if known[:1].isdigit() else "of unknown version")


def pytest_report_header() -> list[str]:
    packages = ("grpcio", "protobuf", "ccxt", "uvloop", "cython", "hypothesis")
    return [
        f"tradewind: commit {_commit()}",
        f"machine:   Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores",
        "packages:  " + ", ".join(f"{name} {_version(name)}" for name in packages),
        "servers:   "
        + ", ".join([
            _server("postgres", "--version"), _server("redis-server", "--version"), _clickhouse(), f"DuckDB {_version('duckdb')}",
            _server("prometheus", "--version"),
        ]),
        f"data:      beside the project: {'found' if SHARED.is_dir() else 'ABSENT, tests that need it skip'}",
        f"soak:      x{SOAK_FACTOR} (TRADEWIND_SOAK)",
    ]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "once: says the same however often it runs; left out of soak runs")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded data beside the project; skips where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED.name}/ folder beside the project: this test needs data that cannot be shipped")
    return SHARED
