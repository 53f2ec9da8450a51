"""The small parts of the feeds: exact conversion, the mirrored book, what venues say about their markets, back-off."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.backoff import Backoff
from server.base.instruments import InstrumentKind, OffGrid, from_units
from server.feeds.binance import Binance
from server.feeds.bybit import Bybit
from server.feeds.frames import BadFrame, DepthFrame, QuoteFrame, TradeFrame
from server.feeds.grid import Grid
from server.feeds.numbers import MAX_UNITS
from server.feeds.okx import Okx
from server.feeds.specs import Rules, describe
from server.market.book import MAX_LEVELS, Book, BookSide

pytestmark = pytest.mark.unit

STEPS = ("0.01", "0.1", "1", "5", "0.00000001", "0.025", "10", "1E-11")


@given(st.sampled_from(STEPS), st.integers(0, MAX_UNITS), st.integers(0, 4))
def test_grid_is_exact(step: str, units: int, zeros: int) -> None:
    grid = Grid(Decimal(step))
    text = from_units(units, Decimal(step))
    assert grid.units(text) == units
    assert grid.units(text + ("" if "." in text else ".0") + "0" * zeros) == units


@pytest.mark.parametrize(("step", "text"), [("0.01", "1.005"), ("5", "12"), ("0.025", "0.03"), ("10", "10.1")])
def test_grid_refuses_what_is_between_two_steps(step: str, text: str) -> None:
    with pytest.raises(OffGrid):
        Grid(Decimal(step)).units(text)


@pytest.mark.parametrize(
    "text", ["", "abc", "1.2.3", "1,5", "0x10", "١", "1_000", "-1", "1.00x", "1.", "NaN", "1e9999"]
)
def test_grid_refuses_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a decimal number"):
        Grid(Decimal("0.01")).units(text)


def test_grid_reads_exponents_venues_sometimes_send() -> None:
    assert Grid(Decimal("0.01")).units("1e-2") == 1
    assert Grid(Decimal("1")).units("1E+3") == 1_000


def test_a_book_side_keeps_its_levels_sorted_and_bounded() -> None:
    rng = random.Random(7)
    side, naive = BookSide(-1), dict[int, int]()
    for _ in range(3_000):
        price, qty = rng.randint(1, 400), rng.choice((0, 0, 1, 2))
        changed = side.apply([(price, qty)])
        assert bool(changed) == (naive.get(price, 0) != qty)
        naive[price] = qty
        alive = sorted(((p, q) for p, q in naive.items() if q), reverse=True)
        assert side.top(1_000) == tuple(alive)
        assert side.best() == (alive[0] if alive else (0, 0))
    side.apply([(price, 1) for price in range(MAX_LEVELS * 2)])
    assert len(side.qty) == MAX_LEVELS
    assert side.best() == (MAX_LEVELS * 2 - 1, 1)


def test_a_book_knows_when_it_is_crossed() -> None:
    book = Book()
    assert not book.is_crossed
    book.reset([(10, 1)], [(11, 1)])
    assert not book.is_crossed
    book.bids.apply([(11, 1)])
    assert book.is_crossed


def test_instruments_carry_the_venues_own_numbers() -> None:
    market = {
        "symbol": "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
        "type": "spot",
        "maker": 0.0008,
        "taker": 0.001,
        "info": {
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
                {"filterType": "LOT_SIZE", "stepSize": "0.00001000", "minQty": "0.00001500", "maxQty": "9000.00000000"},
                {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
            ]
        },
    }
    instrument = describe("binance", market, Binance().rules(market))
    assert instrument.name == "binance:BTC/USDT"
    assert (instrument.tick_size, instrument.lot_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert (instrument.min_qty, instrument.max_qty) == (2, 900_000_000)
    assert instrument.min_notional == 5
    assert (instrument.maker_fee_bps, instrument.taker_fee_bps) == (8, 10)
    assert (instrument.kind, instrument.tradable, instrument.number) == (InstrumentKind.SPOT, True, 0)


@pytest.mark.parametrize(
    "rules",
    [
        ("0", "1"), ("-1", "1"), ("NaN", "1"), ("1", "0"), ("1", "Infinity"), ("1", "1e-30"), ("x", "1"),
        ("1", "1", "1e30"), ("1", "1", "-5"), ("1", "1", "1", "NaN"), ("1", "1", "1", "1", "1e30"), ("1", None),
    ],
)  # fmt: skip
def test_absurd_order_rules_are_refused_where_a_market_is_listed(rules: tuple[str, ...]) -> None:
    market = {"symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot"}
    with pytest.raises((ValueError, ArithmeticError, TypeError)):
        describe("okx", market, Rules(*rules))


def test_a_derivative_is_not_tradable_and_counts_contracts() -> None:
    market = {"symbol": "UNI/USD:UNI", "base": "UNI", "quote": "USD", "type": "swap", "contractSize": 10.0}
    instrument = describe("okx", market, Rules("0.001", "1"))
    assert (instrument.kind, instrument.tradable) == (InstrumentKind.PERPETUAL, False)
    assert (instrument.contract_size, instrument.min_qty) == (10, 1)


def test_what_is_no_trade_of_the_market_has_a_number_and_does_not_count() -> None:
    trade = {"e": "trade", "s": "BTCUSDT", "t": 7, "p": "1.5", "q": "2", "T": 3, "m": True, "X": "MARKET"}
    frame = TradeFrame("linear:BTCUSDT", "7", "1.5", "2", 2, 3_000_000, number=7)
    assert Binance().parse(trade, "linear") == (frame,)
    assert Binance().parse(trade | {"X": "INSURANCE_FUND"}, "linear") == (frame._replace(public=False),)


def test_what_is_no_market_data_is_left_to_ccxt() -> None:
    assert Binance().parse({"result": None, "id": 1}, "spot") is None
    assert Okx().parse({"event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}}, "") is None
    assert Bybit().parse({"success": True, "op": "subscribe", "req_id": "1"}, "spot") is None


def test_an_empty_side_has_no_price() -> None:
    top = {"arg": {"channel": "bbo-tbt", "instId": "X"}, "data": [{"bids": [], "asks": [["5", "1"]], "ts": "2"}]}
    assert Okx().parse(top, "") == [QuoteFrame("X", ("0", "0"), ["5", "1"], 2_000_000)]


def test_a_grid_takes_no_more_than_the_engine_can_count() -> None:
    grid = Grid(Decimal("0.001"))
    most = from_units(MAX_UNITS, Decimal("0.001"))
    assert grid.units(most) == MAX_UNITS
    for text in (from_units(MAX_UNITS + 1, Decimal("0.001")), "1" + "0" * 25, "10000000000000000000", "1e30"):
        with pytest.raises(ValueError, match="too large"):
            grid.units(text)
    for odd in ("1" * 65, 5, 5.0, None, ["1"]):
        with pytest.raises((ValueError, TypeError)):
            grid.units(odd)  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", [1e20, 2**63, -2, "9" * 30, True, None, "1.0", [1]])
def test_an_absurd_sequence_id_makes_its_own_frame_bad_and_no_other(odd: object) -> None:
    depth = {"e": "depthUpdate", "s": "X", "U": 5, "u": odd, "b": [], "a": [], "E": 1}
    assert isinstance(Binance().parse(depth, "spot")[0], BadFrame)  # type: ignore[index]
    book = {"topic": "orderbook.200.X", "type": "delta", "ts": 1, "data": {"u": odd, "b": [], "a": []}}
    assert isinstance(Bybit().parse(book, "spot")[0], BadFrame)  # type: ignore[index]
    good = {"bids": [], "asks": [], "ts": "1", "seqId": 2**63 - 1, "prevSeqId": -1}
    books = {"arg": {"channel": "books", "instId": "X"}, "action": "update", "data": [good | {"seqId": odd}, good]}
    bad, read = Okx().parse(books, "")  # type: ignore[misc]
    assert isinstance(bad, BadFrame)
    assert bad.market == "X"
    assert isinstance(read, DepthFrame)
    assert read.sequence == 2**63 - 1


@pytest.mark.parametrize(
    "damage", [{"T": 10**20}, {"T": 1e19}, {"T": "x"}, {"i": "x" * 65}, {"i": "\ud800"}, {"i": ""}, {"i": None}]
)
def test_an_absurd_trade_leaves_the_others_of_its_message(damage: dict[str, object]) -> None:
    good = {"T": 1, "S": "Buy", "v": "1", "p": "1", "i": "a"}
    frames = Bybit().parse({"topic": "publicTrade.X", "data": [good, good | damage, good | {"i": "b"}]}, "spot")
    assert frames is not None
    assert [type(frame) for frame in frames] == [TradeFrame, BadFrame, TradeFrame]


def test_backoff_doubles_up_to_its_limit_and_starts_again() -> None:
    backoff = Backoff(random.Random(1).random, first_s=0.1, limit_s=1.0)
    delays = [backoff.next_s() for _ in range(8)]
    for delay, bound in zip(delays, (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0), strict=True):
        assert bound / 2 <= delay <= bound
    backoff.reset()
    assert backoff.next_s() <= 0.1
