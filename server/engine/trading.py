"""Trading, as services see it: orders, accounts and instruments in plain Python. One asyncio thread.

What changes something goes through the runner and is answered when it is durable; what only asks is answered at once
from the projections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from fastpath.model import records
from fastpath.model.enums import RejectReason, TradingStatus
from fastpath.model.structs import EVENT_SIZE
from server.base.errors import FailedPrecondition, InvalidRequest, NotFound
from server.base.instruments import Account, Registry
from server.base.paging import Page, decode_token, encode_token, page_limit
from server.base.streams import StreamPosition
from server.engine.catalogue import Catalogue
from server.engine.engine import Engine
from server.engine.event_log import EventStream
from server.engine.order_entry import AccountEvent, AccountSnapshot, OrderEvent, OrdersSnapshot, OrderUpdate
from server.engine.orders import EngineOrders
from server.engine.refusals import refusal
from server.engine.runner import Runner
from server.engine.sessions import Session, Sessions
from server.records import commands
from server.records.events import (
    BALANCE_CHANGED,
    CANCEL_ON_DISCONNECT,
    ORDER_ACCEPTED,
    ORDER_AMENDED,
    ORDER_FILLED,
    ORDER_TRIGGERED,
    ORDERS_CANCELED,
    POSITION_CHANGED,
    REJECTED_COMMAND,
    BalanceView,
    OrderView,
    PositionView,
    balance_view,
    decode,
    decode_balance,
    decode_position,
    fill_view,
    kind_of,
    ledger_entry_view,
    order_count,
    order_view,
    position_view,
)

_AMOUNT_OVERFLOW = int(RejectReason.REJECT_REASON_AMOUNT_OVERFLOW)
SNAPSHOT_CHUNK = 500
"""Orders, balances or positions in one message of a snapshot."""


class EngineState(NamedTuple):
    command_sequence: int
    event_sequence: int
    state_hash: int


class Trading(EngineOrders):
    """The engine's API. Errors are those of server.base.errors; an order that was refused on its merits is returned.

    It implements the protocols of `order_entry`, on which services depend.
    """

    def __init__(self, engine: Engine, runner: Runner, new_id: Callable[[], str]) -> None:
        """`new_id` makes a client_order_id for an order that has none."""
        super().__init__(engine, runner.submit, new_id)
        self._runner = runner
        self._sessions = Sessions(runner.submit, runner.clock)
        self.catalogue = Catalogue(engine.registry, engine.blotter.trading_status, runner.submit)
        """Accounts and instruments, as they are defined."""
        # Orders as packed records: the way past the objects, for compiled code between the wire and the engine.
        self.submit_packed = runner.submit
        self.new_id = new_id
        self.newest_order_events = engine.blotter.tables.orders
        self.find_order_event = engine.find_order_event
        self.order_event = engine.order_event
        self.order_view = engine.blotter.view

    @property
    def registry(self) -> Registry:
        return self._engine.registry

    @property
    def epoch(self) -> str:
        """Names the journal; part of every stream position."""
        return self._engine.log.epoch

    @property
    def command_sequence(self) -> int:
        """Of the last durable command."""
        return self._engine.command_sequence

    # -- orders --------------------------------------------------------------------------------------------

    def get_order(self, account: str, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """Raises NotFound; also for an order of another account."""
        view = self._engine.find_order(self.registry.account(account).number, order_id, client_order_id)
        if view is None:
            raise NotFound("order", str(order_id or client_order_id))
        return view

    def find_order(self, order_id: int) -> OrderView | None:
        """An order of any account."""
        return self._engine.order(order_id)

    def open_orders(self, account: str) -> list[OrderView]:
        """By order_id. Raises NotFound."""
        return self._engine.blotter.open_orders(self.registry.account(account).number)

    # -- sessions ------------------------------------------------------------------------------------------

    def open_session(self) -> Session:
        """Open a session: its cancel-on-disconnect orders are canceled when the caller closes it."""
        return self._sessions.open()

    async def close_old_sessions(self) -> None:
        """Cancel orders whose session ended with an earlier process. Before the first session is opened."""
        if self._engine.blotter.any_open(CANCEL_ON_DISCONNECT):
            await self._submit(commands.session_closed())

    # -- accounts ------------------------------------------------------------------------------------------

    async def create_account(self, name: str, mode: int) -> Account:
        """The account of that name, made now if it does not exist. Raises AlreadyExists if it has another mode."""
        return await self.catalogue.create_account(name, mode)

    def list_accounts(
        self, *, page_size: int = 0, page_token: str = "", visible: Callable[[str], bool] | None = None
    ) -> Page[Account]:
        """By name; only those whose name is `visible`. Raises InvalidRequest (page_token)."""
        after, limit = decode_token("accounts", page_token), page_limit(page_size)
        accounts = [
            account
            for account in self.registry.accounts()
            if (after is None or account.name > after) and (visible is None or visible(account.name))
        ]
        more = len(accounts) > limit
        return Page(accounts[:limit], encode_token("accounts", accounts[limit - 1].name) if more else "")

    async def adjust_balance(self, account: str, asset: str, amount: int, request_id: str) -> tuple[BalanceView, bool]:
        """Move `amount` units between the outside world and the account, once per `request_id`; True: done before.

        Raises NotFound, FailedPrecondition (INSUFFICIENT_BALANCE, AMOUNT_OVERFLOW), AlreadyExists (the same id with
        another content).
        """
        if not amount:
            raise InvalidRequest.of("amount", "must not be zero")
        known = self.registry.asset(asset)
        numbers = self.registry.account(account).number, known.number
        command = commands.adjust_balance(
            account=numbers[0], asset=numbers[1], amount=amount, scale=known.scale, request_id=request_id
        )
        for record in _records(await self._submit(command)):
            event = decode(record)
            if event.kind == REJECTED_COMMAND and event.reject_reason == _AMOUNT_OVERFLOW:
                raise FailedPrecondition(
                    f"refused: amount overflow: an account holds at most {known.text(known.max_units)} {asset}, which"
                    f" {known.text(amount)} {asset} more would exceed",
                    reason="AMOUNT_OVERFLOW",
                )
            if event.kind == REJECTED_COMMAND:
                raise refusal(event, "request_id", request_id)
            if event.kind == BALANCE_CHANGED:
                changed = decode_balance(record)
                if (changed.account, changed.asset) == numbers:
                    return balance_view(changed, self.registry), not ledger_entry_view(changed, self.registry).amount
        raise AssertionError("the exchange answers every adjustment")

    def list_balances(self, account: str) -> list[BalanceView]:
        """By asset. Raises NotFound."""
        return self._engine.blotter.balances(self.registry.account(account).number)

    def list_positions(self, account: str) -> list[PositionView]:
        """By instrument. Raises NotFound."""
        return self._engine.blotter.positions(self.registry.account(account).number)

    # -- administration ------------------------------------------------------------------------------------

    async def set_trading_status(self, instrument: str | None, status: int) -> None:
        """Set the TradingStatus of one instrument, or of all. Raises NotFound."""
        number = self.registry.instrument(instrument).number if instrument is not None else 0
        command = commands.set_trading_status(instrument=number, status=status)
        for record in _records(await self._submit(command)):
            event = decode(record)
            if event.kind == REJECTED_COMMAND:
                raise refusal(event, "instrument", instrument or "")

    def halt_and_cancel(self, instrument: str | None) -> asyncio.Future[bytes]:
        """Halt one instrument, or all, and cancel its open orders of all accounts: together, before all commands that
        wait. `canceled` reads what the future gives. Raises NotFound, Unavailable."""
        registry = self.registry
        status = int(TradingStatus.TRADING_STATUS_HALTED)
        halted = registry.instrument(instrument).number if instrument is not None else 0
        numbers = sorted(registry.numbers(instrument)) if instrument is not None else [0]
        canceling = (commands.cancel_orders(account=0, instrument=number) for number in numbers)
        return self._runner.submit(
            b"".join([commands.set_trading_status(instrument=halted, status=status), *canceling]), urgent=True
        )

    @staticmethod
    def canceled(events: bytes) -> tuple[int, int]:
        """How many orders `halt_and_cancel` canceled, and of how many of them the cancel is on its way to a venue."""
        told = records.select(events, 0, ORDERS_CANCELED, ORDERS_CANCELED)
        return sum(map(order_count, told)), records.count(events, ORDER_AMENDED)

    @property
    def is_halted(self) -> bool:
        """Whether everything is halted."""
        return self.trading_status(0) == TradingStatus.TRADING_STATUS_HALTED

    def trading_status(self, instrument: int) -> int:
        """TradingStatus of an instrument by number, or (0) of everything."""
        return self._engine.blotter.trading_status(instrument)

    async def set_reference_prices(self, instrument: str, *, mark: int, index: int, until_ns: int) -> None:
        """Set the mark and index price of an instrument, in ticks (0: none), until a time. Raises NotFound."""
        number = self.registry.instrument(instrument).number
        command = commands.set_reference_prices(instrument=number, mark=mark, index=index, until_ns=until_ns)
        for record in _records(await self._submit(command)):
            event = decode(record)
            if event.kind == REJECTED_COMMAND:
                raise refusal(event, "valid_for_ms", str(until_ns))

    async def state(self) -> EngineState:
        """Sequence and hash of the durable state."""
        engine = self._engine
        return await self._runner.read(
            lambda: EngineState(engine.command_sequence, engine.log.last_sequence, engine.exchange.state_hash())
        )

    # -- streams -------------------------------------------------------------------------------------------

    def subscribe_orders(self, account: str, resume_from: StreamPosition | None = None) -> EventStream[OrderEvent]:
        """Open orders as a snapshot, then every change. The caller closes the stream. Raises NotFound."""
        number = self.registry.account(account).number
        return EventStream(
            self._engine.log,
            number,
            (ORDER_ACCEPTED, ORDER_TRIGGERED),
            decode=self._order_update,
            snapshot=lambda: self._orders_snapshot(number),
            resume_from=resume_from,
            heartbeat_s=self._engine.limits.heartbeat_s,
            clock=self._runner.clock,
        )

    def subscribe_account(self, account: str, resume_from: StreamPosition | None = None) -> EventStream[AccountEvent]:
        """Balances and positions as a snapshot, then every change. The caller closes the stream. Raises NotFound."""
        number = self.registry.account(account).number
        return EventStream(
            self._engine.log,
            number,
            (BALANCE_CHANGED, POSITION_CHANGED),
            decode=self._account_update,
            snapshot=lambda: self._account_snapshot(number),
            resume_from=resume_from,
            heartbeat_s=self._engine.limits.heartbeat_s,
            clock=self._runner.clock,
        )

    async def going_away(self) -> None:
        """End all streams with a notice, and let their readers have it."""
        self._engine.log.close("the server is stopping")
        self._sessions.going_away()
        await asyncio.sleep(0)

    # -- inside --------------------------------------------------------------------------------------------

    def _order_update(self, record: bytes) -> OrderEvent:
        event = decode(record)
        fill = fill_view(event, self.registry) if event.kind == ORDER_FILLED else None
        return OrderUpdate(order_view(event, self.registry), fill)

    def _account_update(self, record: bytes) -> AccountEvent:
        if kind_of(record) == BALANCE_CHANGED:
            return balance_view(decode_balance(record), self.registry)
        return position_view(decode_position(record), self.registry)

    def _orders_snapshot(self, account: int) -> list[OrderEvent]:
        orders = self._engine.blotter.open_orders(account)
        starts = range(0, len(orders) or 1, SNAPSHOT_CHUNK)
        return [OrdersSnapshot(tuple(orders[at : at + SNAPSHOT_CHUNK]), at == starts[-1]) for at in starts]

    def _account_snapshot(self, account: int) -> list[AccountEvent]:
        balances, positions = self._engine.blotter.balances(account), self._engine.blotter.positions(account)
        starts = range(0, max(len(balances), len(positions), 1), SNAPSHOT_CHUNK)
        return [
            AccountSnapshot(
                tuple(balances[at : at + SNAPSHOT_CHUNK]), tuple(positions[at : at + SNAPSHOT_CHUNK]), at == starts[-1]
            )
            for at in starts
        ]


def _records(events: bytes) -> list[bytes]:
    return [events[at : at + EVENT_SIZE] for at in range(0, len(events), EVENT_SIZE)]
