"""A server started in the folder of another project: nothing that stands there is imported, by it or its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TRADEWIND = Path(sys.executable).with_name("tradewind")
FOREIGN = ("server", "fastpath", "tradewind", "json", "asyncio", "structlog", "grpc")
"""Names of ours, of the standard library and of libraries."""


def test_a_server_imports_nothing_of_the_current_folder(tmp_path: Path) -> None:
    project, imported = tmp_path / "project", tmp_path / "imported"
    for name in FOREIGN:
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text(f"open({str(imported)!r}, 'a').write('{name} ')")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRADEWIND_", "PYTHON"))}
    environment = clean | {"TRADEWIND_FEEDS__MODE": "off", "TRADEWIND_METRICS__ENABLED": "false"}

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [str(TRADEWIND), *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    assert run("up", "--detach", "--port", "0", "--json")["event"] == "ready"
    try:
        placed = run("buy", "internal:BTC/USDT", "0.1", "--price", "100", "--json")
        assert placed["status"] == "NEW"
        assert run("ledger", "--json")  # the blotter's process has filled it, and the process of past events may have
    finally:
        run("down", "--json")
    assert list((project / "var" / "snapshots").iterdir()), "the process that makes snapshots has made one"
    assert run("journal", "verify", "--json")["rows"] > 0
    assert not imported.exists(), f"imported from the current folder: {imported.read_text()}"
