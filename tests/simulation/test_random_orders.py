"""An adversary's mixture of orders through the SDK: a real server process against an independent model of the market.

After every step the answer, orders, balances, positions and the book are compared; at the end the server is killed
and what it recovers is compared again.
"""

from __future__ import annotations

import asyncio
import decimal
import random
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from tests.conftest import SOAK_FACTOR
from tests.simulation.market_model import EXACT, MarketModel, ModelAccount, ModelOrder
from tests.simulation.whole_server import whole_server
from tradewind import AsyncClient, Order, errors

INSTRUMENT = "internal:BTC/USDT"
STEPS = 250
ACCOUNTS = ("alice", "bob", "carol")
BASE, QUOTE = Decimal(3), Decimal(200_000)
"""Little enough that orders are refused for lack of it now and then."""
TICK, LOT = Decimal("0.01"), Decimal("0.00001")


@dataclass
class Adversary:
    """Does something at random to server and model, and compares."""

    client: AsyncClient
    rng: random.Random
    model: MarketModel
    placed: list[tuple[ModelOrder, str]] = field(default_factory=list)
    """With the server's id."""
    outcomes: dict[str, int] = field(default_factory=dict)

    async def step(self) -> None:
        what = self.rng.random()
        if what < 0.62 or not self.placed:
            await self.place(self.random_order(f"o-{len(self.placed)}"))
        elif what < 0.90:
            await self.cancel(*self.rng.choice(self.placed[-60:]))
        elif what < 0.96:
            await self.repeat(*self.rng.choice(self.placed))
        else:
            await self.reuse_id(*self.rng.choice(self.placed))
        await self.compare()

    def random_order(self, client_order_id: str) -> ModelOrder:
        rng = self.rng
        limit = rng.random() < 0.8
        tif = rng.choice(("GTC", "GTC", "GTC", "IOC", "FOK")) if limit else rng.choice(("IOC", "FOK"))
        qty = LOT * rng.choice((1, 3, 1_000, 10_000, 33_333, 100_000, 400_000))
        return ModelOrder(
            account=rng.choice(ACCOUNTS),
            client_order_id=client_order_id,
            side=rng.choice(("BUY", "SELL")),
            qty=qty,
            price=60_000 + TICK * rng.randint(-40, 40) if limit else None,
            tif=tif,
            post_only=limit and tif == "GTC" and rng.random() < 0.2,
        )

    async def place(self, order: ModelOrder) -> None:
        answer = await self.send(order)
        self.model.place(order)
        self.placed.append((order, answer.order_id))
        self.outcomes[order.reason or order.status] = self.outcomes.get(order.reason or order.status, 0) + 1
        assert not answer.replayed
        same(answer, order)

    async def repeat(self, order: ModelOrder, order_id: str) -> None:
        answer = await self.send(order)
        assert (answer.replayed, answer.order_id) == (True, order_id)
        same(answer, order)

    async def reuse_id(self, order: ModelOrder, order_id: str) -> None:
        try:
            await self.client.place_order(
                INSTRUMENT, order.side, order.qty + LOT, order.price, account=order.account,
                time_in_force=order.tif, post_only=order.post_only, client_order_id=order.client_order_id,
            )  # fmt: skip
        except errors.ClientOrderIdConflict:
            return
        raise AssertionError(f"the id of {order} was taken twice")

    async def cancel(self, order: ModelOrder, order_id: str) -> None:
        was_open = order.is_open
        try:
            answer = await self.client.cancel_order(order_id, account=order.account)
        except errors.OrderNotOpen:
            assert not was_open, order
            return
        assert was_open, order
        self.model.cancel(order)
        same(answer, order)

    async def send(self, order: ModelOrder) -> Order:
        return await self.client.place_order(
            INSTRUMENT, order.side, order.qty, order.price, account=order.account,
            time_in_force=order.tif, post_only=order.post_only, client_order_id=order.client_order_id,
        )  # fmt: skip

    # -- comparing ---------------------------------------------------------------------------------------------

    async def compare(self) -> None:
        await self.compare_book()
        for name in ACCOUNTS:
            await self.compare_account(name)

    async def compare_book(self) -> None:
        """Books are published every 10 ms at most, so a change may show a moment after the answer."""
        expected = self.model.book("BUY"), self.model.book("SELL")
        shown: object = None
        for _ in range(200):
            book = await self.client.get_book(INSTRUMENT, 1000)
            shown = [(level.price, level.qty) for level in book.bids], [(level.price, level.qty) for level in book.asks]
            if shown == expected:
                return
            await asyncio.sleep(0.005)
        assert shown == expected

    async def compare_account(self, name: str) -> None:
        account = self.model.accounts[name]
        balances = {each.asset: (each.total, each.reserved) for each in await self.client.list_balances(name)}
        assert balances == {
            "BTC": (account.base, account.reserved_base),
            "USDT": (account.quote, account.reserved_quote),
        }
        positions = await self.client.list_positions(name)
        found = [(each.qty, each.cost, each.realized_pnl) for each in positions]
        assert found == ([(account.position, account.cost, account.realized)] if positions else [])
        assert positions or not account.position
        open_orders = await self.client.list_orders(account=name, open_only=True, limit=1000)
        assert {order.client_order_id for order in open_orders} == {
            order.client_order_id for order in self.model.resting if order.account == name
        }

    async def compare_history(self) -> None:
        """Every order and every fill there ever was."""
        for name in ACCOUNTS:
            orders = {o.client_order_id: o for o in await self.client.list_orders(account=name, limit=10_000)}
            fills: dict[str, list[tuple[Decimal, Decimal]]] = {}
            for fill in reversed(await self.client.list_fills(account=name, limit=10_000)):
                fills.setdefault(fill.client_order_id, []).append((fill.price, fill.qty))
            mine = [order for order, _ in self.placed if order.account == name]
            assert set(orders) == {order.client_order_id for order in mine}
            for order in mine:
                same(orders[order.client_order_id], order)
                assert fills.get(order.client_order_id, []) == order.fills

    async def compare_sums(self) -> None:
        """Nothing came from nowhere: what all accounts have and paid in fees is what was put in."""
        base = quote = Decimal(0)
        for name in ACCOUNTS:
            for balance in await self.client.list_balances(name):
                if balance.asset == "BTC":
                    base += balance.total
                else:
                    quote += balance.total
        fees = sum((order.fee for order, _ in self.placed), Decimal(0))
        assert (base, quote + fees) == (BASE * len(ACCOUNTS), QUOTE * len(ACCOUNTS))


