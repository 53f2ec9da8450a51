"""Named days of the past as falls per asset, to be applied to the positions of today.

The falls of BTC, ETH, BNB, LINK and SOL are measured on hourly candles of Binance USD-M perpetuals: from the last close
before the window to the lowest hourly close within it. OTHER is the worst of the coins measured, without BTC, ETH and
those that were the cause. What the cause itself lost, and stablecoins, are as reported at the time; see docs/risk.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OTHER = "OTHER"
"""Any asset that a shock does not name and that is no stablecoin."""
STABLECOIN = "STABLECOIN"
STABLECOINS = frozenset(
    {"USDT", "USDC", "DAI", "FDUSD", "TUSD", "BUSD", "USDD", "FRAX", "PYUSD", "USDE", "UST", "USTC", "USD"}
)


@dataclass(frozen=True, slots=True)
class NamedShock:
    """What a past event did to each asset, as returns."""

    name: str
    title: str
    start: str
    """Of the window, UTC."""
    end: str
    returns: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    def return_of(self, asset: str) -> float:
        """By coin, else as the stablecoins, else as the other coins. `BTC/USDT:USDT` is the coin BTC."""
        coin = coin_of(asset)
        if coin in self.returns:
            return self.returns[coin]
        return self.returns[STABLECOIN if coin in STABLECOINS else OTHER]


def coin_of(asset: str) -> str:
    """The coin of an asset or of an instrument: `BTC` of `BTC`, `BTC/USDT`, `binance:BTC/USDT:USDT`."""
    name = asset.split("/", 1)[0]
    return name.rsplit(":", 1)[-1].upper()


NAMED_SHOCKS: Mapping[str, NamedShock] = {
    shock.name: shock
    for shock in (
        NamedShock(
            "2020-03-12", "the sell-off of the pandemic", "2020-03-12T00:00", "2020-03-13T12:00",
            {"BTC": -0.4882, "ETH": -0.5086, "BNB": -0.5349, "LINK": -0.5725, OTHER: -0.5725, STABLECOIN: 0.0},
            "Binance USD-M 1h candles; SOL was not traded yet",
        ),
        NamedShock(
            "2021-05-19", "China's statement against crypto, liquidations", "2021-05-19T00:00", "2021-05-20T00:00",
            {"BTC": -0.1824, "ETH": -0.3088, "BNB": -0.3420, "LINK": -0.4118, "SOL": -0.4369, OTHER: -0.4369,
             STABLECOIN: 0.0},
            "Binance USD-M 1h candles",
        ),
        NamedShock(
            "2022-05-luna", "the end of Terra: UST loses its peg, LUNA goes to zero", "2022-05-09T00:00", "2022-05-13T00:00",
            {"BTC": -0.2043, "ETH": -0.2723, "BNB": -0.3519, "LINK": -0.4176, "SOL": -0.4620, "LUNA": -0.999, "LUNC": -0.999,
             "UST": -0.83, "USTC": -0.83, OTHER: -0.4620, STABLECOIN: 0.0},
            "Binance USD-M 1h candles; UST at 17 cents and LUNA near zero as reported on 13 to 17 May 2022",
        ),
        NamedShock(
            "2022-11-ftx", "FTX stops withdrawals", "2022-11-08T00:00", "2022-11-10T00:00",
            {"BTC": -0.2370, "ETH": -0.2973, "BNB": -0.2198, "LINK": -0.3403, "SOL": -0.6623, "FTT": -0.78,
             OTHER: -0.3403, STABLECOIN: 0.0},
            "Binance USD-M 1h candles; FTT from 22 to 4.87 in 24 h (CoinGecko, 8 November 2022)",
        ),
        NamedShock(
            "2023-03-usdc", "USDC loses its peg after Silicon Valley Bank fails", "2023-03-10T00:00", "2023-03-12T00:00",
            {"BTC": -0.0361, "ETH": -0.0399, "BNB": -0.0384, "LINK": -0.0333, "SOL": -0.0655, "USDC": -0.12, "DAI": -0.12,
             "FRAX": -0.115, "USDD": -0.075, OTHER: -0.0655, STABLECOIN: 0.0, "USDT": 0.0},
            "Binance USD-M 1h candles; USDC and DAI as low as 0.88 (The Block, CoinDesk, 11 March 2023), others as reported",
        ),
    )
}  # fmt: skip
