"""What the SQLite journal promises beyond the contract of all journals: its files, its lock, all damage found."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from server.base.errors import ConfigError, JournalCorrupt, JournalFailed
from server.storage.ports import JournalRow
from server.storage.sqlite_journal import SqliteJournal
from tests.conftest import SOAK_FACTOR

ROOT = Path(__file__).resolve().parents[2]


def row(first_seq: int, count: int = 3, size: int = 100) -> JournalRow:
    rng = random.Random(first_seq)
    return JournalRow(first_seq, count, 10**18 + first_seq, rng.randbytes(size))


ROWS = [row(1 + 3 * n) for n in range(60)]


def filled(path: Path, rows: int = 60) -> list[JournalRow]:
    """A journal of so many rows, left as a crash leaves it: the write-ahead log is still beside it."""
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, '.')\n"
        "from tests.storage.test_sqlite_journal import row\n"
        "from server.storage.sqlite_journal import SqliteJournal\n"
        f"journal = SqliteJournal(Path({str(path)!r}), new_epoch='epoch')\n"
        f"[journal.append(row(1 + 3 * n)) for n in range({rows})]\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
    return ROWS[:rows]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the journal of a crashed process, 60 rows; to be copied."""
    directory = tmp_path_factory.mktemp("crashed")
    filled(directory / "journal.db")
    return directory


def read_all(path: Path) -> tuple[str, list[JournalRow]]:
    journal = SqliteJournal(path, new_epoch="another")
    try:
        return journal.epoch, list(journal.read())
    finally:
        journal.close()


def test_a_crash_leaves_every_row(tmp_path: Path, crashed: Path) -> None:
    path = shutil.copytree(crashed, tmp_path / "copy") / "journal.db"
    assert (path.parent / "journal.db-wal").stat().st_size > 0
    assert read_all(path) == ("epoch", ROWS)


def test_files_are_for_the_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    journal = SqliteJournal(directory / "journal.db", new_epoch="epoch")
    journal.append(row(1))
    files = list(directory.iterdir())
    assert {file.name for file in files} >= {"journal.db", "journal.db-wal", "journal.db.mark"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    journal.close()


def test_a_second_process_is_told_who_is_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, new_epoch="epoch")
    opened = (
        "from pathlib import Path; from server.storage.sqlite_journal import SqliteJournal\n"
        f"SqliteJournal(Path({str(path)!r}), new_epoch='x')"
    )
    second = subprocess.run([sys.executable, "-c", opened], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert second.returncode != 0
    assert "another process uses the journal" in second.stderr
    with pytest.raises(ConfigError, match="another process"):
        SqliteJournal(path, new_epoch="x")
    journal.close()
    SqliteJournal(path, new_epoch="x").close()


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((ConfigError, FileExistsError)):
        SqliteJournal(tmp_path / "file" / "journal.db", new_epoch="x")
    (tmp_path / "journal.db").write_bytes(b"no database at all " * 1000)
    with pytest.raises(JournalCorrupt, match="cannot be read as a journal"):
        SqliteJournal(tmp_path / "journal.db", new_epoch="x")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE something (x)")
    other.close()
    with pytest.raises(JournalCorrupt, match="some other database"):
        SqliteJournal(tmp_path / "other.db", new_epoch="x")


@pytest.mark.parametrize("which", ["journal.db", "journal.db-wal", "journal.db.mark"])
def test_every_flipped_bit_is_found_or_changes_nothing(tmp_path: Path, crashed: Path, which: str) -> None:
    """Whatever bit flips in whatever file: either the damage is reported, or every row is read as it was written."""
    source = tmp_path / "source"
    shutil.copytree(crashed, source)
    rows = ROWS
    if which == "journal.db":  # everything in the main file: what a clean stop leaves
        read_all(source / "journal.db")
    original = (source / which).read_bytes()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    found = 0
    flips = min(150 * SOAK_FACTOR, 8 * len(original))
    for number in range(flips):
        bit = rng.randrange(8 * len(original))
        copy = tmp_path / f"copy{number}"
        shutil.copytree(source, copy)
        damaged = bytearray(original)
        damaged[bit // 8] ^= 1 << bit % 8
        (copy / which).write_bytes(damaged)
        try:
            assert read_all(copy / "journal.db") == ("epoch", rows), f"bit {bit} of {which} went unnoticed, seed {seed}"
        except (JournalCorrupt, ConfigError):  # ConfigError: SQLite takes the file for one of a newer version
            found += 1
        shutil.rmtree(copy)
    assert found > flips // 4, "most of the file is rows"


def test_rows_that_vanish_move_or_come_from_elsewhere_are_found(tmp_path: Path, crashed: Path) -> None:
    def damaged(name: str, statement: str) -> None:
        path = tmp_path / name / "journal.db"
        shutil.copytree(crashed, path.parent)
        with sqlite3.connect(path) as database:
            assert database.execute(statement).rowcount > 0
        database.close()
        with pytest.raises(JournalCorrupt):
            read_all(path)

    damaged("first", "DELETE FROM commits WHERE first_seq = 1")
    damaged("middle", "DELETE FROM commits WHERE first_seq = 7")
    damaged("last", "DELETE FROM commits WHERE first_seq = 178")
    damaged("all", "DELETE FROM commits")
    damaged("time", "UPDATE commits SET ts_ns = ts_ns + 1 WHERE first_seq = 4")
    damaged("epoch", "UPDATE about SET epoch = 'else'")
    damaged("checksum", "UPDATE commits SET checksum = x'00' WHERE first_seq = 10")
    swap = "UPDATE commits SET payload = (SELECT payload FROM commits WHERE first_seq = 4) WHERE first_seq = 10"
    damaged("swapped", swap)


def test_a_lost_journal_does_not_look_like_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    filled(path, 2)
    read_all(path)
    path.unlink()
    with pytest.raises(JournalCorrupt, match="is gone"):
        SqliteJournal(path, new_epoch="x")


def test_the_administrator_can_take_a_shortened_journal_as_it_is(tmp_path: Path, crashed: Path) -> None:
    path = shutil.copytree(crashed, tmp_path / "copy") / "journal.db"
    log = path.parent / "journal.db-wal"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size // 2)
    with pytest.raises(JournalCorrupt, match=r"were acknowledged: .*delete .*journal\.db\.mark"):
        read_all(path)
    (path.parent / "journal.db.mark").unlink()
    epoch, rows = read_all(path)
    assert epoch == "epoch"
    assert 0 < len(rows) < 60
    assert rows == ROWS[: len(rows)]


def test_a_full_disk_fails_the_append_and_loses_nothing(tmp_path: Path) -> None:
    """A bound on file sizes in a child process stands for the full disk: SQLite sees the same failing write."""
    path = tmp_path / "journal.db"
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, '.')\n"
        "from tests.storage.test_sqlite_journal import append_until_full\n"
        f"append_until_full(Path({str(path)!r}))"
    )
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    acknowledged, message = child.stdout.strip().split(" ", 1)
    assert "cannot be written" in message
    epoch, rows = read_all(path)
    assert epoch == "epoch"
    assert rows[: int(acknowledged)] == [row(1 + 3 * n, size=2_000) for n in range(int(acknowledged))]
    assert len(rows) <= int(acknowledged) + 1, "at most the row whose outcome was unknown"


def append_until_full(path: Path) -> None:
    """Prints how many rows were acknowledged before the failure, and the failure."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = SqliteJournal(path, new_epoch="epoch")
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    for number in range(1_000_000):
        try:
            journal.append(row(1 + 3 * number, size=2_000))
        except JournalFailed as error:
            print(number, error)
            return
