"""The command `tradewind`. Everything but `up` and `down` is a client of the API, through the SDK."""

import sys

try:
    from server.cli.main import main
except KeyboardInterrupt:  # while it was being loaded: ends as quietly as later
    sys.exit(130)

__all__ = ["main"]
