"""Journals and snapshots of earlier versions, kept as files: this version reads them, and goes on where they end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fastpath.state.snapshot import STATE_VERSION
from server.engine import snapshot as snapshot_format
from server.engine import snapshot_upgrade
from server.engine.engine import EXCHANGE_SECTION, new_exchange, restored_exchange
from server.recovery.recover import command_batches
from server.storage.snapshot_files import SnapshotFiles
from server.storage.sqlite_rows import SqliteJournalReader
from tests.recovery.older_formats.make import LIMITS, said
from tests.support.engine import house

FORMATS = Path(__file__).with_name("older_formats")
VERSIONS = sorted(int(directory.name.removeprefix("v")) for directory in FORMATS.glob("v*"))


def kept(version: int, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of the files of a version, and what that version said of them."""
    directory = shutil.copytree(FORMATS / f"v{version}", tmp_path / "data")
    return directory, json.loads((directory / "facts.json").read_text())


def test_a_version_was_kept_for_every_step() -> None:
    assert list(range(1, STATE_VERSION)) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_older_snapshot_is_upgraded_and_the_tail_carried_out(version: int, tmp_path: Path) -> None:
    directory, facts = kept(version, tmp_path)
    files = SnapshotFiles(directory / "snapshots", keep=3)
    (sequence,) = files.sequences()
    state = snapshot_format.decode(files.read(sequence)).sections[EXCHANGE_SECTION]
    assert snapshot_upgrade.version_of(state) == version
    async with house(directory, limits=LIMITS, snapshots=files) as it:
        assert (it.recovery.snapshot, it.recovery.unusable) == (facts["snapshot"], ())
        after = facts["after"]
        # The start gives assets that had 64-bit amounts finer units: one command each, and every amount as it was.
        after["command_sequence"] += len(list(it.trading.registry.assets())) if version < 6 else 0
        assert await said(it) == after
        it.engine.exchange.validate()
        upgraded = it.engine.exchange.state_hash()
    async with house(directory, limits=LIMITS) as it:
        assert it.recovery.snapshot == 0
        assert await said(it) == after, "the journal alone says the same"
        assert it.engine.exchange.state_hash() == upgraded, "the upgrade left nothing out"
        placed = await it.trading.place(it.buy(1_000, 200, client_order_id="new"))
        assert placed.order.order_id == after["command_sequence"] + 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_older_snapshot_alone_is_what_its_commands_make(version: int, tmp_path: Path) -> None:
    directory, facts = kept(version, tmp_path)
    reader = SqliteJournalReader(directory / "journal.db")
    data = SnapshotFiles(directory / "snapshots", keep=3).read(facts["snapshot"])
    restored = restored_exchange(snapshot_format.decode(data), LIMITS)
    replayed = new_exchange(LIMITS)
    for commands, _ in command_batches(reader, 1, at_least=1):
        if replayed.last_seq < facts["snapshot"]:
            replayed.apply(commands)
    reader.close()
    assert (restored.last_seq, restored.event_seq) == (replayed.last_seq, replayed.event_seq)
    assert restored.state_hash() == replayed.state_hash()


def test_what_no_step_leads_from_is_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        snapshot_upgrade.to_this_version(b"TWSTATE")
    for version in (0, STATE_VERSION + 1):
        with pytest.raises(ValueError, match=f"version {version}; this build reads 1 to {STATE_VERSION}"):
            snapshot_upgrade.to_this_version(b"TWSTATE\n" + version.to_bytes(8, "little"))
    cut = b"TWSTATE\n" + (1).to_bytes(8, "little") + bytes(8)
    with pytest.raises(ValueError, match="cut short"):
        snapshot_upgrade.to_this_version(cut)
