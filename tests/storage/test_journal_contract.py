"""What every journal promises, on each real store; then what PostgreSQL's alone promises."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from loadtest.servers import PostgresServer
from server.base.errors import ConfigError, JournalCorrupt, JournalFailed
from server.storage.ports import Journal, JournalRow
from server.storage.postgres_journal import PostgresJournal
from server.storage.urls import open_journal
from tests.conftest import SOAK_FACTOR


@dataclass(frozen=True)
class Store:
    """A journal's place: open it as often as you like, and damage it."""

    url: str
    mark: Path
    flip_bit: Callable[[int], None]
    """Flips one bit in the stored payload of the row that begins with this sequence."""
    delete_from: Callable[[int], None]
    """Deletes the rows that begin with this sequence or later."""

    def open(self, new_epoch: str = "first") -> Journal:
        return open_journal(self.url, new_epoch=new_epoch, mark=self.mark)


def _sqlite(directory: Path) -> Store:
    import sqlite3

    path = directory / "journal.db"

    def flip_bit(first_seq: int) -> None:
        with sqlite3.connect(path) as database:
            (table,) = database.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%payload%'").fetchone()
            (payload,) = database.execute(f"SELECT payload FROM {table} WHERE first_seq = ?", (first_seq,)).fetchone()
            database.execute(f"UPDATE {table} SET payload = ? WHERE first_seq = ?", (_flipped(payload), first_seq))

    def delete_from(first_seq: int) -> None:
        with sqlite3.connect(path) as database:
            database.execute("DELETE FROM commits WHERE first_seq >= ?", (first_seq,))

    return Store(f"sqlite:///{path}", path.with_name("journal.db.mark"), flip_bit, delete_from)


def _postgres(url: str, directory: Path) -> Store:
    def flip_bit(first_seq: int) -> None:
        with psycopg.connect(url) as database:
            found = database.execute("SELECT payload FROM journal_rows WHERE first_seq = %s", (first_seq,)).fetchone()
            assert found is not None
            database.execute(
                "UPDATE journal_rows SET payload = %s WHERE first_seq = %s", (_flipped(found[0]), first_seq)
            )

    def delete_from(first_seq: int) -> None:
        with psycopg.connect(url) as database:
            database.execute("DELETE FROM journal_rows WHERE first_seq >= %s", (first_seq,))

    return Store(url, directory / "journal.mark", flip_bit, delete_from)


def _flipped(payload: bytes) -> bytes:
    middle = len(payload) // 2
    return payload[:middle] + bytes([payload[middle] ^ 0x10]) + payload[middle + 1 :]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return _sqlite(tmp_path)
    return _postgres(request.getfixturevalue("postgres_url"), tmp_path)


def row(first_seq: int, count: int = 3) -> JournalRow:
    payload = b"".join(b"command %d;" % seq for seq in range(first_seq, first_seq + count))
    return JournalRow(first_seq, count, 1_700_000_000_000_000_000 + first_seq, payload)


def fill(journal: Journal, rows: int) -> list[JournalRow]:
    written = []
    for _ in range(rows):
        written.append(row(journal.last_seq + 1, 1 + len(written) % 5))
        journal.append(written[-1])
    return written


def test_an_empty_journal(store: Store) -> None:
    journal = store.open()
    assert (journal.epoch, journal.last_seq, list(journal.read())) == ("first", 0, [])
    journal.close()


def test_rows_and_epoch_survive_reopening(store: Store) -> None:
    journal = store.open("first")
    written = fill(journal, 150)
    last_seq = journal.last_seq
    journal.close()

    journal = store.open("second")
    assert journal.epoch == "first"
    assert journal.last_seq == last_seq
    assert list(journal.read()) == written
    journal.append(row(last_seq + 1))
    assert [r.first_seq for r in journal.read(last_seq + 1)] == [last_seq + 1]
    journal.close()


def test_reading_starts_at_the_row_that_holds_the_sequence(store: Store) -> None:
    journal = store.open()
    written = fill(journal, 10)
    for start in range(1, journal.last_seq + 1):
        expected = [r for r in written if r.first_seq + r.count > start]
        assert list(journal.read(start)) == expected
    assert list(journal.read(journal.last_seq + 1)) == []
    journal.close()


