"""What all streams share: the envelope, the position to resume from, and the end when the server stops."""

from __future__ import annotations

from typing import Protocol, TypeVar

from google.protobuf.message import Message
from tradewind.v1 import common_pb2

from server.engine import fanout
from server.rpc import convert
from server.rpc.fields import Fields

MAX_EPOCH_CHARS = 64


class Resumable(Protocol):
    """A request that may name a position."""

    resume_from: common_pb2.StreamPosition

    def HasField(self, field_name: str) -> bool: ...


Envelope = TypeVar("Envelope", bound=Message)


def engine_position(fields: Fields, request: Resumable) -> fanout.Position | None:
    """Where to continue an order or account stream; None: from a snapshot."""
    if not request.HasField("resume_from"):
        return None
    position = request.resume_from
    fields.text("resume_from.epoch", position.epoch, MAX_EPOCH_CHARS)
    return fanout.Position(position.epoch, position.sequence)


def engine_envelope(kind: type[Envelope], item: fanout.StreamItem) -> Envelope:
    """The message of an order or account stream, with those events filled in that all streams have."""
    message = kind(stream_epoch=item.epoch, sequence=item.sequence, prev_sequence=item.prev_sequence)
    match item.event:
        case fanout.Ack(resumed):
            message.ack.SetInParent()
            message.ack.resumed = resumed
        case fanout.Heartbeat(time_ns):
            message.heartbeat.time.CopyFrom(convert.timestamp(time_ns))
        case fanout.Gap(from_sequence, to_sequence, reason):
            message.gap.from_sequence = from_sequence
            message.gap.to_sequence = to_sequence
            message.gap.reason = reason
        case fanout.GoingAway(text):
            message.notice.code = common_pb2.StreamNotice.CODE_GOING_AWAY
            message.notice.message = text
    return message
