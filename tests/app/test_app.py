"""The whole server: how it starts, what it refuses, how it stops under load, and what it remembers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from server.app.main import run
from server.base.clock import ManualClock
from server.base.errors import ConfigError, JournalFailed
from server.engine.snapshot import decode
from server.process.lifecycle import InstanceLock, ServiceState, ServiceStatus, StatusBoard, running_instance
from server.storage.bus_memory import MemoryBus
from server.storage.ports import JournalRow
from server.storage.snapshot_files import SnapshotFiles
from server.storage.sqlite_journal import SqliteJournal
from tests.support.app import INSTRUMENT, order, place, running, settings
from tests.support.rpc import Events, Metadata, bearer, refusal, refused
from tests.waiting import PATIENCE_S, until
from tradewind.v1 import common_pb2, market_data_pb2, orders_pb2, orders_pb2_grpc, system_pb2

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A server in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.said: list[dict[str, Any]] = []

    async def address(self) -> str:
        """Once it is ready."""
        assert self.process.stdout is not None
        async with asyncio.timeout(90):
            async for line in self.process.stdout:
                self.said.append(json.loads(line))
                if "ready" in self.said[-1]:
                    return str(self.said[-1]["ready"])
        raise AssertionError(f"the server ended before it was ready: {await self.errors()}")

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    def admin(self) -> Metadata:
        return bearer((self.data_dir / "admin.token").read_text().strip())


@contextlib.asynccontextmanager
async def server_process(data_dir: Path, *options: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.run_server", str(data_dir), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        yield Process(process, data_dir)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# -- starting ----------------------------------------------------------------------------------------------------


async def test_every_part_ends_serving_and_the_order_of_the_start_is_kept(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as app:
        serving = [status.name for status in app.states if status.state is ServiceState.SERVING]
        assert serving[:2] == ["store/journal", "engine"]
        assert set(serving[2:]) == {
            "engine/orders",
            "snapshots",
            "clock",
            "store/blotter",
            *(f"tradewind.v1.{name}Service" for name in ("System", "MarketData", "Order", "Account", "Risk")),
        }
        assert running_instance(tmp_path) is not None
        assert running_instance(tmp_path).address == app.ready.address  # type: ignore[union-attr]
    assert running_instance(tmp_path) is None
    assert {status.state for status in app.states[-8:]} == {ServiceState.NOT_SERVING}


async def test_recorded_markets_come_up_live_and_fill_a_paper_order(tmp_path: Path) -> None:
    async with running(settings(tmp_path, feeds={"mode": "replay", "venues": {"binance": ["BTC/USDT"]}})) as app:
        listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
        states = {each.name: each.state for each in listed.services}
        assert states["feed/binance"] == system_pb2.SERVICE_STATE_SERVING
        request = market_data_pb2.GetQuoteRequest(instrument="binance:BTC/USDT")
        quote = (await app.market.GetQuote(request, metadata=app.admin)).quote
        assert quote.bid_price
        filled = await place(app, instrument="binance:BTC/USDT", type=orders_pb2.ORDER_TYPE_MARKET, qty="0.01")
        assert filled.status == orders_pb2.ORDER_STATUS_FILLED
        info = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
        assert info.market_data == "replay"


async def test_a_venue_that_is_configured_wrongly_disturbs_nothing_else(tmp_path: Path) -> None:
    feeds = {"mode": "replay", "venues": {"okx": ["BTC/USDT"], "binance": ["NO/SUCH"]}}
    async with running(settings(tmp_path, feeds=feeds)) as app:
        listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
        services = {each.name: each for each in listed.services}
        assert services["feed/okx"].state == system_pb2.SERVICE_STATE_SERVING
        assert services["feed/binance"].state == system_pb2.SERVICE_STATE_NOT_SERVING
        assert "NO/SUCH" in services["feed/binance"].detail
        await place(app)


async def test_a_venue_nobody_knows_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nosuch"):
        async with running(settings(tmp_path, feeds={"mode": "replay", "venues": {"nosuch": ["A/B"]}})):
            pass


async def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as app:
        with pytest.raises(ConfigError, match=f"already runs.*{os.getpid()}.*{app.ready.address}"):
            async with running(settings(tmp_path)):
                pass
        async with server_process(tmp_path) as second:
            assert await second.process.wait() == 3
            assert "tradewind down" in await second.errors()
        await place(app)


async def test_a_port_in_use_is_said_clearly_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(settings(tmp_path / "one", metrics={"enabled": True})) as app:
        port = int(app.ready.address.rpartition(":")[2])
        with pytest.raises(ConfigError, match=r"server\.port"):
            async with running(settings(tmp_path / "two", server={"port": port})):
                pass
        assert app.ready.metrics_url is not None
        metrics_port = int(app.ready.metrics_url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConfigError, match=r"metrics\.port"):
            async with running(settings(tmp_path / "two", metrics={"enabled": True, "port": metrics_port})):
                pass
        both = settings(tmp_path / "two", server={"port": port}, metrics={"enabled": True, "port": metrics_port})
        with pytest.raises(ConfigError, match=r"(?s)server\.port.*\n.*metrics\.port.*--metrics-port"):
            async with running(both):
                pass
    async with running(settings(tmp_path / "two")):
        pass


async def test_the_state_hash_is_that_of_the_newest_snapshot_whatever_comes_after(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as app:
        await place(app)
    async with running(settings(tmp_path)) as app:
        before = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
        assert before.state_hash_sequence == before.command_sequence, "the stop made a snapshot"
        await place(app)
        after = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
    assert after.command_sequence == before.command_sequence + 1
    assert (after.state_hash, after.state_hash_sequence) == (before.state_hash, before.state_hash_sequence)
    files = SnapshotFiles(tmp_path / "snapshots", keep=3)
    header = decode(files.read(before.state_hash_sequence)).header
    assert f"{header.state_hash:016x}" == before.state_hash


async def test_orders_tokens_and_stream_positions_survive_a_restart(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as app:
        placed = await place(app, client_order_id="kept")
        trader = await app.token(system_pb2.SCOPE_TRADE, accounts=("demo",))
        before = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
    async with running(settings(tmp_path)) as app:
        after = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
        assert (after.epoch, after.command_sequence) == (before.epoch, before.command_sequence)
        again = await app.orders.PlaceOrder(order(client_order_id="kept"), metadata=trader)
        assert again.replayed
        assert again.order.order_id == placed.order_id
        request = orders_pb2.SubscribeOrdersRequest(account="demo")
        stream = app.orders.SubscribeOrders(request, metadata=trader)
        assert [event.WhichOneof("event") for event in await Events(stream).take(2)] == ["ack", "snapshot"]
        stream.cancel()


async def test_a_journal_that_fails_suspends_orders_and_health_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings(tmp_path)) as app:
        kept = await place(app, client_order_id="kept")

        def full(journal: SqliteJournal, row: JournalRow) -> None:
            raise JournalFailed("the journal cannot be written: disk full")

        monkeypatch.setattr(SqliteJournal, "append", full)
        for _ in range(2):
            answer = await refused(app.orders.PlaceOrder(order(client_order_id="lost"), metadata=app.admin))
            assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "JOURNAL_FAILED")
        channel: Any = app.channel
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", "engine", "tradewind.v1.OrderService"):
            answered = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answered.status == health_pb2.HealthCheckResponse.NOT_SERVING, name
        listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
        assert "disk full" in next(each.detail for each in listed.services if each.name == "engine")
        request = market_data_pb2.GetBookRequest(instrument=INSTRUMENT)
        await app.market.GetBook(request, metadata=app.admin)
        monkeypatch.undo()

        async def is_serving() -> bool:
            request = health_pb2.HealthCheckRequest(service="tradewind.v1.OrderService")
            return bool((await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING)

        await until(is_serving, "the row is tried again until it is written")
        assert (await app.orders.PlaceOrder(order(client_order_id="lost"), metadata=app.admin)).replayed
    async with running(settings(tmp_path)) as app:
        again = await app.orders.PlaceOrder(order(client_order_id="kept"), metadata=app.admin)
        assert (again.replayed, again.order.order_id) == (True, kept.order_id)
        assert (await app.orders.PlaceOrder(order(client_order_id="lost"), metadata=app.admin)).replayed


async def test_a_reader_that_is_too_slow_is_ended_and_resumes(tmp_path: Path) -> None:
    config = settings(tmp_path, engine={"max_orders": 50_000, "max_open_orders": 50_000, "stream_log_bytes": 1 << 20})
    small_window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    async with running(config) as app, grpc.aio.insecure_channel(app.ready.address, small_window) as channel:
        any_channel: Any = channel
        stub: Any = orders_pb2_grpc.OrderServiceStub(any_channel)
        request = orders_pb2.SubscribeOrdersRequest(account="demo")
        slow = Events(stub.SubscribeOrders(request, metadata=app.admin))
        last = await slow.read()
        for _ in range(30):
            await asyncio.gather(*(place(app, qty="0.001", price="10000.5") for _ in range(100)))
        answer = None
        while answer is None:
            try:
                last = await slow.read()
            except grpc.aio.AioRpcError as error:
                answer = refusal(error)
        assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")
        assert answer.retry
        request.resume_from.epoch, request.resume_from.sequence = slow.epoch, last.sequence
        resumed = app.orders.SubscribeOrders(request, metadata=app.admin)
        items = await Events(resumed).take(50)
        assert [item.WhichOneof("event") for item in items] == ["ack", *["update"] * 49], "without a gap"
        assert [item.prev_sequence for item in items[1:]] == [last.sequence, *(item.sequence for item in items[1:-1])]
        resumed.cancel()


# -- stopping ----------------------------------------------------------------------------------------------------


async def test_streams_end_with_a_notice_and_a_clean_status(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as app:
        orders = app.orders.SubscribeOrders(orders_pb2.SubscribeOrdersRequest(account="demo"), metadata=app.admin)
        subscription = market_data_pb2.MarketDataSubscription(
            instrument=INSTRUMENT, channel=market_data_pb2.CHANNEL_BOOK
        )
        market = app.market.SubscribeMarketData(
            market_data_pb2.SubscribeMarketDataRequest(subscriptions=[subscription]), metadata=app.admin
        )
        streams = Events(orders), Events(market)
        for stream in streams:
            await stream.take(2)
        app.stop.set()
        for stream in streams:
            notice = (await stream.read()).notice
            assert notice.code == common_pb2.StreamNotice.CODE_GOING_AWAY
            answer = await asyncio.wait_for(refused(stream.call), PATIENCE_S)
            assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")


async def test_what_ends_in_the_background_is_not_shown_as_serving_and_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings(tmp_path, storage={"bus_url": "memory:"})) as app:

        async def state() -> int:
            listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
            return next(int(each.state) for each in listed.services if each.name == "store/bus")

        async def is_serving() -> bool:
            return await state() == system_pb2.SERVICE_STATE_SERVING

        async def has_ended() -> bool:
            return await state() == system_pb2.SERVICE_STATE_NOT_SERVING

        async def broken(bus: MemoryBus, topic: str) -> None:
            raise RuntimeError("a bug")

        await until(is_serving, "the bus is there")
        monkeypatch.setattr(MemoryBus, "last", broken)
        await until(has_ended, "what nobody watches is not shown as serving")
        monkeypatch.undo()
        await until(is_serving, "it was started again")


async def test_a_stop_during_the_start_ends_it(tmp_path: Path) -> None:
    stop = asyncio.Event()
    config = settings(tmp_path)

    def at_recovery(status: ServiceStatus) -> None:
        if status.name == "engine":
            stop.set()

    assert await asyncio.wait_for(run(config, on_state=at_recovery, stop=stop), 30) == 0
    assert running_instance(tmp_path) is None
    async with running(config) as app:
        await place(app)


async def test_sigterm_under_load_answers_every_request_and_exits_0(tmp_path: Path) -> None:
    acknowledged: dict[str, str] = {}
    codes: Counter[str] = Counter()
    enough = asyncio.Event()
    async with server_process(tmp_path) as server:
        address = await server.address()
        metadata = server.admin()

        async def trade(client: int) -> None:
            async with grpc.aio.insecure_channel(address) as channel:
                any_channel: Any = channel
                stub: Any = orders_pb2_grpc.OrderServiceStub(any_channel)
                for number in range(1_000_000):
                    request = order(qty="0.001", price="10000.5", client_order_id=f"c{client}-{number}", type=1)
                    try:
                        placed = (await stub.PlaceOrder(request, metadata=metadata, timeout=PATIENCE_S)).order
                    except grpc.aio.AioRpcError as error:
                        codes[error.code().name] += 1
                        if error.code() is grpc.StatusCode.UNAVAILABLE:
                            return
                    else:
                        assert placed.status == orders_pb2.ORDER_STATUS_NEW
                        codes["OK"] += 1
                        acknowledged[placed.client_order_id] = placed.order_id
                        if codes["OK"] >= 300:
                            enough.set()

        clients = [asyncio.create_task(trade(client)) for client in range(12)]
        await asyncio.wait_for(enough.wait(), 60)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*clients), PATIENCE_S)
        assert await asyncio.wait_for(server.process.wait(), PATIENCE_S) == 0, await server.errors()
    assert len(acknowledged) == codes["OK"] >= 300
    assert set(codes) <= {"OK", "UNAVAILABLE"}, "every request is answered, with a clean status"
    async with running(settings(tmp_path)) as app:
        for client_order_id, order_id in acknowledged.items():
            ref = orders_pb2.OrderRef(account="demo", client_order_id=client_order_id)
            found = await app.orders.GetOrder(orders_pb2.GetOrderRequest(order=ref), metadata=app.admin)
            assert found.order.order_id == order_id


async def test_sigint_stops_gracefully_and_a_second_one_at_once(tmp_path: Path) -> None:
    async with server_process(tmp_path / "graceful") as server:
        await server.address()
        server.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(server.process.wait(), PATIENCE_S) == 0, await server.errors()
    async with server_process(tmp_path / "hard", "server.stop_grace_ms=60000") as server:
        address = await server.address()
        async with grpc.aio.insecure_channel(address) as channel:
            request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="tradewind.v1.OrderService")
            reflect: Any = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            asked: list[float] = []
            asking = asyncio.create_task(_ask_and_never_read(reflect(), request.SerializeToString(), asked))
            # Nobody reads the answers: before long the server takes no more questions of the call, which then is stuck.
            await until(lambda: asked and time.monotonic() - asked[-1] > 1.0, "the call is stuck")
            server.process.send_signal(signal.SIGINT)
            await until(lambda: _takes_no_connections(address), "it stops")
            assert server.process.returncode is None, "the graceful stop waits for the call in progress"
            server.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(server.process.wait(), PATIENCE_S) == 130
            asking.cancel()


async def _takes_no_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return True
    writer.close()
    return False


async def _ask_and_never_read(call: Any, message: bytes, asked: list[float]) -> None:
    """Enters into `asked` when each question was sent."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            await call.write(message)
            asked.append(time.monotonic())


