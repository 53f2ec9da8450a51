"""A tiny market maker: quotes both sides of internal:BTC/USDT around the price of a real market.

    python clients/python/examples/market_maker.py
    python clients/python/examples/market_maker.py --reference bybit:BTC/USDT --half-spread-bps 8

It leans its quotes against its inventory, stops quoting a side at the position limit, quotes nothing without a fresh
reference price, and on Ctrl-C (or SIGTERM) cancels what is open before it ends. It shows the API; it makes no money.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tradewind import AsyncClient, Order, Position, Quote, Side, TradewindError
from tradewind.errors import OrderNotOpen

BPS = Decimal("0.0001")


@dataclass(frozen=True)
class Settings:
    instrument: str
    reference: str
    account: str
    qty: Decimal
    half_spread_bps: Decimal
    skew_bps: Decimal
    """How far the quotes lean away when the position is at its limit."""
    max_position: Decimal
    tolerance_bps: Decimal = Decimal("0.5")
    """A resting order this close to its target stays: it keeps its place in the queue."""
    max_reference_age_s: float = 5.0


class MarketMaker:
    def __init__(self, client: AsyncClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._position = Decimal(0)
        self._resting: dict[Side, Order] = {}

    async def run(self) -> None:
        """Quote until cancelled; then take the quotes back."""
        await self._cancel_all()  # what an earlier run may have left
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_position())
                tasks.create_task(self._follow_orders())
                tasks.create_task(self._quote())
        finally:
            await self._cancel_all()
            print(f"stopped, position {self._position}")

    async def _follow_position(self) -> None:
        async for change in self._client.watch_account():
            if isinstance(change, Position) and change.instrument == self._settings.instrument:
                self._position = change.qty

    async def _follow_orders(self) -> None:
        async for update in self._client.watch_orders():
            order, fill = update.order, update.fill
            if order.instrument == self._settings.instrument and fill is not None:
                print(f"{order.side} filled {fill.qty} at {fill.price}", flush=True)
            resting = self._resting.get(order.side)
            if resting is not None and resting.order_id == order.order_id and not order.is_open:
                del self._resting[order.side]

    async def _quote(self) -> None:
        instrument = await self._client.get_instrument(self._settings.instrument)
        reference = self._client.watch_quotes(self._settings.reference, interval_ms=250)
        while True:
            try:
                async with asyncio.timeout(self._settings.max_reference_age_s):
                    quote = await anext(reference)
            except TimeoutError:
                print("the reference price is old: no quotes", flush=True)
                await self._cancel_all()
                continue
            bid, ask = self._targets(quote, instrument.tick_size)
            await self._requote(Side.BUY, bid)
            await self._requote(Side.SELL, ask)

    def _targets(self, reference: Quote, tick: Decimal) -> tuple[Decimal | None, Decimal | None]:
        """Bid and ask to quote now; None for a side that is not to be quoted."""
        settings = self._settings
        if reference.bid_price is None or reference.ask_price is None:
            return None, None
        lean = settings.skew_bps * self._position / settings.max_position
        center = (reference.bid_price + reference.ask_price) / 2 * (1 - lean * BPS)
        half = center * settings.half_spread_bps * BPS
        bid = ((center - half) / tick).to_integral_value(ROUND_FLOOR) * tick
        ask = ((center + half) / tick).to_integral_value(ROUND_CEILING) * tick
        return (
            bid if self._position < settings.max_position else None,
            ask if self._position > -settings.max_position else None,
        )

    async def _requote(self, side: Side, price: Decimal | None) -> None:
        """Have one order of `side` rest at `price`, or none."""
        settings = self._settings
        resting = self._resting.get(side)
        if resting is not None and resting.price is not None:
            if price is not None and abs(price - resting.price) <= price * settings.tolerance_bps * BPS:
                return
            await self._cancel(resting)
        if price is not None:
            order = await self._client.place_order(settings.instrument, side, settings.qty, price, post_only=True)
            if order.is_open:
                self._resting[side] = order
                print(f"{side} {order.qty} at {order.price}", flush=True)
            else:  # it would have taken liquidity, or there is no money left: the next price is another attempt
                print(f"{side} at {price}: {order.status} {order.reject_reason}", flush=True)

    async def _cancel(self, order: Order) -> None:
        with suppress(OrderNotOpen):  # filled meanwhile: the order stream tells
            await self._client.cancel_order(order.order_id)
        self._resting.pop(order.side, None)

    async def _cancel_all(self) -> None:
        """Also what this process does not know of, such as an order whose answer it did not wait for."""
        for order in await self._client.list_orders(instrument=self._settings.instrument, open_only=True):
            await self._cancel(order)


async def run(settings: Settings) -> None:
    async with AsyncClient(account=settings.account) as client:
        maker = asyncio.create_task(MarketMaker(client, settings).run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, maker.cancel)
        with suppress(asyncio.CancelledError):
            await maker


def main() -> None:
    parser = argparse.ArgumentParser(description="A tiny market maker on the internal book.")
    parser.add_argument("--instrument", default="internal:BTC/USDT")
    parser.add_argument("--reference", default="binance:BTC/USDT", help="where the price comes from")
    parser.add_argument("--account", default="maker")
    parser.add_argument("--qty", type=Decimal, default=Decimal("0.05"), help="of each quote")
    parser.add_argument("--half-spread-bps", type=Decimal, default=Decimal(5))
    parser.add_argument("--skew-bps", type=Decimal, default=Decimal(5), help="lean at the position limit")
    parser.add_argument("--max-position", type=Decimal, default=Decimal(1))
    try:
        asyncio.run(run(Settings(**vars(parser.parse_args()))))
    except* TradewindError as group:
        sys.exit(f"error: {group.exceptions[0]}")


if __name__ == "__main__":
    main()
