"""Sorted map of the pages of price levels that are far from the touch.

`far_insert`, `far_erase` and `far_find` work by key; `far_from` finds the first page at or behind a key.

For other compiled modules only: nothing to import from Python.
"""
