"""Best prices that are there for an instant, and a market that cannot be told to the engine."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from fastpath.model.enums import OrderStatus, OrderType, RejectReason, TrailingUnit, TriggerSource
from server.engine.orders import NewOrder
from server.market.model import BookUpdate, FeedState
from server.venues.interest import MAX_TOUCHES, Touches
from tests.support.engine import BUY, GTC, IOC, SELL
from tests.support.paper import MIRRORED, Market, market
from tests.waiting import until

FILLED, NEW = int(OrderStatus.ORDER_STATUS_FILLED), int(OrderStatus.ORDER_STATUS_NEW)
STOP, TRAILING = int(OrderType.ORDER_TYPE_STOP), int(OrderType.ORDER_TYPE_TRAILING_STOP)
BID_ASK, MID = int(TriggerSource.TRIGGER_SOURCE_BID_ASK), int(TriggerSource.TRIGGER_SOURCE_MID)
TICKS = int(TrailingUnit.TRAILING_UNIT_TICKS)


def show(it: Market, *tops: tuple[int, int]) -> None:
    """Books one after the other, with nothing in between: no timer runs, no commit."""
    for bid, ask in tops:
        it.book([(bid, 50_000)], [(ask, 50_000)])


async def test_a_stop_sees_a_touch_between_two_looks_at_the_market(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        trading = it.house.trading
        show(it, (99, 101))
        by_bid = NewOrder("alice", it.instrument, SELL, STOP, GTC, 10_000, trigger_price=95_00, trigger_source=BID_ASK)
        by_middle = NewOrder("alice", it.instrument, BUY, STOP, GTC, 10_000, trigger_price=110_00, trigger_source=MID)
        sell, buy = (await trading.place(by_bid)).order, (await trading.place(by_middle)).order
        assert sell.waiting
        assert buy.waiting
        show(it, (94, 101), (99, 101))
        await until(lambda: trading.get_order("alice", order_id=sell.order_id).status == FILLED)
        fills = (await it.house.history.list_fills("alice")).items
        assert [fill.price for fill in fills] == [94_00], "the book of that moment"
        assert trading.get_order("alice", order_id=buy.order_id).waiting
        show(it, (99, 125), (99, 101))
        await until(lambda: trading.get_order("alice", order_id=buy.order_id).status == FILLED)


async def test_a_trailing_stop_follows_a_touch_between_two_looks_at_the_market(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        trading = it.house.trading
        show(it, (95, 105))
        trailing = NewOrder(
            "alice", it.instrument, SELL, TRAILING, GTC, 10_000, trailing_offset=50_00, trailing_unit=TICKS,
            trigger_source=BID_ASK,
        )  # fmt: skip
        order = (await trading.place(trailing)).order
        assert order.trigger_price == 45_00
        # Down, up and down again: it fires at 54, fifty below the 104 that was there for an instant.
        show(it, (46, 105), (104, 105), (95, 105), (54, 105), (95, 105))
        await until(lambda: trading.get_order("alice", order_id=order.order_id).status == FILLED)
        assert trading.get_order("alice", order_id=order.order_id).trigger_price == 54_00
        assert (await it.house.history.list_fills("alice")).items[0].price == 54_00


async def test_a_resting_order_is_reached_by_a_touch(tmp_path: Path) -> None:
    async with market(tmp_path) as it:
        trading = it.house.trading
        show(it, (99, 101))
        order = (await trading.place(it.order(BUY, 98, 10_000))).order
        it.book([(96, 50_000)], [(98, 4_000)])
        show(it, (99, 101))
        await until(lambda: trading.get_order("alice", order_id=order.order_id).cum_qty == 4_000)


@pytest.mark.parametrize("seed", range(20))
def test_the_turns_of_a_book_tell_all_that_its_whole_way_tells(seed: int) -> None:
    rng = random.Random(seed)
    way, (bid, ask) = [(100, 110)], (100, 110)
    while len(way) < 60:
        step = rng.choice((-3, -2, -1, 1, 2, 3))
        for _ in range(rng.randint(2, 9)):
            bid, ask = max(bid + step, 1), max(ask + rng.choice((step, 0)), bid + step + 1, 2)
            way.append((bid, ask))
    touches = Touches(way[0])
    for bid, ask in way[1:]:
        touches.add(BookUpdate(MIRRORED, ((bid, 1),), ((ask, 1),), True, FeedState.LIVE, 1, None, 1))
    if len(touches.snapshots) == MAX_TOUCHES:
        way = way[:20]
        touches = Touches(way[0])
        for bid, ask in way[1:]:
            touches.add(BookUpdate(MIRRORED, ((bid, 1),), ((ask, 1),), True, FeedState.LIVE, 1, None, 1))
    assert len(touches.tops) < len(way)
    for price in (lambda top: top[0], lambda top: top[1], lambda top: top[0] + top[1]):
        told, true = [price(top) for top in touches.tops], [price(top) for top in way]
        assert (min(told), max(told), told[-1]) == (min(true), max(true), true[-1])
        assert fall(told) == fall(true), "how far a trailing sell falls behind the best price"
        assert fall([-each for each in told]) == fall([-each for each in true]), "and a trailing buy"


def fall(prices: list[int]) -> int:
    best, deepest = prices[0], 0
    for price in prices:
        best = max(best, price)
        deepest = max(deepest, best - price)
    return deepest


async def test_a_source_that_fails_is_withdrawn_and_stops_neither_other_sources_nor_other_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        """Stands behind the one that fails."""

        def __init__(self) -> None:
            self.asked = 0

        def take(self, entered: Mapping[int, bool]) -> bytes:
            self.asked += 1
            return b""

        def withdraw(self) -> bytes:
            raise AssertionError("it never failed")

    def broken(entered: Mapping[int, bool]) -> bytes:
        raise ZeroDivisionError

    def withdraw() -> bytes:
        withdrawn.append(1)
        return withdrawing()

    async with market(tmp_path) as it:
        trading, sources, other = it.house.trading, it.house.runner.sources, Other()
        withdrawn: list[int] = []
        withdrawing = it.paper.withdraw
        sources.add(other)
        show(it, (99, 101))
        assert (await trading.place(it.order(BUY, 101, 1_000, IOC))).order.status == FILLED
        with monkeypatch.context() as patch:
            patch.setattr(it.paper, "take", broken)
            patch.setattr(it.paper, "withdraw", withdraw)
            asked = other.asked
            for _ in range(3):
                mirrored = (await trading.place(it.order(BUY, 101, 1_000, IOC))).order
                assert mirrored.reject_reason == RejectReason.REJECT_REASON_STALE_MARKET_DATA
                own = (await trading.place(it.house.buy(100, 1_000))).order
                assert own.status == NEW
            assert (len(withdrawn), sources.failures >= 6, other.asked - asked >= 6) == (1, True, True)
        assert (await trading.place(it.order(BUY, 101, 1_000, IOC))).order.status == FILLED


async def test_a_book_that_cannot_be_packed_is_stale_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Range checks keep such a book out; this is what stands behind them."""
    async with market(tmp_path) as it:
        trading = it.house.trading
        show(it, (99, 101))
        await trading.place(it.order(BUY, 98, 1_000))
        absurd = 2**63 * it.instrument.data_lots_per_lot
        levels = ((98_00, absurd),), ((101_00, absurd),)
        it.hub.publish(BookUpdate(it.instrument, *levels, True, FeedState.LIVE, 9, None, 9))
        refused = (await trading.place(it.order(BUY, 101, 1_000, IOC))).order
        assert refused.reject_reason == RejectReason.REJECT_REASON_STALE_MARKET_DATA
        assert (await trading.place(it.house.buy(100, 1_000))).order.status == NEW
        it.sequence = 9
        show(it, (99, 101))
        assert (await trading.place(it.order(BUY, 101, 1_000, IOC))).order.status == FILLED
