"""Configuration and status of a venue's feed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.base.errors import ConfigError
from server.feeds.binance import Binance
from server.feeds.bybit import Bybit
from server.feeds.dialect import Dialect
from server.feeds.okx import Okx
from server.market.model import FeedState

DIALECTS: Mapping[str, type[Dialect]] = {"binance": Binance, "okx": Okx, "bybit": Bybit}

_SYMBOL = re.compile(r"[^\s/:]+/[^\s/:]+(:[^\s/:]+)?")


def unservable(venue: str, symbols: Sequence[str]) -> Iterator[str]:
    """What of a venue and its symbols can never be followed, a text each. What only the venue can tell is not asked."""
    dialect = DIALECTS.get(venue)
    if dialect is None:
        yield f"there is no feed for venue {venue!r}; there are {', '.join(DIALECTS)}"
        return
    if not symbols:
        yield f"{venue}: no symbols to follow; name some, or leave the venue out"
    for at, symbol in enumerate(symbols):
        if not _SYMBOL.fullmatch(symbol):
            yield f"{venue}: {symbol!r} is no symbol; they look like BTC/USDT (spot) or BTC/USDT:USDT (perpetual)"
        elif reason := dialect().refusal(symbol):
            yield f"{venue}: {symbol!r} cannot be followed: {reason}"
        elif symbol in symbols[:at]:
            yield f"{venue}: {symbol!r} is named twice"


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """What to watch at a venue.

    venue:         one of DIALECTS.
    symbols:       ccxt's unified symbols: BTC/USDT (spot), BTC/USDT:USDT (perpetual).
    redirect:      called with the ccxt exchange before its first use, to lead it somewhere else (a replay exchange).
    stale_after_s: a connection is taken anew when nothing came over it for so long, not even an answer to a ping.
    compare_every_s: each LIVE book is compared with a fetched snapshot so often; 0: never without a cause.
    compare_per_minute: snapshots fetched for comparisons of all books of the venue together, at most.
    ccxt:          further configuration for ccxt.
    """

    venue: str
    symbols: tuple[str, ...]
    redirect: Callable[[Any], None] | None = None
    stale_after_s: float = 10.0
    compare_every_s: float = 10.0
    compare_per_minute: int = 30
    ccxt: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = list(unservable(self.venue, self.symbols))
        if problems:
            raise ConfigError("\n".join(problems))


@dataclass(slots=True)
class VenueStatus:
    """How a venue's feed is. `state` is that of its worst instrument, which `detail` names."""

    venue: str
    state: FeedState
    detail: str
    since_ns: int
    live: int = 0
    """Instruments whose book is LIVE."""
    messages: int = 0
    gaps: int = 0
    reconnects: int = 0
    last_message_ns: int = 0
    """0 before the first."""
