"""Paper orders against a scripted market in the real hub, and our own books published into it."""

from __future__ import annotations

from pathlib import Path

from fastpath.model.enums import OrderStatus, OrderType, RejectReason, TrailingUnit, TriggerSource
from server.base.clock import ManualClock
from server.engine.orders import AmendOrder, NewOrder
from server.market.model import FeedState, Level, Quote, Trade
from server.market.subscription import Channel, Delivery, Subscription, Update
from server.records.events import OrderView
from tests.support.engine import BUY, GTC, IOC, SELL
from tests.support.paper import Market, market
from tests.waiting import until

FILLED, NEW = int(OrderStatus.ORDER_STATUS_FILLED), int(OrderStatus.ORDER_STATUS_NEW)
STOP, TRAILING = int(OrderType.ORDER_TYPE_STOP), int(OrderType.ORDER_TYPE_TRAILING_STOP)
BID_ASK, MID = int(TriggerSource.TRIGGER_SOURCE_BID_ASK), int(TriggerSource.TRIGGER_SOURCE_MID)
TICKS = int(TrailingUnit.TRAILING_UNIT_TICKS)
NOON_NS = 1_700_000_000_000_000_000


async def test_a_taker_walks_the_displayed_book_and_uses_nothing_twice(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        it.book([(99, 50_000)], [(100, 10_000), (101, 20_000), (102, 30_000)])
        first = (await it.house.trading.place(it.order(BUY, 0, 25_000, IOC))).order
        assert (first.status, first.cum_qty) == (FILLED, 25_000)
        assert first.instrument.money_text(first.cum_notional) == "25.15"  # 0.1 at 100 and 0.15 at 101
        assert first.instrument.money_text(first.cum_fee) == "0.02515"
        assert [fill.price for fill in (await it.house.history.list_fills("alice")).items] == [101_00, 100_00]
        it.book([(99, 50_000)], [(100, 10_000), (101, 20_000), (102, 30_000)])  # displayed still
        second = (await it.house.trading.place(it.order(BUY, 101, 25_000, IOC))).order
        assert second.cum_qty == 5_000
        done = it.house.trading.command_sequence
        it.book([(99, 50_000)], [(101, 20_000), (102, 30_000)])
        await until(lambda: it.house.trading.command_sequence > done)
        it.book([(99, 50_000)], [(100, 7_000), (101, 20_000)])  # 100 was gone and is new
        third = (await it.house.trading.place(it.order(BUY, 100, 25_000, IOC))).order
        assert third.cum_qty == 7_000


async def test_orders_without_a_live_book_are_refused(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        reasons = []
        for state in (None, FeedState.SYNCING, FeedState.LIVE, FeedState.GAP, FeedState.STALE, FeedState.LIVE):
            if state is not None:
                it.book([(99, 50_000)], [(100, 50_000)], state)
            reasons.append((await it.house.trading.place(it.order(BUY, 100, 2_000, IOC))).order.reject_reason)
        stale = RejectReason.REJECT_REASON_STALE_MARKET_DATA
        assert reasons == [stale, stale, 0, stale, stale, 0]


async def test_resting_orders_fill_when_the_market_comes_to_them(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        trading = it.house.trading
        it.book([(99, 50_000)], [(101, 50_000)])
        buy = (await trading.place(it.order(BUY, 98, 10_000))).order
        sell = (await trading.place(it.order(SELL, 103, 10_000))).order
        assert (buy.status, sell.status) == (NEW, NEW)
        it.trade(97, 4_000, SELL)  # through the buy
        await until(lambda: trading.get_order("alice", order_id=buy.order_id).cum_qty == 4_000)
        it.book([(103, 8_000)], [(104, 50_000)])  # the bid reaches the sell
        await until(lambda: trading.get_order("alice", order_id=sell.order_id).cum_qty == 8_000)
        fills = (await it.house.history.list_fills("alice")).items
        assert [(fill.price, fill.qty, fill.liquidity) for fill in fills] == [(103_00, 8_000, 1), (98_00, 4_000, 1)]


async def test_what_cannot_change_an_order_is_not_journaled(tmp_path: Path) -> None:
    async with market(tmp_path, clock=ManualClock(NOON_NS)) as it:
        trading = it.house.trading
        it.book([(99, 50_000)], [(101, 50_000)])
        for n in range(50):
            it.book([(99, 50_000 + n)], [(101, 50_000)])
            it.trade(100, 10, BUY)
        await it.settle()
        idle = trading.command_sequence
        order = (await trading.place(it.order(BUY, 90, 10_000))).order
        after = trading.command_sequence
        assert after - idle == 5, "one snapshot of two levels, and the order"
        for n in range(50):
            it.book([(99, 60_000 + n)], [(101, 50_000)])
            it.trade(100, 10, BUY)
            it.hub.publish(Quote(it.instrument, 99_00, 1, 101_00, 1, None, n))
        await it.settle()
        assert trading.command_sequence == after
        await trading.cancel("alice", order_id=order.order_id)
        it.trade(80, 10, SELL)
        await it.settle()
        assert trading.command_sequence == after + 1, "nobody has an order any more"


async def test_a_feed_that_goes_away_is_told_once_and_prints_do_not_fill_then(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        trading = it.house.trading
        it.book([(99, 50_000)], [(101, 50_000)])
        order = (await trading.place(it.order(BUY, 98, 10_000))).order
        before = trading.command_sequence
        for _ in range(5):
            it.book([], [], FeedState.STALE)
        await until(lambda: trading.command_sequence == before + 2)
        it.trade(97, 4_000, SELL)
        await until(lambda: trading.command_sequence == before + 3)
        assert trading.get_order("alice", order_id=order.order_id).cum_qty == 0
        it.book([(99, 50_000)], [(101, 50_000)])
        await until(lambda: trading.command_sequence == before + 7)
        it.trade(97, 4_000, SELL)
        await until(lambda: trading.get_order("alice", order_id=order.order_id).cum_qty == 4_000)


async def test_after_a_restart_the_old_snapshot_is_not_trusted(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        it.book([(99, 50_000)], [(101, 50_000)])
        order = (await it.house.trading.place(it.order(BUY, 98, 10_000))).order
        hashed = await it.house.trading.state()
    async with market(tmp_path) as it:
        trading = it.house.trading
        await until(lambda: trading.command_sequence == hashed.command_sequence + 2)
        assert (await trading.place(it.order(BUY, 100, 2_000))).order.reject_reason
        it.book([(95, 50_000)], [(97, 6_000)])
        await until(lambda: trading.get_order("alice", order_id=order.order_id).cum_qty == 6_000)


async def test_our_own_books_are_published_like_a_venue_s(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        trading, btc = it.house.trading, it.house.btc
        book = it.hub.book("internal:BTC/USDT", 10)
        assert book is not None
        assert (book.state, book.bids, book.asks) == (FeedState.LIVE, (), ())
        trades = it.hub.subscribe([Subscription("t", btc, Channel.TRADE, Delivery.ALL)])
        for n in range(20):
            await trading.place(it.house.buy(100 + n, 1_000))
        await trading.place(it.house.sell(118, 1_500))
        expected = tuple((100_00 + 100 * n, 1_000) for n in reversed(range(18)))

        def published() -> tuple[Level, ...]:
            snapshot = it.hub.book("internal:BTC/USDT", 100)
            return snapshot.bids if snapshot is not None else ()

        await until(lambda: published() == ((118_00, 500), *expected))
        quote = it.hub.quote("internal:BTC/USDT")
        assert quote is not None
        assert (quote.bid_price, quote.bid_qty, quote.ask_price) == (118_00, 500, 0)
        seen: list[Trade] = []
        while len(seen) < 2:
            event = (await anext(trades)).event
            if isinstance(event, Update) and isinstance(event.data, Trade):
                seen.append(event.data)
        assert [(trade.price, trade.qty, trade.aggressor_side) for trade in seen] == [
            (119_00, 1_000, SELL),
            (118_00, 500, SELL),
        ]
        trades.close()


def stop_order(it: Market, trigger: int, **fields: int) -> NewOrder:
    """Sell at market when the price has come down to `trigger` whole USDT."""
    return NewOrder("alice", it.instrument, SELL, STOP, GTC, 10_000, trigger_price=trigger * 100, **fields)


async def test_a_print_at_the_trigger_fires_a_stop_into_the_book_of_that_moment(tmp_path: Path) -> None:
    async with market(tmp_path, clock=ManualClock(NOON_NS)) as it:
        trading = it.house.trading
        it.book([(99, 50_000)], [(101, 50_000)])
        it.trade(100, 1, BUY)
        order = (await trading.place(stop_order(it, 95))).order
        assert order.waiting
        idle = trading.command_sequence
        for price in (99, 98, 97, 96):
            it.book([(price - 1, 50_000)], [(price + 1, 50_000)])
            it.trade(price, 1, SELL)
        await it.settle()
        assert trading.command_sequence == idle, "nothing of that can fire it"
        it.book([(93, 4_000), (92, 50_000)], [(95, 50_000)])
        it.trade(94, 1, SELL)
        await it.settle()
        assert trading.get_order("alice", order_id=order.order_id).status == FILLED
        fills = [(fill.price, fill.qty) for fill in (await it.house.history.list_fills("alice")).items]
        assert fills == [(92_00, 6_000), (93_00, 4_000)]


async def test_a_stop_behind_the_market_knows_the_last_price_when_it_comes(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        it.book([(99, 50_000)], [(101, 50_000)])
        it.trade(90, 1, SELL)  # nobody had an order: the engine was not told
        order = (await it.house.trading.place(stop_order(it, 95))).order
        assert (order.status, order.waiting) == (FILLED, False)


async def test_tops_of_the_book_fire_what_watches_them(tmp_path: Path) -> None:
    async with market(tmp_path, clock=ManualClock(NOON_NS)) as it:
        trading = it.house.trading
        it.book([(99, 50_000)], [(101, 50_000)])
        by_bid = (await trading.place(stop_order(it, 95, trigger_source=BID_ASK))).order
        by_middle = (await trading.place(stop_order(it, 90, trigger_source=MID))).order
        idle = trading.command_sequence
        it.book([(97, 50_000)], [(101, 50_000)])
        it.trade(80, 1, SELL)
        await it.settle()
        assert trading.command_sequence == idle, "neither the bid nor the middle is there, and prints do not count"
        it.book([(95, 50_000)], [(101, 50_000)])
        await it.settle()
        assert trading.get_order("alice", order_id=by_bid.order_id).status == FILLED
        assert trading.get_order("alice", order_id=by_middle.order_id).waiting
        it.book([(88, 50_000)], [(92, 50_000)])
        await it.settle()
        assert trading.get_order("alice", order_id=by_middle.order_id).status == FILLED


async def test_a_trailing_stop_is_told_every_price_once_it_follows(tmp_path: Path) -> None:
    async with market(tmp_path, clock=ManualClock(NOON_NS)) as it:
        trading = it.house.trading
        it.book([(99, 50_000)], [(101, 50_000)])
        it.trade(100, 1, BUY)
        trailing = NewOrder(
            "alice", it.instrument, SELL, TRAILING, GTC, 10_000, trigger_price=105_00, trailing_offset=3_00,
            trailing_unit=TICKS,
        )  # fmt: skip
        order = (await trading.place(trailing)).order
        idle = trading.command_sequence
        it.trade(95, 1, SELL)
        await it.settle()
        assert trading.command_sequence == idle, "it does not follow yet"

        def now() -> OrderView:
            return trading.get_order("alice", order_id=order.order_id)

        it.trade(105, 1, BUY)
        await it.settle()
        assert now().trigger_price == 102_00
        it.trade(110, 1, BUY)
        it.trade(108, 1, SELL)
        it.book([(106, 50_000)], [(108, 50_000)])
        it.trade(107, 1, SELL)
        await it.settle()
        assert now().status == FILLED
        assert (await it.house.history.list_fills("alice")).items[0].price == 106_00


async def test_waiting_orders_are_followed_again_after_a_restart(tmp_path: Path) -> None:
    async with market(tmp_path, clock=ManualClock(NOON_NS)) as it:
        it.book([(99, 50_000)], [(101, 50_000)])
        it.trade(100, 1, BUY)
        order = (await it.house.trading.place(stop_order(it, 95))).order
    async with market(tmp_path, clock=ManualClock(NOON_NS)) as it:
        trading = it.house.trading
        it.trade(94, 1, SELL)  # while the book is not known again
        await it.settle()
        assert trading.get_order("alice", order_id=order.order_id).waiting
        it.book([(93, 50_000)], [(95, 50_000)])
        await it.settle()
        assert trading.get_order("alice", order_id=order.order_id).status == FILLED


async def test_an_amended_order_meets_the_book_of_that_moment(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        trading = it.house.trading
        it.book([(99, 50_000)], [(101, 50_000)])
        order = (await trading.place(it.order(BUY, 90, 10_000))).order
        it.book([(99, 50_000)], [(105, 50_000)])
        amended = await trading.amend(AmendOrder("alice", order.order_id, price=103_00))
        assert (amended.status, amended.cum_qty) == (NEW, 0), "101 is gone"
        it.book([(99, 50_000)], [(103, 4_000)])
        await until(lambda: trading.get_order("alice", order_id=order.order_id).cum_qty == 4_000)
