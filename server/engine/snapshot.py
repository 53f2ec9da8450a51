"""A snapshot: everything the engine knows after one command, as bytes.

Format: magic, u32 version, u32 length of the header, the header, the sections, checksum (BLAKE2b, 32 bytes) of all
that. The header is JSON: what the snapshot belongs to, and for each section its name, its size and its size as stored
(zlib). Sections a reader does not know are skipped, so adding one needs no new version.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from server.base.errors import SnapshotUnusable

VERSION = 1
_MAGIC = b"TWSNAP\r\n"
_PREFIX = struct.Struct("<8sII")
_DIGEST_SIZE = 32
_LEVEL = 1
"""Of compression: most of what is stored are zeros."""


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """What a snapshot belongs to."""

    epoch: str
    checksum: bytes
    """Of the journal's row that ends with `command_sequence`: names the commands that made this state."""
    command_sequence: int
    event_sequence: int
    time_ns: int
    state_hash: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    header: SnapshotHeader
    sections: Mapping[str, bytes]


def encode(snapshot: Snapshot) -> bytes:
    header = snapshot.header
    stored = {name: zlib.compress(data, _LEVEL) for name, data in snapshot.sections.items()}
    text = json.dumps(
        {
            "epoch": header.epoch,
            "checksum": header.checksum.hex(),
            "command_sequence": header.command_sequence,
            "event_sequence": header.event_sequence,
            "time_ns": header.time_ns,
            "state_hash": header.state_hash,
            "sections": [[name, len(data), len(stored[name])] for name, data in snapshot.sections.items()],
        }
    ).encode()
    body = b"".join([_PREFIX.pack(_MAGIC, VERSION, len(text)), text, *stored.values()])
    return body + _digest(body)


def decode(data: bytes) -> Snapshot:
    """The whole snapshot. Raises SnapshotUnusable."""
    header, layout, at = _open(data)
    sections: dict[str, bytes] = {}
    for name, size, stored_size in layout:
        try:
            section = zlib.decompress(data[at : at + stored_size], bufsize=max(size, 1))
        except zlib.error as error:
            raise SnapshotUnusable(f"its section {name} cannot be unpacked: {error}") from error
        if len(section) != size:
            raise SnapshotUnusable(f"its section {name} has {len(section)} bytes instead of {size}")
        sections[name] = section
        at += stored_size
    return Snapshot(header, sections)


def _open(data: bytes) -> tuple[SnapshotHeader, list[tuple[str, int, int]], int]:
    """The header, (name, size, stored size) of each section, and where the first begins."""
    if len(data) < _PREFIX.size + _DIGEST_SIZE or not data.startswith(_MAGIC):
        raise SnapshotUnusable("it is cut short, or no snapshot")
    _, version, length = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise SnapshotUnusable(f"it has version {version}; this build reads version {VERSION}")
    if _digest(memoryview(data)[:-_DIGEST_SIZE]) != data[-_DIGEST_SIZE:]:
        raise SnapshotUnusable("it does not carry its checksum")
    end = _PREFIX.size + length
    try:
        fields = json.loads(data[_PREFIX.size : end])
        layout = [(str(name), int(size), int(stored)) for name, size, stored in fields.pop("sections")]
        header = SnapshotHeader(**fields | {"checksum": bytes.fromhex(fields["checksum"])})
    except (ValueError, TypeError, KeyError) as error:
        raise SnapshotUnusable(f"its header cannot be read: {error}") from error
    return header, layout, end


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_SIZE).digest()
