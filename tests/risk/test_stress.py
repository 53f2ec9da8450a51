"""Stress, exposure and the cost to liquidate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.base.errors import FailedPrecondition, InvalidRequest, NotFound
from server.risk.covariance import Covariance
from server.risk.liquidation import Book, cost_to_liquidate
from server.risk.portfolio import Portfolio, Position, Returns
from server.risk.shocks import NAMED_SHOCKS, coin_of
from server.risk.stress import CustomShock, Holding, StressRequest, run_stress

PORTFOLIO = Portfolio(
    (
        Position("BTC", 1000.0, "binance", "trend"),
        Position("BTC", -400.0, "okx", "pairs", claim=50.0),
        Position("DOGE", 200.0, "okx", "pairs"),
        Position("USDC", 300.0, "okx"),
        Position("USDT", 500.0, "binance"),
    )
)
BOOK = Book(bids=((99.0, 2.0), (98.0, 3.0)), asks=((101.0, 1.0), (103.0, 4.0)))


def test_a_past_shock_moves_each_asset_by_its_coin_or_its_class() -> None:
    (result,) = run_stress(PORTFOLIO, StressRequest(named=("2023-03-usdc",))).results
    assert {line.name: line.shock for line in result.lines} == {"BTC": -0.0361, "DOGE": -0.0655, "USDC": -0.12}
    assert result.loss == pytest.approx(600 * 0.0361 + 200 * 0.0655 + 300 * 0.12)
    assert result.kind == "NAMED"
    assert "2023-03-10" in result.description


def test_the_worst_comes_first_and_all_named_shocks_are_tried_unless_some_are_chosen() -> None:
    results = run_stress(PORTFOLIO, StressRequest()).results
    assert {result.name for result in results} == set(NAMED_SHOCKS)
    assert [result.loss for result in results] == sorted((result.loss for result in results), reverse=True)


def test_an_own_shock_names_assets_coins_or_the_others() -> None:
    shock = CustomShock("mine", {"BTC": 0.1, "OTHER": -0.5})
    (result,) = run_stress(PORTFOLIO, StressRequest((), (shock,))).results
    assert result.loss == pytest.approx(-60 + 100 + 150)
    assert coin_of("binance:BTC/USDT:USDT") == coin_of("BTC/USDT") == coin_of("btc") == "BTC"


def test_correlations_of_one_keep_hedges_and_failing_hedges_do_not() -> None:
    rng = np.random.default_rng(1)
    returns = Returns(np.arange(5000), ("BTC", "ETH"), rng.standard_normal((5000, 2)) * [0.01, 0.02])
    portfolio = Portfolio((Position("BTC", 1000.0), Position("ETH", -300.0)))
    request = StressRequest((), correlations_to_one=True, confidence=0.99, horizon=4, covariance=Covariance.SAMPLE)
    found = {result.name: result.loss for result in run_stress(portfolio, request, returns).results}
    z = 2.3263 * math.sqrt(4)
    assert found["correlations-to-one"] == pytest.approx(z * (10 - 6), rel=0.1)
    assert found["hedges-fail"] == pytest.approx(z * (10 + 6), rel=0.05)
    with pytest.raises(FailedPrecondition, match="need the returns"):
        run_stress(portfolio, request)


def test_a_venue_that_defaults_takes_what_it_owes_and_a_debt_to_it_stays() -> None:
    request = StressRequest((), venue_defaults=("okx", "binance"), recovery=0.2)
    found = {result.name: result.loss for result in run_stress(PORTFOLIO, request).results}
    assert found == {"default:okx": pytest.approx(0.8 * (50 + 200 + 300)), "default:binance": pytest.approx(0.8 * 1500)}
    with pytest.raises(NotFound, match="holds nothing there"):
        run_stress(PORTFOLIO, StressRequest((), venue_defaults=("kraken",)))


def test_wider_and_thinner_books_cost_more_and_what_they_do_not_take_is_said() -> None:
    request = StressRequest(
        (), holdings=(Holding("BTC", 3.0, BOOK, quote_value=2.0),), spread_times=2, depth_divided_by=2
    )
    (result,) = run_stress(PORTFOLIO, request).results
    # Half of the quantities, twice as far from 100: 1 at 98 and 1.5 at 96.
    assert result.loss == pytest.approx(2 * (2 + 1.5 * 4))
    assert "0.5 of 3 BTC" in result.description


def test_closing_costs_spread_then_impact_then_fees() -> None:
    cost = cost_to_liquidate(3.0, BOOK, fee_rate=0.001)
    assert (cost.filled, cost.unfilled, cost.mid) == (3.0, 0.0, 100.0)
    assert cost.average_price == pytest.approx((2 * 99 + 98) / 3)
    assert (cost.spread_cost, cost.impact_cost) == (pytest.approx(3.0), pytest.approx(1.0))
    assert cost.fees == pytest.approx(0.296)
    assert cost.cost_bps == pytest.approx(1e4 * 4.296 / 300)
    short = cost_to_liquidate(-7.0, BOOK)
    assert (short.filled, short.unfilled) == (5.0, 2.0)
    assert short.cost == pytest.approx(1 * 1 + 4 * 3)
    assert cost_to_liquidate(0.0, BOOK).cost_bps == 0


def test_books_and_quantities_that_make_no_sense_are_refused() -> None:
    for bids, asks in (
        (((99.0, 0.0),), ()), (((math.nan, 1.0),), ()), (((98.0, 1.0), (99.0, 1.0)), ()), ((), ((2.0, 1.0), (2.0, 1.0))),
        (((100.0, 1.0),), ((100.0, 1.0),)),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest):
            Book(bids, asks)
    with pytest.raises(FailedPrecondition, match="side without orders"):
        cost_to_liquidate(1.0, Book(((99.0, 1.0),), ()))
    for qty, fee in ((math.nan, 0.0), (math.inf, 0.0), (1.0, -0.1), (1.0, math.nan)):
        with pytest.raises(InvalidRequest):
            cost_to_liquidate(qty, BOOK, fee)
    for factors in ((0.5, 1.0), (1.0, math.nan), (math.inf, 1.0)):
        with pytest.raises(InvalidRequest):
            BOOK.stressed(*factors)


def test_malformed_stress_is_refused() -> None:
    with pytest.raises(NotFound, match="2020-03-12"):
        StressRequest(("1929",))
    for change in (math.nan, math.inf, -1.01):
        with pytest.raises(InvalidRequest):
            StressRequest((), (CustomShock("mine", {"BTC": change}),))
    for request in ({"recovery": 1.1}, {"recovery": math.nan}, {"confidence": 1.0}, {"horizon": 0}):
        with pytest.raises(InvalidRequest):
            StressRequest(**request)  # type: ignore[arg-type]
