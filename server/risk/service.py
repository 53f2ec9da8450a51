"""Portfolio risk in plain Python: what RiskService answers. What takes long is computed by a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from server.base.clock import Clock
from server.base.errors import FailedPrecondition
from server.base.instruments import Instrument
from server.engine.order_entry import AccountTrading
from server.market.history import TickHistory
from server.market.hub import MarketData
from server.market.model import FeedState, Level
from server.risk.backtest import BacktestReport
from server.risk.computations import Computations
from server.risk.exposures import Exposure, Held, balances_of, exposure_of, holdings
from server.risk.history import HistoryUsed, ReturnHistory, Window, with_history
from server.risk.jobs import Stressed
from server.risk.liquidation import Book
from server.risk.portfolio import Portfolio, Position, Returns
from server.risk.stress import Holding, StressRequest
from server.risk.valuation import DEFAULT_MAX_AGE_NS, EXACT, Valuation
from server.risk.value_at_risk import ValueAtRiskReport, ValueAtRiskRequest

_BOOK_DEPTH = 1_000
_BPS = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Measured:
    """Estimates of value at risk, and what they were made of."""

    report: ValueAtRiskReport
    names: tuple[str, ...]
    """Of the instruments, by position."""
    time_ns: int
    history: HistoryUsed


@dataclass(frozen=True, slots=True)
class Backtested:
    report: BacktestReport
    asset: str
    history: HistoryUsed


@dataclass(frozen=True, slots=True)
class StressAnswer:
    stressed: Stressed
    not_liquidated: Mapping[str, str]
    """Instruments with the reason."""
    history: HistoryUsed | None


@dataclass(frozen=True, slots=True)
class Supposed:
    """What is added: held, and ordered."""

    positions: tuple[Held, ...]
    orders: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    exposures: tuple[Exposure, Exposure]
    """Before and after."""
    measured: tuple[Measured | None, Measured | None]


class Risk:
    """Measures of accounts."""

    def __init__(
        self, trading: AccountTrading, market: MarketData, ticks: TickHistory, computations: Computations, clock: Clock
    ) -> None:
        self._trading = trading
        self._market = market
        self._clock = clock
        self._history = ReturnHistory(ticks, trading.registry, clock)
        self._computations = computations

    def valuation(self, asset: str, max_age_ns: int = DEFAULT_MAX_AGE_NS) -> Valuation:
        """Values in an asset, now. Raises NotFound."""
        self._trading.registry.asset(asset)
        return Valuation(self._market, self._trading.registry, self._clock, asset, max_age_ns)

    def exposure(self, account: str, valuation: Valuation, added: Iterable[Held] = ()) -> Exposure:
        """With what is supposed, if anything is. Raises NotFound."""
        held = holdings(self._trading, account, added)
        return exposure_of(account, held, balances_of(self._trading, account), valuation)

    async def value_at_risk(
        self, account: str, asset: str, request: ValueAtRiskRequest, window: Window
    ) -> Measured:
        """Raises NotFound, InvalidRequest, FailedPrecondition (NO_EXPOSURE, PRICE_MISSING, INSUFFICIENT_HISTORY)."""
        valuation = self.valuation(asset)
        found = self.exposure(account, valuation)
        portfolio = _portfolio(found)
        returns, used = await self._history.returns(_moving(found), valuation, window)
        try:
            report = await self._computations.run("value_at_risk", portfolio, returns, request)
        except FailedPrecondition as error:
            raise with_history(error, used) from None
        return Measured(report, _names(portfolio), found.time_ns, used)

    async def backtest(
        self, account: str, asset: str, request: ValueAtRiskRequest, window: Window, behind: int, refit_every: int
    ) -> Backtested:
        """`behind`: periods of a forecast. Raises as `value_at_risk`."""
        valuation = self.valuation(asset)
        found = self.exposure(account, valuation)
        portfolio = _portfolio(found)
        returns, used = await self._history.returns(_moving(found), valuation, window)
        try:
            report = await self._computations.run("backtest", portfolio, returns, request, behind, refit_every)
        except FailedPrecondition as error:
            raise with_history(error, used) from None
        return Backtested(report, asset, used)

    async def stress(
        self, account: str, asset: str, request: StressRequest, window: Window, *, liquidate: bool
    ) -> StressAnswer:
        """`request` without holdings: they are the positions. Raises as `value_at_risk`; history is for correlations only."""
        valuation = self.valuation(asset)
        found = self.exposure(account, valuation)
        portfolio = _portfolio(found)
        returns: Returns | None = None
        used: HistoryUsed | None = None
        if request.correlations_to_one:
            returns, used = await self._history.returns(_moving(found), valuation, window)
        books, missing = self._books(found, valuation) if liquidate else ([], {})
        asked = replace(request, holdings=tuple(holding for holding, _ in books))
        rates = tuple(rate for _, rate in books)
        try:
            stressed = await self._computations.run("stress", portfolio, asked, returns, rates)
        except FailedPrecondition as error:
            raise (with_history(error, used) if used is not None else error) from None
        return StressAnswer(stressed, missing, used)

    async def what_if(
        self, account: str, asset: str, supposed: Supposed, request: ValueAtRiskRequest, window: Window
    ) -> WhatIf:
        """Raises as `value_at_risk`; nothing held, before or after, is no error."""
        valuation = self.valuation(asset)
        before = self.exposure(account, valuation)
        after = self.exposure(account, valuation, (*supposed.positions, *supposed.orders))
        filled = self.exposure(account, valuation, (*supposed.positions, *map(_filled, supposed.orders)))
        instruments = {each.name: each for each in (*_moving(before), *_moving(filled))}
        if not instruments:
            return WhatIf((before, after), (None, None))
        portfolios = [_portfolio(each) if _moving(each) else None for each in (before, filled)]
        returns, used = await self._history.returns(list(instruments.values()), valuation, window)
        try:
            reports = await self._computations.run("compare", *portfolios, returns, request)
        except FailedPrecondition as error:
            raise with_history(error, used) from None
        measured = [
            Measured(report, _names(portfolio), before.time_ns, used) if portfolio is not None else None
            for report, portfolio in zip(reports, portfolios, strict=True)
        ]
        return WhatIf((before, after), (measured[0], measured[1]))

    def _books(self, found: Exposure, valuation: Valuation) -> tuple[list[tuple[Holding, float]], dict[str, str]]:
        """Positions on their books with their fee rates, and those without a book that is LIVE on both sides."""
        holdings_, missing = [], {}
        for position in found.positions:
            instrument, qty = position.held.instrument, position.held.qty
            if not qty:
                continue
            book = self._market.book(instrument.name, _BOOK_DEPTH)
            rate = valuation.rate(instrument.quote, instrument.venue)
            if isinstance(rate, str):
                missing[instrument.name] = rate
            elif book is None or book.state is not FeedState.LIVE:
                missing[instrument.name] = f"its book is {self._market.state(instrument.name).name}"
            elif not book.bids or not book.asks:
                missing[instrument.name] = "its book has no bid or no ask"
            else:
                levels = Book(_levels(book.bids, instrument), _levels(book.asks, instrument))
                holding = Holding(instrument.name, float(qty), levels, float(rate))
                holdings_.append((holding, max(0.0, float(instrument.taker_fee_bps / _BPS))))
        return holdings_, missing


def _levels(levels: Sequence[Level], instrument: Instrument) -> tuple[tuple[float, float], ...]:
    tick, lot = float(instrument.tick_size), float(instrument.data_lot_size)
    return tuple((price * tick, qty * lot) for price, qty in levels)


def _filled(order: Held) -> Held:
    return Held(order.instrument, EXACT.subtract(order.buys, order.sells))


def _moving(found: Exposure) -> list[Instrument]:
    """Instruments of which something is held."""
    return [position.held.instrument for position in found.positions if position.held.qty]


def _portfolio(found: Exposure) -> Portfolio:
    """Positions, valued. Raises FailedPrecondition (NO_EXPOSURE, PRICE_MISSING): risk of a part would be no risk of all."""
    held = [position for position in found.positions if position.held.qty]
    if not held:
        message = f"account {found.account!r} holds no position: there is no market risk"
        raise FailedPrecondition(message, reason="NO_EXPOSURE")
    unpriced = {each.held.instrument.name: found.unpriced[each.held.instrument.name] for each in held if each.value is None}
    if unpriced:
        named = "; ".join(f"{name}: {reason}" for name, reason in sorted(unpriced.items()))
        raise FailedPrecondition(f"positions cannot be valued: {named}", reason="PRICE_MISSING")
    return Portfolio(
        tuple(
            Position(each.held.instrument.name, float(each.value or 0), venue=each.held.instrument.venue) for each in held
        ),
        found.asset,
    )


def _names(portfolio: Portfolio) -> tuple[str, ...]:
    return tuple(position.asset for position in portfolio.positions)
