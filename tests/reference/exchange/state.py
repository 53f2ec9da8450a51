"""All that the exchange knows, the events it has to tell, and the marks that say what is to be followed up.

The other modules are functions on it. What can be worked out is not kept: queues and depth are made anew from the
orders each time they are asked for.
"""

from __future__ import annotations

import copy
from typing import Any

from fastpath.model.enums import TradingStatus
from tests.reference.exchange.orders import BUY, OPEN, SELL, Change, Mirror, Order, Position
from tests.reference.records import AccountDef, AnyCommand, AssetDef, Command, Event, InstrumentDef


def is_changing(order: Order) -> bool:
    return (order.cancel_pending or order.amend_pending) and order.status in OPEN


def show(order: Order) -> Event:
    """The order as every event about it tells it."""
    command = order.command
    return Event(
        side=order.side, order_type=command.order_type, time_in_force=command.time_in_force,
        flags=command.flags | (128 if order.waiting else 0) | (256 if is_changing(order) else 0),
        account=order.account, instrument=order.instrument,
        order_id=order.order_id, price=order.price,
        qty=order.qty + order.awaited, cum_qty=order.cum_qty,
        leaves_qty=order.leaves + order.awaited if order.status in OPEN else 0,
        cum_notional=order.cum_notional, status=order.status, reject_reason=order.reject_reason,
        cancel_reason=order.cancel_reason, total=order.fees, delta=order.placed_ns,
        trigger_price=order.trigger_price, display_qty=command.display_qty, expire_ns=order.expire_ns,
        link_id=command.link_id, client_order_id=command.client_order_id.ljust(36, b"\0"),
        asset=command.trigger_source | command.trailing_unit << 8, reserved_amount=command.trailing_offset,
    )  # fmt: skip


def units_per_lot(state: State, rules: InstrumentDef) -> int:
    """Units of the base asset."""
    base = state.assets[rules.base_asset]
    return rules.base_per_lot * 10 ** (base.scale - (rules.base_scale or base.first_scale or base.scale))


