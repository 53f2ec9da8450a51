"""Market data of our own books: successive snapshots of a book become updates like those of any venue."""

from __future__ import annotations

from collections.abc import Sequence

from server.base.instruments import Instrument
from server.market.hub import MarketData
from server.market.model import BookUpdate, FeedState, Level, Quote


class BookPublisher:
    """Publishes the difference between one snapshot of an own book and the next."""

    def __init__(self, hub: MarketData, instrument: Instrument) -> None:
        self._hub = hub
        self._instrument = instrument
        self._bids: dict[int, int] | None = None
        self._asks: dict[int, int] = {}
        self._top: tuple[Level, Level] | None = None

    def publish(self, bids: Sequence[Level], asks: Sequence[Level], sequence: int, time_ns: int) -> None:
        """`bids` and `asks` are the book now, best first; `sequence` the engine's, `time_ns` of its last change.

        The snapshot must be deep enough for every subscriber: what it does not show counts as not there.
        """
        new_bids, new_asks = dict(bids), dict(asks)
        top = (bids[0] if bids else (0, 0)), (asks[0] if asks else (0, 0))
        if self._bids is None:
            # The hub makes the first quote from the snapshot.
            self._publish_book(bids, asks, sequence, time_ns, is_snapshot=True)
        else:
            if new_bids != self._bids or new_asks != self._asks:
                changed = _changes(self._bids, new_bids), _changes(self._asks, new_asks)
                self._publish_book(*changed, sequence, time_ns, is_snapshot=False)
            if top != self._top:
                self._hub.publish(Quote(self._instrument, *top[0], *top[1], time_ns, time_ns))
        self._bids, self._asks, self._top = new_bids, new_asks, top

    def _publish_book(
        self, bids: Sequence[Level], asks: Sequence[Level], sequence: int, time_ns: int, *, is_snapshot: bool
    ) -> None:
        self._hub.publish(
            BookUpdate(
                instrument=self._instrument,
                bids=tuple(bids),
                asks=tuple(asks),
                is_snapshot=is_snapshot,
                state=FeedState.LIVE,
                venue_sequence=sequence,
                venue_time_ns=time_ns,
                receive_time_ns=time_ns,
            )
        )


def _changes(old: dict[int, int], new: dict[int, int]) -> list[Level]:
    removed = [(price, 0) for price in old if price not in new]
    return removed + [(price, qty) for price, qty in new.items() if old.get(price) != qty]
