"""Paper trading on a mirrored venue: its book snapshots, its prints, its latency, and the three fill models.

What was taken from a book snapshot stays taken when the next one comes.
"""

from __future__ import annotations

from fastpath.model.enums import CancelReason, CommandKind, PaperModel, RejectReason
from tests.reference.exchange.ledger import check_move, max_quote_money, units_of_money
from tests.reference.exchange.market import trade
from tests.reference.exchange.orders import (
    BUY,
    CLOSE_POSITION,
    MIRROR_LEVELS,
    OUTSIDE,
    QUOTE_QTY,
    SELL,
    Level,
    Mirror,
    Order,
    Refused,
    better,
    crosses,
)
from tests.reference.exchange.shrinking import close, may_fill
from tests.reference.exchange.state import State, units_per_lot
from tests.reference.records import Command


def travel_ns(state: State, order: Order) -> int:
    """From here to the venue and back; 0 on an own book."""
    rules = state.instruments[order.instrument]
    return rules.latency_in_ns + rules.latency_out_ns


def is_far(state: State, order: Order) -> bool:
    """At a venue that takes time to reach, or on its way there."""
    return travel_ns(state, order) > 0 and (order.resting or order.waiting == 5)


def send_off(state: State, order: Order) -> None:
    """On its way to the venue."""
    order.waiting, order.arrival_ns = 5, state.command.ts_ns + travel_ns(state, order)
    if order.has(QUOTE_QTY | CLOSE_POSITION):
        order.qty = 0
    state.requeue(order)
    order.opened = state.priority


def displayed(mirror: Mirror, side: int, price: int) -> int | None:
    """None: worse than all that is shown."""
    for level in mirror.shown[side]:
        if level.price == price:
            return level.qty
        if better(side, price, level.price):
            return 0
    return None


def paper_model(state: State, instrument: int) -> PaperModel:
    return PaperModel(state.instruments[instrument].paper_model or PaperModel.PAPER_MODEL_QUEUE)


def mirror_command(state: State, command: Command) -> None:
    mirror = state.mirrors.get(command.instrument)
    if mirror is None:
        raise Refused("INSTRUMENT_NOT_FOUND")
    if command.kind == CommandKind.COMMAND_MIRROR_BEGIN:
        mirror.incoming = {BUY: [], SELL: []}
        mirror.incoming_live = command.flags == 1
        mirror.broken = False
        mirror.live = mirror.live and mirror.incoming_live
    elif command.kind == CommandKind.COMMAND_MIRROR_LEVEL:
        mirror_level(mirror, command)
    elif command.kind == CommandKind.COMMAND_MIRROR_END:
        mirror_end(state, mirror, command.instrument)
    else:
        if command.price <= 0 or command.qty < 0 or command.side not in (BUY, SELL):
            raise Refused("INVALID_COMMAND")
        if command.kind == CommandKind.COMMAND_MIRROR_CANCELED:
            canceled_at_venue(state, command)
        elif mirror.live:
            printed(state, mirror, command)


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


def mirror_end(state: State, mirror: Mirror, instrument: int) -> None:
    """The new book snapshot is complete: it replaces the old one, and fills those it reaches."""
    snapshot, mirror.incoming = mirror.incoming, None
    if (
        snapshot is None
        or mirror.broken
        or (snapshot[BUY] and snapshot[SELL] and snapshot[BUY][0].price >= snapshot[SELL][0].price)
    ):
        mirror.live = False
        raise Refused("INVALID_COMMAND")
    if not mirror.incoming_live:
        return
    for side in (BUY, SELL):
        consumed = {level.price: level.consumed for level in mirror.shown[side]} | mirror.beyond[side]
        for level in snapshot[side]:
            level.consumed = min(consumed.get(level.price, 0), level.qty)
        unseen = [p for p in consumed if consumed[p] and all(better(side, level.price, p) for level in snapshot[side])]
        unseen.sort(reverse=side == BUY)
        mirror.beyond[side] = {price: consumed[price] for price in unseen[:MIRROR_LEVELS]}
    mirror.shown, mirror.live = snapshot, True
    state.touch(instrument)
    for side in (BUY, SELL):
        for order in state.queue(instrument, side):
            left = may_fill(state, order)
            filled = 0
            reach = order.price
            if paper_model(state, instrument) == PaperModel.PAPER_MODEL_PESSIMISTIC:
                reach += -1 if side == BUY else 1
            if not can_receive(state, order, left):
                if not sees_all(state, order):
                    break
                opposite = mirror.shown[SELL if side == BUY else BUY]
                if any(crosses(side, reach, level.price) and level.qty > level.consumed for level in opposite):
                    close_full(state, order)
                continue
            for level in mirror.shown[SELL if side == BUY else BUY]:
                if crosses(side, reach, level.price):
                    lots = min(left - filled, level.qty - level.consumed)
                    level.consumed += lots
                    filled += lots
            if not left:
                continue
            if not filled:
                break
            trade(state, order, None, order.price, filled)


def printed(state: State, mirror: Mirror, command: Command) -> None:
    """A trade at the venue fills the orders it would have met."""
    side = SELL if command.side == BUY else BUY
    left = command.qty
    state.last_price[command.instrument] = command.price
    state.touch(command.instrument)
    for order in state.queue(command.instrument, side) if command.qty else ():
        if better(side, command.price, order.price):
            break
        lots = min(left, may_fill(state, order))
        model = paper_model(state, command.instrument)
        if order.price == command.price and model == PaperModel.PAPER_MODEL_PESSIMISTIC:
            continue
        if order.price == command.price and model == PaperModel.PAPER_MODEL_QUEUE:
            if order.queue_ahead is None:
                order.queue_ahead = displayed(mirror, side, order.price) or 0
            lots = min(lots, max(0, command.qty - order.queue_ahead))
            order.queue_ahead = max(0, order.queue_ahead - command.qty)
        if lots:
            if not can_receive(state, order, lots):
                if not sees_all(state, order):
                    break
                close_full(state, order)
                continue
            trade(state, order, None, order.price, lots)
            left -= lots


def canceled_at_venue(state: State, command: Command) -> None:
    """Some of what is displayed at a price was canceled: in proportion, some of it ahead of our orders."""
    if not 0 < command.qty <= command.display_qty:
        raise Refused("INVALID_COMMAND")
    if state.mirrors[command.instrument].live:
        for order in state.queue(command.instrument, command.side):
            if order.price == command.price and order.queue_ahead:
                order.queue_ahead -= order.queue_ahead * command.qty // command.display_qty


def sees_all(state: State, order: Order) -> bool:
    """Older builds stopped at the first order that could not be filled."""
    rules = state.instruments[order.instrument]
    return bool(state.assets[rules.base_asset if order.side == BUY else rules.quote_asset].first_scale)


def close_full(state: State, order: Order) -> None:
    order.reject_reason = int(RejectReason.REJECT_REASON_AMOUNT_OVERFLOW)
    close(state, order, CancelReason.CANCEL_REASON_AMOUNT_OVERFLOW)


def can_receive(state: State, order: Order, lots: int) -> bool:
    """Whether the account could hold what the venue pays."""
    rules = state.instruments[order.instrument]
    try:
        if order.side == BUY:
            check_move(state, OUTSIDE, order.account, rules.base_asset, lots * units_per_lot(state, rules))
        else:
            notional = lots * order.price * rules.quote_per_tick_lot
            if notional > max_quote_money(state, rules):
                return False
            check_move(state, OUTSIDE, order.account, rules.quote_asset, notional * units_of_money(state, rules))
    except Refused:
        return False
    return True
