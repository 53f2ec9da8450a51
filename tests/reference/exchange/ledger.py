"""Money and positions: what is reserved, what is free, what a fill changes.

Nothing reserved is remembered: it is the sum over the open orders, each time.
"""

from __future__ import annotations

from fastpath.model.enums import EventKind
from tests.reference.exchange.orders import (
    BUY,
    CONDITIONAL,
    FEES,
    FILLED,
    MAX_MONEY,
    MAX_NARROW,
    MAX_SUPPLY,
    OUTSIDE,
    PARTIAL,
    SELL,
    Order,
    Position,
    Refused,
    toward_zero,
)
from tests.reference.exchange.state import State, units_per_lot
from tests.reference.records import AssetDef, InstrumentDef


def all_balances(state: State) -> dict[tuple[int, int], tuple[int, int]]:
    """(total, reserved) by account and asset."""
    reserved = dict.fromkeys(state.totals, 0)
    for order in state.live:
        if order.resting or order.waiting == 5 or (order.waiting == 6 and order.command.order_type not in CONDITIONAL):
            reserved[order.account, pays(state, order)] += required(state, order, order.price, order.leaves)
    return {key: (total, reserved[key]) for key, total in state.totals.items()}


def free(state: State, account: int, asset: int) -> int:
    total, reserved = all_balances(state).get((account, asset), (0, 0))
    return total - reserved


def move(state: State, source: int, target: int, asset: int, amount: int) -> None:
    state.totals[source, asset] = state.totals.get((source, asset), 0) - amount
    state.totals[target, asset] = state.totals.get((target, asset), 0) + amount


def check_move(state: State, source: int, target: int, asset: int, amount: int) -> None:
    """Raises Refused if either side would leave the range of money."""
    wide = state.assets[asset].first_scale
    most = (MAX_SUPPLY if target in (OUTSIDE, FEES) else MAX_MONEY) if wide else MAX_NARROW
    if (
        amount > most
        or state.totals.get((source, asset), 0) - amount < -(MAX_SUPPLY if wide else MAX_NARROW)
        or state.totals.get((target, asset), 0) + amount > most
    ):
        raise Refused("AMOUNT_OVERFLOW")


def max_amount(asset: AssetDef) -> int:
    """Of an order, or of what an account holds."""
    return MAX_MONEY if asset.first_scale else MAX_NARROW


def units_of_money(state: State, rules: InstrumentDef) -> int:
    """Units of the quote asset in one of the instrument's quote money."""
    quote = state.assets[rules.quote_asset]
    return 10 ** (quote.scale - (rules.quote_scale or quote.first_scale or quote.scale))


def max_quote_money(state: State, rules: InstrumentDef) -> int:
    """The largest amount of an order, in the instrument's quote money."""
    return max_amount(state.assets[rules.quote_asset]) // units_of_money(state, rules)


def pays(state: State, order: Order) -> int:
    """The asset the order spends."""
    rules = state.instruments[order.instrument]
    return rules.quote_asset if order.side == BUY else rules.base_asset


def required(state: State, order: Order, price: int, lots: int) -> int:
    """What must be set aside for `lots` at `price`, fees at the worse of the two rates included."""
    rules = state.instruments[order.instrument]
    if order.side == SELL:
        return lots * units_per_lot(state, rules)
    notional = price * lots * rules.quote_per_tick_lot
    worst_ppm = max(order.maker_fee_ppm, order.taker_fee_ppm)
    worst = notional + -(-(order.fee_ppm + worst_ppm * notional) // 1_000_000) - order.fees
    return worst * units_of_money(state, rules)


def execute(state: State, order: Order, lots: int, notional: int, rate_ppm: int) -> int:
    """One side of a trade; returns the fee."""
    fees = order.fees
    order.fee_ppm += rate_ppm * notional
    order.cum_qty += lots
    order.cum_notional += notional
    order.status = PARTIAL if order.leaves or order.awaited else FILLED
    state.link_changed(order)
    key = (order.account, order.instrument)
    state.executed.append(key)
    units = lots * units_per_lot(state, state.instruments[order.instrument])
    average_cost(state.positions.setdefault(key, Position()), order.side, units, notional)
    return order.fees - fees


def average_cost(position: Position, side: int, units: int, notional: int) -> None:
    """A fill closes at the average cost first; the rest of it opens."""
    sign = 1 if side == BUY else -1
    closed = min(units, max(0, -sign * position.units))
    if closed:
        closed_notional = notional * closed // units
        closed_cost = toward_zero(position.cost * closed, abs(position.units))
        position.realized_pnl += -sign * closed_notional - closed_cost
        position.cost -= closed_cost
        position.units += sign * closed
        units, notional = units - closed, notional - closed_notional
    position.units += sign * units
    position.cost += sign * notional


def reducible(state: State, order: Order) -> int:
    """The most the order may trade without opening a position."""
    position = state.positions.get((order.account, order.instrument), Position())
    lots = state.lots(order.instrument, position)
    return max(0, -lots if order.side == BUY else lots)


def emit_ledger(state: State, before: dict[tuple[int, int], tuple[int, int]]) -> None:
    """What changed is the difference between the balances before and those now."""
    for account, instrument in sorted(set(state.executed)):
        position = state.positions[account, instrument]
        lots = state.lots(instrument, position)
        state.emit(
            EventKind.EVENT_POSITION_CHANGED,
            account=account,
            instrument=instrument,
            position_qty=lots,
            flags=state.assets[state.instruments[instrument].base_asset].scale,
            total=position.units - lots * units_per_lot(state, state.instruments[instrument]),
            position_cost=position.cost,
            realized_pnl=position.realized_pnl,
        )
    for (account, asset), (total, reserved) in sorted(all_balances(state).items()):
        total_before, reserved_before = before.get((account, asset), (0, 0))
        if (total, reserved) != (total_before, reserved_before):
            state.emit(
                EventKind.EVENT_BALANCE_CHANGED,
                flags=state.assets[asset].scale,
                account=account,
                asset=asset,
                total=total,
                reserved_amount=reserved,
                delta=total - total_before,
            )
