"""The whole server inside a test: the real composition root on free ports, with internal books only unless asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from server.app.config import Config, load_config
from server.app.main import Ready, run
from server.base.clock import SystemClock
from server.process.lifecycle import ServiceStatus
from tests.support.rpc import Metadata, Refusal, bearer, refused
from tests.waiting import PATIENCE_S
from tradewind.v1 import (
    accounts_pb2_grpc,
    common_pb2,
    market_data_pb2_grpc,
    orders_pb2,
    orders_pb2_grpc,
    risk_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
)

INSTRUMENT = "internal:BTC/USDT"
BUY, SELL = common_pb2.SIDE_BUY, common_pb2.SIDE_SELL
LIMIT, MARKET = orders_pb2.ORDER_TYPE_LIMIT, orders_pb2.ORDER_TYPE_MARKET


def settings(data_dir: Path, **overrides: Any) -> Config:
    """Free ports, internal books only; `overrides` are sections of the configuration."""
    base: dict[str, Any] = {
        "data_dir": data_dir,
        "server": {"port": 0},
        "metrics": {"enabled": False, "port": 0},
        "feeds": {"mode": "off"},
        "storage": {"ticks_url": "off"},
        "logging": {"level": "error"},
        "engine": {"max_orders": 50_000, "max_open_orders": 50_000},
    }
    for section, values in overrides.items():
        base[section] = base.get(section, {}) | values
    return load_config(overrides=base)


@dataclass
class Running:
    """A server that serves, and stubs to call it with."""

    ready: Ready
    channel: grpc.aio.Channel
    admin: Metadata
    states: list[ServiceStatus]
    stop: asyncio.Event
    ended: asyncio.Task[int]

    def __post_init__(self) -> None:
        # The generated stubs are typed for blocking channels.
        channel: Any = self.channel
        self.system: Any = system_pb2_grpc.SystemServiceStub(channel)
        self.market: Any = market_data_pb2_grpc.MarketDataServiceStub(channel)
        self.orders: Any = orders_pb2_grpc.OrderServiceStub(channel)
        self.accounts: Any = accounts_pb2_grpc.AccountServiceStub(channel)
        self.risk: Any = risk_pb2_grpc.RiskServiceStub(channel)

    async def token(self, *scopes: int, accounts: tuple[str, ...] = ()) -> Metadata:
        """Metadata of a new token."""
        request = system_pb2.CreateTokenRequest(description="test", scopes=scopes, accounts=accounts)
        response = await self.system.CreateToken(request, metadata=self.admin)
        return bearer(response.secret)


@contextlib.asynccontextmanager
async def running(config: Config, clock: SystemClock | None = None) -> AsyncIterator[Running]:
    """Start, and stop gracefully at the end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[Ready] = loop.create_future()
    states: list[ServiceStatus] = []
    stop = asyncio.Event()
    task = asyncio.create_task(run(config, on_state=states.append, on_ready=ready.set_result, stop=stop, clock=clock))
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
    if task.done():
        task.result()
    known = ready.result()
    secret = known.admin_token_path.read_text().strip()
    try:
        async with grpc.aio.insecure_channel(known.address) as channel:
            yield Running(known, channel, bearer(secret), states, stop, task)
    finally:
        stop.set()
        assert await asyncio.wait_for(task, PATIENCE_S) == 0


def order(**fields: Any) -> orders_pb2.PlaceOrderRequest:
    base: dict[str, Any] = {"account": "demo", "instrument": INSTRUMENT, "side": BUY, "type": LIMIT, "qty": "0.1"}
    if fields.get("type") != MARKET:
        base["price"] = "60000"
    return orders_pb2.PlaceOrderRequest(**{key: value for key, value in (base | fields).items() if value is not None})


async def place(app: Running, **fields: Any) -> orders_pb2.Order:
    response = await app.orders.PlaceOrder(order(**fields), metadata=app.admin)
    placed: orders_pb2.Order = response.order
    return placed


async def refused_order(app: Running, **fields: Any) -> Refusal:
    return await refused(app.orders.PlaceOrder(order(**fields), metadata=app.admin))
