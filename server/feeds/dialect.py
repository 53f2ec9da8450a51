"""The protocol differences between venues; everything else is in `venue.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from server.feeds.frames import DepthFrame, Frame
from server.feeds.specs import Rules

Message = dict[str, Any]


class Dialect(ABC):
    """Reads a venue's messages and knows what ccxt has to be told."""

    ccxt_id: ClassVar[str]
    snapshot_by_rest: ClassVar[bool]
    """Deltas connect to a snapshot that has to be fetched, instead of one that the stream begins with."""
    exact_snapshots: ClassVar[bool]
    """Deltas tell every level that was touched, so a fetched snapshot and the deltas after it are the book exactly."""
    subscriptions_per_request: ClassVar[int]
    """How many markets may be named in one subscription."""

    @abstractmethod
    def options(self, symbols: Sequence[str]) -> dict[str, Any]:
        """ccxt options that make it load the markets of `symbols` and no others, as far as that can be told."""

    @abstractmethod
    def product(self, url: str) -> str:
        """Which of the venue's products a WebSocket URL serves; part of the market's key."""

    @abstractmethod
    def key(self, market: dict[str, Any]) -> str:
        """The name that frames give a ccxt market."""

    @abstractmethod
    def rules(self, market: dict[str, Any]) -> Rules:
        """The order rules of a ccxt market as the venue wrote them."""

    @abstractmethod
    def parse(self, message: Message, product: str) -> Sequence[Frame] | None:
        """The frames in a message; None if it is none of market data (an acknowledgement, an error)."""

    def refused(self, message: Message) -> str | None:
        """What the venue says, with the market's name in it, if the message refuses one subscription; else None."""
        return None

    def refusal(self, symbol: str) -> str:
        """Why a market of this form cannot be followed here; "" if nothing but the venue's list of markets can tell."""
        is_option = symbol.partition(":")[2].count("-") > 1  # a future has the date alone
        return "options are not followed" if is_option else ""

    def book_params(self) -> dict[str, Any]:
        """Arguments of ccxt's `watch_order_book` besides the symbols."""
        return {}

    def unwatch_params(self) -> dict[str, Any]:
        """Parameters of ccxt's `un_watch_order_book`, where snapshots come by subscribing again."""
        return {}

    @abstractmethod
    async def fetch_snapshot(self, exchange: Any, market: dict[str, Any]) -> DepthFrame:
        """The book over REST: to begin with where `snapshot_by_rest`, everywhere to compare with. Raises whatever ccxt
        and an odd answer raise."""
