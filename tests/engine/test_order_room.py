"""The engine holds a bounded number of orders: it says so in time, and no account takes them all."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.app import INSTRUMENT, LIMIT, Running, order, place, refused_order, running, settings
from tradewind.v1 import orders_pb2 as pb
from tradewind.v1 import system_pb2

pytestmark = pytest.mark.integration

BOUND = 1_000
SERVING, DEGRADED, NOT_SERVING = (
    system_pb2.SERVICE_STATE_SERVING, system_pb2.SERVICE_STATE_DEGRADED, system_pb2.SERVICE_STATE_NOT_SERVING,
)  # fmt: skip


async def rejected(app: Running, account: str, count: int) -> None:
    """So many orders that nobody could pay."""
    orders = [
        order(account=account, type=LIMIT, instrument=INSTRUMENT, qty="10000", price="60000") for _ in range(count)
    ]
    answer = await app.orders.BatchPlaceOrders(pb.BatchPlaceOrdersRequest(orders=orders), metadata=app.admin)
    assert {each.placed.order.status for each in answer.results} == {pb.ORDER_STATUS_REJECTED}


async def room(app: Running) -> tuple[int, str]:
    listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
    return next((each.state, each.detail) for each in listed.services if each.name == "engine/orders")


async def health(app: Running) -> int:
    stub = health_pb2_grpc.HealthStub(app.channel)
    answer: health_pb2.HealthCheckResponse = await stub.Check(health_pb2.HealthCheckRequest(service="engine/orders"))  # type: ignore[misc]
    return answer.status


async def gauge(app: Running, name: str) -> float:
    assert app.ready.metrics_url is not None
    with await asyncio.to_thread(urllib.request.urlopen, app.ready.metrics_url) as answer:
        found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None, name
    return float(found.group(1))


async def test_one_account_rejected_again_and_again_leaves_room_for_others(tmp_path: Path) -> None:
    config = settings(tmp_path, engine={"max_orders": BOUND}, metrics={"enabled": True})
    async with running(config) as app:
        await rejected(app, "demo", 799)
        assert await room(app) == (SERVING, "799 of 1000 orders used (79 %)")
        await rejected(app, "demo", 1)
        state, detail = await room(app)
        assert state == DEGRADED
        assert detail.startswith("800 of 1000 orders used (80 %): raise engine.max_orders")
        await rejected(app, "demo", 100)
        full = await refused_order(app)
        assert (full.code, full.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
        assert "nine tenths" in full.message
        assert await health(app) == health_pb2.HealthCheckResponse.SERVING
        assert (await place(app, account="maker")).status == pb.ORDER_STATUS_NEW
        await rejected(app, "maker", 99)
        assert (await room(app))[0] == NOT_SERVING
        assert await health(app) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await refused_order(app, account="maker")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        used, most = await gauge(app, "tradewind_engine_orders"), await gauge(app, "tradewind_engine_max_orders")
        assert (used, most) == (BOUND, BOUND)
    async with running(config) as app:
        assert (await room(app))[0] == NOT_SERVING, "so it is after a start"
        assert (await refused_order(app)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
