"""Decimal text to whole units of a grid (tick, lot, unit of money) and back, exactly.

`read_units` reads text; `write_units`, `write_money`, `write_integer` and `write_average` write it.

For other compiled modules only: nothing to import from Python.
"""
