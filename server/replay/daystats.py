"""Trade statistics of an instrument since the pass began: what a ticker push needs."""

from __future__ import annotations

from decimal import Decimal

_PERCENT = Decimal("0.001")
_PRICE = Decimal("0.00000001")


class DayStats:
    """Open, high, low, last, volumes and trade ids, exact, from the venue's own strings."""

    def __init__(self) -> None:
        self.open = self.last = self.last_qty = "0"
        self.high = self.low = self.volume = self.quote_volume = Decimal(0)
        self.first_id = self.last_id = self.count = 0
        self.first_time_ms = 0

    def add(self, price: str, qty: str, trade_id: int, time_ms: int) -> None:
        exact_price, exact_qty = Decimal(price), Decimal(qty)
        if not self.count:
            self.open, self.first_id, self.first_time_ms = price, trade_id, time_ms
            self.high = self.low = exact_price
        self.last, self.last_qty, self.last_id = price, qty, trade_id
        self.high, self.low = max(self.high, exact_price), min(self.low, exact_price)
        self.volume += exact_qty
        self.quote_volume += exact_price * exact_qty
        self.count += 1

    def change(self) -> str:
        return str(Decimal(self.last) - Decimal(self.open))

    def change_percent(self) -> str:
        first = Decimal(self.open)
        return str(((Decimal(self.last) - first) / first * 100).quantize(_PERCENT)) if first else "0"

    def average(self) -> str:
        """Volume-weighted average price."""
        return str((self.quote_volume / self.volume).quantize(_PRICE)) if self.volume else "0"
