"""A saved exchange is the exchange: after loading, the same commands give the same events, byte for byte."""

from __future__ import annotations

import random
import struct

import pytest

from fastpath.exchange.exchange import Exchange
from tests.conftest import SOAK_FACTOR
from tests.reference.exchange_pair import Generator, Pair, setup_commands

RECORD = 192
COMMANDS = 2_000


def exchange(max_orders: int = 100_000, max_open_orders: int = 10_000, max_accounts: int = 16) -> Exchange:
    return Exchange(max_orders=max_orders, max_open_orders=max_open_orders, max_instruments=16,
                    max_accounts=max_accounts, max_assets=16)  # fmt: skip


def journal(seed: int) -> list[bytes]:
    """Commands of every kind; the twin only tells the generator what there is."""
    pair = Pair()
    for command in setup_commands():
        pair.apply(command, look=False)
    generator = Generator(seed, pair.open_ids)
    while pair.seq < COMMANDS:
        for command in generator.command(pair.seq):
            pair.apply(command, look=False)
    return [pair.journal[at : at + RECORD] for at in range(0, len(pair.journal), RECORD)]


@pytest.mark.parametrize("seed", range(3 * SOAK_FACTOR))
def test_a_loaded_exchange_goes_on_as_the_saved_one(seed: int) -> None:
    rng = random.Random(seed)
    original = exchange()
    copies: list[Exchange] = []
    for command in journal(seed):
        events = original.apply(command)
        assert all(copy.apply(command) == events for copy in copies)
        if rng.random() < 0.02:
            copy = exchange()
            copy.load(original.save())
            copy.validate()
            assert copy.state_hash() == original.state_hash()
            assert (copy.last_seq, copy.event_seq) == (original.last_seq, original.event_seq)
            assert (copy.next_timer_ns, copy.next_arrival_ns) == (original.next_timer_ns, original.next_arrival_ns)
            copies = [*copies[-3:], copy]
    assert {copy.state_hash() for copy in copies} == {original.state_hash()}
    for copy in copies:
        copy.validate()


def test_larger_bounds_take_it_and_smaller_ones_say_which_is_too_small() -> None:
    original = exchange()
    original.apply(b"".join(journal(7)))
    saved = original.save()
    larger = exchange(max_orders=200_000, max_open_orders=30_000, max_accounts=5_000)
    larger.load(saved)
    assert larger.state_hash() == original.state_hash()
    larger.validate()
    for smaller in (exchange(max_orders=10), exchange(max_open_orders=3), exchange(max_accounts=1)):
        empty = smaller.state_hash()
        with pytest.raises(ValueError, match="limit"):
            smaller.load(saved)
        assert smaller.state_hash() == empty, "as it was"


def test_other_bytes_are_refused_and_change_nothing() -> None:
    original = exchange()
    original.apply(b"".join(journal(8)[:500]))
    before, saved = original.state_hash(), original.save()
    rng = random.Random(1)
    broken = [b"", b"x", saved[:15], b"y" * 100, saved + b"z", saved[:8] + b"\x09" + saved[9:]]
    broken += [saved[: rng.randrange(len(saved))] for _ in range(200)]
    for each in broken:
        with pytest.raises(ValueError, match=r"snapshot|section"):
            original.load(each)
    assert original.state_hash() == before


def test_a_ledger_that_does_not_sum_to_zero_is_noticed() -> None:
    original = exchange()
    original.apply(b"".join(journal(9)[:500]))
    assert original.unbalanced_assets() == 0
    _, total, reserved = max(original.balances(2), key=lambda balance: balance[1])
    row, other = (struct.pack("<qqqq", units, 0, reserved, 0) for units in (total, total + 1))
    saved = original.save()
    assert saved.count(row) == 1
    original.load(saved.replace(row, other))
    assert original.unbalanced_assets() == 1
    with pytest.raises(AssertionError, match="sum to 0"):
        original.validate()
