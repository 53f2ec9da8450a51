"""The errors of the SDK, one tree. Every error says why (`reason`, `metadata`) and which request it was.

    TradewindError
    ├── InvalidArgument           the request is malformed; `violations` names the fields
    ├── NotFound                  the named thing does not exist
    ├── AlreadyExists             the name is taken by something else
    │   └── ClientOrderIdConflict     the same client order id with another body
    ├── Conflict                  somebody else changed it first; read again and retry
    ├── FailedPrecondition        not possible in the present state
    │   └── OrderNotOpen              the order is closed already
    ├── Unauthenticated           no token, or one that is unknown or expired
    ├── PermissionDenied          the token does not allow this
    ├── ResourceExhausted         a bound was reached; `retry_after` says when to try again
    │   ├── SlowConsumer              this stream's reader fell too far behind
    │   └── QuotaExceeded             too many calls or streams for this token
    ├── Unavailable               cannot be done now; a retry may succeed
    │   ├── ShuttingDown              the server is stopping
    │   └── StaleMarketData           no trustworthy price
    ├── DeadlineExceeded          no answer in time. A mutation may have happened: repeat it with the same id
    ├── Cancelled                 the call was cancelled from this side
    └── ServerError               a bug of the server; report it with the request id
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

STATUS_DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One malformed field: its path in the request (`order.price`), what is wrong with it, and a stable reason."""

    field: str
    description: str
    reason: str = ""


class TradewindError(Exception):
    """Root of the tree.

    Attributes:
        message: for people.
        reason: stable and machine readable, such as `PRICE_NOT_ON_TICK`; the status code if the server gave none.
        metadata: what the reason is about, such as `{"instrument": "binance:BTC/USDT"}`.
        request_id: names the call in the server's log; empty on streams and on errors of this side.
        violations: malformed fields; empty unless the server named some.
        retry_after: when a retry makes sense, if the server said so.
        from_server: whether the server said it, and not the connection to it.
    """

    from_server = False

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        metadata: dict[str, str] | None = None,
        request_id: str = "",
        violations: tuple[FieldViolation, ...] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = metadata or {}
        self.request_id = request_id
        self.violations = violations
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} [{self.reason}]"


class InvalidArgument(TradewindError): ...


class NotFound(TradewindError): ...


class AlreadyExists(TradewindError): ...


class ClientOrderIdConflict(AlreadyExists): ...


class Conflict(TradewindError): ...


class FailedPrecondition(TradewindError): ...


class OrderNotOpen(FailedPrecondition): ...


class Unauthenticated(TradewindError): ...


class PermissionDenied(TradewindError): ...


class ResourceExhausted(TradewindError): ...


class SlowConsumer(ResourceExhausted): ...


class QuotaExceeded(ResourceExhausted): ...


class Unavailable(TradewindError): ...


class ShuttingDown(Unavailable): ...


class StaleMarketData(Unavailable): ...


class DeadlineExceeded(TradewindError): ...


class Cancelled(TradewindError): ...


class ServerError(TradewindError): ...


_BY_CODE: dict[grpc.StatusCode, type[TradewindError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
}

_BY_REASON: dict[str, type[TradewindError]] = {
    "CLIENT_ORDER_ID_CONFLICT": ClientOrderIdConflict,
    "ORDER_NOT_OPEN": OrderNotOpen,
    "SLOW_CONSUMER": SlowConsumer,
    "QUOTA_EXCEEDED": QuotaExceeded,
    "SHUTTING_DOWN": ShuttingDown,
    "STALE_MARKET_DATA": StaleMarketData,
}


_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _kind(code: grpc.StatusCode, reason: str) -> type[TradewindError]:
    """By the status code, and narrower by a reason that belongs to it."""
    kind = _BY_CODE.get(code, ServerError)
    narrower = _BY_REASON.get(reason, kind)
    return narrower if issubclass(narrower, kind) else kind


def is_unreachable(error: TradewindError) -> bool:
    """Whether no server answered: the connection was refused or broke."""
    return isinstance(error, Unavailable) and error.reason == grpc.StatusCode.UNAVAILABLE.name


_STATUS_LOST = "Internal error from Core"


def status_was_lost(error: grpc.Call | grpc.aio.AioRpcError) -> bool:
    """Whether a stream ended while this side wrote to it: grpc.aio then says this instead of what the server said.

    https://github.com/grpc/grpc/issues/36066
    """
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _STATUS_LOST


def from_rpc_error(error: grpc.RpcError, request_id: str = "") -> TradewindError:
    """The typed error of a failed call, of either the sync or the async API of grpc."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return ServerError(str(error), reason="UNKNOWN", request_id=request_id)
    if status_was_lost(error):
        message = "the stream ended while a message was being sent; opening it again shows why"
        return Unavailable(message, reason=grpc.StatusCode.UNAVAILABLE.name, request_id=request_id)
    code, message = error.code(), error.details() or ""
    trailers = dict(error.trailing_metadata() or ())
    details = _Details.of(trailers.get(STATUS_DETAILS_KEY))
    made = _kind(code, details.reason)(
        message,
        reason=details.reason or code.name,
        metadata=details.metadata,
        request_id=str(trailers.get(REQUEST_ID_KEY, request_id)),
        violations=details.violations,
        retry_after=details.retry_after,
    )
    made.from_server = bool(details.reason)
    return made


def from_status(status: status_pb2.Status) -> TradewindError:
    """The typed error of one item of a batch."""
    details = _Details()
    details.read(status.details)
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _kind(code, details.reason)(
        status.message,
        reason=details.reason or code.name,
        metadata=details.metadata,
        violations=details.violations,
        retry_after=details.retry_after,
    )


@dataclass(slots=True)
class _Details:
    """The google.rpc.Status details this SDK knows; others are left alone."""

    reason: str = ""
    metadata: dict[str, str] | None = None
    violations: tuple[FieldViolation, ...] = ()
    retry_after: timedelta | None = None

    @classmethod
    def of(cls, packed: str | bytes | None) -> _Details:
        found = cls()
        if isinstance(packed, bytes):
            with suppress(DecodeError):  # of something between us and the server; the status itself still counts
                found.read(status_pb2.Status.FromString(packed).details)
        return found

    def read(self, details: Iterable[object]) -> None:
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        for detail in details:
            if detail.Unpack(info):  # type: ignore[attr-defined]
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad):  # type: ignore[attr-defined]
                self.violations = tuple(FieldViolation(v.field, v.description, v.reason) for v in bad.field_violations)
            elif detail.Unpack(retry):  # type: ignore[attr-defined]
                self.retry_after = retry.retry_delay.ToTimedelta()
