"""Order requests, the commands they become, and their outcomes."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastpath.model import records
from server.base.errors import NotFound, TradewindError
from server.base.instruments import Instrument
from server.engine.engine import Engine
from server.engine.refusals import refusal
from server.records import commands
from server.records.events import (
    AMEND_REJECTED,
    CANCEL_REJECTED,
    ORDER_REPLAYED,
    ORDERS_CANCELED,
    REJECTED_COMMAND,
    Event,
    OrderView,
    decode,
    order_count,
)


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order as a trader wants it, in lots and ticks. Enumerations are numbers of the contract; 0 is not given."""

    account: str
    instrument: Instrument
    side: int
    order_type: int
    time_in_force: int
    qty: int = 0
    """0 if the quantity follows from `quote_amount`, or is the whole position."""
    price: int = 0
    """The limit. Market orders: the worst price (0: any). TRAILING_STOP_LIMIT: distance of limit from trigger."""
    client_order_id: str | None = None
    """1 to 36 of [A-Za-z0-9_-], unique per account for ever; None: one is made, and a repetition is a new order."""
    flags: int = 0
    """OrderFlag set."""
    trigger_price: int = 0
    """Trailing orders: the price from which the trigger follows (0: from the start)."""
    trigger_source: int = 0
    trailing_offset: int = 0
    """In `trailing_unit`."""
    trailing_unit: int = 0
    display_qty: int = 0
    min_qty: int = 0
    quote_amount: int = 0
    """Units of the instrument's quote money to spend or raise."""
    expire_ns: int = 0
    stp_mode: int = 0
    stp_group: int = 0
    stp_owner: int = 0
    """Whose group that is; orders of others are not in it."""
    session: int = 0
    """Whose end cancels it, if its flags say so."""
    list_id: int = 0
    """Orders of one list share it."""
    list_type: int = 0
    list_size: int = 0
    """None of them enters before all have been accepted."""


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """An order named by one of its ids; the other is 0 or empty."""

    account: str
    order_id: int = 0
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class AmendOrder:
    """An order named by one of its ids, and what changes of it; 0 leaves it as it is."""

    account: str
    order_id: int = 0
    client_order_id: str = ""
    qty: int = 0
    """Lots in all, those filled included."""
    price: int = 0
    trigger_price: int = 0


OrderRequest = NewOrder | CancelOrder | AmendOrder

_REFUSED = frozenset({REJECTED_COMMAND, CANCEL_REJECTED, AMEND_REJECTED})


class Outcome(NamedTuple):
    """The result of a command about one order."""

    order: OrderView
    """As it stands, REJECTED ones included."""
    replayed: bool
    """Whether this client_order_id had been placed before with the same body."""


Submit = Callable[[bytes], "asyncio.Future[bytes]"]


