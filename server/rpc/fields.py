"""Request validation: all violations of a request are reported together, each with the path of its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from server.base.errors import FieldViolation, InvalidRequest, NotFound
from server.base.instruments import Asset, Instrument, NotADecimal, OffGrid, OutOfRange, Registry, parse_decimal
from server.base.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, decode_token, encode_token

_NAME = re.compile(r"[A-Za-z0-9_-]{1,36}")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_MAX_INSTRUMENT_CHARS = 64
_MAX_ASSET_CHARS = 64
_MAX_TOKEN_CHARS = 256
_NS = 1_000_000_000
_MAX_SECONDS = (2**63 - 1) // _NS

Item = TypeVar("Item")


class Fields:
    """Collects violations. The checks return a harmless value where they found one, so that the others go on."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []

    def wrong(self, field: str, description: str, reason: str = "") -> None:
        self._violations.append(FieldViolation(field, description, reason))

    def check(self) -> None:
        """Raises InvalidRequest if anything was wrong."""
        if self._violations:
            raise InvalidRequest(self._violations)

    def name(self, field: str, value: str) -> str:
        """An account, a client order id, a request id."""
        if not value:
            self.wrong(field, "is required", "REQUIRED")
        elif not _NAME.fullmatch(value):
            self.wrong(field, "must be 1 to 36 of A-Z, a-z, 0-9, _ and -", "INVALID_NAME")
        return value

    def text(self, field: str, value: str, max_chars: int, *, required: bool = True) -> str:
        if required and not value:
            self.wrong(field, "is required", "REQUIRED")
        elif len(value) > max_chars:
            self.wrong(field, f"is longer than {max_chars} characters", "TOO_LONG")
        return value

    def number(self, field: str, value: str) -> int:
        """An id of the server: a positive decimal number."""
        if not _NUMBER.fullmatch(value):
            self.wrong(field, "must be an id that the server gave, a decimal number", "INVALID_ID")
            return 0
        return int(value)

    def between(self, field: str, value: int, low: int, high: int) -> int:
        if not low <= value <= high:
            self.wrong(field, f"must be {low} to {high}, not {value}", "OUT_OF_RANGE")
            return low
        return value

    def choice(self, field: str, value: int, enum: Any, *, required: bool = True) -> int:
        """A value that `enum` of the contract knows; 0 (UNSPECIFIED) only if not required."""
        if value not in enum.DESCRIPTOR.values_by_number:
            self.wrong(field, f"{value} is no {enum.DESCRIPTOR.name}", "UNKNOWN_ENUM_VALUE")
        elif required and not value:
            self.wrong(field, f"is required: one of {', '.join(enum.keys()[1:])}", "REQUIRED")
        return value

    def page_size(self, value: int, field: str = "page_size") -> int:
        return self.between(field, value, 0, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE

    def page_token(self, value: str) -> str:
        return self.text("page_token", value, _MAX_TOKEN_CHARS, required=False)

    def time_ns(self, field: str, value: Timestamp) -> int:
        if not (0 <= value.seconds < _MAX_SECONDS and 0 <= value.nanos < _NS):
            self.wrong(field, "is not a time between 1970 and 2262", "OUT_OF_RANGE")
            return 0
        return value.seconds * _NS + value.nanos

    def optional_time_ns(self, message: Message, field: str) -> int:
        """A time of the request that may be absent: then 0."""
        return self.time_ns(field, getattr(message, field)) if message.HasField(field) else 0

    def instrument(self, field: str, name: str, registry: Registry) -> Instrument | None:
        """None if there is none of that name; `Registry.instrument` tells it once the rest of the request is in order."""
        if self.text(field, name, _MAX_INSTRUMENT_CHARS) and ":" not in name:
            # Looked for once a request: it takes a while, and there may be hundreds of names.
            nearest = [] if self._violations else registry.nearest_instruments(name)
            self.wrong(field, f"must be venue:SYMBOL, such as {', '.join(nearest) or 'binance:BTC/USDT'}", "INVALID_NAME")
        return registry.find_instrument(name)

    def asset(self, field: str, name: str, registry: Registry) -> Asset | None:
        self.text(field, name, _MAX_ASSET_CHARS)
        return registry.find_asset(name)

    def price(self, field: str, text: str, instrument: Instrument | None) -> int:
        """Ticks; positive. Without an instrument, only the form is checked."""
        units = self._units(field, text, instrument.ticks if instrument else None, "PRICE_NOT_ON_TICK")
        return self._positive(field, units)

    def qty(self, field: str, text: str, instrument: Instrument | None) -> int:
        """Lots; positive."""
        units = self._units(field, text, instrument.lots if instrument else None, "QTY_NOT_ON_LOT")
        return self._positive(field, units)

    def distance(self, field: str, text: str, instrument: Instrument | None) -> int:
        """Ticks between two prices; zero or more."""
        units = self._units(field, text, instrument.ticks if instrument else None, "PRICE_NOT_ON_TICK") or 0
        if units < 0:
            self.wrong(field, "must not be negative", "OUT_OF_RANGE")
        return units

    def quote_money(self, field: str, text: str, instrument: Instrument | None) -> int:
        """Units of an instrument's quote money; positive."""
        units = self._units(field, text, instrument.money if instrument else None, "AMOUNT_NOT_ON_UNIT")
        return self._positive(field, units)

    def amount(self, field: str, text: str, asset: Asset | None) -> int:
        """Smallest units of an asset; any sign, not zero."""
        units = self._units(field, text, asset.units if asset else None, "AMOUNT_NOT_ON_UNIT")
        if units == 0:
            self.wrong(field, "must not be zero", "ZERO")
        return units or 0

    def _units(self, field: str, text: str, convert: Callable[[str], int] | None, off_grid: str) -> int | None:
        """None where something was wrong, or the grid is not known."""
        if not text:
            self.wrong(field, "is required", "REQUIRED")
            return None
        try:
            if convert is None:
                parse_decimal(text)
                return None
            return convert(text)
        except NotADecimal as error:
            self.wrong(field, str(error), "INVALID_DECIMAL")
        except OffGrid as error:
            self.wrong(field, str(error), off_grid)
        except OutOfRange as error:
            self.wrong(field, str(error), "OUT_OF_RANGE")
        return None

    def _positive(self, field: str, units: int | None) -> int:
        if units is not None and units <= 0:
            self.wrong(field, "must be greater than zero", "NOT_POSITIVE")
        return units or 0


def found(kind: str, name: str, thing: Item | None) -> Item:
    """`thing`, or NotFound. After `Fields.check`: a malformed request is told first."""
    if thing is None:
        raise NotFound(kind, name)
    return thing


def page_of(
    what: str, items: Iterable[Item], key: Callable[[Item], str], page_size: int, page_token: str
) -> tuple[list[Item], str]:
    """One page of `items`, which are in the order of their unique `key`, and the token of the next page ("" at the
    end). Items that come or go between two pages move no others. Raises InvalidRequest for a token of another list."""
    after = decode_token(what, page_token)
    rest = [item for item in items if after is None or key(item) > after]
    page = rest[:page_size]
    return page, encode_token(what, key(page[-1])) if len(rest) > page_size else ""
