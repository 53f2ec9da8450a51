"""The rules of the house, checked: who may import whom, where time and chance come from, what money is made of."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The longest matching prefix of a module's name decides; a module may import what its rule lists (prefixes), itself and
# its own package, and whatever is not ours. docs/architecture.md draws the same picture.
OURS = ("server", "fastpath", "tradewind", "loadtest", "clients", "tests")
RULES: dict[str, tuple[str, ...]] = {
    "fastpath": (),
    "tradewind": (),
    "server.errors": (),
    "server.child": (),
    "server.clock": (),
    "server.background": (),
    "server.clock_watch": ("server.background", "server.clock", "server.lifecycle"),
    "server.instruments": ("server.errors", "fastpath.model"),
    "server.engine": (
        "server.background",
        "fastpath",
        "server.errors",
        "server.clock",
        "server.instruments",
        "server.storage.ports",
        "server.storage.blotter_rows",
    ),
    "server.storage": (
        "server.background", "server.child", "server.errors", "server.clock", "server.instruments", "server.engine.commands",
        "server.engine.events", "server.feeds.model", "fastpath",
    ),
    "server.feeds": (
        "server.background",
        "server.errors",
        "server.clock",
        "server.instruments",
        "server.engine.commands",
        "server.engine.events",
        "server.engine.fanout",
        "fastpath",
    ),
    "server.venues": (
        "server.errors",
        "server.clock",
        "server.instruments",
        "server.engine",
        "server.feeds",
        "fastpath",
    ),
    "server.replay": ("server.background", "server.errors", "server.clock"),
    "server.rpc": (
        "server.errors",
        "server.clock",
        "server.instruments",
        "server.engine",
        "server.feeds",
        "server.observability",
        "server.lifecycle",
        "server.tokens",
        "server.config",
        "server.own_instruments",
        "server.storage.tick_history",
        "fastpath.directory",
        "fastpath.model",
        "fastpath.order_answers",
        "fastpath.order_requests",
        "tradewind.v1",
    ),
    "server.config": (
        "server.errors",
        "server.feeds.venue_config",
        "server.instruments",
        "server.own_instruments",
        "fastpath.model",
    ),
    "server.own_instruments": ("server.instruments",),
    "server.observability": (
        "server.background",
        "server.errors",
        "server.clock",
        "server.config",
        "server.log_stream",
        "server.rotating_file",
    ),
    "server.lifecycle": ("server.background", "server.errors", "server.clock"),
    "server.tokens": ("server.errors", "server.clock"),
    "server.markets": (
        "server.background",
        "server.clock",
        "server.config",
        "server.errors",
        "server.feeds",
        "server.instruments",
        "server.lifecycle",
        "server.replay",
    ),
    "server.failpoints": ("server.errors",),
    "server.replica": ("fastpath", "server.child", "server.engine", "server.errors", "server.failpoints", "server.storage"),
    "server.snapshots": (
        "server.background",
        "server.config",
        "server.engine",
        "server.errors",
        "server.lifecycle",
        "server.replica",
        "server.storage",
    ),
    "server.order_room": ("server.engine", "server.lifecycle"),
    "server.past_events": ("fastpath", "server.child", "server.engine", "server.errors", "server.replica", "server.storage"),
    "server.pauses": (),
    "server.rotating_file": (),
    "server.log_stream": (),
    "server.market_bus": (
        "server.background",
        "server.errors",
        "server.feeds",
        "server.instruments",
        "server.lifecycle",
        "server.storage",
    ),
    "server.stores": (
        "server.background",
        "server.market_bus",
        "server.clock",
        "server.config",
        "server.engine",
        "server.errors",
        "server.feeds",
        "server.instruments",
        "server.lifecycle",
        "server.observability",
        "server.past_events",
        "server.storage",
    ),
    "server.app": ("server", "fastpath", "tradewind.v1"),
    # The command line is a client, and the one that starts the server.
    "server.cli": ("tradewind", "server.app", "server.child", "server.config", "server.errors", "server.lifecycle"),
    # Works on the files of a server, whether it runs or not.
    "server.cli.journal": (
        "fastpath",
        "server.cli",
        "server.config",
        "server.engine",
        "server.errors",
        "server.lifecycle",
        "server.storage",
    ),
    "server.cli.blotter": (
        "server.cli",
        "server.config",
        "server.blotter_rebuild",
        "server.engine.limits",
        "server.stores",
    ),
    "server.blotter_rebuild": ("server.engine", "server.storage"),
    "loadtest": ("tradewind", "fastpath"),
    # Parts against what they are made of.
    "loadtest.bench": ("server", "fastpath", "loadtest", "tradewind.v1"),
}

# Where the wall clock or chance may be used directly: the clock itself and the composition root that hands them out.
CLOCK_AND_CHANCE = {"server/clock.py", "server/app.py", "server/cli/journal.py"}
MONEY_PATH = ("server/engine/", "server/venues/", "server/rpc/convert.py", "server/instruments.py")
GUIDE_LINES = 500


def sources(*folders: str, suffix: str = ".py") -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if name.endswith(suffix) and (ROOT / name).exists()]


def module_name(path: Path) -> str:
    relative = path.relative_to(ROOT)
    if relative.parts[:2] == ("clients", "python"):
        relative = Path(*relative.parts[2:])
    return ".".join(relative.with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            assert node.module is not None
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def rule_of(module: str) -> str:
    matching = [prefix for prefix in RULES if within(module, prefix)]
    assert matching, f"{module} has no import rule; add one to RULES and to docs/architecture.md"
    return max(matching, key=len)


@pytest.mark.once
def test_everybody_imports_only_whom_they_may() -> None:
    broken = []
    for path in sources("server", "fastpath", "clients/python/tradewind", "loadtest"):
        module = module_name(path)
        if module == "server" or module.startswith("tradewind.v1"):
            continue
        rule = rule_of(module)
        allowed = (*RULES[rule], rule)
        for line, imported in imports(ast.parse(path.read_text())):
            if imported.split(".")[0] in OURS and not any(within(imported, prefix) for prefix in allowed):
                broken.append(f"{path.relative_to(ROOT)}:{line} imports {imported}; {rule} may import {RULES[rule]}")
    assert not broken, "\n".join(broken)


@pytest.mark.once
def test_only_rpc_knows_grpc_and_the_wire_messages() -> None:
    broken = []
    for path in sources("server"):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("server/rpc/", "server/cli/")) or name == "server/cli.py":
            continue
        for line, imported in imports(ast.parse(path.read_text())):
            if within(imported, "grpc") or imported.startswith(("grpc_", "tradewind.v1")):
                broken.append(f"{name}:{line} imports {imported}")
    assert not broken, "\n".join(broken)


CLOCK_CALLS = re.compile(r"\b(time\.time(_ns)?\(|datetime\.(now|utcnow|today)\(|date\.today\()")
CHANCE = re.compile(
    r"^\s*(import (random|secrets|uuid)\b|from (random|secrets|uuid) import)|os\.urandom\(", re.MULTILINE
)


@pytest.mark.once
@pytest.mark.parametrize(("what", "pattern"), [("wall clock", CLOCK_CALLS), ("chance", CHANCE)])
def test_time_and_chance_come_as_arguments(what: str, pattern: re.Pattern[str]) -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {match.group().strip()}"
        for path in [*sources("server"), *sources("fastpath", suffix=".pyx")]
        if path.relative_to(ROOT).as_posix() not in CLOCK_AND_CHANCE
        for match in pattern.finditer(path.read_text())
    ]
    assert not broken, f"{what} used directly; take a server.clock.Clock or a source as an argument:\n" + "\n".join(
        broken
    )


@pytest.mark.once
def test_a_process_of_the_server_imports_nothing_of_the_current_folder() -> None:
    makers = [str(path.relative_to(ROOT)) for path in sources("server") if "sys.executable" in path.read_text()]
    assert makers == ["server/child.py"], "run a module by server.child.module_command"


# Where a task may be made by itself: it belongs to a call, a connection or a start, whose owner waits for it.
TASKS = {
    "server/background.py", "server/app.py", "server/feeds/exchange.py", "server/replay/__main__.py",
    "server/replay/server.py", "server/replica.py", "server/rpc/order_stream.py", "server/storage/bus_market.py",
    "server/storage/redis_bus.py", "server/engine/runner.py",
}  # fmt: skip


@pytest.mark.once
def test_background_work_is_watched() -> None:
    made = re.compile(r"\b(create_task|ensure_future)\(")
    broken = [
        f"{name}: {match.group()}"
        for path in sources("server")
        if (name := path.relative_to(ROOT).as_posix()) not in TASKS
        for match in made.finditer(path.read_text())
    ]
    assert not broken, "use server.background.keep_running, which tells when it ends:\n" + "\n".join(broken)


@pytest.mark.once
def test_no_floats_where_money_is() -> None:
    broken = []
    for path in sources("server"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(MONEY_PATH):
            continue
        broken += [
            f"{name}:{number}" for number, line in enumerate(path.read_text().splitlines(), 1) if "float(" in line
        ]
    assert not broken, "money is integers and decimals: " + ", ".join(broken)


@pytest.mark.once
def test_every_compiled_module_has_its_types() -> None:
    missing = [
        str(path.relative_to(ROOT))
        for path in sources("fastpath", suffix=".pyx")
        if not path.with_suffix(".pyi").exists()
    ]
    assert not missing, f"no .pyi beside {missing}"


@pytest.mark.once
def test_files_stay_one_screen_of_thought() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for path in [*sources("server", "clients", "loadtest"), *sources("fastpath", suffix=".pyx")]
        if (count := len(path.read_text().splitlines())) > GUIDE_LINES
    ]
    assert not long, "split these (one concept a file): " + ", ".join(long)


@pytest.mark.once
def test_every_function_of_the_compiled_core_says_what_it_raises() -> None:
    """A bare `cdef` without `noexcept` or `except` costs 27 ns a call against 1.4 in nogil code."""
    signature = re.compile(
        r"^\s*(?:cdef|cpdef)\s+(?!class|struct|enum|packed|extern|union|readonly|public)[^=\n]*\([^\n]*\)([^\n]*):\s*(?:#.*)?$",
        re.MULTILINE,
    )
    broken = []
    for path in sources("fastpath", suffix=".pyx") + sources("fastpath", suffix=".pxd"):
        for match in signature.finditer(path.read_text()):
            head = match.group()
            returns_object = re.match(r"\s*(?:cdef|cpdef)\s+(?:inline\s+)?(?:bytes|object|str|list|tuple|dict)\b", head)
            if "noexcept" not in head and "except" not in head and not returns_object:
                broken.append(f"{path.relative_to(ROOT)}: {head.strip()[:100]}")
    assert not broken, "\n".join(broken)
