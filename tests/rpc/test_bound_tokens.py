"""Tokens that are bound to accounts, against what belongs to others: their orders, and what all accounts meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
import pytest_asyncio

from server.access.tokens import Scope
from tests.support.app import BUY, SELL, Running, order, running, settings
from tests.support.rpc import Metadata, refused
from tradewind.v1 import common_pb2, system_pb2
from tradewind.v1 import orders_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH, DECREMENT = 2, 3, 4, 5
NEW, FILLED, CANCELED = pb.ORDER_STATUS_NEW, pb.ORDER_STATUS_FILLED, pb.ORDER_STATUS_CANCELED
GROUP = 1


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running(settings(tmp_path_factory.mktemp("bound"))) as it:
        yield it


async def one_call(app: Running, request: pb.PlaceOrderRequest, token: Metadata) -> pb.Order:
    placed: pb.Order = (await app.orders.PlaceOrder(request, metadata=token)).order
    return placed


async def batch(app: Running, request: pb.PlaceOrderRequest, token: Metadata) -> pb.Order:
    answer = await app.orders.BatchPlaceOrders(pb.BatchPlaceOrdersRequest(orders=[request]), metadata=token)
    placed: pb.Order = answer.results[0].placed.order
    return placed


async def stream(app: Running, request: pb.PlaceOrderRequest, token: Metadata) -> pb.Order:
    commands = pb.StreamOrdersRequest(batch_id=1, commands=[pb.OrderCommand(place=request)])
    call = app.orders.StreamOrders(iter([commands]), metadata=token)
    answer: Any = await call.read()
    placed: pb.Order = answer.batches[0].results[0].order
    call.cancel()
    return placed


async def in_a_list(app: Running, request: pb.PlaceOrderRequest, token: Metadata) -> pb.Order:
    other = order(account=request.account, side=request.side, price="50000", client_order_id=f"{request.client_order_id}-2")
    wanted = pb.PlaceOrderListRequest(type=pb.ORDER_LIST_TYPE_OTO, orders=[request, other])
    answer = await app.orders.PlaceOrderList(wanted, metadata=token)
    ref = pb.OrderRef(account=request.account, order_id=answer.orders[0].order_id)
    placed: pb.Order = (await app.orders.GetOrder(pb.GetOrderRequest(order=ref), metadata=token)).order
    return placed


async def resting(app: Running, token: Metadata, name: str) -> pb.Order:
    """An order of `maker` in the group."""
    request = order(account="maker", side=SELL, qty="1", client_order_id=name, self_trade_group=GROUP)
    return await one_call(app, request, token)


async def as_it_is(app: Running, placed: pb.Order) -> pb.Order:
    ref = pb.OrderRef(account=placed.account, order_id=placed.order_id)
    found: pb.Order = (await app.orders.GetOrder(pb.GetOrderRequest(order=ref), metadata=app.admin)).order
    return found


@pytest.mark.parametrize("way", [one_call, batch, stream, in_a_list])
@pytest.mark.parametrize("mode", [CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH, DECREMENT])
async def test_naming_the_group_of_another_account_cancels_nothing(
    app: Running, mode: int, way: Callable[..., Any]
) -> None:
    maker, demo = [await app.token(Scope.TRADE, accounts=(name,)) for name in ("maker", "demo")]
    rests = await resting(app, maker, f"rests-{mode}-{way.__name__}")
    request = order(
        qty="0.4", client_order_id=f"takes-{mode}-{way.__name__}", self_trade_prevention=mode, self_trade_group=GROUP
    )
    taker = await way(app, request, demo)
    assert (taker.status, taker.cum_qty) == (FILLED, "0.4"), "they are strangers, and trade"
    assert (await as_it_is(app, rests)).leaves_qty == "0.6"
    for account in ("maker", "demo"):
        await app.orders.CancelOrders(pb.CancelOrdersRequest(account=account), metadata=app.admin)


@pytest.mark.parametrize("accounts", [("demo", "maker"), ()], ids=["both", "all"])
async def test_tokens_for_the_same_accounts_share_their_groups(app: Running, accounts: tuple[str, ...]) -> None:
    one, other = (await app.token(Scope.TRADE, accounts=accounts), await app.token(Scope.TRADE, accounts=accounts))
    name = "-".join(accounts) or "all"
    rests = await resting(app, one, f"rests-{name}")
    fields = {"client_order_id": f"takes-{name}", "self_trade_prevention": CANCEL_OLDEST, "self_trade_group": GROUP}
    taker = await one_call(app, order(qty="0.4", side=BUY, **fields), other)
    assert (taker.status, taker.cum_qty) == (NEW, "0")
    found = await as_it_is(app, rests)
    assert (found.status, found.cancel_reason) == (CANCELED, pb.CANCEL_REASON_SELF_TRADE)
    await app.orders.CancelOrders(pb.CancelOrdersRequest(account="demo"), metadata=app.admin)


async def test_what_every_account_meets_is_not_for_a_token_of_some(app: Running) -> None:
    bound = await app.token(Scope.ADMIN, Scope.RISK_ADMIN, accounts=("demo",))
    halt = pb.SetTradingStatusRequest(status=common_pb2.TRADING_STATUS_HALTED)
    prices = pb.SetReferencePricesRequest(instrument="internal:BTC/USDT", mark_price="1", valid_for_ms=1_000)
    channels = app.channel.unary_unary("/grpc.channelz.v1.Channelz/GetServers")
    for call in (
        app.orders.SetTradingStatus(halt, metadata=bound),
        app.orders.SetReferencePrices(prices, metadata=bound),
        app.system.AcceptClock(system_pb2.AcceptClockRequest(), metadata=bound),
        channels(b"", metadata=bound),
    ):
        answer = await refused(call)
        assert (answer.code, answer.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert "bound" in answer.message
    everybody = await app.token(Scope.RISK_ADMIN)
    opened = pb.SetTradingStatusRequest(status=common_pb2.TRADING_STATUS_OPEN)
    await app.orders.SetTradingStatus(opened, metadata=everybody)
