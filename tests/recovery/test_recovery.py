"""Nothing acknowledged is lost, doubled or invented: processes killed under load, journals that fail, replays."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fastpath.model import codec
from server.base.clock import ManualClock
from server.base.errors import JournalCorrupt, JournalFailed
from server.engine.engine import Engine
from server.engine.limits import EngineLimits
from server.engine.orders import Outcome
from server.engine.runner import RunnerState
from server.engine.trading import EngineState
from server.recovery.recover import recover
from server.storage.ports import JournalRow
from server.storage.sqlite_journal import SqliteJournal
from tests.conftest import SOAK_FACTOR
from tests.support.engine import house

ROOT = Path(__file__).resolve().parents[2]
KILLS = 10 * SOAK_FACTOR


class Log:
    """What the victims wrote down."""

    def __init__(self, path: Path) -> None:
        lines = [line.split() for line in path.read_text().splitlines()]
        self.sent = {words[1] for words in lines if words[0] == "sent"}
        self.acked = {words[1]: int(words[2]) for words in lines if words[0] == "acked"}
        self.canceled = {words[1] for words in lines if words[0] == "canceled"}
        self.money_sent = {words[1] for words in lines if words[0] == "sent-money"}
        self.money_acked = {words[1] for words in lines if words[0] == "acked-money"}
        ids: dict[str, set[str]] = {}
        for words in lines:
            if words[0] == "acked":
                ids.setdefault(words[1], set()).add(words[2])
        assert all(len(each) == 1 for each in ids.values()), "a repeated order has one order_id"


async def check(directory: Path) -> EngineState:
    """Recover, and compare with the log."""
    log = Log(directory / "log")
    async with house(directory) as it:
        state = await it.trading.state()
        orders = []
        for account in ("alice", "bob"):
            token = ""
            while True:
                page = await it.history.list_orders(account, page_size=1000, page_token=token)
                orders += page.items
                token = page.next_page_token
                if not token:
                    break
        found = {f"{order.account}/{order.client_order_id}": order for order in orders}
        assert len(found) == len(orders), "an order exists twice"
        assert {name: found[name].order_id for name in log.acked} == log.acked, (
            "an acknowledged order is lost or changed"
        )
        assert set(found) <= log.sent, "an order was invented"
        assert all(not found[name].is_open for name in log.canceled), "an acknowledged cancel is lost"
        (usdt_outside,) = (total for asset, total, _ in it.engine.exchange.balances(0) if asset == 2)
        extra = -usdt_outside - 2 * it.trading.registry.asset("USDT").units("1000000")
        assert len(log.money_acked) <= extra <= len(log.money_sent), "money was lost or doubled"
        return state


async def test_killed_under_load_at_random_times(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for number in range(KILLS):
        kill_one(tmp_path, number, rng.uniform(0.0, 0.4))
        state = await check(tmp_path)
    acked = len(Log(tmp_path / "log").acked)
    assert acked > KILLS, "the victims had time to work"
    assert replayed_elsewhere(tmp_path) == state
    print(f"{KILLS} kills, {acked} orders acknowledged, {state.command_sequence} commands")


def kill_one(directory: Path, number: int, after_s: float) -> None:
    """Start a victim on the journal, and kill it so long after it began to work."""
    command = [sys.executable, "-m", "tests.support.kill_worker", str(directory), str(number)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        victim.kill()


def replayed_elsewhere(directory: Path) -> EngineState:
    """The state after a replay in a fresh process with another hash seed."""
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.support.engine import Setup, house\n"
        "async def main():\n"
        "    async with house(Path(sys.argv[1]), setup=Setup()) as it:\n"
        "        print(*await it.trading.state())\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(directory)],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "3", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return EngineState(*map(int, done.stdout.split()))


async def test_recovery_tells_how_far_it_is(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        for n in range(30):
            await it.trading.place(it.buy(1_000 + n, 1_000))
        before = await it.trading.state()
    journal = SqliteJournal(tmp_path / "journal.db", new_epoch="x")
    engine = Engine(EngineLimits(max_orders=1_000, batch_commands=8), journal.epoch)
    steps: list[tuple[int, int]] = []
    recovery = await recover(engine, journal, progress=lambda done, total: steps.append((done, total)))
    journal.close()
    total = before.command_sequence
    assert steps[-1] == (total, total)
    assert len(steps) >= total // 8
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert recovery.commands == total
    assert recovery.commands_per_s > 0
    assert engine.exchange.state_hash() == before.state_hash
    print(f"replayed {recovery.commands_per_s:,.0f} commands/s")


async def test_a_row_that_says_something_else_than_it_holds_is_not_applied(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", new_epoch="x")
    journal.append(JournalRow(1, 2, 5, codec.encode(bytes(192))))
    engine = Engine(EngineLimits(max_orders=1_000), journal.epoch)
    with pytest.raises(JournalCorrupt, match="row of command 1"):
        await recover(engine, journal)
    journal.close()


class FailingJournal:
    """A real journal whose disk fails at will: before anything is written, or after it is."""

    def __init__(self, path: Path) -> None:
        self.inner = SqliteJournal(path, new_epoch="epoch")
        self.epoch = self.inner.epoch
        self.fail_before = self.fail_after = False

    @property
    def last_seq(self) -> int:
        return self.inner.last_seq

    def append(self, row: JournalRow) -> None:
        if self.fail_before:
            raise JournalFailed("no space left on device")
        if row.first_seq > self.inner.last_seq:
            self.inner.append(row)
        if self.fail_after:
            raise OSError("input/output error")

    def load(self, rows: Iterable[JournalRow]) -> None:
        self.inner.load(rows)

    def read(self, from_seq: int = 1) -> Iterator[JournalRow]:
        return self.inner.read(from_seq)

    def checksum(self, last_seq: int) -> bytes | None:
        return self.inner.checksum(last_seq)

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize("written", [False, True])
async def test_a_journal_that_fails_suspends_the_engine(tmp_path: Path, written: bool) -> None:
    journal = FailingJournal(tmp_path / "journal.db")
    told: list[str] = []
    async with house(tmp_path, journal=journal) as it:
        it.runner.on_failure = lambda failure: told.append(failure.message)
        await it.trading.place(it.buy(1_000, 1_000, client_order_id="before"))
        stream = it.trading.subscribe_orders("alice")
        await anext(stream), await anext(stream)
        good = await it.trading.state()
        journal.fail_before, journal.fail_after = not written, written
        orders = [it.buy(1_001, 1_000, client_order_id=f"during-{n}") for n in range(10)]
        first = asyncio.ensure_future(it.trading.place(orders[0]))
        await asyncio.sleep(0)
        answers = await asyncio.gather(first, *map(it.trading.place, orders[1:]), return_exceptions=True)
        assert {type(answer) for answer in answers} == {JournalFailed}
        assert it.runner.state is RunnerState.SUSPENDED
        assert len(told) == 1
        with pytest.raises(JournalFailed):
            await it.trading.place(it.buy(1_002, 1_000))
        with pytest.raises(JournalFailed):
            await it.trading.state()
        # What was not acknowledged is not to be seen, though the exchange had applied it already.
        assert [order.client_order_id for order in (await it.history.list_orders("alice")).items] == ["before"]
        assert it.trading.command_sequence == good.command_sequence
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        waiting.cancel()
    async with house(tmp_path) as it:
        assert it.trading.get_order("alice", client_order_id="before").is_open
        again = [await it.trading.place(order) for order in orders]
        names = [order.client_order_id for order in (await it.history.list_orders("alice")).items]
        assert sorted(names) == sorted(["before", *(f"during-{n}" for n in range(10))])
        if not written:
            assert not any(answer.replayed for answer in again)


async def test_time_in_the_journal_never_runs_backwards(tmp_path: Path) -> None:
    clock = ManualClock(10**18)
    async with house(tmp_path, clock=clock) as it:
        first = (await it.trading.place(it.buy(1_000, 1_000))).order
        clock.advance(5)
        second = (await it.trading.place(it.buy(1_000, 1_000))).order
        assert (first.create_ns, second.create_ns) == (10**18, 10**18 + 5)
    async with house(tmp_path, clock=ManualClock(7)) as it:
        third = (await it.trading.place(it.buy(1_000, 1_000))).order
        assert third.create_ns == second.create_ns


async def test_what_waits_during_a_sync_is_one_group(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        before = it.runner.stats.batches
        answers = await asyncio.gather(*(it.trading.place(it.buy(1_000, 1_000)) for _ in range(500)))
        assert all(isinstance(answer, Outcome) for answer in answers)
        assert it.runner.stats.batches - before <= 5
