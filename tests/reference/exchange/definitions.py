"""What the operator says: assets, instruments, accounts, deposits and withdrawals, trading status."""

from __future__ import annotations

from fastpath.model.enums import CancelReason, EventKind, ReferenceKind
from tests.reference.exchange.ledger import (
    all_balances,
    average_cost,
    check_move,
    free,
    max_amount,
    move,
    units_of_money,
)
from tests.reference.exchange.orders import (
    BUY,
    FEES,
    INDEX,
    MARK,
    MAX_NARROW,
    MAX_SUPPLY,
    OUTSIDE,
    SELL,
    Mirror,
    Position,
    Refused,
)
from tests.reference.exchange.shrinking import close
from tests.reference.exchange.state import State, units_per_lot
from tests.reference.records import AccountDef, AssetDef, Command, InstrumentDef


def define_asset(state: State, asset: AssetDef) -> None:
    known = state.assets.get(asset.asset)
    if asset.asset == 0 or asset.scale > 18 or (known and not same_asset(known, asset)):
        raise Refused("INVALID_COMMAND")
    if known:
        refine(state, asset.asset, 10 ** (asset.scale - known.scale))
    state.assets[asset.asset] = asset
    state.emit(EventKind.EVENT_ASSET_DEFINED, asset=asset.asset)


def same_asset(known: AssetDef, new: AssetDef) -> bool:
    """It may get smaller units, and becomes wide once for all."""
    if new.name != known.name or new.scale < known.scale:
        return False
    return new.first_scale == (known.first_scale or known.scale) or (
        (new.first_scale, known.first_scale, new.scale) == (0, 0, known.scale)
    )


