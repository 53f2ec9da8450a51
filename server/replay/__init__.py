"""The replay exchange: recorded Binance, OKX and Bybit frames over the venues' own protocols on loopback."""

from server.replay.player import Pace
from server.replay.server import ReplayConfig, ReplayExchange
from server.replay.urls import redirect

__all__ = ["Pace", "ReplayConfig", "ReplayExchange", "redirect"]
