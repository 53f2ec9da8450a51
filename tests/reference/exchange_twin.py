"""The exchange once more, as plainly as it can be said: lists, dictionaries and Python integers.

It is the oracle for `fastpath.exchange`. Where the fast one keeps running totals, this one computes them anew each
time: what is reserved is the sum over the open orders, what changed is the difference between before and after, the
best order is the minimum over all of them, and whether an order can be filled is found out by filling it on a copy.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from fastpath.model import (
    AccountMode,
    CancelReason,
    CommandKind,
    EventKind,
    Liquidity,
    OrderFlag,
    OrderStatus,
    OrderType,
    PaperModel,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TradingStatus,
)
from tests.reference.records import AccountDef, AnyCommand, AssetDef, Command, Event, InstrumentDef

BUY, SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)
OUTSIDE, FEES = 0, 2**32 - 1
MAX_MONEY = 2**61
INF = 2**63 - 1
MIRROR_LEVELS = 200
ICEBERG_MAX_SLICES = 1024

LIMIT, MARKET, MARKET_TO_LIMIT = (
    int(OrderType.ORDER_TYPE_LIMIT), int(OrderType.ORDER_TYPE_MARKET), int(OrderType.ORDER_TYPE_MARKET_TO_LIMIT),
)  # fmt: skip
ICEBERG, HIDDEN = int(OrderType.ORDER_TYPE_ICEBERG), int(OrderType.ORDER_TYPE_HIDDEN)
GTC, IOC, FOK, GTD, DAY = (
    int(TimeInForce.TIME_IN_FORCE_GTC), int(TimeInForce.TIME_IN_FORCE_IOC), int(TimeInForce.TIME_IN_FORCE_FOK),
    int(TimeInForce.TIME_IN_FORCE_GTD), int(TimeInForce.TIME_IN_FORCE_DAY),
)  # fmt: skip
STOP, STOP_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT, TRAILING_STOP, TRAILING_STOP_LIMIT = range(4, 10)
CONDITIONAL = frozenset(range(4, 10))
TRAILING = frozenset({TRAILING_STOP, TRAILING_STOP_LIMIT})
TAKE_PROFITS = frozenset({TAKE_PROFIT, TAKE_PROFIT_LIMIT})
MARKETS = frozenset({MARKET, MARKET_TO_LIMIT, STOP, TAKE_PROFIT, TRAILING_STOP})
MAX_TRIGGERS_PER_COMMAND = 1000
DAY_NS = 86_400 * 10**9
POST_ONLY, SLIDE = int(OrderFlag.ORDER_FLAG_POST_ONLY), int(OrderFlag.ORDER_FLAG_POST_ONLY_SLIDE)
REDUCE_ONLY, CLOSE_POSITION = int(OrderFlag.ORDER_FLAG_REDUCE_ONLY), int(OrderFlag.ORDER_FLAG_CLOSE_POSITION)
QUOTE_QTY = int(OrderFlag.ORDER_FLAG_QUOTE_QTY)
OCO, OTO, BRACKET = 1, 2, 3
PROTECTED, DISCONNECT = int(OrderFlag.ORDER_FLAG_PROTECTED), int(OrderFlag.ORDER_FLAG_CANCEL_ON_DISCONNECT)
NEW, PARTIAL, FILLED, CANCELED, REJECTED, EXPIRED = (
    int(OrderStatus.ORDER_STATUS_NEW), int(OrderStatus.ORDER_STATUS_PARTIALLY_FILLED),
    int(OrderStatus.ORDER_STATUS_FILLED), int(OrderStatus.ORDER_STATUS_CANCELED),
    int(OrderStatus.ORDER_STATUS_REJECTED), int(OrderStatus.ORDER_STATUS_EXPIRED),
)  # fmt: skip

BODY = (
    "side", "order_type", "time_in_force", "flags", "instrument", "price", "qty", "trigger_price", "display_qty",
    "min_qty", "amount", "expire_ns", "trailing_offset", "link_id", "stp_group", "stp_mode", "trigger_source",
    "trailing_unit", "link_type", "link_size",
)  # fmt: skip


class Refused(Exception):
    """An order or a command that is refused, with its RejectReason."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reason = int(RejectReason[f"REJECT_REASON_{name}"])


