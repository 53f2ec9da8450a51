"""`python -m server.replay`: run the replay exchange alone."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from server.replay.player import Pace, Times
from server.replay.server import VENUES, ReplayConfig, ReplayExchange


def run(
    venue: Annotated[list[str] | None, typer.Option(help=f"Venue to replay, repeatable: {', '.join(VENUES)}.")] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="Only this symbol, in the venue's own name (BTCUSDT, BTC-USDT), repeatable."),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0, help="Recorded seconds per second; 0: as fast as clients take it.")
    ] = 1.0,
    loop: Annotated[bool, typer.Option(help="Start again at the end, as one continuous history.")] = True,
    times: Annotated[
        str, typer.Option(help="now: stamp frames as they are due; recorded: keep the recorded times.")
    ] = "now",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 8600,
    start_after: Annotated[int, typer.Option(help="Wait with the replay until so many topics are subscribed.")] = 0,
) -> None:
    """Serve recorded Binance, OKX and Bybit market data over their own REST and WebSocket protocols."""
    stamped: dict[str, Times] = {"now": "now", "recorded": "recorded"}
    if times not in stamped:
        raise typer.BadParameter(f"must be one of {', '.join(stamped)}", param_hint="--times")
    try:
        pace = Pace(speed=speed or None, passes=None if loop else 1, times=stamped[times])
        config = ReplayConfig(
            venues=tuple(venue or VENUES),
            symbols=tuple(symbol) if symbol else None,
            pace=pace,
            start_after=start_after,
        )
        asyncio.run(_serve(config, host, port))
    except (ValueError, OSError) as error:
        typer.echo(f"The replay exchange cannot start: {error}", err=True)
        raise typer.Exit(1) from None


async def _serve(config: ReplayConfig, host: str, port: int) -> None:
    exchange = ReplayExchange(config)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await exchange.start(host, port)
    try:
        speed = f"x{config.pace.speed:g}" if config.pace.speed else "as fast as clients take it"
        typer.echo(
            f"Replaying {speed}, times {config.pace.times}, {'looping' if config.pace.passes is None else 'once'}:"
        )
        for name in config.venues:
            typer.echo(f"  {name:<8} {exchange.base_url(name)}   {', '.join(exchange.instruments(name))}")
        typer.echo("Point ccxt at it with server.replay.redirect(exchange, url). Ctrl-C stops.")
        waiting = [asyncio.create_task(stopped.wait()), asyncio.create_task(exchange.wait_finished())]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()
        if not stopped.is_set():
            typer.echo("The recordings are played to their end.")
    finally:
        await exchange.stop()


if __name__ == "__main__":
    typer.run(run)
