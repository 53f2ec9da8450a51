"""Statistics over replayed trades: what ticker and candle pushes are made of."""

from __future__ import annotations

from decimal import Decimal

_PERCENT = Decimal("0.001")
_PRICE = Decimal("0.00000001")


class TradeStats:
    """Open, high, low, last, volumes and trade ids over a span, exact, from the venue's own strings."""

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


MINUTE_MS = 60_000


class MinuteCandle:
    """The candle of the running minute. A trade belongs to the minute in which it was pushed."""

    def __init__(self) -> None:
        self.start_ms = 0
        self.stats: TradeStats | None = None

    def add(self, price: str, qty: str, now_ms: int) -> None:
        if self.stats is None:
            self.start_ms, self.stats = now_ms - now_ms % MINUTE_MS, TradeStats()
        self.stats.add(price, qty, 0, now_ms)

    def is_over(self, now_ms: int) -> bool:
        """There is a candle and its minute has passed."""
        return self.stats is not None and now_ms >= self.start_ms + MINUTE_MS
