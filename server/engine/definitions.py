"""Definition records: assets, instruments and accounts as packed commands, and back into a Registry.

The layouts are `asset_def_t`, `instrument_def_t` and `account_def_t` of fastpath/model.pxd.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

from fastpath.model import CommandKind
from server.instruments import (
    INT64_MAX,
    MONEY_SCALE,
    Account,
    Asset,
    Instrument,
    InstrumentKind,
    OffGrid,
    Registry,
    format_decimal,
    to_units,
)

ASSET = struct.Struct("<Qq2BHI64s104x")
INSTRUMENT = struct.Struct("<Qq4BIII7q48s2q16s16sBBbBi")
ACCOUNT = struct.Struct("<Qq2BHI64s104x")

NAME_SIZE = 64
INSTRUMENT_NAME_SIZE = 48
MAX_SCALE = 18

_KIND_OFFSET = 16
_NUMBER = struct.Struct("<I")
_NUMBER_OFFSET = 20
_SUCCEED = int(CommandKind.COMMAND_SUCCEED_INSTRUMENT)
_SUCCESSOR_OFFSET = 28
_SEQ = struct.Struct("<Q")
_PPM_PER_BPS = 100
_PRICE_DECIMALS_MAX = 18


def asset_record(asset: Asset) -> bytes:
    return ASSET.pack(
        0, 0, CommandKind.COMMAND_DEFINE_ASSET, asset.scale, 0, asset.number, _text(asset.name, NAME_SIZE)
    )


def account_record(account: Account) -> bytes:
    return ACCOUNT.pack(
        0, 0, CommandKind.COMMAND_DEFINE_ACCOUNT, account.mode, 0, account.number, _text(account.name, NAME_SIZE)
    )


def instrument_record(instrument: Instrument, base: Asset, quote: Asset, status: int) -> bytes:
    """`base` and `quote` are the instrument's assets. Raises ValueError if something does not fit the record.

    No money ever moves in an instrument that is not tradable: what its lots are worth is given as 1.
    """
    if instrument.tradable:
        base_per_lot = to_units(instrument.lot_size, base.unit)
        quote_per_tick_lot = to_units(instrument.tick_size * instrument.lot_size, quote.unit)
    else:
        base_per_lot = quote_per_tick_lot = 1
    _, digits, exponent = instrument.contract_size.normalize().as_tuple()
    return INSTRUMENT.pack(
        0,
        0,
        CommandKind.COMMAND_DEFINE_INSTRUMENT,
        instrument.mirrored,
        status,
        min(_decimals(instrument.tick_size), _PRICE_DECIMALS_MAX),
        instrument.number,
        base.number,
        quote.number,
        base_per_lot,
        quote_per_tick_lot,
        instrument.min_qty,
        instrument.max_qty,
        int((instrument.min_notional / quote.unit).to_integral_value(ROUND_CEILING)),
        to_units(instrument.maker_fee_bps * _PPM_PER_BPS, Decimal(1)),
        to_units(instrument.taker_fee_bps * _PPM_PER_BPS, Decimal(1)),
        _text(instrument.name, INSTRUMENT_NAME_SIZE),
        instrument.latency_in_ns,
        instrument.latency_out_ns,
        _text(format_decimal(instrument.tick_size), 16),
        _text(format_decimal(instrument.lot_size), 16),
        instrument.kind,
        instrument.tradable,
        exponent,
        instrument.paper_model,
        int("".join(map(str, digits))),
    )


def register(record: bytes, registry: Registry) -> None:
    """Enter what a stamped definition record defines."""
    kind = record[_KIND_OFFSET]
    if kind == CommandKind.COMMAND_DEFINE_ASSET:
        _, _, _, scale, _, number, name = ASSET.unpack(record)
        registry.add_asset(Asset(number, _name(name), scale))
    elif kind == CommandKind.COMMAND_DEFINE_ACCOUNT:
        _, ts_ns, _, mode, _, number, name = ACCOUNT.unpack(record)
        registry.add_account(Account(number, _name(name), mode, ts_ns))
    elif kind == _SUCCEED:
        registry.succeed(_number(record))
    else:
        registry.add_instrument(_instrument(record, registry))


class Definitions:
    """The newest definition record of every asset, instrument and account, and who took over: what a registry is made of."""

    def __init__(self) -> None:
        self._records: dict[tuple[int, int], bytes] = {}

    def add(self, record: bytes) -> None:
        """Take over a stamped definition record."""
        self._records[record[_KIND_OFFSET], _number(record)] = record

    def save(self) -> dict[str, bytes]:
        """The section of a snapshot that holds them."""
        return {"definitions": b"".join(self._records.values())}

    def load(self, sections: Mapping[str, bytes], registry: Registry) -> None:
        """Take over what `save` gave, and enter it into a new registry. Raises KeyError if the section is missing."""
        packed = sections["definitions"]
        records = [packed[at : at + ASSET.size] for at in range(0, len(packed), ASSET.size)]
        # First in the order in which they came, which lists keep; then by sequence, since a name means what came last.
        for record in (*records, *sorted(records, key=_SEQ.unpack_from)):
            self.add(record)
            register(record, registry)


def scales_needed(instrument: Instrument) -> tuple[int, int]:
    """Decimals the base and the quote asset need so that lots, and ticks times lots, are whole units."""
    if not instrument.tradable:
        return MONEY_SCALE, MONEY_SCALE
    return (
        max(MONEY_SCALE, _decimals(instrument.lot_size)),
        max(MONEY_SCALE, _decimals(instrument.tick_size * instrument.lot_size)),
    )


def fits(instrument: Instrument, base: Asset, quote: Asset) -> bool:
    """Whether lots, and ticks times lots, are whole units of the assets as they are defined."""
    try:
        to_units(instrument.lot_size, base.unit)
        to_units(instrument.tick_size * instrument.lot_size, quote.unit)
    except OffGrid:
        return False
    return True


def _instrument(record: bytes, registry: Registry) -> Instrument:
    fields = INSTRUMENT.unpack(record)
    number, base, quote = fields[6], registry.asset_by_number(fields[7]), registry.asset_by_number(fields[8])
    min_qty, max_qty, min_notional, maker_fee_ppm, taker_fee_ppm = fields[11:16]
    name, latency_in_ns, latency_out_ns, tick_size, lot_size, kind, tradable, exponent, paper_model, mantissa = fields[
        16:
    ]
    return Instrument(
        number=number,
        name=_name(name),
        base=base.name,
        quote=quote.name,
        kind=InstrumentKind(kind),
        tick_size=Decimal(_name(tick_size)),
        lot_size=Decimal(_name(lot_size)),
        min_qty=min_qty,
        max_qty=min(max_qty, INT64_MAX),
        min_notional=min_notional * quote.unit,
        maker_fee_bps=Decimal(maker_fee_ppm) / _PPM_PER_BPS,
        taker_fee_bps=Decimal(taker_fee_ppm) / _PPM_PER_BPS,
        tradable=bool(tradable),
        contract_size=Decimal(mantissa).scaleb(exponent),
        paper_model=paper_model,
        latency_in_ns=latency_in_ns,
        latency_out_ns=latency_out_ns,
    )


def _number(record: bytes) -> int:
    """Of what the record defines; of one that says who takes over, the instrument that does."""
    offset = _SUCCESSOR_OFFSET if record[_KIND_OFFSET] == _SUCCEED else _NUMBER_OFFSET
    number: int = _NUMBER.unpack_from(record, offset)[0]
    return number


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "instruments have finite numbers"
    return max(0, -exponent)


def _text(value: str, size: int) -> bytes:
    data = value.encode()
    if not 0 < len(data) <= size:
        raise ValueError(f"{value!r} does not fit into {size} bytes")
    return data


def _name(field: bytes) -> str:
    return field.rstrip(b"\0").decode()
