"""The commands that are clients: what they send, print, and how they fail. The server is told what to answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
from google.protobuf import timestamp_pb2
from google.rpc import error_details_pb2

from clients.python.tests.scripted import Call, ScriptedServer
from server.cli import main
from server.cli.main import app
from tests.support.command_line import nothing_named, runner
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2, system_pb2

NAME = "binance:BTC/USDT"
NOW = timestamp_pb2.Timestamp(seconds=1_700_000_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedServer]:
    """A server, and an environment in which the commands find it."""
    nothing_named(monkeypatch, tmp_path)
    scripted = ScriptedServer()
    monkeypatch.setenv("TRADEWIND_ADDRESS", scripted.address)
    monkeypatch.setenv("TRADEWIND_TOKEN", "a-token")
    yield scripted
    scripted.stop()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line in this process."""
    return runner(capsys)


def order(status: int = orders_pb2.ORDER_STATUS_NEW, **fields: Any) -> orders_pb2.Order:
    return orders_pb2.Order(
        order_id="7",
        client_order_id="mine",
        account="demo",
        instrument=NAME,
        side=common_pb2.SIDE_BUY,
        type=orders_pb2.ORDER_TYPE_LIMIT,
        time_in_force=orders_pb2.TIME_IN_FORCE_GTC,
        price="60000.5",
        qty="0.1",
        cum_qty="0",
        leaves_qty="0.1",
        cum_notional="0",
        cum_fee="0",
        status=status,  # type: ignore[arg-type]
        create_time=NOW,
        update_time=NOW,
        **fields,
    )


def instrument() -> market_data_pb2.Instrument:
    return market_data_pb2.Instrument(
        name=NAME, tick_size="0.01", lot_size="0.00001", min_qty="0.00001", max_qty="9000", min_notional="10",
        maker_fee_bps="10", taker_fee_bps="10", contract_size="1", tradable=True,
    )  # fmt: skip


def quote() -> market_data_pb2.Quote:
    return market_data_pb2.Quote(
        instrument=NAME, bid_price="100.5", bid_qty="1", ask_price="101", receive_time=NOW, publish_time=NOW
    )


def test_an_order_is_placed_as_typed(server: ScriptedServer, run: Any) -> None:
    server.on("PlaceOrder", lambda call: orders_pb2.PlaceOrderResponse(order=order()))
    ran = run("buy", NAME, "0.10", "--price", "60000.50", "--tif", "ioc", "--post-only", "--id", "mine", "-a", "x")
    request = server.calls["PlaceOrder"][0].request
    assert (request.account, request.instrument, request.side) == ("x", NAME, common_pb2.SIDE_BUY)
    assert (request.qty, request.price, request.client_order_id) == ("0.1", "60000.5", "mine")
    assert (request.time_in_force, request.post_only) == (orders_pb2.TIME_IN_FORCE_IOC, True)
    assert ran.status == 0
    assert "60000.5" in ran.out
    assert "NEW" in ran.out


def test_a_market_order_has_no_price(server: ScriptedServer, run: Any) -> None:
    server.on("PlaceOrder", lambda call: orders_pb2.PlaceOrderResponse(order=order()))
    ran = run("sell", NAME, "1", "--market", "--json")
    request = server.calls["PlaceOrder"][0].request
    assert request.side == common_pb2.SIDE_SELL
    assert request.type == orders_pb2.ORDER_TYPE_MARKET
    assert not request.HasField("price")
    assert ran.document["price"] == "60000.5"
    assert ran.document["create_time"] == "2023-11-14T22:13:20Z"


def test_a_rejected_order_is_shown_and_is_a_failure(server: ScriptedServer, run: Any) -> None:
    rejected = order(
        orders_pb2.ORDER_STATUS_REJECTED,
        reject_reason=orders_pb2.REJECT_REASON_INSUFFICIENT_BALANCE,
        reject_message="not enough USDT",
    )
    server.on("PlaceOrder", lambda call: orders_pb2.PlaceOrderResponse(order=rejected))
    ran = run("buy", NAME, "1", "--market", "--json")
    assert ran.status == 1
    assert ran.document["reject_reason"] == "INSUFFICIENT_BALANCE"
    assert ran.err == "error: not enough USDT [INSUFFICIENT_BALANCE]\n"


