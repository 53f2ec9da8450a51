"""The order lane without compiled code: every item takes the path of the unary calls, and protobuf writes the answers."""

from __future__ import annotations

from collections import Counter

from fastpath.model import records
from fastpath.model.structs import EVENT_SIZE
from server.engine.trading import Trading
from server.records.events import (
    AMEND_REJECTED,
    CANCEL_REJECTED,
    ORDER_ACCEPTED,
    ORDER_REJECTED,
    ORDER_REPLAYED,
    REJECTED_COMMAND,
    Event,
    decode,
)
from server.rpc import convert
from server.rpc.metrics import OrderMetrics
from server.rpc.order_lane import Decided, OrderLane, Refused
from tradewind.v1 import orders_pb2 as pb


class NothingIsPlain:
    """A reader that leaves everything to protobuf."""

    def stream(self, raw: bytes) -> None: ...

    def batch(self, raw: bytes) -> None: ...

    def place(self, raw: bytes) -> None: ...

    def cancel(self, raw: bytes) -> None: ...

    def amend(self, raw: bytes) -> None: ...


class ProtobufWriter:
    def __init__(self, trading: Trading) -> None:
        self._trading = trading

    def stream(
        self, batch_id: int, count: int, events: bytes, errors: dict[int, bytes], refused: Refused
    ) -> tuple[bytes, Decided]:
        response = pb.StreamOrdersResponse()
        batch = response.batches.add(batch_id=batch_id)
        decided: Counter[tuple[int, int]] = Counter()
        for status, order, event in self._outcomes(count, events, errors, refused, decided):
            if order is None:
                batch.results.add().error.ParseFromString(status)
            else:
                batch.results.add(order=order, replayed=event.kind == ORDER_REPLAYED)
        return response.SerializeToString(), dict(decided)

    def batch(self, count: int, events: bytes, errors: dict[int, bytes], refused: Refused) -> tuple[bytes, Decided]:
        response = pb.BatchPlaceOrdersResponse()
        decided: Counter[tuple[int, int]] = Counter()
        for status, order, event in self._outcomes(count, events, errors, refused, decided):
            if order is None:
                response.results.add().error.ParseFromString(status)
            else:
                placed = pb.PlaceOrderResponse(order=order, replayed=event.kind == ORDER_REPLAYED)
                response.results.add(placed=placed)
        return response.SerializeToString(), dict(decided)

    def one(self, events: bytes) -> tuple[bytes, Decided] | None:
        response = pb.PlaceOrderResponse()
        decided: Counter[tuple[int, int]] = Counter()
        ((_, order, event),) = self._outcomes(1, events, {}, lambda item, record: b"", decided)
        if order is None:
            return None
        response.order.CopyFrom(order)
        response.replayed = event.kind == ORDER_REPLAYED
        return response.SerializeToString(), dict(decided)

    def _outcomes(
        self, count: int, events: bytes, errors: dict[int, bytes], refused: Refused, decided: Counter[tuple[int, int]]
    ) -> list[tuple[bytes, pb.Order | None, Event]]:
        """(Status, None, ...) of an item that was refused, else its order and the first event of its command."""
        outcomes: list[tuple[bytes, pb.Order | None, Event]] = []
        nothing = decode(bytes(EVENT_SIZE))
        first_events = iter(records.first_of_commands(events))
        for item in range(count):
            if item in errors:
                outcomes.append((errors[item], None, nothing))
                continue
            record = next(first_events)
            event = decode(record)
            newest = self._trading.order_event(event.order_id)
            if event.kind in (REJECTED_COMMAND, CANCEL_REJECTED, AMEND_REJECTED) or newest is None:
                outcomes.append((refused(item, record), None, event))
                continue
            order = self._trading.order_view(newest)
            if event.kind in (ORDER_ACCEPTED, ORDER_REJECTED):
                decided[order.status, order.reject_reason] += 1
            outcomes.append((b"", convert.order(order), event))
        return outcomes


def naive_lane(trading: Trading, metrics: OrderMetrics) -> OrderLane:
    return OrderLane(trading, metrics, NothingIsPlain(), ProtobufWriter(trading))
