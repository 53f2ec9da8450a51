"""Seeded order flow for one instrument, with the trades a plain reference matcher makes of it.

Workloads:
    xc_1k      mostly moves towards the last trade, as where many market makers quote; about 1,000 resting orders
    xc_100k    the same mix, about 100,000 resting orders
    itch_1k    the shape of a NASDAQ feed: adds near the touch, young orders canceled first; about 1,000 resting orders
    itch_100k  the same mix, about 100,000 resting orders
    swing_5k   about 5,000 resting orders in a market that drifts, crashes by 40 % within 30,000 messages and
               recovers, over a price domain of millions of ticks
    swing_50k, swing_500k   the same with more of it resting far away, each order at a price of its own

The first `prefill` commands build the book, the other `n` are to be timed. Each CANCEL, REDUCE and MOVE names an
order that rests at that moment. The checksum covers every trade of the timed part in order, at the makers' prices:

    h = 1469598103934665603; for each trade, modulo 2**64, with K = 1099511628211:
        h = (h ^ (maker_id | taker_id << 32)) * K
        h = (h ^ (qty | price << 32)) * K

Only +, -, *, / of IEEE doubles and random.random() are used, so a seed gives the same commands everywhere.
"""

from __future__ import annotations

import heapq
import json
import random
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MASK = (1 << 64) - 1
K = 1099511628211
H0 = 1469598103934665603
ADD, CANCEL, REDUCE, MOVE, IOC, MARKET = range(6)
LO, HI, MID = 1, 65535, 32768
REC = struct.Struct("<BBHIII")
Command = tuple[int, int, int, int, int]  # op, side, id, price, qty
Levels = dict[int, dict[int, None]]  # price -> ids, oldest first


class Book:
    """Plain reference matcher: dict of FIFO dicts per side, lazy heaps for the best price."""

    def __init__(self) -> None:
        self.lv: tuple[Levels, Levels] = ({}, {})  # side -> price -> {id: None}
        self.heap: tuple[list[int], list[int]] = ([], [])  # side -> heap of (-price | price)
        self.o: dict[int, list[int]] = {}  # id -> [side, price, qty, index in ids]
        self.ids: list[int] = []  # live ids, swap-removed
        self.n = self.q = 0
        self.h = H0
        self.last = MID

    def best(self, side: int) -> int:
        heap, lv = self.heap[side], self.lv[side]
        while heap:
            p = -heap[0] if side == 0 else heap[0]
            if p in lv:
                return p
            heapq.heappop(heap)
        return 0

    def _drop(self, oid: int) -> None:
        side, price, _, i = self.o.pop(oid)
        last = self.ids.pop()
        if last != oid:
            self.ids[i] = last
            self.o[last][3] = i
        lv = self.lv[side]
        fifo = lv[price]
        del fifo[oid]
        if not fifo:
            del lv[price]

    def submit(self, oid: int, side: int, price: int, qty: int, rest: bool) -> None:
        opp = 1 - side
        while qty:
            p = self.best(opp)
            if p == 0 or (p > price if side == 0 else p < price):
                break
            fifo = self.lv[opp][p]
            for maker in list(fifo):
                om = self.o[maker]
                t = om[2] if om[2] < qty else qty
                self.n += 1
                self.q += t
                h = ((self.h ^ (maker | oid << 32)) * K) & MASK
                self.h = ((h ^ (t | p << 32)) * K) & MASK
                self.last = p
                qty -= t
                if t == om[2]:
                    self._drop(maker)
                else:
                    om[2] -= t
                if not qty:
                    break
        if qty and rest:
            lv = self.lv[side]
            if price not in lv:
                lv[price] = {}
                heapq.heappush(self.heap[side], -price if side == 0 else price)
            lv[price][oid] = None
            self.o[oid] = [side, price, qty, len(self.ids)]
            self.ids.append(oid)

    def apply(self, op: int, side: int, oid: int, price: int, qty: int) -> None:
        if op == ADD:
            self.submit(oid, side, price, qty, True)
        elif op == CANCEL:
            self._drop(oid)
        elif op == REDUCE:
            if qty >= self.o[oid][2]:
                self._drop(oid)
            else:
                self.o[oid][2] -= qty
        elif op == MOVE:
            s, _, q, _ = self.o[oid]
            self._drop(oid)
            self.submit(oid, s, price, q, True)
        else:
            self.submit(oid, side, price, qty, False)


def clamp(p: int) -> int:
    return 1024 if p < 1024 else 64511 if p > 64511 else p