class State:
    """One exchange, between two commands or in the middle of one."""

    command: AnyCommand
    """The one that is being applied."""
    last_fill_price: int

    def __init__(self, max_orders: int = 10**9, max_open_orders: int = 10**9) -> None:
        self.max_orders, self.max_open_orders = max_orders, max_open_orders
        self.assets: dict[int, AssetDef] = {}
        self.instruments: dict[int, InstrumentDef] = {}
        self.status: dict[int, int] = {0: int(TradingStatus.TRADING_STATUS_OPEN)}
        self.accounts: dict[int, AccountDef] = {}
        self.mirrors: dict[int, Mirror] = {}
        self.totals: dict[tuple[int, int], int] = {}
        self.positions: dict[tuple[int, int], Position] = {}
        self.orders: dict[int, Order] = {}
        self.live: list[Order] = []
        """Those that were open when the command came, and the one that came with it."""
        self.by_client: dict[tuple[int, bytes], Order] = {}
        self.adjustments: dict[tuple[int, bytes], Command] = {}
        self.deadman_ns: dict[int, int] = {}
        self.last_price: dict[int, int] = {}
        self.reference_prices: dict[tuple[int, int], tuple[int, int]] = {}
        """By instrument and TriggerSource (MARK, INDEX): the price (0: none) and until when it holds."""
        self.valuations: dict[int, tuple[int, int]] = {}
        """By instrument: the valuation price (0: none) and until when it holds."""
        self.changes: list[Change] = []
        self.touched: list[int] = []
        """Instruments whose conditional orders are to be looked at, in this order."""
        self.groups: dict[tuple[int, int], list[Order]] = {}
        self.group_sizes: dict[tuple[int, int], int] = {}
        self.refused_groups: set[tuple[int, int]] = set()
        self.changed: list[Order] = []
        """Members of a group the others of which are to be told."""
        self.trade_id = 0
        self.priority = 0
        self.events: list[Event] = []
        self.executed: list[tuple[int, int]] = []
        """(account, instrument) of the fills of this command."""

    def lots(self, instrument: int, position: Position) -> int:
        """Whole ones."""
        return position.lots(units_per_lot(self, self.instruments[instrument]))

    def emit(self, kind: int, **fields: Any) -> None:
        self.events.append(Event(command_seq=self.command.seq, ts_ns=self.command.ts_ns, kind=int(kind), **fields))

    def emit_order(self, kind: int, order: Order, **fields: int) -> None:
        values = show(order)._asdict() | fields
        values.update(command_seq=self.command.seq, ts_ns=self.command.ts_ns, kind=int(kind))
        self.events.append(Event(**values))

    def reference_price(self, instrument: int, source: int) -> int | None:
        """The mark or index price that holds now."""
        price, until_ns = self.reference_prices.get((instrument, source), (0, 0))
        return price if price and until_ns > self.command.ts_ns else None

    def valuation(self, instrument: int, ts_ns: int) -> tuple[int, bool]:
        """What positions in the instrument are valued by, and whether that is stale."""
        mark, mark_until_ns = self.reference_prices.get((instrument, 4), (0, 0))
        if mark and mark_until_ns > ts_ns:
            return mark, False
        price, until_ns = self.valuations.get(instrument, (0, 0))
        if price:
            return price, until_ns <= ts_ns
        mirror = self.mirrors.get(instrument)
        return self.last_price.get(instrument, 0), mirror is not None and not mirror.live

    def touch(self, instrument: int) -> None:
        """Its market changed: conditional orders may be due."""
        if instrument not in self.touched and any(
            o.waiting in (1, 2) and o.instrument == instrument for o in self.live
        ):
            self.touched.append(instrument)

    def link_changed(self, order: Order) -> None:
        if order.group and order not in self.changed:
            self.changed.append(order)

    def requeue(self, order: Order) -> None:
        """To the end of its queue."""
        self.priority += 1
        order.priority = self.priority

    def meant(self, command: Command) -> Order | None:
        """The order a command names, by its id or by its client's."""
        if command.order_id:
            order = self.orders.get(command.order_id)
            return order if order and command.account in (0, order.account) else None
        return self.by_client.get((command.account, command.client_order_id))

    def queue(self, instrument: int, side: int) -> list[Order]:
        """Resting orders of a side in the order they trade."""
        resting = [o for o in self.live if o.resting and o.instrument == instrument and o.side == side]
        return sorted(resting, key=lambda o: (-o.price if side == BUY else o.price, o.hidden, o.priority))

    def depth(self, instrument: int) -> tuple[list[tuple[int, int, int]], ...]:
        """(price, quantity, orders) of the levels that show, bids and asks, best first."""
        sides = []
        for side in (BUY, SELL):
            levels: dict[int, list[int]] = {}
            for order in self.queue(instrument, side):
                if not order.hidden:
                    level = levels.setdefault(order.price, [0, 0])
                    level[0] += order.may_trade
                    level[1] += 1
            sides.append([(price, qty, count) for price, (qty, count) in levels.items()])
        return tuple(sides)

    def trial(self, order: Order) -> tuple[State, Order]:
        """A copy to try out what an order would do, and the order there."""
        trial = copy.copy(self)
        trial.live = [copy.copy(each) for each in self.live]
        copies = {each.order_id: each for each in trial.live}
        for each in trial.live:
            if each.group:
                each.group = [copies.get(member.order_id, member) for member in each.group]
        trial.totals, trial.last_price = dict(self.totals), dict(self.last_price)
        trial.positions = {key: copy.copy(position) for key, position in self.positions.items()}
        trial.mirrors = copy.deepcopy(self.mirrors)
        trial.events, trial.executed, trial.touched, trial.changed = [], [], [], []
        return trial, next(each for each in trial.live if each.order_id == order.order_id)
