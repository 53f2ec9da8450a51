"""Workers: jobs, progress and ends of child processes, whatever becomes of them."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from server.base import workers
from server.base.errors import Unavailable
from server.base.workers import Worker
from tests.conftest import ROOT
from tests.waiting import until

MODULE = "tests.support.worker_job"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if MODULE in " ".join(each.cmdline())]


async def test_a_job_is_done_with_progress() -> None:
    seen: list[tuple[int, int]] = []
    made = await workers.run(MODULE, {"do": "count", "to": 3}, 60, lambda done, total: seen.append((done, total)))
    assert made == b"0\n1\n2\n"
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert not children()


async def test_what_is_made_can_be_read_as_it_comes() -> None:
    async with aclosing(workers.stream(MODULE, {"do": "count", "to": 2_000}, 64)) as chunks:
        made = [chunk async for chunk in chunks]
    assert b"".join(made) == b"".join(b"%d\n" % number for number in range(2_000))
    assert max(map(len, made)) <= 64


@pytest.mark.parametrize(
    ("do", "says"), [("fail", "the store is away"), ("crash", "AssertionError: a bug"), ("die", "exit code -9")]
)
async def test_a_worker_that_fails_says_why(do: str, says: str) -> None:
    with pytest.raises(Unavailable, match=says):
        await workers.run(MODULE, {"do": do}, 60)
    with pytest.raises(Unavailable, match=says):
        async for _ in workers.stream(MODULE, {"do": do}, 64):
            pass
    assert not children()


async def test_a_worker_that_hangs_is_ended() -> None:
    with pytest.raises(Unavailable, match=r"longer than 0\.1 s"):
        await workers.run(MODULE, {"do": "hang"}, 0.1)
    assert not children()


async def test_a_canceled_job_leaves_no_process() -> None:
    job = asyncio.create_task(workers.run(MODULE, {"do": "hang"}, 60))
    await until(lambda: len(children()) == 1, "the worker runs")
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not children()
    chunks = workers.stream(MODULE, {"do": "count", "to": 1_000_000}, 64)
    await anext(chunks)
    await chunks.aclose()
    assert not children()


def test_a_worker_that_stays_answers_and_stands_back() -> None:
    worker = Worker(MODULE, {"do": "answer"})
    try:
        for word in (b"one\n", b"two\n"):
            worker.send(word)
            assert worker.read_line() == word.upper()
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + workers.NICE)
        assert os.getsid(worker.pid) == worker.pid, "Ctrl-C in a terminal does not reach it"
    finally:
        worker.close()
    assert not children()


def test_nothing_of_the_current_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").write_text("raise SystemExit('foreign code ran')")
    monkeypatch.chdir(tmp_path)
    worker = Worker(MODULE, {"do": "answer"})
    try:
        worker.send(b"still ours\n")
        assert worker.read_line() == b"STILL OURS\n", worker.last_error
    finally:
        worker.close()
