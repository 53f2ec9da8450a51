"""Builders of packed commands: one function per command, each returning one record of 192 bytes.

Sequence number and time are left 0: the runner stamps them. Layouts come from `fastpath.model.structs`, and `structs.pxd`
says what each field means. Definitions of assets, instruments and accounts are in definitions.py.
"""

from __future__ import annotations

from fastpath.model.enums import CommandKind, MirrorState, ReferenceKind, Side
from fastpath.model.structs import COMMAND, MIRROR, REFERENCE_PRICES, SET_TRADING_STATUS

# Looked up once: an enumeration member costs more than packing the record.
_ADJUST_BALANCE = int(CommandKind.COMMAND_ADJUST_BALANCE)
_PLACE = int(CommandKind.COMMAND_PLACE)
_CANCEL = int(CommandKind.COMMAND_CANCEL)
_AMEND = int(CommandKind.COMMAND_AMEND)
_MASS_CANCEL = int(CommandKind.COMMAND_MASS_CANCEL)
_SESSION_CLOSED = int(CommandKind.COMMAND_SESSION_CLOSED)
_SET_DEADMAN_TIMER = int(CommandKind.COMMAND_SET_DEADMAN_TIMER)
_TIMER = int(CommandKind.COMMAND_TIMER)
_ARRIVALS = int(CommandKind.COMMAND_ARRIVALS)
_SET_TRADING_STATUS = int(CommandKind.COMMAND_SET_TRADING_STATUS)
_SET_REFERENCE_PRICES = int(CommandKind.COMMAND_SET_REFERENCE_PRICES)
_VALUATION = int(ReferenceKind.REFERENCE_VALUATION)
_SUCCEED_INSTRUMENT = int(CommandKind.COMMAND_SUCCEED_INSTRUMENT)
_MIRROR_BEGIN = int(CommandKind.COMMAND_MIRROR_BEGIN)
_MIRROR_LEVEL = int(CommandKind.COMMAND_MIRROR_LEVEL)
_MIRROR_TRADE = int(CommandKind.COMMAND_MIRROR_TRADE)
_MIRROR_END = int(CommandKind.COMMAND_MIRROR_END)
_MIRROR_CANCELED = int(CommandKind.COMMAND_MIRROR_CANCELED)
_LIVE = int(MirrorState.MIRROR_LIVE)
_STALE = int(MirrorState.MIRROR_STALE)
_BUY = int(Side.SIDE_BUY)
_SELL = int(Side.SIDE_SELL)
_SUBJECT = COMMAND.reader("kind", "order_id", "client_order_id").unpack


def _words(amount: int) -> tuple[int, int]:
    """Money, as the two fields that a command has for it: amount, amount_high."""
    low = (amount + 2**63) % 2**64 - 2**63
    return low, (amount - low) >> 64


def subject(command: bytes) -> tuple[str, str]:
    """What a packed command about an order names it by: field of the request, and value."""
    kind, order_id, padded = _SUBJECT(command)
    client_order_id = padded.rstrip(b"\0").decode()
    if kind == _PLACE:
        return "client_order_id", client_order_id
    return "order", str(order_id or client_order_id)


def place(
    *,
    account: int,
    instrument: int,
    side: int,
    order_type: int,
    time_in_force: int,
    client_order_id: str,
    qty: int = 0,
    price: int = 0,
    flags: int = 0,
    trigger_price: int = 0,
    trigger_source: int = 0,
    trailing_offset: int = 0,
    trailing_unit: int = 0,
    display_qty: int = 0,
    min_qty: int = 0,
    quote_amount: int = 0,
    expire_ns: int = 0,
    stp_mode: int = 0,
    stp_group: int = 0,
    stp_owner: int = 0,
    session: int = 0,
    link_id: int = 0,
    link_type: int = 0,
    link_size: int = 0,
) -> bytes:
    """A new order: lots, ticks, units of quote money; what each means is told in server/engine/orders.py."""
    amount, amount_high = _words(quote_amount)
    return COMMAND.pack(
        kind=_PLACE,
        side=side,
        order_type=order_type,
        time_in_force=time_in_force,
        flags=flags,
        account=account,
        instrument=instrument,
        price=price,
        qty=qty,
        trigger_price=trigger_price,
        display_qty=display_qty,
        min_qty=min_qty,
        amount=amount,
        amount_high=amount_high,
        expire_ns=expire_ns,
        trailing_offset=trailing_offset,
        link_id=link_id,
        session=session,
        stp_group=stp_group,
        stp_owner=stp_owner,
        stp_mode=stp_mode,
        trigger_source=trigger_source,
        trailing_unit=trailing_unit,
        link_type=link_type,
        link_size=link_size,
        client_order_id=client_order_id.encode(),
    )


def cancel(*, account: int, order_id: int = 0, client_order_id: str = "") -> bytes:
    """Cancel an order of `account`, named by one of its ids."""
    return COMMAND.pack(kind=_CANCEL, account=account, order_id=order_id, client_order_id=client_order_id.encode())


