"""Estimates cancellations in a venue's queues from its market data: they advance paper orders in the queue.

A venue says how much is displayed at a price and what trades, not what is canceled. So a displayed quantity that falls by
more than was traded there was canceled. The two come on different channels in any order: a fall counts only when no trade
has explained it until the tick after the next, and a trade explains falls for as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fastpath.model.enums import Side
from server.market.model import BookUpdate, FeedState, Trade

_BUY, _SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)

Place = tuple[int, int]
"""(side, price in ticks) of a level."""


class Cancellation(NamedTuple):
    """`qty` of `displayed` data lots at a level were canceled."""

    side: int
    price: int
    qty: int
    displayed: int


class _Level:
    """What is known of one level, in data lots."""

    __slots__ = ("displayed", "fallen", "fallen_before", "traded", "traded_before")

    def __init__(self, displayed: int) -> None:
        self.displayed = displayed
        self.fallen = self.fallen_before = 0
        """Falls that no trade explains: since the last tick, and between that and the one before."""
        self.traded = self.traded_before = 0
        """Trades that no fall has shown yet."""

    def show(self, displayed: int) -> None:
        fall = self.displayed - displayed
        self.displayed = displayed
        if fall > 0:
            old = min(fall, self.traded_before)
            new = min(fall - old, self.traded)
            self.traded_before -= old
            self.traded -= new
            self.fallen += fall - old - new

    def trade(self, qty: int) -> None:
        old = min(qty, self.fallen_before)
        new = min(qty - old, self.fallen)
        self.fallen_before -= old
        self.fallen -= new
        self.traded += qty - old - new

    def tick(self) -> tuple[int, int]:
        """(canceled, displayed before that); what is settled now."""
        canceled, displayed = self.fallen_before, self.displayed + self.fallen + self.fallen_before
        self.fallen_before, self.fallen = self.fallen, 0
        self.traded_before, self.traded = self.traded, 0
        return canceled, displayed


class QueueWatch:
    """The levels of one instrument where paper orders rest."""

    def __init__(self) -> None:
        self._levels: dict[Place, _Level | None] = {}
        """None: how much is displayed there is not known."""

    def watch(self, places: Iterable[Place], book: BookUpdate | None) -> None:
        """These levels from now on; `book` is the market as it is."""
        known, self._levels = self._levels, {place: self._levels.get(place) for place in places}
        if book is not None and any(level is None for level in self._levels.values()):
            fresh = {place for place in self._levels if known.get(place) is None}
            self._show(book, fresh)

    @property
    def unsettled(self) -> bool:
        """Whether ticks have something to do."""
        return any(
            level is not None and (level.fallen or level.fallen_before or level.traded or level.traded_before)
            for level in self._levels.values()
        )

    def book(self, update: BookUpdate) -> None:
        """A snapshot or a delta of the venue's book. After one that is not LIVE nothing is known."""
        if update.state is not FeedState.LIVE:
            self._levels = dict.fromkeys(self._levels)
            return
        self._show(update, self._levels.keys())

    def trade(self, trade: Trade) -> None:
        level = self._levels.get((_SELL if trade.aggressor_side == _BUY else _BUY, trade.price))
        if level is not None:
            level.trade(trade.qty)

    def tick(self) -> list[Cancellation]:
        """What is settled now."""
        settled = [(place, level.tick()) for place, level in self._levels.items() if level is not None]
        return [Cancellation(*place, canceled, displayed) for place, (canceled, displayed) in settled if canceled]

    def _show(self, update: BookUpdate, places: Iterable[Place]) -> None:
        levels = {(_BUY, price): qty for price, qty in update.bids}
        levels |= {(_SELL, price): qty for price, qty in update.asks}
        for place in places:
            known = self._levels[place]
            displayed = levels.get(place, 0 if update.is_snapshot and _is_within(place, update) else None)
            if displayed is None:
                if update.is_snapshot:
                    self._levels[place] = None
            elif known is None:
                self._levels[place] = _Level(displayed)
            else:
                known.show(displayed)


def _is_within(place: Place, snapshot: BookUpdate) -> bool:
    """Whether a snapshot reaches as far as that level."""
    side, price = place
    levels = snapshot.bids if side == _BUY else snapshot.asks
    return bool(levels) and (price >= levels[-1][0] if side == _BUY else price <= levels[-1][0])
