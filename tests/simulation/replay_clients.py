"""Clients of a replay exchange: ccxt.pro pointed at it, and a bare WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import ccxt.pro
import orjson

from server.replay import ReplayConfig, ReplayExchange, redirect

DEADLINE_S = 60.0


@contextlib.asynccontextmanager
async def replay(config: ReplayConfig) -> AsyncIterator[ReplayExchange]:
    exchange = ReplayExchange(config)
    await exchange.start()
    try:
        yield exchange
    finally:
        await exchange.stop()


@contextlib.asynccontextmanager
async def ccxt_client(venue: str, exchange: ReplayExchange, **options: Any) -> AsyncIterator[Any]:
    """An unmodified ccxt.pro exchange; ccxt keeps 1,000 trades unless told otherwise."""
    client = getattr(ccxt.pro, venue)({"options": {"tradesLimit": 200_000, **options}, "enableRateLimit": False})
    redirect(client, exchange.base_url(venue))
    try:
        yield client
    finally:
        await client.close()


class Wire:
    """A bare WebSocket connection which reads JSON."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    async def send(self, message: object) -> None:
        await self._ws.send_str(message if isinstance(message, str) else orjson.dumps(message).decode())

    async def text(self) -> str:
        return await asyncio.wait_for(self._ws.receive_str(), DEADLINE_S)

    async def read(self) -> Any:
        return orjson.loads(await self.text())

    async def closed(self) -> bool:
        """Read until the connection ends."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = await self._ws.receive()
                if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE):
                    return True


@contextlib.asynccontextmanager
async def wire(exchange: ReplayExchange, venue: str, path: str) -> AsyncIterator[Wire]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(exchange.base_url(venue) + path, max_msg_size=1 << 24) as ws,
    ):
        yield Wire(ws)


async def get(exchange: ReplayExchange, venue: str, path: str) -> tuple[int, Any]:
    """Status and JSON body of a REST call."""
    async with aiohttp.ClientSession() as session, session.get(exchange.base_url(venue) + path) as response:
        return response.status, orjson.loads(await response.read())
