"""The exchange once more, as plainly as it can be said: lists, dictionaries and Python integers.

It is the oracle for `fastpath.exchange.exchange`. Where the fast one keeps running totals, this one computes them anew each
time: what is reserved is the sum over the open orders, what changed is the difference between before and after, the
best order is the minimum over all of them, and whether an order can be filled is found out by filling it on a copy.

Here commands come in and are handed on; `tests/reference/exchange/` holds what they mean, one concept a module.
"""

from __future__ import annotations

from fastpath.model.enums import CancelReason, CommandKind, EventKind, TradingStatus
from tests.reference.exchange.amending import amend
from tests.reference.exchange.arriving import arrivals
from tests.reference.exchange.canceling import cancel, cancel_all, set_deadman, timer
from tests.reference.exchange.definitions import (
    adjust,
    define_account,
    define_asset,
    define_instrument,
    set_reference_prices,
    set_status,
    succeed,
)
from tests.reference.exchange.ledger import all_balances, emit_ledger
from tests.reference.exchange.links import end_parent, follow_links_and_positions, refuse_group
from tests.reference.exchange.orders import MAX_TRIGGERS_PER_COMMAND, NEW, PARTIAL, Refused
from tests.reference.exchange.paper import mirror_command
from tests.reference.exchange.placing import place
from tests.reference.exchange.state import State
from tests.reference.exchange.triggers import next_due, start_trailing, trigger
from tests.reference.records import AccountDef, AnyCommand, AssetDef, Command, Event, InstrumentDef


class ExchangeTwin(State):
    """A whole exchange: commands in, events out."""

    def apply(self, command: AnyCommand) -> list[Event]:
        """The events of one command; event_seq and last_of_command are left 0. Ledger events come last, sorted."""
        self.command = command
        self.live = [order for order in self.live if order.status in (NEW, PARTIAL)]
        self.events = []
        self.executed = []
        balances = all_balances(self)
        try:
            self.dispatch(command)
        except Refused as refused:
            if isinstance(command, Command):
                self.emit(
                    EventKind.EVENT_REJECTED_COMMAND, reject_reason=refused.reason, account=command.account,
                    instrument=command.instrument, asset=command.asset, order_id=command.order_id,
                    client_order_id=command.client_order_id.ljust(36, b"\0"),
                )  # fmt: skip
                cuts_group = str(refused) in ("CLIENT_ORDER_ID_CONFLICT", "CAPACITY")
                if command.kind == CommandKind.COMMAND_PLACE and cuts_group:
                    refuse_group(self, command.account, command.link_id)
            else:
                self.emit(EventKind.EVENT_REJECTED_COMMAND, reject_reason=refused.reason)
        self.run_triggers()
        if not isinstance(command, AssetDef):  # smaller units, the same amounts
            emit_ledger(self, balances)
        return self.events

    def dispatch(self, command: AnyCommand) -> None:
        if isinstance(command, AssetDef):
            define_asset(self, command)
        elif isinstance(command, InstrumentDef):
            define_instrument(self, command)
        elif isinstance(command, AccountDef):
            define_account(self, command)
        elif command.kind == CommandKind.COMMAND_ADJUST_BALANCE:
            adjust(self, command)
        elif command.kind == CommandKind.COMMAND_PLACE:
            place(self, command)
        elif command.kind == CommandKind.COMMAND_CANCEL:
            cancel(self, command)
        elif command.kind == CommandKind.COMMAND_AMEND:
            amend(self, command)
        elif command.kind == CommandKind.COMMAND_TIMER:
            timer(self, command)
        elif command.kind == CommandKind.COMMAND_MASS_CANCEL:
            cancel_all(self, CancelReason.CANCEL_REASON_MASS_CANCEL, command.account, command.instrument, command.side)
        elif command.kind == CommandKind.COMMAND_SESSION_CLOSED:
            cancel_all(self, CancelReason.CANCEL_REASON_DISCONNECT, command.account, session=command.session)
        elif command.kind == CommandKind.COMMAND_SET_DEADMAN_TIMER:
            set_deadman(self, command)
        elif command.kind == CommandKind.COMMAND_SET_TRADING_STATUS:
            set_status(self, command)
        elif command.kind == CommandKind.COMMAND_SET_REFERENCE_PRICES:
            set_reference_prices(self, command)
        elif command.kind == CommandKind.COMMAND_SUCCEED_INSTRUMENT:
            succeed(self, command)
        elif command.kind == CommandKind.COMMAND_ARRIVALS:
            arrivals(self, command)
        elif CommandKind.COMMAND_MIRROR_BEGIN <= command.kind <= CommandKind.COMMAND_MIRROR_CANCELED:
            mirror_command(self, command)
        else:
            raise Refused("INVALID_COMMAND")

    def run_triggers(self) -> None:
        budget = MAX_TRIGGERS_PER_COMMAND
        follow_links_and_positions(self)
        while self.touched:
            instrument = self.touched[0]
            order = None
            if self.status[0] == self.status[instrument] == int(TradingStatus.TRADING_STATUS_OPEN):
                if budget == 0:
                    return
                order = next_due(self, instrument)
            if order is None:
                self.touched.pop(0)
                continue
            budget -= 1
            if order.waiting == 2:
                order.waiting = 1
                start_trailing(self, order)
                self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
            else:
                end_parent(self, order)
                trigger(self, order)
                follow_links_and_positions(self)
