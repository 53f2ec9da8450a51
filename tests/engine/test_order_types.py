"""Each order type through the whole server: placed, triggered, filled; and the rules that go with them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.app import BUY, INSTRUMENT, MARKET, SELL, Running, place, refused_order, running, settings
from tests.support.rpc import refused
from tests.waiting import until
from tradewind.v1 import common_pb2, system_pb2
from tradewind.v1 import orders_pb2 as pb

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

STATUS = pb.OrderStatus
REASON = pb.RejectReason


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running(settings(tmp_path_factory.mktemp("types"))) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def app(server: Running) -> AsyncIterator[Running]:
    """The server with empty books."""
    yield server
    for account in ("demo", "maker"):
        await server.orders.CancelOrders(pb.CancelOrdersRequest(account=account), metadata=server.admin)


async def look(app: Running, order: pb.Order) -> pb.Order:
    ref = pb.OrderRef(account=order.account, order_id=order.order_id)
    found: pb.Order = (await app.orders.GetOrder(pb.GetOrderRequest(order=ref), metadata=app.admin)).order
    return found


async def until_status(app: Running, order: pb.Order, status: int) -> None:
    """For what happens by itself; the order's stream is tested elsewhere."""

    async def is_so() -> bool:
        return (await look(app, order)).status == status

    await until(is_so, f"status {pb.OrderStatus.Name(status)}")


async def amend(app: Running, order: pb.Order, **changes: str) -> pb.Order:
    ref = pb.OrderRef(account=order.account, order_id=order.order_id)
    response = await app.orders.AmendOrder(pb.AmendOrderRequest(order=ref, **changes), metadata=app.admin)
    amended: pb.Order = response.order
    return amended


async def maker(app: Running, side: int, price: str, qty: str = "1", **fields: Any) -> pb.Order:
    return await place(app, account="maker", side=side, price=price, qty=qty, **fields)


async def trade_at(app: Running, price: str) -> None:
    """Make it the last price: the maker's accounts trade a little."""
    await maker(app, SELL, price, "0.001")
    await place(app, side=BUY, price=price, qty="0.001", time_in_force=pb.TIME_IN_FORCE_IOC)


async def after(app: Running, seconds: int) -> Timestamp:
    now = (await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)).server_time
    return Timestamp(seconds=now.seconds + seconds, nanos=now.nanos)


async def test_a_market_order_takes_no_worse_than_its_protection(app: Running) -> None:
    for price in ("60000", "60100", "60200"):
        await maker(app, SELL, price, "0.1")
    taken = await place(app, type=MARKET, qty="0.3", protection_price="60100")
    assert (taken.status, taken.cum_qty, taken.cancel_reason) == (
        STATUS.ORDER_STATUS_CANCELED, "0.2", pb.CANCEL_REASON_MARKET_REMAINDER,
    )  # fmt: skip
    beyond = await place(app, type=MARKET, qty="0.1", protection_price="60100")
    assert beyond.reject_reason == REASON.REJECT_REASON_SLIPPAGE_LIMIT


async def test_market_to_limit_rests_at_the_price_it_traded_at(app: Running) -> None:
    await maker(app, SELL, "60000", "0.1")
    order = await place(app, type=pb.ORDER_TYPE_MARKET_TO_LIMIT, price=None, qty="0.3")
    assert (order.status, order.price, order.cum_qty, order.leaves_qty) == (
        STATUS.ORDER_STATUS_PARTIALLY_FILLED, "60000", "0.1", "0.2",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "side", "trigger", "limit", "through"),
    [
        (pb.ORDER_TYPE_STOP, SELL, "59000", None, "58990"),
        (pb.ORDER_TYPE_STOP_LIMIT, SELL, "59000", "58000", "59000"),
        (pb.ORDER_TYPE_TAKE_PROFIT, SELL, "61000", None, "61000"),
        (pb.ORDER_TYPE_TAKE_PROFIT_LIMIT, SELL, "61000", "58500", "61010"),
        (pb.ORDER_TYPE_STOP, BUY, "61000", None, "61000"),
        (pb.ORDER_TYPE_TAKE_PROFIT_LIMIT, BUY, "59000", "63000", "59000"),
    ],
)
async def test_a_conditional_order_waits_for_its_price_and_then_trades(
    app: Running, kind: int, side: int, trigger: str, limit: str | None, through: str
) -> None:
    await trade_at(app, "60000")
    await maker(app, BUY, "58500", "1")
    await maker(app, SELL, "62000", "1")
    order = await place(app, type=kind, side=side, trigger_price=trigger, price=limit, qty="0.2")
    assert (order.status, order.waiting, order.trigger_price) == (STATUS.ORDER_STATUS_NEW, True, trigger)
    await trade_at(app, "60000")
    assert (await look(app, order)).waiting
    await trade_at(app, through)
    fired = await look(app, order)
    assert (fired.status, fired.waiting) == (STATUS.ORDER_STATUS_FILLED, False)
    assert fired.avg_price == ("58500" if side == SELL else "62000")


