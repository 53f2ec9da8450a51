"""docs/matching.md: its Python runs, and its Cython compiles against the .pxd files and does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "docs/matching.md").read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.once
def test_the_python_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block("python"), "docs/matching.md", "exec"), {})
    assert capsys.readouterr().out.count("REPORT_") == 3


@pytest.mark.integration
@pytest.mark.once
def test_the_cython_of_the_documentation_drives_a_book_without_python(tmp_path: Path) -> None:
    (tmp_path / "example.pyx").write_text(block("cython"))
    environment = {**os.environ, "CFLAGS": "-O0"}
    cythonize = Path(sys.executable).with_name("cythonize")
    built = subprocess.run(
        [cythonize, "-i", "example.pyx"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    program = "import example; print(example.demonstrate())"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "([(11, 100, 5), (12, 101, 2)], 101, [(101, 3)], 7)"
