"""Trading through the runner and a real journal: answers, refusals, lists, idempotency, streams."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from fastpath.model.enums import AccountMode, OrderStatus, RejectReason, TradingStatus
from server.base.clock import ManualClock
from server.base.errors import (
    AlreadyExists,
    ClientOrderIdConflict,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    QueueFull,
    ShuttingDown,
    SlowConsumer,
)
from server.base.instruments import Instrument, InstrumentKind
from server.base.streams import Ack, Gap, Heartbeat, Notice, StreamPosition
from server.engine.limits import EngineLimits
from server.engine.order_entry import AccountSnapshot, OrdersSnapshot, OrderUpdate
from server.engine.orders import NewOrder, Outcome
from server.engine.setup import Setup
from tests.support.engine import BUY, IOC, MARKET, House, house

PAPER = int(AccountMode.ACCOUNT_MODE_PAPER)


async def test_an_order_rests_fills_and_leaves_exact_traces(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        resting = (await it.trading.place(it.buy(60_000, 100, client_order_id="bid"))).order
        assert (resting.status, resting.leaves_qty, resting.post_only) == (OrderStatus.ORDER_STATUS_NEW, 100, False)
        taken = (await it.trading.place(it.sell(59_000, 40))).order
        assert (taken.status, taken.cum_qty) == (OrderStatus.ORDER_STATUS_FILLED, 40)
        usdt = it.trading.registry.asset("USDT")
        assert it.btc.money_text(taken.cum_notional) == "24"  # 0.0004 BTC at 60,000
        assert it.btc.money_text(taken.cum_fee) == "0.012"  # 5 bps
        seen = it.trading.get_order("alice", client_order_id="bid")
        assert (seen.status, seen.cum_qty, seen.leaves_qty) == (OrderStatus.ORDER_STATUS_PARTIALLY_FILLED, 40, 60)
        assert seen.create_ns == resting.create_ns <= seen.update_ns
        (fill,) = (await it.history.list_fills("bob")).items
        assert (fill.order_id, fill.price, fill.qty, fill.liquidity) == (taken.order_id, 60_000_00, 40, 2)
        (position,) = it.trading.list_positions("alice")
        assert (position.qty, it.btc.money_text(position.cost)) == (40, "24")
        balance = {each.asset.name: each for each in it.trading.list_balances("bob")}
        assert usdt.text(balance["USDT"].total) == "1000023.988"
        canceled = await it.trading.cancel("alice", order_id=seen.order_id)
        assert (canceled.status, canceled.leaves_qty) == (OrderStatus.ORDER_STATUS_CANCELED, 0)


async def test_refusals_on_the_merits_are_orders_and_others_are_errors(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        poor = (await it.trading.place(it.buy(60_000, 10**9, client_order_id="big"))).order
        assert poor.status == OrderStatus.ORDER_STATUS_REJECTED
        assert poor.reject_reason == RejectReason.REJECT_REASON_INSUFFICIENT_BALANCE
        assert (await it.trading.place(it.buy(60_000, 10**9, client_order_id="big"))).replayed
        lonely = NewOrder("alice", it.btc, BUY, MARKET, IOC, 10)
        assert (await it.trading.place(lonely)).order.reject_reason == RejectReason.REJECT_REASON_NO_LIQUIDITY
        with pytest.raises(ClientOrderIdConflict, match="big"):
            await it.trading.place(it.buy(60_001, 10, client_order_id="big"))
        with pytest.raises(NotFound, match="nobody"):
            await it.trading.place(it.buy(60_000, 1, account="nobody"))
        with pytest.raises(NotFound, match="12345678"):
            await it.trading.cancel("alice", order_id=12345678)
        with pytest.raises(FailedPrecondition) as closed:
            await it.trading.cancel("alice", client_order_id="big")
        assert closed.value.specific_reason == "ORDER_NOT_OPEN"
        mine = (await it.trading.place(it.buy(50_000, 100))).order
        with pytest.raises(NotFound):
            await it.trading.cancel("bob", order_id=mine.order_id)
        with pytest.raises(NotFound):
            it.trading.get_order("bob", order_id=mine.order_id)


async def test_many_at_once_are_answered_one_by_one(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        orders = [it.buy(100 + n, 1_000, client_order_id=f"m{n}") for n in range(50)]
        orders += [it.buy(700, 1_000, client_order_id="m3"), it.buy(100, 10**15)]
        answers = it.trading.outcomes(orders, await it.trading.submit(orders))
        placed = [answer for answer in answers[:50] if isinstance(answer, Outcome)]
        assert [answer.order.client_order_id for answer in placed] == [f"m{n}" for n in range(50)]
        assert isinstance(answers[50], ClientOrderIdConflict)
        last = answers[51]
        assert isinstance(last, Outcome)
        assert last.order.status == OrderStatus.ORDER_STATUS_REJECTED


async def test_lists_page_newest_first_and_filter(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        for n in range(25):
            await it.trading.place(it.buy(100 + n, 1_000, client_order_id=f"p{n}"))
        for n in range(0, 25, 5):
            await it.trading.cancel("alice", client_order_id=f"p{n}")

        async def everything(open_only: bool, page_size: int) -> list[str]:
            found: list[str] = []
            token = ""
            while True:
                page = await it.history.list_orders("alice", open_only=open_only, page_size=page_size, page_token=token)
                assert len(page.items) <= page_size
                found += [order.client_order_id for order in page.items]
                token = page.next_page_token
                if not token:
                    return found

        newest_first = [f"p{n}" for n in reversed(range(25))]
        still_open = [name for name in newest_first if int(name[1:]) % 5]
        for page_size in (1, 7, 24, 25, 1000):
            assert await everything(False, page_size) == newest_first
            assert await everything(True, page_size) == still_open
        page = await it.history.list_orders("alice", instrument="internal:BTC/USDT", page_size=3)
        assert page.items[0].qty == 1_000
        assert (await it.history.list_orders("bob")).items == []
        with pytest.raises(NotFound):
            await it.history.list_orders("alice", instrument="internal:NO/USDT")
        token = (await it.history.list_orders("alice", page_size=3)).next_page_token
        for bad in ("x", "!!!", token[:-2], "b3JkZXJzOi0x"):
            with pytest.raises(InvalidRequest, match="page_token"):
                await it.history.list_fills("alice", page_token=bad)
        names = it.trading.list_accounts(page_size=1)
        assert [
            names.items[0].name,
            *(a.name for a in it.trading.list_accounts(page_token=names.next_page_token).items),
        ] == [
            "alice",
            "bob",
        ]


async def test_old_orders_leave_the_lists_but_not_the_memory(tmp_path: Path) -> None:
    limits = EngineLimits(max_orders=20_000, closed_orders=10, fills=10)
    async with house(tmp_path, limits=limits) as it:
        first = (await it.trading.place(it.buy(100, 1_000, client_order_id="first"))).order
        await it.trading.cancel("alice", order_id=first.order_id)
        kept = (await it.trading.place(it.buy(110, 1_000, client_order_id="kept"))).order
        for n in range(20):
            await it.trading.place(it.sell(200, 1_000, client_order_id=f"s{n}"))
            await it.trading.place(it.buy(200, 1_000, client_order_id=f"b{n}"))
        listed = [order.client_order_id for order in (await it.history.list_orders("alice")).items]
        assert "first" not in listed
        assert listed[-1] == "kept"
        assert len(listed) == 6
        assert len((await it.history.list_fills("alice")).items) + len((await it.history.list_fills("bob")).items) == 10
        assert it.trading.get_order("alice", order_id=first.order_id).status == OrderStatus.ORDER_STATUS_CANCELED
        again = await it.trading.place(it.buy(100, 1_000, client_order_id="first"))
        assert again.replayed
        assert again.order.create_ns == first.create_ns
        assert it.trading.get_order("alice", client_order_id="kept").order_id == kept.order_id


async def test_the_same_order_sent_many_times_in_parallel_is_one_order(tmp_path: Path) -> None:
    async def send_all(it: House, orders: int, copies: int) -> list[Outcome]:
        wanted = [
            it.buy(100 + n, 1_000, client_order_id=f"same-{n}") for n in range(orders) for _ in range(1 + n % copies)
        ]
        return list(await asyncio.gather(*(it.trading.place(order) for order in wanted)))

    async with house(tmp_path) as it:
        first = await send_all(it, 60, 10)
        assert sum(not answer.replayed for answer in first) == 60
        ids = {answer.order.client_order_id: answer.order.order_id for answer in first}
        assert all(ids[answer.order.client_order_id] == answer.order.order_id for answer in first)
    async with house(tmp_path) as it:
        assert all(answer.replayed for answer in await send_all(it, 60, 3))
        assert len((await it.history.list_orders("alice", page_size=1000)).items) == 60


async def test_money_moves_once_per_request(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        before = {each.asset.name: each.total for each in it.trading.list_balances("alice")}
        answers = await asyncio.gather(*(it.trading.adjust_balance("alice", "BTC", 500, "gift") for _ in range(10)))
        assert sorted(replayed for _, replayed in answers) == [False] + [True] * 9
        assert {balance.total for balance, _ in answers} == {before["BTC"] + 500}
        with pytest.raises(AlreadyExists):
            await it.trading.adjust_balance("alice", "BTC", 501, "gift")
        with pytest.raises(FailedPrecondition) as refused:
            await it.trading.adjust_balance("alice", "BTC", -(10**30), "too-much")
        assert refused.value.specific_reason == "INSUFFICIENT_BALANCE"
        with pytest.raises(NotFound):
            await it.trading.adjust_balance("alice", "DOGE", 1, "x")


async def test_accounts_are_made_once(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        made = await asyncio.gather(*(it.trading.catalogue.create_account(f"acc-{n % 5}", PAPER) for n in range(20)))
        assert len({account.number for account in made}) == 5
        assert all(account.create_ns > 0 for account in made)
        with pytest.raises(AlreadyExists):
            await it.trading.catalogue.create_account("acc-1", int(AccountMode.ACCOUNT_MODE_SIMULATION))
    async with house(tmp_path) as it:
        assert [it.trading.registry.account(f"acc-{n}") for n in range(5)] == sorted(set(made), key=lambda a: a.name)


def spot(name: str, tick: str, lot: str, fee: str = "10") -> Instrument:
    base, quote = name.split(":")[1].split("/")
    return Instrument(
        0,
        name,
        base,
        quote,
        InstrumentKind.SPOT,
        Decimal(tick),
        Decimal(lot),
        taker_fee_bps=Decimal(fee),
        tradable=True,
    )


async def test_instruments_keep_their_numbers_and_change_by_rule(tmp_path: Path) -> None:
    async with house(tmp_path, setup=Setup()) as it:
        define = it.trading.catalogue.define_instruments
        one, two = await define([spot("v:A/USD", "0.1", "0.00000001"), spot("v:B/USD", "0.1", "0.1")])
        assert (one.number, two.number) == (1, 2)
        done = it.trading.command_sequence
        assert await define([spot("v:A/USD", "0.1", "0.00000001")]) == [one]
        assert it.trading.command_sequence == done, "nothing new, nothing journaled"
        await it.trading.set_trading_status("v:B/USD", int(TradingStatus.TRADING_STATUS_HALTED))
        (dearer,) = await define([spot("v:B/USD", "0.1", "0.1", fee="20")])
        assert (dearer.number, dearer.taker_fee_bps) == (2, 20)
        assert it.engine.blotter.trading_status(2) == TradingStatus.TRADING_STATUS_HALTED, "a halt outlives new fees"
        (finer,) = await define([spot("v:A/USD", "0.01", "0.0000001")])
        assert finer.number == 3
        assert it.trading.registry.is_succeeded(1)
        (fine,) = await define([spot("v:C/USD", "0.0000001", "0.0000001")])
        assert fine.tradable, "whatever came before it"
        (too_fine,) = await define([spot("v:D/USD", "0.0000000001", "0.000000001")])
        assert not too_fine.tradable, "amounts have 18 decimals"
        instruments = list(it.trading.registry.instruments())
    async with house(tmp_path, setup=Setup()) as it:
        assert list(it.trading.registry.instruments()) == instruments
        (back,) = await it.trading.catalogue.define_instruments([spot("v:A/USD", "0.1", "0.00000001")])
        assert back.number == 1
        assert it.engine.blotter.trading_status(1) == TradingStatus.TRADING_STATUS_OPEN
        assert it.trading.registry.is_succeeded(3)
        assert not it.trading.registry.is_succeeded(1)


async def test_order_stream_tells_every_change_in_order(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        await it.trading.place(it.buy(100, 10_000, client_order_id="there"))
        stream = it.trading.subscribe_orders("alice")
        await it.trading.place(it.buy(101, 10_000, client_order_id="new"))
        await it.trading.place(it.sell(101, 4_000))
        await it.trading.cancel("alice", client_order_id="there")
        items = [await anext(stream) for _ in range(5)]
        assert items[0].event == Ack(resumed=False)
        snapshot = items[1].event
        assert isinstance(snapshot, OrdersSnapshot)
        assert [order.client_order_id for order in snapshot.orders] == ["there"]
        assert snapshot.is_last
        updates = [item.event for item in items[2:]]
        assert all(isinstance(update, OrderUpdate) for update in updates)
        told = [
            (u.order.client_order_id, u.order.status, u.fill and u.fill.qty)
            for u in updates
            if isinstance(u, OrderUpdate)
        ]
        new, partial, canceled = (
            OrderStatus.ORDER_STATUS_NEW,
            OrderStatus.ORDER_STATUS_PARTIALLY_FILLED,
            OrderStatus.ORDER_STATUS_CANCELED,
        )
        assert told == [("new", new, None), ("new", partial, 4_000), ("there", canceled, None)]
        assert [item.prev_sequence for item in items[1:]] == [item.sequence for item in items[:-1]]
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        await it.trading.going_away()
        assert isinstance((await waiting).event, Notice)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert not it.engine.log.streams


async def test_account_stream_ends_where_the_lists_are(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        stream = it.trading.subscribe_account("alice")
        await it.trading.place(it.buy(100, 10_000))
        await it.trading.place(it.sell(100, 10_000))
        assert (await anext(stream)).event == Ack(resumed=False)
        snapshot = (await anext(stream)).event
        assert isinstance(snapshot, AccountSnapshot)
        balances = {each.asset.name: each for each in snapshot.balances}
        positions = {}
        stream.end(Notice("enough"))
        async for item in stream:
            event = item.event
            if hasattr(event, "reserved"):
                balances[event.asset.name] = event
            elif hasattr(event, "realized_pnl"):
                positions[event.instrument.name] = event
        assert [balances[name] for name in sorted(balances)] == it.trading.list_balances("alice")
        assert list(positions.values()) == it.trading.list_positions("alice")


async def test_streams_resume_without_a_gap_also_after_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        stream = it.trading.subscribe_orders("alice")
        for n in range(10):
            await it.trading.place(it.buy(100 + n, 1_000, client_order_id=f"r{n}"))
        full = [await anext(stream) for _ in range(12)]
        stream.close()
        for cut in (1, 2, 6, 11):
            at = StreamPosition(it.trading.epoch, full[cut].sequence)
            resumed = it.trading.subscribe_orders("alice", at)
            assert (await anext(resumed)).event == Ack(resumed=True)
            expected = full[cut + 1 :] if cut else full[2:]
            assert [await anext(resumed) for _ in expected] == expected
            resumed.close()
    async with house(tmp_path) as it:
        resumed = it.trading.subscribe_orders("alice", StreamPosition(it.trading.epoch, full[6].sequence))
        assert (await anext(resumed)).event == Ack(resumed=True)
        assert [await anext(resumed) for _ in range(5)] == full[7:]
        for wrong in (StreamPosition("other", 3), StreamPosition(it.trading.epoch, 10**9)):
            fresh = it.trading.subscribe_orders("alice", wrong)
            assert (await anext(fresh)).event == Ack(resumed=False)
            assert isinstance((await anext(fresh)).event, Gap)
            assert isinstance((await anext(fresh)).event, OrdersSnapshot)


async def test_a_slow_reader_is_ended_and_told_and_the_log_stays_bounded(tmp_path: Path) -> None:
    limits = EngineLimits(max_orders=20_000, stream_log_bytes=64 * 256)
    async with house(tmp_path, limits=limits) as it:
        slow, idle = it.trading.subscribe_orders("alice"), it.trading.subscribe_orders("bob")
        for _ in range(2):
            await anext(slow), await anext(idle)
        waiting = asyncio.create_task(anext(idle))
        await asyncio.sleep(0)
        start = it.engine.log.last_sequence
        for n in range(100):
            await it.trading.place(it.buy(100, 1_000, client_order_id=f"x{n}"))
        with pytest.raises(SlowConsumer, match="behind"):
            _ = [item async for item in slow]
        stale = it.trading.subscribe_orders("alice", StreamPosition(it.trading.epoch, start))
        assert (await anext(stale)).event == Ack(resumed=False)
        assert isinstance((await anext(stale)).event, Gap)
        # bob's stream had nothing to read all the while: it is not behind.
        await it.trading.place(it.sell(500, 1_000, client_order_id="s"))
        event = (await waiting).event
        assert isinstance(event, OrderUpdate)
        assert event.order.client_order_id == "s"


async def test_silent_streams_beat_and_can_resume_from_the_beat(tmp_path: Path) -> None:
    limits, clock = EngineLimits(max_orders=20_000, heartbeat_s=10), ManualClock(1)
    async with house(tmp_path, limits=limits, clock=clock) as it:
        stream = it.trading.subscribe_orders("bob")
        await anext(stream), await anext(stream)
        await it.trading.place(it.buy(100, 1_000))
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        clock.advance(9_999_999_999)
        await asyncio.sleep(0)
        assert not reading.done()
        clock.advance(1)
        beat = await reading
        assert beat.event == Heartbeat()
        assert beat.sequence == it.engine.log.last_sequence


async def test_the_queue_is_bounded_and_refuses_at_once(tmp_path: Path) -> None:
    limits = EngineLimits(max_orders=20_000, queue_commands=10, batch_commands=10)
    async with house(tmp_path, limits=limits) as it:
        tasks = [
            asyncio.ensure_future(it.trading.place(it.buy(100, 1_000, client_order_id=f"q{n}"))) for n in range(25)
        ]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Outcome] * 10 + [QueueFull] * 15
        assert len((await it.history.list_orders("alice")).items) == 10
        with pytest.raises(InvalidRequest, match="1 to 10 of them, not 11"):
            it.runner.submit(bytes(192 * 11))
        with pytest.raises(ValueError, match="no whole number"):
            it.runner.submit(bytes(191))


async def test_a_stop_answers_what_is_queued_and_refuses_the_rest(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        waiting = [
            asyncio.ensure_future(it.trading.place(it.buy(100, 1_000, client_order_id=f"w{n}"))) for n in range(200)
        ]
        await asyncio.sleep(0)
        await it.runner.stop()
        assert all(isinstance(answer, Outcome) for answer in await asyncio.gather(*waiting))
        with pytest.raises(ShuttingDown):
            await it.trading.place(it.buy(100, 1_000))
    async with house(tmp_path) as it:
        assert len((await it.history.list_orders("alice", page_size=1000)).items) == 200


async def test_a_caller_that_gave_up_does_not_disturb_the_others(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        tasks = [
            asyncio.ensure_future(it.trading.place(it.buy(100, 1_000, client_order_id=f"g{n}"))) for n in range(20)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        assert all(isinstance(answer, Outcome) for answer in await asyncio.gather(*tasks[1::2]))
        assert len((await it.history.list_orders("alice")).items) == 20, "what was sent happens all the same"
