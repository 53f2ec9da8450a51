"""Common parts of streaming RPCs: resume position, batching of pending messages, end of stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from server.base import streams
from server.base.errors import ShuttingDown
from server.base.instruments import INT64_MAX
from server.rpc import convert
from server.rpc.fields import Fields
from server.rpc.wire import content_key, prefixed
from tradewind.v1 import common_pb2
from tradewind.v1.market_data_pb2 import SubscribeMarketDataResponse as AnyResponse

MESSAGE_BYTES = 65_536
"""A message is complete when it has so many, or when there is no more to tell."""
_MAX_EPOCH_CHARS = 64
RECONNECT = "the server is stopping: connect again later; streams continue with resume_from"
"""With what calls are refused, and streams end after their notice."""

# The responses of all streams have these two fields.
_EPOCH = content_key(AnyResponse.STREAM_EPOCH_FIELD_NUMBER)
_EVENTS = content_key(AnyResponse.EVENTS_FIELD_NUMBER)

Event = TypeVar("Event", bound=Message)
Item = TypeVar("Item", covariant=True)


class Resumable(Protocol):
    """A request that may name a position."""

    @property
    def resume_from(self) -> common_pb2.StreamPosition: ...

    def HasField(self, field_name: Any) -> bool: ...


class Stream(Protocol[Item]):
    """What a subscriber is to get."""

    epoch: str

    def __aiter__(self) -> AsyncIterator[Item]: ...

    def pending(self) -> Item | None:
        """The next item if there is one now."""
        ...


async def messages(stream: Stream[Item], encode: Callable[[Item], bytes]) -> AsyncIterator[bytes]:
    """Serialized responses of a stream; `encode` makes an event of an item. Ends with ShuttingDown.

    Each has all that is pending when it is written: under load messages grow instead of multiplying, since a message
    costs far more than an event in it.
    """
    header = _EPOCH + prefixed(stream.epoch.encode())
    async for first in stream:
        item: Item | None = first
        parts, size = [header], 0
        while item is not None:
            event = encode(item)
            parts += (_EVENTS, prefixed(event))
            size += len(event)
            item = stream.pending() if size < MESSAGE_BYTES else None
        yield b"".join(parts)
    raise ShuttingDown(RECONNECT)


def check_position(fields: Fields, path: str, position: common_pb2.StreamPosition) -> None:
    fields.text(f"{path}.epoch", position.epoch, _MAX_EPOCH_CHARS)
    fields.between(f"{path}.sequence", position.sequence, 0, INT64_MAX)


def engine_position(fields: Fields, request: Resumable) -> streams.StreamPosition | None:
    """Where to continue; None: from a snapshot."""
    if not request.HasField("resume_from"):
        return None
    check_position(fields, "resume_from", request.resume_from)
    return streams.StreamPosition(request.resume_from.epoch, request.resume_from.sequence)


def engine_event(kind: type[Event], item: streams.StreamItem[Any], now_ns: int) -> Event:
    """The event of an item of an order or account stream, filled in if it is of those that both have."""
    event = kind(sequence=item.sequence, prev_sequence=item.prev_sequence)
    message: Any = event
    match item.event:
        case streams.Ack(resumed):
            message.ack.SetInParent()
            message.ack.resumed = resumed
        case streams.Heartbeat():
            message.heartbeat.time.CopyFrom(convert.timestamp(now_ns))
        case streams.Gap(from_sequence, to_sequence, reason):
            message.gap.from_sequence = from_sequence
            message.gap.to_sequence = to_sequence
            message.gap.reason = reason
        case streams.Notice(text):
            message.notice.code = common_pb2.StreamNotice.CODE_GOING_AWAY
            message.notice.message = text
    return event
