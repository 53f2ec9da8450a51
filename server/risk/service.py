"""Portfolio risk in plain Python: what RiskService answers."""

from __future__ import annotations

from server.base.clock import Clock
from server.engine.order_entry import AccountTrading
from server.market.hub import MarketData
from server.risk.exposures import Exposure, balances_of, exposure_of, holdings
from server.risk.valuation import DEFAULT_MAX_AGE_NS, Valuation


class Risk:
    """Measures of accounts. On the event loop; what takes long is for a worker."""

    def __init__(self, trading: AccountTrading, market: MarketData, clock: Clock) -> None:
        self._trading = trading
        self._market = market
        self._clock = clock

    def valuation(self, asset: str, max_age_ns: int = DEFAULT_MAX_AGE_NS) -> Valuation:
        """Values in an asset, now. Raises NotFound."""
        self._trading.registry.asset(asset)
        return Valuation(self._market, self._trading.registry, self._clock, asset, max_age_ns)

    def exposure(self, account: str, valuation: Valuation) -> Exposure:
        """Raises NotFound."""
        held = holdings(self._trading, account)
        return exposure_of(account, held, balances_of(self._trading, account), valuation)
