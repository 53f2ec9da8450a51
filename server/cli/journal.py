"""The journal on this machine: verify it, read it, carry it out again, back it up; whether a server runs or not."""

from __future__ import annotations

import asyncio
import json as json_format
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from server.base.errors import SnapshotUnusable
from server.cli.render import fail, print_json
from server.cli.session import JsonFlag, Session, session_of
from server.process.lifecycle import running_instance

JournalOption = Annotated[
    str | None,
    typer.Option("--journal", metavar="URL", help="sqlite:///PATH or postgresql://... Default: the data directory's."),
]

journal = typer.Typer(
    help="The journal: every command, in order.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    app.add_typer(journal, name="journal")
    for command in (backup, restore):
        app.command()(command)


def _url(session: Session, given: str | None) -> str:
    from server.storage.urls import sqlite_url

    return given or sqlite_url((session.local_data_dir() / "journal.db").absolute())


@journal.command()
def verify(context: typer.Context, journal_url: JournalOption = None, json: JsonFlag = False) -> None:
    """Read every row and snapshot; check every checksum.

    Exits 1 at the first row that is not as it was written.

    \b
    Example:
      tradewind journal verify
    """
    from server.recovery.recover import command_batches, load_snapshot
    from server.storage.snapshot_files import SnapshotFiles
    from server.storage.urls import open_journal_reader

    session = session_of(context)
    start = time.monotonic()
    reader = open_journal_reader(_url(session, journal_url))
    try:
        rows = sum(1 for _ in command_batches(reader, 1, at_least=1))
        store = SnapshotFiles(session.data_dir / "snapshots", keep=1)
        snapshots: dict[int, str] = {}
        for sequence in store.sequences():
            try:
                load_snapshot(store, sequence, reader)
                snapshots[sequence] = "whole"
            except SnapshotUnusable as error:
                snapshots[sequence] = error.message
        found = {"epoch": reader.epoch, "rows": rows, "commands": reader.last_seq, "snapshots": snapshots}
    finally:
        reader.close()
    if json:
        print_json(found | {"seconds": time.monotonic() - start})
        return
    print(f"{rows} rows, {reader.last_seq} commands: every checksum is right ({time.monotonic() - start:.1f} s)")
    for sequence, problem in snapshots.items():
        print(f"snapshot at command {sequence}: {problem}")


@journal.command()
def export(
    context: typer.Context,
    from_seq: Annotated[int, typer.Option("--from", min=1, help="First command.")] = 1,
    to_seq: Annotated[int | None, typer.Option("--to", min=1, help="Last command. Default: the newest.")] = None,
    journal_url: JournalOption = None,
) -> None:
    """Print commands, a JSON object a line.

    The fields that are not zero, in engine units (ticks, lots, numbers).

    \b
    Example:
      tradewind journal export --from 1000 --to 1100 | jq .
    """
    from server.storage.urls import open_journal_reader

    reader = open_journal_reader(_url(session_of(context), journal_url))
    try:
        for command in _commands(reader, from_seq, to_seq or reader.last_seq):
            print(json_format.dumps(command))
    finally:
        reader.close()


def _commands(reader: Any, from_seq: int, to_seq: int) -> Iterator[dict[str, int | str]]:
    from fastpath.model import codec, structs
    from fastpath.model.enums import CommandKind

    layouts = {
        CommandKind.COMMAND_DEFINE_ASSET: structs.ASSET,
        CommandKind.COMMAND_DEFINE_INSTRUMENT: structs.INSTRUMENT,
        CommandKind.COMMAND_DEFINE_ACCOUNT: structs.ACCOUNT,
    }
    for row in reader.read(from_seq):
        packed = codec.decode(row.payload)
        for at in range(0, len(packed), structs.COMMAND_SIZE):
            record = packed[at : at + structs.COMMAND_SIZE]
            fields = structs.COMMAND.unpack(record)
            kind = CommandKind(fields["kind"])
            if fields["seq"] < from_seq:
                continue
            if fields["seq"] > to_seq:
                return
            if kind in layouts:
                fields = layouts[kind].unpack(record)
            shown = {name: _text(value) for name, value in fields.items() if value}
            yield shown | {"kind": kind.name.removeprefix("COMMAND_")}


def _text(value: int | bytes) -> int | str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@journal.command()
def replay(context: typer.Context, journal_url: JournalOption = None, json: JsonFlag = False) -> None:
    """Carry out the whole journal; print the hash of the state.

    In a new engine, without snapshots. The same journal always comes to the same hash; a server shows that of its
    newest snapshot in `tradewind status --json`.

    \b
    Example:
      tradewind journal replay
    """
    from server.app.config import load_config
    from server.engine.engine import Engine
    from server.engine.limits import EngineLimits
    from server.recovery.recover import recover
    from server.storage.urls import open_journal_reader

    reader = open_journal_reader(_url(session_of(context), journal_url))
    try:
        engine = Engine(EngineLimits(**load_config().engine.model_dump()), reader.epoch)
        done = asyncio.run(recover(engine, reader))
    finally:
        reader.close()
    engine.exchange.validate()
    found = {
        "commands": engine.command_sequence,
        "events": engine.exchange.event_seq,
        "state_hash": f"{engine.exchange.state_hash():016x}",
        "commands_per_s": round(done.commands_per_s),
    }
    if json:
        print_json(found)
    else:
        print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items()))


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="New file for the backup.")],
    journal_url: JournalOption = None,
    json: JsonFlag = False,
) -> None:
    """Copy the journal into a file and verify the copy.

    Also while the server runs. It holds everything but tokens and recorded market data.

    \b
    Example:
      tradewind backup /backup/tradewind-2025-01-31.db
    """
    from server.storage.journal_backup import back_up

    last_seq = back_up(_url(session_of(context), journal_url), file, lambda done, total: None)
    _said(json, f"{file}: {last_seq} commands, verified", file=str(file), commands=last_seq)


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup.", exists=True, dir_okay=False)],
    journal_url: JournalOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a journal from a backup.

    It is made in a data directory that has none, or in an empty schema of PostgreSQL. Streams of clients begin anew,
    with a gap.

    \b
    Example:
      tradewind --data-dir /srv/new restore /backup/tradewind-2025-01-31.db
    """
    from server.storage.journal_backup import restore as restore_journal

    session = session_of(context)
    directory = session.local_data_dir()
    if (running := running_instance(directory)) is not None:
        fail(f"a server runs on {directory} (process {running.pid}): stop it first, tradewind down")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    url = _url(session, journal_url)
    last_seq = restore_journal(file, url, secrets.token_hex(8), lambda done, total: None)
    _said(json, f"{last_seq} commands restored; start with: tradewind up", commands=last_seq)


def _said(json: bool, text: str, **found: object) -> None:
    if json:
        print_json(found)
    else:
        print(text)
