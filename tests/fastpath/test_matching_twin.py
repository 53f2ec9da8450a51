"""The compiled matching engine against its naive twin: seeded floods of random commands, and a state machine.

Every command's reports are compared. The state machine compares everything visible after every step too, the floods the
state hash after each batch of STEP commands and everything after each 16 batches.
`FLOOD_SEED=n` runs one seed; TRADEWIND_SOAK multiplies the seeds.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastpath.model.enums import SelfTradePrevention, TimeInForce
from fastpath.standalone.matching_engine import EngineFlag, EngineOp
from tests.reference.book_twin import BUY, INT64_MAX, INT64_MIN, SELL, Command
from tests.reference.engine_pair import EnginePair

SOAK_FACTOR = int(os.environ.get("TRADEWIND_SOAK", "1"))
STEP = 64
GTC, IOC, FOK = (
    int(tif) for tif in (TimeInForce.TIME_IN_FORCE_GTC, TimeInForce.TIME_IN_FORCE_IOC, TimeInForce.TIME_IN_FORCE_FOK)
)
PLAIN_FLAGS = [0, 0, 0, 0, 0, 0]
FLAGS = [
    *PLAIN_FLAGS,
    *(
        int(flag)
        for flag in (
            EngineFlag.ENGINE_POST_ONLY,
            EngineFlag.ENGINE_POST_ONLY_SLIDE,
            EngineFlag.ENGINE_HIDDEN,
            EngineFlag.ENGINE_MARKET,
            EngineFlag.ENGINE_MARKET_TO_LIMIT,
        )
    ),
]
STP_MODES = [int(mode) for mode in SelfTradePrevention]


@dataclass(frozen=True)
class Market:
    """How prices and quantities of a flood are drawn."""

    name: str
    ids: int
    spread: int
    drift: int = 0
    outliers: float = 0.0
    max_qty: int = 20
    id_of: Callable[[int], int] = int

    def prices(self, rng: random.Random) -> PriceSource:
        return PriceSource(self, rng)


class PriceSource:
    def __init__(self, market: Market, rng: random.Random) -> None:
        self.market, self.rng, self.centre = market, rng, 0

    def __call__(self, side: int) -> int:
        rng = self.rng
        if rng.random() < self.market.outliers:
            return rng.choice([INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX, rng.getrandbits(63)])
        self.centre += rng.randint(-self.market.drift, self.market.drift)
        away = rng.randint(-self.market.spread // 4 - 1, self.market.spread)
        price = self.centre - away if side == BUY else self.centre + away
        return max(INT64_MIN, min(INT64_MAX, price))


def crowding(number: int) -> int:
    """Ids of which all choose the same two slots of a small engine (`id_slot` in pool.pxd): the others are turned away."""
    block, low_bits = number + 1, 12
    return block << low_bits | ((number % 2 - (block * 0x9E3779B97F4A7C15 % 2**64 >> 64 - low_bits)) % 2**low_bits)


MARKETS = [
    Market("tight", ids=40, spread=4),
    Market("deep", ids=250, spread=300),
    Market("swing", ids=120, spread=2_000, drift=3_000),
    Market("wide", ids=120, spread=10_000_000, drift=100_000),
    Market("extreme", ids=40, spread=3, outliers=0.3),
    Market("huge quantities", ids=30, spread=3, max_qty=2**62),
    Market("crowded ids", ids=60, spread=10, id_of=crowding),
]


def random_command(rng: random.Random, market: Market, price_of: PriceSource) -> Command:
    op = rng.choices(list(EngineOp), weights=[10, 2, 2, 3, 3])[0]
    side = rng.choice((BUY, SELL))
    price = price_of(side)
    qty = rng.randint(1, market.max_qty)
    order_id = rng.randint(1, market.ids)
    if op is EngineOp.ENGINE_NEW and rng.random() < 0.5:  # most ids in use: give one that may be free better odds
        order_id = rng.randint(market.ids, 2 * market.ids)
    order_id = market.id_of(order_id)
    instrument = rng.choice((0, 2)) if rng.random() < 0.1 else 1
    roll = rng.random()
    if roll < 0.01:  # malformed
        qty = rng.choice((0, -1, INT64_MIN, INT64_MAX))
    elif roll < 0.015:
        order_id = rng.choice((0, order_id))
        op_or_not = rng.choice((rng.randint(0, 255), *map(int, EngineOp)))
        return Command(op_or_not, rng.randint(0, 3), 1, 0, rng.randint(0, 3), order_id, price, qty)
    command = Command(int(op), side, GTC, 0, instrument, order_id, price, qty)
    if op is EngineOp.ENGINE_NEW:
        tif = rng.choices((GTC, IOC, FOK), weights=[8, 1, 1])[0]
        command = command._replace(time_in_force=tif, flags=rng.choice(FLAGS))
    elif rng.random() < 0.1:
        command = command._replace(flags=rng.choice(FLAGS[len(PLAIN_FLAGS) :][:2]))
    if rng.random() < 0.4:
        command = command._replace(
            owner=rng.randint(0, 2),
            stp_mode=rng.choice(STP_MODES),
            min_qty=rng.choice((0, 0, 0, rng.randint(0, max(1, qty)))),
            display_qty=rng.choice((0, 0, rng.randint(1, max(1, qty)))),
        )
    return command


def flood(market: Market, seed: int, commands: int) -> None:
    rng = random.Random(seed)
    price_of = market.prices(rng)
    pair = EnginePair(max_orders=market.ids * 3 // 4, instruments=(0, 1, 2))
    for start in range(0, commands, STEP):
        try:
            pair.submit(*(random_command(rng, market, price_of) for _ in range(STEP)))
            pair.compare_hash()
            if start % (STEP * 16) == 0:
                pair.compare()
        except AssertionError as broken:
            raise AssertionError(f"{market.name}, seed {seed}, near command {start}: FLOOD_SEED={seed}") from broken
    pair.compare()


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_a_flood_of_random_commands_equals_the_twin(market: Market, tally: Callable[[str, int], None]) -> None:
    chosen = os.environ.get("FLOOD_SEED")
    seeds = [int(chosen)] if chosen else range(1, 1 + SOAK_FACTOR)
    for seed in seeds:
        commands = int(os.environ.get("FLOOD_COMMANDS", "72000"))
        flood(market, seed, commands)
        tally("random commands, matching engine against its twin", commands)


prices = st.one_of(
    st.integers(-3, 3), st.integers(-300, 300), st.sampled_from([INT64_MIN, INT64_MIN + 1, INT64_MAX - 1, INT64_MAX])
)
ids = st.integers(1, 8)
quantities = st.one_of(st.integers(1, 10), st.sampled_from([0, -1, 2**62, INT64_MAX]))


class EngineAgainstTwin(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pair = EnginePair(max_orders=6)

    @rule(
        id=ids, side=st.sampled_from([BUY, SELL]), time_in_force=st.sampled_from([GTC, IOC, FOK]), price=prices,
        qty=quantities, flags=st.sampled_from(sorted(set(FLAGS))), owner=st.integers(0, 2),
        stp_mode=st.sampled_from(STP_MODES), min_qty=st.integers(0, 4), display_qty=st.integers(0, 3),
    )  # fmt: skip
    def new(self, **fields: int) -> None:
        self.pair.submit(Command(EngineOp.ENGINE_NEW, **fields))

    @rule(id=ids, side=st.sampled_from([BUY, SELL]), price=prices, qty=st.integers(1, 10))
    def plain(self, **fields: int) -> None:
        self.pair.submit(Command(EngineOp.ENGINE_NEW, time_in_force=GTC, **fields))

    @rule(id=ids)
    def cancel(self, id: int) -> None:
        self.pair.cancel(id)

    @rule(id=ids, qty=quantities)
    def reduce(self, **fields: int) -> None:
        self.pair.submit(Command(EngineOp.ENGINE_REDUCE, **fields))

    @rule(id=ids, price=prices, qty=quantities, flags=st.sampled_from(FLAGS[-5:-3]), min_qty=st.integers(0, 2))
    def modify(self, **fields: int) -> None:
        self.pair.submit(Command(EngineOp.ENGINE_MODIFY, **fields))

    @rule(id=ids, price=prices)
    def move(self, **fields: int) -> None:
        self.pair.submit(Command(EngineOp.ENGINE_MOVE, **fields))

    @invariant()
    def same(self) -> None:
        self.pair.compare()


EngineAgainstTwin.TestCase.settings = settings(
    max_examples=60 * SOAK_FACTOR, stateful_step_count=60, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
TestEngineAgainstTwin = EngineAgainstTwin.TestCase
