"""What commands show on screens of 80 and 120 columns: every value whole, no line wider than the screen."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import typer
from google.protobuf import duration_pb2, timestamp_pb2

from clients.python.tests.scripted import Call, ScriptedServer, hold
from server.cli import render
from server.cli.main import app
from server.cli.render import average, text
from tests.support.command_line import nothing_named, runner
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2, risk_pb2, system_pb2

NAME = "binance:1000000MOG/USDT"
NOW = timestamp_pb2.Timestamp(seconds=1_700_000_000)
SHOWN = "2023-11-14 22:13:20"
CLIENT_ID = "0123456789abcdef0123456789abcdef"
PRICE, QTY, MONEY = "61828.12345678", "11000.84537891", "732379136.180912345"


def order() -> orders_pb2.Order:
    return orders_pb2.Order(
        order_id="1234567890", client_order_id=CLIENT_ID, account="demo", instrument=NAME,
        side=common_pb2.SIDE_SELL, type=orders_pb2.ORDER_TYPE_TRAILING_STOP_LIMIT,
        time_in_force=orders_pb2.TIME_IN_FORCE_GTD, price=PRICE, qty=QTY, cum_qty="7.5", leaves_qty="0",
        avg_price="61828.303901093845105725", cum_notional=MONEY, cum_fee="1", trigger_price="61829.5",
        trigger_source=orders_pb2.TRIGGER_SOURCE_BID_ASK, trailing_offset="1.25",
        status=orders_pb2.ORDER_STATUS_CANCELED, cancel_reason=orders_pb2.CANCEL_REASON_INSUFFICIENT_BALANCE,
        create_time=NOW, update_time=NOW, expire_time=NOW,
    )  # fmt: skip


ORDER = [
    "1234567890", NAME, "SELL", "TRAILING_STOP_LIMIT GTD", PRICE, QTY, "7.5", "61828.304",
    "61829.5 BID_ASK, trailing 1.25", "CANCELED INSUFFICIENT_BALANCE", CLIENT_ID, SHOWN,
]  # fmt: skip
FILL = orders_pb2.Fill(
    trade_id="987654321", order_id="1234567890", client_order_id=CLIENT_ID, account="demo", instrument=NAME,
    side=common_pb2.SIDE_SELL, price=PRICE, qty=QTY, fee="61.828123456", fee_asset="USDT",
    liquidity=common_pb2.LIQUIDITY_TAKER, time=NOW,
)  # fmt: skip
INSTRUMENT = market_data_pb2.Instrument(
    name=NAME, kind=market_data_pb2.INSTRUMENT_KIND_PERPETUAL, tick_size="0.00000001", lot_size="0.00000001",
    min_qty="0.00012345", max_qty="9000", min_notional="10", maker_fee_bps="10.25", taker_fee_bps="-12.75",
    contract_size="1",
)  # fmt: skip
POSITION = accounts_pb2.Position(
    account="demo", instrument=NAME, qty=QTY, avg_price="61828.303901093845105725", cost=MONEY, realized_pnl=f"-{MONEY}"
)
BALANCE = accounts_pb2.Balance(account="demo", asset="1000000MOG", total=MONEY, reserved=MONEY, free=MONEY)
ENTRY = accounts_pb2.LedgerEntry(
    entry_id="1234567890123", account="demo", asset="1000000MOG", amount=f"-{MONEY}", total=MONEY, time=NOW
)
QUOTE = market_data_pb2.Quote(
    instrument=NAME, bid_price=PRICE, bid_qty=QTY, ask_price=PRICE, ask_qty=QTY, receive_time=NOW, publish_time=NOW
)
TRADE = market_data_pb2.Trade(
    instrument=NAME, trade_id="37356858430123456789", price=PRICE, qty=QTY, aggressor_side=common_pb2.SIDE_SELL,
    venue_time=NOW,
)  # fmt: skip
CANDLE = market_data_pb2.Candle(
    open_time=NOW, open=PRICE, high=PRICE, low=PRICE, close=PRICE, qty=QTY, buy_qty=QTY, trade_count=1234567
)
BOOK = market_data_pb2.Book(
    instrument=NAME, bids=[market_data_pb2.BookLevel(price=PRICE, qty=QTY)], asks=[], receive_time=NOW,
    state=market_data_pb2.FEED_STATE_LIVE, publish_time=NOW,
)  # fmt: skip
TOKEN = system_pb2.Token(
    token_id="a1ad68a63045e523", description="the bot that quotes on all three venues, second machine",
    scopes=[system_pb2.SCOPE_READ, system_pb2.SCOPE_TRADE], accounts=["demo", "maker"], create_time=NOW, expire_time=NOW,
)  # fmt: skip
ACCOUNT = accounts_pb2.Account(name="a-rather-long-account-name", mode=accounts_pb2.ACCOUNT_MODE_PAPER, create_time=NOW)
DETAIL = "no answer from the exchange for 15 s; books are not to be trusted, trying again"
STATUS = system_pb2.ServiceStatus(
    name="tradewind.v1.MarketDataService", state=system_pb2.SERVICE_STATE_NOT_SERVING, detail=DETAIL, since=NOW
)
EXPOSURE = risk_pb2.Exposure(
    account="demo", valuation_asset="USDT", time=NOW, gross=MONEY, net=f"-{MONEY}", worst_case_gross=MONEY, equity=MONEY,
    leverage=1.25, largest_share=0.75, concentration=0.5,
    positions=[
        risk_pb2.PositionExposure(
            instrument=NAME, qty=QTY, open_buy_qty=QTY, open_sell_qty=QTY, price=PRICE, value=MONEY, worst_case_value=MONEY,
            price_source=risk_pb2.PRICE_SOURCE_LAST_TRADE, price_age=duration_pb2.Duration(seconds=59),
        )
    ],
    by_asset=[risk_pb2.ExposureTotal(name="1000000MOG", gross=MONEY, net=f"-{MONEY}", worst_case_gross=MONEY)],
    by_venue=[risk_pb2.ExposureTotal(name="binance", gross=MONEY, net=f"-{MONEY}", worst_case_gross=MONEY)],
    unpriced=[risk_pb2.Unpriced(name="okx:ETH/USDT", reason="stale price: its book is GAP, and the last trade is 61 s old")],
)  # fmt: skip
HISTORY = risk_pb2.HistoryUsed(
    source="candles", interval=duration_pb2.Duration(seconds=3600), start_time=NOW, end_time=NOW, observations=499,
    instruments=[risk_pb2.InstrumentHistory(instrument=NAME, candle_count=499, missing_count=2)],
)  # fmt: skip
VAR = risk_pb2.ValueAtRisk(
    valuation_asset="USDT", time=NOW, net=-1234567.891, gross=2345678.912, history=HISTORY,
    estimates=[
        risk_pb2.VarEstimate(
            method=risk_pb2.VAR_METHOD_MONTE_CARLO_STUDENT_T, covariance=risk_pb2.COVARIANCE_ESTIMATOR_SHRUNK,
            confidence=0.99, horizon=24, value_at_risk=123456.789, expected_shortfall=234567.891, observations=10_000,
            note="4.7 degrees of freedom, fitted to the kurtosis",
            contributions=[
                risk_pb2.VarContribution(
                    instrument=NAME, component_value_at_risk=123456.789, component_expected_shortfall=234567.891
                )
            ],
        )
    ],
    refusals=[
        risk_pb2.VarRefusal(
            method=risk_pb2.VAR_METHOD_HISTORICAL, confidence=0.999, horizon=1, reason="INSUFFICIENT_HISTORY",
            description="499 observations are too few for 0.999: it needs 5000",
        )
    ],
    scores=[
        risk_pb2.CovarianceScore(
            estimator=risk_pb2.COVARIANCE_ESTIMATOR_EWMA, forecasts=250, log_score=1, qlike=1, variance_ratio=1.07
        )
    ],
)  # fmt: skip
RATIO = risk_pb2.LikelihoodRatio(statistic=4.25, p_value=0.0392)
STRESS = risk_pb2.RunStressResponse(
    valuation_asset="USDT", net=1, gross=2,
    results=[
        risk_pb2.StressResult(
            name="2022-11-ftx", kind="NAMED", loss=123456.789, description="FTX stops withdrawals, 2022-11-08 to 2022-11-10",
        )
    ],
    liquidation=[
        risk_pb2.LiquidationCost(
            instrument=NAME, qty=11000.5, unfilled_qty=7.5, spread_cost=1.5, impact_cost=2345.678, fees=61.8, cost_bps=12.34
        )
    ],
    not_liquidated=[risk_pb2.Unpriced(name="okx:ETH/USDT", reason="its book is GAP")],
)  # fmt: skip
BACKTEST = risk_pb2.BacktestVarResponse(
    valuation_asset="USDT", method=risk_pb2.VAR_METHOD_HISTORICAL_FILTERED, confidence=0.99, window=250, forecasts=750,
    exceedances=12, expected=7.5, kupiec=RATIO, independence=RATIO, conditional_coverage=RATIO, traffic_light="YELLOW",
    shortfall_ratio=1.13, history=HISTORY,
)  # fmt: skip
FLATTENED = risk_pb2.Flattened(
    account="a-rather-long-account-name", instrument=NAME, qty=QTY, remaining_qty="7.5", order_id="1234567890",
    problem="the market offered no more: MARKET_REMAINDER",
)  # fmt: skip
ANSWERS: dict[str, Callable[[Call], Any]] = {
    "GetInfo": lambda call: system_pb2.GetInfoResponse(version="0.1.0", server_time=NOW, start_time=NOW),
    "ListServices": lambda call: system_pb2.ListServicesResponse(services=[STATUS]),
    "ListTokens": lambda call: system_pb2.ListTokensResponse(tokens=[TOKEN]),
    "CreateToken": lambda call: system_pb2.CreateTokenResponse(token=TOKEN, secret="s" * 43),
    "DefineInstrument": lambda call: market_data_pb2.DefineInstrumentResponse(instrument=INSTRUMENT),
    "ListInstruments": lambda call: market_data_pb2.ListInstrumentsResponse(instruments=[INSTRUMENT]),
    "GetQuote": lambda call: market_data_pb2.GetQuoteResponse(quote=QUOTE),
    "GetBook": lambda call: market_data_pb2.GetBookResponse(book=BOOK),
    "ListTrades": lambda call: market_data_pb2.ListTradesResponse(trades=[TRADE]),
    "ListCandles": lambda call: market_data_pb2.ListCandlesResponse(candles=[CANDLE]),
    "PlaceOrder": lambda call: orders_pb2.PlaceOrderResponse(order=order()),
    "PlaceOrderList": lambda call: orders_pb2.PlaceOrderListResponse(list_id="1", orders=[order(), order()]),
    "AmendOrder": lambda call: orders_pb2.AmendOrderResponse(order=order()),
    "CancelOrder": lambda call: orders_pb2.CancelOrderResponse(order=order()),
    "ListOrders": lambda call: orders_pb2.ListOrdersResponse(orders=[order(), order()]),
    "ListFills": lambda call: orders_pb2.ListFillsResponse(fills=[FILL]),
    "ListPositions": lambda call: accounts_pb2.ListPositionsResponse(positions=[POSITION]),
    "ListBalances": lambda call: accounts_pb2.ListBalancesResponse(balances=[BALANCE]),
    "AdjustBalance": lambda call: accounts_pb2.AdjustBalanceResponse(balance=BALANCE),
    "ListLedgerEntries": lambda call: accounts_pb2.ListLedgerEntriesResponse(entries=[ENTRY]),
    "GetExposure": lambda call: risk_pb2.GetExposureResponse(exposure=EXPOSURE),
    "GetValueAtRisk": lambda call: risk_pb2.GetValueAtRiskResponse(value_at_risk=VAR),
    "RunStress": lambda call: STRESS,
    "BacktestVar": lambda call: BACKTEST,
    "WhatIf": lambda call: risk_pb2.WhatIfResponse(
        exposure_before=EXPOSURE, exposure_after=EXPOSURE, value_at_risk_after=VAR
    ),
    "KillSwitch": lambda call: risk_pb2.KillSwitchResponse(canceled_count=12, pending_count=3, flattened=[FLATTENED]),
    "ListAccounts": lambda call: accounts_pb2.ListAccountsResponse(accounts=[ACCOUNT]),
}
TABLES: dict[str, list[str]] = {
    f"buy {NAME} 1 --market": ORDER,
    f"sell {NAME} 1 --market": ORDER,
    f"bracket buy {NAME} 1 --take-profit 2 --stop-loss 1": ORDER,
    f"oco sell {NAME} 1 -p 2 --stop 1": ORDER,
    f"oto buy {NAME} 1 --then 2": ORDER,
    "amend 7 --qty 1": ORDER,
    "cancel 7": ORDER,
    "orders": ORDER,
    "fills": [SHOWN, NAME, "SELL", QTY, PRICE, "61.828123456", "USDT", "TAKER", "1234567890", "987654321"],
    "positions": [NAME, QTY, "61828.304", MONEY, f"-{MONEY}"],
    "balances": ["1000000MOG", MONEY],
    "deposit USDT 5": ["1000000MOG", MONEY],
    "ledger": [SHOWN, "1000000MOG", f"-{MONEY}", MONEY, "1234567890123"],
    "risk exposure": [
        NAME, QTY, PRICE, "LAST_TRADE", "59.0 s", "732,379,136.18", "-732,379,136.18", "1000000MOG", "binance", "1.25", "75%",
        "0.50", "okx:ETH/USDT", "####",
    ],
    "risk var": [
        "-1,234,567.89", "2,345,678.91", "499 returns of 1:00:00", "2 candles of", "MONTE_CARLO_STUDENT_T", "0.99", "24",
        "123,456.79", "234,567.89", "4.7 degrees of freedom", NAME, "####################", "it needs 5000", "EWMA", "1.07",
    ],
    "risk stress": [
        "2022-11-ftx", "123,456.79", "FTX stops withdrawals", NAME, "11000.5", "2,345.68", "12.3", "7.5", "okx:ETH/USDT",
        "its book is GAP",
    ],
    "risk backtest": ["HISTORICAL_FILTERED", "12 of 750", "7.5 expected", "YELLOW", "4.25", "0.0392", "rejected", "1.13"],
    f"risk what-if {NAME}=5": ["732,379,136.18", "0.50", "MONTE_CARLO_STUDENT_T 0.99, 24", "123,456.79"],
    "risk kill -r drill --flatten --yes": [
        "HALTED", "12 orders canceled", "a-rather-long-account-name", NAME, QTY, "7.5", "1234567890", "MARKET_REMAINDER",
        "tradewind resume",
    ],
    "accounts": ["a-rather-long-account-name", "PAPER", SHOWN],
    "token list": ["a1ad68a63045e523", TOKEN.description, "READ, TRADE", "demo, maker", SHOWN],
    "token create --scope read": ["a1ad68a63045e523", TOKEN.description, "s" * 43],
    "define DOGE/USDT --tick 0.1 --lot 1": [NAME, "0.00000001"],
    "instruments": [NAME, "PERPETUAL", "0.00000001", "0.00012345", "10.25", "-12.75", "market data only"],
    f"quote {NAME}": [NAME, PRICE, QTY, SHOWN],
    f"book {NAME}": [NAME, "LIVE", PRICE, QTY],
    f"trades {NAME}": [SHOWN, NAME, "SELL", PRICE, QTY, "37356858430123456789"],
    f"candles {NAME}": [SHOWN, PRICE, QTY, "1234567"],
    "status": ["tradewind.v1.MarketDataService", "NOT_SERVING", SHOWN],
}
NO_TABLE = {  # a sentence, a line, or what other tests look at
    "up", "down", "accept-clock",
    "cancel-timer", "halt", "resume", "reference", "token show", "token revoke", "backup", "restore",
    "journal verify", "journal export", "journal replay", "blotter rebuild",
}  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[ScriptedServer]:
    nothing_named(monkeypatch, tmp_path)
    scripted = ScriptedServer()
    for rpc, answer in ANSWERS.items():
        scripted.on(rpc, answer)
    monkeypatch.setenv("TRADEWIND_ADDRESS", scripted.address)
    monkeypatch.setenv("TRADEWIND_TOKEN", "a-token")
    yield scripted
    scripted.stop()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    return runner(capsys)


def commands(group: Any = None, above: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
        else:
            yield " ".join((*above, name))


def test_every_command_is_looked_at() -> None:
    looked_at = {name for name in commands() if any(line.startswith(name) for line in TABLES)}
    assert set(commands()) - looked_at == NO_TABLE


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("line", TABLES)
def test_no_value_is_cut_on_a_narrow_screen(
    server: ScriptedServer, run: Any, monkeypatch: pytest.MonkeyPatch, line: str, width: int
) -> None:
    monkeypatch.setattr(render, "UNLIMITED_WIDTH", width)
    out = run(*line.split()).out
    assert all(len(each) <= width for each in out.splitlines())
    assert "…" not in out
    for value in TABLES[line]:
        assert value in out, out


@pytest.mark.parametrize("answer", ["n", ""])
def test_the_kill_switch_asks_before_it_is_pulled(server: ScriptedServer, run: Any, answer: str) -> None:
    ran = run("risk", "kill", "-r", "drill")
    assert (ran.status, "give --yes" in ran.err) == (2, True)
    screen, terminal = pty.openpty()
    command = [sys.executable, "-P", "-m", "server.cli", "risk", "kill", "-r", "drill"]
    process = subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    os.close(terminal)
    os.write(screen, f"{answer}\n\x04".encode())
    out, _ = process.communicate(timeout=60)
    os.close(screen)
    assert "Halt all instruments, cancel all orders of all accounts?" in out
    assert process.returncode == 1
    assert not server.calls["KillSwitch"]


def test_a_long_reason_is_told_whole(
    server: ScriptedServer, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "UNLIMITED_WIDTH", 60)
    assert DETAIL in " ".join(run("status").out.split())


@pytest.mark.parametrize(
    ("exact", "shown"),
    [("61828.303901093845105725", "61828.304"), ("0.000012345678912", "0.000012345679"), ("100", "100"),
     ("123456789012.5", "123456789012"), ("1200", "1200"), ("0.3", "0.3"), ("0", "0")],
)  # fmt: skip
def test_an_average_is_shown_as_a_price(exact: str, shown: str) -> None:
    assert text(average(Decimal(exact))) == shown


@pytest.mark.parametrize("width", [80, 120])
def test_no_help_is_cut(run: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for command in ("", "token", "journal", "blotter", "risk", *commands()):
        out = run(*command.split(), "--help").out
        assert not re.search(r"\w\W?\.\.\.$", out.replace("[ARGS]...", "").replace("{INSTRUMENT}...", ""), re.M), out
        assert all(len(each) <= width for each in out.splitlines()), out


WATCHED = {
    "orders --watch": "Open orders of demo, then every change as it happens. Ctrl-C ends.",
    f"trades {NAME} --watch": f"Trades of {NAME} from now on. Ctrl-C ends.",
    f"quote {NAME} --watch": f"Waiting for a quote of {NAME}. Ctrl-C ends.",
    f"book {NAME} --watch": f"Waiting for the book of {NAME}. Ctrl-C ends.",
}


@pytest.mark.parametrize("line", WATCHED)
def test_a_watch_with_nothing_to_show_is_no_blank_screen(server: ScriptedServer, line: str) -> None:
    def nothing(call: Call) -> Iterator[Any]:
        orders = orders_pb2.OrdersEvent(snapshot=orders_pb2.OrdersSnapshot(is_last=True))
        markets = market_data_pb2.MarketDataEvent(subscription_id=NAME, ack=common_pb2.StreamAck())
        if "orders" in line:
            yield orders_pb2.SubscribeOrdersResponse(stream_epoch="e", events=[orders])
        else:
            yield market_data_pb2.SubscribeMarketDataResponse(stream_epoch="e", events=[markets])
        yield from hold(call)

    server.on("SubscribeOrders", nothing)
    server.on("SubscribeMarketData", nothing)
    screen, terminal = pty.openpty()
    command = [sys.executable, "-P", "-m", "server.cli", *line.split()]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=os.environ | {"COLUMNS": "80"})
    os.close(terminal)
    shown = b""
    try:
        while WATCHED[line] not in shown.decode():
            shown += os.read(screen, 4096)  # ends with an error when the command does
    finally:
        process.kill()
        process.wait()
        os.close(screen)
