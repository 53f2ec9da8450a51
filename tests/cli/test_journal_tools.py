"""`tradewind journal`, `backup` and `restore` on the journal of a real engine, stopped and running."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from server.base.streams import Gap, StreamPosition
from server.cli.main import main
from server.engine.limits import EngineLimits
from tests.recovery.test_snapshots import snapshot, trade
from tests.support.engine import house

LIMITS = EngineLimits(max_orders=50_000)


def run(directory: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(["--data-dir", str(directory), *arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


async def test_a_journal_is_verified_replayed_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 100)
        await snapshot(tmp_path, LIMITS)
        state = await it.trading.state()
        code, out, _ = run(tmp_path, capsys, "journal", "verify", "--json")  # beside the writer
        assert code == 0
        assert json.loads(out)["commands"] == state.command_sequence
        assert set(json.loads(out)["snapshots"].values()) == {"whole"}
        code, out, _ = run(tmp_path, capsys, "journal", "export", "--from", "5", "--to", "30")
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["seq"] for line in lines] == list(range(5, 31))
        assert {"PLACE", "ADJUST_BALANCE"} <= {line["kind"] for line in lines}
        assert any(line.get("client_order_id", "").startswith("a-") for line in lines)


async def test_a_replay_comes_to_the_same_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 100)
        state = await it.trading.state()
    import threading

    answers: list[tuple[int, str, str]] = []
    # The command has an event loop of its own.
    thread = threading.Thread(target=lambda: answers.append(run(tmp_path, capsys, "journal", "replay", "--json")))
    thread.start()
    thread.join(60)
    (code, out, err) = answers[0]
    assert code == 0, err
    assert json.loads(out)["state_hash"] == f"{state.state_hash:016x}"


async def test_a_flipped_bit_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 30)
    with sqlite3.connect(tmp_path / "journal.db") as database:
        seq, payload = database.execute("SELECT first_seq, payload FROM commits WHERE first_seq > 20").fetchone()
        damaged = bytes([*payload[:9], payload[9] ^ 1, *payload[10:]])
        database.execute("UPDATE commits SET payload = ? WHERE first_seq = ?", (damaged, seq))
    database.close()
    code, out, err = run(tmp_path, capsys, "journal", "verify")
    assert (code, out) == (1, "")
    assert f"row of command {seq} does not carry its checksum" in err


async def test_a_backup_of_a_running_engine_is_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, other = tmp_path / "backup.db", tmp_path / "other"
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 60)
        saved = await it.trading.state()
        code, out, err = run(tmp_path, capsys, "backup", str(file))
        assert (code, err) == (0, "")
        assert str(saved.command_sequence) in out
        await trade(it, "later", 20)
        code, _, err = run(tmp_path, capsys, "backup", str(file))
        assert code == 1
        assert "overwrites nothing" in err
        code, _, err = run(tmp_path, capsys, "restore", str(file))
        assert code == 1
        assert "another process uses the journal" in err
    code, _, err = run(tmp_path, capsys, "restore", str(file))
    assert code == 1
    assert "there is a journal already" in err
    assert file.stat().st_mode & 0o777 == 0o600
    code, _, err = run(other, capsys, "restore", str(file))
    assert (code, err) == (0, "")
    async with house(other, limits=LIMITS) as it:
        assert await it.trading.state() == saved
        assert it.trading.epoch != "epoch-1", "another journal: streams do not resume over it in silence"
        stream = it.trading.subscribe_orders("alice", StreamPosition("epoch-1", saved.event_sequence))
        await anext(stream)
        assert isinstance((await anext(stream)).event, Gap)
        stream.close()
        await trade(it, "new", 5)


async def test_a_damaged_backup_is_not_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, other = tmp_path / "backup.db", tmp_path / "other"
    async with house(tmp_path, limits=LIMITS) as it:
        await trade(it, "a", 30)
    assert run(tmp_path, capsys, "backup", str(file))[0] == 0
    with sqlite3.connect(file) as database:
        database.execute("UPDATE commits SET ts_ns = ts_ns + 1 WHERE first_seq = (SELECT max(first_seq) FROM commits)")
    database.close()
    code, _, err = run(other, capsys, "restore", str(file))
    assert code == 1
    assert "does not carry its checksum" in err
    assert not (other / "journal.db").exists()
