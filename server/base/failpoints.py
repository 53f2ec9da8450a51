"""Failpoints for durability tests: `TRADEWIND_FAILPOINT=append:30` kills the server at the 30th append.

The process ends as with `kill -9`. The names are where `reached` is called: in the runner (apply, applied, append,
appended, commit, reply, replied) and where snapshots are written (snapshot-half-written, snapshot-written).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from server.base.errors import ConfigError

VARIABLE = "TRADEWIND_FAILPOINT"


def nowhere(point: str) -> None:
    """No failpoint is set."""


def from_environment(environment: Mapping[str, str]) -> Callable[[str], None]:
    """What to call at each point. Raises ConfigError."""
    text = environment.get(VARIABLE, "")
    if not text:
        return nowhere
    point, _, number = text.partition(":")
    if not number.isdigit() or not int(number):
        raise ConfigError(f"{VARIABLE}={text}: write NAME:COUNT, such as append:30")
    left = int(number)

    def reached(here: str) -> None:
        nonlocal left
        if here == point:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached
