"""RiskService on a whole server: measures of real positions with the candles of its tick store."""

from __future__ import annotations

import asyncio
import csv
import gzip
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from server.risk.portfolio import Portfolio, Position, Returns
from server.risk.value_at_risk import Method, ValueAtRiskRequest, value_at_risk
from server.storage.ports import TickKey
from tests.support.app import BUY, MARKET, SELL, Running, place, running, settings
from tests.support.candles import HOUR_NS, seeded_closes, write_candles
from tests.support.rpc import refused
from tests.waiting import until
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, risk_pb2

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

BTC, ETH, DOGE = "internal:BTC/USDT", "internal:ETH/USDT", "internal:DOGE/USDT"
COUNT = 400
END_NS = 1_700_000_000_000_000_000 // HOUR_NS * HOUR_NS
OPENS = END_NS - HOUR_NS * np.arange(COUNT, 0, -1, dtype=np.int64)
CLOSES = {BTC: seeded_closes(1, COUNT, 60_000, 0.006), ETH: seeded_closes(2, COUNT, 3_000, 0.009)}
KEYS = {BTC: TickKey(BTC, Decimal("0.01"), Decimal("0.00001")), ETH: TickKey(ETH, Decimal("0.01"), Decimal("0.001"))}
MISSING = [17, 200, 201]
"""Candles of ETH that are not there."""
async def quoted(app: Running, instrument: str, price: str, ask: str, qty: str) -> None:
    """Orders on both sides, and demo buys some: a position with a book."""
    await place(app, account="maker", instrument=instrument, side=BUY, price=price, qty=qty)
    await place(app, account="maker", instrument=instrument, side=SELL, price=ask, qty=qty)


async def hold(app: Running) -> None:
    """demo holds 0.2 BTC and 2 ETH, maker owes them, and both books have two sides."""
    for symbol, tick, lot in (("ETH/USDT", "0.01", "0.001"), ("DOGE/USDT", "0.0001", "1")):
        define = market_data_pb2.DefineInstrumentRequest(symbol=symbol, tick_size=tick, lot_size=lot)
        await app.market.DefineInstrument(define, metadata=app.admin)
    money = accounts_pb2.AdjustBalanceRequest(account="maker", asset="ETH", amount="1000", request_id="m")
    await app.accounts.AdjustBalance(money, metadata=app.admin)
    await quoted(app, BTC, "59999", "60001", "0.5")
    await quoted(app, ETH, "2999", "3001", "5")
    await place(app, instrument=BTC, side=BUY, type=MARKET, qty="0.2")
    await place(app, instrument=ETH, side=BUY, type=MARKET, qty="2")

    async def is_priced() -> bool:
        request = risk_pb2.GetExposureRequest(account="demo")
        found = (await app.risk.GetExposure(request, metadata=app.admin)).exposure
        return [each.price_source for each in found.positions] == [risk_pb2.PRICE_SOURCE_MID] * 2

    await until(is_priced, "the books are published")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("risk")
    keep = np.delete(np.arange(COUNT), MISSING)
    write_candles(folder / "ticks.duckdb", KEYS[BTC], OPENS, CLOSES[BTC])
    write_candles(folder / "ticks.duckdb", KEYS[ETH], OPENS[keep], CLOSES[ETH][keep], 10_000)
    async with running(settings(folder, storage={"ticks_url": None}, server={"unary_deadline_ms": 60_000})) as started:
        await hold(started)
        yield started


def window(observations: int = 300, end_ns: int = END_NS) -> risk_pb2.HistoryWindow:
    end = Timestamp()
    end.FromNanoseconds(end_ns)
    return risk_pb2.HistoryWindow(interval=Duration(seconds=3600), end_time=end, observations=observations)


async def measured(app: Running, **fields: Any) -> risk_pb2.ValueAtRisk:
    request = risk_pb2.GetValueAtRiskRequest(**({"account": "demo", "history": window()} | fields))
    return (await app.risk.GetValueAtRisk(request, metadata=app.admin)).value_at_risk


