"""Market data as the bytes of a MarketDataEvent.

Protobuf takes the fields of a message in any order, and the concatenation of parts of a message as the message. So the
data of an update is encoded once, however many read it, and what each subscriber gets is joined of these bytes and the
few that are its own: which subscription, after which sequence.
"""

from __future__ import annotations

from server.base.clock import Clock
from server.base.streams import Ack, Gap, Heartbeat, Notice
from server.market.model import BookUpdate, MarketUpdate, Quote, Trade
from server.market.subscription import Snapshot, StreamItem, Update
from server.rpc import convert
from server.rpc.wire import content_key, prefixed, varint, varint_key
from tradewind.v1 import common_pb2
from tradewind.v1 import market_data_pb2 as pb

_SEQUENCE = varint_key(pb.MarketDataEvent.SEQUENCE_FIELD_NUMBER)
_PREV_SEQUENCE = varint_key(pb.MarketDataEvent.PREV_SEQUENCE_FIELD_NUMBER)
_SUBSCRIPTION_ID = content_key(pb.MarketDataEvent.SUBSCRIPTION_ID_FIELD_NUMBER)
_CONFLATED_COUNT = varint_key(pb.MarketDataEvent.CONFLATED_COUNT_FIELD_NUMBER)
_SNAPSHOT = content_key(pb.MarketDataEvent.SNAPSHOT_FIELD_NUMBER)
_UPDATE = content_key(pb.MarketDataEvent.UPDATE_FIELD_NUMBER)
_IS_LAST = varint_key(pb.MarketDataSnapshot.IS_LAST_FIELD_NUMBER) + varint(1)


class MarketDataEncoder:
    """Encodes the events of one stream."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._subscription_fields: dict[str, bytes] = {"": b""}
        """By subscription id: there are no more than the stream has."""

    def __call__(self, item: StreamItem) -> bytes:
        event = item.event
        conflated = b""
        if isinstance(event, Update):
            data = event.data.encoded(self._data)
            content = _UPDATE + varint(len(data)) + data
            if event.conflated_count:
                conflated = _CONFLATED_COUNT + varint(event.conflated_count)
        elif isinstance(event, Snapshot):
            data = event.data.encoded(self._data) if event.data is not None else b""
            content = _SNAPSHOT + prefixed(data + _IS_LAST if event.is_last else data)
        else:
            content = self._without_data(item).SerializeToString()
        subscription = self._subscription_fields.get(item.subscription_id)
        if subscription is None:
            subscription = _SUBSCRIPTION_ID + prefixed(item.subscription_id.encode())
            self._subscription_fields[item.subscription_id] = subscription
        sequence, prev_sequence = varint(item.sequence), varint(item.prev_sequence)
        return b"".join((_SEQUENCE, sequence, _PREV_SEQUENCE, prev_sequence, subscription, conflated, content))

    def _data(self, update: MarketUpdate) -> bytes:
        """The `data` of a MarketDataUpdate, which is encoded as that of a MarketDataSnapshot."""
        message = pb.MarketDataUpdate()
        now_ns = self._clock.now_ns()
        match update:
            case Quote():
                message.quote.CopyFrom(convert.quote(update, now_ns))
            case Trade():
                message.trade.CopyFrom(convert.trade(update, now_ns))
            case BookUpdate():
                message.book.CopyFrom(convert.book(update, now_ns))
        return message.SerializeToString()

    def _without_data(self, item: StreamItem) -> pb.MarketDataEvent:
        message = pb.MarketDataEvent()
        match item.event:
            case Ack(resumed):
                message.ack.subscription_id = item.subscription_id
                message.ack.resumed = resumed
            case Heartbeat():
                message.heartbeat.time.CopyFrom(convert.timestamp(self._clock.now_ns()))
            case Gap(from_sequence, to_sequence, reason):
                message.gap.from_sequence = from_sequence
                message.gap.to_sequence = to_sequence
                message.gap.reason = reason
            case Notice(text):
                message.notice.code = common_pb2.StreamNotice.CODE_GOING_AWAY
                message.notice.message = text
        return message
