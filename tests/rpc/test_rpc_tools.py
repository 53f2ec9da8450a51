"""What people and tools meet first: health, reflection through grpcurl and buf curl, channelz, TLS, metrics."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from server.base.clock import SystemClock
from server.base.errors import ConfigError, ShuttingDown
from server.process.lifecycle import ServiceState, StatusBoard
from server.process.settings import ServerSettings
from server.rpc.boundary import Call
from server.rpc.health import Health
from server.rpc.operator import reflection_v1
from server.rpc.server import bind
from tests.conftest import absent
from tests.support.app import Running, place, running, settings
from tests.support.rpc import refused
from tests.waiting import PATIENCE_S
from tradewind.v1 import system_pb2

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PLACE = json.dumps(
    {"account": "demo", "instrument": "internal:BTC/USDT", "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT",
     "qty": "0.1", "price": "60000", "client_order_id": "tool-1"}
)  # fmt: skip


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings(tmp_path)) as started:
        yield started


async def tool(name: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command of the test environment; exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        BIN / name, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return process.returncode or 0, out.decode(), err.decode()


def header(app: Running) -> str:
    ((key, value),) = app.admin
    return f"{key}: {value}"


# -- health ------------------------------------------------------------------------------------------------------


async def test_health_is_open_and_knows_every_service(app: Running) -> None:
    channel: Any = app.channel
    health: Any = health_pb2_grpc.HealthStub(channel)
    for name in ("", "tradewind.v1.OrderService", "tradewind.v1.MarketDataService", "engine", "store/journal"):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING, name
    answer = await refused(health.Check(health_pb2.HealthCheckRequest(service="no.such.Service")))
    assert answer.code is grpc.StatusCode.NOT_FOUND
    listed = await health.List(health_pb2.HealthListRequest())
    assert listed.statuses["tradewind.v1.AccountService"].status == SERVING
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="no.such.Service"))
    assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    unknown.cancel()


async def test_health_goes_down_before_the_server_does(app: Running) -> None:
    channel: Any = app.channel
    health: Any = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service="tradewind.v1.OrderService"))
    assert (await watch.read()).status == SERVING
    app.stop.set()
    assert (await asyncio.wait_for(watch.read(), PATIENCE_S)).status == NOT_SERVING
    answer = await refused(watch)
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")


async def test_a_stop_while_a_health_message_goes_out_is_told_before_the_end() -> None:
    board = StatusBoard(SystemClock())
    board.set("engine", ServiceState.SERVING)
    watch = Health(board, ("engine",)).Watch(health_pb2.HealthCheckRequest(service="engine"), Call("", ""))
    assert (await anext(watch)).status == SERVING
    board.stop("the server is stopping")  # before the watch goes on
    assert (await anext(watch)).status == NOT_SERVING
    with pytest.raises(ShuttingDown):
        await anext(watch)


# -- tools -------------------------------------------------------------------------------------------------------


async def test_grpcurl_lists_describes_and_calls_from_reflection_alone(app: Running) -> None:
    address = app.ready.address
    code, out, err = await tool("grpcurl", "-plaintext", address, "list")
    assert code == 0, err
    assert {"tradewind.v1.OrderService", "grpc.health.v1.Health"} <= set(out.split())
    code, out, err = await tool("grpcurl", "-plaintext", address, "describe")
    assert code == 0, err
    assert "rpc PlaceOrder" in out
    assert "grpc.reflection.v1.ServerReflection is a service" in out
    call = ("grpcurl", "-plaintext", "-H", header(app), "-d")
    code, out, err = await tool(*call, PLACE, address, "tradewind.v1.OrderService/PlaceOrder")
    assert code == 0, err
    assert json.loads(out)["order"]["status"] == "ORDER_STATUS_NEW"
    bad = PLACE.replace("60000", "60000.001").replace("tool-1", "tool-2")
    code, out, err = await tool(*call, bad, address, "tradewind.v1.OrderService/PlaceOrder")
    assert code != 0
    assert "InvalidArgument" in err
    assert '"reason":"PRICE_NOT_ON_TICK"' in err.replace('": "', '":"')
    assert '"field":"price"' in err.replace('": "', '":"')


async def test_buf_curl_calls_from_reflection_alone(app: Running) -> None:
    url = f"http://{app.ready.address}/tradewind.v1.OrderService"
    call = ("buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge", "-H", header(app), "-d")
    code, out, err = await tool(*call, PLACE, f"{url}/PlaceOrder")
    assert code == 0, err
    assert json.loads(out)["order"]["clientOrderId"] == "tool-1"
    cancel = json.dumps({"order": {"account": "demo", "client_order_id": "tool-1"}})
    code, out, err = await tool(*call, cancel, f"{url}/CancelOrder")
    assert json.loads(out)["order"]["status"] == "ORDER_STATUS_CANCELED", err
    code, _, err = await tool(*call, PLACE.replace("0.1", "0"), f"{url}/PlaceOrder")
    assert code != 0
    assert "qty: must be greater than zero" in err
    assert "google.rpc.BadRequest" in err


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_buf_finds_the_services_by_either_version_of_reflection(app: Running, version: str) -> None:
    url = f"http://{app.ready.address}"
    arguments = ("curl", "--http2-prior-knowledge", "--protocol", "grpc", "--reflect-protocol", f"grpc-{version}")
    code, out, err = await tool("buf", *arguments, "--list-services", url)
    assert code == 0, err
    assert "tradewind.v1.MarketDataService" in out.split()


def test_reflection_v1_is_described_once_however_often_it_is_asked_for() -> None:
    assert reflection_v1() is reflection_v1()
    assert reflection_v1().full_name == "grpc.reflection.v1.ServerReflection"


async def test_channelz_shows_the_connections_on_loopback(app: Running) -> None:
    channel: Any = app.channel
    channelz: Any = channelz_pb2_grpc.ChannelzStub(channel)
    servers = await channelz.GetServers(channelz_pb2.GetServersRequest())
    assert sum(server.data.calls_started for server in servers.server) > 0
    answer = await refused(channelz.GetServer(channelz_pb2.GetServerRequest(server_id=2**40)))
    assert answer.code is grpc.StatusCode.NOT_FOUND


# -- metrics -----------------------------------------------------------------------------------------------------


async def test_metrics_can_be_scraped_and_carry_no_ids(tmp_path: Path) -> None:
    async with running(settings(tmp_path, metrics={"enabled": True})) as app:
        await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
        await place(app)
        await place(app, qty="100")
        url = app.ready.metrics_url
        assert url is not None
        text = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
        families = {family.name: family for family in text_string_to_metric_families(text)}
        handled = {
            (sample.labels["grpc_method"], sample.labels["grpc_code"]): sample.value
            for sample in families["grpc_server_handled"].samples
            if sample.name == "grpc_server_handled_total"
        }
        assert handled["GetInfo", "OK"] == 1
        assert {
            "grpc_server_started", "grpc_server_handling_seconds", "tradewind_build_info",
            "tradewind_engine_queue_commands", "tradewind_event_loop_lag_seconds", "tradewind_journal_sync_seconds",
            "tradewind_ledger_unbalanced_assets", "tradewind_streams_open", "process_resident_memory_bytes",
        } <= set(families)  # fmt: skip
        every = [sample for family in families.values() for sample in family.samples]
        samples = {(sample.name, *sample.labels.values()): sample.value for sample in every}
        assert samples["tradewind_orders_total", "NEW"] == samples["tradewind_orders_total", "REJECTED"] == 1
        assert samples["tradewind_order_rejects_total", "INSUFFICIENT_BALANCE"] == 1
        labels = {label for sample in every for label in sample.labels}
        assert not labels & {"account", "order_id", "client_order_id", "token_id", "token"}


# -- addresses and TLS -------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    if shutil.which("openssl") is None:
        absent("no openssl command to make a certificate with")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        capture_output=True, check=True,
    )  # fmt: skip
    return cert, key


async def test_certificates_and_keys_that_do_not_belong_together_are_told_apart_from_ports(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (cert, key), (_, other_key) = certificate(tmp_path), certificate(tmp_path / "other")
    empty = tmp_path / "empty.pem"
    empty.touch()
    for tls_cert, tls_key, what in (
        (key, cert, "the two are swapped"), (cert, other_key, "do not belong together"), (cert, empty, "no private key"),
        (empty, key, "no certificate"),
    ):  # fmt: skip
        config = settings(
            tmp_path / "data", server={"host": "0.0.0.0", "tls_cert": str(tls_cert), "tls_key": str(tls_key)}
        )
        with pytest.raises(ConfigError, match=what):
            async with running(config):
                pass


async def test_tls_is_spoken_with_a_certificate_and_reflection_needs_a_token_beyond_loopback(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    config = settings(
        tmp_path / "data", server={"host": "0.0.0.0", "port": 0, "tls_cert": str(cert), "tls_key": str(key)}
    )
    async with running(config) as app:
        port = app.ready.address.rpartition(":")[2]
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            get_info = channel.unary_unary("/tradewind.v1.SystemService/GetInfo")
            assert await get_info(b"", metadata=app.admin)
            reflect: Any = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            answer = await refused(reflect())
            assert answer.code is grpc.StatusCode.UNAUTHENTICATED
            channelz: Any = channel.unary_unary("/grpc.channelz.v1.Channelz/GetServers")
            answer = await refused(channelz(b"", metadata=app.admin))
            assert answer.code is grpc.StatusCode.UNIMPLEMENTED
        context = ssl.create_default_context(cafile=str(cert))
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("localhost", int(port), ssl=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()


async def test_an_address_that_cannot_be_taken_is_said_clearly() -> None:
    taken = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    port = taken.add_insecure_port("127.0.0.1:0")
    await taken.start()
    try:
        for host, wanted in (("127.0.0.1", port), ("203.0.113.7", 0)):
            server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            with pytest.raises(ConfigError, match=r"server\.port"):
                bind(server, ServerSettings(host=host, port=wanted))
    finally:
        await taken.stop(None)
