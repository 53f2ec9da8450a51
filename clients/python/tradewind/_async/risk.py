"""Calls of RiskService."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from tradewind import risk_convert as convert
from tradewind._async.calls import AsyncCalls
from tradewind.convert import Number
from tradewind.risk import (
    Exposure,
    HistoryWindow,
    KillSwitchResult,
    RiskModel,
    Stress,
    SupposedOrder,
    ValueAtRisk,
    VarBacktest,
    WhatIf,
)
from tradewind.v1 import risk_pb2


class AsyncRiskCalls(AsyncCalls):
    """What a portfolio may lose, and the switch that stops all trading.

    Measures raise FailedPrecondition where something is missing: `reason` is NO_EXPOSURE, PRICE_MISSING or
    INSUFFICIENT_HISTORY, the message says what.
    """

    async def get_exposure(
        self,
        account: str | None = None,
        *,
        valuation_asset: str = "",
        max_price_age: timedelta | None = None,
    ) -> Exposure:
        """What an account holds, valued now (in USDT unless asked), with its open orders in the worst case.

        What cannot be valued is in `unpriced` and in no total.
        """
        request = risk_pb2.GetExposureRequest(
            account=self._account_or_default(account), valuation_asset=valuation_asset, max_price_age=max_price_age
        )
        return convert.exposure((await self._call(self._risk.GetExposure, request)).exposure)

    async def get_value_at_risk(
        self,
        account: str | None = None,
        *,
        model: RiskModel | None = None,
        history: HistoryWindow | None = None,
        valuation_asset: str = "",
    ) -> ValueAtRisk:
        """Value at risk and expected shortfall of an account's positions, with each position's part."""
        request = risk_pb2.GetValueAtRiskRequest(
            account=self._account_or_default(account),
            valuation_asset=valuation_asset,
            model=convert.model(model),
            history=convert.window(history),
        )
        return convert.value_at_risk((await self._call(self._risk.GetValueAtRisk, request)).value_at_risk)

    async def run_stress(
        self,
        account: str | None = None,
        *,
        named: Iterable[str] = (),
        custom: Mapping[str, Mapping[str, float]] | None = None,
        correlations_to_one: bool = False,
        history: HistoryWindow | None = None,
        venue_defaults: Iterable[str] = (),
        recovery: float = 0.0,
        liquidate: bool = False,
        spread_times: float = 0.0,
        depth_divided_by: float = 0.0,
        valuation_asset: str = "",
    ) -> Stress:
        """What the positions lose in scenarios. Nothing asked for: all past shocks, and the cost to liquidate.

        `custom` has returns by scenario and by instrument, base asset or OTHER: `{"crash": {"BTC": -0.3, "OTHER": -0.5}}`.
        """
        request = risk_pb2.RunStressRequest(
            account=self._account_or_default(account),
            valuation_asset=valuation_asset,
            named=named,
            custom=convert.custom_shocks(custom or {}),
            correlations_to_one=correlations_to_one,
            history=convert.window(history),
            venue_defaults=venue_defaults,
            recovery=recovery,
            liquidate=liquidate,
            spread_times=spread_times,
            depth_divided_by=depth_divided_by,
        )
        return convert.stress(await self._call(self._risk.RunStress, request))

    async def backtest_var(
        self,
        account: str | None = None,
        *,
        model: RiskModel | None = None,
        history: HistoryWindow | None = None,
        window: int = 0,
        refit_every: int = 0,
        valuation_asset: str = "",
    ) -> VarBacktest:
        """Whether value at risk (one method, one confidence) kept its promise for today's positions over the history."""
        request = risk_pb2.BacktestVarRequest(
            account=self._account_or_default(account),
            valuation_asset=valuation_asset,
            model=convert.model(model),
            history=convert.window(history),
            window=window,
            refit_every=refit_every,
        )
        return convert.backtest(await self._call(self._risk.BacktestVar, request))

    async def what_if(
        self,
        account: str | None = None,
        *,
        positions: Mapping[str, Number] | None = None,
        orders: Iterable[SupposedOrder] = (),
        model: RiskModel | None = None,
        history: HistoryWindow | None = None,
        valuation_asset: str = "",
    ) -> WhatIf:
        """Exposure and value at risk with `positions` (signed quantity by instrument) and `orders` that are only supposed."""
        request = risk_pb2.WhatIfRequest(
            account=self._account_or_default(account),
            valuation_asset=valuation_asset,
            added_positions=[convert.supposed_position(name, qty) for name, qty in (positions or {}).items()],
            added_orders=[convert.supposed_order(each) for each in orders],
            model=convert.model(model),
            history=convert.window(history),
        )
        return convert.what_if(await self._call(self._risk.WhatIf, request))

    async def kill_switch(self, reason: str, *, instrument: str = "", flatten: bool = False) -> KillSwitchResult:
        """Halt everything, or one instrument, and cancel the open orders of all accounts; `flatten` closes positions before.

        After it no order is accepted until `set_trading_status` opens the market again. Repeating it is safe.
        """
        request = risk_pb2.KillSwitchRequest(instrument=instrument, reason=reason, flatten=flatten)
        return convert.kill_switch_result(await self._call(self._risk.KillSwitch, request))
