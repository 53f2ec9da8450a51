"""What an account is exposed to: its positions at current prices, with its open orders in the worst case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from fastpath.model.enums import OrderFlag, Side
from server.base.instruments import Instrument
from server.engine.order_entry import AccountTrading
from server.records.events import OrderView
from server.risk.valuation import EXACT, Price, Valuation

_BUY = int(Side.SIDE_BUY)
_REDUCING = int(OrderFlag.ORDER_FLAG_REDUCE_ONLY | OrderFlag.ORDER_FLAG_CLOSE_POSITION)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Held:
    """An instrument with what is held of it and ordered, in base currency."""

    instrument: Instrument
    qty: Decimal
    buys: Decimal = _ZERO
    sells: Decimal = _ZERO
    """Open orders that can add to a position."""

    @property
    def worst_qty(self) -> Decimal:
        """The largest position, of either sign, that the orders of one side can lead to."""
        return max(EXACT.abs(EXACT.add(self.qty, self.buys)), EXACT.abs(EXACT.subtract(self.qty, self.sells)))


@dataclass(frozen=True, slots=True)
class Position:
    """One instrument, valued. Values are None where there is no price to trust."""

    held: Held
    price: Price
    value: Decimal | None
    worst_value: Decimal | None


@dataclass(slots=True)
class Total:
    gross: Decimal = _ZERO
    net: Decimal = _ZERO
    worst_gross: Decimal = _ZERO

    def add(self, value: Decimal, worst_value: Decimal) -> None:
        self.gross = EXACT.add(self.gross, EXACT.abs(value))
        self.net = EXACT.add(self.net, value)
        self.worst_gross = EXACT.add(self.worst_gross, worst_value)


@dataclass(frozen=True, slots=True)
class Exposure:
    """All of it, in the valuation asset."""

    account: str
    asset: str
    time_ns: int
    positions: list[Position]
    by_asset: dict[str, Total]
    by_venue: dict[str, Total]
    total: Total
    equity: Decimal | None
    """None if a balance cannot be valued."""
    unpriced: dict[str, str] = field(default_factory=dict)
    """Instruments and assets that are not in the totals, with the reason."""

    @property
    def leverage(self) -> float | None:
        if self.equity is None or self.equity <= 0:
            return None
        return float(self.total.worst_gross / self.equity)

    @property
    def shares(self) -> list[float]:
        """Of each asset in the sum of absolute net values."""
        sizes = [abs(total.net) for total in self.by_asset.values()]
        whole = sum(sizes)
        return [float(size / whole) for size in sizes] if whole else []


def holdings(trading: AccountTrading, account: str, added: Iterable[Held] = ()) -> list[Held]:
    """Positions and open orders of an account by instrument, with those that are supposed. Raises NotFound."""
    found: dict[str, Held] = {}

    def add(more: Held) -> None:
        known = found.get(more.instrument.name, Held(more.instrument, _ZERO))
        found[more.instrument.name] = Held(
            known.instrument,
            EXACT.add(known.qty, more.qty),
            EXACT.add(known.buys, more.buys),
            EXACT.add(known.sells, more.sells),
        )

    for position in trading.list_positions(account):
        if position.quantity:
            add(Held(position.instrument, position.quantity))
    for order in trading.open_orders(account):
        if not order.flags & _REDUCING:
            add(_ordered(order))
    for each in added:
        add(each)
    return [found[name] for name in sorted(found)]


def _ordered(order: OrderView) -> Held:
    qty = EXACT.multiply(Decimal(order.leaves_qty), order.instrument.lot_size)
    return Held(order.instrument, _ZERO, buys=qty) if order.side == _BUY else Held(order.instrument, _ZERO, sells=qty)


def exposure_of(account: str, held: Sequence[Held], balances: Mapping[str, Decimal], valuation: Valuation) -> Exposure:
    """`balances` by asset. What cannot be valued is named, and in no total."""
    found = Exposure(account, valuation.asset, valuation.time_ns, [], {}, {}, Total(), None)
    for each in held:
        position, problem = _valued(each, valuation)
        found.positions.append(position)
        if position.value is None or position.worst_value is None:
            found.unpriced[each.instrument.name] = problem
            continue
        by_asset = found.by_asset.setdefault(each.instrument.base, Total())
        by_venue = found.by_venue.setdefault(each.instrument.venue, Total())
        for total in (by_asset, by_venue, found.total):
            total.add(position.value, position.worst_value)
    equity = _equity(balances, valuation, found.unpriced)
    return Exposure(
        account, found.asset, found.time_ns, found.positions, found.by_asset, found.by_venue, found.total, equity,
        found.unpriced,
    )  # fmt: skip


def _valued(held: Held, valuation: Valuation) -> tuple[Position, str]:
    """The position, and why it has no value (empty: it has one)."""
    price = valuation.price(held.instrument)
    if price.usable is None:
        return Position(held, price, None, None), price.problem
    rate = valuation.rate(held.instrument.quote, held.instrument.venue)
    if isinstance(rate, str):
        return Position(held, price, None, None), rate
    unit = EXACT.multiply(EXACT.multiply(price.usable, held.instrument.contract_size), rate)
    worst = EXACT.multiply(held.worst_qty, unit)
    return Position(held, price, EXACT.multiply(held.qty, unit), worst), ""


def _equity(balances: Mapping[str, Decimal], valuation: Valuation, unpriced: dict[str, str]) -> Decimal | None:
    equity: Decimal | None = _ZERO
    for asset, amount in balances.items():
        if not amount:
            continue
        rate = valuation.rate(asset)
        if isinstance(rate, str):
            unpriced[asset] = rate
            equity = None
        elif equity is not None:
            equity = EXACT.add(equity, EXACT.multiply(amount, rate))
    return equity


def balances_of(trading: AccountTrading, account: str) -> dict[str, Decimal]:
    """What an account has, by asset. Raises NotFound."""
    return {
        view.asset.name: EXACT.multiply(Decimal(view.total), view.asset.unit) for view in trading.list_balances(account)
    }
