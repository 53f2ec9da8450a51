"""Clients that send rubbish, ask for too much, read nothing or vanish: the server goes on serving the others, and keeps
neither memory nor connections of those that are gone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc

from server.replay import Pace, ReplayConfig, ReplayExchange
from tests.conftest import SOAK_FACTOR
from tests.simulation.whole_server import WholeServer, until_listed, whole_server
from tests.waiting import PATIENCE_S, until
from tradewind import AsyncClient
from tradewind.v1 import market_data_pb2 as pb
from tradewind.v1 import market_data_pb2_grpc

SYMBOLS = ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT")
NAMES = [f"bybit:{symbol}" for symbol in SYMBOLS]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
ROUNDS = 4
STREAMS = 90
RUDE = 60
SPEED = 8.0
UNREAD_FRAMES = 600
"""So far the market goes on while nobody reads."""
GROWTH_MB = 40.0
"""More than the hub's rings and the allocator's habits still take after the first round."""


async def test_rude_clients_are_survived(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"\nseed {seed}")
    rng = random.Random(seed)
    replay = ReplayExchange(ReplayConfig(venues=("bybit",), pace=Pace(speed=SPEED)))
    await replay.start()
    try:
        async with whole_server(tmp_path / "var", replay, {"bybit": SYMBOLS}) as server, server.client() as client:
            await until_listed(client, NAMES)
            async with serving_others(client) as served:
                sizes: list[float] = []
                files: list[int] = []
                for _ in range(ROUNDS * SOAK_FACTOR):
                    at_first = server.open_files
                    before = len(served)
                    await one_round(server, replay, client, rng)
                    assert len(served) > before, "nobody else was served"
                    await until(lambda limit=at_first + 2: server.open_files <= limit, "connections are given back")
                    sizes.append(server.rss_mb)
                    files.append(server.open_files)
            print(f"RSS by round, MB: {[round(size) for size in sizes]}; open files {files}; {len(served)} served")
            assert sizes[-1] - sizes[0] < GROWTH_MB
    finally:
        await replay.stop()


async def one_round(server: WholeServer, replay: ReplayExchange, client: AsyncClient, rng: random.Random) -> None:
    """All of it at once."""
    rude = [asyncio.to_thread(send_rubbish, server.address, rng.randbytes(8)) for _ in range(RUDE)]
    slow = read_nothing(server, replay, client)
    await asyncio.gather(slow, too_much(server, client), *rude)


@contextlib.asynccontextmanager
async def serving_others(client: AsyncClient) -> AsyncIterator[list[str]]:
    """A polite client beside: every one of its orders is answered, rightly. The ids of the orders."""
    served: list[str] = []

    async def go_on() -> None:
        while True:
            order = await client.buy("internal:BTC/USDT", "0.001", "50000", account="demo")
            assert order.status == "NEW"
            assert (await client.cancel_order(order.order_id, account="demo")).status == "CANCELED"
            served.append(order.order_id)
            await asyncio.sleep(0.01)

    going_on = asyncio.create_task(go_on())
    yield served
    assert not going_on.done(), going_on.result()
    going_on.cancel()


async def read_nothing(server: WholeServer, replay: ReplayExchange, client: AsyncClient) -> None:
    """As many streams as a token may have, for all there is, of which nothing is read; then the connection is gone."""
    request = pb.SubscribeMarketDataRequest(
        subscriptions=[
            pb.MarketDataSubscription(
                subscription_id=f"{name}-{channel}-{depth}", instrument=name, channel=channel,
                delivery=pb.DELIVERY_ALL, depth=depth,
            )
            for name in NAMES
            for channel, depth in ((pb.CHANNEL_BOOK, 200), (pb.CHANNEL_BOOK, 7), (pb.CHANNEL_QUOTE, 0), (pb.CHANNEL_TRADE, 0))
        ]
    )  # fmt: skip
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = market_data_pb2_grpc.MarketDataServiceStub(channel)
        calls = [stub.SubscribeMarketData(request, metadata=client.metadata()) for _ in range(STREAMS)]
        first = await asyncio.gather(*(call.read() for call in calls))
        assert {message.events[0].WhichOneof("event") for message in first} == {"ack"}
        goal = replay.frames_played("bybit") + UNREAD_FRAMES
        await until(lambda: replay.frames_played("bybit") > goal, "the market goes on")


async def too_much(server: WholeServer, client: AsyncClient) -> None:
    """Messages of all wrong kinds over a good connection: each has an answer."""
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        bodies: Sequence[bytes] = (b"\xff" * 1_000, b"\x0a\xff\xff\xff\xff\x0f", b"x" * 5_000_000, b"\x08" + b"\x80" * 70_000)
        for method in ("PlaceOrder", "CancelOrder", "ListOrders", "Nonsense"):
            call = channel.unary_unary(f"/tradewind.v1.OrderService/{method}")
            for body in bodies:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await call(body, metadata=client.metadata(), timeout=PATIENCE_S)
                    raise AssertionError(f"{method} took {body[:10]!r}...")


def send_rubbish(address: str, key: bytes) -> None:
    """One connection below gRPC: bytes of any kind, then it is reset."""
    rng = random.Random(key)
    host, _, port = address.rpartition(":")
    headers = rng.randbytes(rng.randint(0, 60))
    frame = struct.pack(">I", len(headers))[1:] + bytes([rng.randint(0, 12), rng.randint(0, 255)])
    kinds = (
        rng.randbytes(rng.randint(1, 100_000)),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
        PREFACE,
        PREFACE + SETTINGS + rng.randbytes(rng.randint(1, 5_000)),
        PREFACE + SETTINGS + (frame + struct.pack(">I", 1) + headers) * 50,
        PREFACE + SETTINGS * 5_000,
        PREFACE + SETTINGS + (b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8)) * 2_000,
    )
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection, contextlib.suppress(OSError):
        connection.sendall(rng.choice(kinds))
        connection.settimeout(rng.random())
        connection.recv(1 << 16)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
