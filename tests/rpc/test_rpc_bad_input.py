"""Bad input: refused before it reaches the engine, with every reason and field path, and nothing half done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.app import INSTRUMENT, MARKET, Running, refused_order, running, settings
from tests.support.rpc import refused
from tradewind.v1 import common_pb2, market_data_pb2, orders_pb2, system_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One server for all: refused requests leave no trace in it."""
    async with running(settings(tmp_path_factory.mktemp("bad-input"))) as started:
        yield started


@pytest.mark.parametrize(
    ("fields", "violations"),
    [
        ({"price": "60000.001"}, {"price": "PRICE_NOT_ON_TICK"}),
        ({"qty": "0.000001"}, {"qty": "QTY_NOT_ON_LOT"}),
        ({"qty": "0"}, {"qty": "NOT_POSITIVE"}),
        ({"qty": "-1"}, {"qty": "NOT_POSITIVE"}),
        ({"price": "-1"}, {"price": "NOT_POSITIVE"}),
        ({"price": "0"}, {"price": "NOT_POSITIVE"}),
        ({"qty": ""}, {"qty": "REQUIRED"}),
        ({"price": None}, {"price": "REQUIRED"}),
        ({"qty": "1e3"}, {"qty": "INVALID_DECIMAL"}),
        ({"qty": "NaN"}, {"qty": "INVALID_DECIMAL"}),
        ({"qty": "Infinity"}, {"qty": "INVALID_DECIMAL"}),
        ({"qty": "１"}, {"qty": "INVALID_DECIMAL"}),
        ({"qty": " 1"}, {"qty": "INVALID_DECIMAL"}),
        ({"qty": "+1"}, {"qty": "INVALID_DECIMAL"}),
        ({"qty": "1,5"}, {"qty": "INVALID_DECIMAL"}),
        ({"qty": "9" * 20}, {"qty": "OUT_OF_RANGE"}),
        ({"qty": "9" * 21}, {"qty": "INVALID_DECIMAL"}),
        ({"side": 0}, {"side": "REQUIRED"}),
        ({"side": 7}, {"side": "UNKNOWN_ENUM_VALUE"}),
        ({"type": 0}, {"type": "REQUIRED"}),
        ({"type": 99}, {"type": "UNKNOWN_ENUM_VALUE"}),
        ({"time_in_force": -1}, {"time_in_force": "UNKNOWN_ENUM_VALUE"}),
        ({"account": ""}, {"account": "REQUIRED"}),
        ({"account": "a b"}, {"account": "INVALID_NAME"}),
        ({"account": "a" * 37}, {"account": "INVALID_NAME"}),
        ({"instrument": ""}, {"instrument": "REQUIRED"}),
        ({"instrument": "BTC"}, {"instrument": "INVALID_NAME"}),
        ({"instrument": "x:" + "y" * 100}, {"instrument": "TOO_LONG"}),
        ({"client_order_id": ""}, {"client_order_id": "REQUIRED"}),
        ({"client_order_id": "ü"}, {"client_order_id": "INVALID_NAME"}),
        ({"client_order_id": "a" * 37}, {"client_order_id": "INVALID_NAME"}),
        ({"type": MARKET, "price": "1"}, {"price": "NOT_ALLOWED"}),
        ({"type": MARKET, "post_only": True}, {"post_only": "NOT_ALLOWED"}),
        (
            {"price": "1.001", "qty": "0", "side": 0, "account": "?"},
            {"price": "PRICE_NOT_ON_TICK", "qty": "NOT_POSITIVE", "side": "REQUIRED", "account": "INVALID_NAME"},
        ),
    ],
)
async def test_a_malformed_order_is_refused_with_every_reason_and_field(
    app: Running, fields: dict[str, Any], violations: dict[str, str]
) -> None:
    before = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
    answer = await refused_order(app, **fields)
    assert answer.code is INVALID
    assert answer.domain == "tradewind"
    assert answer.fields == violations
    assert answer.reason == (next(iter(violations.values())) if len(violations) == 1 else "INVALID_REQUEST")
    after = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
    assert after.command_sequence == before.command_sequence


async def test_unknown_things_are_not_found(app: Running) -> None:
    for fields, reason in (
        ({"instrument": "internal:NO/SUCH"}, "INSTRUMENT_NOT_FOUND"),
        ({"account": "nobody"}, "ACCOUNT_NOT_FOUND"),
    ):
        answer = await refused_order(app, **fields)
        assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, reason)
    for ref in ({"order_id": "999999"}, {"client_order_id": "none"}):
        request = orders_pb2.GetOrderRequest(order=orders_pb2.OrderRef(account="demo", **ref))
        answer = await refused(app.orders.GetOrder(request, metadata=app.admin))
        assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")
        answer = await refused(
            app.orders.CancelOrder(orders_pb2.CancelOrderRequest(order=request.order), metadata=app.admin)
        )
        assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")


