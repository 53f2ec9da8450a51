"""The real server as a process of its own: `tradewind up` on a replay exchange that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from server.process.lifecycle import running_instance
from server.replay import ReplayExchange
from tests.waiting import PATIENCE_S, until
from tradewind import AsyncClient


@dataclass
class WholeServer:
    """A running server process."""

    data_dir: Path
    address: str
    process: asyncio.subprocess.Process

    def client(self, **options: object) -> AsyncClient:
        return AsyncClient(self.address, token_file=self.data_dir / "admin.token", **options)  # type: ignore[arg-type]

    @property
    def rss_mb(self) -> float:
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    @property
    def open_files(self) -> int:
        return int(psutil.Process(self.process.pid).num_fds())

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def whole_server(
    data_dir: Path, replay: ReplayExchange | None, venues: Mapping[str, Sequence[str]], **settings: object
) -> AsyncIterator[WholeServer]:
    """Start on `data_dir`; returns when gRPC listens, before the venues answer. Stopped gracefully at the end.

    `settings` are further ones, such as server__max_token_streams=5. Without a `replay`: internal books only.
    """
    feeds: dict[str, object] = {"feeds__mode": "off"}
    if replay is not None:
        feeds = {"feeds__replay_url": replay.url, "feeds__venues": json.dumps(venues)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND_")}
    for name, value in ({"server__port": 0, "metrics__port": 0, "data_dir": data_dir} | feeds | settings).items():
        environment[f"TRADEWIND_{name.upper()}"] = str(value)
    log = data_dir.with_suffix(".log")
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.cli", "up", "--json", env=environment, stdout=output, stderr=output
        )
    try:
        await until(lambda: _address(data_dir) or process.returncode is not None, "the server listens")
        assert process.returncode is None, log.read_text()
        yield WholeServer(data_dir, _address(data_dir), process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(process.wait(), PATIENCE_S)
            assert code == 0, log.read_text()


async def until_listed(client: AsyncClient, names: Sequence[str], timeout_s: float = PATIENCE_S) -> None:
    """Wait until the server knows these instruments."""
    async with asyncio.timeout(timeout_s):
        while True:
            if set(names) <= {instrument.name for instrument in await client.list_instruments()}:
                return
            await asyncio.sleep(0.05)


def _address(data_dir: Path) -> str:
    running = running_instance(data_dir)
    return running.address if running is not None else ""
