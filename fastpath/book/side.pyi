"""One side of a book: its price levels in order, those near the touch in a window of pages.

`side_insert` and `side_erase` add and remove pages of levels; `side_find` and `side_after` look levels up.

For other compiled modules only: nothing to import from Python.
"""
