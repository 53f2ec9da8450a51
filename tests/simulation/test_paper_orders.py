"""Paper orders against a replayed venue: nothing fills that was not displayed, and nothing twice.

The test follows every change of the venue's book and replays it afterwards together with all fills, by their times,
keeping its own account of what paper orders took, by the rule of docs/orders.md.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from server.replay import ReplayConfig, ReplayExchange
from tests.simulation.whole_server import until_listed, whole_server
from tests.waiting import until
from tradewind import AsyncClient, Fill
from tradewind.v1 import market_data_pb2, market_data_pb2_grpc

INSTRUMENT = "bybit:BTC/USDT"
LOT = Decimal("0.000001")
ACCOUNTS = ("alice", "bob")
SNAPSHOT = 200
"""All levels of the recording."""
ORDERS = 120
SETTLE_S = 0.5
"""More than market data needs from the venue to here."""
BLUR_NS = 20_000_000
"""So far around a fill the book that it met is looked for: the engine takes it a moment before it tells the time."""

Side = dict[Decimal, Decimal]


@dataclass
class Shown:
    """The venue's book after one change."""

    time_ns: int
    bids: Side
    asks: Side


@dataclass
class Market:
    """Everything that the venue displayed, in order."""

    history: list[Shown] = field(default_factory=list)

    async def follow(self, client: AsyncClient) -> None:
        subscription = market_data_pb2.MarketDataSubscription(
            instrument=INSTRUMENT,
            channel=market_data_pb2.CHANNEL_BOOK,
            delivery=market_data_pb2.DELIVERY_ALL,
            depth=SNAPSHOT,
        )
        request = market_data_pb2.SubscribeMarketDataRequest(subscriptions=[subscription])
        stub = market_data_pb2_grpc.MarketDataServiceStub(client.channel)
        bids: Side = {}
        asks: Side = {}
        stream = stub.SubscribeMarketData(request, metadata=client.metadata())
        async for event in (event async for message in stream for event in message.events):
            kind = event.WhichOneof("event")
            if kind not in ("snapshot", "update"):
                continue
            book = event.snapshot.book if kind == "snapshot" else event.update.book
            if kind == "snapshot":
                bids, asks = {}, {}
            bids, asks = changed(bids, book.bids), changed(asks, book.asks)
            if book.state == market_data_pb2.FEED_STATE_LIVE:
                self.history.append(Shown(book.receive_time.ToNanoseconds(), bids, asks))


def changed(side: Side, levels: object) -> Side:
    news = {Decimal(level.price): Decimal(level.qty) for level in levels}  # type: ignore[attr-defined]
    return {price: qty for price, qty in (side | news).items() if qty}


async def test_paper_orders_take_what_is_displayed_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"\nseed {seed}")
    rng = random.Random(seed)
    replay = ReplayExchange(ReplayConfig(venues=("bybit",)))
    await replay.start()
    market = Market()
    try:
        async with (
            whole_server(tmp_path / "var", replay, {"bybit": ["BTC/USDT"]}) as server,
            server.client() as client,
        ):
            await until_listed(client, [INSTRUMENT])
            for name in ACCOUNTS:
                await client.create_account(name)
                await client.adjust_balance("BTC", 1_000, account=name)
                await client.adjust_balance("USDT", 100_000_000, account=name)
            following = asyncio.create_task(market.follow(client))
            await until(lambda: market.history, "the book is LIVE")
            await take_at_random(client, rng)
            await freeze_in_step(replay, market, client)
            await take_all(client, market.history[-1])
            replay.thaw("bybit")
            await take_at_random(client, rng)
            over_ns = time.time_ns()
            await until(lambda: market.history[-1].time_ns > over_ns + BLUR_NS, "the books around the last fill")
            assert not following.done(), following.result()
            following.cancel()
            fills = [fill for name in ACCOUNTS for fill in await client.list_fills(account=name, limit=10_000)]
    finally:
        await replay.stop()
    assert len(fills) > ORDERS
    for side in ("BUY", "SELL"):
        check_nothing_came_from_nowhere(market, [fill for fill in fills if fill.side == side])
    print(f"{len(fills)} fills, {len(market.history)} changes of the book")


