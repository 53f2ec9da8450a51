"""Lists of orders, fills and ledger entries: recent ones from memory, older ones from the blotter's store.

The store lags behind memory and reports its cursor; rows from both are merged, so a list contains everything a client
was told. If store and memory do not overlap (the store is away or far behind), a list that needs the store is refused;
it never omits rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from fastpath.blotter.fills import Fills
from fastpath.blotter.orders import Orders
from fastpath.model import records
from fastpath.model.order_sets import OPEN_STATUSES
from fastpath.model.structs import EVENT
from server.base.errors import Unavailable
from server.base.paging import Page, decode_number_token, encode_token, page_limit
from server.engine.engine import Engine
from server.records.events import (
    BALANCE_CHANGED,
    FillView,
    LedgerEntryView,
    OrderView,
    decode,
    decode_balance,
    fill_view,
    ledger_entry_view,
)
from server.storage.ports import BlotterPage, BlotterQuery, BlotterStore

V = TypeVar("V")

Records = tuple[list[bytes], int | None]
"""Packed events newest first, and the `before` of the next page (None: there is none)."""

Matcher = Callable[[bytes], bool]
"""Whether a packed event is what a query asks for; account and key apart."""

_PATIENCE_S = 2.0
_POLL_S = 0.02


class History:
    """What accounts did, newest first, in pages. One asyncio thread."""

    def __init__(self, engine: Engine, store: BlotterStore | None = None) -> None:
        """Without a store lists reach as far back as memory does."""
        self._engine = engine
        self._registry = engine.registry
        self._store = store
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="history")

    async def list_orders(
        self,
        account: str,
        *,
        instrument: str = "",
        statuses: frozenset[int] | None = None,
        open_only: bool = False,
        start_ns: int = 0,
        end_ns: int = 0,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[OrderView]:
        """Orders, newest first; by status, and by the time they were placed in `[start_ns, end_ns)` (0: no end).

        Raises NotFound (account, instrument), InvalidRequest (page_token), Unavailable.
        """
        query = BlotterQuery(
            account=self._registry.account(account).number,
            instruments=self._numbers(instrument),
            statuses=OPEN_STATUSES if open_only else statuses,
            start_ns=start_ns,
            end_ns=end_ns,
            before=decode_number_token("orders", page_token),
            limit=page_limit(page_size),
        )
        tables = self._engine.blotter.tables
        if open_only:
            page = self._open_orders(query)
        else:
            page = await self._page(_ORDERS, tables.orders, query)
        return _page_of("orders", page, self._engine.blotter.view)

    async def list_fills(
        self,
        account: str,
        *,
        instrument: str = "",
        order_id: int = 0,
        start_ns: int = 0,
        end_ns: int = 0,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[FillView]:
        """Fills, newest first; `order_id` 0 means all orders. Raises as `list_orders`."""
        query = BlotterQuery(
            account=self._registry.account(account).number,
            instruments=self._numbers(instrument),
            order_id=order_id,
            start_ns=start_ns,
            end_ns=end_ns,
            before=decode_number_token("fills", page_token),
            limit=page_limit(page_size),
        )
        page = await self._page(_FILLS, self._engine.blotter.tables.fills, query)
        return _page_of("fills", page, lambda record: fill_view(decode(record), self._registry))

    async def list_ledger(
        self,
        account: str,
        *,
        asset: str = "",
        start_ns: int = 0,
        end_ns: int = 0,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[LedgerEntryView]:
        """Changes of balances, newest first.

        Raises NotFound (account, asset), InvalidRequest (page_token), Unavailable.
        """
        query = BlotterQuery(
            account=self._registry.account(account).number,
            asset=self._registry.asset(asset).number if asset else 0,
            start_ns=start_ns,
            end_ns=end_ns,
            before=decode_number_token("ledger", page_token),
            limit=page_limit(page_size),
        )
        page = await self._ledger(query)
        return _page_of("ledger", page, lambda record: ledger_entry_view(decode_balance(record), self._registry))

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _open_orders(self, query: BlotterQuery) -> Records:
        """Open orders are all in memory."""
        wanted = _order_matcher(query)
        found: list[bytes] = []
        for record in self._engine.blotter.open_records(query.account, query.before):
            if wanted(record):
                if len(found) == query.limit:
                    return found, _ORDERS.key(found[-1])
                found.append(record)
        return found, None

    async def _ledger(self, query: BlotterQuery) -> Records:
        log = self._engine.log
        stored: list[bytes] = []
        cursor = log.floor
        if self._store is not None:
            page = await self._stored("ledger", query, lambda: log.floor)
            stored, cursor = page.records, page.cursor
        recent: list[bytes] = []
        if cursor < log.last_sequence:
            recent = records.select(
                log.events_after(cursor, log.last_sequence), query.account, BALANCE_CHANGED, BALANCE_CHANGED
            )
        wanted = _ledger_matcher(query)
        found = [record for record in reversed(recent) if wanted(record)]
        if query.before is not None:
            found = [record for record in found if _event_seq(record) < query.before]
        chosen = (found + stored)[: query.limit]
        return chosen, _event_seq(chosen[-1]) if len(chosen) == query.limit else None

    async def _page(self, of: _List, table: Orders | Fills, query: BlotterQuery) -> Records:
        wanted = of.matcher(query)

        def recent() -> Records:
            return table.page(query.account, query.before, query.limit, wanted)

        newest, following = recent()
        if self._store is None or not table.forgotten_seq:
            return newest, following
        if len(newest) == query.limit and of.key(newest[-1]) > table.forgotten_key:
            return newest, following
        stored = await self._stored(of.name, query, lambda: table.forgotten_seq)
        newest, following = recent()
        full = len(stored.records) == query.limit
        floor = max(following or 0, of.key(stored.records[-1]) if full else 0)
        merged = {of.key(record): record for record in stored.records}
        merged = {key: record for key, record in merged.items() if key not in table}
        merged |= {of.key(record): record for record in newest}
        keys = sorted((key for key in merged if key >= floor), reverse=True)[: query.limit]
        return [merged[key] for key in keys], keys[-1] if len(keys) == query.limit else floor or None

    async def _stored(self, table: str, query: BlotterQuery, oldest_held: Callable[[], int]) -> BlotterPage:
        """The store's page, when the store is as far as `oldest_held`: then it and memory meet. Waits a moment."""
        store, loop = self._store, asyncio.get_running_loop()
        assert store is not None
        deadline = loop.time() + _PATIENCE_S
        while True:
            page = await loop.run_in_executor(self._threads, store.page, table, query)
            behind = oldest_held() - page.cursor
            if behind <= 0:
                return page
            if loop.time() > deadline:
                raise Unavailable(f"older history is being brought up to date ({behind} events to go); try again later")
            await asyncio.sleep(_POLL_S)

    def _numbers(self, instrument: str) -> frozenset[int] | None:
        """Numbers of all instruments of that name; None (all instruments) for the empty name. Raises NotFound."""
        return self._registry.numbers(instrument) if instrument else None


