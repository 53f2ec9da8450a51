"""Runs a server in a process of its own, for tests that end it: `run_server.py DATA_DIR [SECTION.NAME=VALUE ...]`.

Prints one JSON object a line: each change of state, and the address when it is ready.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from server.app.main import Ready, serve
from server.base.errors import TradewindError
from server.process.lifecycle import ServiceStatus
from tests.support.app import settings


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def on_state(status: ServiceStatus) -> None:
    say(name=status.name, state=status.state.name, detail=status.detail)


def on_ready(ready: Ready) -> None:
    say(ready=ready.address)


def main(data_dir: str, *options: str) -> int:
    overrides: dict[str, dict[str, object]] = {}
    for option in options:
        name, _, value = option.partition("=")
        section, _, key = name.partition(".")
        overrides.setdefault(section, {})[key] = json.loads(value)
    try:
        return serve(settings(Path(data_dir), **overrides), on_state=on_state, on_ready=on_ready)
    except TradewindError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
