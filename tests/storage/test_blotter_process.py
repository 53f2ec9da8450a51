"""The process that fills the blotter: the same rows as without it, and no harm when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.base.errors import Unavailable
from server.blotter.process import BlotterProcess
from server.blotter.writer import BlotterWriter, BlotterWriterLimits
from server.storage.blotter_rows import blotter_batch, directory_rows
from server.storage.ports import BlotterMoved, BlotterQuery, BlotterStore
from server.storage.urls import open_blotter
from tests.support.engine import house
from tests.waiting import until

QUICK = BlotterWriterLimits(pause_s=0.001, batch_events=300, retry_s=(0.02, 0.1))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/blotter.db"


@pytest.fixture
def store(url: str) -> Iterator[BlotterStore]:
    with closing(open_blotter(url, epoch="epoch-1")) as opened:
        yield opened


async def test_it_stores_what_the_server_would_store(tmp_path: Path, url: str, store: BlotterStore) -> None:
    async with house(tmp_path / "engine") as it:
        await asyncio.gather(*[it.trading.place(it.buy(100 + n, 1_000)) for n in range(50)])
        events = it.engine.log.events_after(0, 10_000)
        directory = directory_rows(it.trading.registry)
        with closing(open_blotter(f"sqlite:///{tmp_path}/direct.db", epoch="epoch-1")) as direct:
            direct.cursor()
            direct.write(blotter_batch(0, events, directory))
            query = BlotterQuery(account=1, limit=100)
            expected = [direct.page(table, query) for table in ("orders", "fills", "ledger")]
        assert store.cursor() == 0
        with closing(BlotterProcess(url, epoch="epoch-1")) as process:
            process.write(0, events, directory)
            assert [store.page(table, query) for table in ("orders", "fills", "ledger")] == expected
            with pytest.raises(BlotterMoved):
                process.write(0, events, directory)
            assert process.pid is not None
            check_that_it_stands_back(process.pid)


def check_that_it_stands_back(pid: int) -> None:
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    autogroup = Path(f"/proc/{pid}/autogroup")
    assert not autogroup.exists() or autogroup.read_text().split()[-1] == "10", "so does its whole session"


async def test_one_that_is_killed_is_started_again(tmp_path: Path, url: str, store: BlotterStore) -> None:
    async with house(tmp_path / "engine") as it:
        process = BlotterProcess(url, epoch="epoch-1")
        writer = BlotterWriter(
            store, it.engine.log, it.engine.registry, lambda after: pytest.fail("nothing is old"), QUICK,
            write=process.write,
        )  # fmt: skip
        it.engine.add_listener(lambda changes: writer.wake())
        writer.start()
        try:
            for batch in range(3):
                await asyncio.gather(*[it.trading.place(it.buy(100 + n, 1_000)) for n in range(50)])
                await until(lambda: not writer.status.behind, "the blotter is up to date")
                assert len(store.page("orders", BlotterQuery(account=1, limit=200)).records) == 50 * (batch + 1)
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
        finally:
            await writer.stop()
            process.close()


def test_one_that_ends_by_itself_is_an_absent_store(url: str, store: BlotterStore) -> None:
    process = BlotterProcess(url, epoch="epoch-1")
    with pytest.raises(Unavailable, match="ended"):
        process.write(0, b"", {})  # no events: the process does not survive that
    assert process.pid is None
    process.close()
