"""The fast exchange against its naive twin: the same commands, and everything one can see equal after every step."""

from __future__ import annotations

import pytest

from fastpath.exchange import Exchange
from tests.conftest import SOAK_FACTOR
from tests.reference.exchange_pair import Generator, Pair, setup_commands

COMMANDS = 1_500


@pytest.mark.parametrize("seed", range(6 * SOAK_FACTOR))
def test_fast_and_naive_agree_after_every_command(seed: int) -> None:
    pair = Pair()
    for command in setup_commands():
        pair.apply(command)
    generator = Generator(seed, pair.twin)
    while pair.seq < COMMANDS:
        for command in generator.command(pair.seq):
            pair.apply(command)
    replayed = Exchange(max_orders=100_000, max_open_orders=10_000, max_instruments=16, max_accounts=16, max_assets=16)
    replayed.apply(pair.journal)
    assert replayed.state_hash() == pair.core.state_hash()