async def test_exposure_is_what_is_held_at_the_middle_of_the_books(app: Running) -> None:
    found = (await app.risk.GetExposure(risk_pb2.GetExposureRequest(account="demo"), metadata=app.admin)).exposure
    assert {each.instrument: each.value for each in found.positions} == {BTC: "12000", ETH: "6000"}
    assert (found.gross, found.net, found.worst_case_gross) == ("18000", "18000", "18000")
    assert [(each.name, each.gross) for each in found.by_venue] == [("internal", "18000")]
    assert found.largest_share == pytest.approx(2 / 3)
    maker = (await app.risk.GetExposure(risk_pb2.GetExposureRequest(account="maker"), metadata=app.admin)).exposure
    assert {each.instrument: (each.qty, each.open_buy_qty, each.open_sell_qty) for each in maker.positions} == {
        BTC: ("-0.2", "0.5", "0.3"),
        ETH: ("-2", "5", "3"),
    }
    assert maker.worst_case_gross == str(int(0.5 * 60_000 + 5 * 3_000))


async def test_value_at_risk_is_that_of_the_positions_and_the_candles(app: Running) -> None:
    model = risk_pb2.RiskModel(
        methods=[risk_pb2.VAR_METHOD_HISTORICAL, risk_pb2.VAR_METHOD_NORMAL, risk_pb2.VAR_METHOD_MONTE_CARLO_STUDENT_T],
        confidences=[0.95], horizons=[1, 4], incremental=True,
    )  # fmt: skip
    found = await measured(app, model=model)
    rows = np.arange(COUNT - 301, COUNT)
    rows = rows[~np.isin(rows, MISSING)]
    ends = (OPENS + HOUR_NS)[rows]
    series = {name: (ends, np.rint(CLOSES[name][rows] * 100) / 100) for name in (BTC, ETH)}
    returns = Returns.aligned(series, HOUR_NS)
    portfolio = Portfolio((Position(BTC, 12_000.0, "internal"), Position(ETH, 6_000.0, "internal")))
    wanted = ValueAtRiskRequest(
        (Method.HISTORICAL, Method.NORMAL, Method.MONTE_CARLO_STUDENT_T), (0.95,), (1, 4), incremental=True
    )
    expected = value_at_risk(portfolio, returns, wanted)
    assert len(found.estimates) == len(expected.estimates) == 6
    for got, want in zip(found.estimates, expected.estimates, strict=True):
        assert risk_pb2.VarMethod.Name(got.method) == f"VAR_METHOD_{want.method.name}"
        assert (got.horizon, got.confidence) == (want.horizon, 0.95)
        assert got.value_at_risk == pytest.approx(want.value_at_risk, rel=1e-12)
        assert got.expected_shortfall == pytest.approx(want.expected_shortfall, rel=1e-12)
        assert sum(each.component_value_at_risk for each in got.contributions) == pytest.approx(got.value_at_risk)
        assert [each.instrument for each in got.contributions] == [BTC, ETH]
        assert all(each.HasField("incremental_value_at_risk") for each in got.contributions)
    assert found.scores


async def test_it_says_which_history_was_used_and_what_is_missing(app: Running) -> None:
    used = (await measured(app)).history
    assert (used.interval.seconds, used.end_time.ToNanoseconds()) == (3600, END_NS)
    assert used.start_time.ToNanoseconds() == END_NS - 301 * HOUR_NS
    found = {each.instrument: (each.candle_count, each.missing_count) for each in used.instruments}
    assert found == {BTC: (301, 0), ETH: (299, 2)}
    assert used.observations == 300 - 3, "a hole of two hours costs three returns"
    assert "candles" in used.source


