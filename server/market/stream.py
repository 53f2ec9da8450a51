"""The stream of one subscriber: cursors into topics, read when the subscriber is ready."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.base.clock import Clock, Timer
from server.base.errors import SlowConsumer
from server.base.streams import Ack, Gap, Heartbeat, Notice, Stream
from server.market.model import BookUpdate, MarketUpdate
from server.market.subscription import Delivery, Snapshot, StreamEvent, StreamItem, Subscription, Update
from server.market.topic import Topic

CHUNK = 256
"""Updates of one subscription that are read before the next subscription has its turn."""


class Cursor:
    """A subscription's place in its topic."""

    __slots__ = ("_not_before_ns", "_release", "_stream", "_timer", "position", "subscription", "topic")

    def __init__(
        self, stream: MarketStream, subscription: Subscription, topic: Topic[Any], release: Callable[[], None]
    ) -> None:
        self.subscription = subscription
        self.topic = topic
        self.position = topic.sequence
        """Sequence of the last message delivered."""
        self._stream = stream
        self._release = release
        self._not_before_ns = 0
        self._timer: Timer | None = None

    def start(self) -> list[StreamItem]:
        """The first messages: an ack and, unless the subscription resumes, a snapshot."""
        topic, resume = self.topic, self.subscription.resume_from
        now = topic.sequence
        if resume is not None and resume.epoch == self._stream.epoch and topic.floor <= resume.sequence <= now:
            self.position = resume.sequence
            return [self._item(resume.sequence, resume.sequence, Ack(resumed=True))]
        items = [self._item(now, 0, Ack(resumed=False))]
        if resume is not None:
            same_epoch = resume.epoch == self._stream.epoch and resume.sequence < now
            reason = "no longer retained" if same_epoch else "the position belongs to another life of the server"
            items.append(self._item(now, now, Gap(resume.sequence + 1, now if same_epoch else 0, reason)))
        items.append(self._item(now, now, Snapshot(topic.snapshot())))
        return items

    def arm(self) -> None:
        """Have the stream read this cursor as soon as there is something after it."""
        if self.topic.sequence > self.position:
            self._wake()
        else:
            self.topic.waiting.append(self._wake)

    def take(self) -> list[StreamItem]:
        """What is after the cursor, at most CHUNK messages. Raises SlowConsumer."""
        topic, position = self.topic, self.position
        if self.subscription.delivery is not Delivery.ALL:
            self.position = topic.sequence
            conflated_count = topic.sequence - position - 1
            self._stream.counts.conflated += conflated_count
            event = _event(topic.merged(position), conflated_count)
            if self.subscription.delivery is Delivery.INTERVAL:
                self._not_before_ns = self._stream.clock.now_ns() + self.subscription.interval_ms * 1_000_000
            return [self._item(topic.sequence, position, event)]
        if position < topic.floor:
            raise SlowConsumer(
                f"subscription {self.subscription.subscription_id!r} is {topic.sequence - position} updates behind, "
                f"more than are held; read faster, or subscribe with LATEST or INTERVAL delivery"
            )
        self.position = min(topic.sequence, position + CHUNK)
        return [
            self._item(sequence, sequence - 1, _event(topic.at(sequence), 0))
            for sequence in range(position + 1, self.position + 1)
        ]

    def close(self) -> None:
        if self._wake in self.topic.waiting:
            self.topic.waiting.remove(self._wake)
        if self._timer is not None:
            self._timer.cancel()
        self._release()

    def _wake(self) -> None:
        clock = self._stream.clock
        if self.subscription.delivery is Delivery.INTERVAL and clock.now_ns() < self._not_before_ns:
            self._timer = clock.call_at(self._not_before_ns, self._is_ready)
        else:
            self._is_ready()

    def _is_ready(self) -> None:
        self._stream.ready(self)

    def _item(self, sequence: int, prev_sequence: int, event: StreamEvent) -> StreamItem:
        return StreamItem(self.subscription.subscription_id, self._stream.epoch, sequence, prev_sequence, event)


def _event(update: MarketUpdate, conflated_count: int) -> StreamEvent:
    if isinstance(update, BookUpdate) and update.is_snapshot:
        return Snapshot(update)
    return Update(update, conflated_count)


@dataclass(slots=True)
class StreamCounts:
    """Of all streams since the start."""

    conflated: int = 0
    """Updates that were merged into later ones."""
    too_slow: int = 0
    """Streams that were ended because their reader was too far behind."""


class MarketStream(Stream[StreamItem]):
    """All messages of one subscriber.

    Ends with SlowConsumer when an ALL subscription fell too far behind, and after a Notice when the server stops.
    """

    def __init__(
        self,
        epoch: str,
        heartbeat_s: float,
        clock: Clock,
        counts: StreamCounts,
        on_close: Callable[[MarketStream], None],
    ) -> None:
        super().__init__(heartbeat_s, clock)
        self.clock = clock
        self.epoch = epoch
        self.counts = counts
        self._on_close = on_close
        self._cursors: list[Cursor] = []
        self._ready: deque[Cursor] = deque()
        self._last_sequence = 0
        """Of the last message put into `_items`."""

    def add(self, cursor: Cursor) -> None:
        """Begin a subscription."""
        self._cursors.append(cursor)
        self._put(cursor.start())
        cursor.arm()

    def ready(self, cursor: Cursor) -> None:
        """`cursor` has something to read."""
        self._ready.append(cursor)
        self._wake()

    def _read(self) -> bool:
        if not self._ready or self._ending is not None:
            return False
        cursor = self._ready.popleft()
        try:
            self._put(cursor.take())
        except SlowConsumer:
            self.counts.too_slow += 1
            self.close()
            raise
        cursor.arm()
        return True

    def _put(self, items: list[StreamItem]) -> None:
        self._items.extend(items)
        self._last_sequence = items[-1].sequence

    def _message(self, event: Heartbeat | Notice) -> StreamItem:
        return StreamItem("", self.epoch, self._last_sequence, self._last_sequence, event)

    def _release(self) -> None:
        for cursor in self._cursors:
            cursor.close()
        self._items.clear()
        self._ready.clear()
        self._on_close(self)
