"""What a blotter stores: its tables, and their rows made from packed events.

A row holds what it is found by, what people read in SQL (numbers of ticks, lots and smallest units, as the directory
tables explain them), and the packed event, from which the server answers. The same in every adapter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from fastpath.exchange.exchange import OUTSIDE_ACCOUNT
from fastpath.model.structs import EVENT, EVENT_SIZE
from server.base.instruments import ASSET_SCALE, Registry, format_decimal
from server.records.events import (
    BALANCE_CHANGED,
    ORDER_ACCEPTED,
    ORDER_FILLED,
    ORDER_TRIGGERED,
    TRADING_STATUS_CHANGED,
)
from server.storage.ports import BlotterBatch, BlotterRow

FORMAT = 2
"""Of the tables and of the packed events in them. A blotter of another format is filled again from the journal."""

RECORD = "record"
INTEGER, TEXT, BYTES, MONEY = "integer", "text", "bytes", "money"
"""MONEY is a whole number of up to 128 bits."""


@dataclass(frozen=True, slots=True)
class BlotterTable:
    """Columns that are named otherwise than the field of the event they hold are in `renamed`."""

    key: str
    columns: dict[str, str]
    renamed: dict[str, str]
    indexes: tuple[str, ...]


TABLES: dict[str, BlotterTable] = {
    # The newest state of each order; `time_ns` is when it was placed.
    "orders": BlotterTable(
        key="order_id",
        columns=dict.fromkeys(
            ("order_id", "account", "instrument", "time_ns", "update_ns", "status", "side", "order_type", "price",
             "qty", "cum_qty", "reject_reason", "cancel_reason"),
            INTEGER,
        ) | {"cum_notional": MONEY, "cum_fee": MONEY, "client_order_id": TEXT, RECORD: BYTES},
        renamed={"time_ns": "placed_ns", "update_ns": "ts_ns"},
        indexes=("account, order_id",),
    ),
    "fills": BlotterTable(
        key="event_seq",
        columns=dict.fromkeys(
            ("event_seq", "account", "instrument", "time_ns", "order_id", "side", "price", "qty", "liquidity",
             "trade_id"),
            INTEGER,
        ) | {"fee": MONEY, RECORD: BYTES},
        renamed={"time_ns": "ts_ns", "price": "last_price", "qty": "last_qty"},
        indexes=("account, event_seq", "order_id"),
    ),
    # One entry a change of a balance; what a command moves of an asset for an account is one entry.
    "ledger": BlotterTable(
        key="event_seq",
        columns=dict.fromkeys(
            ("event_seq", "command_seq", "account", "asset", "time_ns"), INTEGER
        ) | {"delta": MONEY, "total": MONEY, "reserved": MONEY, RECORD: BYTES},
        renamed={"time_ns": "ts_ns"},
        indexes=("account, event_seq",),
    ),
    # What administrators did: accounts and instruments defined, money moved in or out, trading statuses set. `kind` is
    # the EventKind; `flags` the TradingStatus.
    "audit": BlotterTable(
        key="event_seq",
        columns=dict.fromkeys(
            ("event_seq", "command_seq", "time_ns", "kind", "account", "instrument", "asset", "flags"), INTEGER
        ) | {"delta": MONEY, RECORD: BYTES},
        renamed={"time_ns": "ts_ns"},
        indexes=("account, event_seq",),
    ),
}  # fmt: skip

DIRECTORY: dict[str, dict[str, str]] = {
    "accounts": {"number": INTEGER, "name": TEXT},
    "assets": {"number": INTEGER, "name": TEXT, "unit": TEXT},
    "instruments": {
        "number": INTEGER, "name": TEXT, "quote": TEXT, "tick_size": TEXT, "lot_size": TEXT, "money_unit": TEXT
    },
}
"""Which names and units the numbers stand for."""


_EVENT_TYPE: np.dtype[np.void] = np.dtype(EVENT.dtype())
_UNIT = Decimal(1).scaleb(-ASSET_SCALE)
_RECORD_TYPE = np.dtype((np.void, EVENT_SIZE))
_FIRST_DEFINED, _LAST_DEFINED = 2, 4


def defines_names(events: bytes) -> bool:
    """Whether an asset, instrument or account is defined among the events."""
    kinds = np.frombuffer(events, _EVENT_TYPE)["kind"]
    return bool(((kinds >= _FIRST_DEFINED) & (kinds <= _LAST_DEFINED)).any())


def directory_rows(registry: Registry) -> dict[str, list[BlotterRow]]:
    """All names as they are now, table by table."""
    return {
        "accounts": [(account.number, account.name) for account in registry.accounts()],
        "assets": [(asset.number, asset.name, format_decimal(_UNIT)) for asset in registry.assets()],
        "instruments": [
            (
                each.number, each.name, each.quote, format_decimal(each.tick_size), format_decimal(each.lot_size),
                format_decimal(each.money_unit),
            )
            for each in registry.numbered_instruments()
        ],
    }


def blotter_batch(after: int, events: bytes, directory: dict[str, list[BlotterRow]]) -> BlotterBatch:
    """The rows that durable events make: whole commands; `after` is the sequence of the event before them."""
    array = np.frombuffer(events, _EVENT_TYPE)
    kinds = array["kind"]
    of_orders = np.flatnonzero((kinds >= ORDER_ACCEPTED) & (kinds <= ORDER_TRIGGERED))
    moved = (kinds == BALANCE_CHANGED) & ((array["delta"] != 0) | (array["delta_high"] != 0))
    chosen = {
        "orders": of_orders[_last_indices(array["order_id"][of_orders])],
        "fills": np.flatnonzero(kinds == ORDER_FILLED),
        "ledger": np.flatnonzero(moved),
    }
    defined = (kinds >= _FIRST_DEFINED) & (kinds <= _LAST_DEFINED)
    # Money that no order moved, on the side of the account: its counterpart is the outside world.
    funded = (
        moved & ~np.isin(array["command_seq"], array["command_seq"][of_orders]) & (array["account"] != OUTSIDE_ACCOUNT)
    )
    chosen["audit"] = np.flatnonzero(defined | funded | (kinds == TRADING_STATUS_CHANGED))
    rows = {name: _rows(TABLES[name], events, array, index) for name, index in chosen.items()}
    return BlotterBatch(after, int(array["event_seq"][-1]), rows, directory)


def _amounts(events: NDArray[np.void], field: str) -> list[str]:
    """Digits of money, from its two words; that of balances in units of `_UNIT`, whatever the asset's were."""
    amounts: list[int] = events[field].tolist()
    high = events[f"{field}_high"]
    if high.any():
        amounts = [low + (word << 64) for low, word in zip(amounts, high.tolist(), strict=True)]
    of_balances = events["kind"] == BALANCE_CHANGED
    if of_balances.any():
        factors = (10 ** (ASSET_SCALE - scale) for scale in np.where(of_balances, events["scale"], ASSET_SCALE).tolist())
        amounts = [amount * factor for amount, factor in zip(amounts, factors, strict=True)]
    return list(map(str, amounts))


def _last_indices(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Where each key stands last, in ascending order of keys."""
    _, first_from_behind = np.unique(keys[::-1], return_index=True)
    return len(keys) - 1 - first_from_behind


def _rows(table: BlotterTable, events: bytes, array: NDArray[np.void], index: NDArray[np.intp]) -> list[BlotterRow]:
    columns: list[Iterable[int | str | bytes]] = []
    for name, kind in table.columns.items():
        if kind == BYTES:
            columns.append(np.frombuffer(events, _RECORD_TYPE)[index].tolist())
            continue
        field = table.renamed.get(name, name)
        if kind == MONEY:
            columns.append(_amounts(array[index], field))
            continue
        values = array[field][index].tolist()
        columns.append([value.decode() for value in values] if kind == TEXT else values)
    return list(zip(*columns, strict=True))
