"""The garbage collector of a server process: rare, blind for what the start made, and still at work."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import gc, weakref
from server.process import pauses

class Node: pass

def loop():
    node = Node()
    node.itself = node
    return weakref.ref(node)

kept = [[] for _ in range(100_000)]
pauses.shorten()
pauses.gc_freeze()
assert gc.isenabled() and gc.get_freeze_count() > 100_000 and len(gc.get_objects()) < 10_000
dead = loop()
kept += [[] for _ in range(100_000)]  # the young are looked at on the way
assert dead() is None
pauses.gc_unfreeze()
assert gc.get_freeze_count() == 0
"""


@pytest.mark.once
def test_what_lives_is_left_alone_and_later_cycles_are_freed() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
