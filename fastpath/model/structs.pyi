"""The packed records of the fast path. Layouts and meanings are written down in `structs.pxd`."""

COMMAND_SIZE: int
"""Bytes of a packed command record."""
EVENT_SIZE: int
"""Bytes of a packed event record."""
