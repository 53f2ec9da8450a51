"""The composition root: every part of the server is made and joined here, in the order in which it starts.

storage -> recovery -> engine -> services -> gRPC -> markets. A stop goes the other way round; see `_stop_serving`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from server.access.tokens import TokenStore
from server.app.config import Config, FeedSettings
from server.app.order_room import OrderRoom
from server.app.stores import Stores
from server.base.clock import Clock, SystemClock
from server.base.errors import ConfigError, Unavailable
from server.base.failpoints import from_environment
from server.base.instruments import Instrument
from server.blotter.history import History
from server.engine.engine import Engine
from server.engine.limits import EngineLimits
from server.engine.runner import Runner
from server.engine.setup import apply_setup, setup_of
from server.engine.trading import Trading
from server.market.bus import BusMarkets, BusPublisher
from server.market.history import TickHistory
from server.market.hub import MarketData
from server.market.metrics import FeedMetrics, HubMetrics
from server.market.model import FeedState
from server.process import pauses
from server.process.clock_watch import ClockWatch
from server.process.lifecycle import InstanceLock, ServiceState, StatusBoard, StatusListener, stop_on_signals
from server.process.observability import (
    EngineMetrics,
    StoreMetrics,
    configure_logging,
    measure_loop_lag,
    new_registry,
    serve_metrics,
    watch_clock,
)
from server.process.settings import is_loopback
from server.recovery.recover import recover
from server.recovery.replica import Replica
from server.recovery.snapshots import NewestSnapshot, Snapshots
from server.risk.computations import Computations
from server.risk.kill_switch import KillSwitch
from server.risk.metrics import RiskMetrics
from server.risk.service import Risk
from server.rpc.accounts import AccountService
from server.rpc.boundary import Boundary
from server.rpc.market_data import MarketDataService
from server.rpc.metrics import OrderMetrics, RpcMetrics
from server.rpc.orders import OrderService
from server.rpc.risk import RiskService
from server.rpc.server import ACCOUNTS, ORDERS, PUBLIC, RISK, GrpcServer, Services, check_address
from server.rpc.system import ServerInfo, SystemService
from server.storage.ports import Bus
from server.storage.snapshot_files import SnapshotFiles
from server.venues.internal import InternalVenue
from server.venues.late_market import LateMarket
from server.venues.paper import PaperVenue
from server.venues.valuation_source import ValuationSource

STOPPED_HARD = 130
"""Exit code after a second SIGINT."""


T = TypeVar("T")

_COMMAND_TAKERS = ("store/journal", "engine", ORDERS.full_name, ACCOUNTS.full_name, RISK.full_name)

log = structlog.get_logger("app")


@dataclass(frozen=True, slots=True)
class Ready:
    """Addresses and results of a start, once every part has left STARTING."""

    address: str
    """host:port of the gRPC server."""
    metrics_url: str | None
    admin_token_path: Path
    market_data: str
    """`replay`, `live` or `off`."""
    instrument: str
    """One that can be traded now: with a LIVE book of a venue, else on the internal book."""
    data_dir: Path
    pid: int


def serve(
    config: Config,
    *,
    on_state: StatusListener = lambda status: None,
    on_ready: Callable[[Ready], None] = lambda ready: None,
) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code.

    Raises TradewindError if the start fails: ConfigError for what the user can set right (a port or data directory in
    use, TLS files), JournalCorrupt for a damaged journal.
    """
    pauses.shorten()

    def settled(ready: Ready) -> None:
        pauses.gc_freeze()
        on_ready(ready)

    try:
        return uvloop.run(run(config, on_state=on_state, on_ready=settled))
    finally:
        pauses.gc_unfreeze()


async def run(
    config: Config,
    *,
    on_state: StatusListener = lambda status: None,
    on_ready: Callable[[Ready], None] = lambda ready: None,
    stop: asyncio.Event | None = None,
    clock: SystemClock | None = None,
) -> int:
    """As `serve`, on the running loop. With `stop`, setting it stops the server and signals are left alone."""
    configure_logging(config.logging)
    clock = clock or SystemClock()
    board = StatusBoard(clock)
    board.listen(on_state)
    async with contextlib.AsyncExitStack() as parts:
        if stop is None:
            stop = asyncio.Event()
            parts.enter_context(stop_on_signals(asyncio.get_running_loop(), stop, lambda: os._exit(STOPPED_HARD)))
        ready = await _unless(stop, _start(config, clock, board, parts))
        if ready is not None:
            await _unless(stop, _tell_when_ready(board, ready, on_ready))
            await stop.wait()
        log.info("stopping")
    log.info("stopped")
    return 0


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None if `stop` was set before, which ends it."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait((working,))
    return None if working.cancelled() else working.result()


