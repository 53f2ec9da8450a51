"""Structures of `fastpath` without a Python interface: `test_x.py` drives them through `_x.pyx`, compiled here."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = """
from Cython.Build import cythonize
from setuptools import Extension, setup
setup(script_args=["-q", "build_ext", "--inplace"], name={name!r}, ext_modules=cythonize(
    [Extension({name!r}, [{name!r} + ".pyx"], extra_compile_args=["-O1"])], include_path=[{root!r}], quiet=True))
"""


def fingerprint(source: Path) -> str:
    """What the compiled module depends on: its source, every definition it may include, and this Python."""
    parts = hashlib.sha256(sys.version.encode() + BUILD.encode())
    for path in [source, *sorted((ROOT / "fastpath").rglob("*.pxd"))]:
        parts.update(path.read_bytes())
    return parts.hexdigest()[:16]


def compile_into(folder: Path, source: Path) -> None:
    shutil.copy(source, folder)
    (folder / "build.py").write_text(BUILD.format(root=str(ROOT), name=source.stem))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    built = subprocess.run(
        [sys.executable, "build.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.fixture(scope="module")
def structures(request: pytest.FixtureRequest) -> ModuleType:
    """The compiled module of this test file: made once, whichever process and run asks first."""
    source = request.path.with_name(request.path.stem.replace("test", "", 1) + ".pyx")
    assert request.config.cache is not None
    cache = request.config.cache.mkdir("compiled") / source.stem
    cache.mkdir(exist_ok=True)
    folder = cache / fingerprint(source)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process compiles, the others wait for it
        if not folder.exists():
            for old in filter(Path.is_dir, cache.iterdir()):
                shutil.rmtree(old)
            unfinished = cache / "unfinished"
            unfinished.mkdir()
            compile_into(unfinished, source)
            unfinished.rename(folder)
    spec = importlib.util.spec_from_file_location(source.stem, next(folder.glob("*.so")))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