def closed(reason: str, **fields: Any) -> orders_pb2.Order:
    """An order that took what there was."""
    made = order(orders_pb2.ORDER_STATUS_CANCELED, cancel_reason=f"CANCEL_REASON_{reason}", **fields)
    made.cum_qty, made.leaves_qty, made.avg_price = "0.04", "0", "60000.123456789012345678"
    return made


@pytest.mark.parametrize(
    ("reason", "why"),
    [("MARKET_REMAINDER", "the market offered no more within"), ("IOC_REMAINDER", "the market offered no more at its"),
     ("SELF_TRADE", "it met an order of the same owner"), ("TIMER", "timer")],
)  # fmt: skip
def test_an_order_of_which_the_rest_was_canceled_says_so_and_exits_3(
    server: ScriptedServer, run: Any, reason: str, why: str
) -> None:
    server.on("PlaceOrder", lambda call: orders_pb2.PlaceOrderResponse(order=closed(reason)))
    ran = run("buy", NAME, "0.1", "--market")
    assert ran.status == 3
    assert ran.err.startswith(f"error: filled 0.04 of 0.1, the rest was canceled: {why}")
    assert ran.err.endswith(f"[{reason}]\n")
    assert f"CANCELED {reason}" in ran.out
    assert run("buy", NAME, "0.1", "--market", "--json").document["cancel_reason"] == reason


def test_the_entry_of_a_list_that_was_filled_in_part_exits_3(server: ScriptedServer, run: Any) -> None:
    filled, other = order(orders_pb2.ORDER_STATUS_FILLED), closed("LINKED_ORDER")
    server.on(
        "PlaceOrderList",
        lambda call: orders_pb2.PlaceOrderListResponse(orders=[closed("MARKET_REMAINDER"), order(), order()]),
        lambda call: orders_pb2.PlaceOrderListResponse(orders=[filled, other]),
    )
    assert run("bracket", "buy", NAME, "1", "--take-profit", "120", "--stop-loss", "90").status == 3
    assert run("oco", "sell", NAME, "1", "-p", "120", "--stop", "90").status == 0  # one canceled the other


@pytest.mark.parametrize(("money", "status"), [("5000", 3), ("2400", 0)])
def test_money_that_could_not_be_spent_is_told(server: ScriptedServer, run: Any, money: str, status: int) -> None:
    done = order(orders_pb2.ORDER_STATUS_FILLED, avg_price="60000")
    done.qty, done.cum_qty, done.cum_notional, done.cum_fee = "0.03999", "0.03999", "2399.4", "0.1"
    server.on("PlaceOrder", lambda call: orders_pb2.PlaceOrderResponse(order=done))
    server.on("GetInstrument", lambda call: market_data_pb2.GetInstrumentResponse(instrument=instrument()))
    ran = run("buy", NAME, "--market", "--quote-qty", money)
    assert ran.status == status
    if status:
        assert ran.err == "error: spent 2399.5 of 5000: the market offered no more\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("buy", NAME, "-0.1", "--market"), "-0.1 is below zero: give a positive number"),
        (("buy", NAME, "-.5", "--market"), "-.5 is below zero"),
        (("deposit", "USDT", "-100"), "-100 is below zero: give a positive number; use --withdraw"),
        (("cancel-timer", "-1"), "-1 is below zero"),
        (("amend", "-7", "--qty", "1"), "-7 is below zero"),
        (("buy", NAME, "1", "-x"), "No such option: -x"),
    ],
)
def test_a_number_below_zero_is_not_taken_for_an_option(
    server: ScriptedServer, run: Any, arguments: tuple[str, ...], said: str
) -> None:
    ran = run(*arguments)
    assert (ran.status, said in ran.err) == (2, True)
    assert not server.calls


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        ("2030-01-02T03:04:05Z", "2030-01-02T03:04:05Z"),
        ("2030-01-02T03:04:05.250Z", "2030-01-02T03:04:05.250Z"),
        ("2030-01-02T03:04", "2030-01-02T03:04:00Z"),
        ("2030-01-02 03:04:05", "2030-01-02T03:04:05Z"),  # as tables print it
        ("2030-01-02T03:04:05+01:00", "2030-01-02T02:04:05Z"),
        ("2030-01-02", "2030-01-02T00:00:00Z"),
        ("1h", "2023-11-14T23:13:20Z"),  # of the server's clock
    ],
)
def test_the_end_of_an_order_is_taken_as_outputs_print_it(
    server: ScriptedServer, run: Any, text: str, expires: str
) -> None:
    server.on("GetInfo", lambda call: system_pb2.GetInfoResponse(server_time=NOW))
    server.on("PlaceOrder", lambda call: orders_pb2.PlaceOrderResponse(order=order()))
    assert run("buy", NAME, "1", "-p", "5", "--gtd", text).status == 0
    assert server.calls["PlaceOrder"][0].request.expire_time.ToJsonString() == expires
    made = system_pb2.CreateTokenResponse(token=system_pb2.Token(token_id="t1"), secret="s")
    server.on("CreateToken", lambda call: made)
    assert run("token", "create", "--scope", "read", "--expires", text).status == 0
    assert server.calls["CreateToken"][0].request.expire_time.ToJsonString() == expires


