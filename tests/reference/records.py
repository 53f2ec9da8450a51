"""Packed commands and events for tests: from the layouts in fastpath/model/structs.pxd, independent of the server."""

from __future__ import annotations

import struct
from typing import NamedTuple

COMMAND = struct.Struct("<QqBBBBIIIQqqqqqqqqQIIBBBBI36sBB2xQq8x")
ASSET = struct.Struct("<QqBBBBI64s104x")
INSTRUMENT = struct.Struct("<QqBBBBIIIqqqqqqiBB2x48sqq16s16sxBxB4x")
ACCOUNT = struct.Struct("<QqBBHI64s104x")
EVENT = struct.Struct("<QQqBBBBIIIQqqqqqqQQqqBBBBIqqqqqqqqqQ36sI")
assert COMMAND.size == ASSET.size == INSTRUMENT.size == ACCOUNT.size == 192
assert EVENT.size == 256


class Event(NamedTuple):
    event_seq: int = 0
    command_seq: int = 0
    ts_ns: int = 0
    kind: int = 0
    side: int = 0
    order_type: int = 0
    time_in_force: int = 0
    flags: int = 0
    account: int = 0
    instrument: int = 0
    order_id: int = 0
    price: int = 0
    qty: int = 0
    cum_qty: int = 0
    leaves_qty: int = 0
    last_price: int = 0
    last_qty: int = 0
    counter_order_id: int = 0
    trade_id: int = 0
    fee: int = 0
    cum_notional: int = 0
    status: int = 0
    liquidity: int = 0
    reject_reason: int = 0
    cancel_reason: int = 0
    asset: int = 0
    total: int = 0
    reserved_amount: int = 0
    delta: int = 0
    position_qty: int = 0
    position_cost: int = 0
    realized_pnl: int = 0
    trigger_price: int = 0
    display_qty: int = 0
    expire_ns: int = 0
    link_id: int = 0
    client_order_id: bytes = bytes(36)
    last_of_command: int = 0


HIGH_WORDS = {5: {"total": "position_cost", "reserved_amount": "position_qty", "delta": "realized_pnl"},
              6: {"position_cost": "reserved_amount", "realized_pnl": "delta", "total": "fee"}}  # fmt: skip
HIGH_WORDS |= {
    kind: {"cum_notional": "position_qty", "total": "position_cost", "fee": "realized_pnl"} for kind in range(10, 20)
}
"""By kind of event: where the high words of amounts stand."""


def whole(event: Event) -> Event:
    """Amounts made of their two words."""
    words = HIGH_WORDS.get(event.kind, {})
    amounts = {low: getattr(event, low) + (getattr(event, high) << 64) for low, high in words.items()}
    return event._replace(**dict.fromkeys(words.values(), 0) | amounts)


def decode_events(data: bytes) -> list[Event]:
    return [whole(Event(*fields)) for fields in EVENT.iter_unpack(data)]


class Command(NamedTuple):
    """command_t, field by field."""

    seq: int = 0
    ts_ns: int = 0
    kind: int = 0
    side: int = 0
    order_type: int = 0
    time_in_force: int = 0
    flags: int = 0
    account: int = 0
    instrument: int = 0
    order_id: int = 0
    price: int = 0
    qty: int = 0
    trigger_price: int = 0
    display_qty: int = 0
    min_qty: int = 0
    amount: int = 0
    expire_ns: int = 0
    trailing_offset: int = 0
    link_id: int = 0
    session: int = 0
    stp_group: int = 0
    stp_mode: int = 0
    trigger_source: int = 0
    trailing_unit: int = 0
    link_type: int = 0
    asset: int = 0
    client_order_id: bytes = b""
    link_size: int = 0
    amount_scale: int = 0
    stp_owner: int = 0

    def pack(self) -> bytes:
        low = (self.amount + 2**63) % 2**64 - 2**63
        return COMMAND.pack(*self._replace(amount=low), (self.amount - low) >> 64)


class AssetDef(NamedTuple):
    seq: int = 0
    ts_ns: int = 0
    kind: int = 1
    scale: int = 0
    first_scale: int = 0
    pad: int = 0
    asset: int = 0
    name: bytes = b""

    def pack(self) -> bytes:
        return ASSET.pack(*self)


class InstrumentDef(NamedTuple):
    seq: int = 0
    ts_ns: int = 0
    kind: int = 2
    mirrored: int = 0
    status: int = 1
    price_decimals: int = 0
    instrument: int = 0
    base_asset: int = 0
    quote_asset: int = 0
    base_per_lot: int = 1
    quote_per_tick_lot: int = 1
    min_qty: int = 1
    max_qty: int = 0
    min_notional: int = 0
    maker_fee_ppm: int = 0
    taker_fee_ppm: int = 0
    base_scale: int = 0
    quote_scale: int = 0
    name: bytes = b""
    latency_in_ns: int = 0
    latency_out_ns: int = 0
    tick_size: bytes = b""
    lot_size: bytes = b""
    tradable: int = 1
    paper_model: int = 0

    def pack(self) -> bytes:
        return INSTRUMENT.pack(*self)


class AccountDef(NamedTuple):
    seq: int = 0
    ts_ns: int = 0
    kind: int = 3
    mode: int = 2
    pad: int = 0
    account: int = 0
    name: bytes = b""

    def pack(self) -> bytes:
        return ACCOUNT.pack(*self)


AnyCommand = Command | AssetDef | InstrumentDef | AccountDef
