"""The layouts of the packed records, as Python reads and writes them: where each field is, taken from the compiled structs.

Meanings are written down in `structs.pxd`. Sizes are in bytes.
"""

import struct
from collections.abc import Mapping
from typing import Any

class Layout:
    """The fields of a record of `size` bytes: `fields` is name -> (offset, format of `struct`), all little-endian.

    Fields of different kinds of event may share bytes.
    """

    size: int
    fields: Mapping[str, tuple[int, str]]

    def reader(self, *names: str) -> struct.Struct:
        """A `struct.Struct` that unpacks these fields of a record, in this order.

        Raises KeyError for a name that is no field, ValueError if they do not ascend in the record.
        """

    def pack(self, **values: int | bytes) -> bytes:
        """A record with these values, and 0 elsewhere.

        Raises KeyError for a name that is no field, struct.error for a number out of its field's range, ValueError for
        text that does not fit and for fields that share bytes.
        """

    def unpack(self, record: bytes | memoryview) -> dict[str, Any]:
        """All fields of a record, by name; text without its padding. Raises ValueError if the record has another size."""

    def dtype(self) -> Any:
        """What `numpy.dtype` takes to read records as rows."""

COMMAND: Layout
"""`command_t`: every kind of command that has no layout of its own."""
ASSET: Layout
INSTRUMENT: Layout
ACCOUNT: Layout
SET_TRADING_STATUS: Layout
REFERENCE_PRICES: Layout
MIRROR: Layout
EVENT: Layout

COMMAND_SIZE: int
EVENT_SIZE: int