async def test_a_trailing_stop_follows_the_best_price(app: Running) -> None:
    await trade_at(app, "60000")
    await maker(app, BUY, "58500", "1")
    order = await place(
        app, type=pb.ORDER_TYPE_TRAILING_STOP, side=SELL, price=None, qty="0.2", trailing_offset="500"
    )
    assert (order.waiting, order.trigger_price) == (True, "59500")
    await trade_at(app, "61000")
    await trade_at(app, "60600")
    assert (await look(app, order)).status == STATUS.ORDER_STATUS_NEW
    await trade_at(app, "60500")
    assert (await look(app, order)).status == STATUS.ORDER_STATUS_FILLED


async def test_a_trailing_stop_limit_gets_its_limit_from_the_trigger(app: Running) -> None:
    await trade_at(app, "60000")
    order = await place(
        app, type=pb.ORDER_TYPE_TRAILING_STOP_LIMIT, side=SELL, price=None, qty="0.2",
        trailing_offset_bps=100, limit_offset="50", trigger_price="60200",
    )  # fmt: skip
    assert (order.waiting, order.HasField("price"), order.trigger_price) == (True, False, "60200")
    await trade_at(app, "60200")
    following = await look(app, order)
    assert (following.waiting, following.trigger_price) == (True, "59598")
    ref = pb.OrderRef(account="demo", order_id=order.order_id)
    for change in ({"price": "59000"}, {"trigger_price": "59000"}):
        answer = await refused(app.orders.AmendOrder(pb.AmendOrderRequest(order=ref, **change), metadata=app.admin))
        assert answer.fields == dict.fromkeys(change, "NOT_ALLOWED")
    await trade_at(app, "59500")
    resting = await look(app, order)
    assert (resting.waiting, resting.price, resting.status) == (False, "59548", STATUS.ORDER_STATUS_NEW)
    await maker(app, BUY, "59548", "0.2")
    assert (await look(app, order)).status == STATUS.ORDER_STATUS_FILLED


async def test_a_trigger_may_watch_the_book_instead_of_trades(app: Running) -> None:
    await maker(app, BUY, "58500", "1")
    bid = await maker(app, BUY, "60000", "1")
    order = await place(
        app, type=pb.ORDER_TYPE_STOP, side=SELL, price=None, qty="0.2", trigger_price="59000",
        trigger_source=pb.TRIGGER_SOURCE_BID_ASK,
    )  # fmt: skip
    ref = pb.OrderRef(account="maker", order_id=bid.order_id)
    await app.orders.CancelOrder(pb.CancelOrderRequest(order=ref), metadata=app.admin)
    assert (await look(app, order)).avg_price == "58500"