def test_only_the_exchanges_asked_for_are_loaded() -> None:
    program = "from server.feeds.ccxt_import import ccxt; print(ccxt.pro.okx().id, len(vars(ccxt.pro.kraken)) < 5)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["okx", "True"]


# -- parts of it -------------------------------------------------------------------------------------------------


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for unusable in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"file.* cannot be written .*--data-dir"):
            InstanceLock(unusable)


def test_an_instance_lock_is_taken_once_and_freed(tmp_path: Path) -> None:
    assert running_instance(tmp_path) is None
    lock = InstanceLock(tmp_path / "data")
    lock.announce("127.0.0.1:1")
    found = running_instance(tmp_path / "data")
    assert found is not None
    assert (found.pid, found.address) == (os.getpid(), "127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1"):
        InstanceLock(tmp_path / "data")
    lock.release()
    assert running_instance(tmp_path / "data") is None
    InstanceLock(tmp_path / "data").release()


def test_the_board_tells_changes_only_and_stays_down_once_stopped() -> None:
    clock = ManualClock(10)
    board = StatusBoard(clock)
    told: list[tuple[str, ServiceState, int]] = []
    stop_listening = board.listen(lambda status: told.append((status.name, status.state, status.since_ns)))
    board.set("a", ServiceState.STARTING)
    board.set("a", ServiceState.STARTING)
    clock.advance(5)
    board.set("a", ServiceState.STARTING, "another detail")
    assert told == [("a", ServiceState.STARTING, 10), ("a", ServiceState.STARTING, 10)]
    assert board.starting
    board.set("a", ServiceState.SERVING)
    assert told[-1] == ("a", ServiceState.SERVING, 15)
    board.stop("stopping")
    board.set("a", ServiceState.SERVING)
    assert board.all()[0].state is ServiceState.NOT_SERVING
    count = len(told)
    stop_listening()
    board.set("b", ServiceState.NOT_SERVING)
    assert len(told) == count
