"""The rules of matching, one test each, and a named test for every classic bug of public matching engines.

Every command also runs through the naive twin (EnginePair compares the reports), so these tests state the rule itself. Each
runs on a book that is new and on one that had orders: that is through both paths of the engine.
"""

from __future__ import annotations

import pytest

from fastpath.model.enums import CancelReason, RejectReason, SelfTradePrevention, TimeInForce
from fastpath.standalone.matching_engine import EngineFlag, EngineOp, ReportKind
from tests.reference.book_twin import BUY, INT64_MAX, INT64_MIN, SELL, Command, Report
from tests.reference.engine_pair import EnginePair, trades

GTC = int(TimeInForce.TIME_IN_FORCE_GTC)
IOC = int(TimeInForce.TIME_IN_FORCE_IOC)
FOK = int(TimeInForce.TIME_IN_FORCE_FOK)
POST_ONLY = int(EngineFlag.ENGINE_POST_ONLY)
SLIDE = int(EngineFlag.ENGINE_POST_ONLY_SLIDE)
HIDDEN = int(EngineFlag.ENGINE_HIDDEN)
MARKET = int(EngineFlag.ENGINE_MARKET)
MARKET_TO_LIMIT = int(EngineFlag.ENGINE_MARKET_TO_LIMIT)


@pytest.fixture(params=["first orders", "after others"])
def pair(request: pytest.FixtureRequest) -> EnginePair:
    """An empty book. The first order of a side takes the general path, plain ones after it the straight line."""
    pair = EnginePair(max_orders=100)
    if request.param == "after others":
        for id, side in ((2**63, BUY), (2**63 + 1, SELL)):
            pair.new(id, side, 0, 1)
            pair.cancel(id)
    return pair


def kinds(reports: list[Report]) -> list[int]:
    return [report.kind for report in reports]


def reason(reports: list[Report]) -> int:
    assert len(reports) == 1
    assert reports[0].kind == ReportKind.REPORT_REJECTED
    return reports[0].reason


# Classic bugs


