"""What the server's services, strategies and backtests ask of the engine, as protocols: they depend on these, not on
`Trading`, which implements them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from fastpath.blotter.orders import Orders
from server.base.errors import TradewindError
from server.base.instruments import Account, Registry
from server.base.paging import Page
from server.base.streams import Stream, StreamItem, StreamPosition
from server.engine.orders import AmendOrder, NewOrder, OrderRequest, Outcome
from server.engine.sessions import Session
from server.records.events import BalanceView, FillView, OrderView, PositionView


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


OrderEvent = OrdersSnapshot | OrderUpdate
AccountEvent = AccountSnapshot | BalanceView | PositionView


class OrderEntry(Protocol):
    """Orders, for whoever has them as objects. What changes something is answered when it is durable.

    Raises server.base.errors; an order that was refused on its merits is returned as REJECTED.
    """

    @property
    def registry(self) -> Registry:
        """Accounts, instruments and assets by name."""
        ...

    async def place(self, order: NewOrder) -> Outcome:
        """Raises NotFound (account), ClientOrderIdConflict, ResourceExhausted, Unavailable."""
        ...

    async def place_list(self, list_type: int, orders: Sequence[NewOrder]) -> list[Outcome]:
        """Place orders of one account that belong together; all of them or none. Raises as `place`."""
        ...

    async def cancel(self, account: str, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """Raises NotFound, FailedPrecondition (ORDER_NOT_OPEN)."""
        ...

    async def amend(self, change: AmendOrder) -> OrderView:
        """Raises NotFound, FailedPrecondition; then the order is as it was."""
        ...

    async def cancel_orders(self, account: str, *, instrument: str = "", side: int = 0) -> int:
        """Cancel all open orders of an account, of one instrument or side if asked; how many. Raises NotFound."""
        ...

    async def set_cancel_timer(self, account: str, expire_ns: int) -> None:
        """Cancel all orders of the account at that time, unless set again before; 0: never. Raises NotFound."""
        ...

    def get_order(self, account: str, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """Raises NotFound; also for an order of another account."""
        ...

    def open_orders(self, account: str) -> list[OrderView]:
        """By order_id. Raises NotFound."""
        ...

    def subscribe_orders(
        self, account: str, resume_from: StreamPosition | None = None
    ) -> Stream[StreamItem[OrderEvent]]:
        """Open orders as a snapshot, then every change. The caller closes the stream. Raises NotFound."""
        ...

    def open_session(self) -> Session:
        """Its cancel-on-disconnect orders are canceled when the caller closes it."""
        ...


class PackedOrderEntry(Protocol):
    """The same past the objects: the packed API for compiled callers between the wire and the engine."""

    @property
    def registry(self) -> Registry: ...

    @property
    def newest_order_events(self) -> Orders:
        """The newest packed event of each order that is held."""
        ...

    def get_order(self, account: str, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """Raises NotFound."""
        ...

    def command(self, request: OrderRequest) -> bytes:
        """The packed command of a request. Raises NotFound (account)."""
        ...

    def submit_packed(self, commands: bytes) -> asyncio.Future[bytes]:
        """Packed commands, in order and together; the future gives their packed events once they are durable. Raises
        ResourceExhausted, Unavailable; then nothing was taken."""
        ...

    def refusal(self, command: bytes, record: bytes) -> TradewindError:
        """Why a packed command came to nothing, from its first event, packed."""
        ...

    def find_order_event(self, account: int, order_id: int, client_order_id: bytes) -> bytes | None:
        """The newest packed event of an order of the account, by either id."""
        ...

    def order_event(self, order_id: int) -> bytes | None:
        """The newest packed event of an order, also of one that is not held any more."""
        ...

    def order_view(self, record: bytes) -> OrderView:
        """The order that an event of it shows."""
        ...

    def new_id(self) -> str:
        """A client order id for an order that has none."""
        ...


class AccountEntry(Protocol):
    """Accounts: their balances and positions."""

    @property
    def registry(self) -> Registry: ...

    async def create_account(self, name: str, mode: int) -> Account:
        """The account of that name, made now if it does not exist. Raises AlreadyExists if it has another mode."""
        ...

    def list_accounts(
        self, *, page_size: int = 0, page_token: str = "", visible: Callable[[str], bool] | None = None
    ) -> Page[Account]:
        """By name; only those whose name is `visible`. Raises InvalidRequest (page_token)."""
        ...

    async def adjust_balance(self, account: str, asset: str, amount: int, request_id: str) -> tuple[BalanceView, bool]:
        """Move `amount` units between the outside world and the account, once per `request_id`; True: done before.

        Raises NotFound, FailedPrecondition (INSUFFICIENT_BALANCE, AMOUNT_OVERFLOW), AlreadyExists.
        """
        ...

    def list_balances(self, account: str) -> list[BalanceView]:
        """By asset. Raises NotFound."""
        ...

    def list_positions(self, account: str) -> list[PositionView]:
        """By instrument. Raises NotFound."""
        ...

    def subscribe_account(
        self, account: str, resume_from: StreamPosition | None = None
    ) -> Stream[StreamItem[AccountEvent]]:
        """Balances and positions as a snapshot, then every change. The caller closes the stream. Raises NotFound."""
        ...


class AccountTrading(OrderEntry, AccountEntry, Protocol):
    """Accounts with their orders."""


class TradingControl(Protocol):
    """Which instruments take orders, and the prices that operators give them."""

    async def set_trading_status(self, instrument: str | None, status: int) -> None:
        """Set the TradingStatus of one instrument, or of all. Raises NotFound."""
        ...

    async def set_reference_prices(self, instrument: str, *, mark: int, index: int, until_ns: int) -> None:
        """Set the mark and index price of an instrument, in ticks (0: none), until a time. Raises NotFound."""
        ...

    def trading_status(self, instrument: int) -> int:
        """TradingStatus of an instrument by number, or (0) of everything."""
        ...

    def find_order(self, order_id: int) -> OrderView | None:
        """An order of any account."""
        ...

    def halt_and_cancel(self, instrument: str | None) -> asyncio.Future[bytes]:
        """Halt one instrument, or all, and cancel its open orders of all accounts. `canceled` reads what the future
        gives. Raises NotFound, Unavailable."""
        ...

    def canceled(self, events: bytes) -> tuple[int, int]:
        """How many orders `halt_and_cancel` canceled, and of how many of them the cancel is on its way to a venue."""
        ...


class EnginePosition(Protocol):
    """Which journal the engine has, and how far it came."""

    @property
    def registry(self) -> Registry: ...

    @property
    def epoch(self) -> str:
        """Names the journal; part of every stream position."""
        ...

    @property
    def command_sequence(self) -> int:
        """Of the last durable command."""
        ...
