"""The command line run in the process of a test, in an environment that names nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from server.cli import main


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def nothing_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Work in `folder`, with no variable of ours set."""
    for name in [name for name in os.environ if name.startswith("TRADEWIND_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)


def runner(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """A function that runs a command line and gives what came of it."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            main(list(arguments))
            status: object = 0
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(int(status or 0), out, err)  # type: ignore[call-overload]

    return run