@pytest.mark.parametrize("first_seq", [1, 3, 5, 100])
def test_a_row_that_does_not_continue_is_refused(store: Store, first_seq: int) -> None:
    journal = store.open()
    journal.append(row(1, 3))
    with pytest.raises(JournalFailed):
        journal.append(row(first_seq))
    assert journal.last_seq == 3
    journal.append(row(4))
    assert [r.first_seq for r in journal.read()] == [1, 4]
    journal.close()


def test_a_flipped_bit_is_found_and_rows_before_it_are_still_read(store: Store) -> None:
    journal = store.open()
    written = fill(journal, 9)
    journal.close()
    store.flip_bit(written[4].first_seq)

    journal = store.open()
    rows = journal.read()
    assert [next(rows) for _ in range(4)] == written[:4]
    with pytest.raises(JournalCorrupt, match=str(written[4].first_seq)):
        next(rows)
    journal.close()


def test_rows_that_vanished_from_the_end_are_missed(store: Store) -> None:
    """Rows of a chain that was cut off carry their checksums; the mark of this machine knows that there were more."""
    journal = store.open()
    written = fill(journal, 9)
    journal.close()
    store.delete_from(written[6].first_seq)
    acknowledged, kept = written[8].first_seq + written[8].count - 1, written[6].first_seq - 1
    with pytest.raises(JournalCorrupt, match=rf"ends at command {kept}, but commands up to {acknowledged} were") as error:
        store.open()
    assert f"delete {store.mark}" in error.value.message
    store.mark.unlink()
    journal = store.open()
    assert list(journal.read()) == written[:6]
    journal.close()
    store.delete_from(1)
    with pytest.raises(JournalCorrupt, match="ends at command 0"):
        store.open()


def test_an_empty_journal_is_loaded_whole_or_not_at_all(store: Store) -> None:
    rows = [row(1, 3), row(4, 2), row(6, 1)]

    def cut_short() -> Iterator[JournalRow]:
        yield from rows[:2]
        raise JournalCorrupt("the rest cannot be read")

    journal = store.open()
    with pytest.raises(JournalCorrupt):
        journal.load(cut_short())
    assert (journal.last_seq, list(journal.read())) == (0, [])
    journal.load(rows)
    assert (journal.last_seq, list(journal.read())) == (6, rows)
    with pytest.raises(JournalFailed, match="not empty"):
        journal.load([row(7)])
    journal.append(row(7))
    journal.close()
    journal = store.open()
    assert list(journal.read()) == [*rows, row(7)]
    journal.close()


def test_a_second_writer_is_refused(store: Store) -> None:
    journal = store.open()
    with pytest.raises(ConfigError, match=r"journal|data"):
        store.open()
    journal.append(row(1))
    journal.close()
    store.open().close()


# -- PostgreSQL alone ----------------------------------------------------------------------------------------

WRITER = """
import sys
from server.storage.ports import JournalRow
from server.storage.postgres_journal import PostgresJournal
journal = PostgresJournal(sys.argv[1], new_epoch="first")
while True:
    seq = journal.last_seq + 1
    journal.append(JournalRow(seq, 1, seq, b"x" * 100))
    print(seq, flush=True)
"""


def writer(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)


def acknowledged_until(process: subprocess.Popen[str], count: int) -> Iterator[int]:
    assert process.stdout is not None
    for line in process.stdout:
        yield int(line)
        count -= 1
        if count == 0:
            return


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_standby_takes_over_when_the_writer_dies(postgres_url: str, signal_number: int) -> None:
    process = writer(postgres_url)
    try:
        list(acknowledged_until(process, 20))
        with pytest.raises(ConfigError, match=r"server tradewind journal at .* writes this journal"):
            PostgresJournal(postgres_url, new_epoch="second")

        asked = threading.Event()
        died: list[float] = []

        def keep_waiting() -> bool:
            if not asked.is_set():
                asked.set()
            return True

        def kill() -> None:
            asked.wait(20)
            process.send_signal(signal_number)
            died.append(time.monotonic())

        killer = threading.Thread(target=kill)
        killer.start()
        standby = PostgresJournal(postgres_url, new_epoch="second", keep_waiting=keep_waiting)
        killer.join()
        print(f"standby took over {1e3 * (time.monotonic() - died[0]):.0f} ms after the writer died")
        last_acknowledged = max(map(int, process.stdout.read().split() if process.stdout else []), default=20)
        assert standby.epoch == "first"
        assert last_acknowledged <= standby.last_seq <= last_acknowledged + 1
        assert [r.first_seq for r in standby.read()] == list(range(1, standby.last_seq + 1))
        standby.append(row(standby.last_seq + 1))
        standby.close()
    finally:
        process.kill()
        process.wait()


