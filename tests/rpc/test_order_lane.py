"""The compiled order lane against the path of the unary calls: the same commands, the same answers, whatever comes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry

from fastpath.model.enums import OrderStatus, OrderType
from fastpath.model.structs import COMMAND, EVENT
from fastpath.wire.directory import Directory
from fastpath.wire.order_answers import AnswerWriter
from fastpath.wire.order_requests import RequestReader, Requests
from server.base.clock import ManualClock
from server.base.errors import TradewindError
from server.base.instruments import Instrument, NotADecimal, OffGrid, OutOfRange
from server.engine.setup import AccountSetup, Funding, Setup, internal_spot
from server.rpc import convert
from server.rpc.metrics import OrderMetrics
from server.rpc.order_calls import OrderCalls
from server.rpc.order_lane import OrderLane, compiled_lane
from tests.reference.order_lane_twin import naive_lane
from tests.support.engine import House, house
from tradewind.v1 import orders_pb2 as pb

MESSAGES = 1_000 * int(os.environ.get("TRADEWIND_SOAK", "1"))
FUZZED = 40_000 * int(os.environ.get("TRADEWIND_SOAK", "1"))
NOW_NS = 1_700_000_000_123_456_789
SETUP = Setup(
    instruments=(
        internal_spot("BTC/USDT", "0.01", "0.00001"),
        internal_spot("ETH/USDT", "0.25", "0.004"),
        internal_spot("PEPE/USDT", "0.00000001", "1000"),
    ),
    accounts=tuple(
        AccountSetup(
            name,
            2,
            (Funding("USDT", "20000000"), Funding("BTC", "50"), Funding("ETH", "5000"), Funding("PEPE", "9000000")),
        )
        for name in ("alice", "bob")
    ),
)
PRICES = {"internal:BTC/USDT": "60000", "internal:ETH/USDT": "3000", "internal:PEPE/USDT": "0.00001"}
TICKS = {"internal:BTC/USDT": "0.01", "internal:ETH/USDT": "0.25", "internal:PEPE/USDT": "0.00000001"}
LOTS = {"internal:BTC/USDT": "0.001", "internal:ETH/USDT": "0.004", "internal:PEPE/USDT": "1000"}
ODD_TEXTS = ("", "0", "-1", "1e3", "1.", ".5", "0.000001", "9" * 20, "0." + "0" * 17 + "1", "+1", " 1", "1,5", "é", "١")


@contextlib.asynccontextmanager
async def lanes(folder: Path) -> AsyncIterator[tuple[House, OrderLane, OrderMetrics, House, OrderLane, OrderMetrics]]:
    """The compiled lane and the naive one, each with an engine of its own at the same moment."""
    async with (
        house(folder / "a", clock=ManualClock(NOW_NS), setup=SETUP) as ours,
        house(folder / "b", clock=ManualClock(NOW_NS), setup=SETUP) as theirs,
    ):
        metrics = OrderMetrics(CollectorRegistry()), OrderMetrics(CollectorRegistry())
        fast, naive = compiled_lane(ours.trading, metrics[0]), naive_lane(theirs.trading, metrics[1])
        yield ours, fast, metrics[0], theirs, naive, metrics[1]


def counted(metrics: OrderMetrics) -> list[Any]:
    return sorted(
        (*sample.labels.values(), sample.value)
        for counter in (metrics._orders, metrics._rejects)
        for family in counter.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    )


class Trader:
    """Makes messages: most of them in order, each way of being wrong now and then."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.ids = [f"id-{n}" for n in range(60)]
        self.made = 0
        self.recent: deque[tuple[str, str]] = deque(maxlen=40)
        """Account and client_order_id of orders that were made."""

    def sometimes(self, share: float = 0.04) -> bool:
        return self.rng.random() < share

    def order(self) -> pb.PlaceOrderRequest:
        rng = self.rng
        instrument = rng.choice(list(PRICES))
        away = Decimal(rng.randint(-40, 40)) * Decimal(TICKS[instrument]) * 4
        self.made += 1
        request = pb.PlaceOrderRequest(
            account=rng.choice(("alice", "bob")),
            instrument=instrument,
            side=rng.choice((1, 2)),
            type=pb.ORDER_TYPE_LIMIT,
            time_in_force=rng.choice((0, 0, 0, 1, 2, 3, 5)),
            qty=format(Decimal(LOTS[instrument]) * rng.randint(1, 50), "f"),
            client_order_id=rng.choice(self.ids) if self.sometimes() else f"new-{self.made}",
        )
        if self.sometimes(0.15):
            request.type = pb.ORDER_TYPE_MARKET
        else:
            request.price = format(Decimal(PRICES[instrument]) + away, "f") + ("00" if self.sometimes(0.1) else "")
        if self.sometimes(0.3):
            self.make_special(request, format(Decimal(PRICES[instrument]) - away, "f"))
        if self.sometimes(0.1):
            request.ClearField("client_order_id")
        else:
            self.recent.append((request.account, request.client_order_id))
        if self.sometimes(0.2):
            request.self_trade_prevention = rng.randint(1, 5)
            request.self_trade_group = rng.choice((0, 7))
        for flag in ("post_only", "post_only_slide", "reduce_only", "cancel_on_disconnect", "close_position"):
            if self.sometimes(0.07):
                setattr(request, flag, True)
        if self.sometimes(0.2):
            self.spoil(request)
        return request

    def make_special(self, request: pb.PlaceOrderRequest, price: str) -> None:
        """One of the other types, or an option that not every order has."""
        rng = self.rng
        match rng.randrange(6):
            case 0:
                request.type = rng.choice((pb.ORDER_TYPE_STOP, pb.ORDER_TYPE_TAKE_PROFIT, pb.ORDER_TYPE_TRAILING_STOP))
                request.ClearField("price")
                request.trigger_price = price
            case 1:
                request.type = rng.choice((pb.ORDER_TYPE_STOP_LIMIT, pb.ORDER_TYPE_TAKE_PROFIT_LIMIT))
                request.trigger_price = price
                request.trigger_source = rng.choice((0, 1, 2, 3))
            case 2:
                request.type = rng.choice((pb.ORDER_TYPE_ICEBERG, pb.ORDER_TYPE_HIDDEN))
                if request.type == pb.ORDER_TYPE_ICEBERG or self.sometimes(0.1):
                    request.display_qty = LOTS[request.instrument]
            case 3:
                request.min_qty = LOTS[request.instrument]
            case 4:
                request.time_in_force = pb.TIME_IN_FORCE_GTD
                if not self.sometimes(0.1):
                    request.expire_time.FromNanoseconds(NOW_NS + rng.choice((-(10**9), 1, 10**12)))
            case _:
                request.type = rng.choice((pb.ORDER_TYPE_MARKET, pb.ORDER_TYPE_MARKET_TO_LIMIT, pb.ORDER_TYPE_STOP))
                request.ClearField("price")
                request.protection_price = price

    def amendment(self) -> pb.AmendOrderRequest:
        rng = self.rng
        request = pb.AmendOrderRequest(order=self.ref())
        if self.recent and self.sometimes(0.7):
            account, client_order_id = rng.choice(self.recent)
            request.order.CopyFrom(pb.OrderRef(account=account, client_order_id=client_order_id))
        for field, share, values in (
            ("qty", 0.6, ("0.04", "0.04", "1000", "1000", "0.002", "", "x")),
            ("price", 0.5, ("60000", "60000", "3000", "3000", "0.00001", "59999.99", "x")),
            ("trigger_price", 0.1, ("60001", "3000.25")),
        ):
            if self.sometimes(share):
                setattr(request, field, rng.choice(values))
        return request

    def spoil(self, request: pb.PlaceOrderRequest) -> None:
        rng = self.rng
        field = rng.choice(("account", "instrument", "qty", "price", "client_order_id", "quote_qty", "trigger_price",
                            "protection_price", "display_qty", "min_qty", "enums", "expire_time", "trailing"))  # fmt: skip
        if field == "enums":
            name = rng.choice(("side", "type", "time_in_force", "self_trade_prevention", "trigger_source"))
            setattr(request, name, rng.choice((0, -1, 3, 4, 9, 99)))
        elif field == "expire_time":
            request.time_in_force = pb.TIME_IN_FORCE_GTD
            request.expire_time.FromNanoseconds(NOW_NS + rng.choice((-1, 10**9)))
        elif field == "trailing":
            request.self_trade_group = rng.choice((2**31 - 1, 2**31, 2**32 - 1))
            request.trailing_offset_bps = rng.choice((0, 1, 10**6))
        elif field in ("account", "instrument", "client_order_id"):
            setattr(
                request, field, rng.choice(("", "nobody", "internal:X/Y", "a b", "x" * 36, "x" * 37, "é", "alice\0"))
            )
        else:
            setattr(request, field, rng.choice((*ODD_TEXTS, "1000", "60000.005", "0.01")))

    def ref(self) -> pb.OrderRef:
        rng = self.rng
        ref = pb.OrderRef(account=rng.choice(("alice", "bob", "alice", "bob", "nobody", "")))
        kind = rng.random()
        if kind < 0.6:
            ref.client_order_id = f"new-{rng.randint(max(1, self.made - 40), self.made + 1)}"
        elif kind < 0.9:
            ref.order_id = str(rng.randint(1, 3 * self.made + 40))
        elif kind < 0.97:
            ref.order_id = rng.choice(("", "0", "01", "-1", "9" * 19, "1" + "0" * 19, "1e3", "x"))
        return ref

    def command(self) -> pb.OrderCommand:
        kind = self.rng.random()
        if kind < 0.6:
            return pb.OrderCommand(place=self.order())
        if kind < 0.8:
            return pb.OrderCommand(cancel=pb.CancelOrderRequest(order=self.ref()))
        if kind < 0.98:
            return pb.OrderCommand(amend=self.amendment())
        return pb.OrderCommand()

    def stream_message(self) -> bytes:
        commands = [self.command() for _ in range(self.rng.choice((0, 1, 1, 5, 30)))]
        return pb.StreamOrdersRequest(
            batch_id=self.rng.choice((0, 1, 2**63, 300)), commands=commands
        ).SerializeToString()

    def batch_message(self) -> bytes:
        orders = [self.order() for _ in range(self.rng.choice((0, 1, 20)))]
        return pb.BatchPlaceOrdersRequest(orders=orders).SerializeToString()

    def damaged(self, raw: bytes) -> bytes:
        """The same with some bytes changed, cut, doubled or put in."""
        rng, changed = self.rng, bytearray(raw)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(changed) + 1)
            match rng.randrange(5):
                case 0 if at < len(changed):
                    changed[at] ^= 1 << rng.randrange(8)
                case 1:
                    del changed[at : at + rng.choice((1, 2, 10, 10**6))]
                case 2:
                    changed[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
                case 3:
                    changed += changed[at : at + 40]
                case _:
                    changed[at:at] = rng.choice((b"\xa8\x07\x05", b"\x08\x81\x00", b"\xff" * 10 + b"\x01", b"\x0b\x0c"))
        return bytes(changed)


def read(decode: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return decode(raw)
    except DecodeError:
        return None


def started(batch: Any, group_owner: int, session: Any) -> Any:
    """None, or what kept it from starting."""
    try:
        batch.start("request-1", group_owner, session)
    except TradewindError as error:
        return type(error), error.message, batch.refusal(error)
    return None


async def test_the_same_messages_give_the_same_answers(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    trader, plain = Trader(seed), 0
    async with lanes(tmp_path) as (ours, fast, our_metrics, theirs, naive, their_metrics):
        sessions = ours.trading.open_session(), theirs.trading.open_session()
        for _ in range(MESSAGES):
            in_stream = trader.sometimes(0.8)
            raw = trader.stream_message() if in_stream else trader.batch_message()
            if trader.sometimes(0.3):
                raw = trader.damaged(raw)
            pair = [read(lane.read_stream if in_stream else lane.read_batch, raw) for lane in (fast, naive)]
            assert (pair[0] is None) == (pair[1] is None), raw
            if pair[0] is None:
                continue
            plain += pair[0]._count - len(pair[0]._others)
            assert pair[0].accounts == pair[1].accounts, raw
            owner = trader.rng.choice((0, 5, 2**64 - 1))
            results = [
                started(batch, owner, session if in_stream else None)
                for batch, session in zip(pair, sessions, strict=True)
            ]
            assert results[0] == results[1], raw
            if results[0] is None:
                answers = await asyncio.gather(pair[0].answer(), pair[1].answer())
                assert answers[0] == answers[1], raw
        assert ours.engine.exchange.state_hash() == theirs.engine.exchange.state_hash()
        assert counted(our_metrics) == counted(their_metrics)
        for session in sessions:
            session.close()
        await asyncio.gather(ours.trading.state(), theirs.trading.state())
        assert ours.engine.exchange.state_hash() == theirs.engine.exchange.state_hash()
    assert plain > MESSAGES, "the compiled code had its share"


async def test_single_calls_give_the_same_answers(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    trader, plain = Trader(seed), Counter[str]()
    async with lanes(tmp_path) as (ours, fast, our_metrics, theirs, naive, their_metrics):
        both = OrderCalls(fast), OrderCalls(naive)
        for _ in range(MESSAGES):
            kind = trader.rng.choice(("place", "place", "cancel", "amend"))
            if kind == "place":
                raw = trader.order().SerializeToString()
            elif kind == "cancel":
                raw = pb.CancelOrderRequest(order=trader.ref()).SerializeToString()
            else:
                raw = trader.amendment().SerializeToString()
            if trader.sometimes(0.1):
                raw = trader.damaged(raw)
            pair = [read(getattr(calls, kind), raw) for calls in both]
            assert (pair[0] is None) == (pair[1] is None), raw
            if pair[0] is None:
                continue
            plain[kind] += isinstance(pair[0]._read, Requests)
            assert pair[0].accounts == pair[1].accounts, raw
            owner = trader.rng.choice((0, 5, 2**64 - 1))
            answers = await asyncio.gather(pair[0].answer(owner), pair[1].answer(owner), return_exceptions=True)
            assert told(answers[0]) == told(answers[1]), raw
        assert ours.engine.exchange.state_hash() == theirs.engine.exchange.state_hash()
        assert counted(our_metrics) == counted(their_metrics)
    assert plain["place"] > MESSAGES / 6, "the compiled code had its share"
    assert min(plain["cancel"], plain["amend"]) > MESSAGES / 100


def told(answer: bytes | BaseException) -> Any:
    if isinstance(answer, bytes):
        return answer
    assert isinstance(answer, TradewindError), answer
    return type(answer), answer.message, answer.metadata, getattr(answer, "violations", None)


async def test_what_the_reader_takes_for_plain_is_what_the_checks_make_of_it(tmp_path: Path) -> None:
    """Bytes of every kind, without an engine behind: many more of them."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    trader = Trader(seed)
    async with house(tmp_path, setup=SETUP) as it:
        metrics = OrderMetrics(CollectorRegistry())
        fast, naive = compiled_lane(it.trading, metrics), naive_lane(it.trading, metrics)
        for number in range(FUZZED):
            if number % 10 == 0:
                raw = trader.rng.randbytes(trader.rng.randrange(60))
            else:
                raw = pb.StreamOrdersRequest(batch_id=5, commands=[trader.command()]).SerializeToString()
                raw = trader.damaged(raw) if number % 2 else raw
            batch, expected = read(fast.read_stream, raw), read(naive.read_stream, raw)
            assert (batch is None) == (expected is None), raw
            if batch is None:
                continue
            assert (batch._count, batch._batch_id, batch.accounts) == (
                expected._count, expected._batch_id, expected.accounts,
            ), raw  # fmt: skip
            for at, item in expected._others.items():
                if at in batch._others:
                    assert batch._others[at] == item, raw
                else:
                    session = it.trading.open_session()
                    command = COMMAND.unpack(it.trading.command(expected._check(item, session)))
                    command["session"] = 0  # it is put in when the batch starts
                    if at in batch._unnamed:
                        command["client_order_id"] = b""  # so is a name
                    assert batch._command(at) == COMMAND.pack(**command), raw


async def test_plain_numbers_are_the_decimals_that_people_mean(tmp_path: Path) -> None:
    rng = random.Random(11)
    async with house(tmp_path, setup=SETUP) as it:
        reader = RequestReader(Directory(it.trading.registry), it.trading.find_order_event)
        for name in PRICES:
            instrument = it.trading.registry.instrument(name)
            for _ in range(400):
                text = random_decimal(rng, instrument)
                request = pb.PlaceOrderRequest(
                    account="alice", instrument=name, side=1, type=1, qty=text, price=text, client_order_id="x"
                )
                raw = pb.BatchPlaceOrdersRequest(orders=[request]).SerializeToString()
                read = reader.batch(raw)
                assert read is not None
                try:
                    price, qty = instrument.ticks(text), instrument.lots(text)
                except (NotADecimal, OffGrid, OutOfRange):
                    assert read.others, text
                    continue
                if len(text) > 18 or text.startswith("-") or price <= 0 or qty <= 0:
                    continue
                assert not read.others, text
                command = COMMAND.unpack(read.commands)
                assert (command["price"], command["qty"]) == (price, qty), text


def random_decimal(rng: random.Random, instrument: Instrument) -> str:
    grid = rng.choice((instrument.tick_size, instrument.lot_size, Decimal("0.1"), Decimal(1)))
    text = format(grid * rng.choice((1, 4, 1000, rng.randrange(10**6), rng.randrange(10**12))), "f")
    return rng.choice((text, text, text + "0", "0" + text, text[:-1], text + "5", "-" + text, text.replace(".", "")))


GRIDS = ("1", "0.5", "0.25", "10", "1000", "0.01", "1E-8", "1E-12", "1E-18", "123.456", "1E+6", "1E-20", "7E+20")


async def test_the_writer_shows_orders_as_protobuf_does(tmp_path: Path) -> None:
    rng = random.Random(12)
    async with house(tmp_path, setup=SETUP) as it:
        registry, view = it.trading.registry, it.trading.order_view
        fallbacks = 0
        for number in range(1_500):
            if number % 100 == 0:
                instrument = dataclasses.replace(
                    it.btc, number=100 + number,
                    tick_size=Decimal(rng.choice(GRIDS)), lot_size=Decimal(rng.choice(GRIDS)),
                )  # fmt: skip
                registry.add_instrument(instrument)

                def encode(record: bytes) -> bytes:
                    nonlocal fallbacks
                    fallbacks += 1
                    expected: bytes = convert.order(view(record)).SerializeToString()
                    return expected

                held = it.trading.newest_order_events
                writer = AnswerWriter(
                    Directory(registry), convert.REJECT_MESSAGES, held, lambda order_id: None, encode
                )
            record = random_order(rng, instrument.number)
            assert writer.order(record) == convert.order(view(record)).SerializeToString()
        assert fallbacks < 700, "most orders are written by compiled code"


def random_order(rng: random.Random, instrument: int) -> bytes:
    def number(*others: int) -> int:
        return rng.choice((0, 1, rng.randrange(10**4), rng.randrange(10**9), rng.randrange(2**61), *others))

    cum_qty = number()
    values: dict[str, int | bytes] = {
        "ts_ns": number(10**9, NOW_NS), "kind": 10, "side": rng.randint(1, 2), "account": rng.randint(1, 2),
        "order_type": rng.choice([int(each) for each in OrderType]), "time_in_force": rng.randint(0, 5),
        "flags": rng.randrange(256), "instrument": instrument, "order_id": number(2**64 - 1),
        "price": number(), "qty": number(), "cum_qty": cum_qty, "leaves_qty": number(),
        "cum_notional": number() if cum_qty else 0, "status": rng.choice([int(each) for each in OrderStatus]),
        "reject_reason": rng.choice((0, rng.randint(1, 48))), "cancel_reason": rng.randint(0, 12),
        "cum_fee": rng.choice((1, -1)) * number(), "placed_ns": number(NOW_NS), "trigger_price": number(2**60, 2**60 + 1),
        "display_qty": number(), "expire_ns": number(), "link_id": number(2**64 - 1),
        "client_order_id": rng.choice((b"", b"a", b"x" * 36, b"Z-_9") * 5 + ("größe".encode(),)),
    }  # fmt: skip
    return EVENT.pack(**values)


async def test_answers_that_do_not_match_the_items_are_an_error(tmp_path: Path) -> None:
    async with house(tmp_path, setup=SETUP) as it:
        directory = Directory(it.trading.registry)
        writer = AnswerWriter(
            directory, convert.REJECT_MESSAGES, it.trading.newest_order_events, it.trading.order_event, lambda record: b""
        )
        events = await it.trading.submit([it.buy(100, 1_000), it.buy(101, 1_000)])
        for count in (1, 3):
            with pytest.raises(ValueError, match="item"):
                writer.stream(1, count, events, {}, lambda item, record: b"")
        answer, decided = writer.stream(7, 3, events, {1: b""}, lambda item, record: b"")
        response = pb.StreamOrdersResponse.FromString(answer)
        assert [result.WhichOneof("result") for result in response.batches[0].results] == ["order", "error", "order"]
        assert decided == {(pb.ORDER_STATUS_NEW, 0): 2}
