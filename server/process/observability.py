"""Logs, and metrics over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, TextIO, cast

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from structlog.typing import EventDict, Processor, WrappedLogger

from server.base.background import keep_running
from server.base.errors import ConfigError
from server.process.log_stream import LogStream
from server.process.rotating_file import RotatingFile
from server.process.settings import LogSettings, MetricsSettings

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the call this task works for; on every log line it writes."""

_LAG_INTERVAL_S = 0.1
_LEDGER_INTERVAL_S = 1.0
_SYNC_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send the logs of the whole process to `stream`, by default the file of the settings or standard error: those of
    structlog and of the standard library in one form. Raises ConfigError."""
    target = stream or _log_stream(settings)
    console = settings.format == "console" or (settings.format == "auto" and target.isatty())
    stream = cast(TextIO, LogStream(target, as_json=not console))
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        _add_request_id,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not console:
        shared.append(structlog.processors.format_exc_info)
    colored = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    renderer: Processor = colored if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # Of libraries, only what needs a look. Whoever has configured the standard library's logging already keeps it.
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING))
    logging.getLogger("server").setLevel(level)


def _log_stream(settings: LogSettings) -> TextIO:
    if settings.file is None:
        return sys.stderr
    try:
        file: Any = RotatingFile(settings.file, settings.file_bytes, settings.file_keep)
    except OSError as error:
        raise ConfigError(f"logging.file: {settings.file} cannot be written: {error.strerror}") from None
    return cast(TextIO, file)


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if request_id := REQUEST_ID.get():
        event["request_id"] = request_id
    return event


def new_registry() -> CollectorRegistry:
    """A metrics registry with the process, the interpreter and the build in it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    labels = ("version", "python", "grpcio")
    build = Gauge("tradewind_build_info", "Always 1; the labels say what runs.", labels, registry=registry)
    build.labels(version("tradewind-server"), platform.python_version(), version("grpcio")).set(1)
    return registry


@contextlib.contextmanager
def serve_metrics(settings: MetricsSettings, registry: CollectorRegistry) -> Iterator[str]:
    """Serve `/metrics` on a thread of its own while the context lasts; gives its URL. Raises ConfigError."""
    try:
        server, thread = start_http_server(settings.port, settings.host, registry)
    except OSError as error:
        raise ConfigError(
            f"metrics cannot be served on {settings.host}:{settings.port} ({error.strerror}):"
            " choose another with metrics.port (--metrics-port), or set metrics.enabled to false"
        ) from None
    try:
        yield f"http://{settings.host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class EngineMetrics:
    """Of the engine: what waits, how long making it durable takes, and whether its ledger is right."""

    def __init__(
        self,
        registry: CollectorRegistry,
        queued: Callable[[], float],
        unbalanced_assets: Callable[[], int],
        source_failures: Callable[[], float] = lambda: 0,
    ) -> None:
        """`queued` says how many commands wait now, `unbalanced_assets` of how many the balances do not sum to zero,
        `source_failures` how often a command source had to be left out."""
        sources = Gauge(
            "tradewind_source_failures", "Commits without the commands of a source, such as venues' books: a fault unless 0.",
            registry=registry,
        )  # fmt: skip
        sources.set_function(source_failures)
        queue = Gauge("tradewind_engine_queue_commands", "Commands that wait for the journal.", registry=registry)
        queue.set_function(queued)
        self._commands = Counter("tradewind_engine_commands", "Commands made durable, carried out.", registry=registry)
        self._sync = Histogram(
            "tradewind_journal_sync_seconds", "Time to make one group commit durable.", buckets=_SYNC_BUCKETS_S,
            registry=registry,
        )  # fmt: skip
        self._unbalanced = Gauge(
            "tradewind_ledger_unbalanced_assets", "Assets whose balances do not sum to zero: a fault unless 0.",
            registry=registry,
        )  # fmt: skip
        self._unbalanced_assets = unbalanced_assets
        self._ledger_checked_s = -_LEDGER_INTERVAL_S

    def observe_sync(self, seconds: float, commands: int) -> None:
        """One group commit. The ledger is looked at here, between two batches, not when somebody scrapes."""
        self._commands.inc(commands)
        self._sync.observe(seconds)
        now_s = time.monotonic()
        if now_s - self._ledger_checked_s >= _LEDGER_INTERVAL_S:
            self._ledger_checked_s = now_s
            self._unbalanced.set(self._unbalanced_assets())


def watch_clock(registry: CollectorRegistry, difference_ns: Callable[[], int]) -> None:
    """Tell by how much the machine's clock is ahead of the server's time."""
    difference = Gauge(
        "tradewind_clock_difference_seconds", "The machine's clock minus the server's time.", registry=registry
    )
    difference.set_function(lambda: difference_ns() / 1e9)


class StoreMetrics:
    """Of the stores: how far behind they are, and what they could not take."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._blotter = Gauge(
            "tradewind_blotter_behind_events", "Durable events that the blotter does not hold yet.", registry=registry
        )
        self._ticks = Gauge(
            "tradewind_ticks_rows", "Recorded market data since the start, by what became of it.", ["state"],
            registry=registry,
        )  # fmt: skip
        self._bus = Gauge("tradewind_bus_dropped_messages", "Messages the bus could not take.", registry=registry)

    def watch_blotter(self, behind: Callable[[], float]) -> None:
        self._blotter.set_function(behind)

    def watch_ticks(self, state: str, rows: Callable[[], float]) -> None:
        self._ticks.labels(state).set_function(rows)

    def watch_bus(self, dropped: Callable[[], float]) -> None:
        self._bus.set_function(dropped)


@contextlib.asynccontextmanager
async def measure_loop_lag(registry: CollectorRegistry) -> AsyncIterator[None]:
    """Watch how late the event loop runs what is due: when it is late, everything is."""
    lag = Gauge("tradewind_event_loop_lag_seconds", "How late the last timer of the event loop ran.", registry=registry)
    total = Counter("tradewind_event_loop_late_seconds", "Sum of all lateness of timers.", registry=registry)
    loop = asyncio.get_running_loop()

    async def measure() -> None:
        while True:
            due_s = loop.time() + _LAG_INTERVAL_S
            await asyncio.sleep(_LAG_INTERVAL_S)
            late_s = max(0.0, loop.time() - due_s)
            lag.set(late_s)
            total.inc(late_s)

    task = keep_running("measuring the event loop", measure)
    try:
        yield
    finally:
        task.cancel()
