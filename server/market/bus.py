"""Market data shared between server processes: one publishes what its venues send, others take it as their own feed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from decimal import Decimal

import structlog

from server.base.background import keep_running
from server.base.errors import TradewindError, Unavailable
from server.base.instruments import INTERNAL_VENUE, Instrument, InstrumentKind, Registry, format_decimal
from server.market.bus_messages import MarketFollower, MarketPublisher
from server.market.hub import MarketData
from server.market.model import MarketUpdate
from server.process.lifecycle import ServiceState, StatusBoard
from server.storage.ports import Bus

INSTRUMENTS = "instruments"
"""Topic of what is published: all instruments in one message."""
ANNOUNCE_S = 2.0
"""How often they are told, also so that a bus that was emptied knows them again."""
_SERVICE = "feed/bus"
_WATCH_S = 1.0

log = structlog.get_logger("bus")


class BusPublisher:
    """Publishes the hub's updates, our own books apart: those belong to the accounts of this server."""

    def __init__(self, bus: Bus, hub: MarketData, registry: Registry, board: StatusBoard) -> None:
        self._bus = bus
        self._registry = registry
        self._board = board
        self._publisher = MarketPublisher(bus, hub.book)
        self._tasks: list[asyncio.Task[None]] = []
        hub.add_listener(self._publish)

    def start(self) -> None:
        self._tasks = [
            keep_running("publishing to the bus", self._publisher.run, self._board.failure_listener("store/bus")),
            keep_running("announcing instruments", self._announce, self._board.failure_listener("store/bus")),
        ]

    async def stop(self) -> None:
        await _cancel(self._tasks)

    def _publish(self, update: MarketUpdate) -> None:
        if update.instrument.venue != INTERNAL_VENUE:
            self._publisher.publish(update)

    async def _announce(self) -> None:
        while True:
            mirrored = [each for each in self._registry.instruments() if each.mirrored]
            self._bus.publish_market(INSTRUMENTS, json.dumps([_to_json(each) for each in mirrored]).encode())
            await asyncio.sleep(ANNOUNCE_S)


class BusMarkets:
    """The feed of a server that follows another: life as that of `Markets`."""

    def __init__(
        self,
        bus: Bus,
        hub: MarketData,
        registry: Registry,
        define: Callable[[Sequence[Instrument]], Awaitable[list[Instrument]]],
        board: StatusBoard,
    ) -> None:
        """`define` gives instruments their numbers."""
        self._bus = bus
        self._define = define
        self._board = board
        self._follower = MarketFollower(bus, registry.find_instrument, hub.publish)
        self._known = b""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to follow; returns before there is anything."""
        self._board.set(_SERVICE, ServiceState.STARTING, "waits for another server's market data")
        self._tasks = [
            keep_running("following the bus", self._follower.run, self._board.failure_listener(_SERVICE)),
            keep_running("watch of the bus", self._watch, self._board.failure_listener(_SERVICE)),
        ]

    async def stop(self) -> None:
        await _cancel(self._tasks)

    async def _watch(self) -> None:
        """Keep up with the instruments that are published, and tell how it is."""
        while True:
            try:
                newest = await self._bus.last(INSTRUMENTS)
                if newest is not None and newest.payload != self._known:
                    await self._define([_from_json(each) for each in json.loads(newest.payload)])
                    self._known = newest.payload
                if self._known:
                    lost = self._follower.messages_lost
                    self._board.set(_SERVICE, ServiceState.SERVING, f"{lost} messages lost" if lost else "")
            except Unavailable as error:
                state = ServiceState.NOT_SERVING
                self._board.set(_SERVICE, state, error.message)
            except (TradewindError, ValueError, KeyError, TypeError) as error:
                self._board.set(_SERVICE, ServiceState.DEGRADED, f"the instruments on the bus cannot be read: {error}")
                log.warning("instruments on the bus cannot be read", error=str(error))
            await asyncio.sleep(_WATCH_S)


def _to_json(instrument: Instrument) -> dict[str, str | int | bool]:
    values = {field.name: getattr(instrument, field.name) for field in fields(Instrument) if field.name != "number"}
    return {name: format_decimal(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def _from_json(values: dict[str, str | int | bool]) -> Instrument:
    """Raises TypeError, ValueError."""
    decimals = {field.name for field in fields(Instrument) if field.type == "Decimal"}
    known = {name: Decimal(str(value)) if name in decimals else value for name, value in values.items()}
    known["kind"] = InstrumentKind(int(str(known["kind"])))
    return Instrument(number=0, **known)  # type: ignore[arg-type]


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
