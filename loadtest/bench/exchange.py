"""The whole engine in process: pre-trade checks, ledger, matching, events. `python -m loadtest.bench.exchange [--x10]`.

64 instruments, 1,000 accounts, batches of 1,024 commands. The flow of each instrument walks around its price: limit
orders near the touch, cancels of recent ones, some that take. Also what the checks before a trade cost: orders that the last
of them refuses (the balance), and orders that the first does. Prints a table and writes var/bench/exchange.json; fails
if the state after the runs is not sound or differs between runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from fastpath.exchange.exchange import Exchange
from fastpath.model.enums import (
    CommandKind,
    EventKind,
    OrderFlag,
    OrderType,
    RejectReason,
    Side,
    TimeInForce,
    TradingStatus,
)
from fastpath.model.records import stamp
from fastpath.model.structs import ACCOUNT, ASSET, COMMAND, COMMAND_SIZE, EVENT, EVENT_SIZE, INSTRUMENT

KIND_OFFSET, REASON_OFFSET = (EVENT.fields[name][0] for name in ("kind", "reject_reason"))
INSTRUMENTS, ACCOUNTS, BATCH, RUNS = 64, 1_000, 1_024, 7
CHECKED, UNKNOWN_TYPE = 100_000, 99
RESULT = Path("var/bench/exchange.json")


def definitions() -> bytes:
    records = [ASSET.pack(kind=CommandKind.COMMAND_DEFINE_ASSET, scale=8, asset=1, name=b"USDT")]
    for number in range(1, INSTRUMENTS + 1):
        base = b"BASE-%d" % number
        records.append(ASSET.pack(kind=CommandKind.COMMAND_DEFINE_ASSET, scale=8, asset=1 + number, name=base))
        records.append(INSTRUMENT.pack(
            kind=CommandKind.COMMAND_DEFINE_INSTRUMENT, status=TradingStatus.TRADING_STATUS_OPEN, price_decimals=2,
            instrument=number, base_asset=1 + number, quote_asset=1, base_per_lot=100, quote_per_tick_lot=1, min_qty=1,
            maker_fee_ppm=-50, taker_fee_ppm=300, name=b"internal:%s/USDT" % base, tick_size=b"0.01",
            lot_size=b"0.0001", tradable=1,
        ))  # fmt: skip
    for account in range(1, ACCOUNTS + 1):
        name = b"trader-%d" % account
        records.append(ACCOUNT.pack(kind=CommandKind.COMMAND_DEFINE_ACCOUNT, mode=3, account=account, name=name))
        for asset in range(1, INSTRUMENTS + 2):
            records.append(COMMAND.pack(
                kind=CommandKind.COMMAND_ADJUST_BALANCE, account=account, asset=asset, amount=10**14,
            ))  # fmt: skip
    stamped = bytearray(b"".join(records))
    stamp(stamped, 1, 1)
    return bytes(stamped)


def flow(first_seq: int, count: int, seed: int) -> bytearray:
    """`count` commands after `first_seq`: 60 % limit orders that mostly rest, 5 % that take, 35 % cancels."""
    rng = random.Random(seed)
    middle = [10_000] * (INSTRUMENTS + 1)
    recent: list[tuple[int, int]] = []
    commands = bytearray()
    for seq in range(first_seq + 1, first_seq + 1 + count):
        kind, order_id, account, side, tif, price, qty = CommandKind.COMMAND_CANCEL, 0, 0, 0, 0, 0, 0
        instrument = rng.randint(1, INSTRUMENTS)
        if len(recent) > 64 and rng.random() < 0.35:
            order_id, account = recent.pop(rng.randrange(len(recent)))
        else:
            kind, account = CommandKind.COMMAND_PLACE, rng.randint(1, ACCOUNTS)
            side, qty, tif = (
                rng.choice((Side.SIDE_BUY, Side.SIDE_SELL)),
                rng.randint(1, 100),
                TimeInForce.TIME_IN_FORCE_GTC,
            )
            middle[instrument] += rng.randint(-1, 1)
            away = rng.randint(0, 30) if rng.random() < 0.92 else -rng.randint(1, 5)
            price = middle[instrument] + (-away if side == Side.SIDE_BUY else away)
            recent.append((seq, account))
            if len(recent) > 20_000:
                recent.pop(0)
        commands += COMMAND.pack(
            seq=seq, ts_ns=seq, kind=kind, side=side, order_type=OrderType.ORDER_TYPE_LIMIT if side else 0,
            time_in_force=tif, account=account, instrument=instrument if side else 0, order_id=order_id, price=price,
            qty=qty, client_order_id=b"%d" % seq if side else b"",
        )  # fmt: skip
    return commands


def run(setup: bytes, commands: bytearray, batch: int) -> tuple[float, int, Exchange]:
    """CPU seconds (a shared machine shall not count), events, and the exchange as it ended."""
    exchange = Exchange()
    exchange.apply(setup)
    view = memoryview(commands)
    events = 0
    step = batch * COMMAND_SIZE
    start = time.thread_time()
    for at in range(0, len(view), step):
        events += len(exchange.apply(view[at : at + step]))
    return time.thread_time() - start, events // EVENT_SIZE, exchange


def measure(count: int, setup: bytes, batch: int) -> dict[str, float | int]:
    commands = flow(len(setup) // COMMAND_SIZE, count, seed=7)
    rates, hashes, events = [], set(), 0
    for _ in range(RUNS):
        seconds, events, exchange = run(setup, commands, batch)
        rates.append(count / seconds)
        hashes.add(exchange.state_hash())
        exchange.validate()
    if len(hashes) != 1:
        raise SystemExit("the same commands led to different states")
    return {
        "commands": count,
        "events": events,
        "min_per_s": min(rates),
        "median_per_s": statistics.median(rates),
        "max_per_s": max(rates),
    }


def refused(first_seq: int, count: int, order_type: int) -> bytearray:
    """`count` post-only orders, good till a date, for more than anybody has."""
    rng = random.Random(11)
    commands = bytearray()
    for seq in range(first_seq + 1, first_seq + 1 + count):
        commands += COMMAND.pack(
            seq=seq, ts_ns=seq, kind=CommandKind.COMMAND_PLACE, side=rng.choice((Side.SIDE_BUY, Side.SIDE_SELL)),
            order_type=order_type, time_in_force=TimeInForce.TIME_IN_FORCE_GTD, flags=OrderFlag.ORDER_FLAG_POST_ONLY,
            account=rng.randint(1, ACCOUNTS), instrument=rng.randint(1, INSTRUMENTS), price=10_000, qty=10**13,
            expire_ns=2**62, client_order_id=b"%d" % seq,
        )  # fmt: skip
    return commands


def measure_refusals(count: int, setup: bytes, order_type: int, reason: RejectReason) -> float:
    """Nanoseconds of CPU an order that is refused, with the record kept of it and its event; the median of the runs."""
    commands = refused(len(setup) // COMMAND_SIZE, count, order_type)
    times = []
    for _ in range(RUNS):
        exchange = Exchange()
        exchange.apply(setup)
        start = time.thread_time()
        outcomes = [exchange.apply(commands[at : at + BATCH * COMMAND_SIZE])
                    for at in range(0, len(commands), BATCH * COMMAND_SIZE)]  # fmt: skip
        times.append(time.thread_time() - start)
        events = b"".join(outcomes)
        kinds, reasons = set(events[KIND_OFFSET::EVENT_SIZE]), set(events[REASON_OFFSET::EVENT_SIZE])
        if (kinds, reasons) != ({EventKind.EVENT_ORDER_REJECTED}, {reason}):
            raise SystemExit(f"an order was not refused for {reason.name}")
    return statistics.median(times) / count * 1e9


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=200_000, help="commands of the flow")
    parser.add_argument("--x10", action="store_true", help="also run ten times the work and print the cost ratio")
    parser.add_argument("--batch", type=int, default=BATCH, help="commands a call")
    options = parser.parse_args(arguments)
    setup = definitions()
    results = [measure(options.orders * factor, setup, options.batch) for factor in ((1, 10) if options.x10 else (1,))]
    print(f"full engine, {INSTRUMENTS} instruments, {ACCOUNTS} accounts, batches of {options.batch:,}, million commands/s:")
    for result in results:
        print(
            f"  {result['commands']:>10,} commands {result['events']:>10,} events"
            f"   min {result['min_per_s'] / 1e6:.2f}   median {result['median_per_s'] / 1e6:.2f}"
            f"   max {result['max_per_s'] / 1e6:.2f}"
        )
    if options.x10:
        once, tenfold = results
        ratio = once["median_per_s"] / tenfold["median_per_s"]
        events_ratio = tenfold["events"] / tenfold["commands"] / (once["events"] / once["commands"])
        print(f"  cost at ten times the work: x{ratio:.2f} a command, x{ratio / events_ratio:.2f} an event")
    last, first = (
        measure_refusals(CHECKED, setup, OrderType.ORDER_TYPE_LIMIT, RejectReason.REJECT_REASON_INSUFFICIENT_BALANCE),
        measure_refusals(CHECKED, setup, UNKNOWN_TYPE, RejectReason.REJECT_REASON_UNSUPPORTED_ORDER_TYPE),
    )
    print(f"  an order that the last check before a trade refuses: {last:.0f} ns; the first: {first:.0f} ns")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(
        json.dumps(
            {
                "machine": platform.platform(),
                "python": platform.python_version(),
                "commit": commit.stdout.strip(),
                "batch": options.batch,
                "results": results,
                "refused_by_last_check_ns": last,
                "refused_by_first_check_ns": first,
            },
            indent=2,
        )
        + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
