"""Definition records: assets, instruments and accounts as packed commands, and back into a Registry.

Layouts come from `fastpath.model.structs`, and `structs.pxd` says what each field means.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

from fastpath.model.enums import CommandKind
from fastpath.model.structs import ACCOUNT, ASSET, COMMAND, INSTRUMENT
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

MAX_SCALE = 18

_DEFINE_ASSET = int(CommandKind.COMMAND_DEFINE_ASSET)
_DEFINE_INSTRUMENT = int(CommandKind.COMMAND_DEFINE_INSTRUMENT)
_DEFINE_ACCOUNT = int(CommandKind.COMMAND_DEFINE_ACCOUNT)
_SUCCEED = int(CommandKind.COMMAND_SUCCEED_INSTRUMENT)
_KIND = COMMAND.reader("kind")
_SEQ = COMMAND.reader("seq")
_NUMBER = {
    _DEFINE_ASSET: ASSET.reader("asset"),
    _DEFINE_INSTRUMENT: INSTRUMENT.reader("instrument"),
    _DEFINE_ACCOUNT: ACCOUNT.reader("account"),
    _SUCCEED: COMMAND.reader("instrument"),
}
"""By kind: the number of what a record defines. Of SUCCEED_INSTRUMENT: the instrument that takes over."""
_PPM_PER_BPS = 100
_PRICE_DECIMALS_MAX = 18


def asset_record(asset: Asset) -> bytes:
    """DEFINE_ASSET. Raises ValueError if the name does not fit the record."""
    return ASSET.pack(
        kind=_DEFINE_ASSET,
        scale=asset.scale,
        first_scale=asset.first_scale,
        asset=asset.number,
        name=_text(asset.name),
    )


def account_record(account: Account) -> bytes:
    """DEFINE_ACCOUNT. Raises ValueError if the name does not fit the record."""
    return ACCOUNT.pack(kind=_DEFINE_ACCOUNT, mode=account.mode, account=account.number, name=_text(account.name))


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
    assert isinstance(exponent, int), "instruments have finite numbers"
    return INSTRUMENT.pack(
        kind=_DEFINE_INSTRUMENT,
        mirrored=instrument.mirrored,
        status=status,
        price_decimals=min(_decimals(instrument.tick_size), _PRICE_DECIMALS_MAX),
        instrument=instrument.number,
        base_asset=base.number,
        quote_asset=quote.number,
        base_per_lot=base_per_lot,
        quote_per_tick_lot=quote_per_tick_lot,
        min_qty=instrument.min_qty,
        max_qty=instrument.max_qty,
        min_notional=int((instrument.min_notional / money_unit).to_integral_value(ROUND_CEILING)),
        maker_fee_ppm=to_units(instrument.maker_fee_bps * _PPM_PER_BPS, Decimal(1)),
        taker_fee_ppm=to_units(instrument.taker_fee_bps * _PPM_PER_BPS, Decimal(1)),
        base_scale=base_scale,
        quote_scale=quote_scale,
        name=_text(instrument.name),
        latency_in_ns=instrument.latency_in_ns,
        latency_out_ns=instrument.latency_out_ns,
        tick_size=_text(format_decimal(instrument.tick_size)),
        lot_size=_text(format_decimal(instrument.lot_size)),
        asset_class=instrument.kind,
        tradable=instrument.tradable,
        contract_exponent=exponent,
        paper_model=instrument.paper_model,
        contract_mantissa=int("".join(map(str, digits))),
    )


def register(record: bytes, registry: Registry) -> None:
    """Enter what a stamped definition record defines."""
    kind, number = _key(record)
    if kind == _DEFINE_ASSET:
        asset = ASSET.unpack(record)
        scale, first_scale = asset["scale"], asset["first_scale"]
        most = MAX_MONEY if first_scale else MAX_NARROW
        registry.add_asset(Asset(number, asset["name"].decode(), scale, first_scale or scale, most))
    elif kind == _DEFINE_ACCOUNT:
        account = ACCOUNT.unpack(record)
        registry.add_account(Account(number, account["name"].decode(), account["mode"], account["ts_ns"]))
    elif kind == _SUCCEED:
        registry.succeed(number)
    else:
        registry.add_instrument(_instrument(record, registry))


class Definitions:
    """The newest definition record of each asset, instrument and account, and each succession: a registry is made of them."""

    def __init__(self) -> None:
        self._records: dict[tuple[int, int], bytes] = {}

    def add(self, record: bytes) -> None:
        """Take over a stamped definition record."""
        self._records[_key(record)] = record

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
    base, quote = (registry.asset_by_number(fields[name]) for name in ("base_asset", "quote_asset"))
    scale = fields["quote_scale"] or quote.first_scale
    return Instrument(
        number=fields["instrument"],
        name=fields["name"].decode(),
        base=base.name,
        quote=quote.name,
        kind=InstrumentKind(fields["asset_class"]),
        tick_size=Decimal(fields["tick_size"].decode()),
        lot_size=Decimal(fields["lot_size"].decode()),
        min_qty=fields["min_qty"],
        max_qty=min(fields["max_qty"], INT64_MAX),
        min_notional=Decimal(fields["min_notional"]).scaleb(-scale),
        maker_fee_bps=Decimal(fields["maker_fee_ppm"]) / _PPM_PER_BPS,
        taker_fee_bps=Decimal(fields["taker_fee_ppm"]) / _PPM_PER_BPS,
        tradable=bool(fields["tradable"]),
        contract_size=Decimal(fields["contract_mantissa"]).scaleb(fields["contract_exponent"]),
        paper_model=fields["paper_model"],
        latency_in_ns=fields["latency_in_ns"],
        latency_out_ns=fields["latency_out_ns"],
        money_scale=scale if fields["tradable"] or fields["base_scale"] else 0,
    )


def _key(record: bytes) -> tuple[int, int]:
    """Kind of a definition record, and the number of what it defines."""
    (kind,) = _KIND.unpack(record)
    (number,) = _NUMBER[kind].unpack(record)
    return kind, number


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "instruments have finite numbers"
    return max(0, -exponent)


def _text(value: str) -> bytes:
    if not value:
        raise ValueError("a name must not be empty")
    return value.encode()
