"""The runner under load: order of answers, whole groups, mirrors in front of orders, and how fast it is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from fastpath.model import codec
from fastpath.model.enums import RejectReason
from fastpath.model.structs import COMMAND, EVENT_SIZE
from server.base.errors import QueueFull
from server.engine.limits import EngineLimits
from server.records import commands
from server.records.events import decode
from server.storage.sqlite_journal import SqliteJournal
from tests.support.engine import BUY, GTC, LIMIT, SELL, House, house


def orders(it: House, name: str, count: int, rng: random.Random) -> bytes:
    return b"".join(
        commands.place(
            account=1 + n % 2,
            instrument=it.btc.number,
            side=rng.choice((BUY, SELL)),
            order_type=LIMIT,
            time_in_force=GTC,
            qty=rng.randrange(1_000, 2_000),
            price=rng.randrange(100_00, 101_00),
            client_order_id=f"{name}-{n}",
        )
        for n in range(count)
    )


async def test_each_submission_gets_exactly_its_own_events(tmp_path: Path) -> None:
    rng = random.Random(7)
    limits = EngineLimits(max_orders=50_000, batch_commands=300)
    async with house(tmp_path, limits=limits) as it:
        sizes = [rng.choice((1, 1, 1, 2, 17, 300)) for _ in range(200)]
        answers = await asyncio.gather(
            *(it.runner.submit(orders(it, f"s{k}", size, rng)) for k, size in enumerate(sizes))
        )
        previous = 0
        for k, (size, events) in enumerate(zip(sizes, answers, strict=True)):
            decoded = [decode(events[at : at + EVENT_SIZE]) for at in range(0, len(events), EVENT_SIZE)]
            seqs = sorted({event.command_seq for event in decoded})
            assert len(seqs) == size
            assert seqs[0] > previous, "in the order they were sent"
            assert seqs[-1] - seqs[0] == size - 1, "together"
            previous = seqs[-1]
            accepted = [
                event.client_order_id.rstrip(b"\0").decode() for event in decoded if event.order_id == event.command_seq
            ]
            assert {name.split("-")[0] for name in accepted} == {f"s{k}"}
            assert sum(event.last_of_command for event in decoded) == size


async def test_mirror_commands_stand_in_front_of_the_orders_they_are_for(tmp_path: Path) -> None:
    asked: list[set[int]] = []

    class Source:
        def take(self, instruments: Iterable[int]) -> bytes:
            asked.append(set(instruments))
            return commands.mirror_stale(1) if instruments else b""

        def withdraw(self) -> bytes:
            return b""

    async with house(tmp_path) as it:
        it.runner.sources.add(Source())
        first = it.trading.command_sequence + 1
        placed = await it.trading.place(it.buy(100, 1_000))
        assert asked == [{it.btc.number}]
        assert placed.order.order_id == first + 2
    journal = SqliteJournal(tmp_path / "journal.db", new_epoch="x")
    packed = b"".join(codec.decode(row.payload) for row in journal.read(first))
    kinds = [COMMAND.unpack(command)["kind"] for command in split(packed)]
    journal.close()
    assert kinds[-3:] == [30, 33, 10]


def split(packed: bytes) -> list[bytes]:
    return [packed[at : at + 192] for at in range(0, len(packed), 192)]


async def test_reads_see_exactly_what_is_durable(tmp_path: Path) -> None:
    async with house(tmp_path) as it:

        async def write() -> None:
            for n in range(100):
                await it.trading.place(it.buy(100 + n % 7, 1_000))

        async def read() -> None:
            while not writer.done():
                state = await it.trading.state()
                assert state.command_sequence == it.engine.exchange.last_seq == it.engine.command_sequence
                assert state.event_sequence == it.engine.exchange.event_seq

        writer = asyncio.ensure_future(write())
        await read()
        await writer


async def test_throughput_is_told(tmp_path: Path) -> None:
    """Prints how many durable orders the engine takes a second; asserts that all of them arrived, not how fast."""
    groups, size = 40, 1_000
    async with house(tmp_path) as it:
        rng = random.Random(1)
        prepared = [orders(it, f"t{k}", size, rng) for k in range(groups)]
        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*map(it.runner.submit, prepared))
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        bulk = groups * size
        start = time.perf_counter()
        await asyncio.gather(*(it.trading.place(it.buy(90, 1_200, client_order_id=f"u{n}")) for n in range(2_000)))
        unary = 2_000 / (time.perf_counter() - start)
        assert it.engine.exchange.order_count == bulk + 2_000
    grouped = f"{bulk / seconds:,.0f} orders/s ({bulk / cpu_seconds:,.0f} a CPU second)"
    print(f"\ngroups of {size}: {grouped}, one by one: {unary:,.0f}/s")


async def test_what_is_urgent_goes_first_and_always_finds_room(tmp_path: Path) -> None:
    limits = EngineLimits(max_orders=50_000, queue_commands=10)
    async with house(tmp_path, limits=limits) as it:
        waiting = it.runner.submit(orders(it, "w", 10, random.Random(1)))
        with pytest.raises(QueueFull):
            it.runner.submit(orders(it, "x", 1, random.Random(1)))
        halted = it.trading.halt_and_cancel(None)
        assert it.trading.canceled(await halted) == (0, 0)
        events = await waiting
        refused = {decode(events[at : at + EVENT_SIZE]).reject_reason for at in range(0, len(events), EVENT_SIZE)}
        assert refused == {RejectReason.REJECT_REASON_TRADING_HALTED}
