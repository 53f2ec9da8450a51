"""Watch one market on several venues, side by side.

    python clients/python/examples/watch_books.py
    python clients/python/examples/watch_books.py --depth 3 binance:ETH/USDT bybit:ETH/USDT

On a screen the books are redrawn in place; into a file or a pipe goes a line an update.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress

from tradewind import AsyncClient, Book, Level, TradewindError

INSTRUMENTS = ["binance:BTC/USDT", "okx:BTC/USDT", "bybit:BTC/USDT"]
COLUMN = 30
CLEAR_SCREEN = "\x1b[H\x1b[J"


async def watch(instruments: list[str], depth: int) -> None:
    books: dict[str, Book] = {}
    async with AsyncClient() as client:
        async for book in client.watch_book(*instruments, depth=depth, interval_ms=100):
            books[book.instrument] = book
            if sys.stdout.isatty():
                print(CLEAR_SCREEN + side_by_side([books[name] for name in instruments if name in books], depth))
            else:
                print(one_line(book), flush=True)


def side_by_side(books: list[Book], depth: int) -> str:
    columns = [[f"{book.instrument} {book.state}", *ladder(book, depth)] for book in books]
    return "\n".join("".join(f"{cell:<{COLUMN}}" for cell in row) for row in zip(*columns, strict=True))


def ladder(book: Book, depth: int) -> list[str]:
    """Asks above, bids below, the spread between: always the same number of lines."""
    asks = [level_text(level) for level in book.asks[:depth]]
    bids = [level_text(level) for level in book.bids[:depth]]
    blank = [""] * depth
    spread = f"{'spread':>12} {book.spread}"
    return [*(asks + blank)[:depth][::-1], spread, *(bids + blank)[:depth]]


def level_text(level: Level) -> str:
    return f"{level.price:>12} {level.qty:>14}"


def one_line(book: Book) -> str:
    return f"{book.receive_time:%H:%M:%S.%f} {book.instrument} {book.state} mid {book.mid} spread {book.spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Watch one market on several venues, side by side.")
    parser.add_argument("instruments", nargs="*", default=INSTRUMENTS, metavar="venue:SYMBOL")
    parser.add_argument("--depth", type=int, default=5, help="levels a side")
    arguments = parser.parse_args()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(watch(arguments.instruments, arguments.depth))
    except TradewindError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