def test_lists_take_an_id_of_any_length_an_order_takes(server: ScriptedServer, run: Any) -> None:
    server.on("PlaceOrderList", lambda call: orders_pb2.PlaceOrderListResponse(list_id="1"))
    key = "123e4567-e89b-12d3-a456-426614174000"
    for command in (
        ("bracket", "buy", NAME, "1", "--take-profit", "120", "--stop-loss", "90"),
        ("oco", "sell", NAME, "1", "-p", "120", "--stop", "90"),
        ("oto", "buy", NAME, "1", "--then", "90"),
    ):
        assert run(*command, "--id", key).status == 0
        assert run(*command, "--id", key).status == 0
        once, again = (
            [each.client_order_id for each in call.request.orders] for call in server.calls["PlaceOrderList"][-2:]
        )
        assert once == again
        assert len(set(once)) == len(once)
        assert once[0] == key
        assert all(len(each) <= 36 for each in once)


@pytest.mark.parametrize(
    "arguments",
    [
        ("buy", NAME),
        ("buy", NAME, "1"),
        ("buy", NAME, "1", "--market", "--price", "5"),
        ("buy", NAME, "1", "--market", "--tif", "gtx"),
        ("buy", NAME, "--market"),
        ("buy", NAME, "1", "--stop", "1", "--take-profit", "2"),
        ("buy", NAME, "1", "--trail", "1", "--price", "2"),
        ("buy", NAME, "1", "-p", "1", "--day", "--tif", "ioc"),
        ("buy", NAME, "1", "--market", "--close"),
        ("halt", "--cancel-only", "--reduce-only"),
        ("amend", "7", "--id", "mine"),
        ("cancel",),
        ("cancel", "7", "--all"),
        ("orders", "--watch", "--since", "1h"),
        ("orders", "--status", "HAPPY"),
        ("orders", "--since", "yesterday"),
        ("fills", "--until", "5 m"),
        ("candles", NAME, "--interval", "1y"),
        ("book", NAME, "--depth", "0"),
        ("token", "create", "--scope", "everything"),
        ("token", "create", "--scope", "read", "--expires", "soon"),
        ("fly",),
    ],
)
def test_what_was_typed_wrong_exits_2(server: ScriptedServer, run: Any, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert "Usage" in ran.err
    assert not server.calls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("buy", NAME, "a lot", "--market"), "error: qty: 'a lot' is not a number\n"),
        (("--address", "example.com:1", "status"), "error: example.com:1 is not this machine: use TLS, "),
        (("--token-file", "nowhere", "status"), "error: nowhere: No such file or directory\n"),
    ],
)
def test_what_cannot_be_sent_is_one_line(
    server: ScriptedServer, run: Any, arguments: tuple[str, ...], message: str
) -> None:
    ran = run(*arguments)
    assert ran.status == 1
    assert ran.err.startswith(message)
    assert ran.err.count("\n") == 1


def test_a_refused_request_names_its_fields(server: ScriptedServer, run: Any) -> None:
    info = error_details_pb2.ErrorInfo(domain="tradewind", reason="PRICE_NOT_ON_TICK")
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="price", description="is no multiple of 0.01")
    server.on("PlaceOrder", lambda call: call.fail(grpc.StatusCode.INVALID_ARGUMENT, "bad", info, bad))
    ran = run("buy", NAME, "1", "--price", "0.001")
    assert (ran.status, ran.err) == (1, "error: price: is no multiple of 0.01 [PRICE_NOT_ON_TICK]\n")


def test_without_a_server_it_says_how_to_start_one(server: ScriptedServer, run: Any) -> None:
    server.stop()
    ran = run("quote", NAME)
    assert ran.status == 1
    assert "tradewind up" in ran.err
    assert ran.err.count("\n") == 1


