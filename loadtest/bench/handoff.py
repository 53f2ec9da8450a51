"""The matching engine one command a call, each report handed to another core.

    python -m loadtest.bench.handoff [--rounds N] [--only NAME ...]

A compiled program (`_handoff.pyx`, built on the way) calls the C-level entry for each command of the workloads of
`loadtest.bench.matching`; a second thread reads every word of every report from a ring. The time runs until the last
report has been read. What the reader read must add up to what the batch interface reports: exits 1 otherwise. Each round
is driven twice more: with nobody reading, what the engine takes by itself; and with reports that no engine makes, what
the way from core to core takes by itself. A shared machine changes both. Needs two cores that are free. Writes
var/bench/handoff.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from loadtest.bench._workload import WORKLOADS, cached
from loadtest.bench.matching import COMMANDS, MAX_ORDERS, OUT, commit, cpu, engine_commands, run

ROOT = Path(__file__).resolve().parents[2]
RING = 4096  # reports
BUILD = """
from Cython.Build import cythonize
from setuptools import Extension, setup
setup(script_args=["-q", "build_ext", "--inplace"], name="handoff", ext_modules=cythonize(
    [Extension("_handoff", ["_handoff.pyx"], extra_compile_args=["-O3"])], include_path=[{root!r}], quiet=True,
    compiler_directives={{"boundscheck": False, "wraparound": False, "cdivision": True}}))
"""


def build(folder: Path) -> ModuleType:
    """Compile the driver into `folder` and import it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_handoff.pyx").write_text((Path(__file__).parent / "_handoff.pyx").read_text())
    (folder / "build.py").write_text(BUILD.format(root=str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "build.py"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    library = next(folder.glob("_handoff*.so"))
    spec = importlib.util.spec_from_file_location("_handoff", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected(commands: bytes, prefill: int) -> tuple[int, int]:
    """(reports, sum of their words) of the batch interface."""
    count = total = 0

    def add(reports: memoryview) -> None:
        nonlocal count, total
        words = np.frombuffer(reports, "<u8")
        count += len(words) // 8
        total += int(words.sum(dtype=np.uint64))

    run(commands, prefill, add)
    return count, total % (1 << 64)


def rates(seconds: list[float]) -> dict[str, float]:
    """Million commands a second."""
    each = [COMMANDS / one / 1e6 for one in seconds]
    return {"min": round(min(each), 2), "median": round(statistics.median(each), 2), "max": round(max(each), 2)}


def row(rates: dict[str, float]) -> str:
    return " ".join(f"{rate:6.1f}" for rate in rates.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=list(WORKLOADS), default=list(WORKLOADS))
    arguments = parser.parse_args()
    driver = build(OUT / "handoff")
    print(
        "one command a call, million commands/s (min median max): reports read by another core, then by nobody;\n"
        "reports a command; million reports/s of the engine to another core, and of no engine"
    )
    results, exact = [], True
    for name in arguments.only:
        workload = cached(name, COMMANDS, OUT / "workloads")
        commands = engine_commands(workload).tobytes()
        wanted = expected(commands, workload.prefill)
        handed, alone, bare = [], [], []
        for _ in range(arguments.rounds):
            handed.append(driver.drive(commands, workload.prefill, MAX_ORDERS, RING, True, True))
            alone.append(driver.drive(commands, workload.prefill, MAX_ORDERS, RING, True, False))
            bare.append(driver.drive(commands, workload.prefill, MAX_ORDERS, RING, False, True))
        same = all((count, total) == wanted for _, count, total in handed)
        exact = exact and same
        figures = {"handed_over": rates([seconds for seconds, _, _ in handed]),
                   "alone": rates([seconds for seconds, _, _ in alone])}  # fmt: skip
        each = wanted[0] / COMMANDS
        reports = {"of_the_engine": round(figures["handed_over"]["median"] * each, 2),
                   "of_no_engine": rates([seconds for seconds, _, _ in bare])["median"]}  # fmt: skip
        print(f"  {name:10} {row(figures['handed_over'])}   {row(figures['alone'])}   {each:4.2f}   "
              f"{' '.join(f'{rate:6.1f}' for rate in reports.values())}   {'exact' if same else 'WRONG REPORTS'}",
              flush=True)  # fmt: skip
        results.append({"workload": name, "exact": same, "reports": wanted[0], "million_commands_per_s": figures,
                        "million_reports_per_s": reports})  # fmt: skip
    facts = {
        "machine": cpu(),
        "python": platform.python_version(),
        "commit": commit(),
        "ring": RING,
        "results": results,
    }
    (OUT / "handoff.json").write_text(json.dumps(facts, indent=1) + "\n")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
