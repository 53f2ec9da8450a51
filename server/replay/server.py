"""The replay exchange: a loopback HTTP and WebSocket server in front of the recorded venues."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aiohttp import WSMsgType, web

from server.base.background import keep_running
from server.base.clock import Clock, SystemClock
from server.replay.binance import Binance
from server.replay.bybit import Bybit
from server.replay.okx import Okx
from server.replay.player import Pace, Player
from server.replay.session import Session
from server.replay.venue import Venue

SHIPPED_DATA = Path(__file__).parent / "data"

VENUES: dict[str, Callable[[Clock, Path, Sequence[str] | None], Venue]] = {
    "binance": Binance,
    "okx": Okx,
    "bybit": Bybit,
}

_log = logging.getLogger(__name__)

_MAX_REQUEST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """What is replayed and how.

    venues:        names out of `VENUES`.
    symbols:       the venues' own names ("BTCUSDT", "BTC-USDT"); None replays everything recorded.
    pace:          speed, looping and the times which frames carry.
    start_after:   hold the recordings back until this many topics are subscribed (or `release` is called), so
                   that a test misses nothing; 0 starts at once.
    max_sessions:  WebSocket connections served at the same time.
    outbox_limit:  messages waiting for one client. At a set speed a client which falls further behind is cut
                   off, as venues do; a replay as fast as possible waits for it.
    """

    venues: tuple[str, ...] = ("binance", "okx", "bybit")
    symbols: tuple[str, ...] | None = None
    pace: Pace = field(default_factory=Pace)
    start_after: int = 0
    max_sessions: int = 256
    outbox_limit: int = 4096
    data: Path = SHIPPED_DATA

    def __post_init__(self) -> None:
        unknown = [name for name in self.venues if name not in VENUES]
        if unknown or not self.venues:
            raise ValueError(f"venues must be out of {list(VENUES)}, got {list(self.venues)}")


class ReplayExchange:
    """Serves the recorded venues under `/<venue>/<the venue's host name>/<the venue's path>`.

    >>> exchange = ReplayExchange(ReplayConfig())
    >>> await exchange.start()
    >>> redirect(ccxt_exchange, exchange.base_url("binance"))
    """

    def __init__(self, config: ReplayConfig | None = None, clock: Clock | None = None) -> None:
        self.config = config or ReplayConfig()
        self._clock = clock or SystemClock()
        self._venues: dict[str, Venue] = {}
        self._players: dict[str, Player] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self.url = ""
        """`http://host:port`, once started."""
        self._released = asyncio.Event()
        self._refusals = 0
        self._stalled: dict[str, asyncio.Event] = {}
        """By venue: set when its stall ends."""

    # -- life ------------------------------------------------------------------------------------------

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on `host` and `port` (0: any free one) and begin to play.

        Raises OSError when the port is taken and ValueError when a venue has no recording of `symbols`.
        """
        for name in self.config.venues:
            venue = VENUES[name](self._clock, self.config.data, self.config.symbols)
            venue.on_subscribed = self._check_gate
            self._venues[name] = venue
            self._players[name] = Player(venue, self.config.pace, self._clock)
        app = web.Application()
        app.router.add_get("/{venue}/{host}/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        bound_host, bound_port = self._runner.addresses[0][:2]
        self.url = f"http://{bound_host}:{bound_port}"
        self._check_gate()
        self._tasks = [
            keep_running(f"playing {name}", partial(self._play, player)) for name, player in self._players.items()
        ]

    async def stop(self) -> None:
        """End every connection and stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.disconnect()
        if self._runner is not None:
            await self._runner.cleanup()

    def base_url(self, venue: str) -> str:
        """`http://127.0.0.1:<port>/<venue>`, what `redirect` takes."""
        if not self.url:
            raise RuntimeError("the replay exchange is not started: await start() first")
        if venue not in self._venues:
            raise ValueError(f"{venue} is not replayed; replayed are {sorted(self._venues)}")
        return f"{self.url}/{venue}"

    def release(self) -> None:
        """Begin to play now, whatever is subscribed."""
        self._released.set()

    async def wait_finished(self) -> None:
        """Wait until every recording has been played to its end and given to the clients' sockets.

        Raises what ended a recording early; never returns while recordings loop.
        """
        await asyncio.gather(*self._tasks)
        for venue in self._venues.values():
            for session in list(venue.sessions):
                await session.drained()

    async def _play(self, player: Player) -> None:
        await self._released.wait()
        try:
            await player.run()
        except Exception:
            _log.exception("the replay of %s ended", player.venue.name)
            raise

    def _check_gate(self) -> None:
        if self.topics >= self.config.start_after:
            self._released.set()

    # -- observing -------------------------------------------------------------------------------------

    def instruments(self, venue: str) -> list[str]:
        """What is recorded of a venue, in its own names, with the product where one name means several."""
        return self._venues[venue].instruments()

    @property
    def topics(self) -> int:
        """Subscriptions of all clients at all venues."""
        return sum(len(session.topics) for venue in self._venues.values() for session in venue.sessions)

    def sessions(self, venue: str) -> int:
        """WebSocket connections open at a venue."""
        return len(self._venues[venue].sessions)

    def frames_played(self, venue: str) -> int:
        return self._players[venue].frames_played

    def passes(self, venue: str) -> int:
        """Passes through the recording begun so far."""
        return self._players[venue].passes

    # -- faults, for tests -----------------------------------------------------------------------------

    def drop_depth(self, venue: str, count: int) -> None:
        """Lose the next `count` depth pushes of a venue on their way: its subscribers see a gap."""
        self._venues[venue].drop_depth = count

    def corrupt_depth(self, venue: str, count: int) -> None:
        """Send wrong quantities in the next `count` depth pushes of a venue; their numbers are right."""
        self._venues[venue].corrupt_depth = count

    def freeze(self, venue: str) -> None:
        """Send no more frames, as in a market where nothing happens; its connections live on."""
        self._players[venue].freeze()

    def thaw(self, venue: str) -> None:
        """End a freeze; what came due meanwhile arrives in one burst."""
        self._players[venue].thaw()

    def stall(self, venue: str) -> None:
        """Freeze a venue, and leave unanswered whatever its clients send, pings too: as behind a dead connection."""
        self.freeze(venue)
        self._stalled[venue] = asyncio.Event()

    def end_stall(self, venue: str) -> None:
        """End a stall: clients are answered, and what came due meanwhile arrives in one burst."""
        self._stalled.pop(venue).set()
        self.thaw(venue)

    def disconnect(self, venue: str | None = None) -> None:
        """Reset the WebSocket connections of one venue or of all."""
        for name, each in self._venues.items():
            if venue in (None, name):
                for session in list(each.sessions):
                    session.abort()

    def refuse_rest(self, count: int) -> None:
        """Answer the next `count` REST requests with 429 and the venue's own error."""
        self._refusals = count

    # -- serving ---------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        venue = self._venues.get(request.match_info["venue"])
        if venue is None:
            return web.json_response({"error": "no such venue", "venues": sorted(self._venues)}, status=404)
        host, path = request.match_info["host"], "/" + request.match_info["path"]
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request, venue, host, path)
        if self._refusals > 0:
            self._refusals -= 1
            reply = venue.too_many_requests()
            return web.Response(body=reply.body, status=reply.status, content_type="application/json",
                                headers={"Retry-After": "1"})  # fmt: skip
        reply = venue.rest(host, path, request.query)
        return web.Response(body=reply.body, status=reply.status, content_type="application/json")

    async def _websocket(self, request: web.Request, venue: Venue, host: str, path: str) -> web.StreamResponse:
        if sum(len(each.sessions) for each in self._venues.values()) >= self.config.max_sessions:
            return web.Response(status=503, text="too many connections")
        ws = web.WebSocketResponse(compress=False, max_msg_size=_MAX_REQUEST_BYTES, autoping=False)
        await ws.prepare(request)
        session = Session(ws, request.transport, self.config.outbox_limit)
        venue.opened(session, host, path, request.query)
        pump = asyncio.create_task(session.pump())
        try:
            async for message in ws:
                if venue.name in self._stalled:
                    await self._stalled[venue.name].wait()
                if message.type is WSMsgType.PING:
                    await ws.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    venue.received(session, message.data)
                    await session.room()
        finally:
            venue.closed(session)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump
        return ws
