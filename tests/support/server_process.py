"""A whole server as a process of its own, for tests that kill it, and clients of the SDK for it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.waiting import PATIENCE_S
from tradewind import AsyncClient

ROOT = Path(__file__).resolve().parents[2]


class ServerEnded(AssertionError):
    """It ended before it served."""


class ServerProcess:
    """`start` waits until it serves; `kill` is SIGKILL. The port stays the same over restarts, as clients expect."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.address = ""
        self.start_s = 0.0
        """How long the last start took, from the process to all services SERVING."""
        self.states: dict[str, tuple[str, str]] = {}
        """State and detail of each part since the last start, as the server told them."""
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        options = list(self._options)
        if self.address:
            options.append(f"server.port={self.address.rpartition(':')[2]}")
        start = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.run_server", str(self.data_dir), *options,
            cwd=ROOT, env=os.environ | dict(environment or {}), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.states = {}
        ready = asyncio.Event()
        # All the time, so that it never waits for us.
        self._listening = asyncio.create_task(self._listen(self._process.stdout, ready))
        async with asyncio.timeout(PATIENCE_S):
            await ready.wait()
        if self._process.stdout.at_eof():
            raise ServerEnded(f"the server ended with {await self._process.wait()} before it served")
        self.start_s = time.monotonic() - start

    async def _listen(self, output: asyncio.StreamReader, ready: asyncio.Event) -> None:
        async for line in output:
            said = json.loads(line)
            if "ready" in said:
                self.address = said["ready"]
                ready.set()
            else:
                self.states[said["name"]] = said["state"], said["detail"]
        ready.set()

    async def ended(self) -> int:
        """Wait for its end, by whoever's hand."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> int:
        """Send SIGTERM and wait. Returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return await self._process.wait()

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def client(self, account: str | None = None) -> AsyncClient:
        return AsyncClient(self.address, account=account, token_file=self.data_dir / "admin.token", max_outage_s=600)
