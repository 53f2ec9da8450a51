"""The same journal comes to the same state: in this process, in a fresh one, from its beginning and from a snapshot."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from fastpath.model import codec, records
from fastpath.model.enums import OrderFlag, OrderType, Side, TimeInForce
from server.engine.engine import Engine
from server.engine.limits import EngineLimits
from server.records import commands
from server.recovery.recover import command_batches
from server.recovery.replica import write_snapshot
from server.storage.ports import JournalRow
from server.storage.snapshot_files import SnapshotFiles
from server.storage.sqlite_journal import SqliteJournal
from server.storage.sqlite_rows import SqliteJournalReader
from tests.conftest import SOAK_FACTOR
from tests.support.engine import house

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = 200_000
GROUP = 2_000
LIMITS = EngineLimits(max_orders=COMMANDS, max_open_orders=100_000, closed_orders=1_000, fills=1_000)
_ENTERED = (OrderType.ORDER_TYPE_LIMIT, OrderType.ORDER_TYPE_MARKET, OrderType.ORDER_TYPE_STOP, OrderType.ORDER_TYPE_ICEBERG)
_GTC, _IOC = int(TimeInForce.TIME_IN_FORCE_GTC), int(TimeInForce.TIME_IN_FORCE_IOC)


def command(number: int, rng: random.Random) -> bytes:
    """One of what traders do, around a price of 1,000; some of it refused."""
    account, name = 1 + rng.randrange(2), f"o{number}"
    what = rng.random()
    if what < 0.15:
        return commands.cancel(account=account, client_order_id=f"o{rng.randrange(max(0, number - 500), number + 1)}")
    if what < 0.25:
        return commands.amend(
            account=account, instrument=1, client_order_id=f"o{rng.randrange(max(0, number - 500), number + 1)}",
            qty=rng.randrange(100, 900), price=rng.randrange(99_000, 101_000),
        )  # fmt: skip
    if what < 0.27:
        return commands.adjust_balance(
            account=account, asset=rng.randrange(1, 3), amount=rng.randrange(-5, 500), scale=9,
            request_id=f"r{rng.randrange(number + 1)}",
        )  # fmt: skip
    if what < 0.271:
        return commands.cancel_orders(account=account, side=rng.randrange(3))
    kind = rng.choices(_ENTERED, (80, 8, 8, 4))[0]
    qty = rng.randrange(100, 1_000)
    return commands.place(
        account=account, instrument=1, side=int(rng.choice((Side.SIDE_BUY, Side.SIDE_SELL))), order_type=int(kind),
        time_in_force=_IOC if kind is OrderType.ORDER_TYPE_MARKET else _GTC,
        qty=qty, client_order_id=name if rng.random() < 0.97 else f"o{rng.randrange(number + 1)}",
        price=rng.randrange(99_000, 101_000) if kind in (_ENTERED[0], _ENTERED[3]) else 0,
        trigger_price=rng.randrange(99_000, 101_000) if kind is OrderType.ORDER_TYPE_STOP else 0,
        display_qty=qty // 5 if kind is OrderType.ORDER_TYPE_ICEBERG else 0,
        flags=int(OrderFlag.ORDER_FLAG_POST_ONLY) if kind is _ENTERED[0] and rng.random() < 0.1 else 0,
    )  # fmt: skip


def fill(directory: Path, rng: random.Random) -> Engine:
    """A journal of so many commands behind its setup, and an engine that carried them out."""
    journal = SqliteJournal(directory / "journal.db", new_epoch="x")
    engine = Engine(LIMITS, journal.epoch)
    for given, ts_ns in command_batches(journal, 1, GROUP):
        engine.commit(given, engine.apply(given), len(given) // 192, ts_ns)
    ts_ns = engine.time_ns
    for first in range(0, COMMANDS, GROUP):
        ts_ns += rng.randrange(1_000_000)
        group = bytearray(b"".join(command(number, rng) for number in range(first, first + GROUP)))
        records.stamp(group, engine.command_sequence + 1, ts_ns)
        journal.append(JournalRow(engine.command_sequence + 1, GROUP, ts_ns, codec.encode(group)))
        engine.commit(bytes(group), engine.apply(bytes(group)), engine.command_sequence + GROUP, ts_ns)
        if first == COMMANDS // 2:
            write_snapshot(engine, journal, SnapshotFiles(directory / "snapshots", keep=3))
    journal.close()
    return engine


def elsewhere(directory: Path, *, snapshots: bool) -> tuple[int, int, str]:
    """(commands carried out, events, hash) of a fresh process with another hash seed."""
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from server.engine.engine import Engine\n"
        "from server.recovery.recover import recover\n"
        "from server.storage.snapshot_files import SnapshotFiles\n"
        "from server.storage.sqlite_rows import SqliteJournalReader\n"
        "from tests.recovery.test_replay import LIMITS\n"
        "directory = Path(sys.argv[1])\n"
        "reader = SqliteJournalReader(directory / 'journal.db')\n"
        "engine = Engine(LIMITS, reader.epoch)\n"
        "files = SnapshotFiles(directory / 'snapshots', keep=3) if sys.argv[2:] else None\n"
        "done = asyncio.run(recover(engine, reader, files))\n"
        "engine.exchange.validate()\n"
        "print(done.commands, engine.exchange.event_seq, engine.exchange.state_hash(), round(done.commands_per_s))"
    )
    arguments = [sys.executable, "-c", script, str(directory), *(["snapshots"] if snapshots else [])]
    done = subprocess.run(
        arguments, cwd=ROOT, env={"PYTHONHASHSEED": "3", "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    carried_out, event_seq, state_hash, rate = done.stdout.split()
    print(f"{carried_out} commands in a fresh process, {int(rate):,} a second")
    return int(carried_out), int(event_seq), state_hash


@pytest.mark.parametrize("_", range(SOAK_FACTOR))
async def test_a_journal_comes_to_the_same_state_wherever_it_is_carried_out(tmp_path: Path, _: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    async with house(tmp_path, limits=LIMITS) as it:
        setup = it.engine.command_sequence
    engine = fill(tmp_path, random.Random(seed))
    engine.exchange.validate()
    assert engine.exchange.event_seq > COMMANDS, "most of it did something"
    expected = engine.exchange.event_seq, str(engine.exchange.state_hash())
    half = COMMANDS // 2 - GROUP
    assert elsewhere(tmp_path, snapshots=False) == (setup + COMMANDS, *expected)
    assert elsewhere(tmp_path, snapshots=True) == (half, *expected)
    reader = SqliteJournalReader(tmp_path / "journal.db")
    one_by_one = Engine(LIMITS, reader.epoch)
    for given, _ in command_batches(reader, 1, 1):
        for at in range(0, len(given), 192):
            one_by_one.exchange.apply(given[at : at + 192])
    reader.close()
    assert (one_by_one.exchange.event_seq, str(one_by_one.exchange.state_hash())) == expected, "in batches or one by one"