def test_nothing_acknowledged_is_lost_when_writer_or_database_is_killed(
    postgres: PostgresServer, postgres_url: str
) -> None:
    """Writers follow one another, each killed at a random time, now and then together with the database."""
    rng = random.Random(7)
    for round_number in range(5 * SOAK_FACTOR):
        process = writer(postgres_url)
        try:
            seen = list(acknowledged_until(process, 1 + rng.randrange(60)))
            if round_number % 2:
                postgres.kill()
            process.kill()
            assert process.stdout is not None
            acknowledged = max([*seen, *map(int, process.stdout.read().split())])
        finally:
            process.kill()
            process.wait()
        if round_number % 2:
            postgres.start()
        journal = PostgresJournal(postgres_url, new_epoch="other", keep_waiting=lambda: True)
        rows = [r.first_seq for r in journal.read()]
        journal.close()
        assert rows == list(range(1, len(rows) + 1))
        # Nothing lost, and at most the one row that was on its way is there without having been acknowledged.
        assert acknowledged <= len(rows) <= acknowledged + 1


def test_a_standby_can_be_told_to_give_up(postgres_url: str) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first")
    answers = iter([True, True, False])
    with pytest.raises(ConfigError, match="standby"):
        PostgresJournal(postgres_url, new_epoch="second", keep_waiting=lambda: next(answers))
    journal.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_database_restarts_under_load(postgres: PostgresServer, postgres_url: str, how: str) -> None:
    """Three times. Every row whose append returned is there once, and appends go on by themselves."""
    journal = PostgresJournal(postgres_url, new_epoch="first", patience_s=30)
    written: list[JournalRow] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            next_row = row(journal.last_seq + 1, 2)
            journal.append(next_row)
            written.append(next_row)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(3):
            before = len(written)
            while len(written) < before + 50:
                time.sleep(0.01)
                assert thread.is_alive()
            getattr(postgres, how)()
            postgres.start()
        before = len(written)
        while len(written) < before + 50:
            time.sleep(0.01)
            assert thread.is_alive()
    finally:
        done.set()
        thread.join()
    assert list(journal.read()) == written
    journal.close()


def test_a_row_committed_before_the_connection_broke_is_not_written_twice(postgres_url: str) -> None:
    """The connection breaks once after the commit and once before it; only the first row is there already."""
    journal = PostgresJournal(postgres_url, new_epoch="first")
    journal.append(row(1))
    for after_commit in (True, False):
        cut = _CuttingConnection(journal, after_commit=after_commit)
        journal.append(row(journal.last_seq + 1))
        assert cut.was_cut
    assert [r.first_seq for r in journal.read()] == [1, 4, 7]
    journal.close()


class _CuttingConnection:
    """Stands between a journal and its real session: breaks it right after, or right before, the next statement."""

    def __init__(self, journal: PostgresJournal, *, after_commit: bool) -> None:
        self.was_cut = False
        self._session = journal._connected()
        self._execute = self._session.execute
        self._after_commit = after_commit
        self._session.execute = self.execute  # type: ignore[method-assign]

    def execute(self, query: str, *arguments: object, **options: object) -> object:
        self.was_cut = True
        if self._after_commit:
            self._execute(query, *arguments, **options)  # type: ignore[call-overload]
        self._session.close()
        raise psycopg.OperationalError("connection lost")


