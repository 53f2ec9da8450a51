"""A scripted server, and each client connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

import tradewind
from clients.python.tests.scripted import TOKEN, Driver, ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    yield scripted
    scripted.stop()


@pytest.fixture(params=["asyncio", "blocking"])
async def driver(request: pytest.FixtureRequest, server: ScriptedServer) -> AsyncIterator[Driver]:
    kind = tradewind.AsyncClient if request.param == "asyncio" else tradewind.Client
    driver = Driver(kind(server.address, TOKEN, account="demo", timeout_s=5, max_outage_s=1))
    yield driver
    await driver.call("close")
