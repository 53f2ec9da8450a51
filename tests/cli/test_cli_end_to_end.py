"""A server started, used, restarted and stopped by the command line, and the SDK and its examples against it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from server.cli.admin import tokens
from server.cli.main import app
from tests.waiting import PATIENCE_S
from tradewind import AsyncClient, Client, Level, OrderStatus, OrderUpdate, errors

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "clients/python/examples"
BOOK = "internal:BTC/USDT"
VENUES = ["binance:BTC/USDT", "okx:BTC/USDT", "bybit:BTC/USDT"]


@dataclass
class Instance:
    """A data directory, and the command line on it."""

    data_dir: Path
    environment: dict[str, str]
    started: list[dict[str, Any]]
    """What `up --detach --json` printed."""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "server.cli", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.run("up", "--detach", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @property
    def ready(self) -> dict[str, Any]:
        return self.started[-1]

    @property
    def address(self) -> str:
        return str(self.ready["address"])

    def client(self) -> Client:
        return Client(self.address, token_file=self.ready["token_file"], account="demo")

    def async_client(self) -> AsyncClient:
        return AsyncClient(self.address, token_file=self.ready["token_file"], account="demo")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    data_dir = tmp_path_factory.mktemp("end-to-end") / "var"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND_")}
    environment = clean | {"TRADEWIND_DATA_DIR": str(data_dir), "TRADEWIND_METRICS__PORT": "0"}
    instance = Instance(data_dir, environment, [])
    instance.started = instance.start("--port", "0")
    yield instance
    instance.run("down")


def until(condition: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {within_s:g} s"
        time.sleep(0.05)
    return found


def test_each_part_is_shown_as_it_comes_up(instance: Instance) -> None:
    states = {event["service"]: event["state"] for event in instance.started if event["event"] == "state"}
    assert {"store/journal", "store/blotter", "store/ticks"} <= set(states)
    assert {"engine", "tradewind.v1.OrderService", "feed/binance", "feed/okx", "feed/bybit"} <= set(states)
    assert set(states.values()) == {"SERVING"}
    assert instance.ready["event"] == "ready"
    assert instance.ready["market_data"] == "replay"
    assert stat.S_IMODE(Path(instance.ready["token_file"]).stat().st_mode) == 0o600
    assert Path(instance.ready["log_file"]).exists()


@pytest.mark.parametrize("how", [(), ("--detach",)])
def test_a_second_server_on_the_same_directory_is_refused(instance: Instance, how: tuple[str, ...]) -> None:
    done = instance.run("up", "--port", "0", *how)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert str(instance.ready["pid"]) in done.stderr
    assert "tradewind down" in done.stderr


@pytest.mark.parametrize(
    ("venues", "replay_url", "lacking"),
    [
        ({"bybit": ["BTC/USDT", "NO/SUCH"]}, None, "feed/bybit:NO/SUCH"),  # one symbol
        ({"bybit": ["BTC/USDT"]}, "http://127.0.0.1:9", "feed/bybit"),  # a whole venue, at a port where nobody listens
    ],
)
def test_a_start_in_the_background_succeeds_only_if_every_part_serves(
    instance: Instance, tmp_path: Path, venues: dict[str, list[str]], replay_url: str | None, lacking: str
) -> None:
    settings = {"TRADEWIND_FEEDS__VENUES": json.dumps(venues)}
    if replay_url is not None:
        settings["TRADEWIND_FEEDS__REPLAY_URL"] = replay_url
    data_dir = tmp_path / "new" / "var"
    other = Instance(data_dir, instance.environment | settings | {"TRADEWIND_DATA_DIR": str(data_dir)}, [])
    try:
        done = other.run("up", "--detach", "--port", "0")
        assert done.returncode == 3, done.stderr
        assert "Ready in " in done.stdout
        told = done.stdout[done.stdout.index("Not all of it serves:") :]
        assert re.search(rf"NOT_SERVING +{lacking}: .*bybit", told)
        assert other.run("status").returncode == 1
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    finally:
        other.run("down")


def test_what_cannot_start_says_why(instance: Instance, tmp_path: Path) -> None:
    port = instance.address.rpartition(":")[2]
    done = instance.run("up", "--detach", "--data-dir", str(tmp_path / "other"), "--port", port)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert port in done.stderr
    shown = instance.run("up", "--data-dir", str(tmp_path / "other"), "--port", port).stderr.splitlines()
    assert [line[:6] for line in shown if not line.startswith("{")] == ["error:"], "nothing of a library's own"


def test_a_paper_order_fills_on_the_recorded_market(instance: Instance) -> None:
    quote = instance.json("quote", VENUES[0])
    order = instance.json("buy", VENUES[0], "0.01", "--market", "--id", "first")
    assert order["status"] == "FILLED"
    assert abs(Decimal(order["avg_price"]) / Decimal(quote["ask_price"]) - 1) < Decimal("0.05")
    again = instance.json("buy", VENUES[0], "0.01", "--market", "--id", "first")
    assert (again["order_id"], again["replayed"]) == (order["order_id"], True)
    (position,) = (p for p in instance.json("positions") if p["instrument"] == VENUES[0])
    assert position["qty"] == "0.01"
    (fill,) = instance.json("fills", "--order", order["order_id"])
    assert fill["liquidity"] == "TAKER"
    entry, *_ = instance.json("ledger", "--asset", "BTC")
    (balance,) = (b for b in instance.json("balances") if b["asset"] == "BTC")
    assert (entry["amount"], entry["total"]) == ("0.01", balance["total"])
    assert instance.run("status").returncode == 0


def test_a_token_for_reading_does_not_trade(instance: Instance) -> None:
    made = instance.json("token", "create", "--scope", "read", "--expires", "1h")
    assert made["secret"] not in instance.run("token", "list").stdout
    reader = Client(instance.address, made["secret"], account="demo")
    with reader, pytest.raises(errors.PermissionDenied):
        reader.buy(BOOK, "0.1")
    instance.json("token", "revoke", made["token"]["token_id"])
    with Client(instance.address, made["secret"]) as revoked, pytest.raises(errors.Unauthenticated):
        revoked.get_info()


def test_errors_of_the_server_reach_the_user_typed(instance: Instance) -> None:
    with instance.client() as client:
        with pytest.raises(errors.InvalidArgument) as caught:
            client.buy(BOOK, "0.1", "60000.001")
        assert caught.value.reason == "PRICE_NOT_ON_TICK"
        assert [violation.field for violation in caught.value.violations] == ["price"]
        assert caught.value.request_id
        with pytest.raises(errors.NotFound):
            client.get_quote("internal:NO/THING")
        client.buy(BOOK, "0.1", "100", client_order_id="taken")
        with pytest.raises(errors.ClientOrderIdConflict):
            client.buy(BOOK, "0.2", "100", client_order_id="taken")
        client.cancel_order(client_order_id="taken")
        with pytest.raises(errors.OrderNotOpen):
            client.cancel_order(client_order_id="taken")


async def test_a_watched_book_is_the_book(instance: Instance) -> None:
    async with instance.async_client() as client, client.watch_book(BOOK, depth=3) as books:
        placed = [await client.buy(BOOK, "0.1", Decimal(price)) for price in range(100, 110)]
        for order in placed[::2]:
            await client.cancel_order(order.order_id)
        expected = tuple(Level(Decimal(price), Decimal("0.1")) for price in (109, 107, 105))
        async with asyncio.timeout(PATIENCE_S):
            async for book in books:
                if book.bids == expected:
                    break
        assert (await client.get_book(BOOK, depth=3)).bids == expected
        for order in placed[1::2]:
            await client.cancel_order(order.order_id)


async def test_market_data_of_all_venues_flows(instance: Instance) -> None:
    async with instance.async_client() as client, asyncio.timeout(PATIENCE_S):
        seen = set()
        async for book in client.watch_book(*VENUES, depth=5):
            prices = [level.price for level in book.bids], [level.price for level in book.asks]
            assert prices == (sorted(prices[0], reverse=True), sorted(prices[1]))
            assert len(book.bids) <= 5
            seen.add(book.instrument)
            if seen == set(VENUES):
                break
        trade = await anext(client.watch_trades(*VENUES))
        assert trade.instrument in VENUES
        assert trade.price > 0


async def test_streams_and_orders_survive_a_restart(instance: Instance) -> None:
    async with instance.async_client() as client, client.watch_orders() as updates, asyncio.timeout(100):
        before = await client.buy(BOOK, "0.1", "50")
        await order_in(updates, before.order_id, OrderStatus.NEW)
        assert instance.json("down")["stopped"] == instance.ready["pid"]
        assert instance.run("status").returncode == 1
        instance.started = instance.start("--port", instance.address.rpartition(":")[2])

        assert (await client.get_order(before.order_id)).status is OrderStatus.NEW
        after = await client.buy(BOOK, "0.1", "51")
        await order_in(updates, after.order_id, OrderStatus.NEW)
        assert updates.reconnects >= 1
        assert instance.json("cancel", "--all", "--instrument", BOOK) == {"canceled": 2}
        await order_in(updates, before.order_id, OrderStatus.CANCELED)


async def order_in(updates: Any, order_id: str, status: OrderStatus) -> OrderUpdate:
    async for update in updates:
        if update.order.order_id == order_id and update.order.status is status:
            return update  # type: ignore[no-any-return]
    raise AssertionError("the stream ended")


def code_blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", ["docs/sdk.md", "clients/python/README.md"])
async def test_the_code_in_the_guide_runs(
    instance: Instance, document: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADEWIND_ADDRESS", instance.address)
    monkeypatch.setenv("TRADEWIND_TOKEN_FILE", instance.ready["token_file"])
    for code in code_blocks(document):
        await asyncio.to_thread(exec, compile(code, document, "exec"), {"__name__": "guide"})
    printed = capsys.readouterr().out
    if document == "docs/sdk.md":
        for expected in ("FILLED", "INSUFFICIENT_BALANCE", "PRICE_NOT_ON_TICK\nprice\n", "CANCELED"):
            assert expected in printed
        assert "49 orders rest\n" in printed
        assert "NOTIONAL_BELOW_MIN" not in printed
        assert "ORDER_NOT_OPEN" not in printed


def test_the_map_of_commands_is_complete() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    listed = set(re.findall(r"`(token \w+|[a-z-]+)(?= |`)", text))
    commands = {command_name(info) for info in app.registered_commands}
    assert commands | {f"token {command_name(info)}" for info in tokens.registered_commands} <= listed


def command_name(info: Any) -> str:
    return str(info.name or info.callback.__name__).replace("_", "-")


# --- the examples ---------------------------------------------------------------------------------------------------


@dataclass
class Example:
    process: subprocess.Popen[str]
    output: Path

    def text(self) -> str:
        return self.output.read_text()


@pytest.fixture
def example(instance: Instance, tmp_path: Path) -> Iterator[Callable[..., Example]]:
    """Starts an example as a user does."""
    started: list[Example] = []
    environment = instance.environment | {
        "TRADEWIND_ADDRESS": instance.address,
        "TRADEWIND_TOKEN_FILE": instance.ready["token_file"],
        "PYTHONUNBUFFERED": "1",
    }

    def start(name: str, *arguments: str) -> Example:
        output = tmp_path / "output"
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), *arguments],
            env=environment, stdout=output.open("w"), stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(Example(process, output))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_the_example_shows_three_books(example: Callable[..., Example]) -> None:
    watching = example("watch_books.py", "--depth", "2")
    until(lambda: all(name in watching.text() for name in VENUES), "a line of each venue")
    watching.process.send_signal(signal.SIGINT)
    assert watching.process.wait(20) == 0
    assert "Traceback" not in watching.text()


def test_the_example_makes_a_market_and_cleans_up(instance: Instance, example: Callable[..., Example]) -> None:
    maker = example("market_maker.py", "--qty", "0.05", "--account", "maker")
    until(lambda: "BUY 0.05" in maker.text() and "SELL 0.05" in maker.text(), "a quote on both sides")
    with instance.client() as client:
        sold = client.sell(BOOK, "0.02")
        assert sold.status is OrderStatus.FILLED
        until(lambda: "BUY filled 0.02" in maker.text(), "word of the fill")
        maker.process.send_signal(signal.SIGINT)
        assert maker.process.wait(20) == 0, maker.text()
        assert "stopped, position 0.02" in maker.text()
        assert client.list_orders(open_only=True, account="maker") == []


# --- on a screen ----------------------------------------------------------------------------------------------------


def test_ctrl_c_stops_a_server_gracefully(instance: Instance, tmp_path: Path) -> None:
    arguments = ("up", "--port", "0", "--data-dir", str(tmp_path / "var"))
    status, text = shown_until(instance, "Stop: Ctrl-C", *arguments)
    assert status == 0, text
    assert "\x1b[32mSERVING" in text
    assert "buy binance:BTC/USDT 0.01 --market" in text
    assert "up --live" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("command", ["book", "quote"])
def test_what_is_watched_is_redrawn_in_place(instance: Instance, command: str) -> None:
    status, text = shown_until(instance, "\x1b[1A", command, VENUES[0], "--watch")  # the cursor goes up
    assert status == 130, text
    assert VENUES[0] in text
    assert "Traceback" not in text


def shown_until(instance: Instance, end: str, *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal and press Ctrl-C when it has shown `end`: its exit code and all it has shown."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli", *arguments],
        env=instance.environment | {"TERM": "xterm-256color"},
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    shown = bytearray()
    try:
        read_until(screen, shown, end.encode())
        process.send_signal(signal.SIGINT)
        read_until(screen, shown, None)
        return process.wait(30), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def read_until(screen: int, shown: bytearray, end: bytes | None) -> None:
    """Read what is shown until `end`, or until nobody writes any more."""
    while end is None or end not in shown:
        try:
            block = os.read(screen, 65_536)
        except OSError:  # how Linux says that the other side is closed
            block = b""
        if not block:
            assert end is None, shown.decode()
            return
        shown += block