def same(answer: Order, order: ModelOrder) -> None:
    got = (answer.status.value, answer.reject_reason, answer.cum_qty, answer.leaves_qty, answer.cum_notional)
    assert got == (order.status, order.reason, order.cum_qty, order.leaves_qty, order.cum_notional), order
    assert answer.cum_fee == order.fee, order


async def test_orders_balances_positions_and_books_are_those_of_the_model(tmp_path: Path) -> None:
    decimal.setcontext(EXACT)  # of the task of this test alone
    seed = random.SystemRandom().getrandbits(32)
    print(f"\nseed {seed}")
    model = MarketModel({name: ModelAccount(BASE, QUOTE) for name in ACCOUNTS})
    async with whole_server(tmp_path / "var", None, {}) as server, server.client() as client:
        for name in ACCOUNTS:
            await client.create_account(name)
            await client.adjust_balance("BTC", BASE, account=name)
            await client.adjust_balance("USDT", QUOTE, account=name)
        adversary = Adversary(client, random.Random(seed), model)
        for _ in range(STEPS * SOAK_FACTOR):
            await adversary.step()
        await adversary.compare_history()
        await adversary.compare_sums()
        before = await client.get_info()
        await server.kill()
    async with whole_server(tmp_path / "var", None, {}) as server, server.client() as client:
        after = await client.get_info()
        assert after.command_sequence == before.command_sequence
        adversary.client = client
        await adversary.compare()
        await adversary.compare_history()
        await adversary.compare_sums()
        for _ in range(STEPS // 10):
            await adversary.step()
    print(adversary.outcomes)
