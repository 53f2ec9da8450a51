"""The layouts of the packed records, as Python reads and writes them: where each field is, taken from the compiled structs.

Meanings are written down in `structs.pxd`. Sizes are in bytes.
"""

import operator
import re
import struct

from cython cimport typeof

cdef dict CODES = {
    "uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q", "int64_t": "q",
    "price_t": "q", "qty_t": "q", "ts_t": "q", "char [36]": "36s",
}
cdef frozenset FILLERS = frozenset(("pad", "unused", "unused_2", "unused_3", "unused_4", "unused_end"))
cdef int MAX_PACKERS = 256


class Layout:
    """The fields of a record of `size` bytes: `fields` is name -> (offset, format of `struct`), all little-endian.

    Fields of different kinds of event may share bytes.
    """

    __slots__ = ("_packers", "fields", "size")

    def __init__(self, size, fields):
        self.size = size
        self.fields = fields
        self._packers = {}

    def reader(self, *names):
        """A `struct.Struct` that unpacks these fields of a record, in this order.

        Raises KeyError for a name that is no field, ValueError if they do not ascend in the record.
        """
        layout, end = "<", 0
        for name in names:
            offset, code = self.fields[name]
            if offset < end:
                raise ValueError(f"{name} is not behind the fields named before it; name fields in the order of the record")
            layout += f"{offset - end}x{code}"
            end = offset + struct.calcsize("<" + code)
        return struct.Struct(f"{layout}{self.size - end}x")

    def pack(self, **values):
        """A record with these values, and 0 elsewhere.

        Raises KeyError for a name that is no field, struct.error for a number out of its field's range, ValueError for
        text that does not fit and for fields that share bytes.
        """
        names = tuple(values)
        packer = self._packers.get(names)
        if packer is None:
            packer = self._new_packer(names)
        take, texts, form = packer
        for name, size in texts:
            if len(values[name]) > size:
                raise ValueError(f"{values[name]!r} does not fit into {size} bytes, the size of {name}")
        return form.pack(*take(values))

    def _new_packer(self, names):
        """Made once for each set of names that records are made of."""
        ordered = sorted(names, key=lambda name: self.fields[name][0])
        texts = [(name, int(code.rstrip("s"))) for name in names for _, code in (self.fields[name],) if code.endswith("s")]
        if len(self._packers) == MAX_PACKERS:
            self._packers.clear()
        take = operator.itemgetter(*ordered) if len(ordered) > 1 else lambda values: [values[name] for name in ordered]
        packer = self._packers[names] = take, texts, self.reader(*ordered)
        return packer

    def unpack(self, record):
        """All fields of a record, by name; text without its padding. Raises ValueError if the record has another size."""
        if len(record) != self.size:
            raise ValueError(f"a record has {self.size} bytes; got {len(record)}")
        values = {
            name: struct.unpack_from("<" + code, record, offset)[0] for name, (offset, code) in self.fields.items()
        }
        return {name: value.rstrip(b"\0") if isinstance(value, bytes) else value for name, value in values.items()}

    def dtype(self):
        """What `numpy.dtype` takes to read records as rows."""
        return {
            "names": list(self.fields),
            "formats": [f"S{code.rstrip('s')}" if code.endswith("s") else "<" + code for _, code in self.fields.values()],
            "offsets": [offset for offset, _ in self.fields.values()],
            "itemsize": self.size,
        }


cdef dict fields_of(object buffer, size_t start=0):
    """The fields of a packed struct without unions, from the format that a buffer of it tells (PEP 3118)."""
    cdef dict fields = {}
    cdef size_t offset = start
    format = memoryview(buffer).format
    for count, code, name in re.findall(r"(?:\((\d+)\))?\^?([a-zA-Z]):(\w+):", format):
        code = f"{count or 1}s" if code == "c" else f"{count}{code}"
        if name not in FILLERS:
            fields[name] = offset, code
        offset += struct.calcsize("<" + code)
    if offset - start != memoryview(buffer).itemsize:
        raise ImportError(f"the layout {format} is not understood: {offset - start} bytes")
    return fields


cdef command_t command
cdef asset_def_t asset
cdef instrument_def_t instrument
cdef account_def_t account
cdef trading_status_t trading_status
cdef reference_prices_t reference_prices
cdef mirror_command_t mirror
cdef event_t event

