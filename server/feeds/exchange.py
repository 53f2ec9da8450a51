"""The ccxt exchange of a venue, with its messages tapped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from server.feeds.ccxt_import import ccxt

Tap = Callable[[Any, Any], bool]
"""Called with (client, message); True if the message was market data and is dealt with."""

FRAMES_A_TURN = 32
"""Messages of a connection that are handled before everything else in the process has its turn."""

_log = logging.getLogger(__name__)


def tapped_exchange(
    ccxt_id: str, config: Mapping[str, Any], tap: Tap, unreadable: Callable[[Exception], None] = lambda error: None
) -> Any:
    """A ccxt.pro exchange that hands market data to `tap` and keeps everything else. `unreadable` is told of messages
    that are no JSON; they are left out.

    ccxt connects, subscribes, answers pings, reads acknowledgements and errors and knows the REST endpoints. Market
    data does not reach its own caches: they hold floats, cost more than all of our processing, and some of its books
    go on after a missing message.
    """
    base: Any = getattr(ccxt.pro, ccxt_id)

    def handle_message(self: Any, client: Any, message: Any) -> None:
        # An exception here would end ccxt's receive loop without a word: the connection is dropped instead, which
        # tells all who wait on it.
        try:
            if not tap(client, message):
                base.handle_message(self, client, message)
        except Exception as error:
            _log.exception("%s: a message could not be handled; reconnecting", ccxt_id)
            drop(client, f"a message could not be handled: {error}")

    def no_snapshot(self: Any, client: Any, message: Any, subscription: Any) -> None:
        """ccxt would fetch a snapshot for its own Binance book here; ours is fetched by the sequence guard's rules."""

    def client(self: Any, url: str) -> Any:
        connection = base.client(self, url)
        connection.heard_s = getattr(connection, "heard_s", None)

        def receive_loop() -> None:
            connection.reading = self.asyncio_loop.create_task(_receive(connection, unreadable))

        connection.receive_loop = receive_loop
        return connection

    methods = {"handle_message": handle_message, "handle_order_book_subscription": no_snapshot, "client": client}
    return type(f"Tapped{ccxt_id.capitalize()}", (base,), methods)(dict(config))


def silence_s(client: Any) -> float:
    """Seconds since the last message or pong on one of ccxt's connections; 0 before it is open."""
    heard_s: float | None = client.heard_s
    return asyncio.get_running_loop().time() - heard_s if heard_s is not None else 0.0


def drop(client: Any, reason: str) -> None:
    """Close one of ccxt's connections; all who wait on it get a NetworkError."""
    client.on_error(ccxt.NetworkError(reason))


async def _receive(client: Any, unreadable: Callable[[Exception], None]) -> None:
    """Read a connection to its end, in place of ccxt's own loop: that handles all that has arrived in one go, and after
    a burst nobody else is served for as long as it takes."""
    handled = 0
    clock = asyncio.get_running_loop().time
    client.heard_s = clock()
    try:
        while not client.closed():
            message = await client.receive()
            client.heard_s = clock()
            try:
                client.handle_message(message)
            except ValueError as error:  # of the JSON reader; what our own code raises ends in `handle_message` above
                unreadable(error)
            handled += 1
            if not handled % FRAMES_A_TURN:
                await asyncio.sleep(0)
    except Exception as error:
        drop(client, f"reading failed: {error}")
    else:
        client.on_close(1006)


async def close(exchange: Any) -> None:
    """Close all connections of an exchange."""
    for client in list(exchange.clients.values()):
        # ccxt cancels the futures of those who wait; they have been cancelled by us before.
        client.futures.clear()
    await exchange.close()
    # aiohttp closes its transports in callbacks of the loop's next turn.
    await asyncio.sleep(0)
