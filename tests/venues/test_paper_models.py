"""When paper orders fill: models, queues, latencies, and that nothing displayed is used twice, whatever happens between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fastpath.model.enums import OrderStatus, PaperModel
from server.base.clock import ManualClock
from server.base.errors import FailedPrecondition
from server.engine.orders import AmendOrder
from server.market.hub import MarketData
from server.market.model import BookUpdate, FeedState, MarketUpdate, Trade
from server.records.events import OrderView
from server.venues.late_market import LateMarket
from server.venues.queue_watch import Cancellation, QueueWatch
from tests.support.engine import BUY, IOC, SELL
from tests.support.paper import MIRRORED, Market, market

FILLED, NEW, CANCELED = (
    int(OrderStatus.ORDER_STATUS_FILLED), int(OrderStatus.ORDER_STATUS_NEW), int(OrderStatus.ORDER_STATUS_CANCELED),
)  # fmt: skip
OPTIMISTIC, QUEUE, PESSIMISTIC = (
    int(PaperModel.PAPER_MODEL_OPTIMISTIC), int(PaperModel.PAPER_MODEL_QUEUE), int(PaperModel.PAPER_MODEL_PESSIMISTIC),
)  # fmt: skip
MS = 1_000_000
LATENCY_NS = 800 * MS
START_NS = 1_700_000_000_000_000_000


def now(it: Market, order: OrderView) -> OrderView:
    return it.house.trading.get_order("alice", order_id=order.order_id)


async def filled_by(it: Market, order: OrderView, price: int, qty: int) -> int:
    """Lots of the order that a sell print fills."""
    before = now(it, order).cum_qty
    it.trade(price, qty, SELL)
    await it.settle()
    return now(it, order).cum_qty - before


async def test_the_models_differ_by_the_place_in_the_queue(tmp_path: Path) -> None:
    filled = {}
    for model in (OPTIMISTIC, QUEUE, PESSIMISTIC):
        (tmp_path / str(model)).mkdir()
        async with market(tmp_path / str(model), paper_model=model, clock=ManualClock(START_NS)) as it:
            it.book([(99, 5_000)], [(101, 5_000)])
            order = (await it.house.trading.place(it.order(BUY, 99, 10_000))).order
            filled[model] = [await filled_by(it, order, price, 4_000) for price in (99, 99, 98)]
    assert filled == {OPTIMISTIC: [4_000, 4_000, 2_000], QUEUE: [0, 3_000, 4_000], PESSIMISTIC: [0, 0, 4_000]}


async def test_cancellations_at_the_venue_move_an_order_up(tmp_path: Path) -> None:
    async with market(tmp_path, paper_model=QUEUE, clock=ManualClock(START_NS)) as it:
        it.book([(99, 8_000)], [(101, 5_000)])
        order = (await it.house.trading.place(it.order(BUY, 99, 10_000))).order
        idle = it.house.trading.command_sequence
        it.book([(99, 16_000)], [(101, 5_000)])
        it.book([(99, 8_000)], [(101, 5_000)])  # half of them gone, and nothing traded
        await it.settle()
        assert it.house.trading.command_sequence == idle + 1
        assert await filled_by(it, order, 99, 5_000) == 1_000, "4,000 were ahead"


async def test_a_fall_that_a_trade_explains_is_no_cancellation(tmp_path: Path) -> None:
    async with market(tmp_path, paper_model=QUEUE, clock=ManualClock(START_NS)) as it:
        it.book([(99, 8_000)], [(101, 5_000)])
        order = (await it.house.trading.place(it.order(BUY, 99, 10_000))).order
        it.book([(99, 5_000)], [(101, 5_000)])  # the book is told first, the trade after it
        assert await filled_by(it, order, 99, 3_000) == 0
        await it.settle()
        assert await filled_by(it, order, 99, 5_000) == 0
        assert await filled_by(it, order, 99, 1_000) == 1_000


def test_the_queue_watch_never_tells_more_than_was_canceled() -> None:
    for seed in range(50):
        rng, canceled, told, displayed = random.Random(seed), 0, 0, 1_000
        watch = QueueWatch()
        late: list[Trade] = []

        def book(qty: int, sequence: int) -> BookUpdate:
            return BookUpdate(MIRRORED, ((99, qty), (98, 1)), (), True, FeedState.LIVE, sequence, None, sequence)

        watch.watch([(BUY, 99)], book(displayed, 0))
        for sequence in range(1, 400):
            lots = rng.randint(1, max(1, displayed // 3))
            event = rng.choice(("trade", "cancel", "add", "tick"))
            if event == "tick":
                for each in late:
                    watch.trade(each)
                late.clear()
                told += sum(each.qty for each in watch.tick())
                continue
            canceled += lots if event == "cancel" else 0
            displayed += lots if event == "add" else -lots
            trade = Trade(MIRRORED, str(sequence), 99, lots, SELL, None, sequence)
            if event == "trade" and rng.random() < 0.5:
                watch.trade(trade)
            elif event == "trade":
                late.append(trade)
            watch.book(book(max(displayed, 0), sequence))
            displayed = max(displayed, 0) or 1_000
            watch.book(book(displayed, sequence))
        for each in late:
            watch.trade(each)
        for _ in range(2):
            told += sum(each.qty for each in watch.tick())
        assert told <= canceled, f"seed {seed}"
        assert told > canceled // 2, f"seed {seed}: nearly all of them are found"


def test_a_level_out_of_sight_is_not_canceled() -> None:
    watch = QueueWatch()

    def book(bids: tuple[tuple[int, int], ...], *, live: bool = True, snapshot: bool = True) -> BookUpdate:
        state = FeedState.LIVE if live else FeedState.GAP
        return BookUpdate(MIRRORED, bids, (), snapshot, state, 1, None, 1)

    watch.watch([(BUY, 97)], book(((99, 5), (98, 5), (97, 5))))
    watch.book(book(((100, 5), (99, 5), (98, 5))))
    assert not watch.unsettled
    watch.book(book(((97, 5),), snapshot=False))
    watch.book(book((), live=False))
    watch.book(book(((99, 5), (97, 1))))
    assert not watch.unsettled, "after a gap nothing is known"
    watch.book(book(((97, 0),), snapshot=False))
    assert watch.tick() == []
    assert watch.tick() == [Cancellation(BUY, 97, 1, 1)]


async def test_what_was_taken_stays_taken_over_a_restart_and_a_gap(tmp_path: Path) -> None:
    asks = [(100 + n, 1_000) for n in range(80)]
    async with market(tmp_path, clock=ManualClock(START_NS)) as it:
        it.book([(99, 5_000)], asks)
        assert (await it.house.trading.place(it.order(BUY, 0, 45_000, IOC))).order.status == FILLED
    async with market(tmp_path, clock=ManualClock(START_NS)) as it:
        it.book([(60, 5_000)], [(70 + n, 1_000) for n in range(30)] + asks)  # what was taken is out of sight
        assert (await it.house.trading.place(it.order(BUY, 70, 1_000, IOC))).order.status == FILLED
        it.book([], [], FeedState.STALE)
        await it.settle()
        it.book([(99, 5_000)], asks)
        bought = (await it.house.trading.place(it.order(BUY, 145, 50_000, IOC))).order
        assert bought.cum_qty == 1_000, "45 of the 46 levels were bought empty before"


async def test_an_order_takes_its_time_and_meets_the_market_of_then(tmp_path: Path) -> None:
    async with market(tmp_path, latency_in_ns=LATENCY_NS, clock=ManualClock(START_NS)) as it:
        it.book([(99, 5_000)], [(101, 5_000)])
        order = (await it.house.trading.place(it.order(BUY, 102, 2_000))).order
        assert (order.status, order.waiting) == (NEW, True)
        await it.pass_time(LATENCY_NS // 2)
        it.book([(99, 5_000)], [(102, 5_000)])
        await it.pass_time(LATENCY_NS // 2 - 1)
        assert now(it, order).waiting
        await it.settle()
        assert now(it, order).status == FILLED
        fill = (await it.house.history.list_fills("alice")).items[0]
        assert fill.price == 102_00
        assert now(it, order).update_ns - order.create_ns >= LATENCY_NS


async def test_a_cancel_takes_its_time_and_may_come_too_late(tmp_path: Path) -> None:
    async with market(tmp_path, latency_in_ns=LATENCY_NS, clock=ManualClock(START_NS)) as it:
        it.book([(99, 5_000)], [(101, 5_000)])
        trading = it.house.trading
        rests, takes = [(await trading.place(it.order(BUY, price, 2_000))).order for price in (98, 101)]
        for order in (rests, takes):
            sent = await trading.cancel("alice", order_id=order.order_id)
            assert (sent.status, sent.change_pending) == (NEW, True)
        await it.pass_time(LATENCY_NS - 1)
        assert now(it, rests).is_open
        await it.settle()
        assert (now(it, rests).status, now(it, takes).status) == (CANCELED, FILLED)
        assert now(it, rests).update_ns - rests.create_ns >= LATENCY_NS


async def test_an_amendment_on_its_way_is_the_only_one(tmp_path: Path) -> None:
    async with market(tmp_path, latency_in_ns=LATENCY_NS, clock=ManualClock(START_NS)) as it:
        it.book([(99, 5_000)], [(101, 5_000)])
        trading = it.house.trading
        order = (await trading.place(it.order(BUY, 98, 2_000))).order
        change = AmendOrder("alice", order.order_id, price=97_00)
        assert (await trading.amend(change)).change_pending
        with pytest.raises(FailedPrecondition, match="another change"):
            await trading.amend(change)
        await it.pass_time(LATENCY_NS - 1)
        assert (now(it, order).price, now(it, order).change_pending) == (98_00, True)
        await it.settle()
        assert now(it, order).price == 97_00
        assert not now(it, order).change_pending


async def test_what_happens_at_the_venue_is_known_later(tmp_path: Path) -> None:
    async with market(tmp_path, latency_out_ns=LATENCY_NS, clock=ManualClock(START_NS)) as it:
        it.book([(99, 5_000)], [(101, 5_000)])
        await it.pass_time(LATENCY_NS)
        order = (await it.house.trading.place(it.order(BUY, 101, 2_000))).order
        await it.pass_time(2 * MS)
        it.book([(99, 5_000)], [(103, 5_000)])  # gone by the time we hear of the fill; but the order came before
        await it.pass_time(LATENCY_NS)
        assert now(it, order).status == FILLED
        assert (await it.house.history.list_fills("alice")).items[0].price == 101_00


async def test_a_late_market_is_the_market_in_the_same_order(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    async with market(tmp_path, latency_out_ns=LATENCY_NS, clock=clock) as it:
        hub = MarketData("one", clock)
        seen: list[MarketUpdate] = []
        sent: list[Trade] = []
        late = LateMarket(hub, clock)
        late.start()
        late.add_listener(seen.append)
        for n in range(200):
            sent.append(Trade(it.instrument, str(n), 100 + n, 1, BUY, None, n))
            hub.publish(sent[-1])
        clock.advance(LATENCY_NS - 1)
        assert not seen
        clock.advance(1)
        assert seen == sent
        assert late.trades(it.instrument.name, 1) == sent[-1:]
        late.stop()
