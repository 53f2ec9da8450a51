"""Calls of RiskService."""

from __future__ import annotations

from datetime import timedelta

from tradewind import risk
from tradewind._async.calls import AsyncCalls
from tradewind.risk import Exposure, KillSwitchResult
from tradewind.v1 import risk_pb2


class AsyncRiskCalls(AsyncCalls):
    """What a portfolio may lose, and the switch that stops all trading."""

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
        return risk.exposure((await self._call(self._risk.GetExposure, request)).exposure)

    async def kill_switch(self, reason: str, *, instrument: str = "", flatten: bool = False) -> KillSwitchResult:
        """Halt everything, or one instrument, and cancel the open orders of all accounts; `flatten` closes positions before.

        After it no order is accepted until `set_trading_status` opens the market again. Repeating it is safe.
        """
        request = risk_pb2.KillSwitchRequest(instrument=instrument, reason=reason, flatten=flatten)
        return risk.kill_switch_result(await self._call(self._risk.KillSwitch, request))