@pytest.mark.parametrize(
    ("ref", "violations"),
    [
        ({}, {"order.account": "REQUIRED", "order.id": "REQUIRED"}),
        ({"account": "demo", "order_id": "x"}, {"order.order_id": "INVALID_ID"}),
        ({"account": "demo", "order_id": "-1"}, {"order.order_id": "INVALID_ID"}),
        ({"account": "demo", "order_id": "9" * 30}, {"order.order_id": "INVALID_ID"}),
        ({"account": "demo", "client_order_id": "!"}, {"order.client_order_id": "INVALID_NAME"}),
    ],
)
async def test_order_references_are_checked(app: Running, ref: dict[str, str], violations: dict[str, str]) -> None:
    named = orders_pb2.OrderRef(**ref)
    for call, request in (
        (app.orders.GetOrder, orders_pb2.GetOrderRequest(order=named)),
        (app.orders.CancelOrder, orders_pb2.CancelOrderRequest(order=named)),
    ):
        answer = await refused(call(request, metadata=app.admin))
        assert (answer.code, answer.fields) == (INVALID, violations)


@pytest.mark.parametrize("method", ["GetInstrument", "GetQuote", "GetBook", "ListTrades"])
async def test_market_queries_refuse_unknown_and_malformed_instruments(app: Running, method: str) -> None:
    kind = getattr(market_data_pb2, f"{method}Request")
    call = getattr(app.market, method)
    unknown = await refused(call(kind(instrument="internal:NO/SUCH"), metadata=app.admin))
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "INSTRUMENT_NOT_FOUND")
    for name, reason in (("", "REQUIRED"), ("x", "INVALID_NAME"), ("y:" * 50, "TOO_LONG")):
        answer = await refused(call(kind(instrument=name), metadata=app.admin))
        assert (answer.code, answer.fields) == (INVALID, {"instrument": reason})


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        ({"instrument": ""}, "instrument", "REQUIRED"),
        ({"channel": 0}, "channel", "REQUIRED"),
        ({"channel": 9}, "channel", "UNKNOWN_ENUM_VALUE"),
        ({"delivery": 9}, "delivery", "UNKNOWN_ENUM_VALUE"),
        ({"channel": 3, "depth": 1001}, "depth", "OUT_OF_RANGE"),
        ({"channel": 3, "depth": -1}, "depth", "OUT_OF_RANGE"),
        ({"channel": 1, "depth": 5}, "depth", "NOT_ALLOWED"),
        ({"channel": 2, "delivery": 2}, "delivery", "NOT_ALLOWED"),
        ({"channel": 1, "delivery": 3, "interval_ms": 9}, "interval_ms", "OUT_OF_RANGE"),
        ({"channel": 1, "interval_ms": 100}, "interval_ms", "NOT_ALLOWED"),
        ({"subscription_id": "x" * 101}, "subscription_id", "TOO_LONG"),
        ({"resume_from": common_pb2.StreamPosition()}, "resume_from.epoch", "REQUIRED"),
    ],
)
async def test_subscriptions_are_checked(app: Running, fields: dict[str, Any], path: str, reason: str) -> None:
    good = {"instrument": INSTRUMENT, "channel": market_data_pb2.CHANNEL_QUOTE}
    subscriptions = [
        market_data_pb2.MarketDataSubscription(**good),
        market_data_pb2.MarketDataSubscription(**(good | {"subscription_id": "second"} | fields)),
    ]
    request = market_data_pb2.SubscribeMarketDataRequest(subscriptions=subscriptions)
    answer = await refused(app.market.SubscribeMarketData(request, metadata=app.admin))
    assert (answer.code, answer.fields) == (INVALID, {f"subscriptions[1].{path}": reason})


async def test_the_number_and_names_of_subscriptions_are_checked(app: Running) -> None:
    one = market_data_pb2.MarketDataSubscription(instrument=INSTRUMENT, channel=market_data_pb2.CHANNEL_QUOTE)
    for count, path in ((0, "subscriptions"), (501, "subscriptions"), (2, "subscriptions[1].subscription_id")):
        request = market_data_pb2.SubscribeMarketDataRequest(subscriptions=[one] * count)
        answer = await refused(app.market.SubscribeMarketData(request, metadata=app.admin))
        assert (answer.code, list(answer.fields)) == (INVALID, [path])


@pytest.mark.parametrize(
    ("fields", "violations"),
    [
        ({"description": ""}, {"description": "REQUIRED"}),
        ({"description": "x" * 101}, {"description": "TOO_LONG"}),
        ({"scopes": []}, {"scopes": "REQUIRED"}),
        ({"scopes": [0]}, {"scopes[0]": "REQUIRED"}),
        ({"scopes": [9]}, {"scopes[0]": "UNKNOWN_ENUM_VALUE"}),
        ({"scopes": [1] * 100}, {"scopes": "OUT_OF_RANGE"}),
        ({"accounts": ["?"]}, {"accounts[0]": "INVALID_NAME"}),
        ({"expire_time": Timestamp(seconds=1)}, {"expire_time": "EXPIRE_TIME_IN_PAST"}),
        ({"expire_time": Timestamp(seconds=2**62)}, {"expire_time": "OUT_OF_RANGE"}),
        ({"expire_time": Timestamp(seconds=4_000_000_000, nanos=-5)}, {"expire_time": "OUT_OF_RANGE"}),
    ],
)
async def test_token_requests_are_checked(app: Running, fields: dict[str, Any], violations: dict[str, str]) -> None:
    request = system_pb2.CreateTokenRequest(**({"description": "t", "scopes": [system_pb2.SCOPE_READ]} | fields))
    answer = await refused(app.system.CreateToken(request, metadata=app.admin))
    assert (answer.code, answer.fields) == (INVALID, violations)
    listed = await app.system.ListTokens(system_pb2.ListTokensRequest(), metadata=app.admin)
    assert len(listed.tokens) == 1
