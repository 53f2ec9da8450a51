"""The enumerations of the fast path, as Python sees them. Meanings are written down in `enums.pxd`."""
