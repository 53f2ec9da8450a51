"""Processes of our own: how a module of the server is run by itself."""

from __future__ import annotations

import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs `module` as `python -m` does, but imports nothing of the current folder (`-P`)."""
    return [sys.executable, "-P", "-m", module, *arguments]
