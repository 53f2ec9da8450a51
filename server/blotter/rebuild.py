"""Rebuilds the blotter from the journal, also while a server writes to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from fastpath.model import records
from fastpath.model.structs import COMMAND_SIZE
from server.engine.engine import Engine
from server.engine.limits import EngineLimits
from server.recovery.recover import command_batches
from server.storage.blotter_rows import blotter_batch, defines_names, directory_rows
from server.storage.ports import BlotterMoved
from server.storage.urls import open_blotter, open_journal_reader


def rebuild_blotter(
    journal_url: str, blotter_url: str, limits: EngineLimits, progress: Callable[[int, int], None]
) -> int:
    """Empty the blotter and fill it from the whole journal; `progress` hears (commands done, in all). Returns the
    sequence of the last event. Raises ConfigError, JournalCorrupt, Unavailable."""
    with contextlib.ExitStack() as opened:
        journal = opened.enter_context(contextlib.closing(open_journal_reader(journal_url)))
        store = opened.enter_context(contextlib.closing(open_blotter(blotter_url, epoch=journal.epoch)))
        store.clear()
        engine = Engine(limits, journal.epoch)
        after = 0
        for commands, ts_ns in command_batches(journal, 1, limits.batch_commands):
            events = engine.apply(commands)
            last_seq = engine.command_sequence + len(commands) // COMMAND_SIZE
            engine.commit(commands, events, last_seq, ts_ns)
            if events:
                directory = directory_rows(engine.registry) if defines_names(events) else {}
                # A running server whose cursor was taken away may be faster: then its rows are there already.
                with contextlib.suppress(BlotterMoved):
                    store.write(blotter_batch(after, events, directory))
                after = records.last_sequence(events)
            progress(last_seq, journal.last_seq)
        return after