async def test_a_trigger_may_watch_a_price_that_is_told(app: Running) -> None:
    await maker(app, BUY, "58500", "1")

    async def tell(**prices: str) -> None:
        request = pb.SetReferencePricesRequest(instrument="internal:BTC/USDT", valid_for_ms=60_000, **prices)
        told = await app.orders.SetReferencePrices(request, metadata=app.admin)
        assert told.expire_time.seconds > time.time()

    await tell(mark_price="60000", index_price="60000")
    stops = [
        await place(
            app, type=pb.ORDER_TYPE_STOP, side=SELL, price=None, qty="0.1", trigger_price="59000", trigger_source=source
        )
        for source in (pb.TRIGGER_SOURCE_MARK, pb.TRIGGER_SOURCE_INDEX)
    ]
    await tell(mark_price="59000")
    statuses = [(await look(app, each)).status for each in stops]
    assert statuses == [STATUS.ORDER_STATUS_FILLED, STATUS.ORDER_STATUS_NEW]
    await tell()
    for fields, wrong in (
        ({"mark_price": "0.001"}, {"mark_price": "PRICE_NOT_ON_TICK"}),
        ({"index_price": "-1"}, {"index_price": "NOT_POSITIVE"}),
        ({"valid_for_ms": 0}, {"valid_for_ms": "OUT_OF_RANGE"}),
    ):
        request = pb.SetReferencePricesRequest(**{"instrument": "internal:BTC/USDT", "valid_for_ms": 1_000} | fields)
        assert (await refused(app.orders.SetReferencePrices(request, metadata=app.admin))).fields == wrong
    request = pb.SetReferencePricesRequest(instrument="internal:NO/USDT", valid_for_ms=1)
    assert (await refused(app.orders.SetReferencePrices(request, metadata=app.admin))).reason == "INSTRUMENT_NOT_FOUND"


async def test_what_an_order_watches_is_shown_wherever_it_is(app: Running) -> None:
    stop = await place(app, type=pb.ORDER_TYPE_STOP, side=SELL, price=None, qty="0.1", trigger_price="1000")
    follows = await place(
        app, type=pb.ORDER_TYPE_TRAILING_STOP, side=SELL, price=None, qty="0.1", trailing_offset="500.5",
        trigger_price="90000", trigger_source=pb.TRIGGER_SOURCE_BID_ASK,
    )  # fmt: skip
    by_bps = await place(
        app, type=pb.ORDER_TYPE_TRAILING_STOP, side=SELL, price=None, qty="0.1", trailing_offset_bps=25,
        trigger_price="90000", trigger_source=pb.TRIGGER_SOURCE_MID,
    )  # fmt: skip
    plain = await place(app, price="10")

    def watches(order: pb.Order) -> tuple[int, str, int]:
        return order.trigger_source, order.trailing_offset, order.trailing_offset_bps

    expected = [
        (pb.TRIGGER_SOURCE_LAST, "", 0), (pb.TRIGGER_SOURCE_BID_ASK, "500.5", 0), (pb.TRIGGER_SOURCE_MID, "", 25), (0, "", 0),
    ]  # fmt: skip
    placed = [stop, follows, by_bps, plain]
    listed = await app.orders.ListOrders(pb.ListOrdersRequest(account="demo", open_only=True), metadata=app.admin)
    by_id = {each.order_id: each for each in listed.orders}
    assert [watches(each) for each in placed] == expected
    assert [watches(by_id[each.order_id]) for each in placed] == expected
    assert [watches(await look(app, each)) for each in placed] == expected
    for source in (pb.TRIGGER_SOURCE_MARK, pb.TRIGGER_SOURCE_INDEX):
        refused_one = await place(
            app, type=pb.ORDER_TYPE_STOP, side=SELL, price=None, qty="0.1", trigger_price="1000", trigger_source=source
        )
        assert refused_one.reject_reason == REASON.REJECT_REASON_UNSUPPORTED_TRIGGER_SOURCE
        assert refused_one.reject_message == "refused: unsupported trigger source"


async def test_an_iceberg_shows_a_slice_and_a_hidden_order_nothing(app: Running) -> None:
    await maker(app, SELL, "60000", "1", type=pb.ORDER_TYPE_ICEBERG, display_qty="0.1")
    hidden = await maker(app, SELL, "60000", "1", type=pb.ORDER_TYPE_HIDDEN)
    shown = await maker(app, SELL, "60000", "0.1")
    taken = await place(app, type=MARKET, qty="1.2")
    assert taken.status == STATUS.ORDER_STATUS_FILLED
    assert (await look(app, shown)).status == STATUS.ORDER_STATUS_FILLED, "came after one slice"
    assert (await look(app, hidden)).cum_qty == "0.1", "came last"


