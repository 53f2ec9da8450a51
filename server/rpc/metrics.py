"""Metrics of RPCs, named as gRPC dashboards expect, and of orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server.engine.orders import Outcome
from tradewind.v1 import orders_pb2

_LABELS = ("grpc_service", "grpc_method", "grpc_type")
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
CODES = {code: "".join(word.title() for word in code.name.split("_")) for code in grpc.StatusCode} | {
    grpc.StatusCode.OK: "OK"
}
"""Codes spelled as label values: OK, InvalidArgument, NotFound ..."""


class RpcMetrics:
    """The families; `of` gives the counters of one method."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter("grpc_server_started", "RPCs started.", _LABELS, registry=registry)
        self.handled = Counter(
            "grpc_server_handled", "RPCs ended, by status code.", (*_LABELS, "grpc_code"), registry=registry
        )
        self.seconds = Histogram(
            "grpc_server_handling_seconds", "Time from the request to the end of the answer, streams to their end.",
            _LABELS, buckets=_BUCKETS, registry=registry,
        )  # fmt: skip
        self.streams = Gauge("tradewind_streams_open", "Streams open now.", _LABELS[:2], registry=registry)

    def of(self, service: str, method: str, kind: str) -> MethodMetrics:
        return MethodMetrics(self, service, method, kind)


class OrderMetrics:
    """Counters of new orders by result."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._orders = Counter("tradewind_orders", "Orders decided, by status.", ("status",), registry=registry)
        self._rejects = Counter("tradewind_order_rejects", "Orders refused, by reason.", ("reason",), registry=registry)
        self._by_status: dict[int, Counter] = {}

    def decided(self, placed: Outcome) -> None:
        """An order was placed; one that had been placed before is not counted again."""
        if not placed.replayed:
            self.count({(placed.order.status, placed.order.reject_reason): 1})

    def count(self, decided: Mapping[tuple[int, int], int]) -> None:
        """New orders: how many by (status, reject reason)."""
        for (status, reason), number in decided.items():
            counter = self._by_status.get(status)
            if counter is None:
                label = _label(orders_pb2.OrderStatus.Name, status, "ORDER_STATUS_")
                counter = self._by_status[status] = self._orders.labels(label)
            counter.inc(number)
            if reason:
                self._rejects.labels(_label(orders_pb2.RejectReason.Name, reason, "REJECT_REASON_")).inc(number)


def _label(name_of: Callable[[Any], str], number: int, prefix: str) -> str:
    return name_of(number).removeprefix(prefix)


class MethodMetrics:
    """Of one method, with its labels resolved once."""

    def __init__(self, families: RpcMetrics, service: str, method: str, kind: str) -> None:
        self._handled = {code: families.handled.labels(service, method, kind, label) for code, label in CODES.items()}
        self.started = families.started.labels(service, method, kind)
        self._seconds = families.seconds.labels(service, method, kind)
        self.open_streams = families.streams.labels(service, method)

    def ended(self, code: grpc.StatusCode, seconds: float) -> None:
        self._handled[code].inc()
        self._seconds.observe(seconds)
