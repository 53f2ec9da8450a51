"""Where a Python process pauses of itself, and how a server keeps that short.

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
    """At the beginning of the process. Nothing is switched off."""
    gc.set_threshold(*_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


def gc_freeze() -> None:
    """After the start: the collector does not look at what lives now any more. Blocks for a tenth of a second."""
    gc.collect()
    gc.freeze()


def gc_unfreeze() -> None:
    """At the end of the process: all is looked at again, since extension modules complain of what was not freed."""
    gc.unfreeze()
