"""Amounts of any listed pair: what is defined first decides nothing, and neither size nor price is too large or small."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastpath.model.enums import RejectReason
from server.base.errors import FailedPrecondition
from server.base.instruments import Instrument, OutOfRange
from server.engine.limits import EngineLimits
from server.engine.orders import NewOrder
from server.engine.setup import DEFAULT_SETUP, AccountSetup, Funding, Setup, internal_spot
from server.rpc import convert
from tests.engine.test_engine_trading import PAPER, spot
from tests.support.engine import BUY, GTC, LIMIT, SELL, House, house

MARKETS = Path(__file__).parents[2] / "server/replay/data/markets"


def recorded_pairs() -> list[Instrument]:
    """Every spot pair of the recorded lists of Binance, OKX and Bybit."""

    def load(name: str) -> Any:
        (path,) = MARKETS.glob(f"{name}*.json.gz")
        return json.loads(gzip.decompress(path.read_bytes()))

    pairs = []
    for market in load("binance_spot")["symbols"]:
        filters = {each["filterType"]: each for each in market["filters"]}
        name = f"binance:{market['baseAsset']}/{market['quoteAsset']}"
        pairs.append(spot(name, filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]))
    for market in load("okx_instruments_SPOT")["data"]:
        pairs.append(spot(f"okx:{market['baseCcy']}/{market['quoteCcy']}", market["tickSz"], market["lotSz"]))
    for market in load("bybit_instruments_spot")["result"]["list"]:
        name = f"bybit:{market['baseCoin']}/{market['quoteCoin']}"
        pairs.append(spot(name, market["priceFilter"]["tickSize"], market["lotSizeFilter"]["basePrecision"]))
    return pairs


@pytest.mark.parametrize("shuffle", [sorted, lambda names: random.Random(1).sample(names, len(names))])
async def test_every_listed_pair_is_tradable_in_whatever_order_they_come(
    shuffle: Callable[[list[str]], list[str]], tmp_path: Path
) -> None:
    by_name = {each.name: each for each in recorded_pairs()}
    assert len(by_name) > 2_000
    pairs = [by_name[name] for name in shuffle(list(by_name))]
    limits = EngineLimits(max_orders=100, max_open_orders=100)
    async with house(tmp_path, limits=limits, setup=Setup(DEFAULT_SETUP.instruments)) as it:
        defined = await it.trading.catalogue.define_instruments(pairs)
        assert [each.name for each in defined if not each.tradable] == []
        again = it.trading.command_sequence
        assert await it.trading.catalogue.define_instruments(pairs) == defined
        assert it.trading.command_sequence == again, "nothing new, nothing journaled"
    async with house(tmp_path, limits=limits, setup=Setup(DEFAULT_SETUP.instruments)) as it:
        assert await it.trading.catalogue.define_instruments(pairs) == defined


def tiny() -> Setup:
    coin = internal_spot("PEPE/USDT", "0.000000000001", "1", min_notional="0")
    money = (Funding("PEPE", "1000000000000"), Funding("USDT", "1000000000000"))
    return Setup((coin,), (AccountSetup("alice", PAPER, money), AccountSetup("bob", PAPER, money)))


async def place(it: House, account: str, side: int, qty: str, price: str) -> Any:
    coin = it.trading.registry.instrument("internal:PEPE/USDT")
    order = NewOrder(account, coin, side, LIMIT, GTC, coin.lots(qty), coin.ticks(price))
    return (await it.trading.place(order)).order


async def test_a_trillion_coins_at_a_trillionth_change_hands_exactly(tmp_path: Path) -> None:
    async with house(tmp_path, setup=tiny()) as it:
        await place(it, "bob", SELL, "1000000000000", "0.000000000001")
        bid = convert.order(await place(it, "alice", BUY, "1000000000000", "0.000000000001"))
        assert (bid.cum_notional, bid.avg_price, bid.cum_fee) == ("1", "0.000000000001", "0.0005")
        await place(it, "alice", SELL, "2000000000000", "0.123456789012")
        bid = convert.order(await place(it, "bob", BUY, "2000000000000", "0.123456789012"))
        assert (bid.cum_notional, bid.avg_price, bid.cum_fee) == ("246913578024", "0.123456789012", "123456789.012")
        held = {
            account: {each.asset.name: convert.balance(each).total for each in it.trading.list_balances(account)}
            for account in ("alice", "bob")
        }
        assert held == {
            "alice": {"PEPE": "0", "USDT": "1246913578022.9995"},
            "bob": {"PEPE": "2000000000000", "USDT": "752962965187.988"},
        }
        assert it.engine.exchange.unbalanced_assets() == 0
        it.engine.exchange.validate()


async def test_amounts_beyond_the_bound_are_refused_with_amount_and_limit(tmp_path: Path) -> None:
    async with house(tmp_path, setup=tiny()) as it:
        usdt = it.trading.registry.asset("USDT")
        with pytest.raises(OutOfRange, match="at most 1298074214633706"):
            usdt.units("1300000000000000")
        units = usdt.units("1298000000000000")
        with pytest.raises(FailedPrecondition, match=r"at most 1298074214633706.* 1298000000000000 USDT more") as full:
            await it.trading.adjust_balance("alice", "USDT", units, "too-much")
        assert full.value.specific_reason == "AMOUNT_OVERFLOW"
        for account in ("x", "y", "z"):  # each may have as much: what others have bounds nobody
            await it.trading.catalogue.create_account(account, PAPER)
            balance, _ = await it.trading.adjust_balance(account, "USDT", units, "much")
            assert convert.balance(balance).total == "1298000000000000"
        order = await place(it, "alice", BUY, "1000000000000", "100000")
        assert order.reject_reason == RejectReason.REJECT_REASON_AMOUNT_OVERFLOW
        message = convert.order(order).reject_message
        assert "1000000000000 PEPE at 100000 USDT" in message
        assert "at most" in message