@dataclass
class Order:
    body: Command
    """As it was placed."""
    command: Command
    """As it is worked now."""
    order_id: int
    account: int
    instrument: int
    side: int
    price: int
    qty: int
    placed_ns: int
    maker_fee_ppm: int
    taker_fee_ppm: int
    cum_qty: int = 0
    cum_notional: int = 0
    fee_ppm: int = 0
    """Sum of rate * notional over the fills, in millionths: all its fees are this, rounded up once."""
    status: int = NEW
    reject_reason: int = 0
    cancel_reason: int = 0
    resting: bool = False
    priority: int = 0
    slice: int = 0
    """Of an iceberg: what it shows now."""
    queue_ahead: int | None = None
    waiting: int = 0
    """0: not; 1: for its trigger price; 2: trailing, for the price from which it trails; 3: for its parent's first fill;
    4: for further ones; 5: on its way to a venue; 6: for the others of its list."""
    arrival_ns: int = 0
    awaited: int = 0
    """Of a child: lots to be released by fills of its parent; `qty` has those that were."""
    followed: int = 0
    """Of the parent's fills: seen already."""
    trigger_price: int = 0
    expire_ns: int = 0
    group: list[Order] | None = None
    linked_qty: int = -1
    """Of cum_qty: taken off its siblings already; -1: has not met them yet."""
    opened: int = 0
    """Place among the account's open orders."""

    @property
    def is_open(self) -> bool:
        return self.resting or self.waiting > 0

    @property
    def leaves(self) -> int:
        return self.qty - self.cum_qty

    @property
    def fees(self) -> int:
        return -(-self.fee_ppm // 1_000_000)

    @property
    def hidden(self) -> bool:
        return self.command.order_type == HIDDEN

    @property
    def may_trade(self) -> int:
        return min(self.slice, self.leaves) if self.command.order_type == ICEBERG else self.leaves

    def has(self, flag: int) -> bool:
        return bool(self.command.flags & flag)


@dataclass
class Level:
    price: int
    qty: int
    consumed: int = 0


@dataclass
class Mirror:
    live: bool = False
    shown: dict[int, list[Level]] = field(default_factory=lambda: {BUY: [], SELL: []})
    beyond: dict[int, dict[int, int]] = field(default_factory=lambda: {BUY: {}, SELL: {}})
    """Lots consumed at prices worse than all that is shown."""
    incoming: dict[int, list[Level]] | None = None
    incoming_live: bool = False
    broken: bool = False


@dataclass
class Position:
    qty: int = 0
    cost: int = 0
    realized_pnl: int = 0


def crosses(side: int, limit: int, opposite: int) -> bool:
    return opposite <= limit if side == BUY else opposite >= limit


def better(side: int, price: int, than: int) -> bool:
    """On a book side: a higher bid, a lower ask."""
    return price > than if side == BUY else price < than


def toward_zero(numerator: int, divisor: int) -> int:
    quotient = abs(numerator) // divisor
    return quotient if numerator >= 0 else -quotient


class ExchangeTwin:
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
        self.touched: list[int] = []
        self.groups: dict[tuple[int, int], list[Order]] = {}
        self.group_sizes: dict[tuple[int, int], int] = {}
        self.refused_groups: set[tuple[int, int]] = set()
        self.changed: list[Order] = []
        self.trade_id = 0
        self.priority = 0
        self.events: list[Event] = []
        self.executed: list[tuple[int, int]] = []

    # -- commands --

    def apply(self, command: AnyCommand) -> list[Event]:
        """The events of one command; event_seq and last_of_command are left 0. Ledger events come last, sorted."""
        self.command = command
        self.live = [order for order in self.live if order.status in (NEW, PARTIAL)]
        self.events = []
        self.executed = []
        balances = self.all_balances()
        try:
            self.dispatch(command)
        except Refused as refused:
            if isinstance(command, Command):
                self.emit(
                    EventKind.EVENT_REJECTED_COMMAND, reject_reason=refused.reason, account=command.account,
                    instrument=command.instrument, asset=command.asset, order_id=command.order_id,
                    client_order_id=command.client_order_id.ljust(36, b"\0"),
                )  # fmt: skip
            else:
                self.emit(EventKind.EVENT_REJECTED_COMMAND, reject_reason=refused.reason)
            if command.kind == CommandKind.COMMAND_PLACE and str(refused) in ("CLIENT_ORDER_ID_CONFLICT", "CAPACITY"):
                self.refuse_group(command.account, command.link_id)
        self.run_triggers()
        self.emit_ledger(balances)
        return self.events

    def dispatch(self, command: AnyCommand) -> None:
        if isinstance(command, AssetDef):
            self.define_asset(command)
        elif isinstance(command, InstrumentDef):
            self.define_instrument(command)
        elif isinstance(command, AccountDef):
            self.define_account(command)
        elif command.kind == CommandKind.COMMAND_ADJUST_BALANCE:
            self.adjust(command)
        elif command.kind == CommandKind.COMMAND_PLACE:
            self.place(command)
        elif command.kind == CommandKind.COMMAND_CANCEL:
            self.cancel(command)
        elif command.kind == CommandKind.COMMAND_AMEND:
            self.amend(command)
        elif command.kind == CommandKind.COMMAND_TIMER:
            self.timer(command)
        elif command.kind == CommandKind.COMMAND_MASS_CANCEL:
            self.cancel_all(CancelReason.CANCEL_REASON_MASS_CANCEL, command.account, command.instrument, command.side)
        elif command.kind == CommandKind.COMMAND_SESSION_CLOSED:
            self.cancel_all(CancelReason.CANCEL_REASON_DISCONNECT, command.account, session=command.session)
        elif command.kind == CommandKind.COMMAND_SET_DEADMAN_TIMER:
            self.set_deadman(command)
        elif command.kind == CommandKind.COMMAND_SET_TRADING_STATUS:
            self.set_status(command)
        elif command.kind == CommandKind.COMMAND_ARRIVALS:
            self.arrivals(command)
        elif CommandKind.COMMAND_MIRROR_BEGIN <= command.kind <= CommandKind.COMMAND_MIRROR_CANCELED:
            self.mirror(command)
        else:
            raise Refused("INVALID_COMMAND")

    # -- events --

    def emit(self, kind: int, **fields: int | bytes) -> None:
        self.events.append(Event(command_seq=self.command.seq, ts_ns=self.command.ts_ns, kind=int(kind), **fields))

    def emit_order(self, kind: int, order: Order, **fields: int) -> None:
        values = self.show(order)._asdict() | fields
        values.update(command_seq=self.command.seq, ts_ns=self.command.ts_ns, kind=int(kind))
        self.events.append(Event(**values))

    def show(self, order: Order) -> Event:
        command = order.command
        return Event(
            side=order.side, order_type=command.order_type, time_in_force=command.time_in_force,
            flags=command.flags | (128 if order.waiting else 0), account=order.account, instrument=order.instrument,
            order_id=order.order_id, price=order.price,
            qty=order.qty + order.awaited, cum_qty=order.cum_qty,
            leaves_qty=order.leaves + order.awaited if order.status in (NEW, PARTIAL) else 0,
            cum_notional=order.cum_notional, status=order.status, reject_reason=order.reject_reason,
            cancel_reason=order.cancel_reason, total=order.fees, delta=order.placed_ns,
            trigger_price=order.trigger_price, display_qty=command.display_qty, expire_ns=order.expire_ns,
            link_id=command.link_id, client_order_id=command.client_order_id.ljust(36, b"\0"),
            asset=command.trigger_source | command.trailing_unit << 8, reserved_amount=command.trailing_offset,
        )  # fmt: skip

    def emit_ledger(self, before: dict[tuple[int, int], tuple[int, int]]) -> None:
        for account, instrument in sorted(set(self.executed)):
            position = self.positions[account, instrument]
            self.emit(
                EventKind.EVENT_POSITION_CHANGED,
                account=account,
                instrument=instrument,
                position_qty=position.qty,
                position_cost=position.cost,
                realized_pnl=position.realized_pnl,
            )
        for (account, asset), (total, reserved) in sorted(self.all_balances().items()):
            total_before, reserved_before = before.get((account, asset), (0, 0))
            if (total, reserved) != (total_before, reserved_before):
                self.emit(
                    EventKind.EVENT_BALANCE_CHANGED,
                    account=account,
                    asset=asset,
                    total=total,
                    reserved_amount=reserved,
                    delta=total - total_before,
                )

    # -- ledger --

    def all_balances(self) -> dict[tuple[int, int], tuple[int, int]]:
        reserved = dict.fromkeys(self.totals, 0)
        for order in self.live:
            if order.resting or order.waiting == 5 or (order.waiting == 6 and order.command.order_type not in CONDITIONAL):
                reserved[order.account, self.pays(order)] += self.required(order, order.price, order.leaves)
        return {key: (total, reserved[key]) for key, total in self.totals.items()}

    def free(self, account: int, asset: int) -> int:
        total, reserved = self.all_balances().get((account, asset), (0, 0))
        return total - reserved

    def move(self, source: int, target: int, asset: int, amount: int) -> None:
        self.totals[source, asset] = self.totals.get((source, asset), 0) - amount
        self.totals[target, asset] = self.totals.get((target, asset), 0) + amount

    def check_move(self, source: int, target: int, asset: int, amount: int) -> None:
        if (
            amount > MAX_MONEY
            or self.totals.get((source, asset), 0) - amount < -MAX_MONEY
            or self.totals.get((target, asset), 0) + amount > MAX_MONEY
        ):
            raise Refused("AMOUNT_OVERFLOW")

    def pays(self, order: Order) -> int:
        rules = self.instruments[order.instrument]
        return rules.quote_asset if order.side == BUY else rules.base_asset

    def required(self, order: Order, price: int, lots: int) -> int:
        rules = self.instruments[order.instrument]
        if order.side == SELL:
            return lots * rules.base_per_lot
        notional = price * lots * rules.quote_per_tick_lot
        worst_ppm = max(order.maker_fee_ppm, order.taker_fee_ppm)
        return notional + -(-(order.fee_ppm + worst_ppm * notional) // 1_000_000) - order.fees

    def execute(self, order: Order, lots: int, notional: int, rate_ppm: int) -> int:
        """One side of a trade; returns the fee."""
        fees = order.fees
        order.fee_ppm += rate_ppm * notional
        order.cum_qty += lots
        order.cum_notional += notional
        order.status = PARTIAL if order.leaves or order.awaited else FILLED
        self.link_changed(order)
        key = (order.account, order.instrument)
        self.executed.append(key)
        self.average_cost(self.positions.setdefault(key, Position()), order.side, lots, notional)
        return order.fees - fees

    @staticmethod
    def average_cost(position: Position, side: int, lots: int, notional: int) -> None:
        sign = 1 if side == BUY else -1
        closed = min(lots, max(0, -sign * position.qty))
        if closed:
            closed_notional = notional * closed // lots
            closed_cost = toward_zero(position.cost * closed, abs(position.qty))
            position.realized_pnl += -sign * closed_notional - closed_cost
            position.cost -= closed_cost
            position.qty += sign * closed
            lots, notional = lots - closed, notional - closed_notional
        position.qty += sign * lots
        position.cost += sign * notional

    # -- definitions --

    def define_asset(self, asset: AssetDef) -> None:
        known = self.assets.get(asset.asset)
        if asset.asset == 0 or (known and (known.scale, known.name) != (asset.scale, asset.name)):
            raise Refused("INVALID_COMMAND")
        self.assets[asset.asset] = asset
        self.emit(EventKind.EVENT_ASSET_DEFINED, asset=asset.asset)

    def define_account(self, account: AccountDef) -> None:
        known = self.accounts.get(account.account)
        if (
            account.account == 0
            or account.mode not in (1, 2, 3)
            or (known and (known.mode, known.name) != (account.mode, account.name))
        ):
            raise Refused("INVALID_COMMAND")
        self.accounts[account.account] = account
        self.emit(EventKind.EVENT_ACCOUNT_DEFINED, account=account.account, flags=account.mode)

    def define_instrument(self, new: InstrumentDef) -> None:
        if new.base_asset not in self.assets or new.quote_asset not in self.assets:
            raise Refused("ASSET_NOT_FOUND")
        known = self.instruments.get(new.instrument)
        rules = (
            "min_qty",
            "max_qty",
            "min_notional",
            "maker_fee_ppm",
            "taker_fee_ppm",
            "latency_in_ns",
            "latency_out_ns",
            "paper_model",
            "status",
            "price_decimals",
            "seq",
            "ts_ns",
        )
        fixed = known and any(getattr(known, f) != getattr(new, f) for f in new._fields if f not in rules)
        if (
            new.instrument == 0
            or new.base_asset == new.quote_asset
            or new.mirrored > 1
            or new.status not in (1, 2, 3, 4)
            or not 1 <= new.base_per_lot <= MAX_MONEY
            or not 1 <= new.quote_per_tick_lot <= MAX_MONEY
            or new.min_qty < 1
            or (new.max_qty and new.max_qty < new.min_qty)
            or new.min_notional < 0
            or not 0 <= new.taker_fee_ppm <= 10**6
            or not -new.taker_fee_ppm <= new.maker_fee_ppm <= 10**6
            or not 0 <= new.latency_in_ns <= 10**9
            or not 0 <= new.latency_out_ns <= 10**9
            or new.paper_model > 3
            or (not new.mirrored and (new.latency_in_ns or new.latency_out_ns or new.paper_model))
            or fixed
        ):
            raise Refused("INVALID_COMMAND")
        self.instruments[new.instrument] = new
        self.touch(new.instrument)
        self.status[new.instrument] = new.status
        if new.mirrored:
            self.mirrors.setdefault(new.instrument, Mirror())
        for account, asset in ((OUTSIDE, new.base_asset), (OUTSIDE, new.quote_asset), (FEES, new.quote_asset)):
            self.totals.setdefault((account, asset), 0)
        self.emit(EventKind.EVENT_INSTRUMENT_DEFINED, instrument=new.instrument, flags=new.status)

    def adjust(self, command: Command) -> None:
        account, asset, amount = command.account, command.asset, command.amount
        if account not in self.accounts:
            raise Refused("ACCOUNT_NOT_FOUND")
        if asset not in self.assets:
            raise Refused("ASSET_NOT_FOUND")
        known = self.adjustments.get((account, command.client_order_id))
        if known:
            if (known.asset, known.amount) != (asset, amount):
                raise Refused("CLIENT_ORDER_ID_CONFLICT")
            total, reserved = self.all_balances()[account, asset]
            self.emit(
                EventKind.EVENT_BALANCE_CHANGED, account=account, asset=asset, total=total, reserved_amount=reserved
            )
            return
        self.totals.setdefault((account, asset), 0)
        self.totals.setdefault((OUTSIDE, asset), 0)
        if amount == 0:
            raise Refused("INVALID_COMMAND")
        if abs(amount) > MAX_MONEY:
            raise Refused("AMOUNT_OVERFLOW")
        if amount < 0 and self.free(account, asset) < -amount:
            raise Refused("INSUFFICIENT_BALANCE")
        self.check_move(*((OUTSIDE, account) if amount > 0 else (account, OUTSIDE)), asset, abs(amount))
        if command.client_order_id:
            self.adjustments[account, command.client_order_id] = command
        self.move(OUTSIDE, account, asset, amount)

    def set_status(self, command: Command) -> None:
        if command.flags not in (1, 2, 3, 4):
            raise Refused("INVALID_COMMAND")
        if command.instrument not in self.status:
            raise Refused("INSTRUMENT_NOT_FOUND")
        self.status[command.instrument] = command.flags
        for instrument in sorted(self.instruments):
            self.touch(instrument)
        self.emit(EventKind.EVENT_TRADING_STATUS_CHANGED, instrument=command.instrument, flags=command.flags)

    # -- orders --

    def place(self, command: Command) -> None:
        if not command.client_order_id:
            raise Refused("INVALID_COMMAND")
        if command.account not in self.accounts:
            raise Refused("ACCOUNT_NOT_FOUND")
        if command.instrument not in self.instruments:
            raise Refused("INSTRUMENT_NOT_FOUND")
        known = self.by_client.get((command.account, command.client_order_id))
        if known:
            if any(getattr(known.body, name) != getattr(command, name) for name in BODY):
                raise Refused("CLIENT_ORDER_ID_CONFLICT")
            self.emit_order(EventKind.EVENT_ORDER_REPLAYED, known)
            return
        if len(self.orders) >= self.max_orders:
            raise Refused("CAPACITY")
        rules = self.instruments[command.instrument]
        for asset in (rules.base_asset, rules.quote_asset):
            self.totals.setdefault((command.account, asset), 0)
        order = Order(
            command,
            command,
            command.seq,
            command.account,
            command.instrument,
            command.side,
            command.price,
            command.qty,
            command.ts_ns,
            rules.maker_fee_ppm,
            rules.taker_fee_ppm,
        )
        order.expire_ns, order.trigger_price = command.expire_ns, command.trigger_price
        if command.order_type in CONDITIONAL:
            order.waiting = self.first_wait(order)
        if command.link_id and command.link_type != OCO and (order.account, command.link_id) in self.groups:
            order.waiting = 3
        if command.time_in_force == DAY and not command.expire_ns:
            order.expire_ns = command.ts_ns - command.ts_ns % DAY_NS + DAY_NS
        self.orders[order.order_id] = self.by_client[order.account, command.client_order_id] = order
        self.live.append(order)
        try:
            self.check_link(order)
            limit = self.admit(order)
            if sum(o.is_open for o in self.live if o is not order) >= self.max_open_orders:
                raise Refused("CAPACITY")
            if not order.waiting and (command.link_size or not self.travel_ns(order)):
                self.check_against_market(order, limit)
            if command.link_size and order.waiting != 3:
                order.waiting = 6
        except Refused as refused:
            order.waiting = 0
            order.status, order.reject_reason = REJECTED, refused.reason
            self.emit_order(EventKind.EVENT_ORDER_REJECTED, order)
            self.refuse_group(order.account, command.link_id)
            return
        if command.link_id:
            order.group = self.groups.setdefault((order.account, command.link_id), [])
            order.group.append(order)
            self.group_sizes.setdefault((order.account, command.link_id), command.link_size)
            self.link_changed(order)
        if order.waiting == 3:
            order.awaited, order.qty = order.qty, 0
        if not order.waiting and self.travel_ns(order):
            self.send_off(order)
            self.emit_order(EventKind.EVENT_ORDER_ACCEPTED, order)
            return
        if order.waiting:
            self.requeue(order)
            order.opened = self.priority
            if order.waiting == 1:
                self.start_trailing(order)
            self.emit_order(EventKind.EVENT_ORDER_ACCEPTED, order)
            self.touch(order.instrument)
            return
        if order.has(SLIDE):
            best = self.best_opposite(order)
            if best is not None and crosses(order.side, order.price, best):
                order.price = best - 1 if order.side == BUY else best + 1
        self.emit_order(EventKind.EVENT_ORDER_ACCEPTED, order)
        self.touch(order.instrument)
        stopped = False if order.has(POST_ONLY | SLIDE) else self.take(order, limit)
        self.conclude(order, stopped)

    def conclude(self, order: Order, stopped: bool) -> None:
        """What is left of a taker rests or is canceled."""
        command = order.command
        if order.waiting:
            self.requeue(order)
            order.opened = self.priority
        if order.leaves == 0 or order.status == CANCELED:
            return
        if stopped:
            self.close(order, CancelReason.CANCEL_REASON_SELF_TRADE)
        elif (
            command.order_type in MARKETS - {MARKET_TO_LIMIT}
            or command.time_in_force in (IOC, FOK)
            or (command.order_type == MARKET_TO_LIMIT and order.cum_qty == 0)
        ):
            market = command.order_type in MARKETS
            self.close(
                order,
                CancelReason.CANCEL_REASON_MARKET_REMAINDER if market else CancelReason.CANCEL_REASON_IOC_REMAINDER,
            )
        else:
            if command.order_type == MARKET_TO_LIMIT:
                order.price = self.last_fill_price
                order.command = command._replace(order_type=LIMIT)
                self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
            self.rest(order)

    def rest(self, order: Order) -> None:
        order.resting = True
        order.slice = order.command.display_qty
        order.opened = self.priority + 1
        self.requeue(order)
        mirror = self.mirrors.get(order.instrument)
        if mirror:
            order.queue_ahead = self.displayed(mirror, order.side, order.price)

    def requeue(self, order: Order) -> None:
        self.priority += 1
        order.priority = self.priority

    def close(self, order: Order, reason: int) -> None:
        if order.resting:
            self.touch(order.instrument)
        order.resting, order.waiting = False, 0
        order.status, order.cancel_reason = CANCELED, int(reason)
        self.link_changed(order)
        self.emit_order(EventKind.EVENT_ORDER_CANCELED, order)

    def cancel_all(
        self, reason: int, account: int, instrument: int = 0, side: int = 0, session: int | None = None
    ) -> None:
        canceled = 0
        for order in sorted(self.live, key=lambda o: (o.account, o.opened)):
            if (
                order.is_open
                and account in (0, order.account)
                and instrument in (0, order.instrument)
                and side in (0, order.side)
                and (session is None or (order.has(DISCONNECT) and session in (0, order.command.session)))
            ):
                self.close(order, reason)
                canceled += 1
        self.emit(
            EventKind.EVENT_ORDERS_CANCELED,
            account=account,
            instrument=instrument,
            side=side,
            cancel_reason=int(reason),
            qty=canceled,
        )

    def set_deadman(self, command: Command) -> None:
        if command.account not in self.accounts:
            raise Refused("ACCOUNT_NOT_FOUND")
        if command.expire_ns and command.expire_ns <= command.ts_ns:
            raise Refused("EXPIRE_TIME_IN_PAST")
        self.deadman_ns[command.account] = command.expire_ns
        self.emit(EventKind.EVENT_DEADMAN_TIMER_SET, account=command.account, expire_ns=command.expire_ns)

    def timer(self, command: Command) -> None:
        for order in sorted(self.live, key=lambda o: (o.expire_ns, o.order_id)):
            if order.is_open and 0 < order.expire_ns <= command.ts_ns:
                if order.resting:
                    self.touch(order.instrument)
                order.resting, order.waiting = False, 0
                order.status = EXPIRED
                self.link_changed(order)
                self.emit_order(EventKind.EVENT_ORDER_EXPIRED, order)
        for account, due_ns in sorted(self.deadman_ns.items()):
            if 0 < due_ns <= command.ts_ns:
                self.deadman_ns[account] = 0
                self.cancel_all(CancelReason.CANCEL_REASON_TIMER, account)

    def amend(self, command: Command) -> None:
        order = self.meant(command)
        try:
            if order is None:
                raise Refused("ORDER_NOT_FOUND")
            if order.status not in (NEW, PARTIAL):
                raise Refused("ORDER_NOT_OPEN")
            if (command.price, command.qty, command.trigger_price) == (0, 0, 0) or command.qty < 0 or order.waiting == 6:
                raise Refused("INVALID_COMMAND")
            if command.qty and order.has(CLOSE_POSITION):
                raise Refused("INVALID_COMMAND")
            if command.trigger_price and (order.waiting in (0, 4, 5) or order.command.order_type in TRAILING):
                raise Refused("INVALID_COMMAND")
            if command.price and order.waiting in (1, 2, 3) and order.command.order_type == TRAILING_STOP_LIMIT:
                raise Refused("INVALID_COMMAND")
            price, qty, awaited = command.price or order.price, command.qty or order.qty + order.awaited, 0
            if order.awaited:
                awaited = max(0, qty - order.qty)
                qty -= awaited
            if command.qty and command.qty <= order.cum_qty:
                self.close(order, CancelReason.CANCEL_REASON_AMENDED_AWAY)
            elif order.waiting in (1, 2, 3, 4):
                self.amend_waiting(order, price, qty, awaited, command.trigger_price or order.trigger_price)
            else:
                self.enter_amended(order, price, qty, awaited)
        except Refused as refused:
            if order is None:
                self.emit(
                    EventKind.EVENT_AMEND_REJECTED,
                    account=command.account,
                    order_id=command.order_id,
                    client_order_id=command.client_order_id.ljust(36, b"\0"),
                    reject_reason=refused.reason,
                )
            else:
                self.emit_order(EventKind.EVENT_AMEND_REJECTED, order, reject_reason=refused.reason)

    def amend_waiting(self, order: Order, price: int, qty: int, awaited: int, trigger_price: int) -> None:
        old_command = order.command
        order.command = old_command._replace(price=price, qty=qty + awaited, trigger_price=trigger_price)
        try:
            self.check_numbers(order)
            if order.waiting != 4:
                self.check_trigger(order)
            self.check_state(order)
        except Refused:
            order.command = old_command
            raise
        order.price, order.qty, order.awaited, order.trigger_price = price, qty, awaited, trigger_price
        self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
        self.touch(order.instrument)

    def enter_amended(self, order: Order, price: int, qty: int, awaited: int) -> None:
        old_price, old_qty, old_command = order.price, order.qty, order.command
        order.command = old_command._replace(
            price=price, qty=qty + awaited, min_qty=0, display_qty=min(old_command.display_qty, qty + awaited)
        )
        was_resting = order.resting
        order.price, order.qty, order.resting = price, qty, False
        in_place = price == old_price and qty <= old_qty
        try:
            self.check_numbers(order)
            self.check_state(order)
            if order.has(REDUCE_ONLY) and order.leaves > self.reducible(order):
                raise Refused("REDUCE_ONLY_VIOLATION")
            if order.has(SLIDE) and order.side == BUY and self.best_opposite(order) == 1:
                raise Refused("WOULD_TAKE_LIQUIDITY")
            needed = self.required(order, price, order.leaves)
            held = needed if order.waiting else 0                    # counted as reserved already
            if self.free(order.account, self.pays(order)) + held < needed:
                raise Refused("INSUFFICIENT_BALANCE")
            self.check_proceeds(order, price)
            if not in_place and not order.waiting:
                self.check_against_market(order, price)
        except Refused:
            order.command, order.price, order.qty, order.resting = old_command, old_price, old_qty, was_resting
            raise
        order.command, order.awaited = old_command, awaited
        if order.waiting:
            self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
            return
        if in_place:
            order.resting = True
            order.slice = min(order.slice, order.leaves)
            self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
            self.touch(order.instrument)
            return
        self.touch(order.instrument)
        best = self.best_opposite(order)
        if order.has(SLIDE) and best is not None and crosses(order.side, order.price, best):
            order.price = best - 1 if order.side == BUY else best + 1
        self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
        stopped = False if order.has(POST_ONLY | SLIDE) else self.take(order, price)
        self.conclude(order, stopped)

    def meant(self, command: Command) -> Order | None:
        if command.order_id:
            order = self.orders.get(command.order_id)
            return order if order and command.account in (0, order.account) else None
        return self.by_client.get((command.account, command.client_order_id))

    def cancel(self, command: Command) -> None:
        order = self.meant(command)
        if order is None:
            self.emit(
                EventKind.EVENT_CANCEL_REJECTED,
                account=command.account,
                order_id=command.order_id,
                client_order_id=command.client_order_id.ljust(36, b"\0"),
                reject_reason=int(RejectReason.REJECT_REASON_ORDER_NOT_FOUND),
            )
        elif order.status not in (NEW, PARTIAL):
            self.emit_order(
                EventKind.EVENT_CANCEL_REJECTED, order, reject_reason=int(RejectReason.REJECT_REASON_ORDER_NOT_OPEN)
            )
        else:
            self.close(order, CancelReason.CANCEL_REASON_REQUESTED)

    # -- triggers --

    def touch(self, instrument: int) -> None:
        if instrument not in self.touched and any(
            o.waiting in (1, 2) and o.instrument == instrument for o in self.live
        ):
            self.touched.append(instrument)

    def watched(self, order: Order) -> int | None:
        """The price a conditional order waits for, if there is one to trust."""
        mirror = self.mirrors.get(order.instrument)
        if mirror and not mirror.live:
            return None
        if order.command.trigger_source in (0, 1):
            return self.last_price.get(order.instrument)
        bid, ask = self.touch_prices(order.instrument)
        if order.command.trigger_source == 2:
            return ask if order.side == BUY else bid
        return None if bid is None or ask is None else (bid + ask) // 2

    def touch_prices(self, instrument: int) -> tuple[int | None, int | None]:
        if instrument in self.mirrors:
            shown = self.mirrors[instrument].shown
            return tuple(shown[side][0].price if shown[side] else None for side in (BUY, SELL))
        return tuple(levels[0][0] if levels else None for levels in self.depth(instrument))

    @staticmethod
    def is_rising(order: Order) -> bool:
        favourable = order.command.order_type in TAKE_PROFITS or order.waiting == 2
        return (order.side == BUY) != favourable

    def trail(self, order: Order, price: int) -> int:
        offset = order.command.trailing_offset
        if order.command.trailing_unit == 2:
            offset = max(1, price * offset // 10_000)
        return price + offset if order.side == BUY else max(price - offset, 0)

    def start_trailing(self, order: Order) -> None:
        if order.command.order_type in TRAILING:
            price = self.watched(order)
            order.trigger_price = self.trail(order, price) if price else (2**62 if order.side == BUY else 0)

    def next_due(self, instrument: int) -> Order | None:
        due = []
        for order in self.live:
            price = self.watched(order) if order.waiting in (1, 2) and order.instrument == instrument else None
            if price is None:
                continue
            trails = order.command.order_type in TRAILING and order.waiting == 1
            if trails:
                follow = min if order.side == BUY else max
                order.trigger_price = follow(order.trigger_price, self.trail(order, price))
            rising = self.is_rising(order)
            if price >= order.trigger_price if rising else price <= order.trigger_price:
                source = order.command.trigger_source
                watch = {0: 0, 1: 0, 2: 2 if order.side == BUY else 1, 3: 3}[source]
                key = order.trigger_price if rising else -order.trigger_price
                due.append(((trails, watch, not rising, key, order.order_id), order))
        return min(due, key=lambda item: item[0])[1] if due else None

    def run_triggers(self) -> None:
        budget = MAX_TRIGGERS_PER_COMMAND
        self.follow_links_and_positions()
        while self.touched:
            instrument = self.touched[0]
            order = None
            if self.status[0] == self.status[instrument] == int(TradingStatus.TRADING_STATUS_OPEN):
                if budget == 0:
                    return
                order = self.next_due(instrument)
            if order is None:
                self.touched.pop(0)
                continue
            budget -= 1
            if order.waiting == 2:
                order.waiting = 1
                self.start_trailing(order)
                self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
            else:
                self.trigger(order)
                self.follow_links_and_positions()

    # -- linked orders --

    @staticmethod
    def first_wait(order: Order) -> int:
        if order.command.order_type not in CONDITIONAL:
            return 0
        return 2 if order.command.order_type in TRAILING and order.trigger_price else 1

    def check_link(self, order: Order) -> None:
        command = order.command
        at_once = command.time_in_force in (IOC, FOK)
        most = 3 if command.link_type == BRACKET else 8
        if not command.link_id:
            if command.link_type or command.link_size:
                raise Refused("INVALID_COMMAND")
            return
        if command.link_type not in (OCO, OTO, BRACKET) or command.min_qty or order.has(QUOTE_QTY | CLOSE_POSITION):
            raise Refused("INVALID_COMMAND")
        if command.link_size == 1 or command.link_size > most:
            raise Refused("INVALID_COMMAND")
        if (order.account, command.link_id) in self.refused_groups:
            raise Refused("LINKED_ORDER")
        group = self.groups.get((order.account, command.link_id))
        if group is None:
            if at_once and command.link_type == OCO:
                raise Refused("INVALID_COMMAND")
            return
        first = group[0]
        if (
            at_once
            or first.body.link_type != command.link_type
            or first.instrument != order.instrument
            or self.group_sizes[order.account, command.link_id] != command.link_size
            or len(group) == (command.link_size or most)
        ):
            raise Refused("INVALID_COMMAND")
        if command.link_type == BRACKET and (first.side == order.side or not order.has(REDUCE_ONLY)):
            raise Refused("INVALID_COMMAND")

    def refuse_group(self, account: int, link_id: int) -> None:
        if link_id:
            self.refused_groups.add((account, link_id))
            for order in self.groups.get((account, link_id), []):
                if order.status in (NEW, PARTIAL):
                    self.close(order, CancelReason.CANCEL_REASON_LINKED_ORDER)

    def link_changed(self, order: Order) -> None:
        if order.group and order not in self.changed:
            self.changed.append(order)

    def follow_links_and_positions(self) -> None:
        while True:
            while self.changed:
                self.follow_member(self.changed.pop(0))
            self.cap_reducing_orders()
            if not self.changed:
                return

    def follow_member(self, order: Order) -> None:
        group = order.group or []
        kind = order.body.link_type
        if kind != OCO and order is group[0]:
            for child in group[1:]:
                self.release(child, order)
        elif kind != OCO:
            self.release(order, group[0])
        if kind == OCO or (kind == BRACKET and order is not group[0]):
            self.follow_siblings(order, group if kind == OCO else group[1:])
        if len(group) == order.body.link_size and not any(member in self.changed for member in group):
            self.begin_next(group)

    def begin_next(self, group: list[Order]) -> None:
        held = [order for order in group if order.waiting == 6]
        if held and held[0].command.order_type in CONDITIONAL:
            self.wait_for_price(held[0])
        elif held:
            self.trigger(held[0])
        held = [order for order in held[1:] if order.waiting == 6]
        if held:
            self.link_changed(held[0])

    def wait_for_price(self, order: Order) -> None:
        order.waiting = self.first_wait(order)
        if order.waiting == 1:
            self.start_trailing(order)
        self.touch(order.instrument)
        self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)

    def release(self, child: Order, parent: Order) -> None:
        if child.status not in (NEW, PARTIAL) or not child.awaited:
            return
        released = min(parent.cum_qty - child.followed, child.awaited)
        child.followed = parent.cum_qty
        over = parent.status not in (NEW, PARTIAL)
        if over and not released and not child.leaves:
            self.close(child, CancelReason.CANCEL_REASON_LINKED_ORDER)
            return
        child.awaited -= released
        if over:
            child.awaited = 0
            display_qty = min(child.command.display_qty, child.qty + released)
            child.command = child.command._replace(display_qty=display_qty)
        if released:
            self.grow(child, released)
        elif over:
            self.emit_order(EventKind.EVENT_ORDER_AMENDED, child)

    def grow(self, child: Order, lots: int) -> None:
        if child.waiting in (0, 5):
            self.grow_in_market(child, lots)
            return
        child.qty += lots
        if child.waiting == 4 or (child.waiting == 3 and child.command.order_type not in CONDITIONAL):
            self.trigger(child)
            return
        if child.waiting == 3:
            self.wait_for_price(child)
            return
        self.emit_order(EventKind.EVENT_ORDER_AMENDED, child)

    def grow_in_market(self, child: Order, lots: int) -> None:
        qty = child.qty + lots
        if child.has(REDUCE_ONLY):
            qty = min(qty, child.cum_qty + self.reducible(child))
        try:
            if qty <= child.qty:
                raise Refused("REDUCE_ONLY_VIOLATION")
            self.enter_amended(child, child.price, qty, child.awaited)
        except Refused:
            self.emit_order(EventKind.EVENT_ORDER_AMENDED, child)

    def follow_siblings(self, order: Order, members: list[Order]) -> None:
        is_new = order.linked_qty < 0
        filled = order.cum_qty - max(order.linked_qty, 0)
        order.linked_qty = order.cum_qty
        for sibling in members:
            if sibling is order:
                continue
            if sibling.status in (NEW, PARTIAL):
                if order.status in (NEW, PARTIAL):
                    self.reduce_open(sibling, filled, CancelReason.CANCEL_REASON_LINKED_ORDER)
                else:
                    self.close(sibling, CancelReason.CANCEL_REASON_LINKED_ORDER)
            if is_new and order.status in (NEW, PARTIAL):
                if sibling.status not in (NEW, PARTIAL):
                    self.close(order, CancelReason.CANCEL_REASON_LINKED_ORDER)
                else:
                    self.reduce_open(order, sibling.linked_qty, CancelReason.CANCEL_REASON_LINKED_ORDER)

    def reduce_open(self, order: Order, lots: int, reason: int) -> None:
        if lots <= 0:
            return
        if lots >= order.leaves + order.awaited:
            self.close(order, reason)
            return
        off = min(lots, order.leaves)
        order.awaited -= lots - off
        order.qty -= off
        order.slice = min(order.slice, order.leaves)
        if order.resting:
            self.touch(order.instrument)
        if not order.leaves:
            if order.waiting == 1 and order.command.order_type in TRAILING:
                order.trigger_price = 0
            order.waiting = 3 if order.waiting in (1, 2, 3) else 4
            order.resting = False
        self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)

    def cap_reducing_orders(self) -> None:
        """Reduce-only orders never exceed what they can reduce."""
        for account, instrument in dict.fromkeys(self.executed):
            for order in sorted(self.live, key=lambda o: o.opened):
                if (
                    order.resting
                    and order.has(REDUCE_ONLY)
                    and (order.account, order.instrument) == (account, instrument)
                ):
                    excess = order.leaves - self.reducible(order)
                    self.reduce_open(order, excess, CancelReason.CANCEL_REASON_REDUCE_ONLY)

    def reducible(self, order: Order) -> int:
        position = self.positions.get((order.account, order.instrument), Position())
        return max(0, -position.qty if order.side == BUY else position.qty)

    def trigger(self, order: Order) -> None:
        returns, order.waiting = order.waiting == 4, 0
        kind = order.command.order_type
        if kind == TRAILING_STOP_LIMIT and not returns:
            order.price = order.trigger_price + (order.price if order.side == BUY else -order.price)
        order.waiting = 5 if self.travel_ns(order) else 0
        self.emit_order(EventKind.EVENT_ORDER_TRIGGERED, order)
        order.waiting = 0
        self.go_to_market(order, travels=self.travel_ns(order) > 0)

    def travel_ns(self, order: Order) -> int:
        rules = self.instruments[order.instrument]
        return rules.latency_in_ns + rules.latency_out_ns

    def send_off(self, order: Order) -> None:
        order.waiting, order.arrival_ns = 5, self.command.ts_ns + self.travel_ns(order)
        if order.has(QUOTE_QTY | CLOSE_POSITION):
            order.qty = 0
        self.requeue(order)
        order.opened = self.priority

    def arrivals(self, command: Command) -> None:
        for order in sorted(self.live, key=lambda o: (o.arrival_ns, o.order_id)):
            if order.waiting == 5 and order.arrival_ns <= command.ts_ns:
                order.waiting = 0
                self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
                self.go_to_market(order, travels=False)

    def go_to_market(self, order: Order, *, travels: bool) -> None:
        order.command = order.command._replace(price=order.price, qty=order.qty + order.awaited)
        try:
            limit = self.admit(order)
            if travels:
                self.send_off(order)
                return
            self.check_against_market(order, limit)
        except Refused as refused:
            order.reject_reason = refused.reason
            self.close(
                order,
                {
                    "INSUFFICIENT_BALANCE": CancelReason.CANCEL_REASON_INSUFFICIENT_BALANCE,
                    "REDUCE_ONLY_VIOLATION": CancelReason.CANCEL_REASON_REDUCE_ONLY,
                }.get(str(refused), CancelReason.CANCEL_REASON_MARKET_REMAINDER),
            )
            return
        self.touch(order.instrument)
        if not order.has(POST_ONLY | SLIDE):
            self.conclude(order, self.take(order, limit))
            return
        best = self.best_opposite(order)
        if best is not None and crosses(order.side, order.price, best):
            order.price = best - 1 if order.side == BUY else best + 1
            self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
        self.rest(order)

    # -- admission --

    def admit(self, order: Order) -> int:
        """The worst price the order may trade at; raises Refused."""
        self.check_kind(order)
        if order.waiting or order.command.order_type not in CONDITIONAL:
            self.check_trigger(order)
        if order.has(QUOTE_QTY | CLOSE_POSITION) and order.qty:
            raise Refused("INVALID_COMMAND")
        if not order.waiting and order.qty >= 0:
            self.size(order)
        self.check_numbers(order)
        if order.command.time_in_force in (GTD, DAY) and order.expire_ns <= order.placed_ns:
            raise Refused("EXPIRE_TIME_IN_PAST")
        self.check_state(order)
        if order.waiting:
            return 0
        market = order.command.order_type in MARKETS
        limit = order.price
        if market and not order.has(PROTECTED):
            limit = INF if order.side == BUY else -INF
        if market:
            limit, needed = self.price_market_order(order, limit)
        else:
            needed = self.required(order, order.price, order.leaves)
            if order.has(SLIDE) and order.side == BUY and self.best_opposite(order) == 1:
                raise Refused("WOULD_TAKE_LIQUIDITY")
        if self.free(order.account, self.pays(order)) < needed:
            raise Refused("INSUFFICIENT_BALANCE")
        self.check_proceeds(order, limit)
        return limit

    def check_proceeds(self, order: Order, limit: int) -> None:
        if order.instrument not in self.mirrors:
            return
        rules = self.instruments[order.instrument]
        if order.side == BUY:
            self.check_move(OUTSIDE, order.account, rules.base_asset, order.leaves * rules.base_per_lot)
        else:
            best = self.best_available(order)
            price = max(limit, best if best is not None and crosses(SELL, limit, best) else 0)
            self.check_move(OUTSIDE, order.account, rules.quote_asset, price * order.leaves * rules.quote_per_tick_lot)

    def size(self, order: Order) -> None:
        if order.has(QUOTE_QTY):
            limit = order.price if order.has(PROTECTED) else INF if order.side == BUY else 1
            order.qty = self.lots_for_amount(order, limit)
            if not order.qty:
                any_offer = any(crosses(order.side, limit, price) for price, _ in self.offers(order))
                raise Refused("QTY_BELOW_MIN" if any_offer else "NO_LIQUIDITY")
        elif order.has(REDUCE_ONLY | CLOSE_POSITION):
            most = self.reducible(order)
            if not most:
                raise Refused("REDUCE_ONLY_VIOLATION")
            order.qty = most if order.has(CLOSE_POSITION) else min(order.qty, order.cum_qty + most)
        order.command = order.command._replace(qty=order.qty + order.awaited)

    def lots_for_amount(self, order: Order, limit: int) -> int:
        """Level by level, as many whole lots as the money buys."""
        rules = self.instruments[order.instrument]
        bought, cost = 0, 0
        for price, lots in self.offers(order):
            if not crosses(order.side, limit, price):
                break
            step = 0
            # The most of this level that fits: try all bits from the highest.
            for bit in range(62, -1, -1):
                if (
                    step + 2**bit <= lots
                    and self.comes_to(order, rules, cost + (step + 2**bit) * price) <= order.command.amount
                ):
                    step += 2**bit
            bought, cost = bought + step, cost + step * price
            if step < lots:
                break
        return bought

    @staticmethod
    def comes_to(order: Order, rules: InstrumentDef, cost: int) -> int:
        notional = cost * rules.quote_per_tick_lot
        if notional > MAX_MONEY:
            return 2**70
        return notional - (-order.taker_fee_ppm * notional // 1_000_000 if order.side == BUY else 0)

    def check_kind(self, order: Order) -> None:
        command = order.command
        if not 1 <= command.order_type <= 11:
            raise Refused("UNSUPPORTED_ORDER_TYPE")
        if order.instrument in self.mirrors and command.order_type in (ICEBERG, HIDDEN):
            raise Refused("UNSUPPORTED_ORDER_TYPE")
        timed = command.time_in_force in (GTD, DAY)
        if (
            command.time_in_force not in (GTC, IOC, FOK, GTD, DAY)
            or (command.order_type in (ICEBERG, HIDDEN, *CONDITIONAL) and command.time_in_force in (IOC, FOK))
            or (command.order_type == MARKET and timed)
        ):
            raise Refused("UNSUPPORTED_TIME_IN_FORCE")
        market = command.order_type in MARKETS
        if (
            (command.expire_ns and not timed)
            or command.side not in (BUY, SELL)
            or command.flags & ~(POST_ONLY | SLIDE | PROTECTED | DISCONNECT | REDUCE_ONLY | CLOSE_POSITION | QUOTE_QTY)
            or not self.sizes_make_sense(order)
            or (order.has(POST_ONLY | SLIDE) and (market or command.time_in_force in (IOC, FOK) or command.min_qty))
            or (order.has(PROTECTED) and not market)
            or command.stp_mode > 5
            or command.stp_group >= 2**31
        ):
            raise Refused("INVALID_COMMAND")

    @staticmethod
    def sizes_make_sense(order: Order) -> bool:
        command = order.command
        flags = [flag for flag in (REDUCE_ONLY, CLOSE_POSITION, QUOTE_QTY) if order.has(flag)]
        if bool(command.amount) != order.has(QUOTE_QTY) or len(flags) > 1:
            return False
        if flags and (command.min_qty or command.order_type == ICEBERG):
            return False
        if flags == [QUOTE_QTY]:
            return command.order_type == MARKET and 0 < command.amount <= MAX_MONEY
        return flags != [CLOSE_POSITION] or command.order_type in MARKETS - {MARKET_TO_LIMIT}

    def check_trigger(self, order: Order) -> None:
        command = order.command
        if command.order_type not in CONDITIONAL:
            if command.trigger_price or command.trigger_source or command.trailing_offset or command.trailing_unit:
                raise Refused("INVALID_COMMAND")
            return
        bound = 2**60
        trailing = command.order_type in TRAILING
        if command.trigger_source in (4, 5):
            raise Refused("UNSUPPORTED_TRIGGER_SOURCE")
        if (
            command.trigger_source > 3
            or order.has(POST_ONLY | SLIDE)
            or command.min_qty
            or not 0 <= command.trigger_price <= (bound if not trailing or order.waiting == 2 else 2**63)
            or not 0 <= command.price <= bound
        ):
            raise Refused("INVALID_COMMAND")
        if trailing:
            if not (
                (command.trailing_unit == 1 and 0 < command.trailing_offset <= bound)
                or (command.trailing_unit == 2 and 0 < command.trailing_offset < 10_000)
            ):
                raise Refused("INVALID_COMMAND")
        elif not command.trigger_price or command.trailing_offset or command.trailing_unit:
            raise Refused("INVALID_COMMAND")

    def check_numbers(self, order: Order) -> None:
        command, rules = order.command, self.instruments[order.instrument]
        distance = command.order_type == TRAILING_STOP_LIMIT and order.waiting in (1, 2, 3)
        priced = (command.order_type not in MARKETS or order.has(PROTECTED)) and not distance
        iceberg = command.order_type == ICEBERG
        if not distance and (command.price <= 0 if priced else command.price != 0):
            raise Refused("INVALID_COMMAND")
        if order.has(CLOSE_POSITION) and order.waiting:
            if command.qty:
                raise Refused("INVALID_COMMAND")
            return
        if (
            command.qty <= 0
            or (command.price <= 0 if priced else command.price != 0 and not distance)
            or not 0 <= command.min_qty <= command.qty
            or (not 0 < command.display_qty <= command.qty if iceberg else command.display_qty != 0)
        ):
            raise Refused("INVALID_COMMAND")
        if command.qty < rules.min_qty and not order.followed:
            raise Refused("QTY_BELOW_MIN")
        if rules.max_qty and command.qty > rules.max_qty:
            raise Refused("QTY_ABOVE_MAX")
        notional = command.price * command.qty * rules.quote_per_tick_lot if priced else 0
        if command.qty * rules.base_per_lot > MAX_MONEY or notional > MAX_MONEY:
            raise Refused("AMOUNT_OVERFLOW")
        if priced and notional < rules.min_notional and not order.followed:
            raise Refused("NOTIONAL_BELOW_MIN")

    def check_state(self, order: Order) -> None:
        for status in (self.status[0], self.status[order.instrument]):
            if status == TradingStatus.TRADING_STATUS_REDUCE_ONLY and order.has(REDUCE_ONLY | CLOSE_POSITION):
                continue
            if status != TradingStatus.TRADING_STATUS_OPEN:
                raise Refused({2: "TRADING_HALTED", 3: "TRADING_CANCEL_ONLY", 4: "TRADING_REDUCE_ONLY"}[status])
        mirror = self.mirrors.get(order.instrument)
        if mirror and self.accounts[order.account].mode == AccountMode.ACCOUNT_MODE_LIVE:
            raise Refused("ACCOUNT_MODE")
        if mirror and not mirror.live:
            raise Refused("STALE_MARKET_DATA")

    def offers(self, order: Order) -> list[tuple[int, int]]:
        """(price, lots) an order of this side could take, best first, self-trade prevention left aside."""
        mirror = self.mirrors.get(order.instrument)
        opposite = SELL if order.side == BUY else BUY
        if mirror:
            return [
                (level.price, level.qty - level.consumed)
                for level in mirror.shown[opposite]
                if level.qty > level.consumed
            ]
        return [(maker.price, maker.leaves) for maker in self.queue(order.instrument, opposite)]

    def price_market_order(self, order: Order, limit: int) -> tuple[int, int]:
        rules = self.instruments[order.instrument]
        left, cost, worst = order.leaves, 0, None
        offers = self.offers(order)
        for price, lots in offers:
            if left == 0 or not crosses(order.side, limit, price):
                break
            step = min(left, lots)
            left, cost, worst = left - step, cost + step * price, price
        if worst is None:
            raise Refused("SLIPPAGE_LIMIT" if offers else "NO_LIQUIDITY")
        notional = cost * rules.quote_per_tick_lot
        if notional > MAX_MONEY:
            raise Refused("AMOUNT_OVERFLOW")
        if notional < rules.min_notional and not order.followed:
            raise Refused("NOTIONAL_BELOW_MIN")
        if order.command.order_type == MARKET_TO_LIMIT or order.command.stp_mode > 1:
            notional = worst * order.leaves * rules.quote_per_tick_lot
            if notional > MAX_MONEY:
                raise Refused("AMOUNT_OVERFLOW")
        if order.side == SELL:
            return worst, order.leaves * rules.base_per_lot
        return worst, notional + -(-max(order.maker_fee_ppm, order.taker_fee_ppm) * notional // 1_000_000)

    def best_available(self, order: Order) -> int | None:
        offers = self.offers(order)
        return offers[0][0] if offers else None

    def best_opposite(self, order: Order) -> int | None:
        """The best price post-only is judged by: of a mirror what is displayed, consumed or not."""
        mirror = self.mirrors.get(order.instrument)
        if mirror:
            shown = mirror.shown[SELL if order.side == BUY else BUY]
            return shown[0].price if shown else None
        return self.best_available(order)

    def check_against_market(self, order: Order, limit: int) -> None:
        """What only the market can refuse: post-only, fill-or-kill, minimum quantity, too many iceberg slices."""
        command = order.command
        if 0 < command.display_qty < order.leaves // ICEBERG_MAX_SLICES:
            raise Refused("QTY_BELOW_MIN")
        best = self.best_opposite(order)
        if order.has(POST_ONLY | SLIDE):
            if best is not None and crosses(order.side, limit, best) and not order.has(SLIDE):
                raise Refused("WOULD_TAKE_LIQUIDITY")
            return
        need = command.qty if command.time_in_force == FOK else command.min_qty
        if need:
            trial, taker = self.trial(order)
            taker.resting = False
            trial.take(taker, limit)
            if taker.cum_qty < need:
                raise Refused("FOK_NOT_FILLABLE" if command.time_in_force == FOK else "MIN_QTY_NOT_FILLABLE")

    # -- matching --

    def trial(self, order: Order) -> tuple[ExchangeTwin, Order]:
        """A copy to try out what an order would do, and the order there."""
        trial = copy.copy(self)
        trial.live = [copy.copy(each) for each in self.live]
        trial.totals, trial.last_price = dict(self.totals), dict(self.last_price)
        trial.positions = {key: copy.copy(position) for key, position in self.positions.items()}
        trial.mirrors = copy.deepcopy(self.mirrors)
        trial.events, trial.executed, trial.touched, trial.changed = [], [], [], []
        return trial, next(each for each in trial.live if each.order_id == order.order_id)

    def queue(self, instrument: int, side: int) -> list[Order]:
        """Resting orders of a side in the order they trade."""
        resting = [o for o in self.live if o.resting and o.instrument == instrument and o.side == side]
        return sorted(resting, key=lambda o: (-o.price if side == BUY else o.price, o.hidden, o.priority))

    def owner(self, order: Order) -> tuple[str, int]:
        group = order.command.stp_group
        return ("group", group) if group else ("account", order.account)

    def take(self, taker: Order, limit: int) -> bool:
        """Trade against the book or the mirror. True: self-trade prevention stopped it."""
        if taker.instrument in self.mirrors:
            self.take_from_mirror(taker, limit)
            return False
        opposite = SELL if taker.side == BUY else BUY
        while taker.leaves:
            queue = self.queue(taker.instrument, opposite)
            if not queue or not crosses(taker.side, limit, queue[0].price):
                return False
            maker = queue[0]
            if taker.command.stp_mode > 1 and self.owner(maker) == self.owner(taker):
                if self.prevent_self_trade(maker, taker):
                    return True
                continue
            lots = min(taker.leaves, maker.may_trade)
            self.trade(maker, taker, maker.price, lots)
            if maker.command.order_type == ICEBERG and maker.leaves:
                maker.slice -= lots
                if maker.slice == 0:
                    maker.slice = min(maker.command.display_qty, maker.leaves)
                    self.requeue(maker)
        return False

    def prevent_self_trade(self, maker: Order, taker: Order) -> bool:
        """True: the taker stops here."""
        mode = taker.command.stp_mode
        reason = CancelReason.CANCEL_REASON_SELF_TRADE
        if mode == SelfTradePrevention.SELF_TRADE_PREVENTION_CANCEL_NEWEST:
            return True
        if mode == SelfTradePrevention.SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL:
            lots = min(maker.leaves, taker.leaves)
            for order in (maker, taker):
                if order.leaves == lots:
                    self.close(order, reason)
                else:
                    order.qty -= lots
                    order.slice = min(order.slice, order.leaves)
                    self.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
            return taker.status == CANCELED
        self.close(maker, reason)
        return mode == SelfTradePrevention.SELF_TRADE_PREVENTION_CANCEL_BOTH

    def trade(self, maker: Order | None, taker: Order | None, price: int, lots: int) -> None:
        """None is the venue."""
        orders = [order for order in (maker, taker) if order]
        rules = self.instruments[orders[0].instrument]
        notional = price * lots * rules.quote_per_tick_lot
        self.trade_id += 1
        self.last_fill_price = price
        if orders[0].instrument not in self.mirrors:
            self.last_price[orders[0].instrument] = price
        fees = {}
        for order in orders:
            rate = order.maker_fee_ppm if order is maker else order.taker_fee_ppm
            fees[order.order_id] = self.execute(order, lots, notional, rate)
            if not order.leaves:
                order.resting, order.waiting = False, 4 if order.awaited else 0
        accounts = [order.account if order else OUTSIDE for order in (maker, taker)]
        maker_buys = maker.side == BUY if maker else taker is not None and taker.side == SELL
        buyer, seller = accounts if maker_buys else accounts[::-1]
        self.move(buyer, seller, rules.quote_asset, notional)
        self.move(seller, buyer, rules.base_asset, lots * rules.base_per_lot)
        for order in orders:
            self.move(order.account, FEES, rules.quote_asset, fees[order.order_id])
            counter = taker if order is maker else maker
            self.emit_order(
                EventKind.EVENT_ORDER_FILLED, order, last_price=price, last_qty=lots, trade_id=self.trade_id,
                counter_order_id=counter.order_id if counter else 0, fee=fees[order.order_id],
                liquidity=int(Liquidity.LIQUIDITY_MAKER if order is maker else Liquidity.LIQUIDITY_TAKER),
            )  # fmt: skip

    # -- mirror --

    def take_from_mirror(self, taker: Order, limit: int) -> None:
        for level in self.mirrors[taker.instrument].shown[SELL if taker.side == BUY else BUY]:
            lots = min(taker.leaves, level.qty - level.consumed)
            if lots > 0 and crosses(taker.side, limit, level.price):
                level.consumed += lots
                self.trade(None, taker, level.price, lots)

    @staticmethod
    def displayed(mirror: Mirror, side: int, price: int) -> int | None:
        """None: worse than all that is shown."""
        for level in mirror.shown[side]:
            if level.price == price:
                return level.qty
            if better(side, price, level.price):
                return 0
        return None

    def mirror(self, command: Command) -> None:
        mirror = self.mirrors.get(command.instrument)
        if mirror is None:
            raise Refused("INSTRUMENT_NOT_FOUND")
        if command.kind == CommandKind.COMMAND_MIRROR_BEGIN:
            mirror.incoming = {BUY: [], SELL: []}
            mirror.incoming_live = command.flags == 1
            mirror.broken = False
            mirror.live = mirror.live and mirror.incoming_live
        elif command.kind == CommandKind.COMMAND_MIRROR_LEVEL:
            self.mirror_level(mirror, command)
        elif command.kind == CommandKind.COMMAND_MIRROR_END:
            self.mirror_end(mirror, command.instrument)
        else:
            if command.price <= 0 or command.qty < 0 or command.side not in (BUY, SELL):
                raise Refused("INVALID_COMMAND")
            if command.kind == CommandKind.COMMAND_MIRROR_CANCELED:
                self.canceled_at_venue(command)
            elif mirror.live:
                self.printed(mirror, command)

    @staticmethod
    def mirror_level(mirror: Mirror, command: Command) -> None:
        side = command.side
        if mirror.incoming is None or side not in (BUY, SELL) or command.price <= 0 or command.qty <= 0:
            mirror.broken = True
            raise Refused("INVALID_COMMAND")
        levels = mirror.incoming[side]
        if levels and not better(side, levels[-1].price, command.price):
            mirror.broken = True
            raise Refused("INVALID_COMMAND")
        if len(levels) < MIRROR_LEVELS:
            levels.append(Level(command.price, command.qty))

    def mirror_end(self, mirror: Mirror, instrument: int) -> None:
        picture, mirror.incoming = mirror.incoming, None
        if (
            picture is None
            or mirror.broken
            or (picture[BUY] and picture[SELL] and picture[BUY][0].price >= picture[SELL][0].price)
        ):
            mirror.live = False
            raise Refused("INVALID_COMMAND")
        if not mirror.incoming_live:
            return
        for side in (BUY, SELL):
            consumed = {level.price: level.consumed for level in mirror.shown[side]} | mirror.beyond[side]
            for level in picture[side]:
                level.consumed = min(consumed.get(level.price, 0), level.qty)
            unseen = [p for p in consumed if consumed[p] and all(better(side, level.price, p) for level in picture[side])]
            unseen.sort(reverse=side == BUY)
            mirror.beyond[side] = {price: consumed[price] for price in unseen[:MIRROR_LEVELS]}
        mirror.shown, mirror.live = picture, True
        self.touch(instrument)
        for side in (BUY, SELL):
            for order in self.queue(instrument, side):
                left = order.leaves
                filled = 0
                if not self.world_can_pay(order, left):
                    break
                reach = order.price
                if self.paper_model(instrument) == PaperModel.PAPER_MODEL_PESSIMISTIC:
                    reach += -1 if side == BUY else 1
                for level in mirror.shown[SELL if side == BUY else BUY]:
                    if crosses(side, reach, level.price):
                        lots = min(left - filled, level.qty - level.consumed)
                        level.consumed += lots
                        filled += lots
                if not filled:
                    break
                self.trade(order, None, order.price, filled)

    def paper_model(self, instrument: int) -> PaperModel:
        return PaperModel(self.instruments[instrument].paper_model or PaperModel.PAPER_MODEL_QUEUE)

    def canceled_at_venue(self, command: Command) -> None:
        """Some of what is displayed at a price was canceled: in proportion, some of it ahead of our orders."""
        if not 0 < command.qty <= command.display_qty:
            raise Refused("INVALID_COMMAND")
        if self.mirrors[command.instrument].live:
            for order in self.queue(command.instrument, command.side):
                if order.price == command.price and order.queue_ahead:
                    order.queue_ahead -= order.queue_ahead * command.qty // command.display_qty

    def world_can_pay(self, order: Order, lots: int) -> bool:
        rules = self.instruments[order.instrument]
        try:
            if order.side == BUY:
                self.check_move(OUTSIDE, order.account, rules.base_asset, lots * rules.base_per_lot)
            else:
                self.check_move(
                    OUTSIDE, order.account, rules.quote_asset, lots * order.price * rules.quote_per_tick_lot
                )
        except Refused:
            return False
        return True

    def printed(self, mirror: Mirror, trade: Command) -> None:
        side = SELL if trade.side == BUY else BUY
        left = trade.qty
        self.last_price[trade.instrument] = trade.price
        self.touch(trade.instrument)
        for order in self.queue(trade.instrument, side) if trade.qty else ():
            if better(side, trade.price, order.price):
                break
            lots = min(left, order.leaves)
            model = self.paper_model(trade.instrument)
            if order.price == trade.price and model == PaperModel.PAPER_MODEL_PESSIMISTIC:
                continue
            if order.price == trade.price and model == PaperModel.PAPER_MODEL_QUEUE:
                if order.queue_ahead is None:
                    order.queue_ahead = self.displayed(mirror, side, order.price) or 0
                lots = min(lots, max(0, trade.qty - order.queue_ahead))
                order.queue_ahead = max(0, order.queue_ahead - trade.qty)
            if lots:
                if not self.world_can_pay(order, lots):
                    break
                self.trade(order, None, order.price, lots)
                left -= lots

    # -- views --

    def depth(self, instrument: int) -> tuple[list[tuple[int, int, int]], ...]:
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
