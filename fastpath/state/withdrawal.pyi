"""How an open order ends wherever it waits: in a book, for a trigger, or on its way to a venue.

`withdraw` ends it.

For other compiled modules only: nothing to import from Python.
"""
