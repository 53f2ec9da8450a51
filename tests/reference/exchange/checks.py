"""What is checked before an order enters, in the order in which its reasons are given.

Only what is seen in the market is checked against the market; whether an order can be filled is found out by filling
it on a copy.
"""

from __future__ import annotations

from fastpath.model.enums import AccountMode, TradingStatus
from tests.reference.exchange.ledger import (
    check_move,
    free,
    max_amount,
    max_quote_money,
    pays,
    required,
    units_of_money,
)
from tests.reference.exchange.market import best_available, best_opposite, offers, take
from tests.reference.exchange.orders import (
    BUY,
    CLOSE_POSITION,
    CONDITIONAL,
    DAY,
    DISCONNECT,
    FOK,
    GTC,
    GTD,
    HIDDEN,
    ICEBERG,
    ICEBERG_MAX_SLICES,
    INDEX,
    INF,
    IOC,
    MARK,
    MARKET,
    MARKET_TO_LIMIT,
    MARKETS,
    MAX_LOTS,
    MAX_TICKS,
    OUTSIDE,
    POST_ONLY,
    PROTECTED,
    QUOTE_QTY,
    REDUCE_ONLY,
    SELL,
    SLIDE,
    TRAILING,
    TRAILING_STOP_LIMIT,
    Order,
    Refused,
    crosses,
)
from tests.reference.exchange.paper import travel_ns
from tests.reference.exchange.sizing import size
from tests.reference.exchange.state import State, units_per_lot


def check_new(state: State, order: Order) -> int:
    """The worst price the order may trade at; raises Refused."""
    check_tradable(state, order)
    check_kind(state, order)
    if order.waiting or order.command.order_type not in CONDITIONAL:
        check_trigger(order)
    source = order.command.trigger_source
    if order.waiting and source in (MARK, INDEX) and not state.reference_price(order.instrument, source):
        raise Refused("UNSUPPORTED_TRIGGER_SOURCE")
    if order.has(QUOTE_QTY | CLOSE_POSITION) and order.qty:
        raise Refused("INVALID_COMMAND")
    if not order.waiting and order.qty >= 0:
        size(state, order)
    check_numbers(state, order)
    if order.command.time_in_force in (GTD, DAY) and order.expire_ns <= order.placed_ns:
        raise Refused("EXPIRE_TIME_IN_PAST")
    check_state(state, order)
    if order.waiting:
        return 0
    market = order.command.order_type in MARKETS
    limit = order.price
    if market and not order.has(PROTECTED):
        limit = INF if order.side == BUY else -INF
    if market:
        limit, needed = price_market_order(state, order, limit)
        if travel_ns(state, order) and not order.has(QUOTE_QTY | CLOSE_POSITION):
            needed = max(needed, required(state, order, order.price, order.leaves))
    else:
        needed = required(state, order, order.price, order.leaves)
        if order.has(SLIDE) and order.side == BUY and best_opposite(state, order) == 1:
            raise Refused("WOULD_TAKE_LIQUIDITY")
    if free(state, order.account, pays(state, order)) < needed:
        raise Refused("INSUFFICIENT_BALANCE")
    check_proceeds(state, order, limit)
    return limit


def check_tradable(state: State, order: Order) -> None:
    """Some instruments are market data only, whatever their trading status."""
    if not state.instruments[order.instrument].tradable:
        raise Refused("NOT_TRADABLE")


def check_kind(state: State, order: Order) -> None:
    """Type, time in force and flags exist here and go together."""
    command = order.command
    if not 1 <= command.order_type <= 11:
        raise Refused("UNSUPPORTED_ORDER_TYPE")
    if order.instrument in state.mirrors and command.order_type in (ICEBERG, HIDDEN):
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
        or not sizes_make_sense(state, order)
        or (order.has(POST_ONLY | SLIDE) and (market or command.time_in_force in (IOC, FOK) or command.min_qty))
        or (order.has(PROTECTED) and not market)
        or command.stp_mode > 5
        or command.stp_group >= 2**31
    ):
        raise Refused("INVALID_COMMAND")


def sizes_make_sense(state: State, order: Order) -> bool:
    command, rules = order.command, state.instruments[order.instrument]
    flags = [flag for flag in (REDUCE_ONLY, CLOSE_POSITION, QUOTE_QTY) if order.has(flag)]
    if bool(command.amount) != order.has(QUOTE_QTY) or len(flags) > 1:
        return False
    if flags and (command.min_qty or command.order_type == ICEBERG):
        return False
    if flags == [QUOTE_QTY]:
        return command.order_type == MARKET and 0 < command.amount <= max_quote_money(state, rules)
    return flags != [CLOSE_POSITION] or command.order_type in MARKETS - {MARKET_TO_LIMIT}


