"""Instruments and assets: names, numbers and the exact conversion between decimal text and integers.

Outside, a price is a decimal string; inside, it is an int64 number of ticks. The conversion is exact both ways: a value
that is no multiple of the tick or lot is refused, never rounded.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact

from server.base.errors import NotFound

INT64_MAX = 2**63 - 1
ASSET_SCALE = 18
"""Decimals of an asset's smallest unit: as many as amounts have on the wire."""

MONEY_SCALE = 9
"""Decimals of an instrument's quote money at least: more if a tick times a lot needs them. Fees are rounded up to them."""

MAX_MONEY = 2**110
"""Smallest units of an asset that an account can hold: 10**15 coins of 18 decimals."""

MAX_AMOUNT = Decimal(MAX_MONEY // 10**ASSET_SCALE)
"""The same in coins, rounded down."""

MAX_LOTS = 2**61
"""Of an order."""

MAX_NARROW = 2**61
"""The same of an asset that an older build defined, until it is defined again."""

INTERNAL_VENUE = "internal"
"""The venue whose books are our own; instruments of every other venue are mirrored."""

DATA_LOTS_PER_LOT = 1_000
"""How much finer than lots a venue's market data is counted.

Venues make their lots coarser now and then; the orders that rest already keep their quantity, so the levels of a real
book are not whole lots.
"""

_PREFIX = 3
_MOST_COMPARED = 100
_MOST_NAMED = 4

_DECIMAL = re.compile(r"-?\d{1,20}(\.\d{1,18})?", re.ASCII)
# Wide enough for any product of two wire decimals; a result that would need rounding raises instead.
_EXACT = Context(prec=80, traps=[Inexact])


class NotADecimal(ValueError):
    """The text is no decimal number of the wire's form."""


class OffGrid(ValueError):
    """The value is no multiple of the grid (tick or lot)."""


class OutOfRange(ValueError):
    """The value does not fit the engine's 64-bit integers."""


def parse_decimal(text: str) -> Decimal:
    """The exact value of a wire decimal: `-?\\d{1,20}(\\.\\d{1,18})?`, no exponent. Raises NotADecimal."""
    if not _DECIMAL.fullmatch(text):
        raise NotADecimal(f"{text[:60]!r} is not a decimal number such as 123.45 (at most 20 digits, then 18 decimals)")
    return Decimal(text)


def format_decimal(value: Decimal) -> str:
    """Canonical text: no exponent, no trailing zeros, no negative zero."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def to_units(value: Decimal, grid: Decimal, most: int = INT64_MAX) -> int:
    """How many times `grid` fits into `value`. Raises OffGrid if no whole number of times, OutOfRange beyond `most`."""
    try:
        units = _EXACT.divide(value, grid)
    except Inexact:
        raise OffGrid(f"{format_decimal(value)} is not a multiple of {format_decimal(grid)}") from None
    if units != units.to_integral_value():
        raise OffGrid(f"{format_decimal(value)} is not a multiple of {format_decimal(grid)}")
    if abs(units) > most:
        raise OutOfRange(f"{format_decimal(value)} is too large: at most {from_units(most, grid)}")
    return int(units)


def from_units(units: int, grid: Decimal) -> str:
    """The canonical decimal text of `units` times `grid`."""
    return format_decimal(_EXACT.multiply(Decimal(units), grid))


def nearest_symbols(wanted: str, symbols: Iterable[str]) -> list[str]:
    """The `symbols` most similar to `wanted`, best match first; empty if none is similar.

    Case and separators do not count: `btc/usdt`, `BTCUSDT` and `BTC-USDT` all mean BTC/USDT. Beyond that, only symbols
    that begin alike are compared, and a bounded number of them: it is quick however many symbols there are.
    """
    plain = _plain(wanted)
    alike: dict[str, list[str]] = {}
    for symbol in symbols:
        key = _plain(symbol)
        if key == plain or (key.startswith(plain[:_PREFIX]) and (key in alike or len(alike) < _MOST_COMPARED)):
            alike.setdefault(key, []).append(symbol)
    keys = [plain] if plain in alike else difflib.get_close_matches(plain, alike, n=_MOST_NAMED, cutoff=0.7)
    return [symbol for key in keys for symbol in dict.fromkeys(alike[key])][:_MOST_NAMED]


def _plain(symbol: str) -> str:
    return "".join(filter(str.isalnum, symbol)).upper()


class InstrumentKind(enum.IntEnum):
    """What is traded; the numbers are those of the wire contract."""

    SPOT = 1
    PERPETUAL = 2
    FUTURE = 3
    OPTION = 4


@dataclass(frozen=True, slots=True)
class Asset:
    """A currency or coin. Money in it is a count of units of 10**-scale, within `max_units`."""

    number: int
    name: str
    scale: int = ASSET_SCALE
    first_scale: int = ASSET_SCALE
    """Of its first definition: a later one may give smaller units."""
    max_units: int = MAX_MONEY

    @property
    def unit(self) -> Decimal:
        return Decimal(1).scaleb(-self.scale)

    def units(self, text: str) -> int:
        """Smallest units of a decimal text. Raises NotADecimal, OffGrid, OutOfRange."""
        return to_units(parse_decimal(text), self.unit, self.max_units)

    def text(self, units: int) -> str:
        return from_units(units, self.unit)


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded or watched, named `venue:SYMBOL` (`binance:BTC/USDT`, `internal:BTC/USDT`).

    `tick_size` is in quote currency per base unit, `lot_size` in base currency (contracts for derivatives).
    `number` is dense, from 1; it is the engine's name for the instrument. 0: the engine has not numbered it yet.
    """

    number: int
    name: str
    base: str
    quote: str
    kind: InstrumentKind
    tick_size: Decimal
    lot_size: Decimal
    min_qty: int = 1
    """Lots."""
    max_qty: int = INT64_MAX
    """Lots."""
    min_notional: Decimal = Decimal(0)
    """Quote currency."""
    maker_fee_bps: Decimal = Decimal(0)
    taker_fee_bps: Decimal = Decimal(0)
    tradable: bool = False
    """Whether orders are taken. Spot instruments are; derivatives are market data only until margin is modelled."""
    contract_size: Decimal = Decimal(1)
    paper_model: int = 0
    """PaperModel: when orders that rest at a mirrored venue fill; 0 for books of our own."""
    latency_in_ns: int = 0
    """How long an order takes to a mirrored venue."""
    latency_out_ns: int = 0
    """How long what happens there takes to us."""
    money_scale: int = 0
    """Decimals of its quote money, in which notionals, fees and costs of its orders are told. It never changes, whatever
    the units of the quote asset. 0: not decided, no money has moved in it."""

    @property
    def venue(self) -> str:
        return self.name.split(":", 1)[0]

    @property
    def symbol(self) -> str:
        return self.name.split(":", 1)[1]

    @property
    def mirrored(self) -> bool:
        """Whether orders fill against the mirrored book of a venue instead of a book of our own."""
        return self.venue != INTERNAL_VENUE

    def same_units(self, other: Instrument) -> bool:
        """Whether numbers of ticks, lots and money mean the same in both: what can never change under one number."""
        return (self.name, self.base, self.quote, self.kind, self.tick_size, self.lot_size, self.contract_size) == (
            other.name,
            other.base,
            other.quote,
            other.kind,
            other.tick_size,
            other.lot_size,
            other.contract_size,
        )

    def ticks(self, text: str) -> int:
        """Ticks of a decimal price text. Raises NotADecimal, OffGrid, OutOfRange."""
        return to_units(parse_decimal(text), self.tick_size)

    def lots(self, text: str) -> int:
        """Lots of a decimal quantity text. Raises NotADecimal, OffGrid, OutOfRange."""
        return to_units(parse_decimal(text), self.lot_size)

    @property
    def money_unit(self) -> Decimal:
        """Of quote money."""
        return Decimal(1).scaleb(-(self.money_scale or MONEY_SCALE))

    def money(self, text: str) -> int:
        """Units of quote money of a decimal text. Raises NotADecimal, OffGrid, OutOfRange."""
        return to_units(parse_decimal(text), self.money_unit, MAX_MONEY // 10**ASSET_SCALE * 10**self.money_scale)

    def money_text(self, units: int) -> str:
        return from_units(units, self.money_unit)

    def price_text(self, ticks: int) -> str:
        return from_units(ticks, self.tick_size)

    def qty_text(self, lots: int) -> str:
        return from_units(lots, self.lot_size)

    @property
    def data_lots_per_lot(self) -> int:
        """How many units of a market data quantity (level, quote, trade) make one lot of an order."""
        return DATA_LOTS_PER_LOT if self.mirrored else 1

    @property
    def data_lot_size(self) -> Decimal:
        """The unit of quantities in market data."""
        return self.lot_size / self.data_lots_per_lot

    def data_qty_text(self, data_lots: int) -> str:
        """The canonical text of a market data quantity."""
        return from_units(data_lots, self.data_lot_size)


@dataclass(frozen=True, slots=True)
class Account:
    """Whose orders and balances. `mode` is the AccountMode of the wire contract; `number` is dense, from 1."""

    number: int
    name: str
    mode: int
    create_ns: int = 0


class Registry:
    """All assets, instruments and accounts by name and by number: the one place where names become numbers.

    Filled from the journal's definition records, so that it is the same after a recovery. An instrument whose tick or
    lot changed is another one under the same name: the name then means the one defined last, and that one takes over from
    the others.
    """

    def __init__(self) -> None:
        self._instruments: dict[str, Instrument] = {}
        self._instrument_by_number: dict[int, Instrument] = {}
        self._numbers: dict[str, list[int]] = {}
        """By name, in the order in which they took over."""
        self._succeeded: set[int] = set()
        """Instruments from which another of the same name took over."""
        self._assets: dict[str, Asset] = {}
        self._asset_by_number: dict[int, Asset] = {}
        self._accounts: dict[str, Account] = {}
        self._account_by_number: dict[int, Account] = {}
        self.absent: dict[str, str] = {}
        """Instruments that are configured and not there now, by name: why."""

    # -- instruments ---------------------------------------------------------------------------------------

    def add_instrument(self, instrument: Instrument) -> None:
        self._instruments[instrument.name] = instrument
        self._instrument_by_number[instrument.number] = instrument
        numbers = self._numbers.setdefault(instrument.name, [])
        if instrument.number not in numbers:
            numbers.append(instrument.number)

    def succeed(self, number: int) -> None:
        """The instrument takes over from all others of its name."""
        heir = self._instrument_by_number[number]
        self._instruments[heir.name] = heir
        numbers = self._numbers[heir.name]
        numbers.remove(number)
        self._succeeded.update(numbers)
        self._succeeded.discard(number)
        numbers.append(number)

    def is_succeeded(self, number: int) -> bool:
        """Whether another instrument of the same name took over from this one: it has no orders, and no position that
        could be moved."""
        return number in self._succeeded

    def instrument(self, name: str) -> Instrument:
        """Raises NotFound."""
        try:
            return self._instruments[name]
        except KeyError:
            pass
        if name in self.absent:
            raise NotFound("instrument", name, problem="is not known yet", hint=self.absent[name])
        nearest = self.nearest_instruments(name)
        hint = f"there is {', '.join(nearest)}" if nearest else "ListInstruments shows all of them"
        raise NotFound("instrument", name, hint=hint)

    def nearest_instruments(self, name: str) -> list[str]:
        """Names of the instruments that `name` may mean, those of its venue first. The venue may be left out."""
        venue, _, symbol = name.partition(":")
        if not symbol or "/" in venue:
            venue, symbol = "", name
        by_symbol: dict[str, list[str]] = {}
        for each in self._instruments.values():
            by_symbol.setdefault(each.symbol, []).append(each.name)
        found = [each for near in nearest_symbols(symbol, by_symbol) for each in by_symbol[near]]
        found.sort(key=lambda each: each.partition(":")[0] != venue)
        return found[:_MOST_NAMED]

    def find_instrument(self, name: str) -> Instrument | None:
        return self._instruments.get(name)

    def instrument_by_number(self, number: int) -> Instrument:
        return self._instrument_by_number[number]

    def find_instrument_by_number(self, number: int) -> Instrument | None:
        return self._instrument_by_number.get(number)

    def instruments(self) -> Iterator[Instrument]:
        """The current instrument of each name, in the order of their first definition."""
        return iter(self._instruments.values())

    def numbered_instruments(self) -> Iterator[Instrument]:
        """All instruments by number, including those that another one has succeeded."""
        return iter(self._instrument_by_number.values())

    def numbers(self, name: str) -> frozenset[int]:
        """Numbers of the current instrument of this name and of its predecessors. Raises NotFound."""
        self.instrument(name)
        return frozenset(self._numbers[name])

    def grids(self, name: str) -> list[Instrument]:
        """The instrument that `name` means, last, behind one of each other tick and lot that it had, in the order in which
        they were in force. Raises NotFound."""
        self.instrument(name)
        each_grid: dict[tuple[Decimal, Decimal], Instrument] = {}
        for number in self._numbers[name]:
            instrument = self._instrument_by_number[number]
            each_grid.pop((instrument.tick_size, instrument.data_lot_size), None)
            each_grid[instrument.tick_size, instrument.data_lot_size] = instrument
        return list(each_grid.values())

    @property
    def instrument_count(self) -> int:
        return len(self._instrument_by_number)

    # -- assets --------------------------------------------------------------------------------------------

    def add_asset(self, asset: Asset) -> None:
        self._assets[asset.name] = asset
        self._asset_by_number[asset.number] = asset

    def asset(self, name: str) -> Asset:
        """Raises NotFound."""
        try:
            return self._assets[name]
        except KeyError:
            raise NotFound("asset", name) from None

    def find_asset(self, name: str) -> Asset | None:
        return self._assets.get(name)

    def asset_by_number(self, number: int) -> Asset:
        return self._asset_by_number[number]

    def assets(self) -> Iterable[Asset]:
        return self._assets.values()

    # -- accounts ------------------------------------------------------------------------------------------

    def add_account(self, account: Account) -> None:
        self._accounts[account.name] = account
        self._account_by_number[account.number] = account

    def account(self, name: str) -> Account:
        """Raises NotFound."""
        try:
            return self._accounts[name]
        except KeyError:
            raise NotFound("account", name, hint="ListAccounts shows all of them") from None

    def find_account(self, name: str) -> Account | None:
        return self._accounts.get(name)

    def account_by_number(self, number: int) -> Account:
        return self._account_by_number[number]

    def accounts(self) -> list[Account]:
        """By name."""
        return sorted(self._accounts.values(), key=lambda account: account.name)
