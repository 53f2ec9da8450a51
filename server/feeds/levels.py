"""Levels as a venue writes them, as integers."""

from __future__ import annotations

from server.base.instruments import Instrument, OffGrid
from server.feeds.comparison import BadBook, Fault
from server.feeds.frames import Rows
from server.feeds.grid import Grid
from server.market.model import Level

Levels = tuple[Level, ...]


class LevelReader:
    """Reads the levels of one instrument."""

    def __init__(self, instrument: Instrument) -> None:
        self._price = Grid(instrument.tick_size, least=1)
        self._qty = Grid(instrument.data_lot_size)

    def read(self, rows: Rows) -> Levels:
        """(price in ticks, quantity in data lots) of each row. Raises BadBook if one of them cannot be read."""
        price, qty = self._price.units, self._qty.units
        try:
            return tuple([(price(row[0]), qty(row[1])) for row in rows])
        except OffGrid as error:
            raise BadBook(Fault.OFF_GRID, f"a level cannot be read: {error}") from None
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise BadBook(Fault.UNREADABLE, f"a level cannot be read: {error}") from None
