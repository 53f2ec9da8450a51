"""The matching engine again, as plainly as it can be written: dictionaries, lists and no cleverness.

Same commands in, same reports out, same state hash as `fastpath.standalone.matching_engine.MatchingEngine`. It is slow
and it is the oracle: when the two disagree, this one is right unless docs/matching.md says something else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fastpath.model.enums import CancelReason, RejectReason, SelfTradePrevention, Side, TimeInForce
from fastpath.standalone.matching_engine import EngineFlag, EngineOp, ReportKind

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MASK = 2**64 - 1
BUY, SELL = int(Side.SIDE_BUY), int(Side.SIDE_SELL)
ICEBERG_MAX_SLICES = 1024
OPS = frozenset(EngineOp)
FLAGS = sum(EngineFlag)


class Command(NamedTuple):
    op: int
    side: int = 0
    time_in_force: int = 0
    flags: int = 0
    instrument: int = 1
    id: int = 0
    price: int = 0
    qty: int = 0
    owner: int = 0
    stp_mode: int = 0
    min_qty: int = 0
    display_qty: int = 0


class Report(NamedTuple):
    seq: int
    kind: int
    op: int
    reason: int
    side: int
    instrument: int
    id: int
    maker_id: int = 0
    price: int = 0
    qty: int = 0
    leaves: int = 0
    maker_leaves: int = 0


@dataclass
class Order:
    id: int
    side: int
    price: int
    owner: int
    hidden: bool
    display: int
    qty: int  # what may trade now: an iceberg's slice, else everything open
    reserve: int = 0

    @property
    def leaves(self) -> int:
        return self.qty + self.reserve

    def reduce(self, by: int) -> None:
        from_reserve = min(by, self.reserve)
        self.reserve -= from_reserve
        self.qty -= by - from_reserve


@dataclass
class Arrival:
    """An order on its way in, new or amended."""

    id: int
    side: int
    time_in_force: int
    flags: int
    price: int
    qty: int
    owner: int
    stp_mode: int
    min_qty: int
    display_qty: int
    leaves: int = 0
    filled: int = 0
    last_price: int = 0
    happened: list[tuple[int, Order, int, int]] = field(default_factory=list)  # kind, maker, qty, maker leaves

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)

    @property
    def takes_only(self) -> bool:
        only = (TimeInForce.TIME_IN_FORCE_IOC, TimeInForce.TIME_IN_FORCE_FOK)
        return self.time_in_force in only or self.has(EngineFlag.ENGINE_MARKET)

    def crosses(self, maker: Order | None) -> bool:
        if maker is None:
            return False
        return maker.price <= self.price if self.side == BUY else maker.price >= self.price


class Book:
    def __init__(self) -> None:
        # (side, hidden) -> price -> orders, oldest first
        self.levels: dict[tuple[int, bool], dict[int, list[Order]]] = {
            (side, hidden): {} for hidden in (False, True) for side in (BUY, SELL)
        }

    def best(self, side: int, hidden: bool) -> int | None:
        prices = self.levels[side, hidden]
        if not prices:
            return None
        return max(prices) if side == BUY else min(prices)

    def prices(self, side: int, hidden: bool) -> list[int]:
        return sorted(self.levels[side, hidden], reverse=side == BUY)

    def orders(self, side: int, hidden: bool) -> Iterator[Order]:
        for price in self.prices(side, hidden):
            yield from self.levels[side, hidden][price]

    def first_against(self, side: int) -> Order | None:
        """The order a taker of `side` meets: best price first, displayed before hidden, oldest first."""
        other = SELL if side == BUY else BUY
        shown, hidden = self.best(other, False), self.best(other, True)
        if hidden is not None and (shown is None or (hidden > shown if other == BUY else hidden < shown)):
            return self.levels[other, True][hidden][0]
        return None if shown is None else self.levels[other, False][shown][0]

    def rest(self, order: Order) -> None:
        self.levels[order.side, order.hidden].setdefault(order.price, []).append(order)

    def remove(self, order: Order) -> None:
        prices = self.levels[order.side, order.hidden]
        prices[order.price] = [other for other in prices[order.price] if other is not order]
        if not prices[order.price]:
            del prices[order.price]


def trade(book: Book, taker: Arrival) -> bool:
    """Trade until nothing is left or nothing crosses; False: self-trade prevention cancels the taker."""
    while taker.leaves > 0:
        maker = book.first_against(taker.side)
        if maker is None or not taker.crosses(maker):
            return True
        is_own = taker.owner != 0 and maker.owner == taker.owner
        if is_own and taker.stp_mode > SelfTradePrevention.SELF_TRADE_PREVENTION_NONE:
            if not prevent_self_trade(book, taker, maker):
                return False
            continue
        qty = min(taker.leaves, maker.qty)
        taker.leaves -= qty
        taker.filled += qty
        taker.last_price = maker.price
        maker.qty -= qty
        if maker.qty == 0:
            book.remove(maker)
            if maker.reserve > 0:
                maker.qty = min(maker.display, maker.reserve)
                maker.reserve -= maker.qty
                book.rest(maker)
        taker.happened.append((ReportKind.REPORT_TRADE, maker, qty, maker.leaves))
    return True


def prevent_self_trade(book: Book, taker: Arrival, maker: Order) -> bool:
    mode = taker.stp_mode
    if mode == SelfTradePrevention.SELF_TRADE_PREVENTION_CANCEL_NEWEST:
        return False
    if mode == SelfTradePrevention.SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL:
        both = min(taker.leaves, maker.leaves)
        taker.leaves -= both
        maker.reduce(both)
        taker.happened.append((ReportKind.REPORT_DECREMENTED, maker, both, maker.leaves))
        if maker.leaves == 0:
            book.remove(maker)
        return maker.leaves == 0 and taker.leaves > 0
    book.remove(maker)
    taker.happened.append((ReportKind.REPORT_CANCELED, maker, maker.leaves, 0))
    return mode == SelfTradePrevention.SELF_TRADE_PREVENTION_CANCEL_OLDEST


def refusal(book: Book, taker: Arrival) -> int:
    """RejectReason of an arrival, 0: it is taken. So much of it rests already, and leaves first."""
    first = book.first_against(taker.side)
    crosses = taker.crosses(first)
    is_fok = taker.time_in_force == TimeInForce.TIME_IN_FORCE_FOK
    post_only, slide = taker.has(EngineFlag.ENGINE_POST_ONLY), taker.has(EngineFlag.ENGINE_POST_ONLY_SLIDE)
    market_to_limit = taker.has(EngineFlag.ENGINE_MARKET_TO_LIMIT)
    if taker.qty <= 0 or taker.display_qty < 0 or not 0 <= taker.min_qty <= taker.qty:
        return RejectReason.REJECT_REASON_INVALID_COMMAND
    if (post_only or slide) and (taker.min_qty > 0 or taker.takes_only or market_to_limit):
        return RejectReason.REJECT_REASON_INVALID_COMMAND
    if 0 < taker.display_qty < taker.qty // ICEBERG_MAX_SLICES:
        return RejectReason.REJECT_REASON_QTY_BELOW_MIN
    if first is not None and crosses and slide and first.price == (INT64_MIN if taker.side == BUY else INT64_MAX):
        return RejectReason.REJECT_REASON_WOULD_TAKE_LIQUIDITY
    if crosses and post_only and not slide:
        return RejectReason.REJECT_REASON_WOULD_TAKE_LIQUIDITY
    if not crosses and (taker.has(EngineFlag.ENGINE_MARKET) or market_to_limit):
        if first is None:
            return RejectReason.REJECT_REASON_NO_LIQUIDITY
        return RejectReason.REJECT_REASON_SLIPPAGE_LIMIT
    need = taker.qty if is_fok else taker.min_qty
    if need > 0:  # try it on a copy
        trial = copy.deepcopy(taker)
        trial.leaves = trial.qty
        trade(copy.deepcopy(book), trial)
        if trial.filled < need and is_fok:
            return RejectReason.REJECT_REASON_FOK_NOT_FILLABLE
        if trial.filled < need:
            return RejectReason.REJECT_REASON_MIN_QTY_NOT_FILLABLE
    return 0


class EngineTwin:
    def __init__(self, max_orders: int, instruments: list[int]) -> None:
        self.max_orders = max_orders
        self.books = {instrument: Book() for instrument in instruments}
        self.resting: dict[int, tuple[int, Order]] = {}  # id -> instrument, order
        self.seq = 0

    def submit(self, command: Command) -> list[Report]:
        self.seq += 1
        if command.instrument not in self.books:
            return [self._rejected(command, 0, RejectReason.REJECT_REASON_INSTRUMENT_NOT_FOUND)]
        if command.op not in OPS or command.flags & ~FLAGS:
            return [self._rejected(command, 0, RejectReason.REJECT_REASON_INVALID_COMMAND)]
        if command.op == EngineOp.ENGINE_NEW:
            return self._new(command)
        instrument, order = self.resting.get(command.id, (None, None))
        if order is None or instrument != command.instrument:
            return [self._rejected(command, 0, RejectReason.REJECT_REASON_ORDER_NOT_FOUND)]
        if command.op == EngineOp.ENGINE_CANCEL:
            return [self._canceled(command, order)]
        if command.op == EngineOp.ENGINE_REDUCE:
            return [self._reduced(command, order)]
        return self._changed(command, order)

    def _new(self, command: Command) -> list[Report]:
        if command.id == 0 or command.side not in (BUY, SELL):
            return [self._rejected(command, command.side, RejectReason.REJECT_REASON_INVALID_COMMAND)]
        if command.id in self.resting:
            return [self._rejected(command, command.side, RejectReason.REJECT_REASON_CLIENT_ORDER_ID_CONFLICT)]
        taker = Arrival(
            command.id, command.side, command.time_in_force, command.flags, command.price, command.qty,
            command.owner, command.stp_mode, command.min_qty, command.display_qty,
        )  # fmt: skip
        if not taker.takes_only and not self._finds_room(command.instrument, taker):
            return [self._rejected(command, command.side, RejectReason.REJECT_REASON_CAPACITY)]
        reason = refusal(self.books[command.instrument], taker)
        if reason:
            return [self._rejected(command, command.side, reason)]
        return self._arrive(ReportKind.REPORT_ACCEPTED, command, taker)

    def _finds_room(self, instrument: int, taker: Arrival) -> bool:
        """An order that may rest needs a place, or must meet somebody: then it rests only after somebody is gone."""
        post_only = taker.has(EngineFlag.ENGINE_POST_ONLY) or taker.has(EngineFlag.ENGINE_POST_ONLY_SLIDE)
        meets = taker.crosses(self.books[instrument].first_against(taker.side))
        return len(self.resting) < self.max_orders or (meets and not post_only)

    def _changed(self, command: Command, order: Order) -> list[Report]:
        is_move = command.op == EngineOp.ENGINE_MOVE
        if not is_move and command.price == order.price and 0 < command.qty <= order.leaves:
            order.reduce(order.leaves - command.qty)
            kind = ReportKind.REPORT_MODIFIED
            return [self._report(command, kind, order.side, 0, command.price, command.qty, command.qty)]
        flags = command.flags & (EngineFlag.ENGINE_POST_ONLY | EngineFlag.ENGINE_POST_ONLY_SLIDE)
        taker = Arrival(
            order.id, order.side, 0, flags | (EngineFlag.ENGINE_HIDDEN if order.hidden else 0), command.price,
            order.leaves if is_move else command.qty, order.owner, command.stp_mode, command.min_qty, order.display,
        )  # fmt: skip
        book = self.books[command.instrument]
        reason = refusal(book, taker)
        if reason:
            return [self._rejected(command, order.side, reason)]
        book.remove(order)
        del self.resting[order.id]
        return self._arrive(ReportKind.REPORT_MODIFIED, command, taker)

    def _arrive(self, kind: int, command: Command, taker: Arrival) -> list[Report]:
        """Trade, then rest or cancel what is left."""
        book = self.books[command.instrument]
        price = taker.price
        cancel_reason = 0
        taker.leaves = taker.qty
        first = book.first_against(taker.side)
        if taker.has(EngineFlag.ENGINE_POST_ONLY_SLIDE):
            if first is not None and taker.crosses(first):
                price = first.price - 1 if taker.side == BUY else first.price + 1
        elif not trade(book, taker):
            cancel_reason = CancelReason.CANCEL_REASON_SELF_TRADE
        market_to_limit = taker.has(EngineFlag.ENGINE_MARKET_TO_LIMIT)
        if taker.leaves > 0 and not cancel_reason:
            if market_to_limit and taker.filled > 0:
                price = taker.last_price
            if taker.takes_only or (market_to_limit and taker.filled == 0):
                cancel_reason = CancelReason.CANCEL_REASON_IOC_REMAINDER
                if market_to_limit or taker.has(EngineFlag.ENGINE_MARKET):
                    cancel_reason = CancelReason.CANCEL_REASON_MARKET_REMAINDER
            else:
                self._rest(command.instrument, taker, price)
        return self._told(kind, command, taker, price, cancel_reason)

    def _rest(self, instrument: int, taker: Arrival, price: int) -> None:
        hidden = taker.has(EngineFlag.ENGINE_HIDDEN)
        display = 0 if hidden else taker.display_qty
        shown = min(display, taker.leaves) if display else taker.leaves
        order = Order(taker.id, taker.side, price, taker.owner, hidden, display, shown, taker.leaves - shown)
        self.books[instrument].rest(order)
        self.resting[order.id] = (instrument, order)

    def _told(self, kind: int, command: Command, taker: Arrival, price: int, cancel_reason: int) -> list[Report]:
        rests = taker.leaves > 0 and not cancel_reason
        leaves = taker.qty
        reports = [self._report(command, kind, taker.side, 0, price if rests else taker.price, leaves, leaves)]
        for what, maker, qty, maker_leaves in taker.happened:
            if maker_leaves == 0:
                del self.resting[maker.id]
            if what == ReportKind.REPORT_CANCELED:
                reason = CancelReason.CANCEL_REASON_SELF_TRADE
                report = self._report(command, what, maker.side, reason, maker.price, qty)
                reports.append(report._replace(id=maker.id))
            else:
                leaves -= qty
                report = self._report(command, what, taker.side, 0, maker.price, qty, leaves)
                reports.append(report._replace(maker_id=maker.id, maker_leaves=maker_leaves))
        if cancel_reason:
            what = ReportKind.REPORT_CANCELED
            reports.append(self._report(command, what, taker.side, cancel_reason, taker.price, taker.leaves))
        return reports

    def _canceled(self, command: Command, order: Order) -> Report:
        self.books[command.instrument].remove(order)
        del self.resting[order.id]
        kind, reason = ReportKind.REPORT_CANCELED, CancelReason.CANCEL_REASON_REQUESTED
        return self._report(command, kind, order.side, reason, order.price, order.leaves)

    def _reduced(self, command: Command, order: Order) -> Report:
        if command.qty <= 0:
            return self._rejected(command, order.side, RejectReason.REJECT_REASON_INVALID_COMMAND)
        if command.qty >= order.leaves:
            return self._canceled(command, order)
        order.reduce(command.qty)
        kind = ReportKind.REPORT_REDUCED
        return self._report(command, kind, order.side, 0, order.price, command.qty, order.leaves)

    def _rejected(self, command: Command, side: int, reason: int) -> Report:
        return self._report(command, ReportKind.REPORT_REJECTED, side, reason, command.price, command.qty)

    def _report(
        self, command: Command, kind: int, side: int, reason: int, price: int, qty: int, leaves: int = 0
    ) -> Report:
        return Report(
            self.seq, int(kind), command.op, int(reason), side, command.instrument, command.id, 0, price, qty, leaves
        )

    def depth(self, instrument: int, side: int) -> list[tuple[int, int, int]]:
        levels = self.books[instrument].levels[side, False]
        return [
            (price, min(sum(order.qty for order in levels[price]), INT64_MAX), len(levels[price]))
            for price in self.books[instrument].prices(side, False)
        ]

    def orders(self, instrument: int, side: int) -> list[tuple[int, int, int, int, bool]]:
        return [
            (order.id, order.price, order.qty, order.reserve, hidden)
            for hidden in (False, True)
            for order in self.books[instrument].orders(side, hidden)
        ]

    def state_hash(self) -> int:
        state = 14695981039346656037
        for instrument in sorted(self.books):
            state = mix(state, instrument)
            for hidden in (False, True):
                for side in (BUY, SELL):
                    resting = list(self.books[instrument].orders(side, hidden))
                    state = mix(state, len(resting))
                    for order in resting:
                        for value in (order.price, order.id, order.qty, order.reserve, order.display, order.owner):
                            state = mix(state, value)
        return state


def mix(state: int, value: int) -> int:
    state = ((state ^ (value & MASK)) * 1099511628211) & MASK
    return state ^ (state >> 29)
