"""How orders end from outside: by request, many at once, by their time, or when their owner falls silent."""

from __future__ import annotations

from fastpath.model.enums import CancelReason, EventKind, RejectReason
from tests.reference.exchange.orders import DISCONNECT, EXPIRED, OPEN, Change, Order, Refused
from tests.reference.exchange.paper import is_far, travel_ns
from tests.reference.exchange.shrinking import close
from tests.reference.exchange.state import State
from tests.reference.records import Command


def cancel(state: State, command: Command) -> None:
    order = state.meant(command)
    if order is None:
        state.emit(
            EventKind.EVENT_CANCEL_REJECTED,
            account=command.account,
            order_id=command.order_id,
            client_order_id=command.client_order_id.ljust(36, b"\0"),
            reject_reason=int(RejectReason.REJECT_REASON_ORDER_NOT_FOUND),
        )
    elif order.status not in OPEN:
        state.emit_order(
            EventKind.EVENT_CANCEL_REJECTED, order, reject_reason=int(RejectReason.REJECT_REASON_ORDER_NOT_OPEN)
        )
    else:
        if not request_cancel(state, order, CancelReason.CANCEL_REASON_REQUESTED):
            state.emit_order(EventKind.EVENT_ORDER_REPLAYED, order)


def request_cancel(state: State, order: Order, reason: int) -> bool:
    """At once, or by way of the venue; False: a cancel is on its way there already."""
    if order.cancel_pending:
        return False
    if not is_far(state, order):
        close(state, order, reason)
        return True
    order.cancel_pending = True
    due_ns = state.command.ts_ns + travel_ns(state, order)
    state.changes.append(Change(due_ns, state.command.seq, order, cancel_reason=int(reason)))
    state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
    return True


def cancel_arrives(state: State, change: Change) -> None:
    order = change.order
    order.cancel_pending = False
    if order.status in OPEN:
        close(state, order, change.cancel_reason)
    else:
        state.emit_order(
            EventKind.EVENT_CANCEL_REJECTED, order, reject_reason=int(RejectReason.REJECT_REASON_ORDER_NOT_OPEN)
        )


def cancel_all(
    state: State, reason: int, account: int, instrument: int = 0, side: int = 0, session: int | None = None
) -> None:
    canceled = 0
    for order in sorted(state.live, key=lambda o: (o.account, o.opened)):
        if (
            order.is_open
            and account in (0, order.account)
            and instrument in (0, order.instrument)
            and side in (0, order.side)
            and (session is None or (order.has(DISCONNECT) and session in (0, order.command.session)))
        ):
            canceled += request_cancel(state, order, reason)
    state.emit(
        EventKind.EVENT_ORDERS_CANCELED,
        account=account,
        instrument=instrument,
        side=side,
        cancel_reason=int(reason),
        qty=canceled,
    )


def set_deadman(state: State, command: Command) -> None:
    if command.account not in state.accounts:
        raise Refused("ACCOUNT_NOT_FOUND")
    if command.expire_ns and command.expire_ns <= command.ts_ns:
        raise Refused("EXPIRE_TIME_IN_PAST")
    state.deadman_ns[command.account] = command.expire_ns
    state.emit(EventKind.EVENT_DEADMAN_TIMER_SET, account=command.account, expire_ns=command.expire_ns)


def timer(state: State, command: Command) -> None:
    """Orders that expire, and owners who fell silent."""
    for order in sorted(state.live, key=lambda o: (o.expire_ns, o.order_id)):
        if order.is_open and 0 < order.expire_ns <= command.ts_ns:
            if order.resting:
                state.touch(order.instrument)
            order.resting, order.waiting = False, 0
            order.status = EXPIRED
            state.link_changed(order)
            state.emit_order(EventKind.EVENT_ORDER_EXPIRED, order)
    for account, due_ns in sorted(state.deadman_ns.items()):
        if 0 < due_ns <= command.ts_ns:
            state.deadman_ns[account] = 0
            cancel_all(state, CancelReason.CANCEL_REASON_TIMER, account)
