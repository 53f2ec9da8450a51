"""A venue changes the tick or the lot of an instrument; and instruments that are market data only."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from fastpath.model.enums import CancelReason, OrderFlag, OrderStatus, OrderType, RejectReason, Side, TradingStatus
from server.app.config import Config
from server.base.errors import FailedPrecondition
from server.base.instruments import Instrument, InstrumentKind
from server.engine.own_instruments import OwnInstrument
from server.market.history import TickHistory
from server.market.recorder import tick_key
from server.records.events import OrderView
from server.storage.ports import TickStore
from server.storage.tick_tables import tick_batch
from server.storage.urls import open_tick_store
from tests.support import app as app_support
from tests.support.app import place, running, settings
from tests.support.engine import GTC, House, house
from tests.support.paper import MIRRORED, Market, market
from tests.support.rpc import refused
from tests.waiting import until
from tradewind.v1 import accounts_pb2, market_data_pb2, orders_pb2, system_pb2

BUY, SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)
STOP = int(OrderType.ORDER_TYPE_STOP)
CANCELED = int(OrderStatus.ORDER_STATUS_CANCELED)
CHANGED = int(CancelReason.CANCEL_REASON_INSTRUMENT_CHANGED)
NAME = MIRRORED.name


async def define(it: House, tick: str, lot: str = "0.00001") -> int:
    """The venue's grid is this one now; the number of the instrument that has it."""
    wanted = replace(MIRRORED, tick_size=Decimal(tick), lot_size=Decimal(lot))
    (instrument,) = await it.trading.catalogue.define_instruments([wanted])
    return instrument.number


async def buy(it: Market, qty: int) -> OrderView:
    """At the market, in lots of 0.00001."""
    it.book([(100, 5_000_000)], [(101, 5_000_000)])
    return (await it.house.trading.place(it.order(BUY, 0, qty))).order


def quantities(it: House) -> list[tuple[str, Decimal]]:
    return [(position.instrument.name, position.quantity) for position in it.trading.list_positions("alice")]


