"""Hourly closes of five coins, of the recorded data beside the project."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from server.risk.portfolio import Floats, Returns, Times

COINS = ("BTC", "ETH", "BNB", "LINK", "SOL")
HOUR_NS = 3600 * 10**9


def closes(shared: Path, coin: str) -> tuple[Times, Floats]:
    """(end of each hour, close)."""
    path = shared / "data" / "klines" / f"binance_usdm_{coin}USDT_1h_to_20231231.csv.gz"
    with gzip.open(path, "rt") as lines:
        rows = [(int(row["open_time"]), float(row["close"])) for row in csv.DictReader(lines)]
    return np.array([at for at, _ in rows]) * 10**6 + HOUR_NS, np.array([close for _, close in rows])


def five_coins(shared: Path) -> Returns:
    """Of all hours that the five have in common."""
    return Returns.aligned({coin: closes(shared, coin) for coin in COINS}, HOUR_NS)
