"""The engine on the PostgreSQL journal: orders go on through a restart of the database, and recovery is the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtest.servers import PostgresServer
from server.engine.runner import RunnerState
from server.errors import JournalFailed
from server.storage.postgres_journal import PostgresJournal
from tests.server.engine_support import house


async def test_orders_survive_a_restart_of_the_database_and_of_the_engine(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first", patience_s=30)
    async with house(tmp_path, journal=journal) as first:

        async def trade(name: str, count: int) -> None:
            for number in range(count):
                resting = first.sell(100 + number % 5, 10, client_order_id=f"s-{name}-{number}")
                taking = first.buy(102, 5, client_order_id=f"b-{name}-{number}")
                await asyncio.gather(first.trading.place(resting), first.trading.place(taking))

        await trade("before", 20)
        restart = asyncio.create_task(asyncio.to_thread(_restart, postgres))
        await trade("through", 200)
        await restart
        await trade("after", 20)
        assert first.runner.state is RunnerState.RUNNING
        state = await first.trading.state()
        orders = (await first.history.list_orders("alice", page_size=1000)).items

    journal = PostgresJournal(postgres_url, new_epoch="second")
    async with house(tmp_path, journal=journal) as second:
        assert second.trading.epoch == "first"
        assert await second.trading.state() == state
        assert (await second.history.list_orders("alice", page_size=1000)).items == orders


def _restart(postgres: PostgresServer) -> None:
    postgres.kill()
    postgres.start()


async def test_order_entry_stops_when_the_database_stays_away(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    journal = PostgresJournal(postgres_url, new_epoch="first", patience_s=0.2)
    async with house(tmp_path, journal=journal) as first:
        placed = await first.trading.place(first.buy(100, 1, client_order_id="kept"))
        postgres.kill()
        try:
            with pytest.raises(JournalFailed):
                await first.trading.place(first.buy(100, 1, client_order_id="refused"))
            assert first.runner.state is RunnerState.SUSPENDED, "it waits for the database, and takes no orders"
        finally:
            postgres.start()
    journal = PostgresJournal(postgres_url, new_epoch="second")
    async with house(tmp_path, journal=journal) as second:
        assert second.trading.get_order("alice", client_order_id="kept") == placed.order
        # Its caller was told that the outcome is unknown. Carried out late or not at all: never twice.
        again = await second.trading.place(second.buy(100, 1, client_order_id="refused"))
        orders = (await second.history.list_orders("alice", page_size=10)).items
        assert sorted(order.client_order_id for order in orders) == ["kept", "refused"]
        assert again.order.client_order_id == "refused"