class EngineOrders:
    """Places, amends and cancels orders. Malformed or impossible requests raise; an order rejected by a pre-trade check
    is an Outcome."""

    def __init__(self, engine: Engine, submit: Submit, new_id: Callable[[], str]) -> None:
        self._engine = engine
        self._registry = engine.registry
        self._submit = submit
        self._new_id = new_id

    async def place(self, order: NewOrder) -> Outcome:
        """Raises NotFound (account), ClientOrderIdConflict, ResourceExhausted, Unavailable."""
        return await self._one(order)

    async def place_list(self, list_type: int, orders: Sequence[NewOrder]) -> list[Outcome]:
        """Place orders of one account that belong together, in this sequence; each must have a client_order_id.

        None enters before all have been accepted: when one is refused, those after it are refused and those before it
        canceled. Raises as `place`.
        """
        list_id = _list_id(orders[0])
        members = [
            dataclasses.replace(order, list_id=list_id, list_type=list_type, list_size=len(orders)) for order in orders
        ]
        answers = self.outcomes(members, await self.submit(members))
        for answer in answers:
            if isinstance(answer, TradewindError):
                raise answer
        return [answer for answer in answers if isinstance(answer, Outcome)]

    async def cancel(self, account: str, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """Cancel an open order, named by either id. Raises NotFound, FailedPrecondition (ORDER_NOT_OPEN)."""
        return (await self._one(CancelOrder(account, order_id, client_order_id))).order

    async def amend(self, change: AmendOrder) -> OrderView:
        """The order after the change. Raises NotFound, FailedPrecondition; then the order is as it was."""
        return (await self._one(change)).order

    def submit(self, requests: Sequence[OrderRequest]) -> asyncio.Future[bytes]:
        """Submit requests as one group, in order; `outcomes` decodes the future's result once they are durable.

        Raises NotFound (account), ResourceExhausted, Unavailable; then nothing was taken.
        """
        return self._submit(b"".join([self.command(request) for request in requests]))

    def outcomes(self, requests: Sequence[OrderRequest], events: bytes) -> list[Outcome | TradewindError]:
        """The result of each request of a submission."""
        answers: list[Outcome | TradewindError] = []
        for request, record in zip(requests, records.first_of_commands(events), strict=True):
            try:
                answers.append(self._outcome(request, decode(record)))
            except TradewindError as error:
                answers.append(error)
        return answers

    async def cancel_orders(self, account: str, *, instrument: str = "", side: int = 0) -> int:
        """Cancel all open orders of an account, of one instrument or side if asked; how many. Raises NotFound."""
        number = self._registry.account(account).number
        wanted = sorted(self._registry.numbers(instrument)) if instrument else [0]
        canceling = [commands.cancel_orders(account=number, instrument=each, side=side) for each in wanted]
        events = await self._submit(b"".join(canceling))
        return sum(map(order_count, records.select(events, number, ORDERS_CANCELED, ORDERS_CANCELED)))

    async def set_cancel_timer(self, account: str, expire_ns: int) -> None:
        """Cancel all orders of the account at that time, unless set again before; 0: never. Raises NotFound."""
        command = commands.set_cancel_timer(account=self._registry.account(account).number, expire_ns=expire_ns)
        event = decode(records.first_of_commands(await self._submit(command))[0])
        if event.kind == REJECTED_COMMAND:
            raise refusal(event, "timeout_ms", str(expire_ns))

    # -- inside --------------------------------------------------------------------------------------------

    async def _one(self, request: OrderRequest) -> Outcome:
        events = await self.submit([request])
        return self._outcome(request, decode(records.first_of_commands(events)[0]))

    def command(self, request: OrderRequest) -> bytes:
        """The packed command of a request. Raises NotFound (account)."""
        account = self._registry.account(request.account).number
        if isinstance(request, NewOrder):
            return self._place_command(account, request)
        if isinstance(request, CancelOrder):
            return commands.cancel(
                account=account, order_id=request.order_id, client_order_id=request.client_order_id
            )
        known = self._engine.find_order(account, request.order_id, request.client_order_id)
        return commands.amend(
            account=account,
            instrument=known.instrument.number if known is not None else 0,
            order_id=request.order_id,
            client_order_id=request.client_order_id,
            qty=request.qty,
            price=request.price,
            trigger_price=request.trigger_price,
        )

    def refusal(self, command: bytes, record: bytes) -> TradewindError:
        """The error of a refused packed command, from its first packed event."""
        event = decode(record)
        if event.kind in _REFUSED:
            return refusal(event, *commands.subject(command))
        return NotFound("order", str(event.order_id))

    def _place_command(self, account: int, order: NewOrder) -> bytes:
        return commands.place(
            account=account,
            instrument=order.instrument.number,
            side=order.side,
            order_type=order.order_type,
            time_in_force=order.time_in_force,
            client_order_id=order.client_order_id or self._new_id(),
            qty=order.qty,
            price=order.price,
            flags=order.flags,
            trigger_price=order.trigger_price,
            trigger_source=order.trigger_source,
            trailing_offset=order.trailing_offset,
            trailing_unit=order.trailing_unit,
            display_qty=order.display_qty,
            min_qty=order.min_qty,
            quote_amount=order.quote_amount,
            expire_ns=order.expire_ns,
            stp_mode=order.stp_mode,
            stp_group=order.stp_group,
            stp_owner=order.stp_owner if order.stp_group else 0,
            session=order.session,
            link_id=order.list_id,
            link_type=order.list_type,
            link_size=order.list_size,
        )

    def _outcome(self, request: OrderRequest, event: Event) -> Outcome:
        """Decode the result from the first event of the request's command; later events are its consequences."""
        if event.kind in _REFUSED:
            if isinstance(request, NewOrder):
                raise refusal(event, "client_order_id", event.client_order_id.rstrip(b"\0").decode())
            raise refusal(event, "order", str(request.order_id or request.client_order_id))
        order = self._engine.order(event.order_id)
        if order is None:
            raise NotFound("order", str(event.order_id))
        return Outcome(order, event.kind == ORDER_REPLAYED)


def _list_id(first: NewOrder) -> int:
    """The same for the same list: its first client order id is taken for ever. The engine tells accounts apart."""
    digest = hashlib.blake2b((first.client_order_id or "").encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1