def _page_of(what: str, page: Records, view: Callable[[bytes], V]) -> Page[V]:
    found, following = page
    return Page([view(record) for record in found], encode_token(what, str(following)) if following is not None else "")


_READ_EVENT_SEQ = EVENT.reader("event_seq").unpack
_READ_ORDER_ID = EVENT.reader("order_id").unpack
_READ_ORDER = EVENT.reader("instrument", "status", "placed_ns").unpack
_READ_FILL = EVENT.reader("ts_ns", "instrument", "order_id").unpack
_READ_ENTRY = EVENT.reader("ts_ns", "asset", "delta", "delta_high").unpack
_NO_END = 2**63


def _event_seq(record: bytes) -> int:
    key: int = _READ_EVENT_SEQ(record)[0]
    return key


def _order_id(record: bytes) -> int:
    key: int = _READ_ORDER_ID(record)[0]
    return key


def _order_matcher(query: BlotterQuery) -> Matcher:
    """By the time orders were placed."""
    instruments, statuses, start_ns, end_ns = query.instruments, query.statuses, query.start_ns, query.end_ns or _NO_END

    def matches(record: bytes) -> bool:
        instrument, status, placed_ns = _READ_ORDER(record)
        return (
            start_ns <= placed_ns < end_ns
            and (instruments is None or instrument in instruments)
            and (statuses is None or status in statuses)
        )

    return matches


def _fill_matcher(query: BlotterQuery) -> Matcher:
    instruments, wanted_order = query.instruments, query.order_id
    start_ns, end_ns = query.start_ns, query.end_ns or _NO_END

    def matches(record: bytes) -> bool:
        ts_ns, instrument, order_id = _READ_FILL(record)
        return (
            start_ns <= ts_ns < end_ns
            and (instruments is None or instrument in instruments)
            and wanted_order in (0, order_id)
        )

    return matches


def _ledger_matcher(query: BlotterQuery) -> Matcher:
    """Of BALANCE_CHANGED events, those that change the total."""
    wanted_asset, start_ns, end_ns = query.asset, query.start_ns, query.end_ns or _NO_END

    def matches(record: bytes) -> bool:
        ts_ns, asset, delta, delta_high = _READ_ENTRY(record)
        return start_ns <= ts_ns < end_ns and wanted_asset in (0, asset) and bool(delta or delta_high)

    return matches


@dataclass(frozen=True, slots=True)
class _List:
    """A list that memory and the store keep together."""

    name: str
    """Of the store's table."""
    key: Callable[[bytes], int]
    matcher: Callable[[BlotterQuery], Matcher]


_ORDERS = _List("orders", _order_id, _order_matcher)
_FILLS = _List("fills", _event_seq, _fill_matcher)
