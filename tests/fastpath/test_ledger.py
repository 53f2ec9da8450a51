"""The ledger against dicts of Python integers: money up to its bounds, positions at average cost, full and reopened."""

from __future__ import annotations

import os
import random
from types import ModuleType

import pytest

from tests.reference.exchange.ledger import average_cost
from tests.reference.exchange.orders import (
    BUY,
    FEES,
    MAX_MONEY,
    MAX_NARROW,
    MAX_SUPPLY,
    OUTSIDE,
    SELL,
    Position,
    toward_zero,
)

SEEDS = range(3 * int(os.environ.get("TRADEWIND_SOAK", "1")))
NO_ROW = 0xFFFFFFFF
ACCOUNTS = (OUTSIDE, FEES, 1, 2, 10)
"""Of a ledger for ten accounts."""
ASSETS = (0, 1, 0xFFFFFFFF)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
def test_money_only_moves_and_each_asset_sums_to_zero(structures: ModuleType, seed: int, wide: bool) -> None:
    rng = random.Random(seed)
    ledger = structures.Ledger(10, len(ACCOUNTS) * len(ASSETS))
    totals, reserved, before = dict[int, int](), dict[int, int](), dict[int, tuple[int, int]]()
    rows = {(account, asset): ledger.balance(account, asset) for account in ACCOUNTS for asset in ASSETS}
    assert sorted(rows.values()) == list(range(len(rows)))
    totals, reserved = dict.fromkeys(rows.values(), 0), dict.fromkeys(rows.values(), 0)
    bound = MAX_MONEY if wide else MAX_NARROW
    supply = MAX_SUPPLY if wide else MAX_NARROW
    amounts = (0, 1, (1 << 63) - 1, 1 << 63, 1 << 64, bound - 1, bound, bound + 1, supply, supply + 1, -1)
    refused = 0
    for step in range(3000):
        source, target = rng.sample(ACCOUNTS, 2)
        asset = rng.choice(ASSETS)
        give, take = rows[source, asset], rows[target, asset]
        amount = rng.choice(amounts) if rng.random() < 0.5 else rng.randrange(bound)
        most = supply if target in (OUTSIDE, FEES) else bound
        may = 0 <= amount <= most and totals[give] - amount >= -supply and totals[take] + amount <= most
        assert ledger.can_move(wide, give, take, amount) == may
        refused += not may
        if may:
            for row in (give, take):
                before.setdefault(row, (totals[row], reserved[row]))
            totals[give] -= amount
            totals[take] += amount
            ledger.move(give, take, amount)
        held = rng.randrange(-reserved[take], bound)
        if held != 0 and reserved[take] + held <= bound:
            before.setdefault(take, (totals[take], reserved[take]))
            reserved[take] += held
            ledger.reserve(take, held)
        ledger.reserve(give, 0)  # changes nothing, and says so
        if step % 5 == 0:
            assert ledger.end_command() == ([(row, *amounts) for row, amounts in before.items()], [])
            before.clear()
    for (account, asset), row in rows.items():
        assert ledger.amounts(row) == (account, asset, totals[row], reserved[row])
        assert ledger.free_amount(row) == totals[row] - reserved[row]
    for asset in ASSETS:
        assert sum(ledger.amounts(rows[account, asset])[2] for account in ACCOUNTS) == 0
    assert 0 < refused < 3000


BASE_LOTS = {1: 10**10, 2: 10**13, 3: 7}
"""Units of a lot by instrument; all of one base and one quote asset."""


