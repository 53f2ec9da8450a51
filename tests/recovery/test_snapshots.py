"""Snapshots: everything comes back, damage is found and worked around, streams reach back beyond what is held."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.base.errors import SnapshotUnusable, TradewindError
from server.base.streams import Ack, Gap, StreamPosition
from server.engine import snapshot as snapshot_format
from server.engine.engine import Engine
from server.engine.limits import EngineLimits
from server.engine.order_entry import OrderUpdate
from server.engine.trading import Trading
from server.recovery.recover import Recovery, recover
from server.recovery.replica import Replica, make_snapshot, write_snapshot
from server.storage.snapshot_files import SnapshotFiles
from server.storage.sqlite_journal import SqliteJournal
from server.storage.sqlite_rows import SqliteJournalReader
from server.storage.urls import sqlite_url
from tests.support.engine import House, house
from tests.waiting import until

LIMITS = EngineLimits(max_orders=50_000, max_open_orders=50_000, closed_orders=300, fills=200)


def files(directory: Path, keep: int = 3) -> SnapshotFiles:
    return SnapshotFiles(directory / "snapshots", keep=keep)


async def trade(it: House, name: str, count: int) -> None:
    """Orders that rest, fill and are canceled, and money that moves."""
    rng = random.Random(name)
    for n in range(count):
        make = it.buy if rng.random() < 0.5 else it.sell
        order = make(rng.randrange(1_000, 1_010), rng.randrange(100, 1_000), client_order_id=f"{name}-{n}")
        view = (await it.trading.place(order)).order
        if rng.random() < 0.2:
            with contextlib.suppress(TradewindError):  # filled already
                await it.trading.cancel(view.account, order_id=view.order_id)
        if rng.random() < 0.05:
            await it.trading.adjust_balance("bob", "USDT", 5, f"{name}-{n}")


async def snapshot(directory: Path, limits: EngineLimits = LIMITS, keep: int = 3) -> int:
    reader = SqliteJournalReader(directory / "journal.db")
    try:
        return (await make_snapshot(reader, files(directory, keep), limits)).sequence
    finally:
        reader.close()


async def recovered(directory: Path, limits: EngineLimits = LIMITS) -> tuple[Engine, Recovery]:
    journal = SqliteJournal(directory / "journal.db", new_epoch="x")
    try:
        engine = Engine(limits, journal.epoch)
        return engine, await recover(engine, journal, files(directory))
    finally:
        journal.close()


def everything(engine: Engine) -> dict[str, object]:
    """All that anybody can see of an engine."""
    registry, blotter = engine.registry, engine.blotter
    accounts = registry.accounts()
    return {
        "state": (engine.command_sequence, engine.time_ns, engine.exchange.event_seq, engine.exchange.state_hash()),
        "names": (accounts, list(registry.assets()), list(registry.instruments())),
        "numbers": list(registry.numbered_instruments()),
        "orders": [blotter.tables.orders.page(account.number, None, 1_000, lambda record: True) for account in accounts],
        "open": [blotter.open_orders(account.number) for account in accounts],
        "fills": [blotter.tables.fills.page(account.number, None, 1_000, lambda record: True) for account in accounts],
        "balances": [blotter.balances(account.number) for account in accounts],
        "positions": [blotter.positions(account.number) for account in accounts],
        "statuses": [blotter.trading_status(each.number) for each in registry.numbered_instruments()],
        "log": (engine.log.floor, engine.log.last_sequence, b"".join(events for _, events in engine.log._batches)),
    }


async def test_snapshot_and_tail_are_what_the_whole_journal_is(tmp_path: Path) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "before", 500)
        sequence = await snapshot(tmp_path)
        assert sequence == it.engine.command_sequence
        await trade(it, "after", 300)
        running = everything(it.engine)
    engine, recovery = await recovered(tmp_path)
    assert (recovery.snapshot, recovery.unusable) == (sequence, ())
    assert recovery.commands == engine.command_sequence - sequence > 0
    assert everything(engine) == running
    engine.exchange.validate()
    for path in (tmp_path / "snapshots").iterdir():
        path.unlink()
    replayed, recovery = await recovered(tmp_path)
    assert (recovery.snapshot, recovery.commands) == (0, replayed.command_sequence)
    assert everything(replayed) == running
    print(f"replayed {recovery.commands_per_s:,.0f} commands/s, blotter and streams included")


async def test_a_snapshot_of_a_snapshot_is_as_good(tmp_path: Path) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        for n in range(6):
            await trade(it, f"part{n}", 60)
            await snapshot(tmp_path, keep=2)
        running = everything(it.engine)
        newest = it.engine.command_sequence
    assert files(tmp_path).sequences()[0] == newest
    assert len(files(tmp_path).sequences()) == 2, "older ones went"
    engine, recovery = await recovered(tmp_path)
    assert recovery.commands == 0
    assert everything(engine) == running


def flipped(data: bytes) -> bytes:
    at = random.Random(len(data)).randrange(len(data))
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def of_a_later_version(data: bytes) -> bytes:
    return data[:8] + b"\x63" + data[9:]


@pytest.mark.parametrize("damage", [flipped, of_a_later_version, lambda data: data[: len(data) // 2], lambda data: b""])
async def test_a_damaged_snapshot_is_named_and_the_one_before_is_used(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 100)
        older = await snapshot(tmp_path)
        await trade(it, "b", 100)
        newer = await snapshot(tmp_path)
        await trade(it, "c", 20)
        running = everything(it.engine)
    for bad, used in ((newer, older), (older, 0)):
        path = tmp_path / "snapshots" / f"{bad:020d}.snapshot"
        path.write_bytes(damage(path.read_bytes()))
        engine, recovery = await recovered(tmp_path)
        assert recovery.snapshot == used
        assert any(text.startswith(f"snapshot {bad}: ") for text in recovery.unusable)
        assert everything(engine) == running


async def test_a_snapshot_of_another_journal_is_not_taken(tmp_path: Path) -> None:
    for name, orders in (("one", 50), ("two", 50), ("short", 10)):
        (tmp_path / name).mkdir()
        async with house(tmp_path / name, limits=LIMITS) as it:
            await trade(it, name[0], orders)
    await snapshot(tmp_path / "one")
    for other, why in (("two", "other commands"), ("short", "ahead of the journal")):
        (tmp_path / other / "snapshots").mkdir()
        (sequence,) = files(tmp_path / "one").sequences()
        data = files(tmp_path / "one").read(sequence)
        files(tmp_path / other).write(sequence, data)
        _, recovery = await recovered(tmp_path / other)
        assert recovery.snapshot == 0
        assert why in recovery.unusable[0] or "commands before it" in recovery.unusable[0]


async def test_what_does_not_fit_the_limits_is_replayed(tmp_path: Path) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 50)
        await snapshot(tmp_path)
    _, recovery = await recovered(tmp_path, EngineLimits(max_orders=10, max_open_orders=10))
    assert recovery.snapshot == 0
    assert "limit" in recovery.unusable[0]


async def test_a_state_that_does_not_have_its_hash_is_not_taken(tmp_path: Path) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 50)
        await snapshot(tmp_path)
    store = files(tmp_path)
    (sequence,) = store.sequences()
    whole = snapshot_format.decode(store.read(sequence))
    header = snapshot_format.SnapshotHeader(**{
        **{name: getattr(whole.header, name) for name in whole.header.__dataclass_fields__},
        "state_hash": whole.header.state_hash ^ 1,
    })
    store.write(sequence, snapshot_format.encode(snapshot_format.Snapshot(header, whole.sections)))
    _, recovery = await recovered(tmp_path)
    assert recovery.snapshot == 0
    assert "state_hash" in recovery.unusable[0]


async def test_the_engine_does_not_stand_still_while_a_snapshot_is_made(tmp_path: Path) -> None:
    """A process of its own makes it; the figure printed is the longest the event loop was held up meanwhile."""
    limits = EngineLimits(max_orders=100_000, max_open_orders=100_000)
    async with house(tmp_path, limits=limits) as it:
        await asyncio.gather(*(it.trading.place(it.buy(900, 200, client_order_id=f"o{n}")) for n in range(20_000)))
        replica = Replica.of(sqlite_url(tmp_path / "journal.db"), tmp_path / "snapshots", 3, limits)
        making = asyncio.create_task(replica.snapshot())
        longest, placed = 0.0, 0
        while not making.done():
            before = time.monotonic()
            await it.trading.place(it.buy(901, 200))
            longest, placed = max(longest, time.monotonic() - before), placed + 1
        done = await making
        assert done.sequence >= 20_000
        assert placed > 10, "trading went on"
        print(f"snapshot of {done.size >> 10} KiB in {done.seconds:.2f} s, meanwhile {placed} orders, "
              f"the slowest took {1e3 * longest:.1f} ms")  # fmt: skip
        running = everything(it.engine)
    engine, recovery = await recovered(tmp_path, limits)
    assert recovery.snapshot == done.sequence
    assert everything(engine) == running


async def test_a_replica_that_cannot_work_says_why(tmp_path: Path) -> None:
    replica = Replica.of(sqlite_url(tmp_path / "nothing.db"), tmp_path / "snapshots", 3, LIMITS)
    with pytest.raises(TradewindError, match="there is no journal"):
        await replica.snapshot()


async def order_updates(trading: Trading, position: StreamPosition, count: int) -> tuple[list[object], list[int]]:
    """What a resumed stream begins with: its first item, and the sequences of the updates that follow."""
    stream = trading.subscribe_orders("alice", position)
    try:
        first = (await anext(stream)).event
        items = [await anext(stream) for _ in range(count)]
        assert all(isinstance(item.event, OrderUpdate) for item in items)
        previous = [position.sequence, *(item.sequence for item in items)]
        assert [item.prev_sequence for item in items] == previous[:-1]
        return [first], [item.sequence for item in items]
    finally:
        stream.close()


@pytest.mark.parametrize("with_snapshots", [False, True])
async def test_streams_resume_from_before_what_is_held(tmp_path: Path, with_snapshots: bool) -> None:
    limits = EngineLimits(max_orders=50_000, max_open_orders=50_000, stream_log_bytes=40 * 256)
    seen: list[int] = []
    names: set[str] = set()

    async def follow(it: House) -> None:
        stream = it.trading.subscribe_orders("alice")
        async for item in stream:
            if isinstance(item.event, OrderUpdate):
                seen.append(item.sequence)
                names.add(item.event.order.client_order_id)

    async with house(tmp_path, limits=limits) as it:
        reader = asyncio.create_task(follow(it))
        await asyncio.sleep(0)
        for n in range(5):
            await trade(it, f"p{n}", 40)
            if with_snapshots:
                await snapshot(tmp_path, limits, keep=10)
        await it.trading.place(it.buy(1_000, 100, client_order_id="last"))
        await until(lambda: "last" in names, "the reader has read everything")
        reader.cancel()
        assert it.engine.log.floor > seen[len(seen) // 2], "most is not held any more"
    async with house(tmp_path, limits=limits) as it:
        it.engine.log.history = Replica.of(sqlite_url(tmp_path / "journal.db"), tmp_path / "snapshots", 3, limits).history
        for after in (0, seen[0], seen[len(seen) // 2]):
            missed = [sequence for sequence in seen if sequence > after]
            first, sequences = await order_updates(it.trading, StreamPosition("epoch-1", after), len(missed))
            assert first == [Ack(resumed=True)]
            assert sequences == missed


async def test_a_stream_that_missed_too_much_gets_a_gap_and_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = EngineLimits(max_orders=50_000, stream_log_bytes=40 * 256)
    async with house(tmp_path, limits=limits) as it:
        await trade(it, "a", 100)
        replica = Replica.of(sqlite_url(tmp_path / "gone.db"), tmp_path, 3, limits)
        it.engine.log.history = replica.history
        stream = it.trading.subscribe_orders("alice", StreamPosition("epoch-1", 1))
        assert (await anext(stream)).event == Ack(resumed=False)
        gap = (await anext(stream)).event
        assert isinstance(gap, Gap)
        assert gap.from_sequence == 2
        assert "there is no journal" in gap.reason
        await anext(stream)
        stream.close()


async def test_a_snapshot_needs_the_end_of_a_row(tmp_path: Path) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 5)
    reader = SqliteJournalReader(tmp_path / "journal.db")
    with pytest.raises(SnapshotUnusable, match="no row"):
        write_snapshot(Engine(LIMITS, "epoch-1"), reader, files(tmp_path))
    reader.close()
