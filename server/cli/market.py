"""Market data: instruments, quotes, books, trades."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.render import (
    Columns,
    Follower,
    book_table,
    cells,
    console,
    print_for_people,
    print_json,
    print_line,
    show,
    table,
)
from server.cli.session import InstrumentArgument, JsonFlag, WatchFlag, session_of
from server.cli.times import length_of
from tradewind import Book, Candle, Client, Instrument, Quote, Trade

REDRAW_MS = 100
"""Faster than this nobody reads."""

INSTRUMENT_COLUMNS: Columns[Instrument] = {
    "instrument": lambda i: i.name,
    "kind": lambda i: i.kind,
    "tick": lambda i: i.tick_size,
    "lot": lambda i: i.lot_size,
    "min qty": lambda i: i.min_qty,
    "min notional": lambda i: i.min_notional,
    "maker bps": lambda i: i.maker_fee_bps,
    "taker bps": lambda i: i.taker_fee_bps,
    "orders": lambda i: i.trading_status if i.tradable else "market data only",
}
QUOTE_COLUMNS: Columns[Quote] = {
    "instrument": lambda q: q.instrument,
    "bid qty": lambda q: q.bid_qty,
    "bid": lambda q: q.bid_price,
    "ask": lambda q: q.ask_price,
    "ask qty": lambda q: q.ask_qty,
    "received": lambda q: q.receive_time,
}
TRADE_COLUMNS: Columns[Trade] = {
    "time": lambda t: t.venue_time or t.receive_time,
    "instrument": lambda t: t.instrument,
    "aggressor": lambda t: t.aggressor_side,
    "price": lambda t: t.price,
    "qty": lambda t: t.qty,
    "id": lambda t: t.trade_id,
}


CANDLE_COLUMNS: Columns[Candle] = {
    "time": lambda c: c.open_time,
    "open": lambda c: c.open,
    "high": lambda c: c.high,
    "low": lambda c: c.low,
    "close": lambda c: c.close,
    "qty": lambda c: c.qty,
    "bought": lambda c: c.buy_qty,
    "trades": lambda c: c.trade_count,
}


def register(app: typer.Typer) -> None:
    for command in (instruments, define, quote, book, trades, candles):
        app.command()(command)


def define(
    context: typer.Context,
    symbol: Annotated[str, typer.Argument(help="BASE/QUOTE.", metavar="SYMBOL")],
    tick: Annotated[str, typer.Option(metavar="SIZE", help="Prices are multiples of it.")],
    lot: Annotated[str, typer.Option(metavar="SIZE", help="Quantities are multiples of it.")],
    min_qty: Annotated[str | None, typer.Option(metavar="QTY", help="Smallest order; one lot.")] = None,
    max_qty: Annotated[str | None, typer.Option(metavar="QTY", help="Largest order; no limit.")] = None,
    min_notional: Annotated[str | None, typer.Option(metavar="MONEY", help="Smallest price times quantity.")] = None,
    maker_fee: Annotated[str | None, typer.Option(metavar="BPS", help="Basis points, 0; a rebate below.")] = None,
    taker_fee: Annotated[str | None, typer.Option(metavar="BPS", help="Basis points; 5.")] = None,
    json: JsonFlag = False,
) -> None:
    """Define an instrument of the internal venue, or anew.

    The same again changes nothing. With another tick or lot its open orders are canceled and positions carried over.

    \b
    Example:
      tradewind define DOGE/USDT --tick 0.00001 --lot 1
    """
    with session_of(context).client() as client:
        instrument = client.define_instrument(
            symbol, tick, lot, min_qty=min_qty, max_qty=max_qty, min_notional=min_notional,
            maker_fee_bps=maker_fee, taker_fee_bps=taker_fee,
        )  # fmt: skip
    show([instrument], INSTRUMENT_COLUMNS, as_json=json, empty="")


def instruments(
    context: typer.Context,
    venue: Annotated[str, typer.Option(help="Only this venue.")] = "",
    tradable: Annotated[bool, typer.Option("--tradable", help="Only what takes orders.")] = False,
    json: JsonFlag = False,
) -> None:
    """What can be watched and traded.

    \b
    Example:
      tradewind instruments --venue internal
    """
    with session_of(context).client() as client:
        found = client.list_instruments(venue, tradable_only=tradable)
    show(found, INSTRUMENT_COLUMNS, as_json=json, empty="No instruments: no feed is up yet, or there is no such venue.")


def quote(
    context: typer.Context,
    instruments: Annotated[
        list[str], typer.Argument(metavar="INSTRUMENT", help="venue:SYMBOL, such as binance:BTC/USDT.")
    ],
    watch: WatchFlag = False,
    json: JsonFlag = False,
) -> None:
    """Best bid and ask.

    \b
    Examples:
      tradewind quote binance:BTC/USDT okx:BTC/USDT
      tradewind quote binance:BTC/USDT --watch
    """
    with session_of(context).client() as client:
        if watch:
            _watch_quotes(client, instruments, json)
            return
        quotes = [client.get_quote(name) for name in instruments]
    if json:
        print_json(quotes[0] if len(quotes) == 1 else quotes)
    else:
        console().print(table(quotes, QUOTE_COLUMNS))


def _watch_quotes(client: Client, instruments: list[str], json: bool) -> None:
    latest: dict[str, Quote] = {}
    with Follower(json, f"a quote of {', '.join(instruments)}") as follower:
        for one in client.watch_quotes(*instruments, interval_ms=REDRAW_MS):
            latest[one.instrument] = one
            follower.show(one, cells(one, QUOTE_COLUMNS), table(latest.values(), QUOTE_COLUMNS))


def book(
    context: typer.Context,
    instrument: InstrumentArgument,
    depth: Annotated[int, typer.Option("--depth", "-d", min=1, max=1000, help="Levels a side.")] = 10,
    watch: WatchFlag = False,
    json: JsonFlag = False,
) -> None:
    """The order book.

    \b
    Examples:
      tradewind book bybit:BTC/USDT --depth 5
      tradewind book binance:BTC/USDT --watch
    """
    with session_of(context).client() as client:
        if watch:
            _watch_book(client, instrument, depth, json)
            return
        now = client.get_book(instrument, depth)
    if json:
        print_json(now)
    else:
        console().print(book_table(now))


def _watch_book(client: Client, instrument: str, depth: int, json: bool) -> None:
    with Follower(json, f"the book of {instrument}") as follower:
        for now in client.watch_book(instrument, depth=depth, interval_ms=REDRAW_MS):
            follower.show(now, _summary(now), book_table(now))


def _summary(book: Book) -> tuple[object, ...]:
    """A book in one line."""
    bid, ask = (side[0] if side else None for side in (book.bids, book.asks))
    best = (bid and bid.qty, bid and bid.price, ask and ask.price, ask and ask.qty)
    return book.receive_time, book.instrument, book.state, *best


def trades(
    context: typer.Context,
    instrument: InstrumentArgument,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")] = 20,
    watch: WatchFlag = False,
    json: JsonFlag = False,
) -> None:
    """Public trades, newest first.

    With --watch: each as it happens, from now on.

    \b
    Example:
      tradewind trades binance:BTC/USDT --watch --json
    """
    with session_of(context).client() as client:
        if not watch:
            show(client.list_trades(instrument, limit), TRADE_COLUMNS, as_json=json, empty="No trades yet.")
            return
        with client.watch_trades(instrument) as happening:
            print_for_people(f"Trades of {instrument} from now on. Ctrl-C ends.", json)
            for trade in happening:
                if json:
                    print_json(trade)
                else:
                    print_line(cells(trade, TRADE_COLUMNS))


def candles(
    context: typer.Context,
    instrument: InstrumentArgument,
    interval: Annotated[str, typer.Option("--interval", "-i", help="Length of a candle: 10s, 1m, 4h, 1d.")] = "1m",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="So many intervals back.")] = 60,
    json: JsonFlag = False,
) -> None:
    """Recorded candles up to now, oldest first.

    \b
    Example:
      tradewind candles binance:BTC/USDT --interval 5m --limit 12
    """
    length = length_of(interval, "--interval")
    with session_of(context).client() as client:
        found = client.list_candles(instrument, length, client.get_info().server_time - limit * length)
    show(found, CANDLE_COLUMNS, as_json=json, empty="Nothing was traded or recorded in that time.")
