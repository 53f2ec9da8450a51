"""What the operator says: assets, instruments, accounts, deposits and withdrawals, trading status."""

from __future__ import annotations

from fastpath.model import CancelReason, EventKind
from tests.reference.exchange.ledger import all_balances, average_cost, check_move, free, move
from tests.reference.exchange.orders import BUY, FEES, INDEX, MARK, MAX_MONEY, OUTSIDE, SELL, Mirror, Position, Refused
from tests.reference.exchange.shrinking import close
from tests.reference.exchange.state import State
from tests.reference.records import AccountDef, AssetDef, Command, InstrumentDef


def define_asset(state: State, asset: AssetDef) -> None:
    known = state.assets.get(asset.asset)
    if asset.asset == 0 or (known and (known.scale, known.name) != (asset.scale, asset.name)):
        raise Refused("INVALID_COMMAND")
    state.assets[asset.asset] = asset
    state.emit(EventKind.EVENT_ASSET_DEFINED, asset=asset.asset)


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
        "seq",
        "ts_ns",
    )
    fixed = known and any(getattr(known, f) != getattr(new, f) for f in new._fields if f not in rules)
    if (
        new.instrument == 0
        or new.base_asset == new.quote_asset
        or new.mirrored > 1
        or new.tradable > 1
        or new.status not in (1, 2, 3, 4)
        or not 1 <= new.base_per_lot <= MAX_MONEY
        or not 1 <= new.quote_per_tick_lot <= MAX_MONEY
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
    known = state.adjustments.get((account, command.client_order_id))
    if known:
        if (known.asset, known.amount) != (asset, amount):
            raise Refused("CLIENT_ORDER_ID_CONFLICT")
        total, reserved = all_balances(state)[account, asset]
        state.emit(EventKind.EVENT_BALANCE_CHANGED, account=account, asset=asset, total=total, reserved_amount=reserved)
        return
    state.totals.setdefault((account, asset), 0)
    state.totals.setdefault((OUTSIDE, asset), 0)
    if amount == 0:
        raise Refused("INVALID_COMMAND")
    if abs(amount) > MAX_MONEY:
        raise Refused("AMOUNT_OVERFLOW")
    if amount < 0 and free(state, account, asset) < -amount:
        raise Refused("INSUFFICIENT_BALANCE")
    check_move(state, *((OUTSIDE, account) if amount > 0 else (account, OUTSIDE)), asset, abs(amount))
    if command.client_order_id:
        state.adjustments[account, command.client_order_id] = command
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
    open_orders = [order for order in state.live if order.is_open and order.instrument in others]
    for order in sorted(open_orders, key=lambda o: (o.account, o.opened)):
        close(state, order, CancelReason.CANCEL_REASON_INSTRUMENT_CHANGED)
    for (account, number), position in list(state.positions.items()):
        other = state.instruments[number]
        same_assets = (other.base_asset, other.quote_asset) == (heir.base_asset, heir.quote_asset)
        if number in others and heir.tradable and same_assets and position != Position():
            target = state.positions.setdefault((account, heir.instrument), Position(realized_pnl=0))
            average_cost(target, BUY if position.units > 0 else SELL, abs(position.units), abs(position.cost))
            target.realized_pnl += position.realized_pnl
            state.positions[account, number] = Position()
            state.executed += [(account, number), (account, heir.instrument)]
    for number in others:
        state.instruments[number] = state.instruments[number]._replace(tradable=0)
    state.emit(EventKind.EVENT_INSTRUMENT_SUCCEEDED, instrument=heir.instrument, qty=len(open_orders))


def set_reference_prices(state: State, command: Command) -> None:
    if command.instrument not in state.instruments:
        raise Refused("INSTRUMENT_NOT_FOUND")
    if not (0 <= command.price <= 2**60 and 0 <= command.trigger_price <= 2**60):
        raise Refused("INVALID_COMMAND")
    if command.expire_ns <= command.ts_ns:
        raise Refused("EXPIRE_TIME_IN_PAST")
    for source, price in ((MARK, command.price), (INDEX, command.trigger_price)):
        state.reference_prices[command.instrument, source] = (price, command.expire_ns)
    state.touch(command.instrument)