def test_a_database_that_stays_away_raises_and_is_found_out_later(postgres: PostgresServer, postgres_url: str) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first", patience_s=0.3)
    journal.append(row(1))
    postgres.kill()
    try:
        for _ in range(2):
            with pytest.raises(JournalFailed, match="does not answer") as failed:
                journal.append(row(4))
            assert failed.value.metadata == {"committed": "unknown"}
    finally:
        postgres.start()
    journal.append(row(4))
    assert [r.first_seq for r in journal.read()] == [1, 4]
    journal.close()


def test_a_database_that_hangs_is_given_up(postgres: PostgresServer, postgres_url: str) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first", patience_s=0.1, timeout_s=0.4)
    journal.append(row(1))
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE journal_rows IN EXCLUSIVE MODE")
        with pytest.raises(JournalFailed):
            journal.append(row(4))
    journal.append(row(4))
    assert [r.first_seq for r in journal.read()] == [1, 4]
    journal.close()


def test_a_row_the_database_refuses_is_not_there_and_the_next_one_may_be(postgres_url: str) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first")
    journal.append(row(1))
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("ALTER TABLE journal_rows ADD CHECK (octet_length(payload) < 1000)")
    with pytest.raises(JournalFailed, match="refused the row") as failed:
        journal.append(JournalRow(4, 1, 1, bytes(2_000)))
    assert failed.value.metadata == {"committed": "no"}
    journal.append(row(4))
    assert [r.first_seq for r in journal.read()] == [1, 4]
    journal.close()
    with pytest.raises(JournalFailed, match="closed"):
        journal.append(row(7))


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_database_that_does_not_sync_is_refused(postgres: PostgresServer, postgres_url: str, setting: str) -> None:
    def switch(value: str) -> None:
        with psycopg.connect(postgres.url, autocommit=True) as other:
            other.execute(f"ALTER SYSTEM SET {setting} = {value}")
            other.execute("SELECT pg_reload_conf()")
        while True:
            with psycopg.connect(postgres.url) as other:
                if other.execute(f"SHOW {setting}").fetchone() == (value,):
                    return
            time.sleep(0.02)

    switch("off")
    try:
        with pytest.raises(ConfigError, match=f"{setting}=off"):
            PostgresJournal(postgres_url, new_epoch="first")
    finally:
        switch("on")
    PostgresJournal(postgres_url, new_epoch="first").close()


def test_a_writer_that_was_overtaken_can_not_write(postgres_url: str) -> None:
    old = PostgresJournal(postgres_url, new_epoch="first", patience_s=0.1)
    old.append(row(1))
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tradewind journal'"
        )
    new = PostgresJournal(postgres_url, new_epoch="second", keep_waiting=lambda: True)
    with pytest.raises(JournalFailed, match="took the journal over"):
        old.append(row(4))
    new.append(JournalRow(4, 3, 1, b"written by the other server"))
    new.close()
    with pytest.raises(JournalFailed, match="another server wrote commands 4 to 6"):
        old.append(row(4))
    old.close()


def test_missing_rows_are_found(postgres_url: str) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first")
    fill(journal, 10)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("DELETE FROM journal_rows WHERE first_seq = 2")
    with pytest.raises(JournalCorrupt, match="row of command 2 is missing"):
        list(journal.read())
    journal.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://tradewind:hidden-password@127.0.0.1:1/none",
        "postgresql://tradewind:hidden-password@127.0.0.1:x/none",
        "postgresql://tradewind:hidden-password@127.0.0.1:1/none?sslmode=maybe",
        "postgresql://tradewind:hidden-password@127.0.0.1:1/none?colour=red",
        "postgresql://tradewind:hidden-password@[127.0.0.1:1/none",
        "postgres://tradewind:hidden-password@h:1:2/%zz",
        "mysql://tradewind:hidden-password@127.0.0.1/none",
        "hidden-password",
        "sqlite://hidden-password/journal.db",
        "sqlite:",
    ],
)
def test_a_wrong_url_says_so_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        open_journal(url, new_epoch="first")
    assert "hidden-password" not in str(error.value)
    assert os.linesep not in str(error.value)
