"""The hash index and the heap against a dict, a step at a time, with the keys that suit them least."""

from __future__ import annotations

import os
import random
from types import ModuleType

import pytest

SEEDS = range(3 * int(os.environ.get("TRADEWIND_SOAK", "1")))
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
UINT32_MAX = 0xFFFFFFFF


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("different", [1, 40, UINT32_MAX])
def test_the_hash_index_finds_every_row_of_a_hash_however_often_it_has_grown(
    structures: ModuleType, seed: int, different: int
) -> None:
    rng = random.Random(seed)
    index, twin = structures.HashIndex(), {}
    # Hashes at the end of the table go on at its start, wherever that is after it has grown.
    drawn = [UINT32_MAX - rng.randrange(3) if rng.random() < 0.2 else rng.randrange(1 << 32) for _ in range(3000)]
    for row, hash in enumerate(drawn[at % different] for at in range(len(drawn))):
        if different == 1 and row == 1200:
            break  # one chain of all rows: every look at it reads them all
        assert index.rows(hash) == [] or hash in twin
        index.insert(hash, row)
        twin.setdefault(hash, set()).add(row)
        assert row in index.rows(hash)
        assert index.cells >= 2 * (row + 1), "at most half full"
    for hash, rows in twin.items():
        found = index.rows(hash)
        assert len(found) == len(rows)
        assert set(found) == rows
    absent = [hash for hash in (rng.randrange(1 << 32) for _ in range(500)) if hash not in twin]
    assert absent
    assert not any(index.rows(hash) for hash in absent)


@pytest.mark.once
def test_the_hash_index_keeps_the_largest_row_and_the_smallest_hash(structures: ModuleType) -> None:
    index = structures.HashIndex()
    assert index.rows(0) == index.rows(UINT32_MAX) == []
    index.insert(0, UINT32_MAX - 1)
    index.insert(UINT32_MAX, 0)
    index.insert(0, 0)
    assert (index.rows(0), index.rows(UINT32_MAX)) == ([UINT32_MAX - 1, 0], [0])


class HeapTwin:
    """Two dicts: slot -> (key, number)."""

    def __init__(self) -> None:
        self.items: list[dict[int, tuple[int, int]]] = [{}, {}]

    def first(self, which: int) -> tuple[int, int, int] | None:
        return min(((*rank, slot) for slot, rank in self.items[which].items()), default=None)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "keys", [(0,), (INT64_MIN, -1, 0, 1, INT64_MAX), range(1000)], ids=["equal", "extreme", "mixed"]
)
def test_heaps_that_share_places_give_the_oldest_of_the_smallest_keys(
    structures: ModuleType, seed: int, keys: tuple[int, ...]
) -> None:
    rng = random.Random(seed)
    slots = 400
    heaps, twin = structures.Heaps(slots), HeapTwin()
    free = list(range(slots))
    number = 0
    for step in range(3000):
        which = rng.randrange(2)
        held = twin.items[which]
        filling = step % 1500 < 700
        if free and rng.random() < (0.8 if filling else 0.2):
            slot = free.pop(rng.randrange(len(free)))
            number += 1
            key = rng.choice(keys)
            heaps.push(which, key, number, slot)
            held[slot] = (key, number)
        elif held:
            first = twin.first(which)
            assert first is not None
            slot = first[2] if rng.random() < 0.5 else rng.choice(list(held))
            heaps.remove(which, slot)
            del held[slot]
            free.append(slot)
        if step % 400 == 0:
            held.update({slot: (rng.choice(keys), age) for slot, (_, age) in held.items()})
            heaps.rebuild(which, {slot: key for slot, (key, _) in held.items()})
        assert (heaps.first(0), heaps.first(1)) == (twin.first(0), twin.first(1))
        assert heaps.lost(which) == []
    assert heaps.held() == {*twin.items[0], *twin.items[1]}


@pytest.mark.once
@pytest.mark.parametrize("order", ["as they came", "backwards", "the middle first"])
def test_a_heap_is_emptied_in_any_order(structures: ModuleType, order: str) -> None:
    count = 130  # beyond two sizes of its memory
    heaps = structures.Heaps(count)
    for slot in range(count):
        heaps.push(0, -slot, slot, slot)
    leaving = list(range(count))
    if order == "backwards":
        leaving.reverse()
    elif order == "the middle first":
        leaving.sort(key=lambda slot: abs(slot - count // 2))
    left = set(leaving)
    for slot in leaving:
        assert heaps.first(0) == (-max(left), max(left), max(left))
        heaps.remove(0, slot)
        left.discard(slot)
        assert heaps.held() == left
        assert heaps.lost(0) == []
    assert heaps.first(0) is None
