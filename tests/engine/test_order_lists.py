"""Orders that belong together, through the whole server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tests.support.app import BUY, MARKET, SELL, Running, order, place, running, settings
from tests.support.rpc import refused
from tradewind.v1 import orders_pb2 as pb

pytestmark = pytest.mark.integration

STATUS = pb.OrderStatus
STOP = pb.ORDER_TYPE_STOP


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings(tmp_path)) as started:
        yield started


def request(kind: int, *orders: pb.PlaceOrderRequest) -> pb.PlaceOrderListRequest:
    return pb.PlaceOrderListRequest(type=kind, orders=orders)  # type: ignore[arg-type]


async def send(app: Running, kind: int, *orders: pb.PlaceOrderRequest) -> pb.PlaceOrderListResponse:
    response: pb.PlaceOrderListResponse = await app.orders.PlaceOrderList(request(kind, *orders), metadata=app.admin)
    return response


async def look(app: Running, client_order_id: str) -> pb.Order:
    ref = pb.OrderRef(account="demo", client_order_id=client_order_id)
    found: pb.Order = (await app.orders.GetOrder(pb.GetOrderRequest(order=ref), metadata=app.admin)).order
    return found


def limit(name: str, side: int, price: str, qty: str = "1", **fields: Any) -> pb.PlaceOrderRequest:
    return order(client_order_id=name, side=side, price=price, qty=qty, **fields)


def stop(name: str, side: int, trigger: str, qty: str = "1", **fields: Any) -> pb.PlaceOrderRequest:
    return order(client_order_id=name, type=STOP, side=side, price=None, trigger_price=trigger, qty=qty, **fields)


async def test_one_cancels_the_other(app: Running) -> None:
    placed = await send(app, pb.ORDER_LIST_TYPE_OCO, limit("high", SELL, "63000"), stop("low", SELL, "58000"))
    assert [each.status for each in placed.orders] == [STATUS.ORDER_STATUS_NEW] * 2
    assert {each.list_id for each in placed.orders} == {placed.list_id}
    await place(app, account="maker", side=BUY, price="63000", qty="0.4")
    assert (await look(app, "low")).leaves_qty == "0.6"
    await place(app, account="maker", side=BUY, price="63000", qty="0.6")
    low = await look(app, "low")
    assert (low.status, low.cancel_reason) == (STATUS.ORDER_STATUS_CANCELED, pb.CANCEL_REASON_LINKED_ORDER)


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("kind", [pb.ORDER_LIST_TYPE_BRACKET, pb.ORDER_LIST_TYPE_OTO, pb.ORDER_LIST_TYPE_OCO])
async def test_a_list_with_swapped_prices_is_refused_with_the_reason(app: Running, kind: int, side: int) -> None:
    away, above, below = (SELL, "61000", "59000") if side == BUY else (BUY, "59000", "61000")
    exits = {"reduce_only": kind == pb.ORDER_LIST_TYPE_BRACKET}
    profit, loss = limit("profit", away, below, **exits), stop("loss", away, above, **exits)
    entry = limit("entry", side, "60000")
    if kind == pb.ORDER_LIST_TYPE_OCO:
        entry, profit = profit, loss
        placed = await send(app, kind, entry, profit)
    else:
        placed = await send(app, kind, entry, profit, *([loss] if kind == pb.ORDER_LIST_TYPE_BRACKET else []))
    assert placed.orders[0].status == STATUS.ORDER_STATUS_CANCELED
    wrong = placed.orders[1]
    assert (wrong.status, wrong.reject_reason) == (STATUS.ORDER_STATUS_REJECTED, pb.REJECT_REASON_LINKED_PRICE)
    assert "a take-profit lies beyond the entry" in wrong.reject_message
    assert {each.cum_qty for each in placed.orders} == {"0"}


async def test_a_bracket_does_not_trade_with_itself_when_its_stop_fires(app: Running) -> None:
    """The entry is filled in part and moved away, the stop is hit, and then somebody sells where the entry was."""
    exits = {"reduce_only": True}
    await send(
        app, pb.ORDER_LIST_TYPE_BRACKET, limit("entry", BUY, "60000"), limit("profit", SELL, "63000", **exits),
        stop("loss", SELL, "59500", **exits),
    )  # fmt: skip
    await place(app, account="maker", side=SELL, price="60000", qty="0.3")
    ref = pb.OrderRef(account="demo", client_order_id="entry")
    await app.orders.AmendOrder(pb.AmendOrderRequest(order=ref, price="58000"), metadata=app.admin)
    await place(app, account="maker", side=BUY, price="59000", qty="0.31")
    await place(app, account="maker", side=SELL, price="59000", qty="0.01")
    await place(app, account="maker", side=SELL, price="58000", qty="0.1")
    entry, profit, loss = [await look(app, name) for name in ("entry", "profit", "loss")]
    assert (entry.status, entry.cum_qty) == (STATUS.ORDER_STATUS_CANCELED, "0.3")
    assert entry.cancel_reason == profit.cancel_reason == pb.CANCEL_REASON_LINKED_ORDER
    assert (loss.status, loss.cum_qty) == (STATUS.ORDER_STATUS_FILLED, "0.3")


async def test_a_repetition_with_another_body_leaves_a_list_alone(app: Running) -> None:
    await send(app, pb.ORDER_LIST_TYPE_OCO, limit("high", SELL, "63000"), stop("low", SELL, "58000"))
    for orders in (
        (limit("high", SELL, "63001"), stop("low", SELL, "58000")),
        (limit("high", SELL, "63000"), stop("low", SELL, "58001")),
    ):
        call = app.orders.PlaceOrderList(request(pb.ORDER_LIST_TYPE_OCO, *orders), metadata=app.admin)
        assert (await refused(call)).reason == "CLIENT_ORDER_ID_CONFLICT"
    placed = await send(app, pb.ORDER_LIST_TYPE_OCO, limit("high", SELL, "63000"), stop("other", SELL, "58000"))
    assert placed.orders[1].status == STATUS.ORDER_STATUS_REJECTED
    assert [(await look(app, name)).status for name in ("high", "low")] == [STATUS.ORDER_STATUS_NEW] * 2


async def test_one_taker_fills_one_of_both(app: Running) -> None:
    await send(app, pb.ORDER_LIST_TYPE_OCO, limit("near", SELL, "63000"), limit("far", SELL, "63001"))
    taken = await place(app, account="maker", side=BUY, price="63001", qty="2")
    assert (taken.cum_qty, taken.leaves_qty) == ("1", "1")
    assert (await look(app, "near")).status == STATUS.ORDER_STATUS_FILLED
    assert (await look(app, "far")).cancel_reason == pb.CANCEL_REASON_LINKED_ORDER


async def test_one_triggers_the_others(app: Running) -> None:
    parent = limit("parent", BUY, "60000")
    child = order(client_order_id="child", side=SELL, type=MARKET, qty="1")
    placed = await send(app, pb.ORDER_LIST_TYPE_OTO, parent, limit("rest", SELL, "61000"), child)
    assert [each.waiting for each in placed.orders] == [False, True, True]
    await place(app, account="maker", side=BUY, price="59000", qty="5")
    await place(app, account="maker", side=SELL, price="60000", qty="1")
    assert (await look(app, "parent")).status == STATUS.ORDER_STATUS_FILLED
    assert (await look(app, "child")).avg_price == "59000"
    assert (await look(app, "rest")).status == STATUS.ORDER_STATUS_NEW


async def test_exits_follow_an_entry_that_fills_in_parts(app: Running) -> None:
    entry = limit("entry", BUY, "60000")
    await send(app, pb.ORDER_LIST_TYPE_BRACKET, entry, limit("tp", SELL, "63000"), stop("sl", SELL, "58000"))
    tp = await look(app, "tp")
    assert (tp.waiting, tp.qty, tp.leaves_qty) == (True, "1", "1")
    await place(app, account="maker", side=SELL, price="60000", qty="0.4")
    tp = await look(app, "tp")
    assert (tp.waiting, tp.status, tp.qty, tp.leaves_qty) == (False, STATUS.ORDER_STATUS_NEW, "1", "1")
    await place(app, account="maker", side=BUY, price="63000", qty="1")
    tp, sl = await look(app, "tp"), await look(app, "sl")
    assert (tp.waiting, tp.cum_qty, tp.leaves_qty) == (True, "0.4", "0.6"), "it had no more to sell"
    assert (sl.waiting, sl.leaves_qty) == (True, "0.6")
    ref = pb.OrderRef(account="demo", client_order_id="entry")
    await app.orders.CancelOrder(pb.CancelOrderRequest(order=ref), metadata=app.admin)
    assert [(await look(app, name)).status for name in ("tp", "sl")] == [STATUS.ORDER_STATUS_CANCELED] * 2


async def test_a_bracket_from_entry_to_stop_loss(app: Running) -> None:
    await place(app, account="maker", side=SELL, price="60000", qty="1")
    entry = order(client_order_id="entry", type=MARKET, qty="1")
    placed = await send(app, pb.ORDER_LIST_TYPE_BRACKET, entry, limit("tp", SELL, "63000"), stop("sl", SELL, "58000"))
    assert [each.status for each in placed.orders] == [
        STATUS.ORDER_STATUS_FILLED, STATUS.ORDER_STATUS_NEW, STATUS.ORDER_STATUS_NEW,
    ]  # fmt: skip
    assert all(each.reduce_only for each in placed.orders[1:])
    await place(app, account="maker", side=BUY, price="57500", qty="2")
    await place(app, account="maker", side=BUY, price="58000", qty="0.1")
    await place(app, side=SELL, price="58000", qty="0.1")
    lost = await look(app, "sl")
    assert (lost.status, lost.avg_price) == (STATUS.ORDER_STATUS_FILLED, "57500")
    assert (await look(app, "tp")).status == STATUS.ORDER_STATUS_CANCELED


async def test_the_same_list_again_places_nothing(app: Running) -> None:
    members = limit("a", SELL, "63000"), stop("b", SELL, "58000")
    first = await send(app, pb.ORDER_LIST_TYPE_OCO, *members)
    again = await send(app, pb.ORDER_LIST_TYPE_OCO, *members)
    assert (first.replayed, again.replayed) == (False, True)
    assert [each.order_id for each in again.orders] == [each.order_id for each in first.orders]


async def test_all_are_accepted_or_none_is(app: Running) -> None:
    poor = await send(
        app, pb.ORDER_LIST_TYPE_BRACKET,
        limit("entry", BUY, "60000", "10000"), limit("tp", SELL, "63000"), stop("sl", SELL, "58000"),
    )  # fmt: skip
    assert [each.reject_reason for each in poor.orders] == [
        pb.REJECT_REASON_INSUFFICIENT_BALANCE, pb.REJECT_REASON_LINKED_ORDER, pb.REJECT_REASON_LINKED_ORDER,
    ]  # fmt: skip
    late = await send(app, pb.ORDER_LIST_TYPE_OCO, limit("one", SELL, "63000"), limit("two", SELL, "64000", "10000"))
    assert [(each.status, each.cancel_reason) for each in late.orders] == [
        (STATUS.ORDER_STATUS_CANCELED, pb.CANCEL_REASON_LINKED_ORDER), (STATUS.ORDER_STATUS_REJECTED, 0),
    ]  # fmt: skip
    await place(app, account="maker", side=BUY, price="62000", qty="1")
    matching = limit("sells", SELL, "62000"), limit("poor", SELL, "64000", "10000")
    refused_late = await send(app, pb.ORDER_LIST_TYPE_OCO, *matching)
    assert [(each.status, each.cum_qty) for each in refused_late.orders] == [
        (STATUS.ORDER_STATUS_CANCELED, "0"), (STATUS.ORDER_STATUS_REJECTED, "0"),
    ], "the first would have traded at once"  # fmt: skip
    await place(app, client_order_id="taken", price="50000", qty="0.001")
    answer = await refused(
        app.orders.PlaceOrderList(
            request(pb.ORDER_LIST_TYPE_OCO, limit("x", SELL, "63000"), limit("taken", SELL, "64000")),
            metadata=app.admin,
        )
    )
    assert (answer.code, answer.reason) == (grpc.StatusCode.ALREADY_EXISTS, "CLIENT_ORDER_ID_CONFLICT")
    assert (await look(app, "x")).status == STATUS.ORDER_STATUS_CANCELED
    listed = await app.orders.ListOrders(pb.ListOrdersRequest(account="demo", open_only=True), metadata=app.admin)
    assert [each.client_order_id for each in listed.orders] == ["taken"]


WRONG: list[tuple[int, list[pb.PlaceOrderRequest], dict[str, str]]] = [
    (0, [limit("a", BUY, "1"), limit("b", BUY, "1")], {"type": "REQUIRED"}),
    (pb.ORDER_LIST_TYPE_OCO, [limit("a", BUY, "1")], {"orders": "OUT_OF_RANGE"}),
    (pb.ORDER_LIST_TYPE_OCO, [limit("a", BUY, "1")] * 9, {"orders": "OUT_OF_RANGE"}),
    (pb.ORDER_LIST_TYPE_BRACKET, [limit("a", BUY, "1")] * 2, {"orders": "OUT_OF_RANGE"}),
    (
        pb.ORDER_LIST_TYPE_OCO,
        [order(), limit("b", BUY, "1.001", account="maker", instrument="internal:ETH/USDT")],
        {
            "orders[0].client_order_id": "REQUIRED",
            "orders[1].account": "NOT_ALLOWED",
            "orders[1].instrument": "NOT_ALLOWED",
            "orders[1].price": "PRICE_NOT_ON_TICK",
        },
    ),
    (
        pb.ORDER_LIST_TYPE_BRACKET,
        [
            limit("a", BUY, "1"),
            limit("b", BUY, "1"),
            limit("c", SELL, "1", time_in_force=pb.TIME_IN_FORCE_IOC, min_qty="1"),
        ],
        {
            "orders[1].side": "NOT_ALLOWED",
            "orders[2].min_qty": "NOT_ALLOWED",
            "orders[2].time_in_force": "NOT_ALLOWED",
        },
    ),
]


@pytest.mark.parametrize(("kind", "orders", "violations"), WRONG)
async def test_a_malformed_list_is_refused_as_a_whole(
    app: Running, kind: int, orders: list[pb.PlaceOrderRequest], violations: dict[str, str]
) -> None:
    answer = await refused(app.orders.PlaceOrderList(request(kind, *orders), metadata=app.admin))
    assert (answer.code, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, violations)
    listed = await app.orders.ListOrders(pb.ListOrdersRequest(account="demo"), metadata=app.admin)
    assert not listed.orders
