"""One long random history: the ledger is exact after every batch, and every way to replay it leads to the same state."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fastpath.exchange.exchange import FEE_ACCOUNT, OUTSIDE_ACCOUNT, Exchange
from fastpath.model.structs import COMMAND_SIZE
from tests.conftest import ROOT, SOAK_FACTOR
from tests.reference.exchange_pair import START_NS, Generator, setup_commands
from tests.reference.records import EVENT, Event

COMMANDS = 200_000 * SOAK_FACTOR
BATCH = 64
OWNERS = (1, 2, 3, 4)
ORDER_ID = Event._fields.index("order_id")
BOUNDS = f"max_orders={COMMANDS}, max_open_orders=20_000, max_instruments=16, max_accounts=16, max_assets=16"

REPLAY = f"""
import pathlib, sys
from fastpath.exchange.exchange import Exchange
exchange = Exchange({BOUNDS})
journal, saved = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
if saved:
    exchange.load(saved)
exchange.apply(journal)
exchange.validate()
print(exchange.state_hash())
"""


def exchange() -> Exchange:
    return Exchange(
        max_orders=COMMANDS, max_open_orders=20_000, max_instruments=16, max_accounts=16, max_assets=16
    )


def check_ledger(core: Exchange) -> None:
    sums: Counter[int] = Counter()
    for account in (OUTSIDE_ACCOUNT, FEE_ACCOUNT, *OWNERS):
        for asset, total, reserved in core.balances(account):
            sums[asset] += total
            assert account not in OWNERS or 0 <= reserved <= total
    assert not any(sums.values()), f"assets that do not sum to 0: {sums}"


def replayed_elsewhere(directory: Path, journal: bytes, saved: bytes, seed: str) -> int:
    (directory / "journal").write_bytes(journal)
    (directory / "saved").write_bytes(saved)
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(directory / "journal"), str(directory / "saved")],
        cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_a_long_history_is_exact_and_replays(tmp_path: Path, tally: Callable[[str, int], None]) -> None:
    rng = random.Random(20)
    core = exchange()
    open_ids: list[int] = []
    generator = Generator(20, lambda: open_ids)
    pending = list(setup_commands())
    journal, saved, saved_at, seq = bytearray(), b"", 0, 0
    while seq < COMMANDS:
        size = rng.randint(1, BATCH)
        while len(pending) < size:
            pending += generator.command(seq)
        batch = bytearray()
        for command in pending[:size]:
            seq += 1
            batch += command._replace(seq=seq, ts_ns=START_NS + seq * 1_000).pack()
        del pending[:size]
        core.apply(batch)
        journal += batch
        check_ledger(core)
        if rng.random() < 0.1:
            open_ids[:] = [record[ORDER_ID] for record in EVENT.iter_unpack(core.open_orders())]
        if not saved and seq > COMMANDS // 2:
            core.validate()
            saved, saved_at = core.save(), len(journal)
    core.validate()
    whole = exchange()
    for at in range(0, len(journal), 1_000 * COMMAND_SIZE):
        whole.apply(journal[at : at + 1_000 * COMMAND_SIZE])
    expected = core.state_hash()
    assert whole.state_hash() == expected
    assert replayed_elsewhere(tmp_path, bytes(journal), b"", "0") == expected
    assert replayed_elsewhere(tmp_path, bytes(journal[saved_at:]), saved, "3") == expected
    tally("random commands, ledger exact after every batch", seq)
    tally("random commands replayed: whole, in a fresh process, and from a snapshot", seq)
