"""The fast exchange against its naive twin: the same commands, the same events after every one, and the same state."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastpath.exchange.exchange import Exchange
from tests.conftest import SOAK_FACTOR
from tests.reference.exchange_pair import Generator, Pair, setup_commands

SEEDS, COMMANDS = 30, 2_000


@pytest.mark.parametrize("seed", range(SEEDS * SOAK_FACTOR))
def test_fast_and_naive_agree_after_every_command(seed: int, tally: Callable[[str, int], None]) -> None:
    pair = Pair()
    for command in setup_commands():
        pair.apply(command)
    generator = Generator(seed, pair.open_ids)
    while pair.seq < COMMANDS:
        for command in generator.command(pair.seq):
            pair.apply(command)
    replayed = Exchange(max_orders=100_000, max_open_orders=10_000, max_instruments=16, max_accounts=16, max_assets=16)
    replayed.apply(pair.journal)
    assert replayed.state_hash() == pair.core.state_hash()
    tally("random commands, exchange against its twin", pair.seq)
