"""What streams share: the position to resume from, the end, and the envelope of order and account streams."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from server.engine import fanout
from server.instruments import INT64_MAX
from server.rpc import convert
from server.rpc.fields import Fields
from tradewind.v1 import common_pb2

_MAX_EPOCH_CHARS = 64
RECONNECT = "the server is stopping: connect again later; streams continue with resume_from"
"""With what calls are refused, and streams end after their notice."""

Envelope = TypeVar("Envelope", bound=Message)


class Resumable(Protocol):
    """A request that may name a position."""

    @property
    def resume_from(self) -> common_pb2.StreamPosition: ...

    def HasField(self, field_name: Any) -> bool: ...


def check_position(fields: Fields, path: str, position: common_pb2.StreamPosition) -> None:
    fields.text(f"{path}.epoch", position.epoch, _MAX_EPOCH_CHARS)
    fields.between(f"{path}.sequence", position.sequence, 0, INT64_MAX)


def engine_position(fields: Fields, request: Resumable) -> fanout.StreamPosition | None:
    """Where to continue; None: from a snapshot."""
    if not request.HasField("resume_from"):
        return None
    check_position(fields, "resume_from", request.resume_from)
    return fanout.StreamPosition(request.resume_from.epoch, request.resume_from.sequence)


def engine_envelope(kind: type[Envelope], item: fanout.StreamItem[Any], now_ns: int) -> Envelope:
    """The message of an item, with those events filled in that all streams have."""
    envelope = kind(stream_epoch=item.epoch, sequence=item.sequence, prev_sequence=item.prev_sequence)
    message: Any = envelope
    match item.event:
        case fanout.Ack(resumed):
            message.ack.SetInParent()
            message.ack.resumed = resumed
        case fanout.Heartbeat():
            message.heartbeat.time.CopyFrom(convert.timestamp(now_ns))
        case fanout.Gap(from_sequence, to_sequence, reason):
            message.gap.from_sequence = from_sequence
            message.gap.to_sequence = to_sequence
            message.gap.reason = reason
        case fanout.Notice(text):
            message.notice.code = common_pb2.StreamNotice.CODE_GOING_AWAY
            message.notice.message = text
    return envelope