async def _start(
    config: Config, clock: SystemClock, board: StatusBoard, parts: contextlib.AsyncExitStack
) -> Callable[[], Ready]:
    """Start all parts; `parts` stops them in reverse order. Returns a factory for `Ready`."""
    start_ns = clock.now_ns()
    lock = InstanceLock(config.data_dir)
    parts.callback(lock.release)
    for service in PUBLIC:
        board.set(service.full_name, ServiceState.STARTING, "waits for the engine")
    tokens = TokenStore(config.data_dir, clock, os.urandom)
    registry = new_registry()
    metrics_url = _serve_metrics(config, registry, parts)
    await parts.enter_async_context(measure_loop_lag(registry))

    stores = Stores(config, board, clock, StoreMetrics(registry), parts)
    engine, runner, history, snapshots = await _start_engine(config, stores, clock, board, registry, parts)
    watch_clock(registry, lambda: clock.difference_ns)
    watch = ClockWatch(clock, board)
    watch.start()
    parts.callback(watch.stop)
    trading = Trading(engine, runner, new_id=lambda: secrets.token_hex(12))
    own = [each.instrument() for each in config.instruments]
    await apply_setup(trading, setup_of(trading.registry, own, demo=config.accounts.demo))
    await trading.close_old_sessions()

    hub = MarketData(secrets.token_hex(8), clock)
    registry.register(HubMetrics(hub))
    ticks = TickHistory(await stores.start_ticks(hub, trading.registry.instruments))
    parts.callback(ticks.close)
    internal = InternalVenue(engine, hub, runner, clock)
    internal.start()
    parts.callback(internal.stop)
    late = LateMarket(hub, clock)
    late.start()
    parts.callback(late.stop)
    paper = PaperVenue(engine, late, runner.wake, clock)
    runner.sources.add(paper)
    paper.start()
    parts.callback(paper.stop)
    valuations = ValuationSource(engine, late, runner.wake, clock)
    runner.sources.add(valuations)
    valuations.start()
    parts.callback(valuations.stop)

    info = ServerInfo(version("tradewind-server"), start_ns, config.feeds.mode)
    risk_metrics = RiskMetrics(registry, lambda: trading.is_halted)
    computations = Computations(risk_metrics.computed)
    risk_metrics.watch(lambda: computations.waiting)
    services = Services(
        SystemService(info, trading, lambda: snapshots.newest, board, tokens, clock),
        MarketDataService(
            hub, trading.registry, engine.blotter.trading_status, ticks, trading.catalogue.define_instruments, clock
        ),
        OrderService(trading, history, OrderMetrics(registry), clock),
        AccountService(trading, history, clock),
        RiskService(
            Risk(trading, hub, ticks, computations, clock), KillSwitch(trading, hub), risk_metrics, trading.registry
        ),
    )
    boundary = Boundary(tokens, config.server, RpcMetrics(registry), clock, lambda: secrets.token_hex(8))
    server = GrpcServer(config.server, boundary, services, board)
    await _start_markets(config, hub, trading, ticks, stores.start_bus(), board, registry, clock, parts)
    await server.start()
    parts.push_async_callback(_stop_serving, board, server, trading, hub)
    for service in PUBLIC:
        board.set(service.full_name, ServiceState.SERVING)
    lock.announce(server.address, config.server.tls_cert)
    log.info("listening", address=server.address, market_data=config.feeds.mode)
    return lambda: Ready(
        server.address,
        metrics_url,
        tokens.admin_path,
        config.feeds.mode,
        _instrument_to_try(config.feeds, hub),
        config.data_dir,
        os.getpid(),
    )


def _serve_metrics(config: Config, registry: CollectorRegistry, parts: contextlib.AsyncExitStack) -> str | None:
    """Returns the URL of the metrics, None if they are off. Raises ConfigError naming every address that cannot be
    bound, the gRPC address included."""
    problems, url = [], None
    try:
        check_address(config.server)
    except ConfigError as error:
        problems.append(error.message)
    if config.metrics.enabled:
        try:
            url = parts.enter_context(serve_metrics(config.metrics, registry))
        except ConfigError as error:
            problems.append(error.message)
        if not is_loopback(config.metrics.host):
            log.warning(
                "anybody who reaches this machine can read the metrics: they have no tokens and no TLS", url=url
            )
    if problems:
        raise ConfigError("\n".join(problems))
    return url


