"""The matching core built with bounds checks and line tracing gives the same hashes as the release build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("model", "containers", "book", "standalone")
MODULES = (
    "model/enums", "model/structs", "containers/memory", "book/far_levels", "book/side", "book/pool", "book/book",
    "book/matching", "standalone/plain", "standalone/engine", "standalone/matching_engine",
)  # fmt: skip

PROJECT = """
[project]
name = "debug"
version = "0"
[tool.setuptools]
packages = ["fastpath", "fastpath.model", "fastpath.containers", "fastpath.book", "fastpath.standalone"]
"""

PROGRAM = """
import random, sys
from fastpath.standalone.matching_engine import COMMAND, EXTENSION, MatchingEngine
rng = random.Random(11)
engine = MatchingEngine(max_orders=3000, max_books=3)
engine.create_book(1)
engine.create_book(2)
hashes = []
for _ in range(200):
    batch = []
    for _ in range(100):
        price = rng.choice((rng.randint(-200, 200), rng.randint(-10**6, 10**6), 2**63 - 1, -(2**63)))
        flags = rng.choice((0, 0, 0, 1, 2, 4, 8, 16, 128))
        op, side, tif = rng.choice((1, 1, 1, 2, 3, 4, 5)), rng.randint(1, 2), rng.choice((1, 1, 2, 3))
        instrument, id, qty = rng.randint(1, 2), rng.randint(1, 5000), rng.choice((rng.randint(1, 50), 2**62))
        batch.append(COMMAND.pack(op, side, tif, flags, instrument, id, price, qty))
        if flags == 128:
            batch.append(EXTENSION.pack(rng.randint(0, 2), rng.randint(0, 5), rng.randint(0, 3), rng.randint(0, 5), 0))
    engine.apply(b"".join(batch))
    engine.validate()
    hashes.append(engine.state_hash())
print(hashes[-1], hash(tuple(hashes)), engine.order_count)
"""


def run(root: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.integration
@pytest.mark.once
@pytest.mark.timeout(600)
def test_the_debug_build_gives_the_same_hashes(tmp_path: Path) -> None:
    shutil.copy(ROOT / "setup.py", tmp_path)
    for package in (Path("fastpath"), *(Path("fastpath") / name for name in PACKAGES)):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        for source in (ROOT / package).glob("*.pxd"):
            shutil.copy(source, tmp_path / package)
    for module in MODULES:
        shutil.copy(ROOT / "fastpath" / f"{module}.pyx", tmp_path / "fastpath" / f"{module}.pyx")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    environment = {**os.environ, "FASTPATH_DEBUG": "1"}
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    assert run(tmp_path) == run(ROOT)
