"""Lists of the past over a real channel: what they filter by, and what they refuse."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from tests.server.app_support import INSTRUMENT, MARKET, SELL, place, running, settings
from tests.server.rpc_support import refused
from tradewind.v1 import accounts_pb2, market_data_pb2, orders_pb2

FILLED, NEW = orders_pb2.ORDER_STATUS_FILLED, orders_pb2.ORDER_STATUS_NEW


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