class XC:
    def __init__(self, rnd: Callable[[], float], depth: int) -> None:
        self.rnd, self.depth = rnd, depth
        self.pull = 50
        self.dev = 4400 if depth <= 1000 else 16000

    def size(self) -> int:
        r = self.rnd
        return 1 + int(r() * 6) * int(r() * 6) * int(r() * 6)

    def gtc(self, book: Book) -> Command:
        r = self.rnd
        side = int(r() * 2)
        u = r()
        dev = 1 + int(u * u * self.dev)
        p = 0
        for _ in range(4):
            p += int(r() * dev)
        p = abs(p // 4 * 2 - dev)
        price = book.last - p if side == 0 else book.last + p
        return ADD, side, 0, clamp(price), self.size()

    def cmd(self, book: Book) -> Command:
        r = self.rnd
        gap = (self.depth - len(book.ids)) / self.depth * 8.0
        gap = -1.0 if gap < -1.0 else 1.0 if gap > 1.0 else gap
        gtc = 0.09 * (1.0 + gap)  # feedback keeps the depth stationary
        ioc = 0.03 * (1.0 - gap)
        x = r()
        if x < gtc or len(book.ids) < 4:
            return self.gtc(book)
        x -= gtc
        if x < ioc:
            side = int(r() * 2)
            if r() < 0.5:
                return MARKET, side, 0, HI if side == 0 else LO, self.size()
            b = book.best(1 - side) or book.last
            return IOC, side, 0, clamp(b + 4 if side == 0 else b - 4), self.size()
        x -= ioc
        oid = book.ids[int(r() * len(book.ids))]
        side, price, qty, _ = book.o[oid]
        if x < 0.03:
            return CANCEL, side, oid, 0, 0
        if x < 0.06:
            return REDUCE, side, oid, 0, 1 + int(r() * qty)
        d = book.last - price
        if r() < 0.028:  # re-priced onto the other side: trades
            price = book.best(1 - side) or price
        elif d > 0:
            price += (d + self.pull - 1) // self.pull
        elif d < 0:
            price -= (-d + self.pull - 1) // self.pull
        else:
            price += 1 if r() < 0.5 else -1
        return MOVE, side, oid, clamp(price), 0


class ITCH:
    def __init__(self, rnd: Callable[[], float], depth: int) -> None:
        self.rnd, self.depth = rnd, depth
        self.tail = 12.0 if depth <= 1000 else 250.0
        self.far = 400 if depth <= 1000 else 6000

    def dist(self) -> int:
        r = self.rnd
        while True:
            if r() < 0.6:
                return int(3.0 * (1.0 / (1.0 - r()) - 1.0)) % 64
            d = int(self.tail * (1.0 / (1.0 - r()) - 1.0))
            if d < self.far:
                return d

    def size(self) -> int:
        r = self.rnd
        x = r()
        return 100 if x < 0.55 else 1 + int(r() * 99) if x < 0.85 else 100 * (1 + int(r() * 10))

    def price(self, book: Book, side: int) -> int:
        # d = 0 improves the own best price by a tick; never crosses (an ITCH add rests)
        d = self.dist()
        bid = book.best(0) or MID - 1
        ask = book.best(1) or MID + 1
        if side == 0:
            p = bid + 1 - d
            return clamp(p if p < ask else ask - 1)
        p = ask - 1 + d
        return clamp(p if p > bid else bid + 1)

    def gtc(self, book: Book) -> Command:
        side = int(self.rnd() * 2)
        return ADD, side, 0, self.price(book, side), self.size()

    def cmd(self, book: Book) -> Command:
        r = self.rnd
        gap = (self.depth - len(book.ids)) / self.depth * 4.0
        gap = -0.5 if gap < -0.5 else 0.5 if gap > 0.5 else gap
        add = 0.46 * (1.0 + gap)
        x = r()
        if x < add or len(book.ids) < 4:
            return self.gtc(book)
        x -= add
        if x < 0.04:
            side = int(r() * 2)
            qty = self.size()
            if r() < 0.25:
                return MARKET, side, 0, HI if side == 0 else LO, qty
            b = book.best(1 - side) or MID
            return IOC, side, 0, clamp(b + 1 if side == 0 else b - 1), qty
        x -= 0.04
        ids = book.ids
        n = len(ids)
        # mostly young orders
        oid = ids[n - 1 - int(r() * 256)] if r() < 0.7 and n > 256 else ids[int(r() * n)]
        side, _, qty, _ = book.o[oid]
        if x < 0.02 and qty > 1:
            return REDUCE, side, oid, 0, 1 + int(r() * (qty - 1))
        if x < 0.06:
            return MOVE, side, oid, self.price(book, side), 0
        return CANCEL, side, oid, 0, 0


class SWING:
    MID, CYCLE = 6_000_000, 200_000

    def __init__(self, rnd: Callable[[], float], depth: int) -> None:
        self.rnd, self.depth, self.i = rnd, depth, 0
        self.noise = 0.0

    def ref(self) -> int:
        # one cycle: calm 120k messages, crash 30k (-40 %), recovery 50k
        i = self.i % self.CYCLE
        if i < 120_000:
            f = 1.0
        elif i < 150_000:
            f = 1.0 - 0.4 * (i - 120_000) / 30_000
        else:
            f = 0.6 + 0.4 * (i - 150_000) / 50_000
        return int(self.MID * f + self.noise)

    def size(self) -> int:
        r = self.rnd
        return 1 + int(r() * 20) * int(r() * 20)

    def price(self, book: Book, side: int) -> int:
        r = self.rnd
        ref = self.ref()
        d = 1 + int(200.0 * (1.0 / (1.0 - r() * 0.999) - 1.0))
        p = ref - d if side == 0 else ref + d
        if side == 0:
            ask = book.best(1)
            if ask and p >= ask and r() < 0.8:
                p = ask - 1
        else:
            bid = book.best(0)
            if bid and p <= bid and r() < 0.8:
                p = bid + 1
        return max(1, p)

    def gtc(self, book: Book) -> Command:
        side = int(self.rnd() * 2)
        return ADD, side, 0, self.price(book, side), self.size()

    def cmd(self, book: Book) -> Command:
        r = self.rnd
        self.i += 1
        self.noise += (r() - 0.5) * 20.0
        gap = (self.depth - len(book.ids)) / self.depth * 4.0
        gap = -0.5 if gap < -0.5 else 0.5 if gap > 0.5 else gap
        add = 0.46 * (1.0 + gap)
        x = r()
        if x < add or len(book.ids) < 4:
            return self.gtc(book)
        x -= add
        if x < 0.06:  # aggressors follow the reference
            ref = self.ref()
            bid, ask = book.best(0), book.best(1)
            side = 1 if bid and bid > ref else 0 if ask and ask < ref else int(r() * 2)
            qty = self.size() * 4
            if r() < 0.1:
                return MARKET, side, 0, 0xFFFFFFFF if side == 0 else 1, qty
            b = book.best(1 - side) or ref
            return IOC, side, 0, max(1, b + 50 if side == 0 else b - 50), qty
        x -= 0.06
        ids = book.ids
        n = len(ids)
        oid = ids[n - 1 - int(r() * 256)] if r() < 0.4 and n > 256 else ids[int(r() * n)]
        if r() < 0.5:  # prefer what was left far behind
            other = ids[int(r() * n)]
            ref = self.ref()
            if abs(book.o[other][1] - ref) > abs(book.o[oid][1] - ref):
                oid = other
        side, _, qty, _ = book.o[oid]
        if x < 0.02 and qty > 1:
            return REDUCE, side, oid, 0, 1 + int(r() * (qty - 1))
        if x < 0.08:
            return MOVE, side, oid, self.price(book, side), 0
        return CANCEL, side, oid, 0, 0


WORKLOADS: dict[str, tuple[type[Any], int]] = {
    "xc_1k": (XC, 1000),
    "xc_100k": (XC, 100000),
    "itch_1k": (ITCH, 1000),
    "itch_100k": (ITCH, 100000),
    "swing_5k": (SWING, 5000),
    "swing_50k": (SWING, 50000),
    "swing_500k": (SWING, 500000),
}


@dataclass(frozen=True, slots=True)
class Workload:
    """A command stream and what must come of its timed part."""

    name: str
    prefill: int
    n: int
    trades: int
    traded_qty: int
    checksum: int
    resting_end: int
    records: bytes  # (prefill + n) records of REC: op, side (0 buy, 1 sell), 0, id, price, qty


def generate(name: str, n: int, seed: int = 1) -> Workload:
    cls, depth = WORKLOADS[name]
    rnd = random.Random(f"{name}:{seed}").random
    book, gen = Book(), cls(rnd, depth)
    out = bytearray()
    next_id = 1
    while len(book.ids) < depth:
        op, side, _, price, qty = gen.gtc(book)
        book.apply(op, side, next_id, price, qty)
        out += REC.pack(op, side, 0, next_id, price, qty)
        next_id += 1
    prefill = next_id - 1
    book.n = book.q = 0
    book.h = H0
    for _ in range(n):
        op, side, oid, price, qty = gen.cmd(book)
        if op in (ADD, IOC, MARKET):
            oid, next_id = next_id, next_id + 1
        book.apply(op, side, oid, price, qty)
        out += REC.pack(op, side, 0, oid, price, qty)
    return Workload(name, prefill, n, book.n, book.q, book.h, len(book.ids), bytes(out))


def cached(name: str, n: int, folder: Path) -> Workload:
    """The workload from `folder`, generated and kept there the first time (3 to 10 s for a million commands)."""
    facts_path, records_path = folder / f"{name}-{n}.json", folder / f"{name}-{n}.bin"
    if facts_path.exists() and records_path.exists():
        return Workload(**json.loads(facts_path.read_text()), records=records_path.read_bytes())
    workload = generate(name, n)
    folder.mkdir(parents=True, exist_ok=True)
    records_path.write_bytes(workload.records)
    facts = {key: value for key, value in asdict(workload).items() if key != "records"}
    facts_path.write_text(json.dumps(facts))
    return workload