async def _start_markets(
    config: Config,
    hub: MarketData,
    trading: Trading,
    ticks: TickHistory,
    bus: Bus | None,
    board: StatusBoard,
    registry: CollectorRegistry,
    clock: Clock,
    parts: contextlib.AsyncExitStack,
) -> None:
    """Connect to venues, and publish what they send if there is a bus; or follow a server that does."""

    async def define(instruments: Sequence[Instrument]) -> list[Instrument]:
        return await trading.catalogue.define_instruments([config.paper.applied(each) for each in instruments])

    if config.feeds.mode == "bus":
        assert bus is not None, "the configuration was checked"
        followed = BusMarkets(bus, hub, trading.registry, define, board)
        parts.push_async_callback(followed.stop)
        await followed.start()
        return
    if bus is not None:
        publisher = BusPublisher(bus, hub, trading.registry, board)
        parts.push_async_callback(publisher.stop)
        publisher.start()
    if config.feeds.mode == "off":
        return
    from server.app.markets import Markets  # loads every venue's driver, which takes longer than all else together

    rng = Random(secrets.randbits(64)).random

    async def recorded(instrument: Instrument) -> list[tuple[str, int]]:
        return await ticks.newest_trades(instrument, clock.now_ns())

    metrics = FeedMetrics(registry)
    markets = Markets(config.feeds, hub, trading.registry, define, board, metrics, clock, rng, recorded)
    parts.push_async_callback(markets.stop)
    await markets.start()


async def _start_engine(
    config: Config,
    stores: Stores,
    clock: SystemClock,
    board: StatusBoard,
    registry: CollectorRegistry,
    parts: contextlib.AsyncExitStack,
) -> tuple[Engine, Runner, History, Snapshots]:
    """Open the journal, recover the engine and start the runner."""
    reached = from_environment(os.environ)
    journal = await stores.open_journal(new_epoch=secrets.token_hex(8))
    limits = EngineLimits(**config.engine.model_dump())
    engine = Engine(limits, epoch=journal.epoch)
    files = SnapshotFiles(config.data_dir / "snapshots", keep=config.snapshots.keep)

    def recovering(done: int, total: int) -> None:
        board.set("engine", ServiceState.STARTING, "recovering from the journal", progress=(done, total))

    recovering(0, journal.last_seq)
    try:
        recovery = await recover(engine, journal, files, recovering)
    except BaseException:
        journal.close()
        raise
    clock.not_before(engine.time_ns)
    replica = Replica.of(stores.journal_url, files.directory, files.keep, limits)
    engine.log.history = replica.history
    runner = Runner(engine, journal, clock, reached)
    newest = NewestSnapshot(recovery.snapshot, recovery.state_hash)
    snapshots = Snapshots(engine, runner, replica, config.snapshots, board, newest)
    metrics = EngineMetrics(
        registry, lambda: runner.queued, engine.exchange.unbalanced_assets, lambda: runner.sources.failures
    )
    runner.observe_sync = metrics.observe_sync
    runner.on_failure = lambda failure: _engine_failed(board, failure)
    runner.on_resume = lambda: _engine_resumed(board)
    history = History(engine, stores.start_blotter(engine, files))
    parts.callback(history.close)
    runner.start()
    parts.callback(snapshots.write_last)
    parts.push_async_callback(runner.stop)
    log.info("recovered", snapshot=recovery.snapshot, commands=recovery.commands, unusable=recovery.unusable)
    since = f" after the snapshot at {recovery.snapshot}" if recovery.snapshot else ""
    detail = f"{recovery.commands} commands recovered{since} in {recovery.seconds:.1f} s"
    board.set("engine", ServiceState.SERVING, detail)
    OrderRoom(engine, board, registry)
    snapshots.start()
    parts.push_async_callback(snapshots.stop)
    return engine, runner, history, snapshots


def _engine_failed(board: StatusBoard, failure: Unavailable) -> None:
    """Mark the engine NOT_SERVING: until the journal can be written again or, after an internal error, until a
    restart."""
    log.critical("no commands are taken", error=failure.message)
    for name in _COMMAND_TAKERS:
        board.set(name, ServiceState.NOT_SERVING, failure.message)


def _engine_resumed(board: StatusBoard) -> None:
    log.warning("the journal can be written again: commands are taken")
    for name in _COMMAND_TAKERS:
        board.set(name, ServiceState.SERVING, "the journal can be written again")


async def _stop_serving(board: StatusBoard, server: GrpcServer, trading: Trading, hub: MarketData) -> None:
    """Mark all parts NOT_SERVING, send the streams their notice, and let calls in progress finish."""
    board.stop("the server is stopping")
    await trading.going_away()
    hub.close("the server is stopping")
    await server.stop()


def _instrument_to_try(feeds: FeedSettings, hub: MarketData) -> str:
    for venue, symbols in feeds.venues.items():
        for symbol in symbols:
            if ":" not in symbol and hub.state(f"{venue}:{symbol}") is FeedState.LIVE:
                return f"{venue}:{symbol}"
    return "internal:BTC/USDT"


async def _tell_when_ready(board: StatusBoard, ready: Callable[[], Ready], on_ready: Callable[[Ready], None]) -> None:
    changed = asyncio.Event()
    stop_listening = board.listen(lambda status: changed.set())
    while board.starting:
        changed.clear()
        await changed.wait()
    stop_listening()
    on_ready(ready())
