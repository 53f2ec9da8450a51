"""Orders that are placed, triggered, or arrive at a venue.

`place` carries out PLACE; `trigger` and `arrive` let a waiting order into the market; `settle_fills` settles what was
matched.

For other compiled modules only: nothing to import from Python.
"""
