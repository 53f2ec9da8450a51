"""Defines assets, instruments and accounts: gives numbers, and journals what is new or changed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence

from fastpath.model.enums import TradingStatus
from fastpath.model.structs import EVENT_SIZE
from server.base.errors import AlreadyExists, ConfigError
from server.base.instruments import ASSET_SCALE, MAX_MONEY, Account, Asset, Instrument, Registry
from server.engine.refusals import refusal
from server.records.commands import succeed_instrument
from server.records.definitions import (
    account_record,
    asset_record,
    fits,
    instrument_record,
    money_scale,
)
from server.records.events import REJECTED_COMMAND, decode

_log = logging.getLogger(__name__)

_CHUNK = 500
"""Definitions in one submission."""

Submit = Callable[[bytes], "asyncio.Future[bytes]"]


class Catalogue:
    """Assigns the numbers. Definitions run one at a time, so no number is assigned twice."""

    def __init__(self, registry: Registry, trading_status: Callable[[int], int], submit: Submit) -> None:
        """`trading_status` says the present status of an instrument by number."""
        self._registry = registry
        self._trading_status = trading_status
        self._submit = submit
        self._turn = asyncio.Lock()

    async def create_account(self, name: str, mode: int) -> Account:
        """The account of that name, made now if it does not exist. Raises AlreadyExists if it has another mode."""
        async with self._turn:
            known = self._registry.find_account(name)
            if known is None:
                number = len(self._registry.accounts()) + 1
                await self._define([account_record(Account(number, name, mode))], "account", name)
                return self._registry.account(name)
        if known.mode != mode:
            raise AlreadyExists(f"account {name!r} exists with another mode")
        return known

    async def define_instruments(self, instruments: Sequence[Instrument]) -> list[Instrument]:
        """The instruments with their numbers. Journals those that are new or changed, and the assets they need.

        An instrument whose units changed (tick, lot) is another one under the same name, which takes over from the old
        one: open orders are canceled (INSTRUMENT_CHANGED), positions are carried over exactly, a halt stays.
        One whose lots, or ticks times lots, have more decimals than amounts have becomes market data only.
        """
        async with self._turn:
            await self._refine_assets()
            await self._define_assets(instruments)
            await self._define(self._instrument_records(instruments), "instrument", "")
            return [self._registry.instrument(instrument.name) for instrument in instruments]

    async def _refine_assets(self) -> None:
        """Redefine assets of older builds with the units and bounds of this one. Balances keep their amounts."""
        for asset in list(self._registry.assets()):
            finer = dataclasses.replace(asset, scale=max(asset.scale, ASSET_SCALE), max_units=MAX_MONEY)
            if finer != asset:
                await self._define([asset_record(finer)], "asset", asset.name)

    async def _define_assets(self, instruments: Sequence[Instrument]) -> None:
        names = dict.fromkeys(name for instrument in instruments for name in (instrument.base, instrument.quote))
        new = [name for name in names if self._registry.find_asset(name) is None]
        first = len(list(self._registry.assets())) + 1
        await self._define([asset_record(Asset(first + at, name)) for at, name in enumerate(new)], "asset", "")

    def _instrument_records(self, instruments: Sequence[Instrument]) -> list[bytes]:
        records: list[bytes] = []
        following = self._registry.instrument_count + 1
        for wanted in instruments:
            base, quote = self._registry.asset(wanted.base), self._registry.asset(wanted.quote)
            if wanted.tradable and not fits(wanted, base, quote):
                _log.warning(
                    "%s is market data only: its ticks times lots have more than %d decimals", wanted.name, quote.scale
                )
                wanted = dataclasses.replace(wanted, tradable=False)
            meant = self._registry.find_instrument(wanted.name)
            scale = self._money_scale(wanted)
            known = self._registry.numbered_instruments()
            same = [each for each in known if _continues(each, wanted) and each.money_scale >= scale]
            scale = same[-1].money_scale if same else max(scale, money_scale(wanted)) if wanted.tradable else 0
            wanted = dataclasses.replace(wanted, number=same[-1].number if same else following, money_scale=scale)
            following += not same
            try:
                record = b"" if wanted == meant else instrument_record(wanted, base, quote, self._status(wanted, meant))
            except ValueError as error:
                raise ConfigError(f"instrument {wanted.name!r} cannot be defined: {error}") from error
            if meant is not None and self._name_is_shared(wanted):
                _log.warning(
                    "%s has tick %s and lot %s now, no longer %s and %s: open orders are canceled, positions carried over",
                    wanted.name, wanted.tick_size, wanted.lot_size, meant.tick_size, meant.lot_size,
                )  # fmt: skip
                record += succeed_instrument(wanted.number)
            if record:
                records.append(record)
        return records

    def _money_scale(self, wanted: Instrument) -> int:
        """Decimals of quote money of the instruments it takes over from: their positions are to fit into its own."""
        if not wanted.tradable or self._registry.find_instrument(wanted.name) is None:
            return 0
        known = map(self._registry.instrument_by_number, self._registry.numbers(wanted.name))
        return max(each.money_scale for each in known)

    def _name_is_shared(self, wanted: Instrument) -> bool:
        """Whether another instrument of this name has not been succeeded yet."""
        numbers = self._registry.numbers(wanted.name) - {wanted.number}
        return any(not self._registry.is_succeeded(number) for number in numbers)

    def _status(self, wanted: Instrument, meant: Instrument | None) -> int:
        """A redefinition must not lift a halt; what is market data only takes no orders."""
        if not wanted.tradable:
            return int(TradingStatus.TRADING_STATUS_HALTED)
        if meant is not None and meant.tradable:
            return self._trading_status(meant.number)
        return int(TradingStatus.TRADING_STATUS_OPEN)

    async def _define(self, records: list[bytes], kind: str, name: str) -> None:
        for at in range(0, len(records), _CHUNK):
            events = await self._submit(b"".join(records[at : at + _CHUNK]))
            for offset in range(0, len(events), EVENT_SIZE):
                event = decode(events[offset : offset + EVENT_SIZE])
                if event.kind == REJECTED_COMMAND:
                    raise refusal(event, kind, name)


def _continues(known: Instrument, wanted: Instrument) -> bool:
    """Whether `wanted` could go on under the number of `known`."""
    return known.name == wanted.name and known.same_units(wanted) and known.tradable == wanted.tradable
