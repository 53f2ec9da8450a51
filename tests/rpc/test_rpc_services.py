"""Every RPC of the four services, over a real channel, on the real engine with its internal books."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.app import (
    BUY,
    INSTRUMENT,
    MARKET,
    SELL,
    Running,
    order,
    place,
    refused_order,
    running,
    settings,
)
from tests.support.rpc import Events, bearer, refused
from tests.waiting import PATIENCE_S, until
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2, system_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest_asyncio.fixture
async def app(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings(tmp_path)) as started:
        yield started


async def test_an_order_rests_trades_and_is_seen_by_every_query(app: Running) -> None:
    resting = await place(app, account="maker", side=SELL, qty="1", price="60000.50", client_order_id="rest-1")
    assert resting.status == orders_pb2.ORDER_STATUS_NEW
    assert (resting.price, resting.qty, resting.leaves_qty, resting.cum_qty) == ("60000.5", "1", "1", "0")
    assert not resting.HasField("avg_price")
    taken = await place(app, type=MARKET, qty="0.4", client_order_id="take-1")
    assert taken.status == orders_pb2.ORDER_STATUS_FILLED
    assert taken.time_in_force == orders_pb2.TIME_IN_FORCE_IOC
    assert not taken.HasField("price")
    assert (taken.avg_price, taken.cum_notional, taken.cum_fee) == ("60000.5", "24000.2", "12.0001")
    assert taken.create_time.seconds > 1_600_000_000

    for ref in ({"order_id": resting.order_id}, {"client_order_id": "rest-1"}):
        request = orders_pb2.GetOrderRequest(order=orders_pb2.OrderRef(account="maker", **ref))
        found = (await app.orders.GetOrder(request, metadata=app.admin)).order
        assert (found.order_id, found.cum_qty, found.status) == (
            resting.order_id, "0.4", orders_pb2.ORDER_STATUS_PARTIALLY_FILLED,
        )  # fmt: skip
    fills = await app.orders.ListFills(orders_pb2.ListFillsRequest(account="demo"), metadata=app.admin)
    (fill,) = fills.fills
    assert (fill.order_id, fill.price, fill.qty, fill.fee, fill.fee_asset) == (
        taken.order_id, "60000.5", "0.4", "12.0001", "USDT",
    )  # fmt: skip
    assert fill.liquidity == common_pb2.LIQUIDITY_TAKER
    positions = await app.accounts.ListPositions(accounts_pb2.ListPositionsRequest(account="demo"), metadata=app.admin)
    (position,) = positions.positions
    assert (position.instrument, position.qty, position.avg_price) == (INSTRUMENT, "0.4", "60000.5")
    balances = await app.accounts.ListBalances(accounts_pb2.ListBalancesRequest(account="maker"), metadata=app.admin)
    btc = next(each for each in balances.balances if each.asset == "BTC")
    assert (btc.total, btc.reserved, btc.free) == ("99.6", "0.6", "99")

    canceled = await app.orders.CancelOrder(
        orders_pb2.CancelOrderRequest(order=orders_pb2.OrderRef(account="maker", client_order_id="rest-1")),
        metadata=app.admin,
    )
    assert canceled.order.status == orders_pb2.ORDER_STATUS_CANCELED
    assert canceled.order.cancel_reason == orders_pb2.CANCEL_REASON_REQUESTED
    again = await refused(
        app.orders.CancelOrder(
            orders_pb2.CancelOrderRequest(order=orders_pb2.OrderRef(account="maker", order_id=resting.order_id)),
            metadata=app.admin,
        )
    )
    assert (again.code, again.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_OPEN")


async def test_the_same_id_is_the_same_order_and_another_body_a_conflict(app: Running) -> None:
    request = order(client_order_id="same")
    answers = await asyncio.gather(*(app.orders.PlaceOrder(request, metadata=app.admin) for _ in range(10)))
    assert len({answer.order.order_id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 9
    conflict = await refused_order(app, client_order_id="same", qty="0.2")
    assert (conflict.code, conflict.reason) == (grpc.StatusCode.ALREADY_EXISTS, "CLIENT_ORDER_ID_CONFLICT")


async def test_a_refusal_on_its_merits_is_an_order(app: Running) -> None:
    rejected = await place(app, qty="100")
    assert rejected.status == orders_pb2.ORDER_STATUS_REJECTED
    assert rejected.reject_reason == orders_pb2.REJECT_REASON_INSUFFICIENT_BALANCE
    assert rejected.reject_message == "refused: insufficient balance"
    post_only = await place(app, account="maker", side=SELL, price="59000", qty="0.1")
    assert post_only.status == orders_pb2.ORDER_STATUS_NEW
    taking = await place(app, price="59000", post_only=True)
    assert taking.reject_reason == orders_pb2.REJECT_REASON_WOULD_TAKE_LIQUIDITY


async def test_lists_are_paged_newest_first_and_filtered(app: Running) -> None:
    placed = [await place(app, qty="0.001", price=str(50000 + index)) for index in range(7)]
    await place(app, instrument="internal:ETH/USDT", qty="0.1", price="2000")
    seen: list[str] = []
    token = ""
    while True:
        request = orders_pb2.ListOrdersRequest(account="demo", instrument=INSTRUMENT, page_size=3, page_token=token)
        page = await app.orders.ListOrders(request, metadata=app.admin)
        assert len(page.orders) <= 3
        seen += [each.order_id for each in page.orders]
        token = page.next_page_token
        if not token:
            break
    assert seen == [each.order_id for each in reversed(placed)]
    for fields, path in (
        ({"page_size": -1}, "page_size"),
        ({"page_size": 1001}, "page_size"),
        ({"page_token": "garbage"}, "page_token"),
        ({"page_token": "x" * 1000}, "page_token"),
    ):
        answer = await refused(
            app.orders.ListOrders(orders_pb2.ListOrdersRequest(account="demo", **fields), metadata=app.admin)
        )
        assert answer.code is INVALID
        assert list(answer.fields) == [path]
    for instrument in ("internal:NO/SUCH",):
        answer = await refused(
            app.orders.ListFills(orders_pb2.ListFillsRequest(account="demo", instrument=instrument), metadata=app.admin)
        )
        assert answer.code is grpc.StatusCode.NOT_FOUND


async def test_order_stream_is_ack_snapshot_then_changes_and_resumes(app: Running) -> None:
    resting = await place(app, client_order_id="s-1")
    call = app.orders.SubscribeOrders(orders_pb2.SubscribeOrdersRequest(account="demo"), metadata=app.admin)
    events = Events(call)
    ack, snapshot = await events.take(2)
    assert ack.WhichOneof("event") == "ack"
    assert not ack.ack.resumed
    assert [each.order_id for each in snapshot.snapshot.orders] == [resting.order_id]
    assert snapshot.snapshot.is_last
    await place(app, account="maker", side=SELL, type=MARKET, qty="0.1")
    update = await events.read()
    assert update.update.order.status == orders_pb2.ORDER_STATUS_FILLED
    assert update.update.fill.liquidity == common_pb2.LIQUIDITY_MAKER
    assert update.prev_sequence == snapshot.sequence
    call.cancel()
    await place(app, client_order_id="s-2")
    position = common_pb2.StreamPosition(epoch=events.epoch, sequence=update.sequence)
    request = orders_pb2.SubscribeOrdersRequest(account="demo", resume_from=position)
    resumed = app.orders.SubscribeOrders(request, metadata=app.admin)
    again, missed = await Events(resumed).take(2)
    assert again.ack.resumed
    assert missed.update.order.client_order_id == "s-2"
    resumed.cancel()
    request.resume_from.epoch = "another"
    other = app.orders.SubscribeOrders(request, metadata=app.admin)
    kinds = [event.WhichOneof("event") for event in await Events(other).take(3)]
    assert kinds == ["ack", "gap", "snapshot"]
    other.cancel()


async def test_accounts_are_opened_once_and_listed_by_name(app: Running) -> None:
    request = accounts_pb2.CreateAccountRequest(name="alice", mode=accounts_pb2.ACCOUNT_MODE_SIMULATION)
    for _ in range(2):
        created = await app.accounts.CreateAccount(request, metadata=app.admin)
        assert (created.account.name, created.account.mode) == ("alice", accounts_pb2.ACCOUNT_MODE_SIMULATION)
    request.mode = accounts_pb2.ACCOUNT_MODE_PAPER
    answer = await refused(app.accounts.CreateAccount(request, metadata=app.admin))
    assert answer.code is grpc.StatusCode.ALREADY_EXISTS
    listed = await app.accounts.ListAccounts(accounts_pb2.ListAccountsRequest(page_size=2), metadata=app.admin)
    assert [each.name for each in listed.accounts] == ["alice", "demo"]
    listed = await app.accounts.ListAccounts(
        accounts_pb2.ListAccountsRequest(page_token=listed.next_page_token), metadata=app.admin
    )
    assert [each.name for each in listed.accounts] == ["maker"]
    for mode, reason in ((0, "REQUIRED"), (9, "UNKNOWN_ENUM_VALUE"), (accounts_pb2.ACCOUNT_MODE_LIVE, "NOT_ALLOWED")):
        request.mode = mode
        answer = await refused(app.accounts.CreateAccount(request, metadata=app.admin))
        assert (answer.code, answer.fields) == (INVALID, {"mode": reason})


async def test_balances_are_adjusted_once_per_request_id(app: Running) -> None:
    request = accounts_pb2.AdjustBalanceRequest(account="demo", asset="BTC", amount="0.5", request_id="r-1")
    first = await app.accounts.AdjustBalance(request, metadata=app.admin)
    again = await app.accounts.AdjustBalance(request, metadata=app.admin)
    assert (first.balance.total, first.replayed) == ("100.5", False)
    assert (again.balance.total, again.replayed) == ("100.5", True)
    request.amount = "0.6"
    assert (await refused(app.accounts.AdjustBalance(request, metadata=app.admin))).code is (
        grpc.StatusCode.ALREADY_EXISTS
    )
    request.MergeFrom(accounts_pb2.AdjustBalanceRequest(amount="-1000", request_id="r-2"))
    answer = await refused(app.accounts.AdjustBalance(request, metadata=app.admin))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_BALANCE")
    for fields, violations in (
        ({"amount": "0"}, {"amount": "ZERO"}),
        ({"amount": "1300000000000000"}, {"amount": "OUT_OF_RANGE"}),
        ({"amount": "x", "request_id": ""}, {"amount": "INVALID_DECIMAL", "request_id": "REQUIRED"}),
        ({"asset": ""}, {"asset": "REQUIRED"}),
    ):
        bad = accounts_pb2.AdjustBalanceRequest(account="demo", asset="BTC", amount="1", request_id="r-3")
        for key, value in fields.items():
            setattr(bad, key, value)
        answer = await refused(app.accounts.AdjustBalance(bad, metadata=app.admin))
        assert (answer.code, answer.fields) == (INVALID, violations)
    bad = accounts_pb2.AdjustBalanceRequest(account="demo", asset="NOSUCH", amount="1", request_id="r-3")
    assert (await refused(app.accounts.AdjustBalance(bad, metadata=app.admin))).reason == "ASSET_NOT_FOUND"


async def test_account_stream_shows_balances_and_positions(app: Running) -> None:
    request = accounts_pb2.SubscribeAccountRequest(account="demo")
    call = app.accounts.SubscribeAccount(request, metadata=app.admin)
    events = Events(call)
    assert (await events.read()).WhichOneof("event") == "ack"
    snapshot = (await events.read()).snapshot
    assert {each.asset for each in snapshot.balances} >= {"BTC", "USDT"}
    await place(app, account="maker", side=SELL, qty="0.1")
    await place(app, type=MARKET, qty="0.1")
    changed = set()
    for _ in range(3):
        update = (await events.read()).update
        changed.add(update.balance.asset or update.position.instrument)
    assert changed == {"BTC", "USDT", INSTRUMENT}
    call.cancel()


async def test_instruments_are_listed_filtered_and_described(app: Running) -> None:
    listed = await app.market.ListInstruments(market_data_pb2.ListInstrumentsRequest(page_size=2), metadata=app.admin)
    names = [each.name for each in listed.instruments]
    rest = await app.market.ListInstruments(
        market_data_pb2.ListInstrumentsRequest(page_token=listed.next_page_token), metadata=app.admin
    )
    names += [each.name for each in rest.instruments]
    assert names == sorted(names)
    assert INSTRUMENT in names
    none = await app.market.ListInstruments(market_data_pb2.ListInstrumentsRequest(venue="okx"), metadata=app.admin)
    assert not none.instruments
    known = await app.market.GetInstrument(
        market_data_pb2.GetInstrumentRequest(instrument=INSTRUMENT), metadata=app.admin
    )
    assert (known.instrument.tick_size, known.instrument.lot_size) == ("0.01", "0.00001")
    assert known.instrument.tradable
    assert known.instrument.trading_status == common_pb2.TRADING_STATUS_OPEN


async def test_quote_book_and_trades_of_the_internal_book(app: Running) -> None:
    await place(app, account="maker", side=SELL, price="60001", qty="1")
    await place(app, account="maker", side=BUY, price="59999", qty="2")
    await place(app, type=MARKET, qty="0.25")

    async def quoted() -> market_data_pb2.Quote:
        request = market_data_pb2.GetQuoteRequest(instrument=INSTRUMENT)
        answer: market_data_pb2.GetQuoteResponse = await app.market.GetQuote(request, metadata=app.admin)
        return answer.quote

    async def is_traded() -> bool:
        return (await quoted()).ask_qty == "0.75"

    await until(is_traded, "market data has followed the orders")
    quote = await quoted()
    assert (quote.bid_price, quote.bid_qty, quote.ask_price, quote.ask_qty) == ("59999", "2", "60001", "0.75")
    book = (await app.market.GetBook(market_data_pb2.GetBookRequest(instrument=INSTRUMENT), metadata=app.admin)).book
    assert book.state == market_data_pb2.FEED_STATE_LIVE
    assert [(level.price, level.qty) for level in book.asks] == [("60001", "0.75")]
    trades = await app.market.ListTrades(market_data_pb2.ListTradesRequest(instrument=INSTRUMENT), metadata=app.admin)
    (trade,) = trades.trades
    assert (trade.price, trade.qty, trade.aggressor_side) == ("60001", "0.25", BUY)
    assert trade.publish_time.seconds > 1_600_000_000


async def test_a_market_stream_gives_each_subscription_an_ack_and_a_snapshot(app: Running) -> None:
    subscription = market_data_pb2.MarketDataSubscription
    request = market_data_pb2.SubscribeMarketDataRequest(
        subscriptions=[
            subscription(instrument=INSTRUMENT, channel=market_data_pb2.CHANNEL_BOOK, depth=5),
            subscription(instrument=INSTRUMENT, channel=market_data_pb2.CHANNEL_TRADE, subscription_id="t"),
            subscription(
                instrument=INSTRUMENT,
                channel=market_data_pb2.CHANNEL_QUOTE,
                delivery=market_data_pb2.DELIVERY_INTERVAL,
                interval_ms=10,
            ),
        ]
    )
    call = app.market.SubscribeMarketData(request, metadata=app.admin)
    events = Events(call)
    first = await events.take(6)
    for name in (f"{INSTRUMENT}#book", "t", f"{INSTRUMENT}#quote"):
        kinds = [event.WhichOneof("event") for event in first if event.subscription_id == name]
        assert kinds == ["ack", "snapshot"]
    await place(app, account="maker", side=SELL, price="60001", qty="1")
    await place(app, type=MARKET, qty="0.25")
    kinds = set()
    async with asyncio.timeout(PATIENCE_S):
        while kinds != {"quote", "trade", "book"}:
            event = await events.read()
            kinds.add(getattr(event, event.WhichOneof("event")).WhichOneof("data"))
    call.cancel()


async def test_info_names_the_server_and_its_state(app: Running) -> None:
    info = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
    assert info.version
    assert info.epoch
    assert info.market_data == "off"
    assert (info.state_hash, info.state_hash_sequence) == ("", 0), "there is no snapshot yet"
    assert info.start_time.seconds <= info.server_time.seconds
    await place(app)
    later = await app.system.GetInfo(system_pb2.GetInfoRequest(), metadata=app.admin)
    assert later.command_sequence == info.command_sequence + 1


async def test_services_are_listed_with_their_state(app: Running) -> None:
    listed = await app.system.ListServices(system_pb2.ListServicesRequest(), metadata=app.admin)
    states = {each.name: each.state for each in listed.services}
    assert states["tradewind.v1.OrderService"] == system_pb2.SERVICE_STATE_SERVING
    assert states["engine"] == system_pb2.SERVICE_STATE_SERVING
    assert all(each.since.seconds for each in listed.services)


async def test_tokens_are_created_listed_and_revoked(app: Running) -> None:
    expires = Timestamp(seconds=4_000_000_000)
    request = system_pb2.CreateTokenRequest(
        description="bot", scopes=[system_pb2.SCOPE_TRADE], accounts=["demo"], expire_time=expires
    )
    created = await app.system.CreateToken(request, metadata=app.admin)
    assert (created.token.description, list(created.token.accounts)) == ("bot", ["demo"])
    assert created.token.expire_time == expires
    mine = bearer(created.secret)
    await app.orders.PlaceOrder(order(), metadata=mine)
    listed = await app.system.ListTokens(system_pb2.ListTokensRequest(), metadata=app.admin)
    assert [each.token_id for each in listed.tokens][1:] == [created.token.token_id]
    assert created.secret not in str(listed)
    revoke = system_pb2.RevokeTokenRequest(token_id=created.token.token_id)
    await app.system.RevokeToken(revoke, metadata=app.admin)
    answer = await refused(app.orders.PlaceOrder(order(), metadata=mine))
    assert answer.code is grpc.StatusCode.UNAUTHENTICATED
    assert (await refused(app.system.RevokeToken(revoke, metadata=app.admin))).reason == "TOKEN_NOT_FOUND"
