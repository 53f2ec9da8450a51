"""Runs the benchmarks of this folder one after the other, each in a process of its own."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import loadtest.bench


def main(names: list[str]) -> int:
    known = sorted(
        module.name for module in pkgutil.iter_modules(loadtest.bench.__path__) if not module.name.startswith("_")
    )
    if {"-h", "--help"} & set(names):
        print(f"Usage: python -m loadtest.bench [NAME ...]\n\nNames, all of them by default: {', '.join(known)}.")
        print("Each prints a table and writes its figures as JSON under var/bench; NAME --help tells its options:")
        print("  python -m loadtest.bench.matching --help")
        return 0
    unknown = set(names) - set(known)
    if unknown:
        print(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = [
        name
        for name in names or known
        if subprocess.run([sys.executable, "-m", f"loadtest.bench.{name}"], check=False).returncode
    ]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
