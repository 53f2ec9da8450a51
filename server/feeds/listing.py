"""What a venue lists: which of the configured symbols it has, and as which instruments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.base.errors import Unavailable
from server.base.instruments import Instrument, nearest_symbols
from server.feeds.ccxt_import import ccxt
from server.feeds.dialect import Dialect
from server.feeds.specs import describe


@dataclass(frozen=True, slots=True)
class Listing:
    """The fault of one symbol is that symbol's: the others can be followed."""

    instruments: tuple[Instrument, ...]
    """Those the venue has, in the order of their configuration, not numbered yet."""
    refused: dict[str, str]
    """Why the others cannot be followed, by symbol."""


async def list_markets(
    exchange: Any, dialect: Dialect, venue: str, symbols: Sequence[str], *, again: bool = False
) -> Listing:
    """Ask the venue, through its ccxt exchange, for its markets; once, unless `again`. Raises Unavailable if it does not
    tell them."""
    try:
        markets = await exchange.load_markets(again)
    except Exception as error:  # ccxt raises whatever it stumbles over when an answer is odd
        failed = "cannot be reached" if isinstance(error, ccxt.NetworkError) else "did not tell its markets"
        raise Unavailable(f"{venue} {failed}: {one_line(error)}") from error
    if not markets:
        raise Unavailable(f"{venue} tells that it has no markets at all")
    instruments: list[Instrument] = []
    refused: dict[str, str] = {}
    for symbol in symbols:
        market = markets.get(symbol)
        if market is None:
            near = nearest_symbols(symbol, markets)
            refused[symbol] = f"{venue} has no market {symbol!r}" + (f"; there is {', '.join(near)}" if near else "")
            continue
        try:
            instruments.append(describe(venue, market, dialect.rules(market)))
        except (LookupError, TypeError, ArithmeticError, ValueError) as error:
            refused[symbol] = f"{venue} describes {symbol} in an unknown way: {one_line(error)}"
    return Listing(tuple(instruments), refused)


def one_line(error: Exception) -> str:
    """An exception as one short line."""
    return " ".join(f"{type(error).__name__} {error}".split())[:200]