def check_trigger(order: Order) -> None:
    command = order.command
    if command.order_type not in CONDITIONAL:
        if command.trigger_price or command.trigger_source or command.trailing_offset or command.trailing_unit:
            raise Refused("INVALID_COMMAND")
        return
    bound = 2**60
    trailing = command.order_type in TRAILING
    if (
        command.trigger_source > INDEX
        or order.has(POST_ONLY | SLIDE)
        or command.min_qty
        or not 0 <= command.trigger_price <= (bound if not trailing or order.waiting != 1 else 2**63)
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


def check_numbers(state: State, order: Order) -> None:
    """Prices and quantities against the instrument's rules."""
    command, rules = order.command, state.instruments[order.instrument]
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
    most = max_amount(state.assets[rules.base_asset])
    if (
        command.qty > MAX_LOTS
        or (priced and command.price > MAX_TICKS)
        or command.qty * units_per_lot(state, rules) > most
        or notional > max_quote_money(state, rules)
    ):
        raise Refused("AMOUNT_OVERFLOW")
    if priced and notional < rules.min_notional and not order.followed:
        raise Refused("NOTIONAL_BELOW_MIN")


def check_state(state: State, order: Order) -> None:
    """Who may trade what now: trading status, kind of account, market data that is not stale."""
    for status in (state.status[0], state.status[order.instrument]):
        if status == TradingStatus.TRADING_STATUS_REDUCE_ONLY and order.has(REDUCE_ONLY | CLOSE_POSITION):
            continue
        if status != TradingStatus.TRADING_STATUS_OPEN:
            raise Refused({2: "TRADING_HALTED", 3: "TRADING_CANCEL_ONLY", 4: "TRADING_REDUCE_ONLY"}[status])
    mirror = state.mirrors.get(order.instrument)
    if mirror and state.accounts[order.account].mode == AccountMode.ACCOUNT_MODE_LIVE:
        raise Refused("ACCOUNT_MODE")
    if mirror and not mirror.live:
        raise Refused("STALE_MARKET_DATA")


def check_proceeds(state: State, order: Order, limit: int) -> None:
    """What a venue would pay out must be money the ledger can hold."""
    if order.instrument not in state.mirrors:
        return
    rules = state.instruments[order.instrument]
    if order.side == BUY:
        check_move(state, OUTSIDE, order.account, rules.base_asset, order.leaves * units_per_lot(state, rules))
    else:
        best = best_available(state, order)
        price = max(limit, best if best is not None and crosses(SELL, limit, best) else 0)
        notional = price * order.leaves * rules.quote_per_tick_lot * units_of_money(state, rules)
        check_move(state, OUTSIDE, order.account, rules.quote_asset, notional)


def check_against_market(state: State, order: Order, limit: int) -> None:
    """What only the market can refuse: post-only, fill-or-kill, minimum quantity, too many iceberg slices."""
    command = order.command
    if 0 < command.display_qty < order.leaves // ICEBERG_MAX_SLICES:
        raise Refused("QTY_BELOW_MIN")
    best = best_opposite(state, order)
    if order.has(POST_ONLY | SLIDE):
        if best is not None and crosses(order.side, limit, best) and not order.has(SLIDE):
            raise Refused("WOULD_TAKE_LIQUIDITY")
        return
    need = command.qty if command.time_in_force == FOK else command.min_qty
    if need:
        trial, taker = state.trial(order)
        taker.resting = False
        take(trial, taker, limit)
        if taker.cum_qty < need:
            raise Refused("FOK_NOT_FILLABLE" if command.time_in_force == FOK else "MIN_QTY_NOT_FILLABLE")


def price_market_order(state: State, order: Order, limit: int) -> tuple[int, int]:
    """(worst price needed to fill it, what to set aside); raises Refused."""
    rules = state.instruments[order.instrument]
    left, cost, worst = order.leaves, 0, None
    offered = offers(state, order)
    for price, lots in offered:
        if left == 0 or not crosses(order.side, limit, price):
            break
        step = min(left, lots)
        left, cost, worst = left - step, cost + step * price, price
    if worst is None:
        raise Refused("SLIPPAGE_LIMIT" if offered else "NO_LIQUIDITY")
    notional = cost * rules.quote_per_tick_lot
    if notional > max_quote_money(state, rules):
        raise Refused("AMOUNT_OVERFLOW")
    if notional < rules.min_notional and not order.followed:
        raise Refused("NOTIONAL_BELOW_MIN")
    if order.command.order_type == MARKET_TO_LIMIT or order.command.stp_mode > 1:
        notional = worst * order.leaves * rules.quote_per_tick_lot
        if notional > max_quote_money(state, rules):
            raise Refused("AMOUNT_OVERFLOW")
    if order.side == SELL:
        return worst, order.leaves * units_per_lot(state, rules)
    notional += -(-max(order.maker_fee_ppm, order.taker_fee_ppm) * notional // 1_000_000)
    return worst, notional * units_of_money(state, rules)