def refine(state: State, asset: int, factor: int) -> None:
    """Everything that is told in the asset's units, in smaller ones. Raises Refused."""
    rows = [key for key in state.totals if key[1] == asset]
    if any(abs(state.totals[key]) > MAX_SUPPLY // factor for key in rows):
        raise Refused("AMOUNT_OVERFLOW")
    for key in rows:
        state.totals[key] *= factor
    for (_, instrument), position in state.positions.items():
        if state.instruments[instrument].base_asset == asset:
            position.units *= factor
    for key, command in state.adjustments.items():
        if command.asset == asset:
            state.adjustments[key] = command._replace(amount=command.amount * factor)


def define_account(state: State, account: AccountDef) -> None:
    known = state.accounts.get(account.account)
    if (
        account.account == 0
        or account.mode not in (1, 2, 3)
        or (known and (known.mode, known.name) != (account.mode, account.name))
    ):
        raise Refused("INVALID_COMMAND")
    state.accounts[account.account] = account
    state.emit(EventKind.EVENT_ACCOUNT_DEFINED, account=account.account, flags=account.mode)


def define_instrument(state: State, new: InstrumentDef) -> None:
    if new.base_asset not in state.assets or new.quote_asset not in state.assets:
        raise Refused("ASSET_NOT_FOUND")
    known = state.instruments.get(new.instrument)
    rules = (
        "min_qty",
        "max_qty",
        "min_notional",
        "maker_fee_ppm",
        "taker_fee_ppm",
        "latency_in_ns",
        "latency_out_ns",
        "paper_model",
        "status",
        "tradable",
        "price_decimals",
        "base_per_lot",
        "base_scale",
        "quote_scale",
        "seq",
        "ts_ns",
    )
    base, quote = state.assets[new.base_asset], state.assets[new.quote_asset]
    too_fine = new.base_scale > base.scale or new.quote_scale > quote.scale
    fixed = known and (
        too_fine
        or units_per_lot(state, known) != units_per_lot(state, new)
        or units_of_money(state, known) != units_of_money(state, new)
        or any(getattr(known, f) != getattr(new, f) for f in new._fields if f not in rules)
    )
    if (
        new.instrument == 0
        or new.base_asset == new.quote_asset
        or new.mirrored > 1
        or new.tradable > 1
        or new.status not in (1, 2, 3, 4)
        or not 1 <= new.base_per_lot <= MAX_NARROW
        or not 1 <= new.quote_per_tick_lot <= MAX_NARROW
        or too_fine
        or units_per_lot(state, new) > max_amount(base)
        or new.min_qty < 1
        or (new.max_qty and new.max_qty < new.min_qty)
        or new.min_notional < 0
        or not 0 <= new.taker_fee_ppm <= 10**6
        or not -new.taker_fee_ppm <= new.maker_fee_ppm <= 10**6
        or not 0 <= new.latency_in_ns <= 10**9
        or not 0 <= new.latency_out_ns <= 10**9
        or new.paper_model > 3
        or (not new.mirrored and (new.latency_in_ns or new.latency_out_ns or new.paper_model))
        or fixed
    ):
        raise Refused("INVALID_COMMAND")
    state.instruments[new.instrument] = new
    state.touch(new.instrument)
    state.status[new.instrument] = new.status
    if new.mirrored:
        state.mirrors.setdefault(new.instrument, Mirror())
    for account, asset in ((OUTSIDE, new.base_asset), (OUTSIDE, new.quote_asset), (FEES, new.quote_asset)):
        state.totals.setdefault((account, asset), 0)
    state.emit(EventKind.EVENT_INSTRUMENT_DEFINED, instrument=new.instrument, flags=new.status)


def adjust(state: State, command: Command) -> None:
    account, asset, amount = command.account, command.asset, command.amount
    if account not in state.accounts:
        raise Refused("ACCOUNT_NOT_FOUND")
    if asset not in state.assets:
        raise Refused("ASSET_NOT_FOUND")
    definition = state.assets[asset]
    scale = command.amount_scale or definition.first_scale or definition.scale
    most, refused = max_amount(definition), ""
    if scale > definition.scale or amount == 0:
        refused = "INVALID_COMMAND"
    else:
        amount *= 10 ** (definition.scale - scale)
        refused = "AMOUNT_OVERFLOW" if abs(amount) > most else ""
    known = state.adjustments.get((account, command.client_order_id))
    if known:
        if refused or (known.asset, known.amount) != (asset, amount):
            raise Refused("CLIENT_ORDER_ID_CONFLICT")
        total, reserved = all_balances(state)[account, asset]
        state.emit(
            EventKind.EVENT_BALANCE_CHANGED,
            flags=definition.scale,
            account=account,
            asset=asset,
            total=total,
            reserved_amount=reserved,
        )
        return
    state.totals.setdefault((account, asset), 0)
    state.totals.setdefault((OUTSIDE, asset), 0)
    if refused:
        raise Refused(refused)
    if amount < 0 and free(state, account, asset) < -amount:
        raise Refused("INSUFFICIENT_BALANCE")
    check_move(state, *((OUTSIDE, account) if amount > 0 else (account, OUTSIDE)), asset, abs(amount))
    if command.client_order_id:
        state.adjustments[account, command.client_order_id] = command._replace(amount=amount)
    move(state, OUTSIDE, account, asset, amount)


def set_status(state: State, command: Command) -> None:
    if command.flags not in (1, 2, 3, 4):
        raise Refused("INVALID_COMMAND")
    if command.instrument not in state.status:
        raise Refused("INSTRUMENT_NOT_FOUND")
    if command.instrument and not state.instruments[command.instrument].tradable and command.flags in (1, 4):
        raise Refused("NOT_TRADABLE")
    state.status[command.instrument] = command.flags
    for instrument in sorted(state.instruments):
        state.touch(instrument)
    state.emit(EventKind.EVENT_TRADING_STATUS_CHANGED, instrument=command.instrument, flags=command.flags)


def succeed(state: State, command: Command) -> None:
    """The instrument takes over from all others of its name."""
    heir = state.instruments.get(command.instrument)
    if heir is None:
        raise Refused("INSTRUMENT_NOT_FOUND")
    others = [number for number, each in state.instruments.items() if each.name == heir.name and each is not heir]
    money = units_of_money(state, heir)
    moving = [
        (key, position)
        for key, position in state.positions.items()
        if key[1] in others and heir.tradable and position != Position()
        and (heir.base_asset, heir.quote_asset)
        == (state.instruments[key[1]].base_asset, state.instruments[key[1]].quote_asset)
    ]
    if any(units_of_money(state, state.instruments[number]) < money for (_, number), _ in moving):
        raise Refused("INVALID_COMMAND")
    open_orders = [order for order in state.live if order.is_open and order.instrument in others]
    for order in sorted(open_orders, key=lambda o: (o.account, o.opened)):
        close(state, order, CancelReason.CANCEL_REASON_INSTRUMENT_CHANGED)
    for (account, number), position in moving:
        factor = units_of_money(state, state.instruments[number]) // money
        target = state.positions.setdefault((account, heir.instrument), Position(realized_pnl=0))
        average_cost(target, BUY if position.units > 0 else SELL, abs(position.units), abs(position.cost) * factor)
        target.realized_pnl += position.realized_pnl * factor
        state.positions[account, number] = Position()
        state.executed += [(account, number), (account, heir.instrument)]
    for number in others:
        state.instruments[number] = state.instruments[number]._replace(tradable=0)
    state.emit(EventKind.EVENT_INSTRUMENT_SUCCEEDED, instrument=heir.instrument, qty=len(open_orders))


def set_reference_prices(state: State, command: Command) -> None:
    if command.instrument not in state.instruments:
        raise Refused("INSTRUMENT_NOT_FOUND")
    valuation = command.flags == ReferenceKind.REFERENCE_VALUATION
    if not (0 <= command.price <= 2**60 and 0 <= command.trigger_price <= (0 if valuation else 2**60)) or command.flags > 1:
        raise Refused("INVALID_COMMAND")
    if command.expire_ns <= command.ts_ns and (command.price or not valuation):
        raise Refused("EXPIRE_TIME_IN_PAST")
    if valuation:
        state.valuations[command.instrument] = (command.price, command.expire_ns)
        return
    for source, price in ((MARK, command.price), (INDEX, command.trigger_price)):
        state.reference_prices[command.instrument, source] = (price, command.expire_ns)
    state.touch(command.instrument)
