"""Watches for changes of a venue's markets, ticks and lots."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from server.base.errors import TradewindError
from server.base.instruments import Instrument
from server.feeds.listing import Listing
from server.feeds.market import Market

EVERY_S = 3_600.0
"""The venue is asked for its rules so often, whatever comes."""
PAUSE_S = 60.0
"""And no sooner again, however much comes that does not fit them."""

Define = Callable[[Sequence[Instrument]], Awaitable[list[Instrument]]]

_log = logging.getLogger(__name__)


class RulesWatch:
    """Reloads the markets when a price or quantity is off the grid, and periodically. Reports what changed."""

    def __init__(
        self,
        load: Callable[[], Awaitable[Listing]],
        define: Define,
        markets: Mapping[str, Market],
        changed: Callable[[Instrument], None],
        unlisted: Callable[[list[Market], str], None],
    ) -> None:
        """`load` asks the venue anew, `define` gives instruments their numbers, `markets` hold them as they are
        known, `changed` is told each that is another one now, `unlisted` each that cannot be followed any more, and
        why."""
        self._load = load
        self._define = define
        self._markets = markets
        self._changed = changed
        self._unlisted = unlisted
        self._doubted = asyncio.Event()

    def doubt(self) -> None:
        """Note a message that violates the rules; the markets are reloaded."""
        self._doubted.set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._doubted.wait()
            except TimeoutError:
                pass
            try:
                await self._look()
            except (TradewindError, ValueError) as error:
                _log.warning("the rules of a venue's markets could not be asked for, trying again: %s", error)
            await asyncio.sleep(PAUSE_S)
            self._doubted.clear()  # what came meanwhile is seen again if it still does not fit

    async def _look(self) -> None:
        known = {market.instrument.name: market.instrument for market in self._markets.values()}
        listing = await self._load()
        for market in self._markets.values():
            if market.symbol in listing.refused:
                # Its book may rest for ever, and is no price.
                self._unlisted([market], listing.refused[market.symbol])
        told = [each for each in listing.instruments if each.name in known]
        for instrument in await self._define(told):
            if instrument != known[instrument.name]:
                self._changed(instrument)
