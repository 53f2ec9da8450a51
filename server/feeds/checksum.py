"""OKX's book checksum."""

from __future__ import annotations

import zlib
from itertools import zip_longest

from server.feeds.frames import DepthFrame
from server.market.book import Book
from server.market.model import Level

_DEPTH = 25


class Texts:
    """The texts of a book's levels as sent, by price in ticks: the checksum is computed over them."""

    def __init__(self) -> None:
        self._bids: dict[int, str] = {}
        self._asks: dict[int, str] = {}

    def apply(self, frame: DepthFrame, bids: tuple[Level, ...], asks: tuple[Level, ...]) -> None:
        """Take a frame's rows over; `bids` and `asks` are the same rows in ticks and lots."""
        for texts, rows, levels in ((self._bids, frame.bids, bids), (self._asks, frame.asks, asks)):
            for row, (price, qty) in zip(rows, levels, strict=True):
                if qty:
                    texts[price] = f"{row[0]}:{row[1]}"
                else:
                    texts.pop(price, None)

    def checksum(self, book: Book) -> int:
        """Signed CRC-32 of the best 25 levels, `bid:qty:ask:qty:...`, one side going on alone when the other ends."""
        bids = [self._bids[price] for price, _ in book.bids.top(_DEPTH)]
        asks = [self._asks[price] for price, _ in book.asks.top(_DEPTH)]
        fields = [text for pair in zip_longest(bids, asks) for text in pair if text is not None]
        crc = zlib.crc32(":".join(fields).encode())
        return crc - (1 << 32) if crc & (1 << 31) else crc