async def test_money_and_positions_say_how_much(app: Running) -> None:
    await maker(app, SELL, "2000", "10", instrument="internal:ETH/USDT")
    await maker(app, BUY, "1990", "0.5", instrument="internal:ETH/USDT")
    await maker(app, BUY, "1980", "10", instrument="internal:ETH/USDT")

    async def eth(side: int, **fields: Any) -> pb.Order:
        return await place(app, instrument="internal:ETH/USDT", side=side, **fields)

    nothing = await eth(SELL, price="1990", qty="1", reduce_only=True)
    assert nothing.reject_reason == REASON.REJECT_REASON_REDUCE_ONLY_VIOLATION
    bought = await eth(BUY, type=MARKET, qty=None, quote_qty="3001.5")
    assert (bought.status, bought.qty, bought.cum_notional) == (STATUS.ORDER_STATUS_FILLED, "1.5", "3000")
    less = await eth(SELL, type=MARKET, qty="0.5", reduce_only=True)
    assert (less.cum_qty, less.reduce_only) == ("0.5", True)
    cut = await eth(SELL, price="2100", qty="7", reduce_only=True)
    assert (cut.status, cut.leaves_qty) == (STATUS.ORDER_STATUS_NEW, "1")
    stop = await eth(SELL, type=pb.ORDER_TYPE_STOP, price=None, qty=None, close_position=True, trigger_price="1985")
    assert (stop.waiting, stop.qty) == (True, "0")
    await eth(SELL, type=MARKET, qty="0.1")
    closed = await look(app, stop)
    assert (closed.status, closed.cum_qty) == (STATUS.ORDER_STATUS_FILLED, "0.9")
    assert (await look(app, cut)).cancel_reason == pb.CANCEL_REASON_REDUCE_ONLY
    await app.orders.SetTradingStatus(
        pb.SetTradingStatusRequest(status=common_pb2.TRADING_STATUS_REDUCE_ONLY), metadata=app.admin
    )
    opening = await eth(BUY, price="1000", qty="1")
    assert opening.reject_reason == REASON.REJECT_REASON_TRADING_REDUCE_ONLY
    await app.orders.SetTradingStatus(
        pb.SetTradingStatusRequest(status=common_pb2.TRADING_STATUS_OPEN), metadata=app.admin
    )


async def test_good_till_date_expires_by_itself_and_day_at_midnight(app: Running) -> None:
    soon = await after(app, 1)
    order = await place(app, price="50000", time_in_force=pb.TIME_IN_FORCE_GTD, expire_time=soon)
    assert order.expire_time == soon
    day = await place(app, price="50000", time_in_force=pb.TIME_IN_FORCE_DAY)
    assert day.expire_time.seconds % 86_400 == 0
    assert 0 < day.expire_time.seconds - day.create_time.seconds <= 86_400
    await until_status(app, order, STATUS.ORDER_STATUS_EXPIRED)
    assert (await look(app, day)).status == STATUS.ORDER_STATUS_NEW
    past = Timestamp(seconds=soon.seconds - 10)
    late = await place(app, price="50000", time_in_force=pb.TIME_IN_FORCE_GTD, expire_time=past)
    assert late.reject_reason == REASON.REJECT_REASON_EXPIRE_TIME_IN_PAST


async def test_post_only_slides_instead_of_taking(app: Running) -> None:
    await maker(app, SELL, "60000", "1")
    slid = await place(app, price="60500", post_only=True, post_only_slide=True)
    assert (slid.status, slid.price) == (STATUS.ORDER_STATUS_NEW, "59999.99")


async def test_a_minimum_quantity_trades_at_once_or_nothing_does(app: Running) -> None:
    await maker(app, SELL, "60000", "0.2")
    few = await place(app, qty="1", min_qty="0.3", time_in_force=pb.TIME_IN_FORCE_IOC)
    assert few.reject_reason == REASON.REJECT_REASON_MIN_QTY_NOT_FILLABLE
    enough = await place(app, qty="1", min_qty="0.2", time_in_force=pb.TIME_IN_FORCE_IOC)
    assert enough.cum_qty == "0.2"


