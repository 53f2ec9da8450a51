"""From the error tree to gRPC: the only table of status codes, and the details every error carries.

Details are google.rpc messages: ErrorInfo {domain "tradewind", stable reason, metadata} always, BadRequest with field
paths for malformed requests, QuotaFailure and RetryInfo where waiting helps.
"""

from __future__ import annotations

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from server.base import errors

DOMAIN = "tradewind"
# Errors travel in HTTP/2 headers, which clients limit to 8 KiB altogether.
_MAX_MESSAGE_CHARS = 500
_MAX_DETAIL_CHARS = 150
_MAX_VIOLATIONS = 10
_MAX_METADATA = 5

CODES: dict[type[errors.TradewindError], grpc.StatusCode] = {
    errors.TradewindError: grpc.StatusCode.INTERNAL,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.ClientOrderIdConflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.SlowConsumer: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.JournalFailed: grpc.StatusCode.UNAVAILABLE,
    errors.JournalCorrupt: grpc.StatusCode.UNAVAILABLE,
    errors.SnapshotUnusable: grpc.StatusCode.UNAVAILABLE,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    errors.MarketDataStale: grpc.StatusCode.UNAVAILABLE,
    errors.ConfigError: grpc.StatusCode.INTERNAL,
}


def code_of(error: errors.TradewindError) -> grpc.StatusCode:
    """By its class, or the nearest one above it that has a row."""
    return next(CODES[cls] for cls in type(error).__mro__ if cls in CODES)


def reason_of(error: errors.TradewindError) -> str:
    """The error's own narrower reason, where it has one, else that of its class."""
    return getattr(error, "specific_reason", None) or error.reason


def to_status(error: errors.TradewindError, request_id: str) -> status_pb2.Status:
    """The google.rpc.Status of an error, with all its details."""
    info = error_details_pb2.ErrorInfo(reason=reason_of(error), domain=DOMAIN, metadata=_clipped(error.metadata))
    details: list[Message] = [info, error_details_pb2.RequestInfo(request_id=request_id)]
    if isinstance(error, errors.InvalidRequest):
        details.append(_bad_request(error.violations))
    if isinstance(error, errors.ResourceExhausted):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(error.retry_after_ms)
        details.append(retry)
    if isinstance(error, errors.QuotaExceeded):
        violation = error_details_pb2.QuotaFailure.Violation(subject="token", description=_clip(error.message))
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    status = status_pb2.Status(code=code_of(error).value[0], message=_clip(error.message))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _bad_request(violations: tuple[errors.FieldViolation, ...]) -> error_details_pb2.BadRequest:
    request = error_details_pb2.BadRequest()
    for violation in violations[:_MAX_VIOLATIONS]:
        request.field_violations.add(
            field=_clip(violation.field, _MAX_DETAIL_CHARS),
            description=_clip(violation.description, _MAX_DETAIL_CHARS),
            reason=violation.reason,
        )
    return request


def _clipped(metadata: dict[str, str]) -> dict[str, str]:
    return {key: _clip(value, _MAX_DETAIL_CHARS) for key, value in list(metadata.items())[:_MAX_METADATA]}


def _clip(text: str, chars: int = _MAX_MESSAGE_CHARS) -> str:
    """ASCII, because what a client sent is echoed here and each other character takes up to 12 bytes in a header."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= chars else plain[: chars - 3] + "..."
