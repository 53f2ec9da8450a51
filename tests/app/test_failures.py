"""Journals that cannot be written: full disks, I/O errors, read-only and slow disks, files that are taken away.

Always the same: order entry stops with UNAVAILABLE and the reason, health says so, nothing acknowledged is lost, and
when the journal can be written again, service goes on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import structlog

from server.base.errors import JournalFailed
from server.engine.limits import EngineLimits
from server.engine.runner import RunnerState
from tests.conftest import absent
from tests.support.app import Running, place, running, settings
from tests.support.engine import House, house
from tests.support.rpc import refused
from tests.support.server_process import ServerProcess
from tests.waiting import PATIENCE_S, until
from tradewind import AsyncClient, ServiceState
from tradewind.errors import Unavailable
from tradewind.v1 import system_pb2

LIMITS = EngineLimits(max_orders=50_000, journal_retry_s=0.05)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 3 MiB; skips where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        absent(f"no small file system for this test, which only root can mount: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


@contextlib.contextmanager
def structlog_restored() -> Iterator[None]:
    """A server in this process has its own configuration of the log."""
    try:
        yield
    finally:
        structlog.reset_defaults()


def fill(place: Path) -> Path:
    """Use up all the room there is; returns the file to delete."""
    ballast = place / "ballast"
    handle = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):
            while True:
                os.write(handle, bytes(4096))
    finally:
        os.close(handle)
    return ballast


async def place_until_refused(it: House, prefix: str, acked: dict[str, int]) -> tuple[str, str]:
    """Enters what is acknowledged into `acked`; returns the name of the order that was not, and why."""
    for number in itertools.count(1):
        name = f"{prefix}-{number}"
        try:
            acked[name] = (await it.trading.place(it.buy(1_000, 200, client_order_id=name))).order.order_id
        except JournalFailed as failure:
            return name, failure.message
    raise AssertionError("never refused")


async def resumed(it: House) -> None:
    await until(lambda: it.runner.state is RunnerState.RUNNING, "the runner goes on")


async def test_a_disk_that_is_full_and_has_room_again(small_disk: Path) -> None:
    told: list[str] = []
    async with house(small_disk, limits=LIMITS) as it:
        it.runner.on_failure = lambda failure: told.append(failure.message)
        first = await it.trading.place(it.buy(1_000, 200, client_order_id="first"))
        acked = {"first": first.order.order_id}
        for round_number in range(3):
            ballast = fill(small_disk)
            name, problem = await place_until_refused(it, f"r{round_number}", acked)
            assert re.search(r"cannot be written: .*(full|No space)", problem)
            assert it.runner.state is RunnerState.SUSPENDED
            with pytest.raises(JournalFailed):
                await it.trading.place(it.buy(1_000, 200))
            assert it.trading.get_order("alice", client_order_id="first").is_open, "queries go on"
            ballast.unlink()
            await resumed(it)
            again = await it.trading.place(it.buy(1_000, 200, client_order_id=name))
            assert again.replayed, "what was applied when the disk was full came first"
            acked[name] = again.order.order_id
        before = await it.trading.state()
    assert len(told) >= 3
    async with house(small_disk, limits=LIMITS) as it:
        assert await it.trading.state() == before
        for name, order_id in acked.items():
            assert it.trading.get_order("alice", client_order_id=name).order_id == order_id


async def test_files_that_are_taken_away_and_brought_back(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    async with house(place, limits=LIMITS) as it:
        kept = (await it.trading.place(it.buy(1_000, 200, client_order_id="kept"))).order
        place.rename(elsewhere)
        with pytest.raises(JournalFailed, match=r"journal\.db"):
            await it.trading.place(it.buy(1_000, 200, client_order_id="during"))
        shutil.copytree(elsewhere, place)
        await until(lambda: "moved away" in str(it.runner.failure), "a copy is not the journal that was written")
        assert it.runner.state is RunnerState.SUSPENDED
        shutil.rmtree(place)
        elsewhere.rename(place)
        await resumed(it)
        assert (await it.trading.place(it.buy(1_000, 200, client_order_id="during"))).replayed
    async with house(place, limits=LIMITS) as it:
        assert it.trading.get_order("alice", client_order_id="kept").order_id == kept.order_id
        assert it.trading.get_order("alice", client_order_id="during").is_open


async def test_a_stop_while_the_journal_fails_ends(small_disk: Path) -> None:
    async with house(small_disk, limits=LIMITS) as it:
        await it.trading.place(it.buy(1_000, 200, client_order_id="kept"))
        ballast = fill(small_disk)
        await place_until_refused(it, "more", {})
        await asyncio.wait_for(it.runner.stop(), PATIENCE_S)
    ballast.unlink()
    async with house(small_disk, limits=LIMITS) as it:
        assert it.trading.get_order("alice", client_order_id="kept").is_open


async def part(app: Running, name: str) -> tuple[int, str]:
    listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
    return next((each.state, each.detail) for each in listed.services if each.name == name)


async def test_a_full_disk_that_also_holds_the_log(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.recovery.snapshots._RETRY_S", 0.5)
    log = small_disk / "log" / "tradewind.log"
    with structlog_restored():
        async with running(
            settings(small_disk, logging={"file": log, "level": "info"}, snapshots={"every_commands": 50})
        ) as app:
            state, told = await part(app, "snapshots")
            for _ in range(50):
                await place(app, price="100", qty="0.001")
            with log.open("ab") as end:  # it happens to end with its block
                end.write(b" " * (-log.stat().st_size % 4096 - 1) + b"\n")
            ballast = fill(small_disk)

            async def has_failed() -> bool:
                return (await part(app, "snapshots"))[0] == system_pb2.SERVICE_STATE_DEGRADED

            await until(has_failed, "no snapshot can be made")
            request = system_pb2.CreateTokenRequest(description="x", scopes=[system_pb2.SCOPE_READ])
            refusal = await refused(app.system.CreateToken(request, metadata=app.admin))
            assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "No space left" in refusal.message
            assert "no snapshot could be made" not in log.read_text(), "the log cannot be written either"
            ballast.unlink()

            async def is_made() -> bool:
                now, detail = await part(app, "snapshots")
                return now == state and detail != told

            await until(is_made, "it goes on by itself")
            assert await app.system.CreateToken(request, metadata=app.admin)
    assert "log lines could not be written" in log.read_text()


def test_a_start_on_a_full_disk_says_so(small_disk: Path) -> None:
    fill(small_disk)
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "up", "--data-dir", small_disk / "data", "--port", "0"],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        env=os.environ | {"TRADEWIND_FEEDS__MODE": "off", "TRADEWIND_METRICS__PORT": "0"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


# -- a disk that fails below a whole server ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def faulty_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes calls of the server fail. The C compiler is there: the project is built with it."""
    library = tmp_path_factory.mktemp("faulty") / "faulty_disk.so"
    source = Path(__file__).parents[1] / "support" / "faulty_disk.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


