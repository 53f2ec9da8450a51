"""Market data subscriptions and the messages of their streams."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from server.base.instruments import Instrument
from server.base.streams import Ack, Gap, Heartbeat, Notice, StreamPosition
from server.market.model import MarketUpdate

MAX_DEPTH = 1_000
"""Levels a side a subscriber may ask for."""


class Channel(enum.IntEnum):
    """What a subscription carries; the numbers are those of the wire contract."""

    QUOTE = 1
    TRADE = 2
    BOOK = 3


class Delivery(enum.IntEnum):
    """How updates reach a subscriber that is slower than the market; the numbers are those of the wire contract."""

    ALL = 1
    """Every update. A reader that falls too far behind is ended with SlowConsumer."""
    LATEST = 2
    """The newest state; what was overtaken is merged and counted. Not for trades."""
    INTERVAL = 3
    """As LATEST, at most once every `interval_ms`. Not for trades."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One thing to follow. Raises ValueError if it makes no sense."""

    subscription_id: str
    instrument: Instrument
    channel: Channel
    delivery: Delivery
    depth: int = 20
    """Book only: levels a side, 1 to MAX_DEPTH."""
    interval_ms: int = 0
    """INTERVAL only: 10 to 60,000."""
    resume_from: StreamPosition | None = None

    def __post_init__(self) -> None:
        if self.channel is Channel.TRADE and self.delivery is not Delivery.ALL:
            raise ValueError("trades cannot be merged: use Delivery.ALL")
        if self.channel is Channel.BOOK and not 1 <= self.depth <= MAX_DEPTH:
            raise ValueError(f"depth must be 1 to {MAX_DEPTH}, not {self.depth}")
        if self.delivery is Delivery.INTERVAL and not 10 <= self.interval_ms <= 60_000:
            raise ValueError(f"interval_ms must be 10 to 60000, not {self.interval_ms}")


class Snapshot(NamedTuple):
    """The state to start from: the book to the depth asked for, the last quote or trade (None if there is none yet)."""

    data: MarketUpdate | None
    is_last: bool = True


class Update(NamedTuple):
    """A change. `conflated_count` more updates were merged into it."""

    data: MarketUpdate
    conflated_count: int


StreamEvent = Ack | Snapshot | Update | Gap | Heartbeat | Notice


class StreamItem(NamedTuple):
    """One message of a stream. `prev_sequence` is the sequence of the previous message of the same subscription.

    On heartbeats and notices `subscription_id` is empty and `sequence` that of the stream's last message.
    """

    subscription_id: str
    epoch: str
    sequence: int
    prev_sequence: int
    event: StreamEvent
