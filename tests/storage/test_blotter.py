"""What every blotter promises, on each real store: rows once, lists without a gap, made again at will."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fastpath.model.enums import OrderStatus
from loadtest.servers import PostgresServer
from server.base.errors import Unavailable
from server.blotter.history import History
from server.blotter.writer import BlotterWriter, BlotterWriterLimits
from server.engine.limits import EngineLimits
from server.records.events import OrderView
from server.recovery.past_events import events_from_journal
from server.storage.blotter_rows import blotter_batch, directory_rows
from server.storage.ports import BlotterMismatch, BlotterMoved, BlotterQuery, BlotterStore
from server.storage.snapshot_files import SnapshotFiles
from server.storage.urls import open_blotter
from tests.support.engine import House, house
from tests.waiting import until

SMALL = EngineLimits(max_orders=50_000, closed_orders=20, fills=20, stream_log_bytes=1 << 20)
QUICK = BlotterWriterLimits(pause_s=0.001, batch_events=300, retry_s=(0.02, 0.1))


@dataclass(frozen=True)
class Place:
    """Where a blotter is; `rows` asks it in its own language."""

    url: str
    rows: Callable[[str], list[tuple[Any, ...]]]

    def open(self, epoch: str = "epoch-1") -> BlotterStore:
        return open_blotter(self.url, epoch=epoch)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        path = tmp_path / "blotter.db"

        def from_file(query: str) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(path)) as database:
                return database.execute(query).fetchall()

        return Place(f"sqlite:///{path}", from_file)
    url = request.getfixturevalue("postgres_url")

    def from_server(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as database:
            return database.execute(query).fetchall()

    return Place(url, from_server)


@pytest.fixture
def store(place: Place) -> Iterator[BlotterStore]:
    with closing(place.open()) as opened:
        yield opened


@contextlib.asynccontextmanager
async def filled(it: House, directory: Path, store: BlotterStore) -> AsyncIterator[tuple[BlotterWriter, History]]:
    """A writer that runs, and lists that go back to the store."""
    past = events_from_journal(
        f"sqlite:///{directory}/journal.db", SnapshotFiles(directory / "snapshots", keep=1), it.engine.limits
    )
    writer = BlotterWriter(store, it.engine.log, it.engine.registry, past, QUICK)
    it.engine.add_listener(lambda changes: writer.wake())
    history = History(it.engine, store)
    writer.start()
    try:
        yield writer, history
    finally:
        await writer.stop()
        history.close()


async def up_to_date(writer: BlotterWriter) -> None:
    await until(lambda: not writer.status.behind and writer.status.cursor is not None, "the blotter is up to date")


async def trade(it: House, orders: int, name: str) -> None:
    """`orders` bids of alice, each the best one; every second is hit by bob, of the others every third canceled."""
    for n in range(orders):
        await it.trading.place(it.buy(100 + it.engine.command_sequence, 1_000, client_order_id=f"{name}-{n}"))
        if n % 2:
            await it.trading.place(it.sell(100, 1_000))
        elif n % 3 == 0:
            await it.trading.cancel("alice", client_order_id=f"{name}-{n}")


async def everything(history: History, **conditions: Any) -> list[OrderView]:
    found: list[OrderView] = []
    token = ""
    while True:
        page = await history.list_orders("alice", page_size=7, page_token=token, **conditions)
        found += page.items
        token = page.next_page_token
        if not token:
            return found


async def test_lists_reach_back_to_the_beginning(tmp_path: Path, store: BlotterStore) -> None:
    async with house(tmp_path, limits=SMALL) as it, filled(it, tmp_path, store) as (writer, history):
        await trade(it, 60, "a")
        await up_to_date(writer)
        await trade(it, 60, "b")
        # Whatever the writer has done by now, nothing is missing and nothing is there twice.
        listed = await everything(history)
        expected = [f"{name}-{n}" for name in "ba" for n in reversed(range(60))]
        assert [order.client_order_id for order in listed] == expected
        assert listed == [it.trading.get_order("alice", order_id=order.order_id) for order in listed]

        filled_ones = await everything(history, statuses=frozenset({int(OrderStatus.ORDER_STATUS_FILLED)}))
        assert [o.client_order_id for o in filled_ones] == [n for n in expected if int(n.split("-")[1]) % 2]
        middle = listed[60].create_ns
        assert await everything(history, start_ns=middle) == [o for o in listed if o.create_ns >= middle]
        assert await everything(history, end_ns=middle) == [o for o in listed if o.create_ns < middle]
        assert await everything(history, open_only=True) == [o for o in listed if o.is_open]

        fills, token = [], ""
        while token or not fills:
            page = await history.list_fills("bob", page_size=9, page_token=token)
            fills, token = fills + page.items, page.next_page_token
        assert len(fills) == len({fill.event_seq for fill in fills}) == 60
        assert [fill.event_seq for fill in fills] == sorted((fill.event_seq for fill in fills), reverse=True)
        one = fills[-1]
        assert (await history.list_fills("bob", order_id=one.order_id)).items == [one]


async def test_the_ledger_adds_up_to_the_balances(tmp_path: Path, store: BlotterStore) -> None:
    async with house(tmp_path, limits=SMALL) as it, filled(it, tmp_path, store) as (writer, history):
        await trade(it, 40, "a")
        await up_to_date(writer)
        await trade(it, 10, "b")
        for account in ("alice", "bob"):
            for balance in it.trading.list_balances(account):
                asset, entries, token = balance.asset.name, [], ""
                while token or not entries:
                    page = await history.list_ledger(account, asset=asset, page_size=13, page_token=token)
                    entries, token = entries + page.items, page.next_page_token
                assert sum(entry.amount for entry in entries) == balance.total == entries[0].total
                running = 0
                for entry in reversed(entries):
                    running += entry.amount
                    assert entry.total == running


async def test_sql_shows_names_units_and_refused_orders(tmp_path: Path, place: Place, store: BlotterStore) -> None:
    async with house(tmp_path, limits=SMALL) as it, filled(it, tmp_path, store) as (writer, _):
        await trade(it, 3, "a")
        await it.trading.place(it.buy(1_000_000_000, 10**9, client_order_id="too-much"))
        await up_to_date(writer)
    found = place.rows(
        "SELECT a.name, i.name, o.client_order_id, o.price, i.tick_size FROM orders o"
        " JOIN accounts a ON a.number = o.account JOIN instruments i ON i.number = o.instrument"
        " WHERE a.name = 'alice' ORDER BY order_id LIMIT 1"
    )
    assert found == [("alice", "internal:BTC/USDT", "a-0", 10_900, "0.01")]
    assert place.rows("SELECT client_order_id FROM breaches") == [("too-much",)]
    deposits = place.rows(
        "SELECT a.name, s.name, d.delta FROM audit d JOIN accounts a ON a.number = d.account"
        " JOIN assets s ON s.number = d.asset WHERE d.delta <> 0 ORDER BY event_seq"
    )
    assert [deposit[:2] for deposit in deposits] == [
        (account, asset) for account in ("alice", "bob") for asset in ("USDT", "BTC")
    ]


async def test_a_restart_goes_on_where_it_was(tmp_path: Path, place: Place) -> None:
    """Also far behind: what the log holds no more is made again from the journal."""
    for run, orders in enumerate((30, 1_500, 5)):
        with closing(place.open()) as store:
            async with house(tmp_path, limits=SMALL) as it:
                if run == 1:
                    await trade(it, orders, f"run{run}")  # while nobody fills the blotter
                    assert it.engine.log.floor > store.cursor()
                async with filled(it, tmp_path, store) as (writer, history):
                    if run != 1:
                        await trade(it, orders, f"run{run}")
                    await up_to_date(writer)
                    if run == 2:
                        assert len(await everything(history)) == 1_535
    orders, fills, hit = 1_535, 0, place.rows("SELECT count(*) FROM fills")
    fills = 2 * sum(count // 2 for count in (30, 1_500, 5))
    assert hit == [(fills,)]
    assert place.rows("SELECT count(*) FROM orders") == [(orders + fills // 2,)]


async def test_made_again_it_is_the_same(tmp_path: Path, place: Place, store: BlotterStore) -> None:
    contents = [f"SELECT * FROM {table} ORDER BY 1" for table in ("orders", "fills", "ledger", "audit", "instruments")]
    async with house(tmp_path, limits=SMALL) as it:
        async with filled(it, tmp_path, store) as (writer, _):
            await trade(it, 50, "a")
            await up_to_date(writer)
        before = [place.rows(query) for query in contents]
        store.clear()
        assert store.cursor() == 0
        async with filled(it, tmp_path, store) as (writer, _):
            await up_to_date(writer)
        assert [place.rows(query) for query in contents] == before
    config = tmp_path / "settings.toml"
    config.write_text(
        f'[storage]\njournal_url = "sqlite:///{tmp_path}/journal.db"\nblotter_url = "{place.url}"\n'
        "[engine]\nmax_orders = 50000\n"
    )
    command = (sys.executable, "-m", "server.cli", "blotter", "rebuild", "--config", str(config))
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [place.rows(query) for query in contents] == before


async def test_a_batch_is_stored_once(tmp_path: Path, place: Place, store: BlotterStore) -> None:
    async with house(tmp_path, limits=SMALL) as it:
        await trade(it, 10, "a")
        batch = blotter_batch(0, it.engine.log.events_after(0, 10_000), directory_rows(it.engine.registry))
    assert store.cursor() == 0
    store.write(batch)
    with pytest.raises(BlotterMoved):
        store.write(batch)
    assert store.cursor() == batch.last_sequence
    assert place.rows("SELECT count(*) FROM fills") == [(10,)]
    page = store.page("fills", BlotterQuery(account=1, limit=3))
    assert (len(page.records), page.cursor) == (3, batch.last_sequence)


def test_rows_of_another_journal_are_refused(place: Place, store: BlotterStore) -> None:
    assert store.cursor() == 0
    with closing(place.open("epoch-2")) as other:
        with pytest.raises(BlotterMismatch, match="blotter rebuild"):
            other.cursor()
        other.clear()
        assert other.cursor() == 0
    with pytest.raises(BlotterMismatch):
        store.page("orders", BlotterQuery(account=1))


async def test_a_list_that_would_have_a_hole_is_refused(tmp_path: Path, store: BlotterStore) -> None:
    async with house(tmp_path, limits=SMALL) as it:
        history = History(it.engine, store)
        await trade(it, 60, "a")
        assert len((await history.list_orders("alice", page_size=5)).items) == 5, "memory alone holds these"
        with pytest.raises(Unavailable):
            await everything(history)
        store.cursor()
        with pytest.raises(Unavailable, match="brought up to date"):
            await everything(history)
        history.close()


async def test_a_database_that_goes_away_gets_every_row_once(
    tmp_path: Path, postgres: PostgresServer, postgres_url: str
) -> None:
    with closing(open_blotter(postgres_url, epoch="epoch-1")) as store:
        async with house(tmp_path, limits=SMALL) as it, filled(it, tmp_path, store) as (writer, history):
            for end in (postgres.stop, postgres.kill):
                trading = asyncio.create_task(trade(it, 150, end.__name__))
                await asyncio.sleep(0.05)
                await asyncio.to_thread(end)
                await trading
                await trade(it, 2, f"{end.__name__}-away")
                await until(lambda: writer.status.error is not None, "the writer misses the database")
                await asyncio.to_thread(postgres.start)
            await up_to_date(writer)
            assert len(await everything(history)) == 304
    with psycopg.connect(postgres_url) as database:
        assert database.execute("SELECT count(*), count(DISTINCT trade_id) FROM fills").fetchone() == (304, 152)
        assert database.execute("SELECT count(*) FROM orders").fetchone() == (456,)
