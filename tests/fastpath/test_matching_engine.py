"""The batch interface of the matching engine: buffers, bounds, many books, and sides under wide prices."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fastpath.model.enums import CancelReason, RejectReason
from fastpath.standalone.matching_engine import COMMAND, REPORT, EngineFlag, EngineOp, MatchingEngine, ReportKind
from tests.reference.book_twin import BUY, SELL, Command
from tests.reference.engine_pair import EnginePair, pack, unpack

ROOT = Path(__file__).resolve().parents[2]


def new(id: int, side: int, price: int, qty: int, instrument: int = 1) -> Command:
    return Command(EngineOp.ENGINE_NEW, side, 1, 0, instrument, id, price, qty)


def cancels(ids: list[int]) -> bytes:
    return b"".join(COMMAND.pack(EngineOp.ENGINE_CANCEL, 0, 0, 0, 1, id, 0, 0) for id in ids)


def test_a_command_that_might_not_find_room_for_its_reports_waits() -> None:
    engine = MatchingEngine(max_orders=100, max_books=2)
    engine.create_book(1)
    engine.apply(b"".join(pack(new(id, SELL, 100, 1)) for id in range(1, 11)))
    sweep = pack(new(50, BUY, 100, 10)) + pack(new(51, BUY, 90, 1))
    small = bytearray(REPORT.size * 11)
    assert engine.process(sweep, small) == (0, 0)
    assert engine.order_count == 10
    enough = bytearray(REPORT.size * 12)
    consumed, written = engine.process(sweep, enough)
    assert (consumed, written) == (1, 11)
    consumed, written = engine.process(sweep[COMMAND.size :], enough)
    assert (consumed, written) == (1, 1)


@pytest.mark.parametrize("icebergs", [False, True])
def test_room_is_asked_for_what_an_order_meets_not_for_all_that_rest(icebergs: bool) -> None:
    rng = random.Random(1)
    engine = MatchingEngine(max_orders=2000, max_books=2)
    engine.create_book(1)
    for id in range(1, 501):
        order = new(id, SELL, rng.randint(100, 120), rng.randint(1, 40))
        iceberg = order._replace(display_qty=rng.randint(order.qty // 5 + 1, order.qty))
        hidden = order._replace(flags=int(EngineFlag.ENGINE_HIDDEN))
        engine.apply(pack(rng.choice((order, order, hidden, iceberg if icebergs else order))))
    buffer = bytearray(REPORT.size * 3000)
    for id in range(1001, 1101):
        taker = pack(new(id, BUY, rng.randint(99, 121), rng.choice((1, 30, 300, 10**9)))._replace(time_in_force=2))
        before = engine.state_hash()
        room = 2
        while (written := engine.process(taker, memoryview(buffer)[: REPORT.size * room])[1]) == 0:
            assert engine.state_hash() == before
            room += 1
        reports = unpack(bytes(buffer[: REPORT.size * written]))
        fills = sum(report.kind == ReportKind.REPORT_TRADE for report in reports)
        assert room == fills + 2 or icebergs  # their turns on the last level are all counted
        engine.validate()
        engine.apply(b"".join(pack(new(2000 + 500 * id + n, SELL, rng.randint(100, 120), 20)) for n in range(5)))


def test_apply_makes_room_by_itself() -> None:
    engine = MatchingEngine(max_orders=5001, max_books=2)
    engine.create_book(1)
    engine.apply(b"".join(pack(new(id, SELL, 100, 1)) for id in range(1, 5001)))
    reports = unpack(engine.apply(pack(new(9999, BUY, 100, 5000))))
    assert len(reports) == 5001
    assert reports[-1].leaves == 0


def test_malformed_buffers_raise_before_anything_happens() -> None:
    engine = MatchingEngine(max_orders=10, max_books=2)
    engine.create_book(1)
    with pytest.raises(ValueError, match="32 bytes"):
        engine.process(pack(new(1, BUY, 1, 1)) + b"x", bytearray(640))
    with pytest.raises(ValueError, match="extension"):
        engine.apply(COMMAND.pack(1, 1, 1, 128, 1, 1, 1, 1))
    assert engine.order_count == 0
    assert engine.apply(b"") == b""


def test_bounds_of_construction_are_checked() -> None:
    for bad in ({"max_orders": 0}, {"max_orders": 2**26 + 1}, {"max_books": 0}, {"max_books": 65537}):
        with pytest.raises(ValueError, match="max_orders must be"):
            MatchingEngine(**bad)


def test_books_come_and_go_at_run_time() -> None:
    engine = MatchingEngine(max_orders=1000, max_books=500)
    for instrument in range(500):
        engine.create_book(instrument)
    with pytest.raises(ValueError, match="has a book already"):
        engine.create_book(7)
    engine.apply(b"".join(pack(new(id, BUY, id, 1, instrument=id % 500)) for id in range(1, 1001)))
    engine.validate()
    canceled = unpack(engine.retire_book(7))
    assert sorted(report.id for report in canceled) == [7, 507]
    assert {report.reason for report in canceled} == {CancelReason.CANCEL_REASON_INSTRUMENT_RETIRED}
    assert engine.order_count == 998
    with pytest.raises(KeyError):
        engine.best(7, BUY)
    engine.create_book(7)
    assert unpack(engine.apply(pack(new(7, BUY, 5, 1, instrument=7))))[0].kind == ReportKind.REPORT_ACCEPTED
    engine.validate()


def test_state_hash_is_equal_in_fresh_processes_whatever_the_hash_seed() -> None:
    program = """