@pytest.mark.parametrize(
    ("mode", "resting_left", "arriving_left"),
    [
        (pb.SELF_TRADE_PREVENTION_CANCEL_NEWEST, "1", "0"),
        (pb.SELF_TRADE_PREVENTION_CANCEL_OLDEST, "0", "0.4"),
        (pb.SELF_TRADE_PREVENTION_CANCEL_BOTH, "0", "0"),
        (pb.SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL, "0.6", "0"),
    ],
)
async def test_one_does_not_trade_with_oneself(
    app: Running, mode: int, resting_left: str, arriving_left: str
) -> None:
    resting = await place(app, side=SELL, qty="1")
    arriving = await place(app, side=BUY, qty="0.4", self_trade_prevention=mode)
    assert arriving.leaves_qty == arriving_left
    assert arriving.cum_qty == "0"
    assert (await look(app, resting)).leaves_qty == resting_left


async def test_amending_keeps_or_loses_the_place_in_the_queue(app: Running) -> None:
    first = await maker(app, SELL, "60000", "0.3")
    second = await maker(app, SELL, "60000", "0.3")
    assert (await amend(app, first, qty="0.2")).leaves_qty == "0.2"
    await place(app, type=MARKET, qty="0.1")
    assert (await look(app, first)).cum_qty == "0.1", "less keeps the place"
    assert (await amend(app, first, qty="0.4")).leaves_qty == "0.3"
    await place(app, type=MARKET, qty="0.1")
    assert (await look(app, first)).cum_qty == "0.1", "more loses it"
    assert (await look(app, second)).cum_qty == "0.1"
    gone = await amend(app, first, qty="0.1")
    assert (gone.status, gone.cancel_reason) == (STATUS.ORDER_STATUS_CANCELED, pb.CANCEL_REASON_AMENDED_AWAY)
    moved = await amend(app, second, price="59000")
    assert moved.price == "59000"
    stop = await place(app, type=pb.ORDER_TYPE_STOP, price=None, qty="0.1", trigger_price="70000")
    assert (await amend(app, stop, trigger_price="71000")).trigger_price == "71000"


