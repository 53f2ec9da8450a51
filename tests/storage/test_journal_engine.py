"""The engine on the PostgreSQL journal: orders go on through a restart of the database; recovery, snapshots, streams and
backups are what they are on a journal in a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from loadtest.servers import PostgresServer
from server.base.errors import JournalFailed
from server.engine.limits import EngineLimits
from server.engine.runner import RunnerState
from server.records.events import ORDER_ACCEPTED, ORDER_TRIGGERED
from server.recovery.replica import Replica
from server.storage.postgres_journal import PostgresJournal
from server.storage.snapshot_files import SnapshotFiles
from tests.cli.test_journal_tools import run
from tests.recovery.test_snapshots import trade
from tests.support.engine import house

LIMITS = EngineLimits(max_orders=50_000, max_open_orders=50_000, stream_log_bytes=40 * 256)


async def test_orders_survive_a_restart_of_the_database_and_of_the_engine(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first", patience_s=30)
    patient = EngineLimits(max_orders=200_000, journal_stall_s=30)
    async with house(tmp_path, journal=journal, limits=patient) as first:

        async def trade(name: str, count: int) -> None:
            for number in range(count):
                resting = first.sell(100 + number % 5, 10, client_order_id=f"s-{name}-{number}")
                taking = first.buy(102, 5, client_order_id=f"b-{name}-{number}")
                await asyncio.gather(first.trading.place(resting), first.trading.place(taking))

        await trade("before", 20)
        restart = asyncio.create_task(asyncio.to_thread(_restart, postgres))
        await trade("through", 200)
        await restart
        await trade("after", 20)
        assert first.runner.state is RunnerState.RUNNING
        state = await first.trading.state()
        orders = (await first.history.list_orders("alice", page_size=1000)).items

    journal = PostgresJournal(postgres_url, new_epoch="second")
    async with house(tmp_path, journal=journal) as second:
        assert second.trading.epoch == "first"
        assert await second.trading.state() == state
        assert (await second.history.list_orders("alice", page_size=1000)).items == orders


def _restart(postgres: PostgresServer) -> None:
    postgres.kill()
    postgres.start()


async def test_order_entry_stops_when_the_database_stays_away(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first", patience_s=0.2)
    async with house(tmp_path, journal=journal) as first:
        placed = await first.trading.place(first.buy(100, 1, client_order_id="kept"))
        postgres.kill()
        try:
            with pytest.raises(JournalFailed):
                await first.trading.place(first.buy(100, 1, client_order_id="refused"))
            assert first.runner.state is RunnerState.SUSPENDED, "it waits for the database, and takes no orders"
        finally:
            postgres.start()
    journal = PostgresJournal(postgres_url, new_epoch="second")
    async with house(tmp_path, journal=journal) as second:
        assert second.trading.get_order("alice", client_order_id="kept") == placed.order
        # Its caller was told that the outcome is unknown. Carried out late or not at all: never twice.
        again = await second.trading.place(second.buy(100, 1, client_order_id="refused"))
        orders = (await second.history.list_orders("alice", page_size=10)).items
        assert sorted(order.client_order_id for order in orders) == ["kept", "refused"]
        assert again.order.client_order_id == "refused"


async def test_snapshots_and_resumed_streams_beside_a_journal_in_postgresql(postgres_url: str, tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path / "snapshots", keep=3)
    replica = Replica.of(postgres_url, files.directory, files.keep, LIMITS)
    async with house(tmp_path, journal=PostgresJournal(postgres_url, new_epoch="first"), limits=LIMITS) as it:
        await trade(it, "before", 150)
        made = await replica.snapshot()
        assert made.sequence == it.engine.command_sequence
        await trade(it, "after", 100)
        state, log = await it.trading.state(), it.engine.log
        assert log.floor > 100, "most events are not held any more"
        records = await replica.history(1, (ORDER_ACCEPTED, ORDER_TRIGGERED), 0, log.last_sequence)
        sequences = [int.from_bytes(record[:8], "little") for record in records]
        assert sequences == sorted(set(sequences))
        assert sequences[0] < log.floor < sequences[-1]
    journal = PostgresJournal(postgres_url, new_epoch="second")
    async with house(tmp_path, journal=journal, limits=LIMITS, snapshots=files) as it:
        assert (it.recovery.snapshot, it.recovery.unusable) == (made.sequence, ())
        assert it.recovery.commands == state.command_sequence - made.sequence
        assert await it.trading.state() == state
    (made_file,) = files.directory.iterdir()
    made_file.unlink()
    journal = PostgresJournal(postgres_url, new_epoch="second")
    async with house(tmp_path, journal=journal, limits=LIMITS, snapshots=files) as it:
        assert it.recovery.snapshot == 0
        assert await it.trading.state() == state


async def test_a_journal_is_moved_between_postgresql_and_a_file(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup under load, restored into an empty schema and into a file: the same state everywhere."""
    file, schema = tmp_path / "backup.db", "restored"
    with psycopg.connect(postgres.url, autocommit=True) as database:
        database.execute(f"CREATE SCHEMA {schema}")
    other_url = f"{postgres.url}?options=-csearch_path%3D{schema}"
    async with house(tmp_path, journal=PostgresJournal(postgres_url, new_epoch="first"), limits=LIMITS) as it:
        await trade(it, "a", 60)
        saved = await it.trading.state()
        code, out, err = run(tmp_path, capsys, "backup", str(file), "--journal", postgres_url)
        assert (code, err) == (0, "")
        assert str(saved.command_sequence) in out
        await trade(it, "later", 20)
    for url, directory in ((other_url, tmp_path), (None, tmp_path / "file")):
        where = ("--journal", url) if url else ()
        code, _, err = run(directory, capsys, "restore", str(file), *where)
        assert (code, err) == (0, "")
        code, _, err = run(directory, capsys, "restore", str(file), *where)
        assert code == 1
        assert "there is a journal already" in err
        async with house(directory, journal=PostgresJournal(url, new_epoch="x") if url else None, limits=LIMITS) as it:
            assert await it.trading.state() == saved
            assert it.trading.epoch != "first", "another journal: streams do not resume over it in silence"
            await trade(it, "new", 5)