async def test_too_little_history_says_how_much_there_is_and_how_much_is_needed(app: Running) -> None:
    some = await measured(app, history=window(30))
    assert {each.reason for each in some.refusals} == {"INSUFFICIENT_HISTORY"}, "what needs less is answered"
    request = risk_pb2.GetValueAtRiskRequest(account="demo", history=window(20))
    answer = await refused(app.risk.GetValueAtRisk(request, metadata=app.admin))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_HISTORY")
    assert "it needs" in answer.message
    assert "20 observations of 3600 s were found" in answer.message
    before = window(30, int(OPENS[0]))
    request = risk_pb2.GetValueAtRiskRequest(account="demo", history=before)
    answer = await refused(app.risk.GetValueAtRisk(request, metadata=app.admin))
    assert answer.reason == "INSUFFICIENT_HISTORY"
    assert f"{BTC} has 0 candles of 31, {ETH} has 0 candles of 31" in answer.message


async def test_without_a_position_or_a_price_there_is_no_number(app: Running) -> None:
    flat = accounts_pb2.CreateAccountRequest(name="flat", mode=accounts_pb2.ACCOUNT_MODE_PAPER)
    await app.accounts.CreateAccount(flat, metadata=app.admin)
    for call, request in (
        (app.risk.GetValueAtRisk, risk_pb2.GetValueAtRiskRequest(account="flat")),
        (app.risk.RunStress, risk_pb2.RunStressRequest(account="flat")),
        (app.risk.BacktestVar, risk_pb2.BacktestVarRequest(account="flat")),
    ):
        answer = await refused(call(request, metadata=app.admin))
        assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_EXPOSURE")
    supposed = [risk_pb2.SupposedPosition(instrument=DOGE, qty="1000")]
    answer = await refused(
        app.risk.WhatIf(risk_pb2.WhatIfRequest(account="flat", added_positions=supposed), metadata=app.admin)
    )
    assert answer.reason == "PRICE_MISSING"
    assert DOGE in answer.message


async def test_stress_tries_shocks_defaults_and_the_books(app: Running) -> None:
    crash = risk_pb2.CustomShock(
        name="crash", shocks=[risk_pb2.Shock(name="BTC", change=-0.5), risk_pb2.Shock(name="OTHER", change=-0.1)]
    )
    request = risk_pb2.RunStressRequest(
        account="demo", named=["all"], custom=[crash], correlations_to_one=True, history=window(), liquidate=True,
        venue_defaults=["internal"], recovery=0.25,
    )  # fmt: skip
    answer = await app.risk.RunStress(request, metadata=app.admin)
    losses = {each.name: each.loss for each in answer.results}
    assert losses["crash"] == pytest.approx(0.5 * 12_000 + 0.1 * 6_000)
    assert losses["default:internal"] == pytest.approx(0.75 * 18_000)
    assert {"2020-03-12", "2022-11-ftx", "correlations-to-one", "hedges-fail", "liquidity"} <= set(losses)
    assert [each.loss for each in answer.results] == sorted(losses.values(), reverse=True)
    costs = {each.instrument: each for each in answer.liquidation}
    assert costs[BTC].spread_cost == pytest.approx(0.2 * 1)
    assert costs[ETH].spread_cost == pytest.approx(2 * 1)
    assert not answer.not_liquidated
    assert answer.history.observations == 297
    plain = await app.risk.RunStress(risk_pb2.RunStressRequest(account="demo"), metadata=app.admin)
    assert {each.kind for each in plain.results} == {"NAMED", "LIQUIDITY"}
    assert not plain.HasField("history")
    unknown = risk_pb2.RunStressRequest(account="demo", named=["1929"])
    assert (await refused(app.risk.RunStress(unknown, metadata=app.admin))).reason == "SHOCK_NOT_FOUND"
    unknown = risk_pb2.RunStressRequest(account="demo", venue_defaults=["nowhere"])
    assert (await refused(app.risk.RunStress(unknown, metadata=app.admin))).reason == "VENUE_NOT_FOUND"


