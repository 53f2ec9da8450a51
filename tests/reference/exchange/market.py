"""What there is to trade with, and trading: price and time, icebergs, self-trade prevention, the venue's liquidity."""

from __future__ import annotations

from fastpath.model.enums import CancelReason, EventKind, Liquidity, SelfTradePrevention
from tests.reference.exchange.ledger import execute, move, units_of_money
from tests.reference.exchange.orders import (
    BUY,
    CANCELED,
    FEES,
    ICEBERG,
    INF,
    OUTSIDE,
    REDUCE_ONLY,
    SELL,
    Order,
    crosses,
)
from tests.reference.exchange.shrinking import close, follow_fill, siblings
from tests.reference.exchange.state import State, units_per_lot


def offers(state: State, order: Order) -> list[tuple[int, int]]:
    """(price, lots) an order of this side could take, best first, self-trade prevention left aside."""
    mirror = state.mirrors.get(order.instrument)
    opposite = SELL if order.side == BUY else BUY
    if mirror:
        return [
            (level.price, level.qty - level.consumed) for level in mirror.shown[opposite] if level.qty > level.consumed
        ]
    makers = state.queue(order.instrument, opposite)
    if any(siblings(maker) or maker.has(REDUCE_ONLY) for maker in makers):
        return offers_that_follow(state, order)
    return [(maker.price, maker.leaves) for maker in makers]


def offers_that_follow(state: State, order: Order) -> list[tuple[int, int]]:
    """Some makers shrink as others are filled: found out by filling all that there is on a copy."""
    trial, taker = state.trial(order)
    taker.resting, taker.qty, taker.cum_qty = False, 2**70, 0
    taker.command = taker.command._replace(stp_mode=0)
    take(trial, taker, INF if order.side == BUY else -INF)
    return [
        (event.last_price, event.last_qty)
        for event in trial.events
        if event.kind == EventKind.EVENT_ORDER_FILLED and event.order_id == order.order_id
    ]


def best_available(state: State, order: Order) -> int | None:
    if order.instrument in state.mirrors:
        offered = offers(state, order)
        return offered[0][0] if offered else None
    makers = state.queue(order.instrument, SELL if order.side == BUY else BUY)
    return makers[0].price if makers else None


def best_opposite(state: State, order: Order) -> int | None:
    """The best price post-only is judged by: of a mirror what is displayed, consumed or not."""
    mirror = state.mirrors.get(order.instrument)
    if mirror:
        shown = mirror.shown[SELL if order.side == BUY else BUY]
        return shown[0].price if shown else None
    return best_available(state, order)


def owner(order: Order) -> tuple[str | int, ...]:
    """Who counts as the same for self-trade prevention."""
    command = order.command
    return ("group", command.stp_owner, command.stp_group) if command.stp_group else ("account", order.account)


def take(state: State, taker: Order, limit: int) -> bool:
    """Trade against the book or the mirror. True: self-trade prevention stopped it."""
    if taker.instrument in state.mirrors:
        take_from_mirror(state, taker, limit)
        return False
    opposite = SELL if taker.side == BUY else BUY
    while taker.leaves:
        queue = state.queue(taker.instrument, opposite)
        if not queue or not crosses(taker.side, limit, queue[0].price):
            return False
        maker = queue[0]
        if taker.command.stp_mode > 1 and owner(maker) == owner(taker):
            if prevent_self_trade(state, maker, taker):
                return True
            continue
        lots = min(taker.leaves, maker.may_trade)
        trade(state, maker, taker, maker.price, lots)
        if maker.command.order_type == ICEBERG and maker.leaves:
            maker.slice -= lots
            if maker.slice == 0:
                maker.slice = min(maker.command.display_qty, maker.leaves)
                state.requeue(maker)
        if taker.leaves:
            follow_fill(state, maker, taker)
    return False


def take_from_mirror(state: State, taker: Order, limit: int) -> None:
    """The venue's liquidity is there once: what is taken is marked as consumed."""
    for level in state.mirrors[taker.instrument].shown[SELL if taker.side == BUY else BUY]:
        lots = min(taker.leaves, level.qty - level.consumed)
        if lots > 0 and crosses(taker.side, limit, level.price):
            level.consumed += lots
            trade(state, None, taker, level.price, lots)


def prevent_self_trade(state: State, maker: Order, taker: Order) -> bool:
    """True: the taker stops here."""
    mode = taker.command.stp_mode
    reason = CancelReason.CANCEL_REASON_SELF_TRADE
    if mode == SelfTradePrevention.SELF_TRADE_PREVENTION_CANCEL_NEWEST:
        return True
    if mode == SelfTradePrevention.SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL:
        lots = min(maker.leaves, taker.leaves)
        for order in (maker, taker):
            if order.leaves == lots:
                close(state, order, reason)
            else:
                order.qty -= lots
                order.slice = min(order.slice, order.leaves)
                state.emit_order(EventKind.EVENT_ORDER_AMENDED, order)
        return taker.status == CANCELED
    close(state, maker, reason)
    return mode == SelfTradePrevention.SELF_TRADE_PREVENTION_CANCEL_BOTH


def trade(state: State, maker: Order | None, taker: Order | None, price: int, lots: int) -> None:
    """One fill for both sides; None is the venue."""
    orders = [order for order in (maker, taker) if order]
    rules = state.instruments[orders[0].instrument]
    notional = price * lots * rules.quote_per_tick_lot
    state.trade_id += 1
    state.last_fill_price = price
    if orders[0].instrument not in state.mirrors:
        state.last_price[orders[0].instrument] = price
    fees = {}
    for order in orders:
        rate = order.maker_fee_ppm if order is maker else order.taker_fee_ppm
        fees[order.order_id] = execute(state, order, lots, notional, rate)
        if not order.leaves:
            order.resting, order.waiting = False, 4 if order.awaited else 0
    accounts = [order.account if order else OUTSIDE for order in (maker, taker)]
    maker_buys = maker.side == BUY if maker else taker is not None and taker.side == SELL
    buyer, seller = accounts if maker_buys else accounts[::-1]
    money = units_of_money(state, rules)
    move(state, buyer, seller, rules.quote_asset, notional * money)
    move(state, seller, buyer, rules.base_asset, lots * units_per_lot(state, rules))
    for order in orders:
        move(state, order.account, FEES, rules.quote_asset, fees[order.order_id] * money)
        counter = taker if order is maker else maker
        state.emit_order(
            EventKind.EVENT_ORDER_FILLED, order, last_price=price, last_qty=lots, trade_id=state.trade_id,
            counter_order_id=counter.order_id if counter else 0, fee=fees[order.order_id],
            liquidity=int(Liquidity.LIQUIDITY_MAKER if order is maker else Liquidity.LIQUIDITY_TAKER),
        )  # fmt: skip
