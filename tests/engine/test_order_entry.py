"""A strategy that knows the engine by its protocol alone."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fastpath.model.enums import OrderStatus
from server.base.streams import Ack
from server.engine.order_entry import OrderEntry, OrdersSnapshot, OrderUpdate
from server.engine.orders import AmendOrder, NewOrder
from tests.support.engine import BUY, GTC, LIMIT, house


async def quote_and_withdraw(orders: OrderEntry, account: str, name: str) -> list[int]:
    """Place three orders, move one, cancel one, then the rest; the statuses that the stream told on the way."""
    instrument = orders.registry.instrument(name)
    with contextlib.closing(orders.subscribe_orders(account)) as stream:
        assert (await anext(stream)).event == Ack(resumed=False)
        assert (await anext(stream)).event == OrdersSnapshot((), is_last=True)
        placed = [
            (await orders.place(NewOrder(account, instrument, BUY, LIMIT, GTC, 2_000, price * 100))).order
            for price in (100, 101, 102)
        ]
        assert [each.order_id for each in orders.open_orders(account)] == [each.order_id for each in placed]
        amended = await orders.amend(AmendOrder(account, placed[0].order_id, price=99_00))
        assert orders.get_order(account, order_id=placed[0].order_id) == amended
        await orders.cancel(account, order_id=placed[1].order_id)
        assert await orders.cancel_orders(account) == 2
        assert orders.open_orders(account) == []
        told = [(await anext(stream)).event for _ in range(7)]
        return [event.order.status for event in told if isinstance(event, OrderUpdate)]


async def test_a_strategy_trades_by_the_order_entry_protocol(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        new, canceled = OrderStatus.ORDER_STATUS_NEW, OrderStatus.ORDER_STATUS_CANCELED
        assert await quote_and_withdraw(it.trading, "alice", it.btc.name) == [new] * 4 + [canceled] * 3
