"""The command `tradewind`. Everything but `up` and `down` is a client of the API, through the SDK."""

from server.cli.main import main

__all__ = ["main"]