async def test_a_backtest_counts_the_losses_beyond_their_forecasts(app: Running) -> None:
    request = risk_pb2.BacktestVarRequest(
        account="demo", history=window(399), window=100, model=risk_pb2.RiskModel(confidences=[0.9])
    )
    answer = await app.risk.BacktestVar(request, metadata=app.admin)
    assert answer.forecasts == answer.history.observations - 100
    assert answer.expected == pytest.approx(answer.forecasts * 0.1)
    assert len(answer.losses) == answer.exceedances > 0
    assert all(each.loss > each.value_at_risk for each in answer.losses)
    assert answer.kupiec.p_value > 0.01, "the walk is stationary: its own past forecasts it"
    short = risk_pb2.BacktestVarRequest(account="demo", history=window(150), window=100)
    assert (await refused(app.risk.BacktestVar(short, metadata=app.admin))).reason == "INSUFFICIENT_HISTORY"


async def test_what_if_measures_what_is_only_supposed(app: Running) -> None:
    request = risk_pb2.WhatIfRequest(
        account="demo", history=window(), model=risk_pb2.RiskModel(confidences=[0.95]),
        added_positions=[risk_pb2.SupposedPosition(instrument=ETH, qty="-2")],
        added_orders=[risk_pb2.SupposedOrder(instrument=BTC, side=common_pb2.SIDE_SELL, qty="0.1")],
    )  # fmt: skip
    answer = await app.risk.WhatIf(request, metadata=app.admin)
    assert (answer.exposure_before.gross, answer.exposure_after.gross) == ("18000", "12000"), "the order is open here"
    assert answer.exposure_after.worst_case_gross == "12000"
    assert (answer.value_at_risk_before.gross, answer.value_at_risk_after.gross) == (18_000, 6_000), "and filled here"
    before, after = (each.estimates[0] for each in (answer.value_at_risk_before, answer.value_at_risk_after))
    assert after.value_at_risk < before.value_at_risk
    flat = request.__class__(
        account="demo", history=window(),
        added_positions=[
            risk_pb2.SupposedPosition(instrument=ETH, qty="-2"), risk_pb2.SupposedPosition(instrument=BTC, qty="-0.2"),
        ],
    )  # fmt: skip
    answer = await app.risk.WhatIf(flat, metadata=app.admin)
    assert answer.HasField("value_at_risk_before")
    assert not answer.HasField("value_at_risk_after")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"model": risk_pb2.RiskModel(confidences=[float("nan")])}, "model.confidences"),
        ({"model": risk_pb2.RiskModel(confidences=[1.0])}, "model.confidences"),
        ({"model": risk_pb2.RiskModel(horizons=[0])}, "model.horizons"),
        ({"model": risk_pb2.RiskModel(methods=[1, 1])}, "model.methods"),
        ({"model": risk_pb2.RiskModel(methods=[0])}, "model.methods[0]"),
        ({"model": risk_pb2.RiskModel(scenarios=2_000_000)}, "model.scenarios"),
        ({"model": risk_pb2.RiskModel(scenarios=-1)}, "model.scenarios"),
        ({"model": risk_pb2.RiskModel(decay=float("nan"))}, "model.decay"),
        ({"model": risk_pb2.RiskModel(degrees_of_freedom=2.0)}, "model.degrees_of_freedom"),
        ({"history": risk_pb2.HistoryWindow(observations=10_001)}, "history.observations"),
        ({"history": risk_pb2.HistoryWindow(observations=-5)}, "history.observations"),
        ({"history": risk_pb2.HistoryWindow(interval=Duration(nanos=5))}, "history.interval"),
    ],
)
async def test_what_is_malformed_is_named(app: Running, fields: dict[str, Any], path: str) -> None:
    request = risk_pb2.GetValueAtRiskRequest(account="demo", **fields)
    answer = await refused(app.risk.GetValueAtRisk(request, metadata=app.admin))
    assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
    assert path in answer.fields


