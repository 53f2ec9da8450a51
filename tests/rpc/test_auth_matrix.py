"""Each RPC with each kind of token: allowed exactly where the table of policies says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from server.access.policy import POLICIES
from server.access.tokens import Scope
from server.rpc.server import PUBLIC
from tests.support.app import Running, running, settings
from tests.support.rpc import Metadata, bearer, refusal
from tests.waiting import PATIENCE_S, until
from tradewind.errors import status_was_lost
from tradewind.v1 import accounts_pb2, orders_pb2, system_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHODS = {f"/{service.full_name}/{method.name}": method for service in PUBLIC for method in service.methods}
NEEDS = {
    "/tradewind.v1.SystemService/GetInfo": Scope.READ,
    "/tradewind.v1.SystemService/ListServices": Scope.READ,
    "/tradewind.v1.SystemService/CreateToken": Scope.ADMIN,
    "/tradewind.v1.SystemService/AcceptClock": Scope.ADMIN,
    "/tradewind.v1.SystemService/ListTokens": Scope.ADMIN,
    "/tradewind.v1.SystemService/RevokeToken": Scope.ADMIN,
    "/tradewind.v1.OrderService/PlaceOrder": Scope.TRADE,
    "/tradewind.v1.OrderService/BatchPlaceOrders": Scope.TRADE,
    "/tradewind.v1.OrderService/PlaceOrderList": Scope.TRADE,
    "/tradewind.v1.OrderService/AmendOrder": Scope.TRADE,
    "/tradewind.v1.OrderService/CancelOrder": Scope.TRADE,
    "/tradewind.v1.OrderService/CancelOrders": Scope.TRADE,
    "/tradewind.v1.OrderService/SetCancelTimer": Scope.TRADE,
    "/tradewind.v1.OrderService/StreamOrders": Scope.TRADE,
    "/tradewind.v1.OrderService/SetTradingStatus": Scope.RISK_ADMIN,
    "/tradewind.v1.OrderService/SetReferencePrices": Scope.RISK_ADMIN,
    "/tradewind.v1.MarketDataService/DefineInstrument": Scope.ADMIN,
    "/tradewind.v1.RiskService/KillSwitch": Scope.RISK_ADMIN,
    "/tradewind.v1.AccountService/CreateAccount": Scope.ADMIN,
    "/tradewind.v1.AccountService/AdjustBalance": Scope.ADMIN,
}
"""What the comments of the contract say; every other RPC needs READ."""
ABOUT_ALL = {
    "/tradewind.v1.MarketDataService/DefineInstrument",
    "/tradewind.v1.SystemService/AcceptClock",
    "/tradewind.v1.OrderService/SetTradingStatus",
    "/tradewind.v1.OrderService/SetReferencePrices",
    "/tradewind.v1.RiskService/KillSwitch",
}
"""They change what every account meets, so a token that is bound to some may not call them."""


class Tokens:
    """One token of each kind."""

    def __init__(self, app: Running) -> None:
        self.app = app
        self.by_kind: dict[str, Metadata] = {}

    async def make(self) -> None:
        app = self.app
        soon = Timestamp()
        info = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
        soon.FromNanoseconds(info.server_time.ToNanoseconds() + 1_000_000_000)
        expired = system_pb2.CreateTokenRequest(description="x", scopes=[system_pb2.SCOPE_ADMIN], expire_time=soon)
        self.by_kind = {
            "none": [],
            "wrong": bearer("tw_wrong"),
            "not bearer": [("authorization", "Basic abc")],
            "expired": bearer((await app.system.CreateToken(expired, metadata=app.admin)).secret),
            "read": await app.token(Scope.READ),
            "trade": await app.token(Scope.TRADE),
            "risk admin": await app.token(Scope.RISK_ADMIN),
            "admin": await app.token(Scope.ADMIN),
            "admin of another account": await app.token(Scope.ADMIN, accounts=("maker",)),
        }

        async def is_over() -> bool:
            info = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
            return bool(info.server_time.ToNanoseconds() > soon.ToNanoseconds())

        await until(is_over, "the time of a token is over")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tokens(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tokens]:
    async with running(settings(tmp_path_factory.mktemp("auth"))) as app:
        made = Tokens(app)
        await made.make()
        yield made


def about_demo(name: str) -> Any:
    """A request about the account `demo`, empty otherwise: past the policy it is refused as malformed, or harmless."""
    request = GetMessageClass(METHODS[name].input_type)()
    if name.endswith("/CreateAccount"):
        request.name = "demo"
    elif "orders" in request.DESCRIPTOR.fields_by_name:
        request.orders.add().account = "demo"
    elif "commands" in request.DESCRIPTOR.fields_by_name:
        request.commands.add().cancel.order.account = "demo"
    elif "order" in request.DESCRIPTOR.fields_by_name:
        request.order.account = "demo"
    elif "account" in request.DESCRIPTOR.fields_by_name:
        request.account = "demo"
    return request


async def outcome(app: Running, name: str, metadata: Metadata) -> tuple[grpc.StatusCode, str]:
    method = METHODS[name]
    output = GetMessageClass(method.output_type)
    serialize = GetMessageClass(method.input_type).SerializeToString
    call: Any
    if method.client_streaming:
        stream = app.channel.stream_stream(name, serialize, output.FromString)
        call = stream(iter([about_demo(name)]), metadata=metadata)
        waiting = call.read()
    elif method.server_streaming:
        call = app.channel.unary_stream(name, serialize, output.FromString)(about_demo(name), metadata=metadata)
        waiting = call.read()
    else:
        call = app.channel.unary_unary(name, serialize, output.FromString)(about_demo(name), metadata=metadata)
        waiting = call
    try:
        await asyncio.wait_for(waiting, PATIENCE_S)
    except grpc.aio.AioRpcError as error:
        if status_was_lost(error):
            return await outcome(app, name, metadata)
        refused = refusal(error)
        return refused.code, refused.reason
    finally:
        call.cancel()
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize("name", METHODS, ids=lambda name: name.rpartition(".")[2])
async def test_without_a_valid_token_nothing_is_answered(tokens: Tokens, name: str) -> None:
    for kind in ("none", "wrong", "not bearer", "expired"):
        code, reason = await outcome(tokens.app, name, tokens.by_kind[kind])
        assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"), kind


@pytest.mark.parametrize("name", METHODS, ids=lambda name: name.rpartition(".")[2])
async def test_scopes_allow_what_they_include(tokens: Tokens, name: str) -> None:
    needed = NEEDS.get(name, Scope.READ)
    includes = {
        "read": {Scope.READ},
        "trade": {Scope.READ, Scope.TRADE},
        "risk admin": {Scope.READ, Scope.RISK_ADMIN},
        "admin": set(Scope),
    }
    for kind, scopes in includes.items():
        code, reason = await outcome(tokens.app, name, tokens.by_kind[kind])
        denied = code is grpc.StatusCode.PERMISSION_DENIED
        assert denied == (needed not in scopes), f"{kind}: {code} {reason}"


@pytest.mark.parametrize("name", METHODS, ids=lambda name: name.rpartition(".")[2])
async def test_a_token_of_another_account_sees_nothing_of_this_one(tokens: Tokens, name: str) -> None:
    code, _ = await outcome(tokens.app, name, tokens.by_kind["admin of another account"])
    about_others = POLICIES[name].accounts is not None or name in ABOUT_ALL
    assert (code is grpc.StatusCode.PERMISSION_DENIED) == about_others


async def test_a_token_of_one_account_works_for_it_and_lists_only_it(tokens: Tokens) -> None:
    app, mine = tokens.app, tokens.by_kind["admin of another account"]
    listed = await app.accounts.ListAccounts(accounts_pb2.ListAccountsRequest(), metadata=mine)
    assert [each.name for each in listed.accounts] == ["maker"]
    await app.orders.ListOrders(orders_pb2.ListOrdersRequest(account="maker"), metadata=mine)
    created = await app.system.CreateToken(
        system_pb2.CreateTokenRequest(description="child", scopes=[system_pb2.SCOPE_READ]), metadata=mine
    )
    assert list(created.token.accounts) == ["maker"]
    wider = system_pb2.CreateTokenRequest(description="wide", scopes=[system_pb2.SCOPE_READ], accounts=["demo"])
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await app.system.CreateToken(wider, metadata=mine)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_every_rpc_has_a_policy_and_every_policy_an_rpc() -> None:
    ours = {name for name in POLICIES if name.startswith("/tradewind.")}
    assert ours == set(METHODS)
    assert all(POLICIES[name].scope is not None and not POLICIES[name].open_on_loopback for name in METHODS)


async def test_every_request_about_an_account_is_scoped_to_it() -> None:
    listing_all = {"/tradewind.v1.AccountService/ListAccounts"}
    for name, method in METHODS.items():
        fields = method.input_type.fields_by_name
        names_some = name.endswith("/CreateAccount") or bool({"account", "order", "orders", "commands"} & set(fields))
        assert (POLICIES[name].accounts is not None) == names_some, name
        assert name not in listing_all or not names_some