def test_an_empty_gap_of_a_billion_prices_is_crossed_in_one_step(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    pair.new(2, SELL, 1_000_000_100, 5)
    pair.new(3, SELL, INT64_MAX, 5)
    assert trades(pair.new(4, BUY, INT64_MAX, 15)) == [(1, 100, 5), (2, 1_000_000_100, 5), (3, INT64_MAX, 5)]
    pair.compare()


def test_the_best_price_moves_on_when_the_last_order_of_its_level_is_canceled(pair: EnginePair) -> None:
    pair.new(1, BUY, 100, 5)
    pair.new(2, BUY, 90, 5)
    pair.cancel(1)
    assert pair.engine.best(1, BUY) == 90
    assert trades(pair.new(3, SELL, 90, 5)) == [(2, 90, 5)]
    assert pair.engine.best(1, BUY) is None


def test_the_best_price_moves_on_when_its_level_is_traded_away(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    pair.new(2, SELL, 101, 5)
    pair.new(3, BUY, 100, 5)
    assert pair.engine.best(1, SELL) == 101


def test_the_best_price_follows_when_the_last_order_of_its_level_is_moved(pair: EnginePair) -> None:
    pair.new(1, BUY, 100, 5)
    pair.submit(Command(EngineOp.ENGINE_MOVE, id=1, price=80))
    assert pair.engine.best(1, BUY) == 80


def test_a_partly_filled_maker_stays_first_in_its_queue(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 10)
    pair.new(2, SELL, 100, 10)
    pair.new(3, BUY, 100, 4)
    assert trades(pair.new(4, BUY, 100, 8)) == [(1, 100, 6), (2, 100, 2)]


def test_what_an_ioc_leaves_does_not_rest(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    reports = pair.new(2, BUY, 105, 8, IOC)
    assert trades(reports) == [(1, 100, 5)]
    assert (reports[-1].kind, reports[-1].reason, reports[-1].qty) == (
        ReportKind.REPORT_CANCELED, CancelReason.CANCEL_REASON_IOC_REMAINDER, 3,
    )  # fmt: skip
    assert pair.engine.order_count == 0
    assert reason(pair.cancel(2)) == RejectReason.REJECT_REASON_ORDER_NOT_FOUND


@pytest.mark.parametrize("how", ["filled", "canceled", "reduced away", "ioc", "self-trade"])
def test_an_id_can_be_used_again_once_its_order_is_gone(pair: EnginePair, how: str) -> None:
    cancel_oldest = int(SelfTradePrevention.SELF_TRADE_PREVENTION_CANCEL_OLDEST)
    pair.new(1, SELL, 100, 5, IOC if how == "ioc" else GTC, owner=7)
    if how == "filled":
        pair.new(2, BUY, 100, 5)
    elif how == "canceled":
        pair.cancel(1)
    elif how == "reduced away":
        pair.submit(Command(EngineOp.ENGINE_REDUCE, id=1, qty=5))
    elif how == "self-trade":
        pair.new(2, BUY, 100, 5, owner=7, stp_mode=cancel_oldest)
        pair.cancel(2)
    assert kinds(pair.new(1, SELL, 101, 5)) == [ReportKind.REPORT_ACCEPTED]
    assert pair.engine.orders(1, SELL) == [(1, 101, 5, 0, False)]


def test_an_id_that_rests_is_refused(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    assert reason(pair.new(1, BUY, 90, 5)) == RejectReason.REJECT_REASON_CLIENT_ORDER_ID_CONFLICT


def test_ids_and_slots_are_pruned(pair: EnginePair) -> None:
    for id in range(1, 5001):  # fifty times the capacity
        assert kinds(pair.new(id, BUY, 100, 5)) == [ReportKind.REPORT_ACCEPTED]
        pair.cancel(id)
    pair.compare()


def test_a_full_engine_refuses_with_a_reason_and_still_takes_what_does_not_rest() -> None:
    pair = EnginePair(max_orders=2)
    pair.new(1, SELL, 100, 5)
    pair.new(2, SELL, 101, 5)
    assert reason(pair.new(3, SELL, 102, 5)) == RejectReason.REJECT_REASON_CAPACITY
    assert trades(pair.new(4, BUY, 101, 6, IOC)) == [(1, 100, 5), (2, 101, 1)]
    assert kinds(pair.new(3, SELL, 102, 5)) == [ReportKind.REPORT_ACCEPTED]


@pytest.mark.parametrize("price", [INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX])
def test_every_int64_price_rests_and_trades_on_both_sides(pair: EnginePair, price: int) -> None:
    for maker, taker in ((SELL, BUY), (BUY, SELL)):
        pair.new(1, maker, price, 5)
        assert pair.engine.depth(1, maker, 9) == [(price, 5, 1)]
        assert trades(pair.new(2, taker, price, 5)) == [(1, price, 5)]


def test_what_others_have_open_bounds_nobody(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, INT64_MAX)
    pair.new(2, SELL, 100, INT64_MAX)
    pair.new(3, SELL, 100, 7)
    assert pair.engine.depth(1, SELL, 9) == [(100, INT64_MAX, 3)]
    assert trades(pair.new(4, BUY, 100, INT64_MAX)) == [(1, 100, INT64_MAX)]
    assert trades(pair.new(5, BUY, 100, 5)) == [(2, 100, 5)]
    pair.submit(Command(EngineOp.ENGINE_CANCEL, id=2))
    assert pair.engine.depth(1, SELL, 9) == [(100, 7, 1)]
    assert trades(pair.new(6, BUY, 100, 9)) == [(3, 100, 7)]


def test_an_order_of_any_size_can_be_moved(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, INT64_MAX)
    assert kinds(pair.modify(1, 90, INT64_MAX)) == [ReportKind.REPORT_MODIFIED]
    assert kinds(pair.submit(Command(EngineOp.ENGINE_MOVE, id=1, price=95))) == [ReportKind.REPORT_MODIFIED]
    assert pair.engine.depth(1, SELL, 9) == [(95, INT64_MAX, 1)]
    pair.modify(1, 95, INT64_MAX - 1)
    pair.new(2, SELL, 90, 1)
    assert kinds(pair.modify(1, 90, INT64_MAX)) == [ReportKind.REPORT_MODIFIED]
    assert pair.engine.depth(1, SELL, 9) == [(90, INT64_MAX, 2)]


# Time in force


def test_fok_trades_all_or_nothing(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    pair.new(2, SELL, 101, 5)
    assert reason(pair.new(3, BUY, 101, 11, FOK)) == RejectReason.REJECT_REASON_FOK_NOT_FILLABLE
    assert pair.engine.depth(1, SELL, 9) == [(100, 5, 1), (101, 5, 1)]
    assert trades(pair.new(3, BUY, 101, 10, FOK)) == [(1, 100, 5), (2, 101, 5)]


def test_fok_counts_hidden_orders_and_iceberg_reserves(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 9, display_qty=2)
    pair.new(2, SELL, 100, 4, flags=HIDDEN)
    assert reason(pair.new(3, BUY, 100, 14, FOK)) == RejectReason.REJECT_REASON_FOK_NOT_FILLABLE
    assert sum(qty for _, _, qty in trades(pair.new(3, BUY, 100, 13, FOK))) == 13


@pytest.mark.parametrize(
    ("mode", "fills"),
    [("NONE", True), ("CANCEL_NEWEST", False), ("CANCEL_OLDEST", True), ("CANCEL_BOTH", False),
     ("DECREMENT_AND_CANCEL", False)],
)  # fmt: skip
def test_fok_counts_only_what_may_trade(pair: EnginePair, mode: str, fills: bool) -> None:
    pair.new(1, SELL, 100, 5, owner=7)
    pair.new(2, SELL, 100, 5, owner=8)
    stp_mode = int(SelfTradePrevention[f"SELF_TRADE_PREVENTION_{mode}"])
    reports = pair.new(3, BUY, 100, 5, FOK, owner=7, stp_mode=stp_mode)
    assert bool(trades(reports)) == fills
    pair.compare()


def test_min_qty_trades_at_least_so_much_or_nothing(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    rejected = pair.new(2, BUY, 100, 10, min_qty=6)
    assert reason(rejected) == RejectReason.REJECT_REASON_MIN_QTY_NOT_FILLABLE
    assert trades(pair.new(2, BUY, 100, 10, min_qty=5)) == [(1, 100, 5)]
    assert pair.engine.depth(1, BUY, 9) == [(100, 5, 1)]


# Flags


def test_post_only_never_takes(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    assert reason(pair.new(2, BUY, 100, 5, flags=POST_ONLY)) == RejectReason.REJECT_REASON_WOULD_TAKE_LIQUIDITY
    assert kinds(pair.new(2, BUY, 99, 5, flags=POST_ONLY)) == [ReportKind.REPORT_ACCEPTED]


def test_post_only_slide_rests_one_tick_short(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    assert pair.new(2, BUY, 105, 5, flags=SLIDE)[0].price == 99
    assert pair.engine.depth(1, BUY, 9) == [(99, 5, 1)]
    pair.cancel(2)
    pair.new(3, SELL, INT64_MIN, 5)
    assert reason(pair.new(4, BUY, 0, 5, flags=SLIDE)) == RejectReason.REJECT_REASON_WOULD_TAKE_LIQUIDITY


def test_hidden_orders_trade_behind_displayed_ones_of_their_price_and_before_worse_prices(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5, flags=HIDDEN)
    pair.new(2, SELL, 100, 5)
    pair.new(3, SELL, 101, 5)
    assert pair.engine.depth(1, SELL, 9) == [(100, 5, 1), (101, 5, 1)]
    assert trades(pair.new(4, BUY, 101, 12)) == [(2, 100, 5), (1, 100, 5), (3, 101, 2)]


def test_an_iceberg_shows_a_slice_and_each_refill_goes_to_the_back(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 10, display_qty=4)
    pair.new(2, SELL, 100, 5)
    assert pair.engine.depth(1, SELL, 9) == [(100, 9, 2)]
    assert trades(pair.new(3, BUY, 100, 4)) == [(1, 100, 4)]
    assert pair.engine.orders(1, SELL) == [(2, 100, 5, 0, False), (1, 100, 4, 2, False)]
    assert trades(pair.new(4, BUY, 100, 11)) == [(2, 100, 5), (1, 100, 4), (1, 100, 2)]


def test_market_takes_up_to_its_protection_and_never_rests(pair: EnginePair) -> None:
    assert reason(pair.new(1, BUY, INT64_MAX, 5, flags=MARKET)) == RejectReason.REJECT_REASON_NO_LIQUIDITY
    pair.new(1, SELL, 100, 5)
    pair.new(2, SELL, 110, 5)
    assert reason(pair.new(3, BUY, 99, 5, flags=MARKET)) == RejectReason.REJECT_REASON_SLIPPAGE_LIMIT
    reports = pair.new(3, BUY, 105, 8, flags=MARKET)
    assert trades(reports) == [(1, 100, 5)]
    assert reports[-1].reason == CancelReason.CANCEL_REASON_MARKET_REMAINDER


def test_market_to_limit_rests_at_its_last_fill(pair: EnginePair) -> None:
    pair.new(1, SELL, 100, 5)
    reports = pair.new(2, BUY, INT64_MAX, 8, flags=MARKET_TO_LIMIT)
    assert (reports[0].price, trades(reports)) == (100, [(1, 100, 5)])
    assert pair.engine.depth(1, BUY, 9) == [(100, 3, 1)]


# Self-trade prevention


@pytest.mark.parametrize(
    ("mode", "expected", "asks", "bids"),
    [
        ("NONE", ["TRADE", "TRADE"], [], []),
        ("CANCEL_NEWEST", ["CANCELED"], [(100, 10, 2)], []),
        ("CANCEL_OLDEST", ["CANCELED", "TRADE"], [], [(100, 1, 1)]),
        ("CANCEL_BOTH", ["CANCELED", "CANCELED"], [(100, 6, 1)], []),
        ("DECREMENT_AND_CANCEL", ["DECREMENTED", "TRADE"], [(100, 3, 1)], []),
    ],
)
def test_the_modes_of_self_trade_prevention(
    pair: EnginePair, mode: str, expected: list[str], asks: list[tuple[int, int, int]], bids: list[tuple[int, int, int]]
) -> None:
    pair.new(1, SELL, 100, 4, owner=7)
    pair.new(2, SELL, 100, 6, owner=8)
    qty = 10 if mode == "NONE" else 7
    stp_mode = int(SelfTradePrevention[f"SELF_TRADE_PREVENTION_{mode}"])
    reports = pair.new(3, BUY, 100, qty, owner=7, stp_mode=stp_mode)
    assert kinds(reports[1:]) == [int(ReportKind[f"REPORT_{name}"]) for name in expected]
    assert pair.engine.depth(1, SELL, 9) == asks
    assert pair.engine.depth(1, BUY, 9) == bids


# Amendments


def test_less_quantity_keeps_priority_and_more_loses_it(pair: EnginePair) -> None:
    for id in (1, 2, 3):
        pair.new(id, BUY, 100, 10)
    pair.modify(1, 100, 4)
    pair.modify(2, 100, 11)
    assert [order[0] for order in pair.engine.orders(1, BUY)] == [1, 3, 2]


def test_reduce_keeps_priority_and_takes_a_reserve_first(pair: EnginePair) -> None:
    pair.new(1, BUY, 100, 10, display_qty=4)
    pair.new(2, BUY, 100, 10)
    pair.submit(Command(EngineOp.ENGINE_REDUCE, id=1, qty=7))
    assert pair.engine.orders(1, BUY) == [(1, 100, 3, 0, False), (2, 100, 10, 0, False)]


def test_another_price_loses_priority_and_may_trade(pair: EnginePair) -> None:
    pair.new(1, BUY, 90, 10)
    pair.new(2, SELL, 100, 4)
    reports = pair.modify(1, 100, 10)
    assert kinds(reports) == [ReportKind.REPORT_MODIFIED, ReportKind.REPORT_TRADE]
    assert pair.engine.depth(1, BUY, 9) == [(100, 6, 1)]


def test_a_refused_modify_leaves_the_order_where_it_was(pair: EnginePair) -> None:
    pair.new(1, BUY, 90, 10)
    pair.new(2, BUY, 90, 10)
    pair.new(3, SELL, 100, 4)
    assert reason(pair.modify(1, 100, 10, flags=POST_ONLY)) == RejectReason.REJECT_REASON_WOULD_TAKE_LIQUIDITY
    assert reason(pair.modify(1, 90, 0)) == RejectReason.REJECT_REASON_INVALID_COMMAND
    assert [order[0] for order in pair.engine.orders(1, BUY)] == [1, 2]


def test_an_order_is_found_only_in_its_own_book() -> None:
    pair = EnginePair(instruments=(1, 2))
    pair.new(1, BUY, 100, 5)
    rejected = pair.submit(Command(EngineOp.ENGINE_CANCEL, id=1, instrument=2))
    assert reason(rejected) == RejectReason.REJECT_REASON_ORDER_NOT_FOUND