async def test_what_is_supposed_is_a_whole_number_of_lots(app: Running) -> None:
    off, none, bad = "QTY_NOT_ON_LOT", "NOT_POSITIVE", "INVALID_DECIMAL"
    for qty, reason in (("0.0001", off), ("-0.0001", off), ("0", none), ("-0", none), ("--1", none), ("x", bad)):
        supposed = [risk_pb2.SupposedPosition(instrument=ETH, qty=qty)]
        request = risk_pb2.WhatIfRequest(account="demo", added_positions=supposed)
        answer = await refused(app.risk.WhatIf(request, metadata=app.admin))
        assert answer.fields == {"added_positions[0].qty": reason}


async def test_an_enumeration_value_of_a_newer_contract_is_refused(app: Running) -> None:
    request = risk_pb2.GetValueAtRiskRequest(account="demo")
    request.model.covariance = 7  # type: ignore[assignment]
    request.model.scaling = -1  # type: ignore[assignment]
    answer = await refused(app.risk.GetValueAtRisk(request, metadata=app.admin))
    assert set(answer.fields.values()) == {"UNKNOWN_ENUM_VALUE"}


async def test_computations_wait_in_a_bounded_queue_and_end_with_their_calls(app: Running) -> None:
    heavy = risk_pb2.RiskModel(
        methods=[risk_pb2.VAR_METHOD_MONTE_CARLO_STUDENT_T], scenarios=1_000_000, horizons=list(range(1, 33)),
        confidences=[0.95, 0.99], incremental=True,
    )  # fmt: skip
    request = risk_pb2.GetValueAtRiskRequest(account="demo", history=window(), model=heavy)
    calls = [app.risk.GetValueAtRisk(request, metadata=app.admin) for _ in range(17)]
    done, _ = await asyncio.wait([asyncio.ensure_future(refused(call)) for call in calls], return_when="FIRST_COMPLETED")
    assert done.pop().result().code is grpc.StatusCode.RESOURCE_EXHAUSTED
    for call in calls:
        call.cancel()

    async def is_free() -> bool:
        answer = app.risk.RunStress(risk_pb2.RunStressRequest(account="demo"), metadata=app.admin)
        return await answer.code() is grpc.StatusCode.OK

    await until(is_free, "the worker is free again")


async def test_real_candles_of_two_coins_give_the_value_at_risk_of_numpy(shared: Path, tmp_path: Path) -> None:
    closes = {name: klines(shared, coin) for name, coin in ((BTC, "BTCUSDT"), (ETH, "ETHUSDT"))}
    end_ns = int(min(times[-1] for times, _ in closes.values())) + HOUR_NS
    for at, (name, (times, prices)) in enumerate(closes.items()):
        write_candles(tmp_path / "ticks.duckdb", KEYS[name], times, prices, 1 + at * 100_000)
    async with running(settings(tmp_path, storage={"ticks_url": None})) as app:
        await hold(app)
        model = risk_pb2.RiskModel(methods=[risk_pb2.VAR_METHOD_HISTORICAL], confidences=[0.99])
        found = await measured(app, history=window(2_000, end_ns), model=model)
        tail = [prices[-2_001:] for _, prices in closes.values()]
        moves = np.column_stack([prices[1:] / prices[:-1] - 1 for prices in tail])
        losses = np.sort(-(moves @ np.array([12_000.0, 6_000.0])))[::-1]
        assert found.history.observations == 2_000
        estimate = found.estimates[0]
        assert losses[21] <= estimate.value_at_risk <= losses[19], "the twentieth largest of two thousand"
        assert estimate.expected_shortfall == pytest.approx(losses[:20].mean(), rel=0.02)


def klines(shared: Path, coin: str) -> tuple[Any, Any]:
    """Opening times and closes of the last 2001 hours."""
    with gzip.open(shared / f"data/klines/binance_usdm_{coin}_1h_to_20231231.csv.gz", "rt") as lines:
        rows = [row for row in csv.reader(lines) if row[0].isdecimal()][-2_001:]
    return np.array([int(row[0]) for row in rows], dtype=np.int64) * 1_000_000, np.array([float(row[4]) for row in rows])