def amend(
    *,
    account: int,
    instrument: int,
    order_id: int = 0,
    client_order_id: str = "",
    qty: int = 0,
    price: int = 0,
    trigger_price: int = 0,
) -> bytes:
    """Change an order of `account`; 0 leaves a value as it is. `instrument` (0: not known) is for the venue alone."""
    return COMMAND.pack(
        kind=_AMEND,
        account=account,
        instrument=instrument,
        order_id=order_id,
        client_order_id=client_order_id.encode(),
        qty=qty,
        price=price,
        trigger_price=trigger_price,
    )


def cancel_orders(*, account: int, instrument: int = 0, side: int = 0) -> bytes:
    """Cancel all open orders of `account`; 0 means any instrument, any side."""
    return COMMAND.pack(kind=_MASS_CANCEL, account=account, instrument=instrument, side=side)


def session_closed(*, account: int = 0, session: int = 0) -> bytes:
    """Cancel the orders of a session that are to end with it; 0 means any account, any session."""
    return COMMAND.pack(kind=_SESSION_CLOSED, account=account, session=session)


def set_cancel_timer(*, account: int, expire_ns: int) -> bytes:
    """Cancel all orders of `account` at that time, unless set again before; 0: never."""
    return COMMAND.pack(kind=_SET_DEADMAN_TIMER, account=account, expire_ns=expire_ns)


def timer() -> bytes:
    """Carry out what is due by the time the command is stamped with."""
    return COMMAND.pack(kind=_TIMER)


def arrivals() -> bytes:
    """Deliver the in-flight orders that reach their mirrored venue by the command's time."""
    return COMMAND.pack(kind=_ARRIVALS)


def adjust_balance(*, account: int, asset: int, amount: int, scale: int, request_id: str) -> bytes:
    """Move `amount` units of 10**-scale of `asset` into the account (negative: out of it), once per `request_id`."""
    low, high = _words(amount)
    return COMMAND.pack(
        kind=_ADJUST_BALANCE,
        account=account,
        asset=asset,
        amount=low,
        amount_high=high,
        amount_scale=scale,
        client_order_id=request_id.encode(),
    )


def set_trading_status(*, instrument: int, status: int) -> bytes:
    """Set the TradingStatus of an instrument, or of all with `instrument` 0."""
    return SET_TRADING_STATUS.pack(kind=_SET_TRADING_STATUS, instrument=instrument, trading_status=status)


def set_reference_prices(*, instrument: int, mark: int, index: int, until_ns: int) -> bytes:
    """Set the mark and index price of an instrument (0: none), which hold until a time."""
    return REFERENCE_PRICES.pack(
        kind=_SET_REFERENCE_PRICES, instrument=instrument, mark_price=mark, index_price=index, until_ns=until_ns
    )


def set_valuation_price(*, instrument: int, price: int, until_ns: int) -> bytes:
    """Set the price in ticks that positions in an instrument are valued by, which holds until a time; 0: none."""
    return REFERENCE_PRICES.pack(
        kind=_SET_REFERENCE_PRICES, sets=_VALUATION, instrument=instrument, mark_price=price, until_ns=until_ns
    )


def succeed_instrument(instrument: int) -> bytes:
    """Let an instrument succeed all others of its name: open orders end, positions move."""
    return COMMAND.pack(kind=_SUCCEED_INSTRUMENT, instrument=instrument)


def mirror_snapshot(instrument: int, bids: tuple[tuple[int, int], ...], asks: tuple[tuple[int, int], ...]) -> bytes:
    """The displayed book of a venue, levels (price, qty) best first: several records."""
    records = [MIRROR.pack(kind=_MIRROR_BEGIN, instrument=instrument, state=_LIVE)]
    for side, levels in ((_BUY, bids), (_SELL, asks)):
        records += [
            MIRROR.pack(kind=_MIRROR_LEVEL, instrument=instrument, side=side, price=price, qty=qty)
            for price, qty in levels
        ]
    records.append(MIRROR.pack(kind=_MIRROR_END, instrument=instrument))
    return b"".join(records)


def mirror_stale(instrument: int) -> bytes:
    """Mark the mirrored book stale until its next snapshot: two records."""
    begin = MIRROR.pack(kind=_MIRROR_BEGIN, instrument=instrument, state=_STALE)
    return begin + MIRROR.pack(kind=_MIRROR_END, instrument=instrument)


def mirror_trade(*, instrument: int, aggressor_side: int, price: int, qty: int) -> bytes:
    """A trade printed at the venue. `qty` 0: only the price, for triggers."""
    return MIRROR.pack(kind=_MIRROR_TRADE, instrument=instrument, side=aggressor_side, price=price, qty=qty)


def mirror_canceled(*, instrument: int, side: int, price: int, qty: int, displayed: int) -> bytes:
    """`qty` of the `displayed` quantity at a price was canceled. Both in the same unit."""
    return MIRROR.pack(
        kind=_MIRROR_CANCELED, instrument=instrument, side=side, price=price, qty=qty, displayed=displayed
    )
