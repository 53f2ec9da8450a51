"""Processes that the server starts for work that can wait."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


def stand_back(niceness: int) -> None:
    """Let everything else run first, from now on: this process, which has a session of its own.

    Linux may share the processor between sessions before it looks at the processes in them. Then the niceness of a
    process counts only inside its session, and that of the session is another number.
    """
    os.nice(niceness)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # not Linux, or a kernel without it
            _AUTOGROUP.write_text(str(niceness))
