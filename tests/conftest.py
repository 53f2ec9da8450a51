"""What every test run prints first (what is under test, on what), and the fixtures all tests share."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import pytest

from loadtest.servers import find_program

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
"""Recorded data that may not be shipped with the project; absent in an ordinary clone."""

KINDS = {
    "unit": ("base", "records", "process", "access", "fastpath", "market", "engine", "venues", "risk", "test_tidy.py"),
    "integration": ("feeds", "storage", "recovery", "rpc", "clients"),
    "e2e": ("app", "cli", "simulation"),
}
"""The marker of a test by its folder, unless it or its file says another: unit tests start no server and no
database, integration tests do within their own process or beside it, end-to-end tests start the server as its users do."""

LONG = (
    "cli/test_cli_end_to_end.py", "app/test_stores.py", "simulation/test_whole_server.py", "recovery/test_kill_storm.py",
    "app/test_app.py", "storage/test_journal_contract.py", "feeds/test_feeds_replay.py", "fastpath/test_matching_debug.py",
    "app/test_failures.py", "simulation/test_replay_ccxt.py", "fastpath/test_matching_twin.py", "storage/test_blotter.py",
    "test_readme.py", "fastpath/test_exchange_long.py", "recovery/test_replay.py", "fastpath/test_lobster.py",
)  # fmt: skip
"""The files that take longest, which begin first: so a parallel run does not end with one process at work on one of them."""

SOAK_FACTOR = int(os.environ.get("TRADEWIND_SOAK", "1"))
"""How many times longer the randomized tests run than in an ordinary run."""


def absent(reason: str) -> NoReturn:
    """For a test that needs what this machine lacks: it skips, but in CI, where all is to be there, it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


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


def _server(name: str, program: str, *ask_version: str) -> str:
    """Name and version of a server the tests talk to, or that it is absent."""
    path = find_program(program)
    if path is None:
        return f"{name} ABSENT"
    # Old ClickHouse servers cannot say their version; the package they came in can.
    command = [path, *ask_version] if ask_version else ["dpkg-query", "-W", "-f", "${Version}", program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return f"{name} of unknown version"
    found = re.search(r"\d+(\.\d+)+", done.stdout or done.stderr)
    return f"{name} {found.group() if found else 'of unknown version'}"


def pytest_report_header() -> list[str]:
    packages = ("grpcio", "protobuf", "ccxt", "uvloop", "cython", "hypothesis")
    return [
        f"tradewind: commit {_commit()}",
        f"machine:   Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores",
        "packages:  " + ", ".join(f"{name} {_version(name)}" for name in packages),
        "servers:   "
        + ", ".join((
            _server("PostgreSQL", "postgres", "--version"),
            _server("Redis", "redis-server", "--version"),
            _server("ClickHouse", "clickhouse-server"),
            _server("Prometheus", "prometheus", "--version"),
            f"DuckDB {_version('duckdb')} (embedded)",
        )),
        f"data:      beside the project: {'found' if SHARED.is_dir() else 'ABSENT, tests that need it skip'}",
        f"soak:      x{SOAK_FACTOR} (TRADEWIND_SOAK)",
    ]


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background of a script ignores Ctrl-C, and so would every process that it starts and interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "once: says the same however often it runs; left out of soak runs")
    for kind, folders in KINDS.items():
        config.addinivalue_line("markers", f"{kind}: tests of {', '.join(folders)}, and those that say so")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    kind_of = {folder: kind for kind, folders in KINDS.items() for folder in folders}
    for item in items:
        if not any(item.get_closest_marker(kind) for kind in KINDS):
            top, second, *_ = item.path.relative_to(ROOT).parts
            item.add_marker(getattr(pytest.mark, kind_of.get(second if top == "tests" else top, "e2e")))
    turn = {ROOT / "tests" / name: at for at, name in enumerate(LONG)}
    items.sort(key=lambda item: turn.get(item.path, len(LONG)))


TALLY = pytest.StashKey[Counter[str]]()
"""What randomized tests tried, by kind."""


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Count what was tried; the end of the run tells how much that was."""

    def count(kind: str, number: int) -> None:
        request.config.stash.setdefault(TALLY, Counter())[kind] += number

    return count


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of a parallel run hands its tally to the process that started it."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tally"] = dict(session.config.stash.get(TALLY, Counter()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    tally = node.config.stash.setdefault(TALLY, Counter())
    tally.update(getattr(node, "workeroutput", {}).get("tally", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for kind, number in sorted(config.stash.get(TALLY, Counter()).items()):
        terminalreporter.write_line(f"{kind}: {number:,}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded data beside the project; skips where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED.name}/ folder beside the project: this test needs data that cannot be shipped")
    return SHARED