async def order_service(client: AsyncClient) -> tuple[ServiceState, str]:
    services = {service.name: service for service in await client.list_services()}
    service = services["tradewind.v1.OrderService"]
    return service.state, service.detail


FAULTS = {
    "I/O error on sync": (f"sync {errno.EIO} 0", "cannot be written"),
    "I/O error on write": (f"write {errno.EIO} 0", "cannot be written"),
    "no space": (f"write {errno.ENOSPC} 0", "cannot be written"),
    "read-only": (f"write {errno.EROFS} 0", "cannot be written"),
    "slow": ("sync 0 7000", "has not answered for 5 s"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_server_on_a_disk_that_fails(tmp_path: Path, faulty_disk: Path, fault: str) -> None:
    control = tmp_path / "fault"
    what, why = FAULTS[fault]
    server = ServerProcess(tmp_path / "data")
    await server.start({"LD_PRELOAD": str(faulty_disk), "FAULTY_DISK": str(control)})
    try:
        async with server.client("demo") as client:
            kept = await client.buy("internal:BTC/USDT", "0.001", "100", client_order_id="kept")
            draft = tmp_path / "draft"
            draft.write_text(what)
            os.replace(draft, control)
            with pytest.raises(Unavailable, match=why) as refused:
                await client.buy("internal:BTC/USDT", "0.001", "100", client_order_id="during")
            assert refused.value.reason == "JOURNAL_FAILED"
            state, detail = await order_service(client)
            assert state is ServiceState.NOT_SERVING
            assert why in detail
            assert (await client.get_order(client_order_id="kept")).order_id == kept.order_id
            control.unlink()

            async def is_serving() -> bool:
                return (await order_service(client))[0] is ServiceState.SERVING

            await until(is_serving, "orders are taken again")
            during = await client.buy("internal:BTC/USDT", "0.001", "100", client_order_id="during")
            assert during.replayed, "it was applied before the failure, so it came first"
            after = await client.buy("internal:BTC/USDT", "0.001", "100", client_order_id="after")
            await server.kill()
            await server.start()
            for order in (kept, during, after):
                assert (await client.get_order(client_order_id=order.client_order_id)).order_id == order.order_id
            assert len(await client.list_orders()) == 3
    finally:
        await server.kill()