def test_a_quote_for_people_and_for_programs(server: ScriptedServer, run: Any) -> None:
    server.on("GetQuote", lambda call: market_data_pb2.GetQuoteResponse(quote=quote()))
    assert "100.5" in run("quote", NAME).out
    assert run("quote", NAME, "--json").document["bid_price"] == "100.5"
    assert len(run("quote", NAME, NAME, "--json").document) == 2


def test_a_book_is_drawn_with_its_spread(server: ScriptedServer, run: Any) -> None:
    def level(price: str) -> market_data_pb2.BookLevel:
        return market_data_pb2.BookLevel(price=price, qty="2")

    book = market_data_pb2.Book(
        instrument=NAME, bids=[level("100"), level("99")], asks=[level("100.5")],
        state=market_data_pb2.FEED_STATE_LIVE, receive_time=NOW, publish_time=NOW,
    )  # fmt: skip
    server.on("GetBook", lambda call: market_data_pb2.GetBookResponse(book=book))
    lines = run("book", NAME, "--depth", "5").out.splitlines()
    assert server.calls["GetBook"][0].request.depth == 5
    assert "LIVE" in lines[0]
    assert [line.split() for line in lines[2:]] == [["100.5", "2"], ["spread", "0.5"], ["2", "100"], ["2", "99"]]


def test_watching_prints_a_json_line_an_event(server: ScriptedServer, run: Any) -> None:
    def script(call: Call) -> Iterator[Any]:
        snapshot = market_data_pb2.MarketDataSnapshot(quote=quote(), is_last=True)
        events = (
            market_data_pb2.MarketDataEvent(sequence=1, subscription_id=NAME, ack=common_pb2.StreamAck()),
            market_data_pb2.MarketDataEvent(sequence=1, subscription_id=NAME, snapshot=snapshot),
        )
        yield market_data_pb2.SubscribeMarketDataResponse(stream_epoch="e", events=events)
        call.fail(grpc.StatusCode.PERMISSION_DENIED, "revoked")

    server.on("SubscribeMarketData", script)
    ran = run("quote", NAME, "--watch", "--json")
    assert ran.document["ask_price"] == "101"
    assert ran.status == 1
    assert ran.err == "error: revoked [PERMISSION_DENIED]\n"
    assert "100.5" in run("quote", NAME, "--watch").out


def test_everything_open_is_canceled(server: ScriptedServer, run: Any) -> None:
    server.on("CancelOrders", lambda call: orders_pb2.CancelOrdersResponse(canceled_count=3))
    ran = run("cancel", "--all", "--instrument", NAME, "--side", "sell", "--json")
    request = server.calls["CancelOrders"][0].request
    assert (request.account, request.instrument, request.side) == ("demo", NAME, common_pb2.SIDE_SELL)
    assert ran.document == {"canceled": 3}
    assert run("cancel", "--all").out == "3 canceled\n"


TYPES: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("1", "--market", "--protect", "99"), {"type": "MARKET", "protection_price": "99"}),
    (("1", "--market", "--to-limit"), {"type": "MARKET_TO_LIMIT"}),
    (("--market", "--quote-qty", "500"), {"type": "MARKET", "qty": "", "quote_qty": "500"}),
    (("--market", "--close"), {"type": "MARKET", "qty": "", "close_position": True}),
    (("1", "--stop", "90"), {"type": "STOP", "trigger_price": "90"}),
    (("1", "--stop", "90", "--price", "89"), {"type": "STOP_LIMIT", "trigger_price": "90", "price": "89"}),
    (("1", "--take-profit", "120"), {"type": "TAKE_PROFIT", "trigger_price": "120"}),
    (
        ("1", "--take-profit", "120", "-p", "119", "--trigger", "mid"),
        {"type": "TAKE_PROFIT_LIMIT", "price": "119", "trigger_source": orders_pb2.TRIGGER_SOURCE_MID},
    ),
    (("1", "--trail", "5"), {"type": "TRAILING_STOP", "trailing_offset": "5"}),
    (
        ("1", "--trail-bps", "50", "--activate", "110", "--limit-offset", "0.5"),
        {"type": "TRAILING_STOP_LIMIT", "trailing_offset_bps": 50, "trigger_price": "110", "limit_offset": "0.5"},
    ),
    (("1", "-p", "100", "--iceberg", "0.1"), {"type": "ICEBERG", "display_qty": "0.1"}),
    (("1", "-p", "100", "--hidden", "--reduce-only"), {"type": "HIDDEN", "reduce_only": True}),
    (("1", "-p", "100", "--day"), {"type": "LIMIT", "time_in_force": orders_pb2.TIME_IN_FORCE_DAY}),
    (
        ("1", "-p", "100", "--gtd", "2030-01-02T03:04:05"),
        {"time_in_force": orders_pb2.TIME_IN_FORCE_GTD, "expire_time": timestamp_pb2.Timestamp(seconds=1893553445)},
    ),
    (("1", "-p", "100", "--slide"), {"post_only": True, "post_only_slide": True}),
    (
        ("1", "-p", "100", "--tif", "ioc", "--min-qty", "0.5", "--stp", "cancel_both"),
        {"min_qty": "0.5", "self_trade_prevention": orders_pb2.SELF_TRADE_PREVENTION_CANCEL_BOTH},
    ),
    (("1", "-p", "100", "--stp", "cancel_newest", "--stp-group", "7"), {"self_trade_group": 7}),
    (("1", "--stop", "90", "--trigger", "index"), {"type": "STOP", "trigger_source": orders_pb2.TRIGGER_SOURCE_INDEX}),
]