import random
from fastpath.standalone.matching_engine import COMMAND, MatchingEngine
rng = random.Random(5)
engine = MatchingEngine(max_orders=10000, max_books=2)
engine.create_book(1)
engine.apply(b"".join(COMMAND.pack(rng.randint(1, 5), rng.randint(1, 2), 1, 0, 1, rng.randint(1, 3000),
    rng.randint(-50000, 50000), rng.randint(1, 9)) for _ in range(20000)))
engine.validate()
print(engine.state_hash(), engine.order_count)
"""
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }  # fmt: skip
    assert len(seen) == 1


@pytest.mark.parametrize("span", [3_000, 200_000, 10**7, 2**62])
def test_deep_and_wide_books_keep_their_levels_in_order(span: int) -> None:
    """Thousands of levels, a touch that wanders over the whole span: the window moves, widens, and misses."""
    rng = random.Random(span)
    engine = MatchingEngine(max_orders=50_000, max_books=2)
    engine.create_book(1)
    levels: dict[int, dict[int, int]] = {}
    resting: dict[int, int] = {}
    ids = iter(range(1, 10**9))
    for round_number in range(60):
        centre = rng.randint(-span, span)
        batch = []
        for _ in range(rng.randint(50, 400)):
            id = next(ids)
            price = centre + int(rng.gauss(0, span / rng.choice((10, 1000, 100_000))))
            batch.append(new(id, BUY, price, 1 + id % 7))
            levels.setdefault(price, {})[id] = 1 + id % 7
            resting[id] = price
        for id in rng.sample(sorted(resting), len(resting) // rng.choice((3, 20))):
            batch.append(Command(EngineOp.ENGINE_CANCEL, id=id))
            price = resting.pop(id)
            del levels[price][id]
            if not levels[price]:
                del levels[price]
        engine.apply(b"".join(map(pack, batch)))
        assert engine.best(1, BUY) == max(levels, default=None), f"span {span}, round {round_number}"
        expected = [(price, sum(levels[price].values()), len(levels[price])) for price in sorted(levels, reverse=True)]
        assert engine.depth(1, BUY, 10**6) == expected
        engine.validate()


def test_looking_ahead_changes_nothing_but_speed() -> None:
    """Deep books are prefetched for; batches of one command are not: same reports."""
    rng = random.Random(3)
    commands = [pack(new(id, 1 + id % 2, -5 * (id % 2) + 6000 * (1 - 2 * (id % 2)), 5)) for id in range(1, 6001)]
    for _ in range(6000):
        op = rng.choice((EngineOp.ENGINE_NEW, EngineOp.ENGINE_CANCEL, EngineOp.ENGINE_MOVE, EngineOp.ENGINE_MODIFY))
        commands.append(
            pack(Command(op, rng.choice((BUY, SELL)), 1, 0, rng.randint(0, 3), rng.randint(0, 9000),
                         rng.randint(-9000, 9000), rng.randint(1, 9)))
        )  # fmt: skip
    batched, single = (MatchingEngine(max_orders=20_000, max_books=3) for _ in range(2))
    for engine in (batched, single):
        engine.create_book(1)
    assert batched.apply(b"".join(commands)) == b"".join(map(single.apply, commands))
    assert batched.state_hash() == single.state_hash()


def test_one_pair_of_books_does_not_touch_another() -> None:
    pair = EnginePair(instruments=(1, 2, 3))
    for id in range(1, 30):
        pair.submit(new(id, 1 + id % 2, 100, 2, instrument=1 + id % 3))
    pair.compare()


@pytest.mark.parametrize("stride", [1, 4096, 1 << 32, (1 << 40) + (1 << 20), 0x9E3779B97F4A7C15])
def test_any_pattern_of_ids_is_found_and_free_again(stride: int) -> None:
    """Dense ids have a slot each; ids that share one (multiples of 4,096, of 2**32, ...) are found all the same."""
    engine = MatchingEngine(max_orders=1000, max_books=2)
    engine.create_book(1)
    shuffle = random.Random(stride)
    ids = [(k * stride) % (1 << 64) or (1 << 64) - 1 for k in range(1, 1001)]
    assert len(set(ids)) == len(ids)
    for _ in range(2):
        accepted = unpack(engine.apply(b"".join(pack(new(id, BUY, id % 50, 1)) for id in ids)))
        assert {report.kind for report in accepted} == {ReportKind.REPORT_ACCEPTED}
        again = unpack(engine.apply(b"".join(pack(new(id, BUY, 1, 1)) for id in ids)))
        assert {report.kind for report in again} == {ReportKind.REPORT_REJECTED}
        engine.validate()
        shuffle.shuffle(ids)
        gone = ids[:700]
        canceled = unpack(engine.apply(cancels(gone)))
        assert [report.id for report in canceled if report.kind == ReportKind.REPORT_CANCELED] == gone
        engine.validate()
        twice = unpack(engine.apply(cancels(ids)))
        assert [report.id for report in twice if report.kind == ReportKind.REPORT_CANCELED] == ids[700:]
        assert engine.order_count == 0
        engine.validate()


@pytest.mark.parametrize("flag", [32, 64])
@pytest.mark.parametrize("op", EngineOp)
def test_a_flag_that_nobody_knows_is_refused_not_ignored(op: EngineOp, flag: int) -> None:
    pair = EnginePair()
    pair.submit(new(1, BUY, 100, 5))
    command = Command(op, BUY, 1, flag, 1, 2 if op == EngineOp.ENGINE_NEW else 1, 99, 4)
    (report,) = pair.submit(command)
    assert (report.kind, report.reason) == (ReportKind.REPORT_REJECTED, RejectReason.REJECT_REASON_INVALID_COMMAND)
    pair.compare()


def test_nobody_has_the_id_0() -> None:
    """Free slots carry it: nothing may find them, in no book."""
    pair = EnginePair(instruments=(0, 1))
    for instrument in (0, 1):
        for op in EngineOp:
            (report,) = pair.submit(Command(op, BUY, 1, 0, instrument, 0, 100, 5))
            assert report.kind == ReportKind.REPORT_REJECTED
    pair.compare()


@pytest.mark.parametrize(("side", "price"), [(BUY, 2**63 - 1), (SELL, -(2**63))])
def test_shrinking_at_the_last_price_there_is_keeps_the_place_in_the_queue(side: int, price: int) -> None:
    pair = EnginePair()
    for id in (1, 2):
        pair.submit(new(id, side, price, 5))
    pair.submit(Command(EngineOp.ENGINE_MODIFY, 0, 0, 0, 1, 1, price, 3))
    assert [order[0] for order in pair.engine.orders(1, side)] == [1, 2]
    pair.compare()


def move(id: int, price: int) -> bytes:
    return COMMAND.pack(EngineOp.ENGINE_MOVE, 0, 0, 0, 1, id, price, 0)


def test_a_full_engine_takes_an_order_that_makes_its_own_room() -> None:
    pair = EnginePair(max_orders=2)
    pair.submit(new(1, SELL, 100, 5))
    pair.submit(new(2, SELL, 101, 5))
    assert pair.submit(new(3, BUY, 99, 1))[0].reason == RejectReason.REJECT_REASON_CAPACITY
    post_only = new(3, BUY, 100, 1)._replace(flags=EngineFlag.ENGINE_POST_ONLY)
    assert pair.submit(post_only)[0].reason == RejectReason.REJECT_REASON_CAPACITY
    accepted, trade = pair.submit(new(4, BUY, 101, 3))
    assert (accepted.kind, trade.maker_leaves) == (ReportKind.REPORT_ACCEPTED, 2)
    assert [report.kind for report in pair.submit(new(5, BUY, 100, 7))][1:] == [ReportKind.REPORT_TRADE]
    assert (pair.engine.orders(1, BUY), pair.engine.order_count) == ([(5, 100, 5, 0, False)], 2)
    pair.compare()


def test_a_full_engine_moves_orders_that_have_a_price_each() -> None:
    pair = EnginePair(max_orders=8)
    for id in range(1, 9):
        pair.submit(new(id, BUY, id, 1))
    for step in range(200):
        pair.submit(Command(EngineOp.ENGINE_MOVE, 0, 0, 0, 1, step % 8 + 1, step * 1_000_003 % 50_000 + 10, 0))
        pair.compare()
    assert pair.engine.order_count == 8


def test_moving_the_window_leaves_room_for_the_order_on_its_way() -> None:
    """The best price jumps back and forth past a side full of far pages, while orders go from one end of it to the other.

    So the window moves again and again, in the middle of commands too, and what it sends away fills and splits the blocks of
    far pages just before the command's own order needs a place in one that is full.
    """
    near, far, top = 700, 640, 2000
    rng = random.Random(1)
    engine = MatchingEngine(max_orders=top, max_books=2)
    engine.create_book(1)
    orders = [new(top, BUY, 0, 1)]
    orders += [new(1000 + k, BUY, -1 - k, 1) for k in range(near)]
    orders += [new(1 + k, BUY, -100_000_000 - 10 * k, 1) for k in range(far)]
    engine.apply(b"".join(pack(order) for order in orders))
    lowest, moved = -100_000_000 - 10 * far, 0
    for step in range(6000):
        batch = [move(top, 10_000_000 if step % 2 else 0)]
        batch += [move(1000 + rng.randrange(near), -rng.randint(1, near)) for _ in range(rng.randint(1, 3))]
        for _ in range(rng.randint(85, 95)):
            lowest -= 10
            batch.append(move(1 + moved % far, lowest))
            moved += 1
        engine.apply(b"".join(batch))
        if step % 1000 == 0:
            engine.validate()
    engine.validate()
    resting = {id: price for id, price, _, _, _ in engine.orders(1, BUY)}
    assert [resting[1 + (moved - 1 - k) % far] for k in range(far)] == [lowest + 10 * k for k in range(far)]
