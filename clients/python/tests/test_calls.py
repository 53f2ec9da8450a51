"""Single calls: what is sent, what comes back, what is retried, what is raised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, timestamp_pb2
from google.rpc import error_details_pb2

import tradewind
from clients.python.tests.scripted import TOKEN, Call, Driver, Script, ScriptedServer
from tradewind import errors
from tradewind.connection import SERVICE_CONFIG, Connection
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2, risk_pb2, system_pb2

CODE = grpc.StatusCode


def placed(call: Call) -> orders_pb2.PlaceOrderResponse:
    """Echoes the order of the request as a resting one."""
    request = call.request
    order = orders_pb2.Order(
        order_id="7",
        client_order_id=request.client_order_id,
        account=request.account,
        instrument=request.instrument,
        side=request.side,
        type=request.type,
        time_in_force=orders_pb2.TIME_IN_FORCE_GTC,
        price=request.price if request.HasField("price") else None,
        qty=request.qty,
        cum_qty="0",
        leaves_qty=request.qty,
        cum_notional="0",
        cum_fee="0",
        status=orders_pb2.ORDER_STATUS_NEW,
        create_time=timestamp_pb2.Timestamp(seconds=1_700_000_000, nanos=123_456_789),
    )
    return orders_pb2.PlaceOrderResponse(order=order)


def failing(code: grpc.StatusCode) -> Script:
    return lambda call: call.fail(code)


async def test_an_order_goes_out_exactly_and_comes_back_exactly(driver: Driver, server: ScriptedServer) -> None:
    server.on("PlaceOrder", placed)
    order = await driver.call(
        "place_order", "internal:BTC/USDT", "buy", Decimal("0.10"), "61000.5000", time_in_force="ioc", post_only=True
    )

    (call,) = server.calls["PlaceOrder"]
    assert (call.request.account, call.request.instrument) == ("demo", "internal:BTC/USDT")
    assert (call.request.qty, call.request.price) == ("0.1", "61000.5")
    assert call.request.side == common_pb2.SIDE_BUY
    assert call.request.type == orders_pb2.ORDER_TYPE_LIMIT
    assert call.request.time_in_force == orders_pb2.TIME_IN_FORCE_IOC
    assert call.request.post_only
    assert call.metadata["authorization"] == f"Bearer {TOKEN}"
    assert len(call.request.client_order_id) == 32, "an order is always keyed, so that it can be repeated"

    assert order.price == Decimal("61000.5")
    assert order.avg_price is None
    assert order.side is tradewind.Side.BUY
    assert order.status is tradewind.OrderStatus.NEW
    assert order.is_open
    assert order.reject_reason is None
    assert order.create_time == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)


async def test_an_order_without_a_price_is_a_market_order(driver: Driver, server: ScriptedServer) -> None:
    server.on("PlaceOrder", placed)
    order = await driver.call("place_order", "internal:BTC/USDT", tradewind.Side.SELL, 1, client_order_id="mine")
    assert order.type is tradewind.OrderType.MARKET
    assert order.price is None
    assert order.client_order_id == "mine"
    assert not server.calls["PlaceOrder"][0].request.HasField("price")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"qty": 0.1}, TypeError, "floats are not exact"),
        ({"qty": True}, TypeError, "not bool"),
        ({"qty": "many"}, ValueError, "not a number"),
        ({"qty": Decimal("NaN")}, ValueError, "finite"),
        ({"side": "LONG"}, ValueError, "BUY, SELL"),
        ({"time_in_force": "GTX"}, ValueError, "GTC, IOC, FOK"),
    ],
)
async def test_a_bad_argument_is_refused_before_anything_is_sent(
    driver: Driver, server: ScriptedServer, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    wanted = {"instrument": "internal:BTC/USDT", "side": "BUY", "qty": 1} | arguments
    with pytest.raises(error, match=text):
        await driver.call("place_order", **wanted)
    assert not server.calls


async def test_a_keyed_mutation_is_repeated_with_the_same_key(driver: Driver, server: ScriptedServer) -> None:
    server.on("PlaceOrder", failing(CODE.UNAVAILABLE), failing(CODE.UNAVAILABLE), placed)
    await driver.call("place_order", "internal:BTC/USDT", "BUY", 1)
    keys = {call.request.client_order_id for call in server.calls["PlaceOrder"]}
    assert len(server.calls["PlaceOrder"]) == 3
    assert len(keys) == 1


async def test_retries_end_after_four_tries(driver: Driver, server: ScriptedServer) -> None:
    server.on("GetInfo", failing(CODE.UNAVAILABLE))
    with pytest.raises(errors.Unavailable):
        await driver.call("get_info")
    assert len(server.calls["GetInfo"]) == 4


@pytest.mark.parametrize("code", [CODE.INTERNAL, CODE.RESOURCE_EXHAUSTED, CODE.ABORTED, CODE.DEADLINE_EXCEEDED])
async def test_only_unavailable_is_retried(driver: Driver, server: ScriptedServer, code: grpc.StatusCode) -> None:
    server.on("GetInfo", failing(code))
    with pytest.raises(tradewind.TradewindError):
        await driver.call("get_info")
    assert len(server.calls["GetInfo"]) == 1


async def test_a_mutation_without_a_key_is_not_retried(driver: Driver, server: ScriptedServer) -> None:
    server.on("CancelOrder", failing(CODE.UNAVAILABLE))
    server.on("CreateToken", failing(CODE.UNAVAILABLE))
    with pytest.raises(errors.Unavailable):
        await driver.call("cancel_order", "7")
    with pytest.raises(errors.Unavailable):
        await driver.call("create_token", "test", ["read"])
    assert len(server.calls["CancelOrder"]) == len(server.calls["CreateToken"]) == 1


def test_every_retried_method_is_in_the_contract() -> None:
    methods = {
        (service.full_name, method.name): method
        for file in (system_pb2, market_data_pb2, orders_pb2, accounts_pb2, risk_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    for name in SERVICE_CONFIG["methodConfig"][0]["name"]:  # type: ignore[index]
        assert not methods[name["service"], name["method"]].server_streaming


ERRORS = [
    (CODE.INVALID_ARGUMENT, "PRICE_NOT_ON_TICK", errors.InvalidArgument),
    (CODE.NOT_FOUND, "INSTRUMENT_NOT_FOUND", errors.NotFound),
    (CODE.ALREADY_EXISTS, "ALREADY_EXISTS", errors.AlreadyExists),
    (CODE.ALREADY_EXISTS, "CLIENT_ORDER_ID_CONFLICT", errors.ClientOrderIdConflict),
    (CODE.ABORTED, "CONFLICT", errors.Conflict),
    (CODE.FAILED_PRECONDITION, "INSUFFICIENT_BALANCE", errors.FailedPrecondition),
    (CODE.FAILED_PRECONDITION, "ORDER_NOT_OPEN", errors.OrderNotOpen),
    (CODE.UNAUTHENTICATED, "UNAUTHENTICATED", errors.Unauthenticated),
    (CODE.PERMISSION_DENIED, "PERMISSION_DENIED", errors.PermissionDenied),
    (CODE.RESOURCE_EXHAUSTED, "ENGINE_QUEUE_FULL", errors.ResourceExhausted),
    (CODE.RESOURCE_EXHAUSTED, "SLOW_CONSUMER", errors.SlowConsumer),
    (CODE.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", errors.QuotaExceeded),
    (CODE.UNAVAILABLE, "JOURNAL_FAILED", errors.Unavailable),
    (CODE.UNAVAILABLE, "SHUTTING_DOWN", errors.ShuttingDown),
    (CODE.UNAVAILABLE, "STALE_MARKET_DATA", errors.StaleMarketData),
    (CODE.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", errors.DeadlineExceeded),
    (CODE.CANCELLED, "CANCELLED", errors.Cancelled),
    (CODE.INTERNAL, "INTERNAL", errors.ServerError),
    (CODE.UNIMPLEMENTED, "", errors.ServerError),
    (CODE.NOT_FOUND, "SLOW_CONSUMER", errors.NotFound),  # the code has the last word
]


async def test_a_stream_that_ends_while_it_is_written_to_is_unavailable_and_not_an_error_of_the_server() -> None:
    """What grpc.aio says then, whatever the server said: for an end that comes between two writes, and for a kill."""

    async def end_at_once(requests: Any, context: Any) -> None:
        await context.abort(CODE.UNAUTHENTICATED, "who are you?")

    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(end_at_once)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tradewind.v1.Test", {"Write": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen: set[type[errors.TradewindError]] = set()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for _ in range(200):
                write: Any = channel.stream_stream("/tradewind.v1.Test/Write")
                with pytest.raises(grpc.RpcError) as caught:
                    await write(iter([b"x" * 65_536] * 64)).read()
                seen.add(type(errors.from_rpc_error(caught.value)))
    finally:
        await server.stop(None)
    assert seen <= {errors.Unauthenticated, errors.Unavailable}


@pytest.mark.parametrize(("code", "reason", "kind"), ERRORS)
async def test_errors_are_typed_and_say_why(
    driver: Driver, server: ScriptedServer, code: grpc.StatusCode, reason: str, kind: type[errors.TradewindError]
) -> None:
    info = error_details_pb2.ErrorInfo(domain="tradewind", reason=reason, metadata={"instrument": "x:Y"})
    server.on("CancelOrder", lambda call: call.fail(code, "it did not work", info))
    with pytest.raises(errors.TradewindError) as caught:
        await driver.call("cancel_order", "7")
    error = caught.value
    assert type(error) is kind
    assert error.message == "it did not work"
    assert error.reason == (reason or code.name)
    assert error.metadata == {"instrument": "x:Y"}
    assert error.request_id == server.calls["CancelOrder"][0].metadata["x-request-id"]


async def test_violations_and_retry_times_are_kept(driver: Driver, server: ScriptedServer) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="qty", description="not positive", reason="QTY_BELOW_MIN")
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=250_000_000))
    server.on("CancelOrder", lambda call: call.fail(CODE.INVALID_ARGUMENT, "bad", bad, retry))
    with pytest.raises(errors.InvalidArgument) as caught:
        await driver.call("cancel_order", "7")
    assert caught.value.violations == (errors.FieldViolation("qty", "not positive", "QTY_BELOW_MIN"),)
    assert caught.value.retry_after == timedelta(milliseconds=250)


async def test_details_that_cannot_be_read_do_not_hide_the_status(driver: Driver, server: ScriptedServer) -> None:
    def garbled(call: Call) -> None:
        call.context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        call.context.abort(CODE.NOT_FOUND, "gone")

    server.on("CancelOrder", garbled)
    with pytest.raises(errors.NotFound, match="gone"):
        await driver.call("cancel_order", "7")


async def test_an_error_says_what_to_repeat_an_order_with(driver: Driver, server: ScriptedServer) -> None:
    server.on("PlaceOrder", failing(CODE.DEADLINE_EXCEEDED))
    with pytest.raises(errors.DeadlineExceeded) as caught:
        await driver.call("place_order", "internal:BTC/USDT", "BUY", 1)
    sent = server.calls["PlaceOrder"][0].request.client_order_id
    assert caught.value.metadata["client_order_id"] == sent


async def test_nobody_listening_is_unavailable(driver: Driver, server: ScriptedServer) -> None:
    server.stop()
    with pytest.raises(errors.Unavailable):
        await driver.call("get_info")


async def test_a_long_list_is_read_page_by_page(driver: Driver, server: ScriptedServer) -> None:
    def page(call: Call) -> orders_pb2.ListFillsResponse:
        first = int(call.request.page_token or "0")
        last = min(first + call.request.page_size, 2500)
        fills = [
            orders_pb2.Fill(trade_id=str(number), price="1", qty="1", fee="0") for number in range(first, last)
        ]
        return orders_pb2.ListFillsResponse(fills=fills, next_page_token=str(last) if last < 2500 else "")

    server.on("ListFills", page)
    fills = await driver.call("list_fills", limit=5000)
    assert [fill.trade_id for fill in fills] == [str(number) for number in range(2500)]
    assert len(await driver.call("list_fills", limit=1200)) == 1200
    assert [call.request.page_size for call in server.calls["ListFills"]] == [1000, 1000, 1000, 1000, 200]


async def test_a_secret_is_not_shown_by_accident(driver: Driver, server: ScriptedServer) -> None:
    response = system_pb2.CreateTokenResponse(token=system_pb2.Token(token_id="t1"), secret="tops3cret")
    server.on("CreateToken", lambda call: response)
    created = await driver.call("create_token", "bot", ["trade"], accounts=["demo"])
    assert created.secret == "tops3cret"
    assert "tops3cret" not in repr(created)
    assert TOKEN not in repr(vars(driver.client))
    request = server.calls["CreateToken"][0].request
    assert (list(request.scopes), list(request.accounts)) == ([system_pb2.SCOPE_TRADE], ["demo"])


class TestConnection:
    """Where address and token come from."""

    @pytest.fixture(autouse=True)
    def clean(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        for name in ("TRADEWIND_ADDRESS", "TRADEWIND_TOKEN", "TRADEWIND_TOKEN_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(tmp_path)

    def test_defaults(self) -> None:
        connection = Connection.resolve()
        assert (connection.address, connection.token) == ("127.0.0.1:50051", "")

    def test_the_token_file_of_a_server_started_here_is_found(self, tmp_path: Any) -> None:
        (tmp_path / "var").mkdir()
        (tmp_path / "var" / "admin.token").write_text("from-file\n")
        assert Connection.resolve().token == "from-file"

    def test_environment_and_arguments_come_first(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "f").write_text("from-named-file\n")
        monkeypatch.setenv("TRADEWIND_TOKEN_FILE", str(tmp_path / "f"))
        assert Connection.resolve().token == "from-named-file"
        monkeypatch.setenv("TRADEWIND_TOKEN", "from-env")
        monkeypatch.setenv("TRADEWIND_ADDRESS", "localhost:1")
        assert (Connection.resolve().token, Connection.resolve().address) == ("from-env", "localhost:1")
        assert Connection.resolve(token_file=tmp_path / "f").token == "from-named-file"
        assert Connection.resolve("127.0.0.1:2", "given").token == "given"

    def test_a_file_that_was_named_must_exist(self) -> None:
        with pytest.raises(FileNotFoundError):
            Connection.resolve(token_file="nowhere")

    @pytest.mark.parametrize("address", ["10.0.0.1:50051", "example.com:443", "0.0.0.0:1", "127.example.com:1"])
    def test_a_token_does_not_leave_the_machine_in_clear(self, address: str) -> None:
        with pytest.raises(ValueError, match="TLS"):
            Connection.resolve(address, "secret")
        assert Connection.resolve(address, "secret", tls=True).tls

    @pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "localhost:1", "unix:/tmp/x"])
    def test_this_machine_needs_no_tls(self, address: str) -> None:
        assert not Connection.resolve(address, "secret").tls

    def test_an_address_without_a_port_gets_the_default_one(self) -> None:
        addresses = {"localhost": "localhost:50051", "[::1]": "[::1]:50051", "::1": "[::1]:50051", "a.b:7": "a.b:7"}
        for given, meant in addresses.items():
            assert Connection.resolve(given).address == meant

    @pytest.mark.parametrize("address", ["", "localhost:", "localhost:grpc", "localhost:70000", "http://localhost:1", ":1"])
    def test_an_address_that_is_none_is_refused(self, address: str) -> None:
        with pytest.raises(ValueError, match="address"):
            Connection.resolve(address)

    def test_a_token_that_is_named_and_empty_is_refused(self, tmp_path: Any) -> None:
        (tmp_path / "empty").write_text("")
        both = {"token": "t", "token_file": "f"}
        for given in ({"token": ""}, {"token_file": ""}, {"token_file": tmp_path / "empty"}, both):
            with pytest.raises(ValueError, match="token"):
                Connection.resolve(**given)

    def test_the_token_of_a_server_started_here_stays_here(self, tmp_path: Any) -> None:
        (tmp_path / "var").mkdir()
        (tmp_path / "var" / "admin.token").write_text("from-file")
        assert Connection.resolve("example.com:50051", tls=True).token == ""

    def test_without_a_token_the_error_says_where_one_is(self) -> None:
        error = errors.Unauthenticated("no token", reason="UNAUTHENTICATED")
        assert "TRADEWIND_TOKEN_FILE" in str(Connection.resolve().explained(error))
