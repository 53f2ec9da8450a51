"""A recorded frame whose ids and times can be moved forward cheaply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TIME = "time"
"""Counter of every millisecond time in a frame."""

PASS = "pass"
"""Counter of ids which have no order (UUIDs): moved by one on each pass, so they stay unique."""


@dataclass(frozen=True, slots=True)
class Template:
    """A frame's text with its ids and times taken out, so that a later pass only formats numbers."""

    format: str
    values: tuple[int, ...]
    counters: tuple[str, ...]

    def render(self, shift: Mapping[str, int]) -> str:
        """The text with every number moved by the shift of its counter."""
        return self.format % tuple([n + shift[c] for n, c in zip(self.values, self.counters, strict=True)])


@dataclass(frozen=True, slots=True)
class Frame:
    """One recorded push of one topic.

    `time_ns` is when the venue pushed it, on the recording's own time line. `stale` marks what a venue
    sends only as the answer to a subscription (its last trade, say) and that is older than the recording.
    """

    time_ns: int
    topic: str
    text: str
    template: Template
    stale: bool = False


class Splitter:
    """Makes templates: `counters` says which JSON field belongs to which counter; UUIDs belong to `PASS`."""

    def __init__(self, counters: Mapping[str, str]) -> None:
        names = "|".join(counters)
        self._pattern = re.compile(
            rf'("(?:{names})":"?(?=\d+[,}}"])|"[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-(?=[0-9a-f]{{12}}"))([0-9a-f]+)'
        )
        self._counters = {f'"{name}":{quote}': counter for name, counter in counters.items() for quote in ("", '"')}

    def split(self, text: str) -> Template:
        # No venue sends a per cent sign in a frame, but a format must never meet a stray one.
        parts = self._pattern.split(text.replace("%", "%%") if "%" in text else text)
        values: list[int] = []
        counters: list[str] = []
        for i in range(1, len(parts), 3):
            counter = self._counters.get(parts[i], PASS)
            values.append(int(parts[i + 1], 16 if counter is PASS else 10))
            counters.append(counter)
            parts[i + 1] = "%012x" if counter is PASS else "%d"
        return Template("".join(parts), tuple(values), tuple(counters))


class Renumbering:
    """How far the ids of one instrument have been moved so that they go on growing pass after pass."""

    def __init__(self, counters: tuple[str, ...]) -> None:
        self.shift: dict[str, int] = dict.fromkeys((*counters, TIME, PASS), 0)
        self._ids = counters
        self._low: dict[str, int] = {}
        self._high: dict[str, int] = {}
        self._learning = True

    def note(self, template: Template) -> None:
        """Learn the range of the recorded ids. Every pass has the same, so only the first one is read."""
        if not self._learning:
            return
        low, high = self._low, self._high
        for value, counter in zip(template.values, template.counters, strict=True):
            if value < low.get(counter, value + 1):
                low[counter] = value
            if value > high.get(counter, -1):
                high[counter] = value

    def next_pass(self) -> None:
        """Move every id just beyond the highest one sent so far."""
        self._learning = False
        for counter in self._ids:
            if counter in self._low:
                self.shift[counter] += self._high[counter] - self._low[counter] + 1
        self.shift[PASS] += 1
