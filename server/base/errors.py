"""The errors of the server, one tree. It knows no transport: `server/rpc/status.py` maps it to codes.

TradewindError
├── InvalidRequest            the request is malformed; says which fields and why
├── NotFound                  the named thing does not exist
├── AlreadyExists             the name is taken by something else
│   └── ClientOrderIdConflict     the same client order id with another body
├── Conflict                  somebody else changed it first; read again and retry
├── FailedPrecondition        not possible in the present state
├── Unauthenticated           no token, or one that is unknown or expired
├── PermissionDenied          the token does not allow this
├── ResourceExhausted         a bound was reached
│   ├── QueueFull                 the engine has all the commands it can hold
│   ├── SlowConsumer              a stream's reader fell too far behind
│   └── QuotaExceeded             too many calls or streams for this token
├── DeadlineExceeded          took longer than the server allows; it may have happened all the same
├── Unavailable               cannot be done now; a retry may succeed
│   ├── JournalFailed             the journal refused a write: the engine stopped
│   ├── JournalCorrupt            a stored row does not carry the checksum it was written with
│   ├── SnapshotUnusable          a snapshot is damaged, of another version, or of another journal
│   ├── ShuttingDown              the server is stopping
│   └── MarketDataStale           no trustworthy price
└── ConfigError               the configuration cannot work; shown to who starts the server
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One malformed field: its path in the request (`order.price`) and what is wrong with it."""

    field: str
    description: str
    reason: str = ""
    """A stable name of what is wrong, such as PRICE_NOT_ON_TICK; empty where the description says it all."""


class TradewindError(Exception):
    """Root of the tree. `reason` is stable and machine readable, the message is for people."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidRequest(TradewindError):
    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[FieldViolation], *, reason: str | None = None) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)
        reasons = {violation.reason for violation in violations}
        self.specific_reason = reason or (reasons.pop() if len(reasons) == 1 else None) or None
        """A narrower stable reason than INVALID_REQUEST, such as PRICE_NOT_ON_TICK, if all violations share it."""

    @classmethod
    def of(cls, field: str, description: str, *, reason: str | None = None) -> InvalidRequest:
        return cls([FieldViolation(field, description, reason or "")])


class NotFound(TradewindError):
    reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str, *, problem: str = "does not exist", hint: str = "") -> None:
        """`kind` is the thing's glossary name (`instrument`, `account`, `order`), `name` what was asked for."""
        super().__init__(f"{kind} {name!r} {problem}" + (f": {hint}" if hint else ""), metadata={kind: name})
        self.specific_reason = f"{kind.upper()}_NOT_FOUND"


class AlreadyExists(TradewindError):
    reason = "ALREADY_EXISTS"


class ClientOrderIdConflict(AlreadyExists):
    reason = "CLIENT_ORDER_ID_CONFLICT"


class Conflict(TradewindError):
    reason = "CONFLICT"


class FailedPrecondition(TradewindError):
    reason = "FAILED_PRECONDITION"

    def __init__(self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None) -> None:
        """`reason` is a narrower stable reason, such as ORDER_NOT_OPEN."""
        super().__init__(message, metadata=metadata)
        self.specific_reason = reason


class Unauthenticated(TradewindError):
    reason = "UNAUTHENTICATED"


class PermissionDenied(TradewindError):
    reason = "PERMISSION_DENIED"


class ResourceExhausted(TradewindError):
    reason = "RESOURCE_EXHAUSTED"
    retry_after_ms: int = 100


class QueueFull(ResourceExhausted):
    reason = "ENGINE_QUEUE_FULL"


class SlowConsumer(ResourceExhausted):
    reason = "SLOW_CONSUMER"


class QuotaExceeded(ResourceExhausted):
    reason = "QUOTA_EXCEEDED"
    retry_after_ms = 1000


class DeadlineExceeded(TradewindError):
    reason = "DEADLINE_EXCEEDED"


class Unavailable(TradewindError):
    reason = "UNAVAILABLE"


class JournalFailed(Unavailable):
    reason = "JOURNAL_FAILED"


class JournalCorrupt(Unavailable):
    reason = "JOURNAL_CORRUPT"


class SnapshotUnusable(Unavailable):
    reason = "SNAPSHOT_UNUSABLE"


class ShuttingDown(Unavailable):
    reason = "SHUTTING_DOWN"


class MarketDataStale(Unavailable):
    reason = "STALE_MARKET_DATA"


class ConfigError(TradewindError):
    reason = "CONFIG"
