"""What positions at mirrored venues are worth, told to the engine although no order is open there."""

from __future__ import annotations

from pathlib import Path

from server.base.clock import ManualClock
from server.market.model import FeedState
from server.venues.valuation_source import INTERVAL_NS, VALID_NS
from tests.support.engine import BUY, IOC, SELL, house
from tests.support.paper import Market, market

START_NS = 1_700_000_000_000_000_000


def valuation(it: Market) -> tuple[int, bool]:
    return it.house.engine.exchange.valuation(it.instrument.number, it.clock.now_ns())


async def trade(it: Market, side: int) -> None:
    """Buy or sell 10,000 lots at once: no order stays open."""
    it.book([(99, 50_000)], [(101, 50_000)])
    await it.house.trading.place(it.order(side, 101 if side == BUY else 99, 10_000, IOC))


async def commands_in(it: Market, time_ns: int = INTERVAL_NS) -> int:
    """How many commands are carried out while so much time passes."""
    before = it.house.engine.command_sequence
    await it.pass_time(time_ns)
    return it.house.engine.command_sequence - before


async def test_a_position_without_open_orders_is_told_the_newest_price_once_a_second(tmp_path: Path) -> None:
    async with market(tmp_path, clock=ManualClock(START_NS)) as it:
        it.quote(109, 111)
        assert await commands_in(it) == 0, "nobody has a position"
        await trade(it, BUY)
        await it.pass_time(INTERVAL_NS)
        assert valuation(it) == (100_00, False), "the quote from before the position"
        it.quote(109, 111)
        await it.pass_time(INTERVAL_NS)
        assert valuation(it) == (110_00, False)
        for bid in (120, 130, 140):
            it.quote(bid, bid + 2)
            await it.pass_time(INTERVAL_NS // 4)
            assert valuation(it) == (121_00, False), "the first at once, the others not yet"
        assert await commands_in(it) == 1, "the last of them"
        assert valuation(it) == (141_00, False)
        it.quote(140, 142)
        assert await commands_in(it) == 0, "it has not moved"
        await trade(it, SELL)
        it.quote(150, 152)
        await it.pass_time(INTERVAL_NS)
        assert valuation(it) == (141_00, False), "the position is gone"


async def test_a_price_is_stale_when_its_feed_falls_silent_and_not_while_it_is_alive(tmp_path: Path) -> None:
    async with market(tmp_path, clock=ManualClock(START_NS)) as it:
        await trade(it, BUY)
        it.quote(109, 111)
        await it.pass_time(INTERVAL_NS)
        for _ in range(8):
            it.quote(109, 111)
            await it.pass_time(VALID_NS // 4)
            assert valuation(it) == (110_00, False)
        it.book([], [], FeedState.STALE)
        await it.pass_time(VALID_NS)
        assert valuation(it) == (110_00, True)


async def test_a_price_survives_a_restart_and_is_part_of_the_state(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    async with market(tmp_path, clock=clock) as it:
        await trade(it, BUY)
        unpriced = it.house.engine.exchange.state_hash()
        it.quote(109, 111)
        await it.pass_time(INTERVAL_NS)
        told, priced = valuation(it), it.house.engine.exchange.state_hash()
        assert priced != unpriced
    async with house(tmp_path, clock=clock) as again:
        assert again.engine.exchange.state_hash() == priced
        assert again.engine.exchange.valuation(it.instrument.number, clock.now_ns()) == told


async def test_prices_are_taken_back_when_their_source_fails(tmp_path: Path) -> None:
    async with market(tmp_path, clock=ManualClock(START_NS)) as it:
        await trade(it, BUY)
        it.quote(109, 111)
        await it.pass_time(INTERVAL_NS)
        assert valuation(it) == (110_00, False)
        await it.house.runner.submit(it.valuations.withdraw())
        assert valuation(it)[0] != 110_00
