"""Lists of the past over a real channel: what they filter by, and what they refuse."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.app import BUY, INSTRUMENT, MARKET, SELL, place, running, settings
from tests.support.rpc import Metadata, refused
from tradewind.v1 import accounts_pb2, market_data_pb2, orders_pb2

FILLED, NEW = orders_pb2.ORDER_STATUS_FILLED, orders_pb2.ORDER_STATUS_NEW
REJECTED = orders_pb2.ORDER_STATUS_REJECTED
STP_NONE = orders_pb2.SELF_TRADE_PREVENTION_NONE


def after(moment: Timestamp) -> Timestamp:
    return Timestamp(seconds=moment.seconds + (moment.nanos + 1) // 10**9, nanos=(moment.nanos + 1) % 10**9)


async def test_orders_fills_and_ledger_by_status_and_time(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as app:
        first = await place(app, client_order_id="first")
        await place(app, account="maker", side=SELL, type=MARKET)
        second = await place(app, client_order_id="second", price="50000")

        async def orders(**conditions: object) -> list[str]:
            request = orders_pb2.ListOrdersRequest(account="demo", **conditions)  # type: ignore[arg-type]
            response = await app.orders.ListOrders(request, metadata=app.admin)
            return [each.client_order_id for each in response.orders]

        assert await orders() == ["second", "first"]
        assert await orders(statuses=[FILLED]) == ["first"]
        assert await orders(statuses=[FILLED, NEW]) == ["second", "first"]
        assert await orders(start_time=second.create_time) == ["second"]
        assert await orders(end_time=second.create_time) == ["first"]
        assert await orders(start_time=first.create_time, end_time=after(first.create_time)) == ["first"]

        fills = orders_pb2.ListFillsRequest(account="demo", end_time=first.create_time)
        assert not (await app.orders.ListFills(fills, metadata=app.admin)).fills
        fills = orders_pb2.ListFillsRequest(account="demo", start_time=first.create_time)
        assert len((await app.orders.ListFills(fills, metadata=app.admin)).fills) == 1

        ledger = accounts_pb2.ListLedgerEntriesRequest(account="demo", asset="BTC", start_time=first.create_time)
        (entry,) = (await app.accounts.ListLedgerEntries(ledger, metadata=app.admin)).entries
        assert entry.amount == "0.1"
        balances = await app.accounts.ListBalances(
            accounts_pb2.ListBalancesRequest(account="demo"), metadata=app.admin
        )
        assert entry.total == next(balance.total for balance in balances.balances if balance.asset == "BTC")

        both = orders_pb2.ListOrdersRequest(account="demo", statuses=[NEW], open_only=True)
        refusal = await refused(app.orders.ListOrders(both, metadata=app.admin))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "statuses" in refusal.fields


async def pages(call: Any, request: Any, metadata: Metadata, items: str) -> list[Any]:
    """All items of a list, page by page: every page but the last is full, or says that more follows."""
    found: list[Any] = []
    while True:
        response = await call(request, metadata=metadata)
        page = getattr(response, items)
        assert len(page) <= request.page_size
        found += page
        if not response.next_page_token:
            return found
        request.page_token = response.next_page_token


async def test_pages_reach_from_memory_into_the_blotter(tmp_path: Path) -> None:
    """Most is no more in memory; filters hold on every page, across a restart, and nothing is there twice."""
    config = settings(tmp_path, engine={"closed_orders": 5, "fills": 5})
    eth = "internal:ETH/USDT"
    async with running(config) as app:
        for n in range(40):
            side, name = (BUY, SELL)[n % 2], (INSTRUMENT, eth)[n // 2 % 2]
            terms = {"side": side, "instrument": name, "price": "3000", "self_trade_prevention": STP_NONE}
            await place(app, client_order_id=f"o{n}", **terms)
        await place(app, client_order_id="breach", qty="1000000")
    async with running(config) as app:
        await place(app, client_order_id="open", price="2000")

        async def orders(**conditions: Any) -> list[str]:
            request = orders_pb2.ListOrdersRequest(account="demo", page_size=7, **conditions)
            return [each.client_order_id for each in await pages(app.orders.ListOrders, request, app.admin, "orders")]

        everything = ["open", "breach", *(f"o{n}" for n in reversed(range(40)))]
        assert await orders() == everything
        assert await orders(instrument=eth) == [name for name in everything[2:] if int(name[1:]) // 2 % 2]
        assert await orders(statuses=[FILLED]) == everything[2:]
        assert await orders(statuses=[REJECTED]) == ["breach"]
        assert await orders(open_only=True) == ["open"]
        middle = await app.orders.GetOrder(
            orders_pb2.GetOrderRequest(order=orders_pb2.OrderRef(account="demo", client_order_id="o20")), metadata=app.admin
        )
        assert await orders(end_time=middle.order.create_time) == everything[-20:]
        assert await orders(start_time=middle.order.create_time, statuses=[FILLED]) == everything[2:-20]

        fills = orders_pb2.ListFillsRequest(account="demo", page_size=9)
        listed = await pages(app.orders.ListFills, fills, app.admin, "fills")
        assert len(listed) == 40
        of_eth = orders_pb2.ListFillsRequest(account="demo", page_size=9, instrument=eth)
        assert await pages(app.orders.ListFills, of_eth, app.admin, "fills") == [f for f in listed if f.instrument == eth]
        ledger = accounts_pb2.ListLedgerEntriesRequest(account="demo", asset="USDT", page_size=6)
        entries = await pages(app.accounts.ListLedgerEntries, ledger, app.admin, "entries")
        balances = await app.accounts.ListBalances(accounts_pb2.ListBalancesRequest(account="demo"), metadata=app.admin)
        (usdt,) = [balance for balance in balances.balances if balance.asset == "USDT"]
        assert sum(Decimal(entry.amount) for entry in entries) == Decimal(usdt.total)

        for name, request in (
            ("ListOrders", orders_pb2.ListOrdersRequest(account="demo", page_token="b3JkZXJzOng")),
            ("ListFills", orders_pb2.ListFillsRequest(account="demo", page_token="!")),
        ):
            refusal = await refused(getattr(app.orders, name)(request, metadata=app.admin))
            assert "page_token" in refusal.fields


async def test_what_was_not_recorded_is_refused_and_requests_are_checked(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as app:
        start = Timestamp(seconds=int(time.monotonic()))

        def candles(**fields: object) -> market_data_pb2.ListCandlesRequest:
            base = {"instrument": INSTRUMENT, "interval": timedelta(minutes=1), "start_time": start}
            return market_data_pb2.ListCandlesRequest(**base | fields)  # type: ignore[arg-type]

        refusal = await refused(app.market.ListCandles(candles(), metadata=app.admin))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_RECORDED")
        for wrong, field in (
            ({"interval": timedelta(0)}, "interval"),
            ({"interval": timedelta(milliseconds=1500)}, "interval"),
            ({"interval": timedelta(days=8)}, "interval"),
            ({"start_time": None}, "start_time"),
            ({"page_size": 1001}, "page_size"),
        ):
            refusal = await refused(app.market.ListCandles(candles(**wrong), metadata=app.admin))
            assert field in refusal.fields, (wrong, refusal)
        trades = market_data_pb2.ListTradesRequest(instrument=INSTRUMENT, end_time=start)
        assert "end_time" in (await refused(app.market.ListTrades(trades, metadata=app.admin))).fields
        trades = market_data_pb2.ListTradesRequest(instrument=INSTRUMENT, start_time=start, page_token="dHJhZGVzOng")
        assert "page_token" in (await refused(app.market.ListTrades(trades, metadata=app.admin))).fields
