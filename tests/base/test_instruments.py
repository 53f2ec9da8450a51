"""Decimal text to integers and back: exact or refused. Names to numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.base.errors import NotFound
from server.base.instruments import (
    INT64_MAX,
    Account,
    Asset,
    Instrument,
    InstrumentKind,
    NotADecimal,
    OffGrid,
    OutOfRange,
    Registry,
    format_decimal,
    parse_decimal,
)

GRIDS = ["1", "10", "0.1", "0.05", "0.00000001", "0.000000000000000001", "0.25", "1000", "2.5"]


def instrument(number: int, name: str = "v:A/B", tick: str = "0.01", lot: str = "0.001") -> Instrument:
    return Instrument(number, name, "A", "B", InstrumentKind.SPOT, Decimal(tick), Decimal(lot))


@given(st.integers(-INT64_MAX, INT64_MAX), st.sampled_from(GRIDS))
@example(INT64_MAX, "0.000000000000000001")
@example(-INT64_MAX, "0.000000000000000001")
@example(0, "1000")
def test_every_number_of_ticks_survives_as_text(ticks: int, grid: str) -> None:
    it = instrument(1, tick=grid)
    text = it.price_text(ticks)
    assert "E" not in text.upper()
    assert Decimal(text) == ticks * Decimal(grid)
    if len(text.lstrip("-").split(".")[0]) <= 20:
        assert it.ticks(text) == ticks


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_a_value_is_a_multiple_or_refused(value: Decimal) -> None:
    it = instrument(1, tick="0.05")
    text = format_decimal(value)
    if value % Decimal("0.05") == 0:
        assert it.ticks(text) * Decimal("0.05") == value
    else:
        with pytest.raises(OffGrid, match=r"not a multiple of 0\.05"):
            it.ticks(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1e5",
        "+1",
        ".5",
        "1.",
        "0x10",
        "NaN",
        "Infinity",
        "١",
        "1,5",
        "1" * 21,
        "0." + "0" * 19,
        "--1",
        "1\n",
    ],
)
def test_what_is_no_wire_decimal_is_refused(text: str) -> None:
    with pytest.raises(NotADecimal):
        parse_decimal(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [("1.50", "1.5"), ("-0", "0"), ("-0.000", "0"), ("100", "100"), ("1E+3", "1000"), ("1E-9", "0.000000001")],
)
def test_text_is_canonical(value: str, text: str) -> None:
    assert format_decimal(Decimal(value)) == text


def test_beyond_64_bits_is_said() -> None:
    with pytest.raises(OutOfRange, match="at most"):
        instrument(1, tick="0.000000000000000001").ticks("100")
    assert Asset(1, "X").units("1000000000000.5") == 10**30 + 5 * 10**17
    with pytest.raises(OutOfRange, match=r"at most 1298074214633706\.\d{18}$"):
        Asset(1, "X").units("1298074214633707")


def test_market_data_is_counted_finer_than_orders_at_venues_only() -> None:
    mirrored, own = instrument(1, "binance:A/B"), instrument(2, "internal:A/B")
    assert (mirrored.mirrored, own.mirrored) == (True, False)
    assert own.data_lot_size == own.lot_size
    assert mirrored.data_lot_size * mirrored.data_lots_per_lot == mirrored.lot_size


def test_the_registry_finds_by_name_and_number_and_says_what_is_missing() -> None:
    registry = Registry()
    first, coarser = instrument(1), instrument(2, tick="0.1")
    for each in (first, instrument(3, "v:C/D"), coarser):
        registry.add_instrument(each)
    assert registry.instrument("v:A/B") == coarser, "a name means what was defined last"
    assert registry.instrument_by_number(1) == first
    assert [each.number for each in registry.instruments()] == [2, 3]
    assert registry.instrument_count == 3
    assert not first.same_units(coarser)
    registry.add_account(Account(2, "b", 2))
    registry.add_account(Account(1, "a", 2))
    assert [account.name for account in registry.accounts()] == ["a", "b"]
    for find, kind in ((registry.instrument, "instrument"), (registry.asset, "asset"), (registry.account, "account")):
        with pytest.raises(NotFound) as missing:
            find("nothing")
        assert missing.value.specific_reason == f"{kind.upper()}_NOT_FOUND"
