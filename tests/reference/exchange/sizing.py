"""Orders whose quantity the engine works out: for an amount of money, or up to the position."""

from __future__ import annotations

from tests.reference.exchange.ledger import max_quote_money, reducible
from tests.reference.exchange.market import offers
from tests.reference.exchange.orders import (
    BUY,
    CLOSE_POSITION,
    INF,
    PROTECTED,
    QUOTE_QTY,
    REDUCE_ONLY,
    Order,
    Refused,
    crosses,
)
from tests.reference.exchange.state import State
from tests.reference.records import InstrumentDef


def size(state: State, order: Order) -> None:
    if order.has(QUOTE_QTY):
        limit = order.price if order.has(PROTECTED) else INF if order.side == BUY else 1
        order.qty = lots_for_amount(state, order, limit)
        if not order.qty:
            any_offer = any(crosses(order.side, limit, price) for price, _ in offers(state, order))
            raise Refused("QTY_BELOW_MIN" if any_offer else "NO_LIQUIDITY")
    elif order.has(REDUCE_ONLY | CLOSE_POSITION):
        most = reducible(state, order)
        if not most:
            raise Refused("REDUCE_ONLY_VIOLATION")
        order.qty = most if order.has(CLOSE_POSITION) else min(order.qty, order.cum_qty + most)
    order.command = order.command._replace(qty=order.qty + order.awaited)


def lots_for_amount(state: State, order: Order, limit: int) -> int:
    """Level by level, as many whole lots as the money buys."""
    rules = state.instruments[order.instrument]
    bought, cost = 0, 0
    for price, lots in offers(state, order):
        if not crosses(order.side, limit, price):
            break
        step = 0
        # The most of this level that fits: try all bits from the highest.
        for bit in range(62, -1, -1):
            more = step + 2**bit
            if more <= lots and comes_to(state, order, rules, cost + more * price) <= order.command.amount:
                step = more
        bought, cost = bought + step, cost + step * price
        if step < lots:
            break
    return bought


def comes_to(state: State, order: Order, rules: InstrumentDef, cost: int) -> int:
    """What that costs with fees, or brings in before them."""
    notional = cost * rules.quote_per_tick_lot
    if notional > max_quote_money(state, rules):
        return 2**200
    return notional - (-order.taker_fee_ppm * notional // 1_000_000 if order.side == BUY else 0)
