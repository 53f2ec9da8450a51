"""Keeps the pauses of the Python interpreter short.

The cyclic garbage collector: a full collection looks at every object that lives, stops everything meanwhile, and comes
the sooner the more objects are kept: with the venues' markets loaded and the rings of the hub filling, several times a
minute for a tenth of a second each. But what was made during the start stays, and nearly all that is made later is freed
by its reference count alone.

The interpreter's lock: a thread that needs it (gRPC's, which tells the event loop of every call and of every message that
was written) waits until the event loop has been busy for the switch interval.
"""

from __future__ import annotations

import gc
import sys

_THRESHOLDS = (10_000, 10, 200)
"""Objects that were made and not freed: before the youngest are looked at (a millisecond), the young, and all."""
_SWITCH_INTERVAL_S = 0.001


def shorten() -> None:
    """Tune the collector and the switch interval. Call at the start of the process."""
    gc.set_threshold(*_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


def gc_freeze() -> None:
    """Exempt all present objects from garbage collection. Call after the start. Blocks for about 0.1 s."""
    gc.collect()
    gc.freeze()


def gc_unfreeze() -> None:
    """Undo `gc_freeze` at the end of the process: extension modules warn about objects that were not freed."""
    gc.unfreeze()
