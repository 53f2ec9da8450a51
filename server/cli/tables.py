"""Rows and columns of text. What is too wide for the screen continues on further lines: no value is ever cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_GAP = 2
_INDENT = 2
NOTHING = "-"
"""How a value is shown that there is none of."""


@dataclass(slots=True)
class Column:
    title: str
    cells: list[str]
    numeric: bool = False
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.width = max(map(cell_len, (self.title, *self.cells)))

    @property
    def is_empty(self) -> bool:
        return all(cell == NOTHING for cell in self.cells)

    def padded(self, cell: str) -> str:
        space = " " * (self.width - cell_len(cell))
        return space + cell if self.numeric else cell + space


@dataclass(slots=True)
class Rows:
    """A table that fits the console it is printed on, of whatever width."""

    columns: Sequence[Column]
    styles: Mapping[str, str] = field(default_factory=dict)
    """Style of a cell by its text."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        bands = _bands(self.columns, options.max_width)
        yield from self._lines(bands, [column.title for column in self.columns], "bold")
        for row in range(max((len(column.cells) for column in self.columns), default=0)):
            yield from self._lines(bands, [column.cells[row] for column in self.columns], "")

    def _lines(self, bands: list[list[Column]], cells: list[str], style: str) -> Iterator[Text]:
        text_of = {id(column): cell for column, cell in zip(self.columns, cells, strict=True)}
        for number, band in enumerate(bands):
            shown = [text_of[id(column)] for column in band]
            if number and all(cell == NOTHING for cell in shown):
                continue  # nothing to say about this one
            line = Text(" " * _INDENT if number else "", style=style, overflow="fold")
            for column, cell in zip(band, shown, strict=True):
                line.append(column.padded(cell), self.styles.get(cell))
                line.append(" " * _GAP)
            line.rstrip()
            yield line


def _bands(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The columns that stand in each line of a row: all in one if they fit, if need be without those that are empty."""
    if _width(columns) <= width:
        return [list(columns)]
    bands: list[list[Column]] = [[]]
    for column in columns:
        if column.is_empty:
            continue
        room = width - (_INDENT if len(bands) > 1 else 0)
        if bands[-1] and _width((*bands[-1], column)) > room:
            bands.append([])
        bands[-1].append(column)
    return bands


def _width(columns: Iterable[Column]) -> int:
    widths = [column.width for column in columns]
    return sum(widths) + _GAP * (len(widths) - 1)
