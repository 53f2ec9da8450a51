"""Reads the recorded Binance frames: one file an instrument, streamed, never held in memory."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from server.replay.book import Row
from server.replay.frame import TIME, Frame, Splitter

RECORDER_LAG_NS = 1_275_300_000
"""How far the recorder's clock is behind the venue's: the largest difference in the files, so that no frame
is pushed before the time it carries."""

UPDATE = "update"
TRADE = "trade"

_SPLITTER = Splitter({"E": TIME, "T": TIME, "U": UPDATE, "u": UPDATE, "pu": UPDATE, "t": TRADE})
_TIMESTAMP_DIGITS = 19
_LAST_UPDATE = re.compile(r'"u":(\d+)')


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The REST depth snapshot of a recording: the book from which its depth updates go on."""

    last_update_id: int
    bids: list[Row]
    asks: list[Row]


class BinanceRecording:
    """One instrument's file: `<receive time ns> <frame>` a line, combined-stream frames and one snapshot."""

    def __init__(self, path: Path) -> None:
        _, self.product, self.symbol, _ = path.name.split("_")
        self._path = path
        self.first_ns, self.snapshot = self._read_head()

    def topic(self, channel: str) -> str:
        return f"{self.product}:{self.symbol}@{channel}"

    def frames(self) -> Iterator[Frame]:
        """Every trade and best-quote frame, and the depth frames which the snapshot does not hold already."""
        topics = {channel: self.topic(channel) for channel in ("trade", "bookTicker", "depth")}
        first_depth = True
        for time_ns, text in self._lines():
            if not text.startswith('{"stream":"'):
                continue
            name, _, rest = text[11:].partition('","data":')
            payload = rest[:-1]
            channel = name.split("@", 2)[1]
            if channel == "depth" and first_depth:
                if self._is_held(payload):
                    continue
                payload = self._join_to_snapshot(payload)
                first_depth = False
            yield Frame(time_ns, topics[channel], payload, _SPLITTER.split(payload))

    def _is_held(self, payload: str) -> bool:
        match = _LAST_UPDATE.search(payload)
        return match is None or int(match[1]) <= self.snapshot.last_update_id

    def _join_to_snapshot(self, payload: str) -> str:
        """The first update spans the snapshot; make it begin right after, as every later one does."""
        last = self.snapshot.last_update_id
        if self.product == "spot":
            return re.sub(r'"U":\d+', f'"U":{last + 1}', payload, count=1)
        return re.sub(r'"pu":\d+', f'"pu":{last}', payload, count=1)

    def _read_head(self) -> tuple[int, Snapshot]:
        first_ns = 0
        for time_ns, text in self._lines():
            first_ns = first_ns or time_ns
            if text.startswith('{"lastUpdateId":'):
                data = orjson.loads(text)
                return first_ns, Snapshot(data["lastUpdateId"], data["bids"], data["asks"])
        raise ValueError(f"{self._path.name} holds no depth snapshot")

    def _lines(self) -> Iterator[tuple[int, str]]:
        with gzip.open(self._path, "rt", encoding="ascii") as file:
            for line in file:
                yield int(line[:_TIMESTAMP_DIGITS]) + RECORDER_LAG_NS, line[_TIMESTAMP_DIGITS + 1 : -1]
