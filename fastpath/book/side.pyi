"""One side of a book: its price levels in order, those near the touch in a window of pages.

`ladder_insert` and `ladder_erase` add and remove pages of levels; `ladder_find` and `ladder_after` look levels up.

For other compiled modules only: nothing to import from Python.
"""
