"""What an internal spot market must do with LIMIT and MARKET orders, written from docs/orders.md alone: the slowest way
that is plainly right, in decimals, without any code of the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal

UNIT = Decimal("1e-9")
"""Smallest unit of money."""
TAKER_FEE = Decimal("0.0005")
"""Makers pay nothing on internal books."""
MIN_NOTIONAL = Decimal(1)

EXACT = Context(prec=60)
"""The decimal context that the model must be used in: none of its amounts is rounded."""


@dataclass
class ModelOrder:
    account: str
    client_order_id: str
    side: str
    qty: Decimal
    price: Decimal | None
    tif: str
    post_only: bool
    status: str = "NEW"
    reason: str | None = None
    fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)
    """(price, quantity)"""
    fee: Decimal = Decimal(0)
    fee_owed: Decimal = Decimal(0)
    """Exact; `fee` is this, rounded up once."""
    reserved: Decimal = Decimal(0)

    @property
    def cum_qty(self) -> Decimal:
        return sum((qty for _, qty in self.fills), Decimal(0))

    @property
    def leaves_qty(self) -> Decimal:
        return self.qty - self.cum_qty if self.is_open else Decimal(0)

    @property
    def is_open(self) -> bool:
        return self.status in ("NEW", "PARTIALLY_FILLED")

    @property
    def cum_notional(self) -> Decimal:
        return sum((price * qty for price, qty in self.fills), Decimal(0))


@dataclass
class ModelAccount:
    base: Decimal
    quote: Decimal
    position: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    reserved_base: Decimal = Decimal(0)
    reserved_quote: Decimal = Decimal(0)

    def trade(self, signed_qty: Decimal, notional: Decimal) -> None:
        """Average cost; a reduction takes its share of the cost, rounded toward zero."""
        signed_notional = notional.copy_sign(signed_qty)
        closing = Decimal(0)
        if self.position * signed_qty < 0:
            closing = min(abs(signed_qty), abs(self.position))
            share = self.cost * closing / abs(self.position)
            share = self.cost if closing == abs(self.position) else share.quantize(UNIT, ROUND_DOWN)
            paid = (notional * closing / abs(signed_qty)).copy_sign(signed_qty)
            self.realized += -paid - share
            self.cost -= share
            signed_notional -= paid
        self.position += signed_qty
        self.cost += signed_notional


class MarketModel:
    """One instrument."""

    def __init__(self, accounts: dict[str, ModelAccount]) -> None:
        self.accounts = accounts
        self.orders: dict[tuple[str, str], ModelOrder] = {}
        self.resting: list[ModelOrder] = []
        """By age."""

    # -- what clients do ---------------------------------------------------------------------------------------

    def place(self, order: ModelOrder) -> ModelOrder:
        known = self.orders.get((order.account, order.client_order_id))
        if known is not None:
            return known
        self.orders[order.account, order.client_order_id] = order
        if reason := self._refusal(order):
            order.status, order.reason = "REJECTED", reason
            return order
        if order.price is not None:
            self._reserve(order)
        self._match(order)
        if order.leaves_qty and order.price is not None and order.tif == "GTC":
            self.resting.append(order)
        elif order.is_open:
            self._close(order, "FILLED" if order.cum_qty == order.qty else "CANCELED")
        return order

    def cancel(self, order: ModelOrder) -> None:
        self.resting.remove(order)
        self._close(order, "CANCELED")

    # -- what can be seen --------------------------------------------------------------------------------------

    def book(self, side: str) -> list[tuple[Decimal, Decimal]]:
        """Levels of "BUY" or "SELL", best first."""
        levels: dict[Decimal, Decimal] = {}
        for order in self.resting:
            if order.side == side:
                assert order.price is not None
                levels[order.price] = levels.get(order.price, Decimal(0)) + order.leaves_qty
        return sorted(levels.items(), reverse=side == "BUY")

    # -- decisions ---------------------------------------------------------------------------------------------

    def _refusal(self, order: ModelOrder) -> str | None:
        account = self.accounts[order.account]
        walk = list(self._walk(order))
        available = sum((qty for _, qty in walk), Decimal(0))
        if order.price is None and not walk:
            return "NO_LIQUIDITY"
        # A market order is judged by what it would trade now.
        notional = sum((maker_price(maker) * qty for maker, qty in walk), Decimal(0))
        if order.price is not None:
            notional = order.price * order.qty
        if notional < MIN_NOTIONAL:
            return "NOTIONAL_BELOW_MIN"
        if order.side == "SELL":
            needed, free = order.qty, account.base - account.reserved_base
        else:
            needed, free = with_fee(notional), account.quote - account.reserved_quote
        if needed > free:
            return "INSUFFICIENT_BALANCE"
        if order.post_only and walk:
            return "WOULD_TAKE_LIQUIDITY"
        if order.tif == "FOK" and available < order.qty:
            return "FOK_NOT_FILLABLE"
        return None

    def _walk(self, taker: ModelOrder) -> Iterator[tuple[ModelOrder, Decimal]]:
        """Resting orders that it would trade with, by price, then age, and how much of each."""
        left = taker.qty
        sign = 1 if taker.side == "BUY" else -1
        others = [order for order in self.resting if order.side != taker.side]
        for maker in sorted(others, key=lambda order: sign * maker_price(order)):  # stable: by age within a price
            if not left or (taker.price is not None and sign * maker_price(maker) > sign * taker.price):
                return
            qty = min(left, maker.leaves_qty)
            left -= qty
            yield maker, qty

    def _match(self, taker: ModelOrder) -> None:
        for maker, qty in list(self._walk(taker)):
            price = maker_price(maker)
            for order, rate in ((maker, Decimal(0)), (taker, TAKER_FEE)):
                self._fill(order, price, qty, rate)
            if not maker.leaves_qty:
                self.resting.remove(maker)
                self._close(maker, "FILLED")

    def _fill(self, order: ModelOrder, price: Decimal, qty: Decimal, rate: Decimal) -> None:
        account, notional = self.accounts[order.account], price * qty
        order.fee_owed += notional * rate
        fee = order.fee_owed.quantize(UNIT, ROUND_CEILING) - order.fee
        order.fee += fee
        sign = 1 if order.side == "BUY" else -1
        account.base += sign * qty
        account.quote -= sign * notional + fee
        account.trade(sign * qty, notional)
        order.fills.append((price, qty))
        order.status = "PARTIALLY_FILLED"
        if order.price is not None:
            self._reserve(order)

    # -- reservations ------------------------------------------------------------------------------------------

    def _reserve(self, order: ModelOrder) -> None:
        """Hold what the open rest of a limit order may cost, and give back what was held before."""
        assert order.price is not None
        if order.side == "SELL":
            self._hold(order, order.leaves_qty)
        else:
            worst = order.fee_owed + order.price * order.leaves_qty * TAKER_FEE
            self._hold(order, order.price * order.leaves_qty + worst.quantize(UNIT, ROUND_CEILING) - order.fee)

    def _close(self, order: ModelOrder, status: str) -> None:
        order.status = status
        self._hold(order, Decimal(0))

    def _hold(self, order: ModelOrder, amount: Decimal) -> None:
        account = self.accounts[order.account]
        if order.side == "SELL":
            account.reserved_base += amount - order.reserved
        else:
            account.reserved_quote += amount - order.reserved
        order.reserved = amount


def maker_price(order: ModelOrder) -> Decimal:
    assert order.price is not None
    return order.price


def with_fee(notional: Decimal) -> Decimal:
    return notional + (notional * TAKER_FEE).quantize(UNIT, ROUND_CEILING)
