"""The checksum of journal rows, the same in every journal.

Each covers the row and the checksum of the row before, from the epoch on: a changed, missing, moved or foreign row is
found when it is read.
"""

from __future__ import annotations

import hashlib
import struct

from server.storage.ports import JournalRow

_SIZE = 16
_HEADER = struct.Struct("<qqq")


def seed(epoch: str) -> bytes:
    """What the first row is chained to."""
    return hashlib.blake2b(epoch.encode(), digest_size=_SIZE).digest()


def checksum(previous: bytes, row: JournalRow) -> bytes:
    """The row's checksum; `previous` is that of the row before."""
    digest = hashlib.blake2b(previous, digest_size=_SIZE)
    digest.update(_HEADER.pack(row.first_seq, row.count, row.ts_ns))
    digest.update(row.payload)
    return digest.digest()
