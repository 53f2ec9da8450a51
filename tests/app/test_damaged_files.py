"""Files beside the journal that cannot be read: trading starts without them, says so, and keeps what was there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.base.errors import ConfigError
from tests.app.test_failures import part
from tests.support.app import Running, place, running, settings
from tests.waiting import until
from tradewind.v1 import orders_pb2, system_pb2

SERVING, DEGRADED = system_pb2.SERVICE_STATE_SERVING, system_pb2.SERVICE_STATE_DEGRADED
DAMAGE = {
    "no such file at all": lambda data: os.urandom(len(data)),
    "cut off": lambda data: data[:5000],
    "overwritten in the middle": lambda data: data[:4096] + bytes(len(data) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_tick_store_is_set_aside(tmp_path: Path, damage: str) -> None:
    path, recording = tmp_path / "ticks.duckdb", settings(tmp_path, storage={"ticks_url": None})
    async with running(recording) as app:
        await until(lambda: path.stat().st_size > 4096, "there is something in it")
    damaged = DAMAGE[damage](path.read_bytes())
    path.write_bytes(damaged)
    path.with_name("ticks.duckdb.wal").unlink(missing_ok=True)
    async with running(recording) as app:
        state, detail = await part(app, "store/ticks")
        assert state == SERVING
        assert "set aside as ticks.duckdb.damaged-1" in detail
        assert (await place(app, price="100")).status == orders_pb2.ORDER_STATUS_NEW
    assert (tmp_path / "ticks.duckdb.damaged-1").read_bytes() == damaged
    async with running(recording) as app:
        assert "damaged" not in (await part(app, "store/ticks"))[1]


async def test_a_tick_store_that_another_program_has_open_keeps_nobody_from_trading(tmp_path: Path) -> None:
    (tmp_path / "ticks.duckdb").mkdir()
    (tmp_path / "ticks.spool").touch()
    async with running(settings(tmp_path, storage={"ticks_url": None})) as app:
        state, detail = await part(app, "store/ticks")
        assert state == system_pb2.SERVICE_STATE_NOT_SERVING
        assert "nothing is recorded until the next start" in detail
        assert (await place(app, price="100")).status == orders_pb2.ORDER_STATUS_NEW


async def listed(app: Running) -> list[int]:
    request = orders_pb2.ListOrdersRequest(account="demo")
    return sorted(each.order_id for each in (await app.orders.ListOrders(request, metadata=app.admin)).orders)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_blotter_is_set_aside_and_made_again(tmp_path: Path, damage: str) -> None:
    path, forgetful = tmp_path / "blotter.db", settings(tmp_path, engine={"closed_orders": 0})
    async with running(forgetful) as app:
        placed = [await place(app, price="100", client_order_id=f"o-{n}") for n in range(20)]
        for each in placed:
            ref = orders_pb2.OrderRef(account="demo", order_id=each.order_id)
            await app.orders.CancelOrder(orders_pb2.CancelOrderRequest(order=ref), metadata=app.admin)
        before = await listed(app)
    assert len(before) == 20
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    for name in ("blotter.db-wal", "blotter.db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    async with running(forgetful) as app:

        async def is_serving() -> bool:
            return (await part(app, "store/blotter"))[0] == SERVING

        await until(is_serving, "it is filled from the journal")
        assert await listed(app) == before
    assert (tmp_path / "blotter.db.damaged-1").exists()


async def test_strange_files_in_the_spool_disturb_nothing(tmp_path: Path) -> None:
    spool = tmp_path / "ticks.spool"
    (spool / "a-folder.new").mkdir(parents=True)
    strange = [spool / name for name in ("junk.batch", "1-x-trades.batch", "notes.txt")]
    for path in strange:
        path.write_text("not ours")
    async with running(settings(tmp_path, storage={"ticks_url": None})) as app:
        await until(lambda: part(app, "store/ticks"), "it is told")
        assert (await part(app, "store/ticks"))[0] == SERVING
    assert all(path.exists() for path in strange)


async def test_a_file_where_the_snapshots_should_be_keeps_nobody_from_starting(tmp_path: Path) -> None:
    (tmp_path / "snapshots").touch()
    async with running(settings(tmp_path, snapshots={"every_commands": 1})) as app:
        assert (await place(app, price="100")).status == orders_pb2.ORDER_STATUS_NEW

        async def is_degraded() -> bool:
            return (await part(app, "snapshots"))[0] == DEGRADED

        await until(is_degraded, "none can be made")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b'{"format": 1, "tokens": [3]}', None])
async def test_tokens_that_cannot_be_read_stop_the_start_with_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    """Nothing else would be safe: without them nobody is known, and new ones would let anybody in who starts servers."""
    path = tmp_path / "tokens.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"tokens\.json"):
        async with running(settings(tmp_path)):
            pass
