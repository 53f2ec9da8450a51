"""The parts of a book, each against a naive twin: the pool and its ids, one side, and its pages away from the touch."""

from __future__ import annotations

import bisect
import os
import random
from collections import Counter
from collections.abc import Callable
from types import ModuleType

import pytest

SEEDS = range(3 * int(os.environ.get("TRADEWIND_SOAK", "1")))
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
EXTREME = (INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX)
NIL = 0


def check_far_levels(far: object, twin: dict[int, int]) -> None:
    blocks = far.blocks()  # type: ignore[attr-defined]
    assert [key for block in blocks for key in block[1:]] == sorted(twin)
    for block in blocks:
        assert 2 <= len(block) <= 65
        assert block[0] == block[1], "the directory names another key as the first of a block"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("spread", [300, 1 << 40])
def test_far_levels_are_a_sorted_map(structures: ModuleType, seed: int, spread: int) -> None:
    rng = random.Random(seed)
    far, twin = structures.FarLevels(), dict[int, int]()
    for step in range(4000):
        filling = step % 2000 < 1100
        key = rng.choice(EXTREME) if rng.random() < 0.05 else rng.randrange(-spread, spread)
        if twin and rng.random() < (0.2 if filling else 0.9):
            key = rng.choice(list(twin))
        if key in twin:
            far.erase(key)
            del twin[key]
        else:
            twin[key] = step + 1
            far.insert(key, step + 1)
        assert len(far) == len(twin)
        for asked in (key, rng.choice(EXTREME), rng.randrange(-spread, spread)):
            assert far.find(asked) == twin.get(asked, NIL)
            after = min((one for one in twin if one >= asked), default=None)
            assert far.at_or_after(asked) == (None if after is None else (after, twin[after]))
        if step % 50 == 0:
            check_far_levels(far, twin)


