"""The kill switch: halt, cancel everything, and close positions before if asked. It needs the engine and its journal alone.

Halt and cancels are one submission that goes before all commands that wait, so that whatever is decided after it meets the
halt. A flatten comes before it, in submissions of its own: the market takes only what reduces a position meanwhile. The halt
follows whatever becomes of the flatten, also when its caller is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import structlog

from fastpath.model.enums import (
    CancelReason,
    OrderFlag,
    OrderStatus,
    OrderType,
    RejectReason,
    Side,
    TimeInForce,
    TradingStatus,
)
from server.base.errors import TradewindError
from server.base.instruments import Instrument
from server.engine.order_entry import AccountTrading, TradingControl
from server.engine.orders import NewOrder
from server.market.hub import MarketData
from server.market.model import FeedState
from server.records.events import PositionView

_OPEN, _HALTED, _REDUCE_ONLY = (
    int(status)
    for status in (
        TradingStatus.TRADING_STATUS_OPEN,
        TradingStatus.TRADING_STATUS_HALTED,
        TradingStatus.TRADING_STATUS_REDUCE_ONLY,
    )
)
_FLATTEN_S = 2.0
"""How long orders that travel to a mirrored venue are waited for before the halt."""
_POLL_S = 0.005

log = structlog.get_logger("risk")


@dataclass(slots=True)
class Flattened:
    """What became of one position. Quantities are in base currency, signed."""

    account: str
    instrument: Instrument
    qty: Decimal
    remaining: Decimal
    order_id: int = 0
    """0: no order was placed."""
    problem: str = ""
    """Why something is left; empty if nothing is."""


@dataclass(frozen=True, slots=True)
class Killed:
    canceled: int
    pending: int
    """Of them, those whose cancel is on its way to a mirrored venue."""
    flattened: list[Flattened]


class KillSwitchEngine(AccountTrading, TradingControl, Protocol):
    """What the kill switch needs of the engine."""


class KillSwitch:
    def __init__(self, trading: KillSwitchEngine, market: MarketData) -> None:
        self._trading = trading
        self._market = market

    async def pull(self, instrument: str, *, flatten: bool, reason: str, principal: str) -> Killed:
        """Halt one instrument, or (empty) everything. Raises NotFound, Unavailable (the journal)."""
        scope = self._trading.registry.instrument(instrument) if instrument else None
        log.critical("kill switch", instrument=instrument or "all", flatten=flatten, reason=reason, token=principal)
        flattened: list[Flattened] = []
        try:
            if flatten:
                await self._flatten(scope, flattened)
        except TradewindError as error:
            log.error("positions could not be closed before the halt", error=error.message)
        finally:
            halting = self._trading.halt_and_cancel(instrument or None)
        canceled, pending = self._trading.canceled(await halting)
        for each in flattened:
            self._settle(each)
        left = sum(1 for each in flattened if each.remaining)
        log.critical(
            "trading is halted", instrument=instrument or "all", canceled=canceled, pending=pending, positions_left=left,
            token=principal,
        )  # fmt: skip
        return Killed(canceled, pending, flattened)

    async def _flatten(self, scope: Instrument | None, flattened: list[Flattened]) -> None:
        """Close what can be closed, and tell of each position what became of it in `flattened`."""
        positions = list(self._positions(scope))
        flattened += [Flattened(each.account, each.instrument, each.quantity, each.quantity) for each in positions]
        trading = self._trading
        if trading.trading_status(scope.number if scope else 0) == _OPEN:
            await trading.set_trading_status(scope.name if scope else None, _REDUCE_ONLY)
        for position, told in zip(positions, flattened, strict=True):
            told.problem = self._why_not(position)
            if not told.problem:
                await self._close(position, told)
        ordered = [told.order_id for told in flattened if told.order_id]
        for _ in range(int(_FLATTEN_S / _POLL_S)):
            if not any(order.is_open for order in map(trading.find_order, ordered) if order is not None):
                break
            await asyncio.sleep(_POLL_S)

    async def _close(self, position: PositionView, told: Flattened) -> None:
        """Cancel the account's orders in the instrument, which hold its balance, and place the order."""
        order = NewOrder(
            account=position.account,
            instrument=position.instrument,
            side=int(Side.SIDE_SELL if position.qty > 0 else Side.SIDE_BUY),
            order_type=int(OrderType.ORDER_TYPE_MARKET),
            time_in_force=int(TimeInForce.TIME_IN_FORCE_IOC),
            qty=abs(position.qty),
            flags=int(OrderFlag.ORDER_FLAG_REDUCE_ONLY),
        )
        try:
            await self._trading.cancel_orders(position.account, instrument=position.instrument.name)
            told.order_id = (await self._trading.place(order)).order.order_id
        except TradewindError as error:
            told.problem = error.message

    def _why_not(self, position: PositionView) -> str:
        """Why no order can close the position; empty if one can."""
        instrument = position.instrument
        if not position.qty:
            return f"it is less than the lot of {instrument.lot_size:f}"
        if instrument.mirrored and (state := self._market.state(instrument.name)) is not FeedState.LIVE:
            return f"the market is not live: its feed is {state.name}"
        return ""

    def _settle(self, told: Flattened) -> None:
        """What is left after the halt, and why."""
        held = self._trading.list_positions(told.account)
        told.remaining = next(
            (each.quantity for each in held if each.instrument.name == told.instrument.name), Decimal(0)
        )
        order = self._trading.find_order(told.order_id) if told.order_id else None
        if not told.remaining or order is None:
            return
        if order.status == OrderStatus.ORDER_STATUS_REJECTED:
            told.problem = f"the order was refused: {_name(RejectReason(order.reject_reason))}"
        elif order.is_open:
            told.problem = "the order did not get to its venue in time and is being canceled"
        elif order.cancel_reason:
            told.problem = f"the market offered no more: {_name(CancelReason(order.cancel_reason))}"
        else:
            told.problem = "the position grew again by a fill that was on its way"

    def _positions(self, scope: Instrument | None) -> Iterator[PositionView]:
        for account in self._trading.registry.accounts():
            for position in self._trading.list_positions(account.name):
                if position.quantity and (scope is None or position.instrument.name == scope.name):
                    yield position


def _name(reason: CancelReason | RejectReason) -> str:
    return reason.name.removeprefix("CANCEL_REASON_").removeprefix("REJECT_REASON_")
