"""Definition records: assets, instruments and accounts as packed commands, and back into a Registry.

The layouts are `asset_def_t`, `instrument_def_t` and `account_def_t` of fastpath/model/structs.pxd.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

from fastpath.model.enums import CommandKind
from server.base.instruments import (
    ASSET_SCALE,
    INT64_MAX,
    MAX_MONEY,
    MAX_NARROW,
    MONEY_SCALE,
    Account,
    Asset,
    Instrument,
    InstrumentKind,
    Registry,
    format_decimal,
    to_units,
)

ASSET = struct.Struct("<Qq4BI64s104x")
INSTRUMENT = struct.Struct("<Qq4BIII6qi2B2x48s2q16s16sBBbBi")
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
        0, 0, CommandKind.COMMAND_DEFINE_ASSET, asset.scale, asset.first_scale, 0, asset.number,
        _text(asset.name, NAME_SIZE),
    )  # fmt: skip


def account_record(account: Account) -> bytes:
    return ACCOUNT.pack(
        0, 0, CommandKind.COMMAND_DEFINE_ACCOUNT, account.mode, 0, account.number, _text(account.name, NAME_SIZE)
    )


def instrument_record(instrument: Instrument, base: Asset, quote: Asset, status: int) -> bytes:
    """`base` and `quote` are the instrument's assets. Raises ValueError if something does not fit the record.

    No money ever moves in an instrument without quote money: what its lots are worth is given as 1.
    """
    if instrument.money_scale:
        base_scale, quote_scale = max(1, _decimals(instrument.lot_size)), instrument.money_scale
        base_per_lot = to_units(instrument.lot_size, Decimal(1).scaleb(-base_scale))
        quote_per_tick_lot = to_units(instrument.tick_size * instrument.lot_size, instrument.money_unit)
    else:
        base_scale, base_per_lot, quote_per_tick_lot = 0, 1, 1
        quote_scale = MONEY_SCALE if quote.first_scale == ASSET_SCALE else 0
    money_unit = Decimal(1).scaleb(-(quote_scale or quote.first_scale))
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
        int((instrument.min_notional / money_unit).to_integral_value(ROUND_CEILING)),
        to_units(instrument.maker_fee_bps * _PPM_PER_BPS, Decimal(1)),
        to_units(instrument.taker_fee_bps * _PPM_PER_BPS, Decimal(1)),
        base_scale,
        quote_scale,
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
        _, _, _, scale, first_scale, _, number, name = ASSET.unpack(record)
        most = MAX_MONEY if first_scale else MAX_NARROW
        registry.add_asset(Asset(number, _name(name), scale, first_scale or scale, most))
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


def money_scale(instrument: Instrument) -> int:
    """Decimals of quote money in which ticks times lots are whole units."""
    return max(MONEY_SCALE, _decimals(instrument.tick_size * instrument.lot_size))


def fits(instrument: Instrument, base: Asset, quote: Asset) -> bool:
    """Whether lots, and the instrument's quote money, are whole units of the assets."""
    return _decimals(instrument.lot_size) <= base.scale and money_scale(instrument) <= quote.scale


def _instrument(record: bytes, registry: Registry) -> Instrument:
    fields = INSTRUMENT.unpack(record)
    number, base, quote = fields[6], registry.asset_by_number(fields[7]), registry.asset_by_number(fields[8])
    min_qty, max_qty, min_notional, maker_fee_ppm, taker_fee_ppm, base_scale, quote_scale = fields[11:18]
    name, latency_in_ns, latency_out_ns, tick_size, lot_size, kind, tradable, exponent, paper_model, mantissa = fields[18:]
    scale = quote_scale or quote.first_scale
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
        min_notional=Decimal(min_notional).scaleb(-scale),
        maker_fee_bps=Decimal(maker_fee_ppm) / _PPM_PER_BPS,
        taker_fee_bps=Decimal(taker_fee_ppm) / _PPM_PER_BPS,
        tradable=bool(tradable),
        contract_size=Decimal(mantissa).scaleb(exponent),
        paper_model=paper_model,
        latency_in_ns=latency_in_ns,
        latency_out_ns=latency_out_ns,
        money_scale=scale if tradable or base_scale else 0,
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
