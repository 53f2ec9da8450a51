"""Reads a cryptofeed capture: the frames of one venue's connections, with REST bodies and acknowledgements."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import zstandard


@dataclass(frozen=True, slots=True)
class Captured:
    """One received text frame: the address of its connection, its text, and the text decoded."""

    address: str
    text: str
    data: dict[str, object]


def captured_frames(path: Path) -> Iterator[Captured]:
    """The frames received on all connections, in the order of each connection."""
    addresses: dict[str, str] = {}
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as plain:
        for line in io.TextIOWrapper(plain, encoding="utf-8"):
            record = orjson.loads(line)
            if record["t"] == "connect":
                addresses[record["conn"]] = record["addr"]
            elif record["t"] == "recv":
                yield Captured(addresses[record["conn"]], record["data"], orjson.loads(record["data"]))
