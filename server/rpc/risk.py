"""RiskService: measures of portfolios, and the kill switch."""

from __future__ import annotations

from server.base.instruments import Registry
from server.risk.kill_switch import KillSwitch
from server.risk.metrics import RiskMetrics
from server.risk.service import Risk
from server.risk.valuation import DEFAULT_MAX_AGE_NS
from server.risk.value_at_risk import Method
from server.rpc import risk_answers as answers
from server.rpc import risk_requests as requests
from server.rpc.boundary import Call
from server.rpc.fields import Fields
from tradewind.v1 import risk_pb2 as pb

_MAX_AGE_S = 86_400
_MAX_REASON_CHARS = 200
_MAX_WINDOW = 10_000
_DEFAULT_WINDOW = 250
_METHODS = (Method.HISTORICAL, Method.NORMAL, Method.MONTE_CARLO_STUDENT_T)
_CONFIDENCES = (0.95, 0.99)


class RiskService:
    def __init__(self, risk: Risk, kill_switch: KillSwitch, metrics: RiskMetrics, registry: Registry) -> None:
        self._risk = risk
        self._kill_switch = kill_switch
        self._metrics = metrics
        self._registry = registry

    async def GetExposure(self, request: pb.GetExposureRequest, call: Call) -> pb.GetExposureResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        asset = requests.valuation_asset(fields, request.valuation_asset)
        age_ns = DEFAULT_MAX_AGE_NS
        if request.HasField("max_price_age"):
            age_ns = requests.duration_ns(fields, "max_price_age", request.max_price_age, 1, _MAX_AGE_S)
        fields.check()
        found = self._risk.exposure(account, self._risk.valuation(asset, age_ns))
        return pb.GetExposureResponse(exposure=answers.exposure(found))

    async def GetValueAtRisk(self, request: pb.GetValueAtRiskRequest, call: Call) -> pb.GetValueAtRiskResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        asset = requests.valuation_asset(fields, request.valuation_asset)
        window = requests.window(fields, request.history)
        model = requests.model(fields, request.model, _METHODS, _CONFIDENCES)
        measured = await self._risk.value_at_risk(account, asset, model, window)
        return pb.GetValueAtRiskResponse(value_at_risk=answers.value_at_risk(measured))

    async def RunStress(self, request: pb.RunStressRequest, call: Call) -> pb.RunStressResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        asset = requests.valuation_asset(fields, request.valuation_asset)
        window = requests.window(fields, request.history)
        wanted, liquidate = requests.stress(fields, request)
        return answers.stress(await self._risk.stress(account, asset, wanted, window, liquidate=liquidate))

    async def BacktestVar(self, request: pb.BacktestVarRequest, call: Call) -> pb.BacktestVarResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        asset = requests.valuation_asset(fields, request.valuation_asset)
        window = requests.backtest_window(fields, request)
        behind = fields.between("window", request.window or _DEFAULT_WINDOW, 1, _MAX_WINDOW)
        refit_every = fields.between("refit_every", request.refit_every or 1, 1, _MAX_WINDOW)
        for name in ("methods", "confidences", "horizons"):
            if len(getattr(request.model, name)) > 1:
                fields.wrong(f"model.{name}", "a back-test takes one", "OUT_OF_RANGE")
        if list(request.model.horizons) not in ([], [1]):
            fields.wrong("model.horizons", "a back-test looks one period ahead: leave it out", "OUT_OF_RANGE")
        model = requests.model(fields, request.model, (Method.HISTORICAL,), (0.99,))
        return answers.backtest(await self._risk.backtest(account, asset, model, window, behind, refit_every))

    async def WhatIf(self, request: pb.WhatIfRequest, call: Call) -> pb.WhatIfResponse:
        fields = Fields()
        account = fields.name("account", request.account)
        asset = requests.valuation_asset(fields, request.valuation_asset)
        window = requests.window(fields, request.history)
        model = requests.model(fields, request.model, _METHODS, _CONFIDENCES)
        supposed = requests.supposed(fields, request, self._registry)
        found = await self._risk.what_if(account, asset, supposed, model, window)
        before, after = found.measured
        return pb.WhatIfResponse(
            exposure_before=answers.exposure(found.exposures[0]),
            exposure_after=answers.exposure(found.exposures[1]),
            value_at_risk_before=answers.value_at_risk(before) if before is not None else None,
            value_at_risk_after=answers.value_at_risk(after) if after is not None else None,
        )

    async def KillSwitch(self, request: pb.KillSwitchRequest, call: Call) -> pb.KillSwitchResponse:
        fields = Fields()
        reason = fields.text("reason", request.reason, _MAX_REASON_CHARS)
        if request.instrument:
            fields.instrument("instrument", request.instrument, self._registry)
        fields.check()
        killed = await self._kill_switch.pull(
            request.instrument, flatten=request.flatten, reason=reason, principal=call.caller.token_id
        )
        self._metrics.killed("instrument" if request.instrument else "all")
        return pb.KillSwitchResponse(
            canceled_count=killed.canceled,
            pending_count=killed.pending,
            flattened=map(answers.flattened, killed.flattened),
        )
