"""Maps reject reasons of commands to errors."""

from __future__ import annotations

from fastpath.model.enums import RejectReason
from server.base.errors import (
    AlreadyExists,
    ClientOrderIdConflict,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    ResourceExhausted,
    TradewindError,
)
from server.records.events import Event

_NOT_FOUND = {
    RejectReason.REJECT_REASON_ORDER_NOT_FOUND: "order",
    RejectReason.REJECT_REASON_ACCOUNT_NOT_FOUND: "account",
    RejectReason.REJECT_REASON_ASSET_NOT_FOUND: "asset",
    RejectReason.REJECT_REASON_INSTRUMENT_NOT_FOUND: "instrument",
}


def refusal(event: Event, field: str, value: str) -> TradewindError:
    """The error for an event that says a command changed nothing. `field` and `value` say what it was about."""
    reason = RejectReason(event.reject_reason)
    name = reason.name.removeprefix("REJECT_REASON_")
    if reason in _NOT_FOUND:
        return NotFound(_NOT_FOUND[reason], value)
    if reason == RejectReason.REJECT_REASON_CLIENT_ORDER_ID_CONFLICT:
        if field == "client_order_id":
            return ClientOrderIdConflict(f"client_order_id {value!r} was used for another order of this account")
        return AlreadyExists(f"{field} {value!r} was used before with another content")
    if reason == RejectReason.REJECT_REASON_CAPACITY:
        return ResourceExhausted(
            "the engine holds all it is configured to hold (engine.max_orders, of which one account takes at most nine"
            " tenths, engine.max_open_orders, or another of engine.*): raise the limit and start again"
        )
    if reason == RejectReason.REJECT_REASON_INVALID_COMMAND:
        return InvalidRequest.of(field, "is out of its domain", reason=name)
    if reason == RejectReason.REJECT_REASON_ORDER_NOT_OPEN:
        return FailedPrecondition(f"order {value!r} is not open any more", reason=name)
    if reason == RejectReason.REJECT_REASON_CHANGE_PENDING:
        return FailedPrecondition(f"another change of order {value!r} is on its way to its venue; wait for it", reason=name)
    if reason == RejectReason.REJECT_REASON_NOT_TRADABLE:
        return FailedPrecondition(f"{value} is market data only: it takes no orders, and no trading status changes that; "
                                  "it may be halted or set to cancel only", reason=name)
    return FailedPrecondition(f"refused: {name.lower().replace('_', ' ')}", reason=name)