@pytest.mark.parametrize(("arguments", "fields"), TYPES, ids=lambda value: "-".join(value))
def test_every_order_type_is_placed_as_typed(
    server: ScriptedServer, run: Any, arguments: tuple[str, ...], fields: dict[str, Any]
) -> None:
    server.on("PlaceOrder", lambda call: orders_pb2.PlaceOrderResponse(order=order()))
    assert run("sell", NAME, *arguments).status == 0
    request = server.calls["PlaceOrder"][0].request
    assert request.side == common_pb2.SIDE_SELL
    sent = {name: getattr(request, name) for name in fields} | {"type": orders_pb2.OrderType.Name(request.type)[11:]}
    assert sent == {"type": "LIMIT"} | fields


def test_lists_are_placed_as_typed(server: ScriptedServer, run: Any) -> None:
    rejected, follows = (
        order(orders_pb2.ORDER_STATUS_REJECTED, reject_reason=reason, reject_message="refused: why")
        for reason in (orders_pb2.REJECT_REASON_LINKED_PRICE, orders_pb2.REJECT_REASON_LINKED_ORDER)
    )
    server.on(
        "PlaceOrderList",
        lambda call: orders_pb2.PlaceOrderListResponse(list_id="5", orders=[order(), order(), order()]),
        lambda call: orders_pb2.PlaceOrderListResponse(list_id="6", orders=[rejected, follows]),
    )
    ran = run("bracket", "buy", NAME, "1", "--take-profit", "120", "--stop-loss", "90", "--id", "b", "--json")
    assert (ran.status, ran.document["list_id"], len(ran.document["orders"])) == (0, "5", 3)
    refused = run("oco", "sell", NAME, "1", "-p", "120", "--stop", "90", "--stop-price", "89")
    assert (refused.status, refused.err) == (1, "error: refused: why [LINKED_PRICE]\n")
    first, second = (call.request for call in server.calls["PlaceOrderList"])
    assert [each.client_order_id for each in first.orders] == ["b", "b-tp", "b-sl"]
    assert [orders_pb2.OrderType.Name(each.type) for each in first.orders] == [
        "ORDER_TYPE_MARKET", "ORDER_TYPE_LIMIT", "ORDER_TYPE_STOP",
    ]  # fmt: skip
    assert [(each.price, each.trigger_price) for each in second.orders] == [("120", ""), ("89", "90")]
    assert second.orders[1].type == orders_pb2.ORDER_TYPE_STOP_LIMIT


def test_an_order_is_amended_as_typed(server: ScriptedServer, run: Any) -> None:
    server.on("AmendOrder", lambda call: orders_pb2.AmendOrderResponse(order=order()))
    assert run("amend", "7", "--qty", "0.5", "--json").document["order_id"] == "7"
    run("amend", "--id", "mine", "-p", "99", "--trigger-price", "98")
    first, second = (call.request for call in server.calls["AmendOrder"])
    assert (first.order.order_id, first.qty, first.HasField("price")) == ("7", "0.5", False)
    assert (second.order.client_order_id, second.price, second.trigger_price) == ("mine", "99", "98")


