"""Initial contents of a new installation: internal instruments, and accounts with play money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from fastpath.model.enums import AccountMode
from server.base.instruments import INTERNAL_VENUE, Instrument, InstrumentKind, Registry
from server.engine.trading import Trading


@dataclass(frozen=True, slots=True)
class Funding:
    """Money an account is given once."""

    asset: str
    amount: str
    """Decimal text."""


@dataclass(frozen=True, slots=True)
class AccountSetup:
    name: str
    mode: int
    funding: tuple[Funding, ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    instruments: tuple[Instrument, ...] = ()
    accounts: tuple[AccountSetup, ...] = ()


def internal_spot(symbol: str, tick_size: str, lot_size: str, min_notional: str = "1") -> Instrument:
    """A spot instrument with a book of our own, such as BTC/USDT; sizes are decimal texts."""
    base, quote = symbol.split("/")
    return Instrument(
        number=0,
        name=f"{INTERNAL_VENUE}:{symbol}",
        base=base,
        quote=quote,
        kind=InstrumentKind.SPOT,
        tick_size=Decimal(tick_size),
        lot_size=Decimal(lot_size),
        min_notional=Decimal(min_notional),
        maker_fee_bps=Decimal(0),
        taker_fee_bps=Decimal(5),
        tradable=True,
    )


_PLAY_MONEY = (
    Funding("USDT", "1000000"),
    Funding("BTC", "100"),
    Funding("ETH", "1000"),
    Funding("SOL", "10000"),
)

DEFAULT_SETUP = Setup(
    instruments=(
        internal_spot("BTC/USDT", "0.01", "0.00001"),
        internal_spot("ETH/USDT", "0.01", "0.0001"),
        internal_spot("SOL/USDT", "0.01", "0.001"),
        internal_spot("ETH/BTC", "0.00001", "0.0001", min_notional="0.0001"),
    ),
    accounts=(
        AccountSetup("demo", AccountMode.ACCOUNT_MODE_PAPER, _PLAY_MONEY),
        AccountSetup("maker", AccountMode.ACCOUNT_MODE_PAPER, _PLAY_MONEY),
    ),
)


def setup_of(registry: Registry, own: Sequence[Instrument], *, demo: bool) -> Setup:
    """What there is without any settings, unless it was defined otherwise before, and the user's `own` instruments as they
    are; with `demo` accounts or without."""
    names = {each.name for each in own}
    missing = [
        each
        for each in DEFAULT_SETUP.instruments
        if each.name not in names and registry.find_instrument(each.name) is None
    ]
    return Setup((*missing, *own), DEFAULT_SETUP.accounts if demo else ())


async def apply_setup(trading: Trading, setup: Setup) -> None:
    """Define what is missing of `setup`. An account that ever held an asset gets no deposit of it."""
    await trading.catalogue.define_instruments(setup.instruments)
    for account in setup.accounts:
        await trading.catalogue.create_account(account.name, account.mode)
        had = {balance.asset.name for balance in trading.list_balances(account.name)}
        for funding in account.funding:
            if funding.asset not in had:
                units = trading.registry.asset(funding.asset).units(funding.amount)
                await trading.adjust_balance(account.name, funding.asset, units, f"setup-{funding.asset}")