async def freeze_in_step(replay: ReplayExchange, market: Market, client: AsyncClient) -> None:
    """Freeze the venue while its quote is not ahead of its book: such a book is rightly STALE after two seconds."""
    while True:
        replay.freeze("bybit")
        await settled(market)
        quote, shown = await client.get_quote(INSTRUMENT), market.history[-1]
        if (quote.bid_price, quote.ask_price) == (max(shown.bids), min(shown.asks)):
            return
        replay.thaw("bybit")
        await asyncio.sleep(SETTLE_S)


async def settled(market: Market) -> None:
    """Wait until no more changes come of a venue that stands still."""
    seen = -1
    while len(market.history) > seen:
        seen = len(market.history)
        await asyncio.sleep(SETTLE_S)


async def take_at_random(client: AsyncClient, rng: random.Random) -> None:
    """Market orders of all sizes while the market moves."""
    for _ in range(ORDERS):
        side = rng.choice(("BUY", "SELL"))
        qty = LOT * rng.choice((10_000, 50_000, 400_000, 2_000_000))
        await client.place_order(INSTRUMENT, side, qty, account=rng.choice(ACCOUNTS))
        await asyncio.sleep(rng.random() * 0.03)


async def take_all(client: AsyncClient, shown: Shown) -> None:
    """Nothing moves: all accounts together get what is left of the display, best price first, and then nothing."""
    for side, levels in (("BUY", shown.asks), ("SELL", shown.bids)):
        prices: list[Decimal] = []
        for turn in range(200):
            order = await client.place_order(INSTRUMENT, side, LOT * 3_000_000, account=ACCOUNTS[turn % 2])
            fills = await client.list_fills(order_id=order.order_id, account=order.account, limit=1_000)
            assert sum(fill.qty for fill in fills) == order.cum_qty
            prices += [fill.price for fill in reversed(fills)]
            if order.cum_qty < order.qty:
                break
        assert prices == sorted(prices, reverse=side == "SELL")
        assert set(prices) <= set(levels)
        again = await client.place_order(INSTRUMENT, side, LOT * 10_000, account=ACCOUNTS[0])
        assert again.reject_reason in ("NO_LIQUIDITY", "NOTIONAL_BELOW_MIN")  # not even, or no more than, crumbs


def check_nothing_came_from_nowhere(market: Market, fills: list[Fill]) -> None:
    """Go through book changes and fills in the order of their times."""
    taken: Side = {}
    at = 0
    history = [(shown.time_ns, shown.asks if fills[0].side == "BUY" else shown.bids) for shown in market.history]
    for fill in sorted(fills, key=lambda fill: (fill.time, int(fill.trade_id))):
        time_ns = int(fill.time.timestamp() * 1_000_000) * 1_000
        while at < len(history) and history[at][0] <= time_ns + BLUR_NS:
            levels = history[at][1]
            taken = {price: min(qty, levels[price]) for price, qty in taken.items() if price in levels}
            at += 1
        met = [levels for shown_ns, levels in history if abs(shown_ns - time_ns) <= BLUR_NS]
        before = [levels for shown_ns, levels in history if shown_ns < time_ns - BLUR_NS]
        displayed = max(levels.get(fill.price, Decimal(0)) for levels in met + before[-1:])
        left = displayed - taken.get(fill.price, Decimal(0))
        assert fill.qty <= left, f"{fill.qty} at {fill.price} filled, where {left} was left: {fill}"
        # The books around it may have come after it: what they display less is given back then.
        least = min([levels.get(fill.price, Decimal(0)) for levels in met], default=displayed)
        taken[fill.price] = min(taken.get(fill.price, Decimal(0)) + fill.qty, least)