def test_the_cancel_timer_is_set_and_switched_off(server: ScriptedServer, run: Any) -> None:
    def answer(call: Call) -> orders_pb2.SetCancelTimerResponse:
        return orders_pb2.SetCancelTimerResponse(expire_time=NOW if call.request.timeout_ms else None)

    server.on("SetCancelTimer", answer)
    assert run("cancel-timer", "60").out == "runs out at 2023-11-14 22:13:20 UTC\n"
    assert run("cancel-timer", "0").out == "off\n"
    assert [call.request.timeout_ms for call in server.calls["SetCancelTimer"]] == [60_000, 0]


def test_trading_is_halted_and_resumed(server: ScriptedServer, run: Any) -> None:
    server.on("SetTradingStatus", lambda call: orders_pb2.SetTradingStatusResponse())
    for arguments in (("halt",), ("halt", "--instrument", NAME, "--cancel-only"), ("resume", "--instrument", NAME)):
        assert run(*arguments).status == 0
    sent = [(call.request.instrument, call.request.status) for call in server.calls["SetTradingStatus"]]
    assert sent == [
        ("", common_pb2.TRADING_STATUS_HALTED),
        (NAME, common_pb2.TRADING_STATUS_CANCEL_ONLY),
        (NAME, common_pb2.TRADING_STATUS_OPEN),
    ]
    assert run("halt", "--json").document == {"instrument": None, "status": "HALTED"}


def test_one_triggers_the_other(server: ScriptedServer, run: Any) -> None:
    server.on("PlaceOrderList", lambda call: orders_pb2.PlaceOrderListResponse(list_id="1"))
    assert run("oto", "sell", NAME, "1", "--then", "90", "--id", "o").status == 0
    request = server.calls["PlaceOrderList"][0].request
    assert request.type == orders_pb2.ORDER_LIST_TYPE_OTO
    sent = [(order.side, order.type, order.price, order.client_order_id) for order in request.orders]
    limit, market = orders_pb2.ORDER_TYPE_LIMIT, orders_pb2.ORDER_TYPE_MARKET
    assert sent == [(common_pb2.SIDE_SELL, market, "", "o"), (common_pb2.SIDE_BUY, limit, "90", "o-2")]


def test_reference_prices_are_told(server: ScriptedServer, run: Any) -> None:
    server.on("SetReferencePrices", lambda call: orders_pb2.SetReferencePricesResponse(expire_time=NOW))
    said = run("reference", NAME, "--mark", "60010.5", "--for", "2.5").out
    assert said == f"{NAME}: holds until 2023-11-14 22:13:20 UTC\n"
    sent = server.calls["SetReferencePrices"][0].request
    assert (sent.instrument, sent.mark_price, sent.valid_for_ms) == (NAME, "60010.5", 2_500)
    assert not sent.HasField("index_price")


def test_lists_say_so_when_they_are_empty(server: ScriptedServer, run: Any) -> None:
    server.on("ListFills", lambda call: orders_pb2.ListFillsResponse())
    server.on("ListPositions", lambda call: accounts_pb2.ListPositionsResponse())
    assert run("fills").out == "No fills.\n"
    assert run("positions", "--json").document == []


def test_money_goes_in_and_out(server: ScriptedServer, run: Any) -> None:
    balance = accounts_pb2.Balance(account="demo", asset="USDT", total="5", reserved="0", free="5")
    server.on("AdjustBalance", lambda call: accounts_pb2.AdjustBalanceResponse(balance=balance))
    assert run("deposit", "USDT", "5", "--json").document["free"] == "5"
    run("deposit", "USDT", "2.50", "--withdraw", "--id", "w-1")
    sent = [(call.request.amount, call.request.request_id) for call in server.calls["AdjustBalance"]]
    assert sent[0][0] == "5"
    assert sent[1] == ("-2.5", "w-1")


def services(*states: int) -> system_pb2.ListServicesResponse:
    statuses = [system_pb2.ServiceStatus(name=f"s{n}", state=state, since=NOW) for n, state in enumerate(states)]  # type: ignore[arg-type]
    return system_pb2.ListServicesResponse(services=statuses)


@pytest.mark.parametrize(("second", "status"), [(2, 0), (1, 1), (3, 1), (4, 1)])
def test_the_exit_code_of_status_is_the_answer(server: ScriptedServer, run: Any, second: int, status: int) -> None:
    info = system_pb2.GetInfoResponse(version="0.1.0", market_data="replay", start_time=NOW, server_time=NOW)
    server.on("GetInfo", lambda call: info)
    server.on("ListServices", lambda call: services(2, second))
    assert run("status").status == status
    ran = run("status", "--json")
    assert ran.status == status
    assert ran.document["info"]["market_data"] == "replay"
    assert len(ran.document["services"]) == 2


