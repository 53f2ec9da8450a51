"""The rules of the house, checked: who may import whom, where time and rng come from, what money is made of."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import KINDS, LONG

ROOT = Path(__file__).resolve().parent.parent

OURS = ("server", "fastpath", "tradewind", "loadtest", "clients", "tests")

# Packages from the ground up: each imports from those before it, never from those behind it, so there is no cycle.
# docs/architecture.md draws the same picture.
FASTPATH = ("model", "containers", "book", "standalone", "state", "risk", "paper", "exchange", "blotter", "wire")
SERVER = (
    "base", "process", "access", "records", "storage", "engine", "recovery", "blotter", "market", "feeds", "venues",
    "risk", "replay", "rpc", "app", "cli",
)  # fmt: skip
# What the top-level folders may import of ours besides themselves.
TOP: dict[str, tuple[str, ...]] = {
    "fastpath": (),
    "tradewind": (),
    "server": ("fastpath", "tradewind"),
    "loadtest": ("fastpath", "tradewind"),
    "loadtest.bench": ("fastpath", "tradewind", "server"),
}
# Kept apart although the order would allow it: feeds speak to venues and know nothing of orders, the replay exchange
# knows nothing of who connects to it, stores know nothing of how a process runs.
APART = {
    ("server.feeds", "server.engine"), ("server.feeds", "server.recovery"), ("server.feeds", "server.blotter"),
    ("server.replay", "server.market"), ("server.replay", "server.feeds"), ("server.replay", "server.engine"),
    ("server.storage", "server.process"), ("server.market", "server.engine"), ("server.engine", "server.process"),
    ("server.rpc", "server.feeds"), ("server.rpc", "server.venues"), ("server.venues", "server.feeds"),
}  # fmt: skip

# Where the wall clock or rng may be used directly: the clock itself and the composition root that hands them out.
CLOCK_AND_RNG = {"server/base/clock.py", "server/app/main.py", "server/cli/journal.py"}
MONEY_PATH = ("server/engine/", "server/records/", "server/venues/", "server/rpc/convert.py", "server/base/instruments.py")
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


CIMPORT = re.compile(r"^\s*from (fastpath[\w.]*) c?import", re.MULTILINE)


def imported_packages() -> Iterator[tuple[str, str, str]]:
    """(where, importing module, imported module) of everything of ours that is imported."""
    for path in sources("server", "fastpath", "clients/python/tradewind", "loadtest"):
        if not (module := module_name(path)).startswith("tradewind.v1"):
            for line, imported in imports(ast.parse(path.read_text())):
                if imported.split(".")[0] in OURS:
                    yield f"{path.relative_to(ROOT)}:{line}", module, imported
    for path in [*sources("fastpath", suffix=".pyx"), *sources("fastpath", suffix=".pxd")]:
        for match in CIMPORT.finditer(path.read_text()):
            yield str(path.relative_to(ROOT)), module_name(path), match.group(1)


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.once
def test_packages_import_downward_only() -> None:
    rank = {f"fastpath.{name}": at for at, name in enumerate(FASTPATH)}
    rank |= {f"server.{name}": at for at, name in enumerate(SERVER)}
    broken = []
    for where, module, imported in imported_packages():
        top, other = module.split(".")[0], imported.split(".")[0]
        here, there = package_of(module), package_of(imported)
        if top != other:
            if other not in TOP.get(here, TOP.get(top, ())):
                broken.append(f"{where}: {here} imports {imported}")
        elif top in ("server", "fastpath") and here != there and "." in there:
            for package in (here, there):
                assert package in rank, f"{package} has no place; add it to this file and to docs/architecture.md"
            if rank[there] > rank[here]:
                broken.append(f"{where}: {here} imports {there}, which stands above it")
            elif (here, there) in APART:
                broken.append(f"{where}: {here} and {there} are kept apart")
    assert not broken, "\n".join(broken)


@pytest.mark.once
def test_only_rpc_knows_grpc_and_the_wire_messages() -> None:
    broken = []
    for path in sources("server"):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("server/rpc/", "server/cli/")):
            continue
        for line, imported in imports(ast.parse(path.read_text())):
            if within(imported, "grpc") or imported.startswith(("grpc_", "tradewind.v1")):
                broken.append(f"{name}:{line} imports {imported}")
    assert not broken, "\n".join(broken)


CLOCK_CALLS = re.compile(r"\b(time\.time(_ns)?\(|datetime\.(now|utcnow|today)\(|date\.today\()")
RNG_CALLS = re.compile(
    r"^\s*(import (random|secrets|uuid)\b|from (random|secrets|uuid) import)|os\.urandom\(", re.MULTILINE
)


@pytest.mark.once
@pytest.mark.parametrize(("what", "pattern"), [("wall clock", CLOCK_CALLS), ("rng", RNG_CALLS)])
def test_time_and_chance_come_as_arguments(what: str, pattern: re.Pattern[str]) -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {match.group().strip()}"
        for path in [*sources("server"), *sources("fastpath", suffix=".pyx")]
        if path.relative_to(ROOT).as_posix() not in CLOCK_AND_RNG
        for match in pattern.finditer(path.read_text())
    ]
    assert not broken, f"{what} used directly; take a server.base.clock.Clock or a source as an argument:\n" + "\n".join(
        broken
    )


@pytest.mark.once
def test_a_process_of_the_server_imports_nothing_of_the_current_folder() -> None:
    makers = [str(path.relative_to(ROOT)) for path in sources("server") if "sys.executable" in path.read_text()]
    assert makers == ["server/base/workers.py"], "run a module by server.base.workers.module_command"


# Who makes the engine's parts, or is one of them. All others take the protocols of server/engine/order_entry.py.
KNOW_TRADING = ("server/engine/", "server/app/main.py")


@pytest.mark.once
def test_services_depend_on_the_protocols_of_the_engine() -> None:
    broken = [
        f"{where}: {module}"
        for where, module, imported in imported_packages()
        if within(imported, "server.engine.trading") and module.startswith("server.") and not where.startswith(KNOW_TRADING)
    ]
    assert not broken, "take a protocol of server/engine/order_entry.py instead of Trading:\n" + "\n".join(broken)


# Engine and market wait by the clock they are given, so that a manual clock drives them. The bus is a connection: how long
# it may be silent is counted in real time, as at the venues' connections.
BY_THE_CLOCK = ("server/engine/", "server/venues/", "server/market/", "server/base/streams.py")
CONNECTIONS = {"server/market/bus_messages.py"}


@pytest.mark.once
def test_engine_and_market_wait_by_the_clock() -> None:
    timer = re.compile(r"\b(call_later|loop\.call_at|loop\.time|get_running_loop\(\)\.(call_at|time))\(")
    broken = [
        f"{name}: {match.group()}"
        for path in sources("server")
        if (name := path.relative_to(ROOT).as_posix()).startswith(BY_THE_CLOCK) and name not in CONNECTIONS
        for match in timer.finditer(path.read_text())
    ]
    assert not broken, "use call_at of the server.base.clock.Clock instead:\n" + "\n".join(broken)


@pytest.mark.once
def test_tests_that_start_a_server_say_so() -> None:
    starts = re.compile(r"^from (tests\.support\.app|server\.replay) import .*\b(running|ReplayExchange)\b", re.MULTILINE)
    broken = [
        str(path.relative_to(ROOT))
        for folder in KINDS["unit"]
        for path in sources(f"tests/{folder}")
        if starts.search(text := path.read_text()) and "pytest.mark.integration" not in text
    ]
    assert not broken, f"no unit tests, as their folder says, but pytest.mark.integration: {broken}"


@pytest.mark.once
def test_the_files_that_begin_first_are_there() -> None:
    assert [name for name in LONG if not (ROOT / "tests" / name).exists()] == []


# Where a task may be made by itself: it belongs to a call, a connection or a start, whose owner waits for it.
TASKS = {
    "server/base/background.py", "server/base/workers.py", "server/app/main.py", "server/feeds/exchange.py",
    "server/replay/__main__.py", "server/replay/server.py", "server/rpc/order_stream.py",
    "server/market/bus_messages.py", "server/storage/redis_bus.py", "server/engine/runner.py",
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
    assert not broken, "use server.base.background.keep_running, which tells when it ends:\n" + "\n".join(broken)


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
def test_where_an_order_goes_is_asked_in_one_place() -> None:
    asks = re.compile(r"mirror\s*(?:==|!=|is|is not)\s*NULL|\bACCOUNT_MODE_LIVE\b(?!,)")
    answers = "fastpath/state/route.pxd", "fastpath/book/mirror.pyx", "fastpath/model/enums.pxd"
    builders = "fastpath/exchange/definitions.pyx", "fastpath/state/snapshot.pyx"
    broken = [
        f"{name}:{number}"
        for path in [*sources("fastpath", suffix=".pyx"), *sources("fastpath", suffix=".pxd")]
        if (name := path.relative_to(ROOT).as_posix()) not in answers
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asks.search(line) and not (name in builders and ("mirror.resting if" in line or "account.mode" in line))
    ]
    assert not broken, "ask route_of() or is_mirrored() of fastpath/state/route.pxd: " + ", ".join(broken)


@pytest.mark.once
def test_a_stub_for_other_compiled_modules_names_functions_that_are_there() -> None:
    broken = []
    for path in sources("fastpath", suffix=".pyi"):
        if "For other compiled modules only" in (text := path.read_text()):
            beside = [path.with_suffix(suffix) for suffix in (".pxd", ".pyx")]
            code = "".join(each.read_text() for each in beside)
            modules = {each.stem for each in path.parent.glob("*.pyx")}
            named = set(re.findall(r"`(\w+)`", text)) - modules
            broken += [f"{path.relative_to(ROOT)}: {name}" for name in named if not re.search(rf"\b{name}\b", code)]
    assert not broken, "\n".join(broken)


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
