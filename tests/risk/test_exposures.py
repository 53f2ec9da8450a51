"""What an account is exposed to: positions at the middle of live books, else at a fresh last trade; the rest is named."""

from __future__ import annotations

from decimal import Decimal

import pytest

from server.base.clock import ManualClock
from server.base.instruments import Asset, Instrument, InstrumentKind, Registry
from server.market.hub import MarketData
from server.market.model import BookUpdate, FeedState, Trade
from server.risk.exposures import Exposure, Held, exposure_of
from server.risk.valuation import PriceSource, Valuation

NOW = 1_700_000_000_000_000_000
S = 1_000_000_000


def spot(number: int, name: str, tick: str = "0.01") -> Instrument:
    base, quote = name.split(":")[1].split("/")
    return Instrument(number, name, base, quote, InstrumentKind.SPOT, Decimal(tick), Decimal("0.001"), tradable=True)


BTC = spot(1, "binance:BTC/USDT")
ETH = spot(2, "okx:ETH/USDT")
SOL_BTC = spot(3, "binance:SOL/BTC", "0.0000001")
USDT_EUR = spot(4, "bybit:USDT/EUR", "0.0001")


class Market:
    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.hub = MarketData("e", self.clock)
        self.registry = Registry()
        for number, name in enumerate(("USDT", "BTC", "ETH", "SOL", "EUR"), 1):
            self.registry.add_asset(Asset(number, name))
        for instrument in (BTC, ETH, SOL_BTC, USDT_EUR):
            self.registry.add_instrument(instrument)

    def book(self, instrument: Instrument, bid: int, ask: int, state: FeedState = FeedState.LIVE) -> None:
        bids, asks = ((bid, 10),) if bid else (), ((ask, 10),) if ask else ()
        self.hub.publish(BookUpdate(instrument, bids, asks, True, state, 1, None, NOW - S))

    def trade(self, instrument: Instrument, price: int, age_s: int) -> None:
        self.hub.publish(Trade(instrument, "t", price, 1, 1, None, NOW - age_s * S))

    def exposure(self, *held: Held, asset: str = "USDT", **balances: str) -> Exposure:
        amounts = {name: Decimal(amount) for name, amount in balances.items()}
        return exposure_of("demo", held, amounts, Valuation(self.hub, self.registry, self.clock, asset))


def held(instrument: Instrument, qty: str, buys: str = "0", sells: str = "0") -> Held:
    return Held(instrument, Decimal(qty), Decimal(buys), Decimal(sells))


def test_positions_are_summed_by_asset_and_venue() -> None:
    market = Market()
    market.book(BTC, 59_999_00, 60_001_00)
    market.book(ETH, 2_999_00, 3_001_00)
    found = market.exposure(held(BTC, "0.5"), held(ETH, "-4"), USDT="50000", BTC="0.5", ETH="-4")
    assert [position.value for position in found.positions] == [30_000, -12_000]
    assert (found.total.gross, found.total.net) == (42_000, 18_000)
    assert {name: total.net for name, total in found.by_venue.items()} == {"binance": 30_000, "okx": -12_000}
    assert found.equity == 68_000
    assert found.leverage == pytest.approx(42_000 / 68_000)
    assert found.shares == pytest.approx([30 / 42, 12 / 42])
    assert not found.unpriced


@pytest.mark.parametrize(
    ("qty", "buys", "sells", "worst"),
    [("1", "2", "0", 3), ("1", "0", "2", 1), ("1", "0", "3", 2), ("-1", "1", "0", 1), ("0", "2", "3", 3),
     ("-1", "5", "5", 6)],
)  # fmt: skip
def test_the_worst_case_fills_all_orders_of_one_side(qty: str, buys: str, sells: str, worst: int) -> None:
    market = Market()
    market.book(BTC, 100_00, 100_00 + 2)
    (position,) = market.exposure(held(BTC, qty, buys, sells)).positions
    assert position.worst_value == worst * Decimal("100.01")


def test_a_book_with_one_side_gives_way_to_a_fresh_trade() -> None:
    market = Market()
    market.book(BTC, 100_00, 0)
    market.trade(BTC, 90_00, 60)
    (position,) = market.exposure(held(BTC, "1")).positions
    assert (position.value, position.price.source, position.price.age_ns) == (90, PriceSource.LAST_TRADE, 60 * S)


@pytest.mark.parametrize("state", [FeedState.STALE, FeedState.GAP, FeedState.SYNCING])
def test_a_stale_price_is_named_and_in_no_total(state: FeedState) -> None:
    market = Market()
    market.book(BTC, 100_00, 101_00, state)
    market.trade(BTC, 90_00, 61)
    market.book(ETH, 10_00, 12_00)
    found = market.exposure(held(BTC, "1", "2"), held(ETH, "1"), BTC="1", ETH="1")
    btc = found.positions[0]
    assert (btc.value, btc.worst_value, btc.price.value) == (None, None, Decimal(90))
    assert found.unpriced["binance:BTC/USDT"] == (
        f"stale price: its book is {state.name}, and the last trade is 61 s old, more than 60 s"
    )
    assert "BTC cannot be valued in USDT" in found.unpriced["BTC"]
    assert found.total.gross == 11
    assert found.equity is None
    assert found.leverage is None


def test_without_any_price_it_says_so() -> None:
    found = Market().exposure(held(BTC, "1"))
    assert found.unpriced == {"binance:BTC/USDT": "no price: its book is SYNCING, and no trade is known"}
    assert found.total.gross == 0


def test_another_quote_asset_is_converted() -> None:
    market = Market()
    market.book(SOL_BTC, 25_000, 25_000 + 2)  # 0.0025001
    found = market.exposure(held(SOL_BTC, "100"))
    assert "BTC cannot be valued in USDT: binance:BTC/USDT" in found.unpriced[SOL_BTC.name]
    market.book(BTC, 59_999_00, 60_001_00)
    (position,) = market.exposure(held(SOL_BTC, "100")).positions
    assert position.value == Decimal("0.0025001") * 100 * 60_000


def test_a_conversion_may_go_the_other_way_round() -> None:
    market = Market()
    market.book(USDT_EUR, 8_000 - 1, 8_000 + 1)
    assert market.exposure(asset="USDT", EUR="80").equity == 100
    assert market.exposure(asset="EUR", USDT="100").equity == 80
    assert market.exposure(asset="SOL", USDT="1").unpriced == {
        "USDT": "USDT cannot be valued in SOL: there is no instrument of the two"
    }
