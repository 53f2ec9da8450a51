"""Runs every shell command of the README, in order, in one shell, against a server it starts: the README cannot lie."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.servers import free_port

ROOT = Path(__file__).resolve().parent.parent

BLOCK = re.compile(r"^```sh(?P<kind>[ a-z]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    kind: str
    body: str
    output: str = ""
    status: int | None = None


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> list[Block]:
    """The README's blocks after they ran. Only the address and the data folder differ from what a reader types."""
    tmp = tmp_path_factory.mktemp("readme")
    data, port = tmp / "var", free_port()
    text = (ROOT / "README.md").read_text()
    found = [Block(match["kind"].strip(), match["body"]) for match in BLOCK.finditer(text)]
    script = ["cd " + str(ROOT)]
    for number, block in enumerate(found):
        body = block.body.replace("127.0.0.1:50051", f"127.0.0.1:{port}").replace(
            "var/admin.token", str(data / "admin.token")
        )
        script.append(f"{{ set -e; {body.rstrip()}\n}} > {tmp}/{number}.out 2>&1; echo $? > {tmp}/{number}.status")
        # `set -e` ends the shell at a failure; blocks that fail on purpose run aside.
        if block.kind in ("fails", "stream"):
            script[-1] = f"set +e; ( {body.rstrip()}\n) > {tmp}/{number}.out 2>&1; echo $? > {tmp}/{number}.status"
    script.insert(1, f"trap 'make stop > {tmp}/stop.out 2>&1' EXIT")
    environment = os.environ | {
        "TRADEWIND_DATA_DIR": str(data),
        "TRADEWIND_SERVER__PORT": str(port),
        "TRADEWIND_METRICS__PORT": "0",
        "TRADEWIND_ADDRESS": f"127.0.0.1:{port}",
        "TRADEWIND_TOKEN_FILE": str(data / "admin.token"),
    }
    subprocess.run(
        ["bash", "-c", "\n".join(script)], env=environment, stdin=subprocess.DEVNULL, timeout=280, check=False
    )
    for number, block in enumerate(found):
        output, status = tmp / f"{number}.out", tmp / f"{number}.status"
        block.output = output.read_text() if output.exists() else "(did not run: an earlier command failed)"
        block.status = int(status.read_text()) if status.exists() else None
    return found


def block_with(blocks: list[Block], text: str) -> Block:
    return next(block for block in blocks if text in block.body)


def documents(text: str) -> list[dict[str, object]]:
    """The JSON documents in a text, one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (start := text.find("{", at)) >= 0:
        document, at = decoder.raw_decode(text, start)
        found.append(document)
    return found


def test_there_is_a_session_to_run(blocks: list[Block]) -> None:
    assert len(blocks) >= 8


def test_every_command_succeeds(blocks: list[Block]) -> None:
    failed = [f"$ {block.body}\n{block.output}" for block in blocks if not block.kind and block.status != 0]
    assert not failed, "\n\n".join(failed)


def test_a_market_order_fills_on_the_real_book_and_its_id_is_idempotent(blocks: list[Block]) -> None:
    first = documents(block_with(blocks, "ORDER_TYPE_MARKET").output)[0]["order"]
    again = documents(block_with(blocks, "ListPositions").output)
    assert first["status"] == "ORDER_STATUS_FILLED"
    assert first["cumQty"] == "0.01"
    assert again[0]["replayed"] is True
    assert again[0]["order"]["orderId"] == first["orderId"]
    assert [position["qty"] for position in again[1]["positions"]] == ["0.01"]


def test_an_order_rests_is_listed_and_is_canceled(blocks: list[Block]) -> None:
    placed, listed, canceled = documents(block_with(blocks, "resting-1").output)
    assert placed["order"]["status"] == "ORDER_STATUS_NEW"
    assert [order["clientOrderId"] for order in listed["orders"]] == ["resting-1"]
    assert canceled["order"]["status"] == "ORDER_STATUS_CANCELED"


def test_an_error_shows_its_reason_and_its_field(blocks: list[Block]) -> None:
    block = block_with(blocks, "50000.001")
    assert block.status not in (0, None)
    assert "Code: InvalidArgument" in block.output
    assert '"reason":"PRICE_NOT_ON_TICK"' in block.output
    assert '"field":"price"' in block.output


def test_the_stream_delivers_acks_snapshots_and_updates(blocks: list[Block]) -> None:
    messages = documents(block_with(blocks, "SubscribeMarketData").output.split("ERROR:")[0])
    events = [event for message in messages for event in message["events"]]
    kinds = {kind for event in events for kind in ("ack", "snapshot", "update") if kind in event}
    assert kinds == {"ack", "snapshot", "update"}


def test_the_command_line_trades_on_the_internal_book(blocks: list[Block]) -> None:
    output = block_with(blocks, "tradewind sell internal").output
    assert "FILLED" in output
    positions = json.loads(next(line for line in output.splitlines() if line.startswith("[")))
    assert {position["instrument"] for position in positions} == {"binance:BTC/USDT", "internal:BTC/USDT"}
