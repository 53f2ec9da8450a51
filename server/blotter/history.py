"""Lists of orders, fills and ledger entries: recent ones from memory, older ones from the blotter's store.

The store lags behind memory and reports its cursor; rows from both are merged, so a list contains everything a client
was told. If store and memory do not overlap (the store is away or far behind), a list that needs the store is refused;
it never omits rows.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastpath.blotter.fills import Fills
from fastpath.blotter.orders import Orders
from fastpath.model import records
from fastpath.model.order_sets import OPEN_STATUSES
from server.base.errors import Unavailable
from server.base.paging import Page, decode_number_token, encode_token, page_limit
from server.engine.engine import Engine
from server.records.events import (
    BALANCE_CHANGED,
    FillView,
    LedgerEntryView,
    OrderView,
    decode,
    fill_view,
    ledger_entry_view,
)
from server.storage.ports import BlotterPage, BlotterQuery, BlotterStore

V = TypeVar("V")

Records = tuple[list[bytes], int | None]
"""Packed events newest first, and the `before` of the next page (None: there is none)."""

_SEQ = struct.Struct("<Q")
_INSTRUMENT_ORDER = struct.Struct("<IQ")
_ASSET = struct.Struct("<I")
_INT64 = struct.Struct("<q")
_PATIENCE_S = 2.0
_POLL_S = 0.02
# Where they are in an event.
_TIME_OFFSET, _INSTRUMENT_OFFSET, _ORDER_OFFSET = 16, 36, 40
_STATUS_OFFSET, _ASSET_OFFSET, _DELTA_OFFSET, _DELTA_HIGH_OFFSET = 128, 132, 152, 176


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
            page = await self._page("orders", tables.orders, _ORDER_OFFSET, _DELTA_OFFSET, query)
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
        page = await self._page("fills", self._engine.blotter.tables.fills, 0, _TIME_OFFSET, query)
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
        return _page_of("ledger", page, lambda record: ledger_entry_view(decode(record), self._registry))

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _open_orders(self, query: BlotterQuery) -> Records:
        """Open orders are all in memory."""
        wanted = _matcher(query, _DELTA_OFFSET)
        found: list[bytes] = []
        for record in self._engine.blotter.open_records(query.account, query.before):
            if wanted(record):
                if len(found) == query.limit:
                    return found, _key(found[-1], _ORDER_OFFSET)
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
        wanted = _matcher(query, _TIME_OFFSET)
        found = [record for record in reversed(recent) if _delta(record) and wanted(record)]
        if query.before is not None:
            found = [record for record in found if _key(record, 0) < query.before]
        chosen = (found + stored)[: query.limit]
        return chosen, _key(chosen[-1], 0) if len(chosen) == query.limit else None

    async def _page(self, name: str, table: Orders | Fills, key_at: int, time_at: int, query: BlotterQuery) -> Records:
        wanted = _matcher(query, time_at)

        def recent() -> Records:
            return table.page(query.account, query.before, query.limit, wanted)

        newest, following = recent()
        if self._store is None or not table.forgotten_seq:
            return newest, following
        if len(newest) == query.limit and _key(newest[-1], key_at) > table.forgotten_key:
            return newest, following
        stored = await self._stored(name, query, lambda: table.forgotten_seq)
        newest, following = recent()
        full = len(stored.records) == query.limit
        floor = max(following or 0, _key(stored.records[-1], key_at) if full else 0)
        merged = {_key(record, key_at): record for record in stored.records}
        merged = {key: record for key, record in merged.items() if key not in table}
        merged |= {_key(record, key_at): record for record in newest}
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


def _key(record: bytes, key_at: int) -> int:
    key: int = _SEQ.unpack_from(record, key_at)[0]
    return key


def _delta(record: bytes) -> int:
    """Not 0 if a BALANCE_CHANGED event changes the total: one of the words of its delta."""
    low: int = _INT64.unpack_from(record, _DELTA_OFFSET)[0]
    high: int = _INT64.unpack_from(record, _DELTA_HIGH_OFFSET)[0]
    return low or high


def _matcher(query: BlotterQuery, time_at: int) -> Callable[[bytes], bool]:
    """Whether a packed event is what the query asks for; account and key apart."""
    instruments, statuses, order_id, asset = query.instruments, query.statuses, query.order_id, query.asset
    start_ns, end_ns = query.start_ns, query.end_ns

    def matches(record: bytes) -> bool:
        instrument, order = _INSTRUMENT_ORDER.unpack_from(record, _INSTRUMENT_OFFSET)
        if instruments is not None and instrument not in instruments:
            return False
        if (statuses is not None and record[_STATUS_OFFSET] not in statuses) or order_id not in (0, order):
            return False
        if asset not in (0, _ASSET.unpack_from(record, _ASSET_OFFSET)[0]):
            return False
        time_ns = _INT64.unpack_from(record, time_at)[0]
        return start_ns <= time_ns and (not end_ns or time_ns < end_ns)

    return matches
