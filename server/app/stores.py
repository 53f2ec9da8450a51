"""The configured stores: opened by URL, run, and shown on the status board as `store/<name>`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from urllib.parse import quote

import structlog
from pydantic import SecretStr

from server.app.config import Config
from server.base.background import keep_running
from server.base.clock import Clock
from server.base.errors import Unavailable
from server.base.instruments import Instrument
from server.blotter.process import BlotterProcess
from server.blotter.writer import BlotterStatus, BlotterWriter
from server.engine.engine import Engine
from server.market.bus import INSTRUMENTS
from server.market.hub import MarketData
from server.market.model import BookUpdate
from server.market.recorder import TickWriter, TickWriterLimits
from server.process.lifecycle import ServiceState, StatusBoard
from server.process.observability import StoreMetrics
from server.recovery.past_events import events_from_journal
from server.storage.ports import BlotterStore, Bus, Journal, TickStore
from server.storage.snapshot_files import SnapshotFiles
from server.storage.spool import Spool
from server.storage.urls import open_blotter, open_bus, open_journal, open_tick_store

OFF = "off"
_WATCH_S = 1.0

log = structlog.get_logger("stores")


class Stores:
    """All configured stores. `parts` stops them in reverse order."""

    def __init__(
        self,
        config: Config,
        board: StatusBoard,
        clock: Clock,
        metrics: StoreMetrics,
        parts: contextlib.AsyncExitStack,
    ) -> None:
        self._settings = config.storage
        self._data_dir = config.data_dir
        self._board = board
        self._clock = clock
        self._metrics = metrics
        self._parts = parts
        self.journal_url = journal_url(config)
        self._blotter_url = blotter_url(config)

    async def open_journal(self, new_epoch: str) -> Journal:
        """The journal, once this server may write it. Raises ConfigError, JournalCorrupt."""
        name, given_up = "store/journal", threading.Event()
        waits = "standby: waits while another server writes the journal"
        self._board.set(name, ServiceState.STARTING, waits if self._settings.standby else "opening")

        def open_it() -> Journal:
            standby = (lambda: not given_up.is_set()) if self._settings.standby else None
            mark = self._data_dir / "journal.mark"
            journal = open_journal(self.journal_url, new_epoch=new_epoch, mark=mark, keep_waiting=standby)
            if given_up.is_set():
                journal.close()
            return journal

        opening = asyncio.get_running_loop().run_in_executor(None, open_it)
        try:
            journal = await asyncio.shield(opening)
        except asyncio.CancelledError:
            given_up.set()
            with contextlib.suppress(Exception):
                await opening
            raise
        self._board.set(name, ServiceState.SERVING, _kind(self.journal_url))
        return journal

    def start_blotter(self, engine: Engine, snapshots: SnapshotFiles) -> BlotterStore:
        """The blotter, filled from the engine's events. Raises ConfigError."""
        url = self._blotter_url
        store = open_blotter(url, epoch=engine.log.epoch)
        self._board.set("store/blotter", ServiceState.STARTING, "opening")

        def show(status: BlotterStatus) -> None:
            if status.error is None:
                self._board.set("store/blotter", ServiceState.SERVING, _kind(url))
            else:
                self._board.set("store/blotter", ServiceState.DEGRADED, status.error)

        past = events_from_journal(self.journal_url, snapshots, engine.limits)
        process = BlotterProcess(url, epoch=engine.log.epoch)
        writer = BlotterWriter(
            store,
            engine.log,
            engine.registry,
            past,
            on_status=show,
            write=process.write,
            on_failure=self._board.failure_listener("store/blotter"),
        )
        engine.add_listener(lambda changes: writer.wake())
        self._metrics.watch_blotter(lambda: writer.status.behind)
        self._parts.callback(store.close)
        self._parts.callback(process.close)
        self._parts.push_async_callback(writer.stop)
        writer.start()
        return store

    async def start_ticks(self, hub: MarketData, followed: Callable[[], Iterable[Instrument]]) -> TickStore | None:
        """Record what the hub publishes; None if that is switched off. `followed` gives the instruments whose books
        are recorded. Raises ConfigError for a wrong URL; a store that cannot be used is NOT_SERVING, and None."""
        settings = self._settings
        url = _url(settings.ticks_url, "duckdb", self._data_dir / "ticks.duckdb")
        if url == OFF:
            return None
        try:
            # A file is opened, a spool read: not on the event loop.
            store = await asyncio.to_thread(open_tick_store, url)
            self._parts.callback(store.close)
            spool = await asyncio.to_thread(Spool, self._data_dir / "ticks.spool")
        except (Unavailable, OSError) as error:
            # Trading does not need it: no reason not to start.
            reason = f"{error}; nothing is recorded until the next start"
            log.error("the tick store cannot be used", error=reason)
            self._board.set("store/ticks", ServiceState.NOT_SERVING, reason)
            return None
        warning = store.warning
        if warning is not None:
            log.error("the tick store was damaged", detail=warning)

        def snapshots() -> list[BookUpdate]:
            return [book for each in followed() if (book := hub.book(each.name)) is not None]

        limits = TickWriterLimits(retention_days=settings.ticks_days)
        writer = TickWriter(store, spool, self._clock, limits, snapshots, lambda: self._board.failure_listener("store/ticks"))
        hub.add_listener(writer.record)
        self._parts.push_async_callback(writer.stop)
        writer.start()
        self._metrics.watch_ticks("stored", lambda: writer.status.rows_stored)
        self._metrics.watch_ticks("spooled", lambda: writer.status.rows_spooled)
        self._metrics.watch_ticks("dropped", lambda: writer.status.rows_dropped)
        self._watch("store/ticks", lambda: (warning or _kind(url), writer.status.error))
        return store

    def start_bus(self) -> Bus | None:
        """The bus shared with other servers; None if there is none. Raises ConfigError."""
        if self._settings.bus_url is None:
            return None
        url = self._settings.bus_url.get_secret_value()
        bus = open_bus(url, first_sequence=self._clock.now_ns(), on_failure=self._board.failure_listener("store/bus"))
        self._metrics.watch_bus(lambda: bus.dropped)
        self._parts.push_async_callback(bus.close)
        self._board.set("store/bus", ServiceState.STARTING, "opening")

        async def probe() -> None:
            while True:
                try:
                    await bus.last(INSTRUMENTS)
                    self._board.set("store/bus", ServiceState.SERVING, _kind(url))
                except Unavailable as error:
                    self._board.set("store/bus", ServiceState.DEGRADED, error.message)
                await asyncio.sleep(_WATCH_S)

        self._run("store/bus", probe)
        return bus

    def _watch(self, name: str, look: Callable[[], tuple[str, str | None]]) -> None:
        """Poll `look` and show its (detail, error) on the board."""

        async def watch() -> None:
            while True:
                detail, error = look()
                self._board.set(name, ServiceState.SERVING if error is None else ServiceState.DEGRADED, error or detail)
                await asyncio.sleep(_WATCH_S)

        self._run(name, watch)

    def _run(self, name: str, watch: Callable[[], Coroutine[None, None, None]]) -> None:
        self._parts.callback(keep_running(f"watch of {name}", watch, self._board.failure_listener(name)).cancel)


def journal_url(config: Config) -> str:
    return _url(config.storage.journal_url, "sqlite", config.data_dir / "journal.db")


def blotter_url(config: Config) -> str:
    return _url(config.storage.blotter_url, "sqlite", config.data_dir / "blotter.db")


def _url(configured: SecretStr | None, scheme: str, default: Path) -> str:
    return configured.get_secret_value() if configured is not None else f"{scheme}:///{quote(str(default.absolute()))}"


def _kind(url: str) -> str:
    """The product that a URL names: safe to show, without host and password."""
    return _KINDS[url.partition(":")[0]]


_KINDS = {
    "sqlite": "SQLite", "postgresql": "PostgreSQL", "postgres": "PostgreSQL", "duckdb": "DuckDB",
    "clickhouse": "ClickHouse", "clickhouses": "ClickHouse", "memory": "in process", "redis": "Redis",
    "rediss": "Redis",
}  # fmt: skip
