"""Every order type, time in force and flag through gRPC, on a book of our own and on a mirrored venue: what comes of each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.app import BUY, LIMIT, MARKET, SELL, Running, order, place, running, settings
from tests.waiting import PATIENCE_S, until
from tradewind.v1 import market_data_pb2
from tradewind.v1 import orders_pb2 as pb

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

OWN, PAPER = "internal:BTC/USDT", "binance:BTC/USDT"
LATER = Timestamp(seconds=4_000_000_000)
NEW, FILLED, CANCELED = pb.ORDER_STATUS_NEW, pb.ORDER_STATUS_FILLED, pb.ORDER_STATUS_CANCELED
REASON = pb.RejectReason


@dataclass(frozen=True)
class Prices:
    """Texts around the best bid and ask of an instrument, wide enough for a market that moves meanwhile."""

    bid: Decimal
    ask: Decimal

    def fill(self, fields: dict[str, Any]) -> dict[str, Any]:
        """`fields` with `low`, `high` (out of reach), `takes` and `gives` (in reach of a buyer, a seller) as prices."""
        texts = {
            "low": f"{self.bid * Decimal('0.5'):.2f}", "high": f"{self.ask * Decimal('1.5'):.2f}",
            "takes": f"{self.ask * Decimal('1.05'):.2f}", "gives": f"{self.bid * Decimal('0.95'):.2f}",
        }  # fmt: skip
        return {name: texts.get(value, value) if isinstance(value, str) else value for name, value in fields.items()}


async def prices(app: Running, instrument: str) -> Prices:
    """The quote, once both sides of it are there: market data follows an order a moment later."""
    request = market_data_pb2.GetQuoteRequest(instrument=instrument)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(grpc.RpcError):
                quote = (await app.market.GetQuote(request, metadata=app.admin)).quote
                if quote.bid_price and quote.ask_price:
                    return Prices(Decimal(quote.bid_price), Decimal(quote.ask_price))
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """Both markets are there, and the trader is long in both."""
    feeds = {"mode": "replay", "venues": {"binance": ["BTC/USDT"]}}
    async with running(settings(tmp_path_factory.mktemp("matrix"), feeds=feeds)) as started:
        await place(started, account="maker", side=SELL, price="60100", qty="5")
        await place(started, account="maker", side=BUY, price="59900", qty="5")
        for instrument in (OWN, PAPER):
            await prices(started, instrument)
            bought = await place(started, instrument=instrument, type=MARKET, qty="0.1")
            assert bought.status == FILLED
        yield started


STOP, STOP_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT, TRAILING, TRAILING_LIMIT = range(4, 10)
ICEBERG, HIDDEN, TO_LIMIT = pb.ORDER_TYPE_ICEBERG, pb.ORDER_TYPE_HIDDEN, pb.ORDER_TYPE_MARKET_TO_LIMIT
IOC, FOK, GTD, DAY = pb.TIME_IN_FORCE_IOC, pb.TIME_IN_FORCE_FOK, pb.TIME_IN_FORCE_GTD, pb.TIME_IN_FORCE_DAY
BID_ASK, MID, MARK, INDEX = 2, 3, 4, 5
WAITS = "waits"
Expected = int | str
"""An OrderStatus, WAITS, or the name of a reason to refuse."""

CASES: dict[str, tuple[dict[str, Any], Expected]] = {
    "limit rests": ({"price": "low"}, NEW),
    "limit takes": ({"price": "takes"}, FILLED),
    "limit sell takes": ({"side": SELL, "price": "gives"}, FILLED),
    "ioc takes": ({"price": "takes", "time_in_force": IOC}, FILLED),
    "ioc finds nothing": ({"price": "low", "time_in_force": IOC}, CANCELED),
    "fok takes": ({"price": "takes", "time_in_force": FOK}, FILLED),
    "fok finds nothing": ({"price": "low", "time_in_force": FOK}, "FOK_NOT_FILLABLE"),
    "gtd": ({"price": "low", "time_in_force": GTD, "expire_time": LATER}, NEW),
    "gtd in the past": (
        {"price": "low", "time_in_force": GTD, "expire_time": Timestamp(seconds=1)},
        "EXPIRE_TIME_IN_PAST",
    ),
    "day": ({"price": "low", "time_in_force": DAY}, NEW),
    "market": ({"type": MARKET}, FILLED),
    "market sell": ({"type": MARKET, "side": SELL}, FILLED),
    "market fok": ({"type": MARKET, "time_in_force": FOK}, FILLED),
    "market protected": ({"type": MARKET, "protection_price": "takes"}, FILLED),
    "market protected from all": ({"type": MARKET, "protection_price": "low"}, "SLIPPAGE_LIMIT"),
    "market for money": ({"type": MARKET, "qty": None, "quote_qty": "500"}, FILLED),
    "market sell for money": ({"type": MARKET, "side": SELL, "qty": None, "quote_qty": "500"}, FILLED),
    "market to limit": ({"type": TO_LIMIT, "price": None}, FILLED),
    "stop": ({"type": STOP, "price": None, "trigger_price": "high"}, WAITS),
    "stop that is there": (
        {"type": STOP, "price": None, "side": SELL, "trigger_price": "high", "trigger_source": BID_ASK},
        FILLED,
    ),
    "stop limit": ({"type": STOP_LIMIT, "price": "high", "trigger_price": "high"}, WAITS),
    "take profit": ({"type": TAKE_PROFIT, "price": None, "trigger_price": "low", "trigger_source": MID}, WAITS),
    "take profit limit": ({"type": TAKE_PROFIT_LIMIT, "price": "low", "trigger_price": "low"}, WAITS),
    "take profit that is there": (
        {"type": TAKE_PROFIT_LIMIT, "price": "low", "trigger_price": "takes", "trigger_source": BID_ASK}, NEW,
    ),
    "trailing stop": ({"type": TRAILING, "price": None, "side": SELL, "trailing_offset": "20000"}, WAITS),
    "trailing by bps": ({"type": TRAILING, "price": None, "side": SELL, "trailing_offset_bps": 3000}, WAITS),
    "trailing from a price": ({"type": TRAILING, "price": None, "trailing_offset": "5", "trigger_price": "low"}, WAITS),
    "trailing limit": (
        {"type": TRAILING_LIMIT, "price": None, "trailing_offset": "20000", "limit_offset": "10"},
        WAITS,
    ),
    "stop on the mark price": (
        {"type": STOP, "price": None, "trigger_price": "high", "trigger_source": MARK},
        "UNSUPPORTED_TRIGGER_SOURCE",
    ),
    "stop on the index": (
        {"type": STOP, "price": None, "trigger_price": "high", "trigger_source": INDEX},
        "UNSUPPORTED_TRIGGER_SOURCE",
    ),
    "post-only rests": ({"price": "low", "post_only": True}, NEW),
    "post-only would take": ({"price": "takes", "post_only": True}, "WOULD_TAKE_LIQUIDITY"),
    "post-only slides": ({"price": "takes", "post_only": True, "post_only_slide": True}, NEW),
    "reduce-only": ({"type": MARKET, "side": SELL, "reduce_only": True}, FILLED),
    "reduce-only rests": ({"price": "high", "side": SELL, "reduce_only": True}, NEW),
    "reduce-only that adds": ({"price": "low", "reduce_only": True}, "REDUCE_ONLY_VIOLATION"),
    "close at a stop": (
        {"type": STOP, "side": SELL, "price": None, "qty": None, "close_position": True, "trigger_price": "low"},
        WAITS,
    ),
    "min qty": ({"price": "takes", "min_qty": "0.005", "time_in_force": IOC}, FILLED),
    "min qty that is not there": ({"price": "low", "min_qty": "0.005"}, "MIN_QTY_NOT_FILLABLE"),
    **{
        f"self-trade prevention {mode}": (
            {"price": "low", "self_trade_prevention": mode, "self_trade_group": 7}, NEW,
        )
        for mode in range(1, 6)
    },
}  # fmt: skip
OWN_ONLY: dict[str, tuple[dict[str, Any], Expected]] = {
    "iceberg": ({"type": ICEBERG, "price": "low", "display_qty": "0.001"}, NEW),
    "iceberg post-only": ({"type": ICEBERG, "price": "low", "display_qty": "0.001", "post_only": True}, NEW),
    "hidden": ({"type": HIDDEN, "price": "low"}, NEW),
    "hidden takes": ({"type": HIDDEN, "price": "takes"}, FILLED),
}


@pytest.mark.parametrize("instrument", [OWN, PAPER])
@pytest.mark.parametrize("case", [*CASES, *OWN_ONLY])
async def test_what_comes_of_an_order(app: Running, instrument: str, case: str) -> None:
    fields, expected = (CASES | OWN_ONLY)[case]
    if case in OWN_ONLY and instrument == PAPER:
        expected = "UNSUPPORTED_ORDER_TYPE"
    filled = (await prices(app, instrument)).fill({"qty": "0.01", "type": LIMIT, **fields})
    placed = await place(app, instrument=instrument, **filled)
    if expected == WAITS:
        assert (placed.status, placed.waiting) == (NEW, True)
    elif isinstance(expected, str):
        assert REASON.Name(placed.reject_reason) == f"REJECT_REASON_{expected}"
    else:
        assert (placed.status, placed.waiting, placed.reject_reason) == (expected, False, 0), placed
    ref = pb.OrderRef(account="demo", order_id=placed.order_id)
    assert (await app.orders.GetOrder(pb.GetOrderRequest(order=ref), metadata=app.admin)).order == placed
    if placed.status == NEW:
        canceled = (await app.orders.CancelOrder(pb.CancelOrderRequest(order=ref), metadata=app.admin)).order
        assert canceled.status == CANCELED


@pytest.mark.parametrize("instrument", [OWN, PAPER])
@pytest.mark.parametrize("kind", [pb.ORDER_LIST_TYPE_OCO, pb.ORDER_LIST_TYPE_OTO, pb.ORDER_LIST_TYPE_BRACKET])
async def test_what_comes_of_a_list(app: Running, instrument: str, kind: int) -> None:
    market = await prices(app, instrument)

    def member(name: str, **fields: Any) -> pb.PlaceOrderRequest:
        key = f"{name}-{kind}-{instrument.split(':')[0]}"
        return order(instrument=instrument, client_order_id=key, qty="0.01", **market.fill(fields))

    first = member("first", price="high", side=SELL) if kind == pb.ORDER_LIST_TYPE_OCO else member("first", type=MARKET)
    exits = [
        member("profit", price="high", side=SELL),
        member("loss", type=STOP, price=None, side=SELL, trigger_price="low"),
    ]
    response = await app.orders.PlaceOrderList(
        pb.PlaceOrderListRequest(type=kind, orders=[first, *exits]), metadata=app.admin
    )
    entered = NEW if kind == pb.ORDER_LIST_TYPE_OCO else FILLED
    assert [(each.status, each.waiting) for each in response.orders] == [(entered, False), (NEW, False), (NEW, True)]
    ref = pb.OrderRef(account="demo", order_id=response.orders[1].order_id)
    await app.orders.CancelOrder(pb.CancelOrderRequest(order=ref), metadata=app.admin)
    ref = pb.OrderRef(account="demo", order_id=response.orders[2].order_id)
    left = (await app.orders.GetOrder(pb.GetOrderRequest(order=ref), metadata=app.admin)).order
    assert left.status == (NEW if kind == pb.ORDER_LIST_TYPE_OTO else CANCELED)
    await app.orders.CancelOrders(pb.CancelOrdersRequest(account="demo"), metadata=app.admin)


@pytest.mark.parametrize("instrument", [OWN, PAPER])
async def test_what_changes_an_order(app: Running, instrument: str) -> None:
    market = await prices(app, instrument)
    placed = await place(app, instrument=instrument, qty="0.02", **market.fill({"price": "low"}))
    ref = pb.OrderRef(account="demo", order_id=placed.order_id)

    async def amended(**changes: Any) -> pb.Order:
        request = pb.AmendOrderRequest(order=ref, **market.fill(changes))
        changed: pb.Order = (await app.orders.AmendOrder(request, metadata=app.admin)).order
        return changed

    assert (await amended(qty="0.01")).leaves_qty == "0.01"
    assert (await amended(price="takes")).status == FILLED
    assert (await place(app, instrument=instrument, **market.fill({"price": "low", "qty": "0.01"}))).status == NEW
    request = pb.CancelOrdersRequest(account="demo", instrument=instrument, side=BUY)
    assert (await app.orders.CancelOrders(request, metadata=app.admin)).canceled_count == 1


@pytest.mark.parametrize("instrument", [OWN, PAPER])
async def test_what_ends_with_its_stream(app: Running, instrument: str) -> None:
    market = await prices(app, instrument)
    ends = order(instrument=instrument, qty="0.01", cancel_on_disconnect=True, **market.fill({"price": "low"}))
    stream = app.orders.StreamOrders(metadata=app.admin)
    await stream.write(pb.StreamOrdersRequest(batch_id=1, commands=[pb.OrderCommand(place=ends)]))
    placed = (await stream.read()).batches[0].results[0].order
    assert placed.status == NEW
    await stream.done_writing()
    ref = pb.OrderRef(account="demo", order_id=placed.order_id)

    async def has_ended() -> bool:
        found = await app.orders.GetOrder(pb.GetOrderRequest(order=ref), metadata=app.admin)
        return bool(found.order.status == CANCELED)

    await until(has_ended, "the order ends with its stream")


@pytest.mark.parametrize("instrument", [OWN, PAPER])
async def test_what_closes_a_position(app: Running, instrument: str) -> None:
    closed = await place(app, instrument=instrument, side=SELL, type=MARKET, qty=None, close_position=True)
    assert closed.status == FILLED
    again = await place(app, instrument=instrument, side=SELL, type=MARKET, qty=None, close_position=True)
    assert again.reject_reason == REASON.REJECT_REASON_REDUCE_ONLY_VIOLATION