def test_a_token_is_made_and_ends_by_the_servers_clock(server: ScriptedServer, run: Any) -> None:
    server.on("GetInfo", lambda call: system_pb2.GetInfoResponse(start_time=NOW, server_time=NOW))
    made = system_pb2.CreateTokenResponse(token=system_pb2.Token(token_id="t1"), secret="tops3cret")
    server.on("CreateToken", lambda call: made)
    ran = run("token", "create", "--scope", "trade", "--scope", "risk-admin", "--account", "demo", "--expires", "2h")
    request = server.calls["CreateToken"][0].request
    assert list(request.scopes) == [system_pb2.SCOPE_TRADE, system_pb2.SCOPE_RISK_ADMIN]
    assert list(request.accounts) == ["demo"]
    assert request.expire_time.seconds == NOW.seconds + 7200
    assert ran.out.splitlines()[-1] == "tops3cret"


def test_the_token_of_this_machine_is_shown(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    missing = run("--data-dir", str(tmp_path), "token", "show")
    assert (missing.status, "tradewind up" in missing.err) == (1, True)
    (tmp_path / "admin.token").write_text("s3cret\n")
    assert run("--data-dir", str(tmp_path), "token", "show").out == "s3cret\n"


def every_command(group: Any = None, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*above, name))
        else:
            yield (*above, name)


@pytest.mark.parametrize("command", list(every_command()), ids=" ".join)
def test_every_command_teaches_by_example_and_speaks_json(run: Any, command: tuple[str, ...]) -> None:
    ran = run(*command, "--help")
    assert ran.status == 0
    assert " ".join(command) in ran.out.split("Example", 1)[1]
    assert "JSON" in ran.out


def test_nothing_to_stop_is_no_failure(run: Any, tmp_path: Path) -> None:
    assert run("down", "--data-dir", str(tmp_path)).out == f"Nothing runs on {tmp_path}.\n"
    assert run("down", "--data-dir", str(tmp_path), "--json").document == {"stopped": None}


def test_the_installed_command_ends_quietly_when_its_reader_has_seen_enough(server: ScriptedServer) -> None:
    def script(call: Call) -> Iterator[Any]:
        sequence = 0
        while call.context.is_active():
            sequence += 1
            snapshot = market_data_pb2.MarketDataSnapshot(quote=quote(), is_last=True)
            event = market_data_pb2.MarketDataEvent(sequence=sequence, subscription_id=NAME, snapshot=snapshot)
            yield market_data_pb2.SubscribeMarketDataResponse(stream_epoch="e", events=[event])

    server.on("SubscribeMarketData", script)
    command = f"{sys.executable} -m server.cli quote {NAME} --watch --json | head -2"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_lists_of_a_time_and_a_state(server: ScriptedServer, run: Any) -> None:
    server.on("GetInfo", lambda call: system_pb2.GetInfoResponse(server_time=NOW))
    server.on("ListOrders", lambda call: orders_pb2.ListOrdersResponse())
    server.on("ListFills", lambda call: orders_pb2.ListFillsResponse())
    filters = ("--status", "filled", "--status", "REJECTED", "--since", "2h", "--until", "2026-01-31T14:30+01:00")
    assert run("orders", *filters).status == 0
    asked = server.calls["ListOrders"][0].request
    assert list(asked.statuses) == [orders_pb2.ORDER_STATUS_FILLED, orders_pb2.ORDER_STATUS_REJECTED]
    assert (asked.start_time.seconds, asked.end_time.ToJsonString()) == (NOW.seconds - 7200, "2026-01-31T13:30:00Z")
    assert run("fills", "--since", "2026-01-31").status == 0
    asked = server.calls["ListFills"][0].request
    assert (asked.start_time.ToJsonString(), asked.HasField("end_time")) == ("2026-01-31T00:00:00Z", False)


def test_an_interrupt_that_meets_grpc_at_a_lock_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: list[str] | None) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("cannot release un-acquired lock")

    def broken(arguments: list[str] | None) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(sys.modules["server.cli.main"], "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 130
    monkeypatch.setattr(sys.modules["server.cli.main"], "app", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main([])
