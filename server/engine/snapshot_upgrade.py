"""The trading state of older snapshots, brought to the layout of this build: one step a version, one after the other.

Whoever changes what `fastpath/state/snapshot.pyx` writes raises its VERSION, adds here the step from the version before, and
keeps a snapshot of that version in tests/server/older_formats.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from fastpath.state.snapshot import STATE_VERSION

_PREFIX = struct.Struct("<8sQ")
_HEADER = struct.Struct("<IIQ")


@dataclass(frozen=True, slots=True)
class Section:
    """Elements of `size` bytes each."""

    tag: int
    size: int
    elements: bytes


def version_of(state: bytes) -> int:
    """Raises ValueError if it is no trading state."""
    if len(state) < _PREFIX.size:
        raise ValueError("it is cut short")
    version: int = _PREFIX.unpack_from(state)[1]
    return version


def to_this_version(state: bytes) -> bytes:
    """As `Exchange.load` takes it. Raises ValueError for a version no step leads from, and for what is cut short."""
    version = version_of(state)
    if version == STATE_VERSION:
        return state
    if not all(step in _STEPS for step in range(version, STATE_VERSION)) or version > STATE_VERSION:
        raise ValueError(f"it has version {version}; this build reads {min(_STEPS)} to {STATE_VERSION}")
    sections = list(_sections(state))
    for step in range(version, STATE_VERSION):
        try:
            sections = _STEPS[step](sections)
        except (IndexError, StopIteration, ValueError) as error:
            raise ValueError(f"it is not what version {step} wrote: {error!r}") from error
    magic = _PREFIX.unpack_from(state)[0]
    packed = [
        _HEADER.pack(section.tag, section.size, len(section.elements) // section.size) + section.elements
        for section in sections
    ]
    return _PREFIX.pack(magic, STATE_VERSION) + b"".join(packed)


def _sections(state: bytes) -> Iterator[Section]:
    at = _PREFIX.size
    while at < len(state):
        try:
            tag, size, count = _HEADER.unpack_from(state, at)
        except struct.error:
            raise ValueError("it is cut short") from None
        at += _HEADER.size
        if not size or count * size > len(state) - at:
            raise ValueError("it is cut short")
        yield Section(tag, size, state[at : at + count * size])
        at += count * size


def _children_follow_fills(sections: list[Section]) -> list[Section]:
    """1 to 2: what a child of a linked order waits for stands beside what its parent's fills have released.

    In version 1 a child waited as a whole until its parent had ended: until then, or if the parent was not filled at all,
    all of it is awaited. What an open parent has filled by now is released with its next change.
    """
    groups = next(section.elements for section in sections if section.tag == _GROUPS)
    return [
        replace(section, size=_ORDER_2.itemsize, elements=_with_awaited_qty(section.elements, groups))
        if section.tag == _ORDERS
        else section
        for section in sections
    ]


def _with_awaited_qty(orders: bytes, groups: bytes) -> bytes:
    before, group = np.frombuffer(orders, _ORDER_1), np.frombuffer(groups, _GROUP)
    after = np.zeros((len(before), _ORDER_2.itemsize), np.uint8)
    packed = before.view(np.uint8).reshape(-1, _ORDER_1.itemsize)
    inserted = _ORDER_2.fields["awaited_qty"][1]  # type: ignore[index]
    after[:, :inserted] = packed[:, :inserted]
    after[:, inserted + 16 :] = packed[:, inserted:]
    (members,) = np.nonzero(before["group"] != _NONE)
    parents = before[group["parent"][before["group"][members]]]
    waits = (parents["status"] <= _LAST_OPEN_STATUS) | (parents["cum_qty"] == 0)
    is_child = (group["link_type"][before["group"][members]] != _OCO) & (
        parents["order_id"] != before["order_id"][members]
    )
    children = members[is_child & waits]
    records = after.view(_ORDER_2)[:, 0]
    records["awaited_qty"][children] = before["qty"][children]
    records["qty"][children] = 0
    return after.tobytes()


def _orders_travel(sections: list[Section]) -> list[Section]:
    """2 to 3: orders may be on their way to a venue (none was), and what was consumed beyond a snapshot is remembered."""
    upgraded = [
        replace(section, size=_MIRROR_3.itemsize, elements=_with_beyond(section.elements))
        if section.tag == _MIRRORS
        else section
        for section in sections
    ]
    (touched,) = [section for section in upgraded if section.tag == _TOUCHED_2]
    upgraded[upgraded.index(touched) :] = [Section(_TRANSIT, 16, b""), replace(touched, tag=_TOUCHED_2 + 1)]
    return upgraded


def _with_beyond(mirrors: bytes) -> bytes:
    before = np.frombuffer(mirrors, _MIRROR_2)
    after = np.zeros(len(before), _MIRROR_3)
    after["instrument"], after["rest"] = before["instrument"], before["rest"]
    after["sides"][:, :, 0] = before["sides"]
    return after.tobytes()


def _changes_travel(sections: list[Section]) -> list[Section]:
    """3 to 4: cancels and amendments may be on their way to a venue, and mark and index prices be known: none was.

    Rows of the ledger take a cache line each.
    """
    steps = {
        _INSTRUMENTS: _with_reference_prices,
        _BALANCES: _in_lines,
        _POSITIONS: _in_lines,
        _WAITING: _with_reference_heaps,
    }
    upgraded = [steps[section.tag](section) if section.tag in steps else section for section in sections]
    return [*upgraded, Section(_CHANGES, 40, b"")]


def _groups_have_owners(sections: list[Section]) -> list[Section]:
    """4 to 5: self-trade groups belong to owners: all there were to whoever may use all accounts."""
    return [
        replace(section, size=section.size + 8, elements=_padded(section, section.size + 8))
        if section.tag == _ORDERS
        else section
        for section in sections
    ]


def _with_reference_prices(instruments: Section) -> Section:
    elements = _renewed(instruments, _INSTRUMENT_3, _INSTRUMENT_4)
    return replace(instruments, size=_INSTRUMENT_4.itemsize, elements=elements)


def _in_lines(rows: Section) -> Section:
    return replace(rows, size=_LINE, elements=_padded(rows, _LINE))


def _padded(rows: Section, size: int) -> bytes:
    """The elements, each with zeros behind it."""
    before = np.frombuffer(rows.elements, np.uint8).reshape(-1, rows.size)
    after = np.zeros((len(before), size), np.uint8)
    after[:, : rows.size] = before
    return after.tobytes()


def _with_reference_heaps(waiting: Section) -> Section:
    """The heaps of trailing orders come behind those of two more prices, each rising and falling."""
    items = np.frombuffer(waiting.elements, _HEAP_ITEM).copy()
    items["heap"][items["heap"] >= 8] += 4
    return replace(waiting, elements=items.tobytes())


def _money_is_wide(sections: list[Section]) -> list[Section]:
    """5 to 6: money has 128 bits. No amount changes, and assets keep the bound of before until they are defined again."""
    layouts = {
        _BALANCES: (_BALANCE_5, _BALANCE_6),
        _POSITIONS: (_POSITION_5, _POSITION_6),
        _ADJUSTMENTS: (_ADJUSTMENT_5, _ADJUSTMENT_6),
        _ORDERS: (_ORDER_5, _ORDER_6),
    }
    (positions,) = [section for section in sections if section.tag == _POSITIONS]
    widened = [_widened(section, *layouts[section.tag]) if section.tag in layouts else section for section in sections]
    return [*widened, replace(_widened(positions, _POSITION_5, _REST_6), tag=_RESTS)]


def _widened(section: Section, before: np.dtype[np.void], after: np.dtype[np.void]) -> Section:
    """Fields of the same names, those of money from int64 to two words of a 128-bit integer."""
    old = np.frombuffer(section.elements, before)
    new = np.zeros(len(old), after)
    for name in set(before.names or ()) & set(after.names or ()):
        if after[name].shape:
            new[name][:, 0], new[name][:, 1] = old[name], old[name] >> 63
        else:
            new[name] = old[name]
    return replace(section, size=after.itemsize, elements=new.tobytes())


def _positions_are_valued(sections: list[Section]) -> list[Section]:
    """6 to 7: instruments may have a valuation price, and until when it holds: none had."""
    return [
        replace(section, size=_INSTRUMENT_7.itemsize, elements=_renewed(section, _INSTRUMENT_4, _INSTRUMENT_7))
        if section.tag == _INSTRUMENTS
        else section
        for section in sections
    ]


def _renewed(section: Section, before: np.dtype[np.void], after: np.dtype[np.void]) -> bytes:
    """Fields of the same names, those that are new zeros."""
    old = np.frombuffer(section.elements, before)
    new = np.zeros(len(old), after)
    for name in before.names or ():
        new[name] = old[name]
    return new.tobytes()


# Of the structs in fastpath/state/orders.pxd and links.pxd what the step looks at, as of these versions.
_INSTRUMENTS, _MIRRORS, _BALANCES, _POSITIONS, _ADJUSTMENTS, _GROUPS, _ORDERS = 5, 6, 7, 8, 9, 10, 11
_WAITING, _TRANSIT, _TOUCHED_2, _CHANGES, _RESTS = 14, 15, 15, 17, 18
_NONE, _OCO, _LAST_OPEN_STATUS = 0xFFFFFFFF, 1, 2
_GROUP = np.dtype({"names": ["link_type", "parent"], "formats": ["u1", "<u4"], "offsets": [12, 16], "itemsize": 48})
_ORDER_1 = np.dtype(
    {
        "names": ["order_id", "status", "qty", "cum_qty", "group"],
        "formats": ["<u8", "u1", "<i8", "<i8", "<u4"],
        "offsets": [0, 59, 72, 80, 232],
        "itemsize": 248,
    }
)
_ORDER_2 = np.dtype({
    "names": ["qty", "awaited_qty"], "formats": ["<i8", "<i8"], "offsets": [72, 184], "itemsize": 264
})  # fmt: skip

_SIDE_BYTES = 4808
_MIRROR_2 = np.dtype([("instrument", "<u8"), ("sides", f"V{_SIDE_BYTES}", 4), ("rest", "V16")])
_MIRROR_3 = np.dtype([("instrument", "<u8"), ("sides", f"V{_SIDE_BYTES}", (4, 2)), ("rest", "V16")])

_INSTRUMENT_3 = np.dtype([("definition", "V192"), ("last_price", "<i8"), ("rows", "V16")])
_INSTRUMENT_4 = np.dtype([("definition", "V192"), ("last_price", "<i8"), ("reference", "<i8", 3), ("rows", "V16")])
_INSTRUMENT_7 = np.dtype([
    ("definition", "V192"), ("last_price", "<i8"), ("reference", "<i8", 3), ("valuation", "<i8", 2), ("rows", "V16"),
])  # fmt: skip
_HEAP_ITEM = np.dtype([("key", "<i8"), ("number", "<u4"), ("heap", "<u4")])
_LINE = 64

_MONEY = ("<i8", 2)
_BALANCE_5 = np.dtype(
    {
        "names": ["holder", "total", "reserved", "next"],
        "formats": ["<u8", "<i8", "<i8", "<u4"],
        "offsets": [0, 8, 16, 40],
        "itemsize": _LINE,
    }
)
_BALANCE_6 = np.dtype(
    {
        "names": ["holder", "next", "total", "reserved"],
        "formats": ["<u8", "<u4", _MONEY, _MONEY],
        "offsets": [0, 8, 16, 32],
        "itemsize": _LINE,
    }
)
_POSITION_5 = np.dtype({
    "names": ["account", "instrument", "qty", "cost", "realized_pnl", "rows", "reducing_orders", "rest"],
    "formats": ["<u4", "<u4", "<i8", "<i8", "<i8", "V12", "<u4", "<i8"],
    "offsets": [0, 4, 8, 16, 24, 32, 48, 56],
    "itemsize": _LINE,
})
_POSITION_6 = np.dtype({
    "names": ["account", "instrument", "qty", "cost", "realized_pnl", "rows", "reducing_orders"],
    "formats": ["<u4", "<u2", "<i8", _MONEY, _MONEY, "V12", "<u4"],
    "offsets": [0, 4, 8, 16, 32, 48, 60],
    "itemsize": _LINE,
})
_REST_6 = np.dtype([("rest", *_MONEY)])
_ADJUSTMENT_5 = np.dtype([("request", "V48"), ("amount", "<i8")])
_ADJUSTMENT_6 = np.dtype([("request", "V48"), ("amount", *_MONEY)])
_ORDER_5 = np.dtype([
    ("beginning", "V88"), ("cum_notional", "<i8"), ("cum_fee", "<i8"), ("body_digest", "<u8"), ("middle", "V56"),
    ("amount", "<i8"), ("end", "V96"),
])  # fmt: skip
_ORDER_6 = np.dtype([
    ("beginning", "V88"), ("body_digest", "<u8"), ("cum_notional", *_MONEY), ("cum_fee", *_MONEY), ("amount", *_MONEY),
    ("middle", "V56"), ("end", "V96"), ("unused", "V8"),
])  # fmt: skip

_STEPS: dict[int, Callable[[list[Section]], list[Section]]] = {
    1: _children_follow_fills,
    2: _orders_travel,
    3: _changes_travel,
    4: _groups_have_owners,
    5: _money_is_wide,
    6: _positions_are_valued,
}
"""From this version to the next."""
