"""Commands that the server itself puts in front of those of its callers: books of venues, prices."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

_log = logging.getLogger(__name__)


class CommandSource(Protocol):
    """What the engine must know of the world outside, as commands. Called by the runner before each batch."""

    def take(self, entered: Mapping[int, bool]) -> bytes:
        """Commands that are due, among them what orders must meet that enter an instrument with this batch.

        `entered`: instrument (0: any in which there are orders) -> whether some of them may wait for prices.
        """
        ...

    def withdraw(self) -> bytes:
        """`take` failed. Commands after which the engine relies on nothing that this source told it; what was taken
        before counts as lost. Must not raise: the engine stops rather than go on with what is not true any more."""
        ...


class CommandSources:
    """All sources, in the order in which they were added. One that fails is withdrawn once, and asked again with every
    batch: the others and the orders of callers go on."""

    def __init__(self) -> None:
        self.failures = 0
        """Batches without the commands of a source, because it failed."""
        self._sources: list[CommandSource] = []
        self._withdrawn: set[int] = set()
        """Places in the list of those that failed the last time."""

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, source: CommandSource) -> None:
        """Ask `source` from the next batch on."""
        self._sources.append(source)

    def take(self, entered: Mapping[int, bool]) -> bytes:
        """What all of them have. See CommandSource."""
        return b"".join([self._take(at, source, entered) for at, source in enumerate(self._sources)])

    def _take(self, at: int, source: CommandSource, entered: Mapping[int, bool]) -> bytes:
        try:
            taken = source.take(entered)
        except Exception:
            self.failures += 1
            if at in self._withdrawn:
                return b""
            _log.exception("%s cannot tell its commands; it is withdrawn until it can", type(source).__name__)
            self._withdrawn.add(at)
            return source.withdraw()
        self._withdrawn.discard(at)
        return taken