def check_position(ledger: object, row: int, instrument: int, position: Position) -> None:
    lot = BASE_LOTS[instrument]
    whole = toward_zero(position.units, lot)
    assert ledger.held(row, lot) == (  # type: ignore[attr-defined]
        position.units,
        max(-(1 << 63), min((1 << 63) - 1, whole)),
        position.cost,
        position.realized_pnl,
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("largest", [5, 10**6, 1 << 62], ids=["few lots", "many lots", "as many as there are"])
def test_positions_stand_at_average_cost_through_trades_and_mergers(
    structures: ModuleType, seed: int, largest: int
) -> None:
    rng = random.Random(seed)
    ledger = structures.Ledger(10, 100)
    rows = {number: ledger.position(1, number, 5, 6) for number in BASE_LOTS}
    twins = {number: Position() for number in BASE_LOTS}
    for _ in range(1500):
        number = rng.choice(list(BASE_LOTS))
        lots = rng.choice((1, largest, rng.randrange(1, largest + 1)))
        side = rng.choice((BUY, SELL))
        if rng.random() < 0.05:
            other = rng.choice([one for one in BASE_LOTS if one != number])
            moved = twins[other]
            factor = rng.choice((1, 10)) if max(abs(moved.cost), abs(moved.realized_pnl)) < MAX_MONEY >> 4 else 1
            merge(twins[other], twins[number], factor)
            ledger.merge(rows[other], BASE_LOTS[other], rows[number], BASE_LOTS[number], factor)
            check_position(ledger, rows[other], other, twins[other])
        elif abs(twins[number].units) < largest * BASE_LOTS[number]:
            notional = rng.choice((0, 1, lots, lots * rng.randrange(1, 1000)))
            average_cost(twins[number], side, lots * BASE_LOTS[number], notional)
            ledger.execute(rows[number], side, lots, BASE_LOTS[number], notional)
        check_position(ledger, rows[number], number, twins[number])
    changed = ledger.end_command()[1]
    assert sorted(changed) == sorted(rows.values())


def merge(source: Position, target: Position, factor: int) -> None:
    """All of one position becomes a trade of the other at what it cost."""
    if source.units:
        side = BUY if source.units > 0 else SELL
        cost = source.cost * factor * (1 if source.units > 0 else -1)
        average_cost(target, side, abs(source.units), cost)
    target.realized_pnl += source.realized_pnl * factor
    source.units = source.cost = source.realized_pnl = 0


@pytest.mark.once
def test_a_closed_position_keeps_nothing_of_its_cost(structures: ModuleType) -> None:
    ledger = structures.Ledger(10, 100)
    row = ledger.position(1, 1, 5, 6)
    ledger.execute(row, BUY, 3, 1, 10)
    for _ in range(3):
        ledger.execute(row, SELL, 1, 1, 4)
    assert ledger.held(row, 1) == (0, 0, 0, 2)
    ledger.execute(row, SELL, 2, 1, 9)
    ledger.execute(row, BUY, 5, 1, 10)  # 2 of them close what was sold
    assert ledger.held(row, 1) == (3, 3, 6, 2 + 9 - 4)


@pytest.mark.once
def test_a_full_ledger_finds_what_it_has_and_makes_no_more(structures: ModuleType) -> None:
    ledger = structures.Ledger(10, 3)
    assert ledger.find_position(1, 1) == NO_ROW
    position = ledger.position(1, 1, 5, 6)
    assert (position, ledger.rows_of(1)) == (0, ([1, 0], [0]))
    fees = ledger.balance(FEES, 5)
    assert fees == 2
    assert ledger.balance(OUTSIDE, 5) == NO_ROW
    assert ledger.position(2, 1, 5, 6) == ledger.find_position(2, 1) == NO_ROW
    assert ledger.rows_of(2) == ledger.rows_of(OUTSIDE) == ([], [])
    assert (ledger.position(1, 1, 5, 6), ledger.balance(1, 5), ledger.balance(1, 6)) == (0, 0, 1)
    assert (ledger.balance(FEES, 5), ledger.rows_of(FEES)) == (fees, ([fees], []))
    assert [ledger.position(1, number, 5, 6) for number in (2, 65535, 3)] == [1, 2, NO_ROW], (
        "positions have rows of their own"
    )
    assert ledger.rows_of(1) == ([1, 0], [2, 1, 0])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ledger_of_thousands_of_rows_is_the_same_when_it_is_reopened(structures: ModuleType, seed: int) -> None:
    rng = random.Random(seed)
    ledger = structures.Ledger(2000, 6000)
    balances, positions = dict[tuple[int, int], int](), dict[tuple[int, int], int]()
    for _ in range(3000):
        account = rng.choice((OUTSIDE, FEES, 2000, rng.randrange(1, 2001)))
        if rng.random() < 0.5:
            asset = rng.randrange(4)
            row = ledger.balance(account, asset)
            assert balances.setdefault((account, asset), row) == row
            other = balances.setdefault((OUTSIDE, asset), ledger.balance(OUTSIDE, asset))
            ledger.move(other, row, rng.choice((1, 1 << 70)))
        else:
            number = rng.randrange(1, 9)
            row = ledger.position(account, number, 5, 6)
            assert positions.setdefault((account, number), row) == row
            balances.setdefault((account, 5), ledger.balance(account, 5))
            balances.setdefault((account, 6), ledger.balance(account, 6))
            ledger.execute(row, BUY, rng.randrange(1, 1 << 40), 10, rng.randrange(1 << 40))
            if rng.random() < 0.1:
                # Whose lots do not divide those of the others, so that something is left over.
                odd = positions[account, 9] = ledger.position(account, 9, 5, 6)
                ledger.merge(row, 10, odd, 7, 1)
    assert len(set(balances.values())) == len(balances)
    assert len(set(positions.values())) == len(positions)
    ledger.end_command()
    again = ledger.reopened()
    assert hash(again) == hash(ledger)
    for (account, asset), row in balances.items():
        assert again.balance(account, asset) == row
        assert again.amounts(row) == ledger.amounts(row)
    for (account, number), row in positions.items():
        assert again.find_position(account, number) == row
        assert again.held(row, 7) == ledger.held(row, 7)
    for account in {account for account, _ in balances}:
        chains = [sorted((row for (owner, _), row in rows.items() if owner == account), reverse=True)
                  for rows in (balances, positions)]  # fmt: skip
        assert [*ledger.rows_of(account)] == [*again.rows_of(account)] == chains
    again.reserve(0, 1)
    assert hash(again) != hash(ledger)
