"""Output: tables for people, JSON for programs, one line for an error."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NoReturn, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from server.cli.tables import NOTHING, Column, Rows
from tradewind import Book

T = TypeVar("T")

UNLIMITED_WIDTH = 1000
"""Where nobody reads on a screen, nothing is cut off."""


def console() -> Console:
    """Standard output as it is now: colors and width of a terminal, else plain and as wide as needed."""
    return Console(width=None if sys.stdout.isatty() else UNLIMITED_WIDTH, highlight=False)


def fail(message: str, status: int = 1) -> NoReturn:
    """One line on standard error, and the exit status."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def plain(value: Any) -> Any:
    """A value as JSON knows it: decimals stay exact as strings, times are ISO 8601."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One JSON document on one line, out at once so that a reader of a pipe sees it."""
    print(json.dumps(plain(value), ensure_ascii=False), flush=True)


Columns = Mapping[str, Callable[[T], Any]]
"""Title of each column, and how its value is taken from a row. Numbers are set to the right."""


def cells(row: T, columns: Columns[T]) -> list[Any]:
    return [get(row) for get in columns.values()]


def table(rows: Iterable[T], columns: Columns[T]) -> Rows:
    filled = [cells(row, columns) for row in rows]
    drawn = []
    for position, title in enumerate(columns):
        values = [row[position] for row in filled]
        numeric = any(isinstance(value, Decimal | int) for value in values)
        drawn.append(Column(title, list(map(text, values)), numeric))
    return Rows(drawn)


_AVERAGE_DIGITS = 8


def average(value: Decimal | None) -> Decimal | None:
    """An average price for people: to 8 digits, never less than whole numbers. JSON has it to 18 decimals."""
    if value is None:
        return None
    decimals = max(_AVERAGE_DIGITS - 1 - value.adjusted(), 0)
    rounded = round(value, decimals)
    return rounded.normalize() if rounded != rounded.to_integral_value() else rounded.quantize(Decimal(1))


def show(rows: Sequence[T], columns: Columns[T], *, as_json: bool, empty: str) -> None:
    """A list: a table, a JSON array, or a word about why there is nothing."""
    if as_json:
        print_json(rows)
    elif rows:
        console().print(table(rows, columns))
    else:
        console().print(empty, markup=False)


def text(value: Any) -> str:
    """One cell."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def book_table(book: Book) -> Table:
    """A book as traders draw it: asks above, bids below, the spread between."""
    drawn = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    drawn.title = f"{escape(book.instrument)}  {book.state}"
    for title in ("bid qty", "price", "ask qty"):
        drawn.add_column(title, justify="right", no_wrap=True)
    for level in reversed(book.asks):
        drawn.add_row("", f"[red]{level.price:f}[/red]", f"{level.qty:f}")
    drawn.add_row("", f"[dim]spread {text(book.spread)}[/dim]", "")
    for level in book.bids:
        drawn.add_row(f"{level.qty:f}", f"[green]{level.price:f}[/green]", "")
    return drawn


class Follower:
    """Output of `--watch`: redrawn in place on a terminal, one line an update elsewhere, one JSON line an update on
    request."""

    def __init__(self, as_json: bool, waits_for: str) -> None:
        """`waits_for` is told on a screen until the first of it has come."""
        self._as_json = as_json
        picture = Text(f"Waiting for {waits_for}. Ctrl-C ends.")
        on_screen = sys.stdout.isatty() and not as_json
        self._live = Live(picture, console=console(), auto_refresh=False) if on_screen else None

    def __enter__(self) -> Follower:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, value: Any, line: Iterable[Any], picture: RenderableType) -> None:
        """`value` is the news, `picture` the whole with it."""
        if self._as_json:
            print_json(value)
        elif self._live is not None:
            self._live.update(picture, refresh=True)
        else:
            print_line(line)


def print_for_people(text: str, as_json: bool) -> None:
    """What a watch shows before the first news, so that a screen is not blank. Nothing in a file or pipe."""
    if sys.stdout.isatty() and not as_json:
        print(text, flush=True)


def print_line(cells: Iterable[Any]) -> None:
    """A row without a table, out at once."""
    print("  ".join(text(cell) for cell in cells), flush=True)