@pytest.mark.once
@pytest.mark.parametrize("filled", ["upward", "downward", "from both ends"])
@pytest.mark.parametrize("emptied", ["upward", "downward", "the middle first"])
def test_far_levels_split_and_merge_whatever_the_order(structures: ModuleType, filled: str, emptied: str) -> None:
    count = 2500  # the directory grows twice
    keys = list(range(count))
    orders: dict[str, Callable[[int], int]] = {
        "upward": lambda key: key,
        "downward": lambda key: -key,
        "from both ends": lambda key: min(key, count - key),
        "the middle first": lambda key: abs(key - count // 2),
    }
    far, twin = structures.FarLevels(), dict[int, int]()
    for key in sorted(keys, key=orders[filled]):
        far.insert(key, key + 1)
        twin[key] = key + 1
    check_far_levels(far, twin)
    assert len(far.blocks()) <= count // 30, "blocks are at least half full"
    for at, key in enumerate(sorted(keys, key=orders[emptied])):
        far.erase(key)
        del twin[key]
        assert far.find(key) == NIL
        if at % 100 == 0:
            check_far_levels(far, twin)
            assert len(far.blocks()) <= len(twin) // 16 + 2, "neighbours that fit one block merge"
    assert (far.blocks(), far.at_or_after(INT64_MIN)) == ([], None)


class SideTwin:
    """How many orders rest at each key, and the keys in order."""

    def __init__(self) -> None:
        self.counts = Counter[int]()
        self.keys: list[int] = []

    def enter(self, key: int) -> None:
        if not self.counts[key]:
            bisect.insort(self.keys, key)
        self.counts[key] += 1

    def leave(self, key: int) -> None:
        self.counts[key] -= 1
        if not self.counts[key]:
            self.keys.remove(key)

    def after(self, key: int) -> int | None:
        at = bisect.bisect_right(self.keys, key)
        return self.keys[at] if at < len(self.keys) else None


def trend(rng: random.Random, step: int) -> int:
    """A market that runs away: the window has to follow."""
    return step * 1000 + rng.randrange(-20_000, 20_000)


def wide(rng: random.Random, step: int) -> int:
    """Prices over more than any window covers."""
    return rng.randrange(-20_000_000, 20_000_000)


def near(rng: random.Random, step: int) -> int:
    return rng.randrange(-40, 40)


def extreme(rng: random.Random, step: int) -> int:
    """Both ends of all prices, and a few between."""
    return rng.choice((INT64_MIN + rng.randrange(40), INT64_MAX - rng.randrange(40), rng.randrange(-9, 9)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("keys", [near, trend, wide, extreme])
def test_a_side_knows_its_best_key_and_what_comes_after_any_other(
    structures: ModuleType, seed: int, keys: Callable[[random.Random, int], int]
) -> None:
    rng = random.Random(seed)
    side, twin = structures.Side(4096), SideTwin()
    for step in range(6000):
        filling = step % 3000 < 1600
        if twin.keys and rng.random() < (0.3 if filling else 0.75):
            key = twin.keys[0] if rng.random() < 0.5 else rng.choice(twin.keys)
            side.leave(key)
            twin.leave(key)
        else:
            key = keys(rng, step)
            side.enter(key)
            twin.enter(key)
        assert side.best == (twin.keys[0] if twin.keys else None)
        for asked in (key, keys(rng, step)):
            assert side.count(asked) == twin.counts[asked]
            assert side.after(asked) == twin.after(asked)
        base, width, inside, outside = side.window
        pages = {key >> 4 for key in twin.keys}
        assert (inside, outside) == (
            len(covered := {p for p in pages if base <= p < base + width}),
            len(pages - covered),
        )
    while twin.keys:
        side.leave(key := rng.choice(twin.keys))
        twin.leave(key)
    assert (side.best, side.after(INT64_MIN), side.window[2:]) == (None, None, (0, 0))


@pytest.mark.once
def test_the_window_of_a_side_widens_for_a_wide_market_and_follows_a_market_that_moves(structures: ModuleType) -> None:
    side = structures.Side(20_000)
    side.enter(0)
    first = side.window
    for page in range(2, 20_000, 2):
        side.enter(page * 16)
    assert side.window[1] > first[1], "it did not widen"
    moved = structures.Side(20_000)
    for page in range(20_000):  # better and better prices, and the old ones go
        moved.enter(-page * 16)
        if page >= 100:
            moved.leave((100 - page) * 16)
    base, width, inside, _ = moved.window
    assert base <= -19_999 < base + width, "the touch is outside"
    assert inside == 100


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("capacity", [1, 2, 100])
def test_the_pool_hands_out_every_slot_once_and_the_newest_free_one_first(
    structures: ModuleType, seed: int, capacity: int
) -> None:
    rng = random.Random(seed)
    pool = structures.Pool(capacity)
    taken, given = set[int](), list[int]()
    for _ in range(20 * capacity + 100):
        if rng.random() < 0.55:
            slot = pool.take()
            if len(taken) == capacity:
                assert slot == NIL
            else:
                assert 1 <= slot <= capacity
                assert slot not in taken
                assert not given or slot == given.pop()
                taken.add(slot)
        elif taken:
            slot = rng.choice(sorted(taken))
            taken.discard(slot)
            given.append(slot)
            pool.give(slot)
        assert pool.count == len(taken)


@pytest.mark.parametrize("capacity", [0, 1, 100])
def test_the_pool_has_a_page_for_each_order_and_one_more_on_each_side(structures: ModuleType, capacity: int) -> None:
    pool = structures.Pool(capacity)
    pages = [[pool.take_page(side) for _ in range(capacity + 1)] for side in (0, 1)]
    assert [{page & 1 for page in of_side} for of_side in pages] == [{0}, {1}], "the number of a page tells its side"
    assert len({*pages[0], *pages[1]}) == 2 * (capacity + 1)
    for page in pages[0]:
        pool.give_page(page)
    assert [pool.take_page(0) for _ in pages[0]] == pages[0][::-1]


GOLDEN = 0x9E3779B97F4A7C15
"""What the hash of an id multiplies with."""


def unlike_ids(ids: object, rng: random.Random) -> list[int]:
    return [1, (1 << 64) - 1, 1 << 63, *(rng.randrange(1, 1 << 64) for _ in range(600))]


def counted_ids(ids: object, rng: random.Random) -> list[int]:
    start = rng.choice((1, 4000, 1 << 32, (1 << 64) - 601))
    return list(range(start, start + 600))


def ids_of_one_slot(ids: object, rng: random.Random) -> list[int]:
    """All choose one of sixteen pairs of slots: nearly all must go to the hash table."""
    drawn = (rng.randrange(1, 1 << 64) for _ in range(100_000))
    return [id for id in drawn if ids.first_choice(id) < 34][:600]  # type: ignore[attr-defined]


def ids_of_one_hash(structures: ModuleType) -> Callable[[object, random.Random], list[int]]:
    def drawn(ids: object, rng: random.Random) -> list[int]:
        """As `ids_of_one_slot`, and all have one hash as well: one bucket, which overflows into its neighbours."""
        inverse = pow(GOLDEN, -1, 1 << 64)
        found: list[int] = []
        hash = rng.choice((0, 0xFFFFFFFF, 0x12345678))
        while len(found) < 60:
            id = (hash << 32 | rng.randrange(1, 1 << 32)) * inverse % (1 << 64)
            if ids.first_choice(id) < 34 and id not in found:  # type: ignore[attr-defined]
                assert structures.tag_of(id) == hash
                found.append(id)
        return found

    return drawn


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["unlike", "counted", "of one slot", "of one hash"])
@pytest.mark.parametrize("capacity", [1, 7, 400])
def test_the_map_of_ids_is_a_dict(structures: ModuleType, seed: int, kind: str, capacity: int) -> None:
    rng = random.Random(seed)
    ids, twin = structures.IdMap(capacity), dict[int, int]()
    makers = {"unlike": unlike_ids, "counted": counted_ids, "of one slot": ids_of_one_slot}
    known = makers.get(kind, ids_of_one_hash(structures))(ids, rng)
    for step in range(4000):
        id = rng.choice(known)
        assert ids.get(id) == twin.get(id, NIL)
        assert ids.has(id) == (id in twin)
        if id in twin:
            if rng.random() < (0.3 if step % 2000 < 1000 else 0.95):
                ids.give(twin.pop(id))
        elif len(twin) < capacity:
            assert ids.reserve()
            offered = ids.offer(id)
            slot = ids.take(id)
            assert offered in (NIL, slot)
            assert slot not in twin.values()
            assert slot > 1
            twin[id] = slot
        assert ids.count == len(twin)
        assert ids.hashed == sum(slot > ids.by_id + 1 for slot in twin.values())
    for id in known:
        assert ids.get(id) == twin.get(id, NIL)
    for slot in twin.values():
        ids.give(slot)
    assert (ids.count, ids.hashed) == (0, 0)
    assert not any(ids.has(id) for id in known)


@pytest.mark.once
def test_the_table_of_ids_grows_when_no_id_gets_a_slot_of_its_own(structures: ModuleType) -> None:
    capacity = 3000
    ids = structures.IdMap(capacity)
    buckets = ids.buckets
    rng = random.Random(1)
    slots = dict[int, int]()
    while len(slots) < capacity:
        id = rng.randrange(1, 1 << 64)
        if ids.first_choice(id) < 66 and id not in slots:
            assert ids.reserve()
            slots[id] = ids.take(id)
    assert ids.hashed == capacity - 64
    assert ids.buckets > buckets
    assert all(ids.get(id) == slot for id, slot in slots.items())
    assert len(set(slots.values())) == capacity
