"""Trading, as services see it: orders, accounts and instruments in plain Python. One asyncio thread.

What changes something goes through the runner and is answered when it is durable; what only asks is answered at once
from the projections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from server.engine import commands
from server.engine.catalogue import Catalogue
from server.engine.engine import Engine
from server.engine.events import (
    BALANCE_CHANGED,
    CANCEL_REJECTED,
    EVENT_SIZE,
    ORDER_ACCEPTED,
    ORDER_FILLED,
    ORDER_REPLAYED,
    ORDER_TRIGGERED,
    POSITION_CHANGED,
    REJECTED_COMMAND,
    BalanceView,
    FillView,
    OrderView,
    PositionView,
    balance_view,
    decode,
    fill_view,
    order_view,
    position_view,
)
from server.engine.fanout import EventStream, StreamPosition
from server.engine.paging import Page, decode_number_token, decode_token, encode_token, page_limit
from server.engine.refusals import refusal
from server.engine.runner import Runner
from server.errors import InvalidRequest, NotFound, TradewindError
from server.instruments import Account, Instrument, Registry

SNAPSHOT_CHUNK = 500
"""Orders, balances or positions in one message of a snapshot."""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What a trader asks for: `qty` lots of `instrument` at `price` ticks (0 for market orders)."""

    account: str
    instrument: Instrument
    side: int
    order_type: int
    time_in_force: int
    qty: int
    price: int = 0
    client_order_id: str | None = None
    """1 to 36 of [A-Za-z0-9_-], unique per account for ever; None: one is made, and a repetition is a new order."""
    post_only: bool = False


class Placed(NamedTuple):
    order: OrderView
    """As it stands, REJECTED ones included."""
    replayed: bool
    """Whether this client_order_id had been placed before with the same body."""


class OrderUpdate(NamedTuple):
    """One change of one order."""

    order: OrderView
    fill: FillView | None
    """If the change is one."""


class OrdersSnapshot(NamedTuple):
    """Open orders by order_id."""

    orders: tuple[OrderView, ...]
    is_last: bool


class AccountSnapshot(NamedTuple):
    balances: tuple[BalanceView, ...]
    positions: tuple[PositionView, ...]
    is_last: bool


class EngineState(NamedTuple):
    command_sequence: int
    event_sequence: int
    state_hash: int


OrderEvent = OrdersSnapshot | OrderUpdate
AccountEvent = AccountSnapshot | BalanceView | PositionView