COMMAND = Layout(sizeof(command), fields_of(<command_t[:1]>&command))
ASSET = Layout(sizeof(asset), fields_of(<asset_def_t[:1]>&asset))
INSTRUMENT = Layout(sizeof(instrument), fields_of(<instrument_def_t[:1]>&instrument))
ACCOUNT = Layout(sizeof(account), fields_of(<account_def_t[:1]>&account))
SET_TRADING_STATUS = Layout(sizeof(trading_status), fields_of(<trading_status_t[:1]>&trading_status))
REFERENCE_PRICES = Layout(sizeof(reference_prices), fields_of(<reference_prices_t[:1]>&reference_prices))
MIRROR = Layout(sizeof(mirror), fields_of(<mirror_command_t[:1]>&mirror))


cdef tuple field(const void* at, str c_type):
    """Of an event."""
    return <size_t>at - <size_t>&event, CODES[c_type]


# A struct with unions tells no format.
EVENT = Layout(sizeof(event), {
    "event_seq": field(&event.event_seq, typeof(event.event_seq)),
    "command_seq": field(&event.command_seq, typeof(event.command_seq)),
    "ts_ns": field(&event.ts_ns, typeof(event.ts_ns)),
    "kind": field(&event.kind, typeof(event.kind)),
    "side": field(&event.side, typeof(event.side)),
    "order_type": field(&event.order_type, typeof(event.order_type)),
    "time_in_force": field(&event.time_in_force, typeof(event.time_in_force)),
    "flags": field(&event.detail.flags, typeof(event.detail.flags)),
    "scale": field(&event.detail.scale, typeof(event.detail.scale)),
    "trading_status": field(&event.detail.trading_status, typeof(event.detail.trading_status)),
    "account_mode": field(&event.detail.account_mode, typeof(event.detail.account_mode)),
    "account": field(&event.account, typeof(event.account)),
    "instrument": field(&event.instrument, typeof(event.instrument)),
    "order_id": field(&event.order_id, typeof(event.order_id)),
    "price": field(&event.price, typeof(event.price)),
    "qty": field(&event.size.qty, typeof(event.size.qty)),
    "order_count": field(&event.size.order_count, typeof(event.size.order_count)),
    "cum_qty": field(&event.cum_qty, typeof(event.cum_qty)),
    "leaves_qty": field(&event.leaves_qty, typeof(event.leaves_qty)),
    "last_price": field(&event.last_price, typeof(event.last_price)),
    "last_qty": field(&event.last_qty, typeof(event.last_qty)),
    "counter_order_id": field(&event.counter_order_id, typeof(event.counter_order_id)),
    "trade_id": field(&event.trade_id, typeof(event.trade_id)),
    "fee": field(&event.money.fee, typeof(event.money.fee)),
    "rest_high": field(&event.money.rest_high, typeof(event.money.rest_high)),
    "cum_notional": field(&event.cum_notional, typeof(event.cum_notional)),
    "status": field(&event.status, typeof(event.status)),
    "liquidity": field(&event.liquidity, typeof(event.liquidity)),
    "reject_reason": field(&event.reject_reason, typeof(event.reject_reason)),
    "cancel_reason": field(&event.cancel_reason, typeof(event.cancel_reason)),
    **fields_of(<order_part_t[:1]>&event.of.order, <size_t>&event.of - <size_t>&event),
    **fields_of(<balance_part_t[:1]>&event.of.balance, <size_t>&event.of - <size_t>&event),
    **fields_of(<position_part_t[:1]>&event.of.position, <size_t>&event.of - <size_t>&event),
    "trigger_price": field(&event.trigger_price, typeof(event.trigger_price)),
    "display_qty": field(&event.display_qty, typeof(event.display_qty)),
    "expire_ns": field(&event.expire_ns, typeof(event.expire_ns)),
    "link_id": field(&event.link_id, typeof(event.link_id)),
    "client_order_id": field(&event.client_order_id, typeof(event.client_order_id)),
    "last_of_command": field(&event.last_of_command, typeof(event.last_of_command)),
})

COMMAND_SIZE = COMMAND.size
EVENT_SIZE = EVENT.size

if EVENT_SIZE != 256 or any(
    layout.size != 192
    for layout in (COMMAND, ASSET, INSTRUMENT, ACCOUNT, SET_TRADING_STATUS, REFERENCE_PRICES, MIRROR)
):
    raise ImportError("the packed records of fastpath.model.structs do not have their documented sizes")
