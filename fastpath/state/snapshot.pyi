"""Compiled modules cimport `fastpath/state/snapshot.pxd`."""

STATE_VERSION: int
"""Of the layout that `Exchange.save` writes and `Exchange.load` reads."""