class Trading:
    """The engine's API. Refusals are raised as server.errors; an order that was refused on its merits is returned."""

    def __init__(self, engine: Engine, runner: Runner, new_id: Callable[[], str]) -> None:
        """`new_id` makes a client_order_id for an order that has none."""
        self._engine = engine
        self._runner = runner
        self._new_id = new_id
        self._catalogue = Catalogue(engine.registry, engine.blotter.trading_status, runner.submit)
        self.define_instruments = self._catalogue.define_instruments
        self.create_account = self._catalogue.create_account

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

    async def place(self, order: NewOrder) -> Placed:
        """Raises NotFound (account), ClientOrderIdConflict, ResourceExhausted, Unavailable."""
        return self._placed(await self._runner.submit(self._place_command(order)))

    async def place_many(self, orders: Sequence[NewOrder]) -> list[Placed | TradewindError]:
        """Place orders in this sequence, with one wait for all. Raises if none was taken; else each has its answer."""
        events = await self._runner.submit(b"".join([self._place_command(order) for order in orders]))
        answers: list[Placed | TradewindError] = []
        for record in _last_of_commands(events):
            try:
                answers.append(self._placed(record))
            except TradewindError as error:
                answers.append(error)
        return answers

    async def cancel(self, account: str, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """Cancel an open order, named by either id. Raises NotFound, FailedPrecondition (ORDER_NOT_OPEN)."""
        number = self.registry.account(account).number
        command = commands.cancel(account=number, order_id=order_id, client_order_id=client_order_id)
        for record in _records(await self._runner.submit(command)):
            event = decode(record)
            if event.kind in (CANCEL_REJECTED, REJECTED_COMMAND):
                raise refusal(event, "order", str(order_id or client_order_id))
        return self.get_order(account, order_id=order_id, client_order_id=client_order_id)

    def get_order(self, account: str, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """Raises NotFound; also for an order of another account."""
        number = self.registry.account(account).number
        found: int | None = order_id or self._engine.order_id_of(number, client_order_id)
        view = self._engine.order(found) if found is not None else None
        if view is None or view.account != account:
            raise NotFound("order", str(order_id or client_order_id))
        return view

    def list_orders(
        self, account: str, *, instrument: str = "", open_only: bool = False, page_size: int = 0, page_token: str = ""
    ) -> Page[OrderView]:
        """Newest first. Raises NotFound (account, instrument), InvalidRequest (page_token)."""
        blotter = self._engine.blotter
        page = blotter.open_orders_page if open_only else blotter.orders_page
        found, following = page(
            self.registry.account(account).number,
            self._numbers(instrument),
            decode_number_token("orders", page_token),
            page_limit(page_size),
        )
        return Page(found, encode_token("orders", str(following)) if following is not None else "")

    def list_fills(
        self, account: str, *, instrument: str = "", order_id: int = 0, page_size: int = 0, page_token: str = ""
    ) -> Page[FillView]:
        """Newest first; `order_id` 0 means all orders. Raises as `list_orders`."""
        found, following = self._engine.blotter.fills_page(
            self.registry.account(account).number,
            self._numbers(instrument),
            order_id,
            decode_number_token("fills", page_token),
            page_limit(page_size),
        )
        return Page(found, encode_token("fills", str(following)) if following is not None else "")

    # -- accounts ------------------------------------------------------------------------------------------

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

        Raises NotFound, FailedPrecondition (INSUFFICIENT_BALANCE), AlreadyExists (the same id with another content).
        """
        if not amount:
            raise InvalidRequest.of("amount", "must not be zero")
        numbers = self.registry.account(account).number, self.registry.asset(asset).number
        command = commands.adjust_balance(account=numbers[0], asset=numbers[1], amount=amount, request_id=request_id)
        for record in _records(await self._runner.submit(command)):
            event = decode(record)
            if event.kind == REJECTED_COMMAND:
                raise refusal(event, "request_id", request_id)
            if (event.kind, event.account, event.asset) == (BALANCE_CHANGED, *numbers):
                return balance_view(event, self.registry), event.delta == 0
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
        for record in _records(await self._runner.submit(command)):
            event = decode(record)
            if event.kind == REJECTED_COMMAND:
                raise refusal(event, "instrument", instrument or "")

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
        )

    async def going_away(self, message: str = "the server is stopping") -> None:
        """End all streams with a notice, and let their readers have it."""
        self._engine.log.close(message)
        await asyncio.sleep(0)

    # -- inside --------------------------------------------------------------------------------------------

    def _place_command(self, order: NewOrder) -> bytes:
        return commands.place(
            account=self.registry.account(order.account).number,
            instrument=order.instrument.number,
            side=order.side,
            order_type=order.order_type,
            time_in_force=order.time_in_force,
            qty=order.qty,
            price=order.price,
            client_order_id=order.client_order_id or self._new_id(),
            post_only=order.post_only,
        )

    def _placed(self, events: bytes) -> Placed:
        """The answer to one PLACE from (at least the last of) its events."""
        event = decode(events[-EVENT_SIZE:])
        if event.kind == REJECTED_COMMAND:
            raise refusal(event, "client_order_id", event.client_order_id.rstrip(b"\0").decode())
        replayed = event.kind == ORDER_REPLAYED
        order = self._engine.order(event.order_id if replayed else event.command_seq)
        assert order is not None, "an order that was decided exists"
        return Placed(order, replayed)

    def _numbers(self, instrument: str) -> frozenset[int] | None:
        """Numbers of all instruments of that name; None (all instruments) for the empty name. Raises NotFound."""
        if not instrument:
            return None
        self.registry.instrument(instrument)
        return frozenset(each.number for each in self.registry.numbered_instruments() if each.name == instrument)

    def _order_update(self, record: bytes) -> OrderEvent:
        event = decode(record)
        fill = fill_view(event, self.registry) if event.kind == ORDER_FILLED else None
        return OrderUpdate(order_view(event, self.registry), fill)

    def _account_update(self, record: bytes) -> AccountEvent:
        event = decode(record)
        if event.kind == BALANCE_CHANGED:
            return balance_view(event, self.registry)
        return position_view(event, self.registry)

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


def _last_of_commands(events: bytes) -> list[bytes]:
    return [record for record in _records(events) if decode(record).last_of_command]