async def test_amendments_that_make_no_sense_change_nothing(app: Running) -> None:
    order = await place(app, price="50000")
    ref = pb.OrderRef(account="demo", order_id=order.order_id)
    for changes, fields in (
        ({}, {"qty": "REQUIRED"}),
        ({"qty": "0"}, {"qty": "NOT_POSITIVE"}),
        ({"qty": "0.000001", "price": "1.001"}, {"qty": "QTY_NOT_ON_LOT", "price": "PRICE_NOT_ON_TICK"}),
        ({"trigger_price": "100"}, {"trigger_price": "NOT_ALLOWED"}),
    ):
        answer = await refused(app.orders.AmendOrder(pb.AmendOrderRequest(order=ref, **changes), metadata=app.admin))
        assert (answer.code, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, fields)
    poor = await refused(app.orders.AmendOrder(pb.AmendOrderRequest(order=ref, qty="1000"), metadata=app.admin))
    assert (poor.code, poor.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_BALANCE")
    unknown = pb.OrderRef(account="demo", order_id="999999")
    nobody = await refused(app.orders.AmendOrder(pb.AmendOrderRequest(order=unknown, qty="1"), metadata=app.admin))
    assert nobody.code is grpc.StatusCode.NOT_FOUND
    assert await look(app, order) == order
    await app.orders.CancelOrder(pb.CancelOrderRequest(order=ref), metadata=app.admin)
    closed = await refused(app.orders.AmendOrder(pb.AmendOrderRequest(order=ref, qty="1"), metadata=app.admin))
    assert closed.reason == "ORDER_NOT_OPEN"


async def test_all_orders_of_a_filter_are_canceled_at_once(app: Running) -> None:
    buys = [await place(app, price=str(50000 + n), qty="0.001") for n in range(3)]
    sell = await place(app, side=SELL, price="70000", qty="0.001")
    other = await place(app, instrument="internal:ETH/USDT", price="1000", qty="0.1")

    async def cancel(**fields: Any) -> int:
        request = pb.CancelOrdersRequest(account="demo", **fields)
        response = await app.orders.CancelOrders(request, metadata=app.admin)
        return int(response.canceled_count)

    assert await cancel(instrument=INSTRUMENT, side=BUY) == 3
    canceled = await look(app, buys[0])
    assert (canceled.status, canceled.cancel_reason) == (STATUS.ORDER_STATUS_CANCELED, pb.CANCEL_REASON_MASS_CANCEL)
    assert (await look(app, sell)).status == STATUS.ORDER_STATUS_NEW
    assert await cancel(instrument="internal:ETH/USDT") == 1
    assert (await look(app, other)).status == STATUS.ORDER_STATUS_CANCELED
    assert await cancel() == 1
    assert await cancel() == 0
    answer = await refused(
        app.orders.CancelOrders(pb.CancelOrdersRequest(account="demo", instrument="x:Y/Z"), metadata=app.admin)
    )
    assert answer.reason == "INSTRUMENT_NOT_FOUND"


async def test_the_dead_man_timer_cancels_unless_it_is_set_again(app: Running) -> None:
    order = await place(app, price="50000")

    async def timer(timeout_ms: int) -> pb.SetCancelTimerResponse:
        request = pb.SetCancelTimerRequest(account="demo", timeout_ms=timeout_ms)
        response: pb.SetCancelTimerResponse = await app.orders.SetCancelTimer(request, metadata=app.admin)
        return response

    assert (await timer(60_000)).HasField("expire_time")
    assert not (await timer(0)).HasField("expire_time")
    await timer(1_000)
    await until_status(app, order, STATUS.ORDER_STATUS_CANCELED)
    assert (await look(app, order)).cancel_reason == pb.CANCEL_REASON_TIMER
    for wrong in (-1, 1, 999, 86_400_001):
        request = pb.SetCancelTimerRequest(account="demo", timeout_ms=wrong)
        answer = await refused(app.orders.SetCancelTimer(request, metadata=app.admin))
        assert answer.fields == {"timeout_ms": "OUT_OF_RANGE"}


async def test_a_halt_refuses_orders_and_lets_cancels_through(app: Running) -> None:
    order = await place(app, price="50000")

    async def status(value: int, instrument: str = "") -> None:
        request = pb.SetTradingStatusRequest(instrument=instrument, status=value)
        await app.orders.SetTradingStatus(request, metadata=app.admin)

    for instrument in (INSTRUMENT, ""):
        await status(common_pb2.TRADING_STATUS_HALTED, instrument)
        assert (await place(app, price="50000")).reject_reason == REASON.REJECT_REASON_TRADING_HALTED
        await status(common_pb2.TRADING_STATUS_CANCEL_ONLY, instrument)
        assert (await place(app, price="50000")).reject_reason == REASON.REJECT_REASON_TRADING_CANCEL_ONLY
        await status(common_pb2.TRADING_STATUS_OPEN, instrument)
    await status(common_pb2.TRADING_STATUS_HALTED)
    ref = pb.OrderRef(account="demo", order_id=order.order_id)
    await app.orders.CancelOrder(pb.CancelOrderRequest(order=ref), metadata=app.admin)
    await status(common_pb2.TRADING_STATUS_OPEN)
    answer = await refused(app.orders.SetTradingStatus(pb.SetTradingStatusRequest(), metadata=app.admin))
    assert answer.fields == {"status": "REQUIRED"}


WRONG: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"type": pb.ORDER_TYPE_STOP, "price": None}, {"trigger_price": "REQUIRED"}),
    ({"trigger_price": "1"}, {"trigger_price": "NOT_ALLOWED"}),
    ({"trigger_source": pb.TRIGGER_SOURCE_LAST}, {"trigger_source": "NOT_ALLOWED"}),
    ({"type": pb.ORDER_TYPE_STOP, "trigger_price": "1"}, {"price": "NOT_ALLOWED"}),
    ({"type": pb.ORDER_TYPE_STOP_LIMIT, "trigger_price": "1", "price": None}, {"price": "REQUIRED"}),
    ({"type": pb.ORDER_TYPE_TRAILING_STOP, "price": None}, {"trailing_offset": "REQUIRED"}),
    (
        {"type": pb.ORDER_TYPE_TRAILING_STOP, "price": None, "trailing_offset": "1", "trailing_offset_bps": 1},
        {"trailing_offset": "REQUIRED"},
    ),
    (
        {"type": pb.ORDER_TYPE_TRAILING_STOP, "price": None, "trailing_offset_bps": 10_000},
        {"trailing_offset_bps": "OUT_OF_RANGE"},
    ),
    (
        {"type": pb.ORDER_TYPE_TRAILING_STOP_LIMIT, "price": None, "trailing_offset": "1", "limit_offset": "-1"},
        {"limit_offset": "OUT_OF_RANGE"},
    ),
    ({"trailing_offset": "1"}, {"trailing_offset": "NOT_ALLOWED"}),
    ({"trailing_offset_bps": 5}, {"trailing_offset_bps": "NOT_ALLOWED"}),
    ({"limit_offset": "1"}, {"limit_offset": "NOT_ALLOWED"}),
    ({"protection_price": "1"}, {"protection_price": "NOT_ALLOWED"}),
    ({"type": pb.ORDER_TYPE_ICEBERG}, {"display_qty": "REQUIRED"}),
    ({"display_qty": "0.1"}, {"display_qty": "NOT_ALLOWED"}),
    ({"post_only_slide": True}, {"post_only_slide": "NOT_ALLOWED"}),
    ({"post_only": True, "time_in_force": pb.TIME_IN_FORCE_IOC}, {"post_only": "NOT_ALLOWED"}),
    ({"post_only": True, "min_qty": "0.1"}, {"min_qty": "NOT_ALLOWED"}),
    ({"type": MARKET, "post_only": True}, {"post_only": "NOT_ALLOWED"}),
    ({"time_in_force": pb.TIME_IN_FORCE_GTD}, {"expire_time": "REQUIRED"}),
    ({"expire_time": Timestamp(seconds=5)}, {"expire_time": "NOT_ALLOWED"}),
    ({"quote_qty": "100"}, dict.fromkeys(("quote_qty", "qty"), "NOT_ALLOWED")),
    ({"type": MARKET, "qty": None, "quote_qty": "0"}, {"quote_qty": "NOT_POSITIVE"}),
    ({"type": MARKET, "qty": None, "quote_qty": "0.0000000001"}, {"quote_qty": "AMOUNT_NOT_ON_UNIT"}),
    ({"type": MARKET, "qty": None, "quote_qty": "5", "close_position": True}, {"close_position": "NOT_ALLOWED"}),
    ({"type": MARKET, "qty": None, "close_position": True, "reduce_only": True}, {"reduce_only": "NOT_ALLOWED"}),
    ({"qty": None, "close_position": True}, {"close_position": "NOT_ALLOWED"}),
    ({"type": pb.ORDER_TYPE_ICEBERG, "display_qty": "0.1", "reduce_only": True}, {"reduce_only": "NOT_ALLOWED"}),
    ({"type": pb.ORDER_TYPE_HIDDEN, "display_qty": "0.1"}, {"display_qty": "NOT_ALLOWED"}),
    ({"cancel_on_disconnect": True}, {"cancel_on_disconnect": "NOT_ALLOWED"}),
    ({"self_trade_prevention": 77}, {"self_trade_prevention": "UNKNOWN_ENUM_VALUE"}),
    ({"self_trade_group": 2**31}, {"self_trade_group": "OUT_OF_RANGE"}),
]


@pytest.mark.parametrize(("fields", "violations"), WRONG, ids=lambda value: "-".join(value))
async def test_fields_that_do_not_go_together_are_named(
    app: Running, fields: dict[str, Any], violations: dict[str, str]
) -> None:
    answer = await refused_order(app, **fields)
    assert (answer.code, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, violations)
