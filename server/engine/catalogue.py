"""Defines assets, instruments and accounts: gives numbers, and journals what is new or changed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence

from fastpath.model import TradingStatus
from server.engine.commands import succeed_instrument
from server.engine.definitions import (
    MAX_SCALE,
    account_record,
    asset_record,
    fits,
    instrument_record,
    scales_needed,
)
from server.engine.events import EVENT_SIZE, REJECTED_COMMAND, decode
from server.engine.refusals import refusal
from server.errors import AlreadyExists, ConfigError
from server.instruments import Account, Asset, Instrument, Registry

_log = logging.getLogger(__name__)

_CHUNK = 500
"""Definitions in one submission."""

Submit = Callable[[bytes], "asyncio.Future[bytes]"]


class Catalogue:
    """The one place that gives numbers. Definitions follow one another, so that no number is given twice."""

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
        One that cannot be held exactly with the assets' units as they are becomes market data only.
        """
        async with self._turn:
            await self._define_assets(instruments)
            await self._define(self._instrument_records(instruments), "instrument", "")
            return [self._registry.instrument(instrument.name) for instrument in instruments]

    async def _define_assets(self, instruments: Sequence[Instrument]) -> None:
        scales: dict[str, int] = {}
        for instrument in instruments:
            for name, scale in zip((instrument.base, instrument.quote), scales_needed(instrument), strict=True):
                if self._registry.find_asset(name) is None:
                    scales[name] = min(MAX_SCALE, max(scale, scales.get(name, 0)))
        first = len(list(self._registry.assets())) + 1
        records = [asset_record(Asset(first + at, name, scale)) for at, (name, scale) in enumerate(scales.items())]
        await self._define(records, "asset", "")

    def _instrument_records(self, instruments: Sequence[Instrument]) -> list[bytes]:
        records: list[bytes] = []
        following = self._registry.instrument_count + 1
        for wanted in instruments:
            base, quote = self._registry.asset(wanted.base), self._registry.asset(wanted.quote)
            if wanted.tradable and not fits(wanted, base, quote):
                _log.warning(
                    "%s is market data only: its lots or ticks need smaller units of %s or %s than this journal has",
                    wanted.name, wanted.base, wanted.quote,
                )  # fmt: skip
                wanted = dataclasses.replace(wanted, tradable=False)
            meant = self._registry.find_instrument(wanted.name)
            known = self._registry.numbered_instruments()
            same = [each for each in known if each.same_units(wanted) and each.tradable == wanted.tradable]
            wanted = dataclasses.replace(wanted, number=same[-1].number if same else following)
            following += not same
            try:
                record = b"" if wanted == meant else instrument_record(wanted, base, quote, self._status(wanted, meant))
            except ValueError as error:
                raise ConfigError(f"instrument {wanted.name!r} cannot be defined: {error}") from error
            if meant is not None and self._has_rivals(wanted):
                _log.warning(
                    "%s has tick %s and lot %s now, no longer %s and %s: open orders are canceled, positions carried over",
                    wanted.name, wanted.tick_size, wanted.lot_size, meant.tick_size, meant.lot_size,
                )  # fmt: skip
                record += succeed_instrument(wanted.number)
            if record:
                records.append(record)
        return records

    def _has_rivals(self, wanted: Instrument) -> bool:
        """Whether there are instruments of its name from which nobody has taken over yet."""
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
