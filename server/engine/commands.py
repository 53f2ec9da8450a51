"""Builders of packed commands: one function per command, each returning one record of 192 bytes.

The layout is `command_t` of fastpath/model.pxd. Sequence number and time are left 0: the runner stamps them.
Definitions of assets, instruments and accounts have layouts of their own: see definitions.py.
"""

from __future__ import annotations

import struct

from fastpath.model import CommandKind, MirrorState, OrderFlag, Side

COMMAND = struct.Struct("<Qq4BIIIQqqqqqqqqQII4BI36s28x")
COMMAND_SIZE = COMMAND.size

# Looked up once: an enumeration member costs more than packing the record.
_ADJUST_BALANCE = int(CommandKind.COMMAND_ADJUST_BALANCE)
_PLACE = int(CommandKind.COMMAND_PLACE)
_CANCEL = int(CommandKind.COMMAND_CANCEL)
_SET_TRADING_STATUS = int(CommandKind.COMMAND_SET_TRADING_STATUS)
_MIRROR_BEGIN = int(CommandKind.COMMAND_MIRROR_BEGIN)
_MIRROR_LEVEL = int(CommandKind.COMMAND_MIRROR_LEVEL)
_MIRROR_TRADE = int(CommandKind.COMMAND_MIRROR_TRADE)
_MIRROR_END = int(CommandKind.COMMAND_MIRROR_END)
_POST_ONLY = int(OrderFlag.ORDER_FLAG_POST_ONLY)
_LIVE = int(MirrorState.MIRROR_LIVE)
_STALE = int(MirrorState.MIRROR_STALE)
_BUY = int(Side.SIDE_BUY)
_SELL = int(Side.SIDE_SELL)


def _pack(
    kind: int,
    *,
    side: int = 0,
    order_type: int = 0,
    time_in_force: int = 0,
    flags: int = 0,
    account: int = 0,
    instrument: int = 0,
    order_id: int = 0,
    price: int = 0,
    qty: int = 0,
    amount: int = 0,
    asset: int = 0,
    client_order_id: bytes = b"",
) -> bytes:
    return COMMAND.pack(
        0, 0, kind, side, order_type, time_in_force, flags, account, instrument, order_id, price, qty,
        0, 0, 0, amount, 0, 0, 0, 0, 0, 0, 0, 0, 0, asset, client_order_id,
    )  # fmt: skip


def place(
    *,
    account: int,
    instrument: int,
    side: int,
    order_type: int,
    time_in_force: int,
    qty: int,
    price: int,
    client_order_id: str,
    post_only: bool = False,
) -> bytes:
    """A new order: `qty` lots at `price` ticks (0 for market orders)."""
    return _pack(
        _PLACE,
        side=side,
        order_type=order_type,
        time_in_force=time_in_force,
        flags=_POST_ONLY if post_only else 0,
        account=account,
        instrument=instrument,
        price=price,
        qty=qty,
        client_order_id=client_order_id.encode(),
    )


def cancel(*, account: int, order_id: int = 0, client_order_id: str = "") -> bytes:
    """Cancel an order of `account`, named by one of its ids."""
    return _pack(_CANCEL, account=account, order_id=order_id, client_order_id=client_order_id.encode())


def adjust_balance(*, account: int, asset: int, amount: int, request_id: str) -> bytes:
    """Move `amount` smallest units of `asset` into the account (negative: out of it), once per `request_id`."""
    return _pack(_ADJUST_BALANCE, account=account, asset=asset, amount=amount, client_order_id=request_id.encode())


def set_trading_status(*, instrument: int, status: int) -> bytes:
    """Set the TradingStatus of an instrument, or of all with `instrument` 0."""
    return _pack(_SET_TRADING_STATUS, instrument=instrument, flags=status)


def mirror_picture(instrument: int, bids: tuple[tuple[int, int], ...], asks: tuple[tuple[int, int], ...]) -> bytes:
    """The displayed book of a venue, levels (price, qty) best first: several records."""
    records = [_pack(_MIRROR_BEGIN, instrument=instrument, flags=_LIVE)]
    for side, levels in ((_BUY, bids), (_SELL, asks)):
        records += [
            _pack(_MIRROR_LEVEL, instrument=instrument, side=side, price=price, qty=qty) for price, qty in levels
        ]
    records.append(_pack(_MIRROR_END, instrument=instrument))
    return b"".join(records)


def mirror_stale(instrument: int) -> bytes:
    """There is no picture of the venue's book to trust until the next one: two records."""
    return _pack(_MIRROR_BEGIN, instrument=instrument, flags=_STALE) + _pack(_MIRROR_END, instrument=instrument)


def mirror_trade(*, instrument: int, aggressor_side: int, price: int, qty: int) -> bytes:
    """A trade printed at the venue."""
    return _pack(_MIRROR_TRADE, instrument=instrument, side=aggressor_side, price=price, qty=qty)
