"""What a venue's feed is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.errors import ConfigError
from server.feeds.binance import Binance
from server.feeds.bybit import Bybit
from server.feeds.dialect import Dialect
from server.feeds.model import FeedState
from server.feeds.okx import Okx

DIALECTS: Mapping[str, type[Dialect]] = {"binance": Binance, "okx": Okx, "bybit": Bybit}


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """What to watch at a venue.

    venue:         one of DIALECTS.
    symbols:       ccxt's unified symbols: BTC/USDT (spot), BTC/USDT:USDT (perpetual).
    redirect:      called with the ccxt exchange before its first use, to lead it somewhere else (a replay exchange).
    stale_after_s: books are STALE, and their connection is taken anew, when none of them changed for so long.
    market_stale_after_s: one book is STALE, and taken anew, when it did not change for so long while others did.
    keepalive_s:   time between two pings; a connection that misses two is taken anew.
    ccxt:          further configuration for ccxt.
    """

    venue: str
    symbols: tuple[str, ...]
    redirect: Callable[[Any], None] | None = None
    stale_after_s: float = 10.0
    market_stale_after_s: float = 60.0
    keepalive_s: float = 10.0
    ccxt: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.venue not in DIALECTS:
            raise ConfigError(f"there is no feed for venue {self.venue!r}; there are {', '.join(DIALECTS)}")
        if not self.symbols:
            raise ConfigError(f"{self.venue}: no symbols to watch")


@dataclass(slots=True)
class VenueStatus:
    """How a venue's feed is. `state` is that of its worst instrument, which `detail` names."""

    venue: str
    state: FeedState
    detail: str
    since_ns: int
    messages: int = 0
    gaps: int = 0
    reconnects: int = 0
    last_message_ns: int = 0
    """0 before the first."""