async def test_a_finer_tick_ends_resting_orders_with_a_reason_and_carries_the_position(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        trading = it.house.trading
        bought = await buy(it, 100_000)
        resting = (await trading.place(it.order(BUY, 90, 1_000))).order
        stop = (await trading.place(replace(it.order(SELL, 0, 1_000), order_type=STOP, trigger_price=8_000))).order
        (before,) = trading.list_positions("alice")
        await define(it.house, "0.001")
        for order in (resting, stop):
            after = trading.get_order("alice", order_id=order.order_id)
            assert (after.status, after.cancel_reason) == (CANCELED, CHANGED)
        assert all(balance.reserved == 0 for balance in trading.list_balances("alice"))
        (position,) = trading.list_positions("alice")
        assert (position.quantity, position.cost) == (Decimal(1), before.cost)
        assert position.instrument.tick_size == Decimal("0.001")
        fills = await it.house.history.list_fills("alice", instrument=NAME)
        assert [(fill.order_id, fill.instrument.price_text(fill.price)) for fill in fills.items] == [
            (bought.order_id, "101")
        ]
        orders = await it.house.history.list_orders("alice", instrument=NAME)
        assert [order.order_id for order in orders.items] == [stop.order_id, resting.order_id, bought.order_id]


@pytest.mark.parametrize("flag", [OrderFlag.ORDER_FLAG_REDUCE_ONLY, OrderFlag.ORDER_FLAG_CLOSE_POSITION])
async def test_a_position_from_before_the_change_can_be_reduced_and_closed(flag: OrderFlag, tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        await buy(it, 100_000)
        await define(it.house, "0.001")
        it.instrument = it.house.trading.registry.instrument(NAME)
        it.book([(1_000, 5_000_000)], [(1_010, 5_000_000)])  # of ticks of a tenth
        closing = replace(it.order(SELL, 0, 0 if flag == OrderFlag.ORDER_FLAG_CLOSE_POSITION else 300_000), flags=int(flag))
        closed = (await it.house.trading.place(closing)).order
        assert (closed.status, closed.cum_qty) == (OrderStatus.ORDER_STATUS_FILLED, 100_000)
        (position,) = it.house.trading.list_positions("alice")
        assert (position.quantity, position.cost) == (0, 0)
        assert position.instrument.money_text(position.realized_pnl) == "-1"


async def test_a_coarser_lot_keeps_what_is_less_than_a_lot(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        await buy(it, 12_345)
        await define(it.house, "0.01", "0.001")
        assert quantities(it.house) == [(NAME, Decimal("0.12345"))]
        it.instrument = it.house.trading.registry.instrument(NAME)
        it.book([(100, 500)], [(101, 500)])
        closing = replace(it.order(SELL, 0, 0), flags=int(OrderFlag.ORDER_FLAG_CLOSE_POSITION))
        closed = (await it.house.trading.place(closing)).order
        assert (closed.status, closed.cum_qty) == (OrderStatus.ORDER_STATUS_FILLED, 123), "whole lots of it"
        assert quantities(it.house) == [(NAME, Decimal("0.00045"))]
        (position,) = it.house.trading.list_positions("alice")
        assert position.instrument.money_text(position.cost) == "0.04545", "at the price of the purchase"
        await define(it.house, "0.01", "0.00001")
        assert quantities(it.house) == [(NAME, Decimal("0.00045"))]
        assert it.house.trading.list_positions("alice")[0].qty == 45, "whole lots again"


async def test_the_change_is_the_same_after_a_restart_and_happens_once(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        await buy(it, 12_345)
        changed = await define(it.house, "0.001", "0.001")
        done, hashed = it.house.trading.command_sequence, (await it.house.trading.state()).state_hash
        assert await define(it.house, "0.001", "0.001") == changed
        assert it.house.trading.command_sequence == done, "nothing new, nothing journaled"
    async with house(tmp_path) as it_again:
        assert (await it_again.trading.state()).state_hash == hashed
        assert quantities(it_again) == [(NAME, Decimal("0.12345"))]
        assert it_again.trading.registry.instrument(NAME).number == changed
        assert await define(it_again, "0.01") == MIRRORED_NUMBER, "the first grid is back, and so is its number"
        assert quantities(it_again) == [(NAME, Decimal("0.12345"))]


MIRRORED_NUMBER = 2


async def test_a_halt_outlives_a_new_tick(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        await it.house.trading.set_trading_status(NAME, int(TradingStatus.TRADING_STATUS_HALTED))
        number = await define(it.house, "0.001")
        assert it.house.engine.blotter.trading_status(number) == TradingStatus.TRADING_STATUS_HALTED


async def test_no_trading_status_opens_an_instrument_that_is_market_data_only(tmp_path: Path) -> None:
    perpetual = replace(MIRRORED, name="binance:BTC/USDT:USDT", kind=InstrumentKind.PERPETUAL, tradable=False)
    async with market(tmp_path) as it:
        trading = it.house.trading
        (it.instrument,) = await trading.catalogue.define_instruments([perpetual])
        it.book([(100, 500)], [(101, 500)])
        for status in (TradingStatus.TRADING_STATUS_OPEN, TradingStatus.TRADING_STATUS_REDUCE_ONLY):
            with pytest.raises(FailedPrecondition, match="market data only") as refused:
                await trading.set_trading_status(perpetual.name, int(status))
            assert refused.value.specific_reason == "NOT_TRADABLE"
        for status in (TradingStatus.TRADING_STATUS_CANCEL_ONLY, TradingStatus.TRADING_STATUS_HALTED):
            await trading.set_trading_status(perpetual.name, int(status))
        await trading.set_trading_status(None, int(TradingStatus.TRADING_STATUS_OPEN))
        for order in (it.order(BUY, 0, 1), it.order(BUY, 50, 1), it.order(SELL, 200, 1, GTC)):
            placed = (await trading.place(order)).order
            assert placed.reject_reason == RejectReason.REJECT_REASON_NOT_TRADABLE


async def test_what_becomes_tradable_takes_orders(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        define_instruments, wanted = it.house.trading.catalogue.define_instruments, replace(MIRRORED, name="okx:A/USDT")
        (closed,) = await define_instruments([replace(wanted, tradable=False)])
        (opened,) = await define_instruments([wanted])
        assert opened.number != closed.number, "its lots are worth something now"
        it.instrument = opened
        it.book([(100, 500_000)], [(101, 500_000)])
        assert (await it.house.trading.place(it.order(BUY, 0, 1_000))).order.status == OrderStatus.ORDER_STATUS_FILLED


async def test_trades_and_candles_of_every_tick_are_read_under_the_one_name(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        registry = it.house.trading.registry
        store = open_tick_store(f"duckdb:///{tmp_path / 'ticks.duckdb'}")
        history = TickHistory(store)
        second, minute = 1_000_000_000, 60_000_000_000
        prints = [("0.01", 0, 6_100_005), ("0.01", 30, 6_100_105), ("0.1", 45, 610_020), ("0.1", 70, 610_000)]
        for row, (tick, at_s, price) in enumerate(prints):
            await define(it.house, tick)
            record(store, registry.instrument(NAME), row + 1, at_s * second, price)
        await define(it.house, "0.001")
        grids = registry.grids(NAME)
        assert [str(each.tick_size) for each in grids] == ["0.01", "0.1", "0.001"]
        first = await history.trades(grids, 0, 2 * minute, after=None, limit=3)
        rest = await history.trades(grids, 0, 2 * minute, after=first.following, limit=3)
        assert rest.following is None
        told = [trade.instrument.price_text(trade.price) for trade in first.trades + rest.trades]
        assert told == ["61000.05", "61001.05", "61002", "61000"]
        one, two = await history.candles(grids, minute, 0, 2 * minute)
        assert (one.open, one.high, one.low, one.close) == tuple(map(Decimal, ("61000.05", "61002", "61000.05", "61002")))
        assert (one.trades, one.qty, two.close) == (3, Decimal("0.00003"), 61_000)
        history.close()
        store.close()


def record(store: TickStore, instrument: Instrument, row: int, time_ns: int, price: int) -> None:
    """A print of one lot."""
    columns: dict[str, Any] = {
        "time_ns": np.array([time_ns]), "receive_time_ns": np.array([time_ns]), "price": np.array([price]),
        "qty": np.array([instrument.data_lots_per_lot]), "aggressor_side": np.array([BUY]), "trade_id": [str(row)],
    }  # fmt: skip
    store.write(tick_batch("trades", tick_key(instrument), row, columns))


@pytest.mark.integration
async def test_an_instrument_of_the_settings_trades_and_takes_another_tick_at_the_next_start(tmp_path: Path) -> None:
    own = {"symbol": "DOGE/USDT", "tick_size": "0.001", "lot_size": "1"}
    name = "internal:DOGE/USDT"
    async with running(replace_instruments(settings(tmp_path), own)) as app:
        money = accounts_pb2.AdjustBalanceRequest(account="maker", asset="DOGE", amount="5000", request_id="doge")
        await app.accounts.AdjustBalance(money, metadata=app.admin)
        await place(app, instrument=name, account="maker", side=app_support.SELL, qty="100", price="0.1")
        bought = await place(app, instrument=name, qty="60", price="0.1")
        assert bought.status == orders_pb2.ORDER_STATUS_FILLED
        resting = await place(app, instrument=name, qty="100", price="0.09")
    async with running(replace_instruments(settings(tmp_path), own | {"tick_size": "0.0001", "lot_size": "50"})) as app:
        known = market_data_pb2.GetInstrumentRequest(instrument=name)
        assert (await app.market.GetInstrument(known, metadata=app.admin)).instrument.tick_size == "0.0001"
        listed = orders_pb2.ListOrdersRequest(account="demo", instrument=name)
        newest, filled = (await app.orders.ListOrders(listed, metadata=app.admin)).orders
        assert (newest.order_id, newest.price) == (resting.order_id, "0.09")
        assert newest.cancel_reason == orders_pb2.CANCEL_REASON_INSTRUMENT_CHANGED
        assert (filled.order_id, filled.avg_price) == (bought.order_id, "0.1")
        held = accounts_pb2.ListPositionsRequest(account="demo")
        (position,) = (await app.accounts.ListPositions(held, metadata=app.admin)).positions
        assert (position.instrument, position.qty, position.cost, position.avg_price) == (name, "60", "6", "0.1")
        await place(app, instrument=name, account="maker", qty="50", price="0.1001")
        closing: dict[str, Any] = {"side": app_support.SELL, "type": app_support.MARKET, "close_position": True, "qty": None}
        sold = await place(app, instrument=name, **closing)
        assert (sold.status, sold.cum_qty, sold.avg_price) == (orders_pb2.ORDER_STATUS_FILLED, "50", "0.1001")
    async with running(settings(tmp_path)) as app:
        held = accounts_pb2.ListPositionsRequest(account="demo")
        (position,) = (await app.accounts.ListPositions(held, metadata=app.admin)).positions
        assert (position.qty, position.cost) == ("10", "1"), "out of the file, it stays as it was"


def replace_instruments(config: Config, *own: dict[str, str]) -> Config:
    return config.model_copy(update={"instruments": tuple(OwnInstrument.model_validate(each) for each in own)})


@pytest.mark.integration
async def test_an_administrator_defines_an_instrument_while_the_server_runs(tmp_path: Path) -> None:
    wanted = {"symbol": "DOGE/USDT", "tick_size": "0.001", "lot_size": "1", "maker_fee_bps": "-0.5"}
    async with running(settings(tmp_path)) as app:
        define_instrument = app.market.DefineInstrument
        request = market_data_pb2.DefineInstrumentRequest(**wanted)
        defined = (await define_instrument(request, metadata=app.admin)).instrument
        assert (defined.name, defined.tradable, defined.maker_fee_bps) == ("internal:DOGE/USDT", True, "-0.5")
        assert (await define_instrument(request, metadata=app.admin)).instrument == defined
        book = market_data_pb2.GetBookRequest(instrument=defined.name)
        assert (await app.market.GetBook(book, metadata=app.admin)).book.state == market_data_pb2.FEED_STATE_LIVE
        assert (await place(app, instrument=defined.name, qty="1", price="0.125")).status == orders_pb2.ORDER_STATUS_NEW
        wrong = market_data_pb2.DefineInstrumentRequest(symbol="doge", tick_size="0", min_qty="x")
        answer = await refused(define_instrument(wrong, metadata=app.admin))
        assert answer.fields == {"symbol": "INVALID", "tick_size": "INVALID", "lot_size": "REQUIRED", "min_qty": "INVALID"}
        trader = await app.token(system_pb2.SCOPE_TRADE)
        assert (await refused(define_instrument(request, metadata=trader))).code is grpc.StatusCode.PERMISSION_DENIED
    async with running(settings(tmp_path)) as app:
        known = market_data_pb2.GetInstrumentRequest(instrument=defined.name)
        assert (await app.market.GetInstrument(known, metadata=app.admin)).instrument == defined
        request = market_data_pb2.DefineInstrumentRequest(**wanted | {"tick_size": "0.0001"})
        await app.market.DefineInstrument(request, metadata=app.admin)
        placed = await place(app, instrument=defined.name, qty="2", price="0.1251")

        async def shows_the_new_tick() -> bool:
            shown = (await app.market.GetBook(book, metadata=app.admin)).book
            return [(level.price, level.qty) for level in shown.bids] == [("0.1251", "2")]

        await until(shows_the_new_tick, "the book with the finer tick, without the orders on the old one")
        listed = orders_pb2.ListOrdersRequest(account="demo", instrument=defined.name, open_only=True)
        (still_open,) = (await app.orders.ListOrders(listed, metadata=app.admin)).orders
        assert still_open.order_id == placed.order_id
